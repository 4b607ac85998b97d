"""Joints of random bodies in random poses, without a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import trange

from smap_ros.skeletons import MPI15
from smap_train.virtual.bodies import BodyPool
from smap_train.virtual.motion import MotionLibrary
from smap_train.virtual.poses import POSTURES, random_pose
from smap_train.virtual.posing import mirrored, mpi15_joints, posed

_MOCAP_SHARE = 0.6


def sample_poses(motion: Path | None, count: int, seed: int) -> NDArray[np.float32]:
    """Root-relative joints, float32 [count, 15, 3], metres, z up; nobody lies."""
    rng = np.random.default_rng(seed)
    pool = BodyPool(512, seed=1)
    library = MotionLibrary(motion, "train") if motion else None
    postures = [name for name in POSTURES if name != "lie"]
    weights = np.array([POSTURES[name] for name in postures])
    out = np.empty((count, 15, 3), np.float32)
    for k in trange(count, desc="poses", unit="pose"):
        body = pool[int(rng.integers(64))]
        if library is not None and rng.random() < _MOCAP_SHARE:
            sequence = library[library.names[rng.integers(len(library.names))]]
            pose = sequence.poses[rng.integers(len(sequence))].astype(np.float64)
        else:
            pose = random_pose(rng, str(rng.choice(postures, p=weights / weights.sum())))
        if rng.random() < 0.5:
            pose = mirrored(pose)
        joints = mpi15_joints(body, pool.model, posed(body, pool.model, pose, np.eye(3)))
        out[k] = joints - joints[MPI15.root]
    return out
