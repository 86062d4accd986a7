"""The parts of an upload."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipelines.delivery.upload import MOST_PARTS, PART, split


@given(st.integers(0, 5 * 1024**4))
def test_parts_cover_a_file(size: int) -> None:
    """Without gap or overlap, of equal length but the last, in as many as S3 takes and not too small for it."""
    parts = split(size)
    assert parts[0].start == 0
    assert [each.number for each in parts] == list(range(1, len(parts) + 1))
    assert all(one.start + one.size == other.start for one, other in itertools.pairwise(parts))
    assert parts[-1].start + parts[-1].size == size
    assert len({each.size for each in parts[:-1]}) <= 1
    assert len(parts) <= MOST_PARTS
    assert all(each.size >= PART for each in parts[:-1])
