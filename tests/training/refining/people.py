"""Invented people and a bundle's invented errors."""

from __future__ import annotations

import numpy as np

from smap_ros.skeletons import MPI15
from smap_train.refining.errors import view
from smap_train.refining.found import FoundPeople, told

SIZE = (448, 256)
# A standing person about the pelvis, metres, world axes (z up, facing -y).
STANDING = np.array(
    [
        *[(0, 0, 0.5), (0, 0, 0.78), (0, 0, 0)],
        *[(0.2, 0, 0.48), (0.28, 0, 0.2), (0.3, -0.1, 0.0)],
        *[(0.1, 0, 0), (0.12, -0.05, -0.42), (0.12, 0, -0.85)],
        *[(-0.2, 0, 0.48), (-0.28, 0, 0.2), (-0.3, -0.1, 0.0)],
        *[(-0.1, 0, 0), (-0.12, -0.05, -0.42), (-0.12, 0, -0.85)],
    ],
    np.float32,
)


def poses(count: int) -> np.ndarray:
    """Standing people of many sizes."""
    sizes = np.random.default_rng(1).uniform(0.8, 1.2, (count, 1, 1))
    return (STANDING * sizes).astype(np.float32)


def shrunken(count: int, seed: int) -> FoundPeople:
    """What a bundle that halves relative depth and sees everything 10 % too far would find.

    Its pelvises tell three quarters of the pose.
    """
    rng = np.random.default_rng(seed)
    true, pixels, focal = view(rng, poses(count), SIZE)
    depth = true[:, MPI15.root, 2, None] * 1.1 + 0.5 * (true[..., 2] - true[:, MPI15.root, None, 2])
    centre = (np.array(SIZE) - 1) / 2
    plane = (pixels - centre) / focal[:, None, None] * depth[..., None]
    found = np.concatenate([plane, depth[..., None]], axis=-1).astype(np.float32)
    scores = np.full((count, 15), 0.5, np.float32)
    return FoundPeople(
        found, true, pixels, pixels, scores, focal, SIZE, 0.75 * told(true, pixels, focal)
    )
