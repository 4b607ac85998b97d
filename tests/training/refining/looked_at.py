"""Invented people by two looks of which one is right."""

from __future__ import annotations

import numpy as np

from smap_ros.estimators.second_look.learned import INPUTS, JOINTS, ROOT
from smap_train.refining.both import LookedAt


def looked_at(count: int, seed: int, photos: int = 0) -> LookedAt:
    """People whose first look is wrong, and whose second look knows the pose.

    The pelvis is 5 cm to the right of where they have it, and everybody a tenth nearer.
    """
    rng = np.random.default_rng(seed)
    poses = rng.normal(0, 0.3, (count, JOINTS, 3))
    poses[:, ROOT] = 0
    first, second = poses + rng.normal(0, 0.2, poses.shape), poses.copy()
    closed = (first + second) / 2
    shown = [closed[..., :2], second[..., :2], closed[..., :2]]
    parts = [
        np.stack([closed, first, second, first], axis=2), np.stack(shown, axis=2),
        rng.uniform(0.2, 1, (count, JOINTS, 5)), rng.normal(0, 0.1, (count, 5)),
    ]  # fmt: skip
    parts[3][:, 0] += np.log(4.0)  # metres away
    given = np.concatenate([part.reshape(count, -1) for part in parts], axis=1)
    assert given.shape[1] == INPUTS
    places = np.broadcast_to([0.05, 0.0, np.log(0.9)], (count, 3)).copy()
    photo = np.arange(count) >= count - photos
    places[photo, 2] = np.nan
    columns = (c.astype(np.float32) for c in (given, poses, places, poses[..., :2]))
    return LookedAt(*columns, photo)
