"""`params.yaml`, typed: every number a person tunes, checked before any work begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from pipelines import documents
from pipelines.command import PipelineError
from pipelines.documents import Section

PATH = Path("params.yaml")

Count = Annotated[int, Meta(ge=1)]
Side = Annotated[int, Meta(ge=8, le=4096)]
Share = Annotated[float, Meta(gt=0, lt=1)]
PartOfOne = Annotated[float, Meta(ge=0, lt=1)]
ZeroToOne = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e15)]
NonNegative = Annotated[float, Meta(ge=0)]


class Ingest(Section, frozen=True):
    source: str


class Prepare(Section, frozen=True):
    height: Side
    width: Side
    channels: Literal[1, 3]
    validation: Share
    test: Share

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


class Augment(Section, frozen=True):
    """Random changes of training images, each as the largest change: 0 or false switches one off."""

    shift: PartOfOne
    rotation: Annotated[float, Meta(ge=0, le=180)]
    zoom: PartOfOne
    brightness: PartOfOne
    contrast: PartOfOne
    horizontal_flip: bool


class Train(Section, frozen=True):
    network: str
    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    threads: Count
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    warmup_epochs: NonNegative
    patience: Count
    dropout: PartOfOne
    class_weights: Literal["balanced", "none"]
    initial_weights: str | None
    augment: Augment


class Quantize(Section, frozen=True):
    scheme: Literal["int8", "dynamic", "float16", "none"]
    calibration_examples: Count
    min_agreement: Share


class Robustness(Section, frozen=True):
    """Severity of each corruption: see pipelines/training/corruptions.py for the units."""

    noise: NonNegative
    blur: NonNegative
    brightness: NonNegative
    contrast: ZeroToOne
    shift: NonNegative
    rotation: NonNegative


class Invariance(Section, frozen=True):
    """Severity of the changes that must not matter, in the same units."""

    shift: NonNegative
    brightness: NonNegative


class Direction(Section, frozen=True):
    occlusion: ZeroToOne


class Behaviour(Section, frozen=True):
    examples: Count
    robustness: Robustness
    invariance: Invariance
    direction: Direction


class Evaluate(Section, frozen=True):
    confidence: Share
    calibration_bins: Count
    behaviour: Behaviour


class AtLeast(Section, frozen=True):
    """A value that is better higher: the least it may be, and how much of the incumbent's it may lose."""

    floor: ZeroToOne
    margin: Share


class AtMost(Section, frozen=True):
    """A value that is better lower: the most it may be, and how much more than the incumbent's."""

    ceiling: Positive
    margin: Positive


class Metrics(Section, frozen=True):
    """Limits of what `evaluate` reports of the model that ships; a metric without one is not judged."""

    accuracy: AtLeast
    macro_f1: AtLeast | None = None
    log_loss: AtMost | None = None
    brier: AtMost | None = None
    calibration_error: AtMost | None = None


class Slices(AtLeast, frozen=True):
    min_examples: Count
    inconclusive: Literal["block", "allow"]


class Quantization(Section, frozen=True):
    """Against the float model of the same training: the least agreement, and the accuracy that may be lost."""

    agreement: ZeroToOne
    margin: Share


class Budget(Section, frozen=True):
    """What a model may cost, and how many times the incumbent's cost."""

    ceiling: Positive
    ratio: Positive


class Gate(Section, frozen=True):
    confidence: Annotated[float, Meta(gt=0.5, lt=1)]
    power: Annotated[float, Meta(ge=0.5, lt=1)]
    inconclusive: Literal["block", "allow"]
    fresh_test_data: Share
    removed_classes: list[str]
    metrics: Metrics
    slices: Slices
    quantization: Quantization
    robustness: AtLeast
    invariance: AtLeast
    direction: AtLeast
    size: Budget
    latency: Budget


class Retrain(Section, frozen=True):
    start: Literal["scratch", "released"]


class Params(Section, frozen=True):
    ingest: Ingest
    prepare: Prepare
    train: Train
    quantize: Quantize
    evaluate: Evaluate
    gate: Gate
    retrain: Retrain


def load(path: Path = PATH) -> Params:
    """Read and check the file. Raises PipelineError naming the key, what it holds and what it should."""
    params = documents.load(path, Params)
    if params.prepare.validation + params.prepare.test >= 1:
        raise PipelineError(f"{path}: prepare.validation + prepare.test must leave examples to train on")
    if params.train.initial_weights and params.train.initial_weights.startswith("artifacts/"):
        raise PipelineError(
            f"{path}: train.initial_weights: copy the file out of artifacts/, which training overwrites"
        )
    return params
