"""Which split an example belongs to, told by its pixels: adding data never moves an example.

Duplicates follow the one that came first, so that none is trained on and tested on, whatever a source says.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TRAIN, VALIDATION, TEST = "train", "validation", "test"
NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
"""What data sets call their splits."""
Names = NDArray[np.str_]


def pixel_id(image: Image.Image) -> str:
    """Return 32 hexadecimal digits of the decoded picture: equal for grey and RGB files of the same grey picture."""
    digest = hashlib.sha256(b"%dx%d" % image.size)
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()[:32]


def propose(ids: Names, stated: Names, sources: Names, validation: float, test: float) -> Names:
    """Return the split of each of n examples by itself.

    ids: pixel ids; stated: the split that the data brings, or ""; sources: where each comes from; validation, test:
    shares. Where a source states a training split and no validation split, training gives validation its share.
    """
    position = np.array([int(name[:13], 16) for name in ids.tolist()], np.float64) / 16**13  # uniform in [0, 1)
    for_validation = (position >= test) & (position < test + validation)
    hashed = np.where(position < test, TEST, np.where(for_validation, VALIDATION, TRAIN))
    whole = np.isin(sources, np.unique(sources[stated == VALIDATION]))
    stated = np.where((stated == TRAIN) & for_validation & ~whole, VALIDATION, stated)
    return np.where(stated == "", hashed, stated)


def unite(proposed: Names, duplicates: NDArray[np.uint64]) -> Names:
    """Return the splits with every example in that of its first duplicate.

    duplicates: equal for examples that the network cannot tell apart.
    """
    _, first, group = np.unique(duplicates, return_index=True, return_inverse=True)
    splits: Names = proposed[first][group]
    return splits
