"""The parts of a test set that are judged by themselves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.training.dataset import ANSWERS, COLUMNS

MOST_VALUES = 50
"""Values of a column up to which they are slices; a file's name or a time is not one."""


def groups(examples: pa.Table) -> dict[str, NDArray[np.str_]]:
    """Return the values, as text [n], of each extra column of n examples that has from two to MOST_VALUES of them."""
    found = {}
    for name in examples.column_names:
        if name not in (*COLUMNS, *ANSWERS):
            values = np.array([str(value) for value in examples.column(name).to_pylist()])
            if 2 <= len(np.unique(values)) <= MOST_VALUES:
                found[name] = values
    return found
