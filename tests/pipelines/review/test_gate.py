"""pipelines.review.gate: proven closed by regressions that are planted one by one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from model import network
from model.manifest import MODEL
from pipelines.command import PipelineError
from pipelines.review import budgets, gate, golden
from pipelines.review.candidate import load
from pipelines.review.gate import Judged
from pipelines.review.verdict import Verdict, worst
from pipelines.training import quantize
from pipelines.training.dataset import BEHAVIOUR, EXAMPLES, PREDICTIONS, Dataset
from pipelines.training.schema import Schema, fingerprint
from tests.conftest import DEMONSTRATION
from tests.pipelines.review.models import SETTINGS, candidate, judge, reconvert, relabel, replace, retrain

pytestmark = pytest.mark.usefixtures("golden_examples")


@pytest.fixture
def golden_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / golden.PATH).write_text("[]")
    monkeypatch.chdir(folder)
    return


def verdicts(judged: Judged) -> dict[str, Verdict]:
    """Return the worst verdict of each rule."""
    rules = {finding.rule for finding in judged.findings}
    return {rule: worst(finding.verdict for finding in judged.findings if finding.rule == rule) for rule in rules}


def failed(judged: Judged) -> set[str]:
    return {rule for rule, verdict in verdicts(judged).items() if verdict is Verdict.FAIL}


def test_another_seed_does_not_fail(before: Path, twin: Path) -> None:
    """The same network from another seed is not called worse: what cannot be told is at most inconclusive."""
    judged = judge(twin, before)
    assert not failed(judged) - {"latency"}
    assert verdicts(judged)["evidence"] is Verdict.PASS


def test_flipped_labels_of_one_class(before: Path, tmp_path: Path) -> None:
    """Half of the threes in training called fives: the slice of threes fails, and so does accuracy."""
    folder = tmp_path / "artifacts"
    shutil.copytree(before / "dataset", folder / "dataset")
    relabel(folder, "3", "5", 0.6)
    sign(folder / "dataset")
    judged = judge(retrain(before, folder), before)
    assert {"accuracy", "slices"} <= failed(judged)
    slices = {finding.subject: finding for finding in judged.findings if finding.rule == "slices"}
    assert slices["label 3"].verdict is Verdict.FAIL
    assert slices["label 0"].verdict is Verdict.PASS


def test_one_epoch(before: Path, beginner: Path) -> None:
    """A network that hardly learned fails on every metric."""
    assert {"accuracy", "macro_f1", "log_loss"} <= failed(judge(beginner, before))


def test_calibration_data_of_the_wrong_range(before: Path, tmp_path: Path) -> None:
    """int8 ranges taken from images sixteen times too dark: worse than its own float parent, and not shown to be as
    good as the incumbent. How much worse depends on the kind of processor that trained it.
    """

    def dark(model: object, scheme: str, images: np.ndarray) -> bytes:
        return quantize.convert(model, scheme, images // 16 if scheme == "int8" else images)

    judged = judge(reconvert(before, tmp_path / "artifacts", convert=dark), before)
    assert "quantization" in failed(judged)
    assert verdicts(judged)["accuracy"] in {Verdict.INCONCLUSIVE, Verdict.FAIL}


def test_a_converter_that_emits_untrained_weights(before: Path, tmp_path: Path) -> None:
    """The float model is fine and the file that ships has never learned: only judging the file itself shows it."""

    def forgetful(model: object, scheme: str, images: np.ndarray) -> bytes:
        if scheme == "int8":
            model = network.build(SETTINGS.train.network, (12, 12, 1), 10)
        return quantize.convert(model, scheme, images)

    judged = judge(reconvert(before, tmp_path / "artifacts", convert=forgetful), before)
    assert {"quantization", "accuracy", "log_loss", "slices", "robustness"} <= failed(judged)


def test_a_slower_and_larger_network(before: Path, tmp_path: Path) -> None:
    """A residual network in place of the small one breaks both budgets, however well it answers."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, network="resnet", epochs=1))
    judged = judge(retrain(before, tmp_path / "artifacts", settings), before)
    assert {"size", "latency"} <= failed(judged)


