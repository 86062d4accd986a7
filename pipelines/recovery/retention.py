"""Which backups stay: grandfather, father, son, and whatever holds a release that an environment runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from pipelines.delivery.settings import Keep
from pipelines.recovery import snapshots
from pipelines.recovery.snapshots import OBJECTS, SNAPSHOTS, Snapshot
from pipelines.s3 import Folder

GRACE = timedelta(days=1)
"""What is newer may belong to a backup that has not ended."""

PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: (time.year,),
}


def kept(times: Iterable[datetime], keep: Keep) -> set[datetime]:
    """Return the times of the backups that stay: of the last n days, weeks, ... that have one, the newest each."""
    newest_first = sorted(times, reverse=True)
    staying: set[datetime] = set()
    for rule, period in PERIODS.items():
        found: dict[tuple[int, ...], datetime] = {}
        for time in newest_first:
            found.setdefault(period(time), time)
        staying |= set(list(found.values())[: getattr(keep, rule)])
    return staying


def retain(place: Folder, keep: Keep, now: datetime | None = None) -> tuple[int, int]:
    """Delete the snapshots that need not stay, and the files that none of the others needs; return how many of each.

    The newest snapshot says which releases run; for each, the newest snapshot that holds it stays.
    """
    found = [snapshots.read(place, name) for name in snapshots.names(place)]
    if not found:
        return 0, 0
    times = kept((each.time for each in found), keep)
    staying = {each.name for each in found if each.time in times} | _deployed(found)
    gone = [each.name for each in found if each.name not in staying]
    # Snapshots first: one must never be there without its files.
    (place / SNAPSHOTS).delete(f"{name}.json" for name in gone)
    # Listed again: another backup may have come meanwhile, of files that none of these has.
    needed = {entry.key for name in snapshots.names(place) for entry in snapshots.read(place, name).entries}
    oldest = (now or datetime.now(UTC)) - GRACE
    unused = [
        name for name, each in (place / OBJECTS).objects().items() if name not in needed and each.modified < oldest
    ]
    (place / OBJECTS).delete(unused)
    return len(gone), len(unused)


def _deployed(found: list[Snapshot]) -> set[str]:
    """Return the names of the newest snapshots that hold the releases which run."""
    names = set()
    for release in filter(None, found[-1].environments.values()):
        holding = [each.name for each in found if release in each.releases]
        names |= set(holding[-1:])
    return names
