"""RefineNet's pairs of invented people."""

from __future__ import annotations

import numpy as np

from smap_ros.skeletons import MPI15

from ..data.bodies import body

ROOT = MPI15.root


def pair(seed: int, **fields) -> dict:
    """A person, and what SMAP might have found of them."""
    rng = np.random.default_rng(seed)
    numbers = body(rng.uniform(-1, 1), rng.uniform(3, 6))
    found = np.ones((15, 4))
    found[:, :3] = numbers[:, 4:7] + rng.normal(0, 3, (15, 3))
    found[5 + seed % 3] = 0
    pixels = np.ones((15, 4))
    pixels[:, :2] = numbers[:, :2] * 4
    return {
        "pred_3d": found.tolist(), "pred_2d": pixels.tolist(),
        "gt_3d": numbers[:, 4:7].tolist(), "root_d": float(found[ROOT, 2]), **fields,
    }  # fmt: skip