def test_a_class_removed_from_training(before: Path, tmp_path: Path) -> None:
    """Without a single nine to learn from, the slice of nines fails."""
    folder = tmp_path / "artifacts"
    shutil.copytree(before / "dataset", folder / "dataset")
    path = folder / "dataset" / EXAMPLES
    table = pq.read_table(path)
    splits = [
        "gone" if (label, split) == ("9", "train") else split
        for label, split in zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
    ]
    pq.write_table(table.set_column(table.column_names.index("split"), "split", [splits]), path)
    sign(folder / "dataset")
    judged = judge(retrain(before, folder), before)
    nines = next(finding for finding in judged.findings if finding.subject == "label 9")
    assert nines.verdict is Verdict.FAIL
    assert nines.value == 0


def test_the_same_class_removed_from_test_data_too(before: Path, tmp_path: Path) -> None:
    """Nothing is left to measure its loss on, so the missing class itself is what fails, unless params allow it."""
    folder = without_class(before, tmp_path / "artifacts", "9")
    judged = judge(folder, before)
    assert "classes" in failed(judged)
    assert "'9'" in next(finding.reason for finding in judged.findings if finding.rule == "classes")
    allowed = replace(SETTINGS, gate=replace(SETTINGS.gate, removed_classes=["9"]))
    assert verdicts(judge(folder, before, allowed))["classes"] is Verdict.PASS


def test_every_class_renamed(before: Path) -> None:
    """A model that knows none of the incumbent's classes has lost them all."""
    judged = gate.judge(candidate(before), None, gate.Target(["cat", "dog"], []), SETTINGS)
    assert failed(judged) == {"classes"}


def sign(folder: Path, **changed: object) -> None:
    """Make schema.json that of the examples beside it, as `prepare` would."""
    path, table = folder / "schema.json", pq.read_table(folder / EXAMPLES)
    schema = replace(msgspec.json.decode(path.read_bytes(), type=Schema), **changed)
    rows = list(zip(*(table[name].to_pylist() for name in ("id", "label", "split")), strict=True))
    test = [row for row in rows if row[2] == "test"]
    hashes = {
        "data_sha256": fingerprint(schema.input_shape, *map(list, zip(*rows, strict=True))),
        "test_sha256": fingerprint(schema.input_shape, [row[0] for row in test], [row[1] for row in test]),
    }
    path.write_bytes(msgspec.json.encode(replace(schema, **hashes)))


def without_class(source: Path, folder: Path, label: str) -> Path:
    """Return a model that was made without a class, as if its images had been deleted."""
    dataset = Dataset(source / "dataset")
    kept = np.array(dataset.examples["label"].to_pylist()) != label
    target = folder / "dataset"
    target.mkdir(parents=True)
    np.save(target / "images.npy", dataset.images[kept])
    pq.write_table(dataset.examples.filter(kept), target / EXAMPLES)
    shutil.copy(dataset.folder / "schema.json", target / "schema.json")
    sign(target, labels=[name for name in dataset.schema.labels if name != label])
    return retrain(source, folder, replace(SETTINGS, train=replace(SETTINGS.train, epochs=2)))


def test_a_golden_example_broken(before: Path) -> None:
    """One wrong answer in hundreds is enough, when people have said that it must never be wrong."""
    table = pq.read_table(before / PREDICTIONS)
    answers = np.stack(table["quantized"].to_numpy(zero_copy_only=False)).argmax(axis=1)
    wrong = np.flatnonzero(answers != np.array([int(label) for label in table["label"].to_pylist()]))
    assert len(wrong)
    row = int(wrong[0])
    example = {"id": table["id"][row].as_py(), "label": table["label"][row].as_py(), "why": "clear to any person"}
    golden.PATH.write_text(msgspec.json.encode([example]).decode())
    judged = judge(before, before)
    assert failed(judged) == {"golden"}
    golden.PATH.write_text(msgspec.json.encode([example | {"id": "0" * 32}]).decode())
    assert "no test example has this id" in judge(before, before).findings[-3].reason


