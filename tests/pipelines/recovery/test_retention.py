"""Which backups stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipelines.delivery.settings import Keep
from pipelines.recovery.retention import kept

KEEP = Keep(daily=7, weekly=5, monthly=12, yearly=3)
times = st.sets(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), max_size=40)  # noqa: DTZ001
some = st.integers(0, 9)
keeps = st.builds(Keep, daily=st.integers(1, 9), weekly=some, monthly=some, yearly=some)


def test_a_year_of_days() -> None:
    """The last seven days; the Sundays of five weeks, the newest unfinished; the ends of twelve months; both years."""
    end = datetime(2026, 11, 18, 3, tzinfo=UTC)  # a Wednesday
    found = kept((end - timedelta(days=days) for days in range(365)), KEEP)
    days = {end - timedelta(days=each) for each in range(7)}
    sundays = {datetime(2026, month, day, 3, tzinfo=UTC) for month, day in ((11, 15), (11, 8), (11, 1), (10, 25))}
    months = {datetime(2026, month, 1, 3, tzinfo=UTC) - timedelta(days=1) for month in range(2, 12)}
    assert found == days | sundays | months | {datetime(2025, 12, 31, 3, tzinfo=UTC), end}


@given(times, keeps)
def test_what_holds_of_any_history(found: set[datetime], keep: Keep) -> None:
    """The newest always stays, no more than the rules allow, and nothing that was not there."""
    staying = kept(found, keep)
    assert staying <= found
    assert not found or max(found) in staying
    assert len(staying) <= keep.daily + keep.weekly + keep.monthly + keep.yearly


@given(times, keeps)
def test_running_again_changes_nothing(found: set[datetime], keep: Keep) -> None:
    """What stays, stays when the rules are applied to it again."""
    staying = kept(found, keep)
    assert kept(staying, keep) == staying


@given(times, st.datetimes(datetime(2030, 1, 2), datetime(2031, 1, 1), timezones=st.just(UTC)), keeps)  # noqa: DTZ001
def test_deleting_on_the_way_or_at_the_end_is_the_same(found: set[datetime], later: datetime, keep: Keep) -> None:
    """Retention after each backup keeps what one over all of them would."""
    assert kept(kept(found, keep) | {later}, keep) == kept(found | {later}, keep)
