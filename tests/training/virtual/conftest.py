from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny", reason="virtual humans need the 'train' extra (anny)")

from smap_ros.errors import EngineError
from smap_train.virtual.bodies import BodyPool
from smap_train.virtual.config import StillsConfig
from smap_train.virtual.scene import Stills

SMALL = {"bodies": 8, "body_seed": 5, "width": 160, "height": 96, "seed": 3}
JOINTS = [
    *("root", "lhip_dummy", "l_hip", "l_knee", "l_ankle", "rhip_dummy", "r_hip", "r_knee"),
    *("r_ankle", "lowerback_dummy", "lowerback", "upperback", "thorax", "lowerneck", "upperneck"),
    *("head_end", "lclav_dummy", "l_shoulder", "l_elbow", "l_wrist"),
    *("rclav_dummy", "r_shoulder", "r_elbow", "r_wrist"),
]
PARENTS = [-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 12, 16, 17, 18, 12, 20, 21, 22]
LEG, ARM = 0.4, 0.27


def t_pose_offsets() -> np.ndarray:
    """A capture skeleton in T pose, metres, y up, facing z, left at +x."""
    offsets = np.zeros((len(JOINTS), 3))
    for side, sign in (("l", 1), ("r", -1)):
        offsets[JOINTS.index(f"{side}_hip")] = (0.1 * sign, -0.1, 0)
        offsets[JOINTS.index(f"{side}_knee")] = (0, -LEG, 0)
        offsets[JOINTS.index(f"{side}_ankle")] = (0, -LEG, 0)
        offsets[JOINTS.index(f"{side}_shoulder")] = (0.18 * sign, 0.05, 0)
        offsets[JOINTS.index(f"{side}_elbow")] = (ARM * sign, 0, 0)
        offsets[JOINTS.index(f"{side}_wrist")] = (ARM * sign, 0, 0)
    for name in ("lowerback", "upperback", "lowerneck", "upperneck"):
        offsets[JOINTS.index(name)] = (0, 0.11, 0)
    return offsets


@pytest.fixture
def write_motion(tmp_path: Path):
    """Writes sequences {name: (root [F, 3], rotvec [F, J, 3])} as a mocap file."""

    def write(sequences: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
        arrays = {
            "joint_names": np.array(JOINTS),
            "parents": np.array(PARENTS),
            "offsets_m": t_pose_offsets(),
            "fps": np.array(60.0),
        }
        for name, (root, rotvec) in sequences.items():
            arrays[f"seq/{name}/root_m"], arrays[f"seq/{name}/rotvec"] = root, rotvec
        path = tmp_path / "motion.npz"
        np.savez(path, **arrays)
        return path

    return write


@pytest.fixture(scope="session")
def pool() -> BodyPool:
    # The first start of anny on a machine takes a minute; then its cache serves.
    return BodyPool(SMALL["bodies"], SMALL["body_seed"])


@pytest.fixture(scope="session")
def stills(pool: BodyPool) -> Stills:
    try:
        return Stills(StillsConfig(**SMALL, people=(2, 4)))
    except EngineError as error:
        pytest.skip(str(error))