def test_the_incumbents_numbers_in_the_candidates_files(before: Path, tmp_path: Path) -> None:
    """Copied metrics do not follow from the predictions; copied predictions are not what the model answers."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, epochs=2))
    folder = retrain(before, tmp_path / "artifacts", settings)
    shutil.copy(folder / "metrics.json", tmp_path / "own.json")
    shutil.copy(before / "metrics.json", folder / "metrics.json")
    (finding,) = judge(folder, before).findings
    assert finding.verdict is Verdict.FAIL
    assert "metrics.json is of another model: accuracy" in finding.reason
    shutil.copy(before / PREDICTIONS, folder / PREDICTIONS)
    (finding,) = judge(folder, before).findings
    assert f"{PREDICTIONS} is not what {MODEL} answers" in finding.reason


def test_behaviour_that_is_not_the_models(before: Path, beginner: Path, tmp_path: Path) -> None:
    """Copied or hand-picked expectations are found out like copied predictions."""
    folder = tmp_path / "artifacts"
    shutil.copytree(beginner, folder)
    shutil.copy(before / BEHAVIOUR, folder / BEHAVIOUR)
    (finding,) = judge(folder, before).findings
    assert f"{BEHAVIOUR} is not how {MODEL} behaves" in finding.reason
    pq.write_table(pq.read_table(beginner / BEHAVIOUR).slice(9), folder / BEHAVIOUR)
    assert f"{BEHAVIOUR} is of other examples" in judge(folder, before).findings[0].reason


def test_predictions_of_another_test_set(before: Path, tmp_path: Path) -> None:
    """A file with the rows that went well is not the test set."""
    folder = tmp_path / "artifacts"
    shutil.copytree(before, folder)
    pq.write_table(pq.read_table(folder / PREDICTIONS).slice(5), folder / PREDICTIONS)
    (finding,) = judge(folder, before).findings
    assert "is of another test set" in finding.reason


def test_missing_files_are_named(before: Path, tmp_path: Path) -> None:
    """What the pipeline has not made yet is asked for by the command that makes it."""
    folder = tmp_path / "artifacts"
    shutil.copytree(before, folder)
    (folder / "behaviour.parquet").unlink()
    with pytest.raises(PipelineError, match=r"behaviour\.parquet is missing: run `make repro`"):
        load(folder)


def test_without_an_incumbent_floors_decide(before: Path) -> None:
    """A first model passes as such when its floors hold, and fails under them."""
    found = verdicts(gate.judge(candidate(before), None, gate.NO_TARGET, SETTINGS))
    assert found["accuracy"] is Verdict.NO_INCUMBENT
    assert worst(found.values()) is Verdict.NO_INCUMBENT
    accuracy = replace(SETTINGS.gate.metrics.accuracy, floor=1.0)
    strict = replace(SETTINGS, gate=replace(SETTINGS.gate, metrics=replace(SETTINGS.gate.metrics, accuracy=accuracy)))
    assert verdicts(gate.judge(candidate(before), None, gate.NO_TARGET, strict))["accuracy"] is Verdict.FAIL


def test_latency_is_measured_in_turns(before: Path) -> None:
    """A model against itself takes 1.0 times its time, and the interval says how surely."""
    image = np.zeros((1, 12, 12, 1), np.uint8)
    found = budgets.latency([(before, image), (before, image)], SETTINGS.gate.latency, 0.95)
    assert found.low is not None
    assert found.high is not None
    assert 0.8 < found.low <= found.high < 1.25
    assert found.verdict is Verdict.PASS
    tight = replace(SETTINGS.gate.latency, ceiling=1e-9)
    assert budgets.latency([(before, image)], tight, 0.95).verdict is Verdict.FAIL


def test_the_demonstrations_golden_examples_are_in_its_test_set() -> None:
    """Each id is one of the test set, with the label that the file says."""
    examples = golden.load(DEMONSTRATION / "golden.yaml")
    assert len({example.id for example in examples}) == len(examples) >= 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {id: a}\n", "missing required field `label`"),
        ("- {id: a, label: 3, why: x}\n", "Expected `str`, got `int`"),
        ("- [", "while parsing"),
        ("a: b", "Expected `array`"),
    ],
)
def test_a_malformed_golden_file_is_refused(text: str, message: str) -> None:
    """It says where; a missing one is told from an empty one."""
    golden.PATH.write_text(text)
    with pytest.raises(PipelineError, match=message):
        golden.load()
    golden.PATH.unlink()
    with pytest.raises(PipelineError, match=r"golden\.yaml is missing: put `\[\]`"):
        golden.load()
