"""`params.yaml`, typed: every number a person tunes, checked before any work begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from pipelines.command import PipelineError

PATH = Path("params.yaml")

Count = Annotated[int, Meta(ge=1)]
Side = Annotated[int, Meta(ge=8, le=4096)]
Share = Annotated[float, Meta(gt=0, lt=1)]
PartOfOne = Annotated[float, Meta(ge=0, lt=1)]
NonNegative = Annotated[float, Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file: unknown keys are refused, so that a misspelt one never goes unnoticed."""


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
    learning_rate: Annotated[float, Meta(gt=0)]
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

    examples: Count
    noise: NonNegative
    blur: NonNegative
    brightness: NonNegative
    contrast: Annotated[float, Meta(ge=0, le=1)]
    shift: NonNegative
    rotation: NonNegative


class Evaluate(Section, frozen=True):
    confidence: Share
    calibration_bins: Count
    robustness: Robustness


class Params(Section, frozen=True):
    ingest: Ingest
    prepare: Prepare
    train: Train
    quantize: Quantize
    evaluate: Evaluate


def load(path: Path = PATH) -> Params:
    """Read and check the file. Raises PipelineError naming the key, what it holds and what it should."""
    try:
        content = yaml.safe_load(path.read_text())
        params = msgspec.convert(content, Params)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: run the command in the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is not YAML: {error}") from error
    except msgspec.ValidationError as error:
        # YAML 1.1 reads 1e-3 as text: a number needs its point.
        hint = " (write 1.0e-3 rather than 1e-3)" if "Expected `float`, got `str`" in str(error) else ""
        if "Invalid enum value" in str(error):
            hint = " (the comment beside it names the choices)"
        raise PipelineError(f"{path}: {str(error).replace('$.', '')}{hint}") from error
    if params.prepare.validation + params.prepare.test >= 1:
        raise PipelineError(f"{path}: prepare.validation + prepare.test must leave examples to train on")
    if params.train.initial_weights and params.train.initial_weights.startswith("artifacts/"):
        raise PipelineError(
            f"{path}: train.initial_weights: copy the file out of artifacts/, which training overwrites"
        )
    return params
