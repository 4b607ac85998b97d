from __future__ import annotations

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train.virtual.bodies import SEGMENT_INDEX
from smap_train.virtual.motion import MotionLibrary
from smap_train.virtual.walks import Curve, gait_cycle

from .conftest import JOINTS

SPEED, PERIOD = 1.2, 60  # metres a second, frames


@pytest.fixture
def walk(write_motion):
    """Three seconds along the capture's x axis, legs swinging once a second."""
    frames = np.arange(180)
    root = np.stack([SPEED * frames / 60, 0.9 + 0 * frames, 0 * frames], axis=1)
    rotvec = np.zeros((len(frames), len(JOINTS), 3))
    swing = 0.5 * np.sin(2 * np.pi * frames / PERIOD)
    rotvec[:, JOINTS.index("l_hip"), 0] = swing
    rotvec[:, JOINTS.index("r_hip"), 0] = -swing
    return MotionLibrary(write_motion({"walk": (root, rotvec)}))["walk"]


def test_gait_cycle_finds_the_period_and_the_speed(walk):
    cycle = gait_cycle(walk)
    assert len(cycle.poses) == PERIOD
    assert cycle.stride == pytest.approx(SPEED * PERIOD / 60)
    _, there, _ = cycle.at(10 * PERIOD + 7)
    assert there == pytest.approx(SPEED * (10 + 7 / 60))


def test_gait_cycle_closes_without_a_jump(walk):
    cycle = gait_cycle(walk)
    thigh = cycle.poses[:, SEGMENT_INDEX["l_thigh"]]
    steps = np.linalg.norm(np.diff(np.concatenate([thigh, thigh[:1]]), axis=0), axis=(1, 2))
    assert steps[-1] < 1.5 * steps.max(initial=0, where=np.arange(len(steps)) < len(steps) - 1)


def test_standing_still_is_no_walk(write_motion):
    library = MotionLibrary(
        write_motion({"stand": (np.zeros((180, 3)), np.zeros((180, len(JOINTS), 3)))})
    )
    with pytest.raises(InputError, match=r"expected a straight walk"):
        gait_cycle(library["stand"])


def test_curve_passes_its_waypoints_at_constant_speed():
    points = np.array([[0.0, 0], [1, 0.5], [2, 0], [2, -1]])
    curve = Curve(points)
    along = np.array([curve.at(s) for s in np.linspace(0, curve.length, 400)])
    for point in points:
        assert np.linalg.norm(along - point, axis=1).min() < 0.01
    steps = np.linalg.norm(np.diff(along, axis=0), axis=1)
    np.testing.assert_allclose(steps, curve.length / 399, rtol=0.02)
    beyond = curve.at(curve.length + 1.0)
    assert np.linalg.norm(beyond - points[-1]) == pytest.approx(1.0)


def _altered(path, change):
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)


WRONG_MOTIONS = {
    "NaN": (lambda a: a["seq/walk/rotvec"].__setitem__(3, np.nan), "rotvec has no numbers .* 3"),
    "infinite": (lambda a: a["seq/walk/root_m"].__setitem__(2, np.inf), "root_m has no numbers"),
    "half": (lambda a: a.pop("seq/walk/rotvec"), "seq/walk/rotvec' is missing"),
    "lengths": (lambda a: a.update({"seq/walk/root_m": np.zeros((2, 3))}), "expected .F, 24, 3"),
    "empty": (lambda a: a.update({"seq/walk/rotvec": np.zeros((0, 24, 3))}), "expected .F, 24, 3"),
    "names": (lambda a: a.update(joint_names=np.arange(24)), "joint_names lacks l_ankle"),
    "parents": (lambda a: a.update(parents=a["parents"][::-1]), "expected them before children"),
    "centimetres": (lambda a: a.update(offsets_m=100 * a["offsets_m"]), "legs of 80 m"),
    "rate": (lambda a: a.update(fps=np.array(np.nan)), "fps is nan"),
}


@pytest.mark.parametrize("wrong", WRONG_MOTIONS)
def test_motions_that_cannot_be_played_are_refused(write_motion, wrong):
    path = write_motion({"walk": (np.zeros((5, 3)), np.zeros((5, len(JOINTS), 3)))})
    MotionLibrary(path)
    change, complaint = WRONG_MOTIONS[wrong]
    _altered(path, change)
    with pytest.raises(InputError, match=complaint):
        MotionLibrary(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"walks"])
def test_files_that_are_no_motions_are_refused(tmp_path, content):
    path = tmp_path / "motion.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="can't read motions from"):
        MotionLibrary(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="can't read motions from"):
        MotionLibrary(path)
