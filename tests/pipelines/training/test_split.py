"""pipelines.training.split: an example's split depends on its pixels and on what came before, never on what follows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipelines.training.split import pixel_id, propose, unite
from tests.conftest import picture

VALIDATION, TEST = 0.15, 0.25
EXAMPLE = st.tuples(st.integers(0, 40), st.sampled_from(["", "train", "test"]))


def split(examples: list[tuple[int, str]]) -> list[str]:
    """Assign examples that are told by a picture's number and a stated split."""
    ids = np.array([pixel_id(picture(number)) for number, _ in examples])
    given_splits = np.array([stated for _, stated in examples])
    duplicates = np.array([number for number, _ in examples], np.uint64)
    sources = np.full(len(examples), "here")
    return list(unite(propose(ids, given_splits, sources, VALIDATION, TEST), duplicates))


@given(old=st.lists(EXAMPLE, min_size=1, max_size=30), new=st.lists(EXAMPLE, max_size=30))
def test_adding_data_moves_no_example(old: list[tuple[int, str]], new: list[tuple[int, str]]) -> None:
    """Whatever is added behind, every old example keeps its split."""
    assert split(old + new)[: len(old)] == split(old)


@given(examples=st.lists(EXAMPLE, min_size=1, max_size=60))
def test_duplicates_never_straddle(examples: list[tuple[int, str]]) -> None:
    """Equal pictures are in one split, whatever their sources state."""
    splits: dict[int, str] = {}
    for (number, _), found in zip(examples, split(examples), strict=True):
        assert splits.setdefault(number, found) == found


def test_shares_are_as_stated() -> None:
    """Over 20,000 ids the splits' sizes are those of the shares, by a chi-squared test."""
    generator = np.random.default_rng(3)
    ids = np.array([generator.bytes(16).hex() for _ in range(20000)])
    nothing = np.full(20000, "")
    found = propose(ids, nothing, nothing, VALIDATION, TEST)
    counts = [int((found == name).sum()) for name in ("train", "validation", "test")]
    assert chisquare(counts, np.array([0.6, VALIDATION, TEST]) * 20000).pvalue > 0.001


def test_a_stated_split_is_kept_and_training_gives_to_validation() -> None:
    """A stated test split is final; of a stated training split only validation takes its share."""
    examples = [(number, "test" if number % 2 else "train") for number in range(400)]
    found = split(examples)
    assert all(name == "test" for (number, _), name in zip(examples, found, strict=True) if number % 2)
    rest = [name for (number, _), name in zip(examples, found, strict=True) if not number % 2]
    assert set(rest) == {"train", "validation"}


def test_grey_and_colour_files_of_one_picture_are_one() -> None:
    """The id is of the picture, not of the file; another picture or another size has another."""
    grey = picture(mode="L")
    assert pixel_id(grey) == pixel_id(grey.convert("RGB"))
    assert pixel_id(grey) != pixel_id(picture(1, mode="L"))
    assert pixel_id(picture(size=(2, 6), mode="L").crop((0, 0, 1, 4))) != pixel_id(
        picture(size=(2, 6), mode="L").crop((0, 0, 2, 2))
    )


def test_a_source_with_its_own_validation_split_keeps_all_of_its_training_split() -> None:
    """Only a source that brings none has one taken from its training split."""
    ids = np.array([pixel_id(picture(number)) for number in range(300)])
    stated = np.array((["train"] * 99 + ["validation"]) + ["train"] * 200)
    sources = np.array(["own"] * 100 + ["other"] * 200)
    found = propose(ids, stated, sources, VALIDATION, TEST)
    assert list(found[:100]) == list(stated[:100])
    assert set(found[100:]) == {"train", "validation"}
