"""pipelines.training.layout: paths alone tell labels and splits."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.command import PipelineError
from pipelines.training import layout

NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0."), min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {"thumbs.db", "__macosx"} and unicodedata.is_normalized("NFC", name)
)


@given(labels=st.sets(NAME, min_size=2, max_size=5), root=st.lists(NAME, max_size=2), splits=st.booleans())
def test_every_label_is_found_whatever_wraps_it(labels: set[str], root: list[str], splits: bool) -> None:
    """Labels of any name come back from under any leading folders, with or without splits."""
    parts = ["train", "test"] if splits else [""]
    paths = ["/".join(filter(None, [*root, part, label, "1.png"])) for part in parts for label in labels]
    # A leading folder that is itself called train, or labels that are, read as splits: an ambiguity nobody can resolve.
    if not {name.lower() for name in (*root, *labels)} & set(layout.NAMES):
        found = layout.read(paths)
        assert found.labels == labels
        assert found.images == len(paths)
        assert found.with_splits == splits
        for path in paths:
            assert found.place(path) == (path.split("/")[-2], path.split("/")[-3] if splits else None)


def test_splits_by_their_many_names() -> None:
    """val, valid and validation are one split."""
    found = layout.read(["train/a/1.png", "valid/a/1.png", "testing/b/1.png"])
    assert [found.place(path) for path in ("train/a/1.png", "valid/a/1.png", "testing/b/1.png")] == [
        ("a", "train"),
        ("a", "validation"),
        ("b", "test"),
    ]


def test_what_is_no_example_is_left_out() -> None:
    """Hidden files, archives' by-products and a README beside the labels are not examples."""
    paths = ["README.md", "a/", "a/1.png", "b/1.png", "a/.DS_Store", "__MACOSX/a/._1.png", "__MACOSX/", ".git/config"]
    paths += ["extra/deep/notes.txt"]
    found = layout.read(paths)
    assert found.images == 2
    assert [path for path in paths if not path.endswith("/") and found.place(path)] == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "no images: expected <label>/<image>"),
        (["README.md"], "no images"),
        (["1.png", "a/1.png", "b/1.png"], "images in the top folder: expected"),
        (["a/1.png", "b/\udcff/../1.png", "\udcff/1.png"], "not UTF-8|images in"),
        (["a/1.png", "b/", "c/1.png"], "class 'b' is empty: put images into b/ or remove it"),
        (["x/train/a/1.png", "x/train/b/1.png", "x/test/b/1.png", "x/test/a/"], "put images into x/test/a/"),
        (["a/1.png", "b/c/1.png"], "images in b/c: expected"),
    ],
)
def test_what_fits_no_layout_is_refused(paths: list[str], message: str) -> None:
    """The folder that does not fit is named, with what would."""
    with pytest.raises(PipelineError, match=message):
        layout.read(paths)


@pytest.mark.parametrize(
    "paths",
    [
        ["photos/README.md", "photos/cat/1.png", "photos/dog/1.png"],
        ["train/labels.csv", "train/cat/1.png", "test/dog/1.png", "LICENSE"],
        ["set/Train/cat/1.PNG", "set/TEST/dog/1.JPG", "set/notes/today.txt"],
    ],
)
def test_archives_as_people_pack_them(paths: list[str]) -> None:
    """Notes and lists beside the folders, and capital letters, change nothing."""
    assert layout.read(paths).labels == {"cat", "dog"}


def test_names_that_look_the_same_are_one_class() -> None:
    """Systems write an accent in one character or two."""
    assert layout.read(["caf\u00e9/1.png", "cafe\u0301/2.png", "tea/1.png"]).labels == {"caf\u00e9", "tea"}
