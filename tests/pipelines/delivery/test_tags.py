"""The names of releases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.command import PipelineError
from pipelines.delivery.tags import Version, is_release, parse

numbers = st.integers(0, 10**6)


@pytest.mark.parametrize("name", ["v0.0.0", "v1.2.3", "v10.20.30", "v1.2.0-rc.0", "v1.2.0-rc.12"])
def test_a_release(name: str) -> None:
    """A name is read and written alike."""
    assert is_release(name)
    assert str(parse(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "1.2.3", "v1.2", "v1.2.3.4", "v01.2.3", "V1.2.3", "v1.2.3 ", "v1.2.3\n", "v-1.2.3", "v\u0661.2.3"),
        *("v1.2.3-rc", "v1.2.3-rc.01", "v1.2.3-rc.1.2", "v1.2.3-beta.1", "v1.2.3+x", "release", "v$(id).0.0"),
    ],
)
def test_no_release(name: str) -> None:
    """Anything else is refused with what would be right."""
    assert not is_release(name)
    with pytest.raises(PipelineError, match="like v1.2.3"):
        parse(name)


@given(numbers, numbers, numbers, numbers)
def test_a_candidate_comes_before_its_release(major: int, minor: int, patch: int, candidate: int) -> None:
    """v1.2.3-rc.1 < v1.2.3-rc.2 < v1.2.3 < v1.2.4-rc.0."""
    release = Version(major, minor, patch)
    first, second = release._replace(candidate=candidate), release._replace(candidate=candidate + 1)
    assert first < second < release < Version(major, minor, patch + 1, 0)
