"""pipelines.training.slices: which columns of the data divide the test set."""

from __future__ import annotations

import pyarrow as pa

from pipelines.training import slices


def test_groups_of_extra_columns() -> None:
    """An extra column's values are groups; a column of one value, and the pipeline's own, are left out."""
    count = 120
    columns = {
        "id": [str(number) for number in range(count)],
        "label": ["a", "b"] * (count // 2),
        "camera": [["x", "y", None][number % 3] for number in range(count)],
        "shard": ["one"] * count,
        "time": list(range(count)),
        "quantized": [number % 2 for number in range(count)],
    }
    found = slices.groups(pa.table(columns))
    assert set(found) == {"camera"}
    assert found["camera"].tolist()[:3] == ["x", "y", "None"]
