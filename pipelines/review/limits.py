"""Whose limits are in force: those of the merge target, or a change could loosen what it is judged by."""

from __future__ import annotations

import msgspec

from pipelines.params import Gate, Params
from pipelines.review import repository
from pipelines.review.baseline import Incumbent
from pipelines.review.changes import differences, flat


def in_force(incumbent: Incumbent, settings: Params) -> tuple[Params, list[str]]:
    """Return the settings with the incumbent's limits, and what to say of limits that the change alters.

    `removed_classes` is the change's own: it is the place to say that a class may go.
    """
    ours = settings.gate
    recorded = (repository.document(incumbent.commit, "params.yaml") or {}).get("gate")
    try:
        theirs = msgspec.convert(recorded, Gate)
    except msgspec.ValidationError as error:
        return settings, [f"The limits at {incumbent.name} cannot be read ({error}): this change's own are in force."]
    theirs = msgspec.structs.replace(theirs, removed_classes=ours.removed_classes)
    changed = differences(flat(msgspec.to_builtins(theirs)), flat(msgspec.to_builtins(ours)))
    if not changed:
        return settings, []
    names = ", ".join(f"{name} {old} to {new}" for name, (old, new) in changed.items())
    note = f"Limits in force are those of {incumbent.name}; this change's own are after its merge: {names}."
    return msgspec.structs.replace(settings, gate=theirs), [note]
