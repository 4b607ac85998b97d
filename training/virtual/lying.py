"""People who lie on the floor: on their back, front or side, with limbs that rest on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.bodies import SEGMENT_INDEX, SEGMENTS, Body, BodyModel
from smap_train.virtual.geometry import aligning, rotation_from_vector
from smap_train.virtual.poses import Angles, Pose, part, set_arm, set_leg, turn
from smap_train.virtual.posing import neutral_pose, posed

# Way of lying -> probability.
WAYS: dict[str, float] = {"back": 0.5, "front": 0.25, "side": 0.25}
# From upright, facing -y: head towards +y, -y and +y; on the side the right one is below.
_LAID = {
    "back": turn("x", -90),
    "front": turn("x", 90),
    "side": turn("y", -90) @ turn("x", -90),
}
# Segments of each kind of limb: upper, lower, last.
_CHAINS = {"arm": ("upperarm", "forearm", "hand"), "leg": ("thigh", "shin", "foot")}
_LIMB_SEGMENTS = np.array(
    [name.split("_")[-1] in (*_CHAINS["arm"], *_CHAINS["leg"]) for name in SEGMENTS]
)
_STEEPEST = 0.96  # sine


@dataclass(frozen=True)
class _Limb:
    """A limb of somebody lying.

    Attributes:
        angles: as if upright.
        middle, end: heights above the floor to which elbow or knee, wrist or ankle are brought,
            metres on a body of 1.7 m; None where the angles say.
    """

    angles: Angles
    middle: float | None
    end: float | None


def lying_pose(body: Body, model: BodyModel, rng: np.random.Generator, way: str) -> Pose:
    """A pose of somebody lying, with limbs on the floor that carries the trunk of this body.

    Args:
        way: a key of :data:`WAYS`.
    """
    pose = neutral_pose()
    _trunk(pose, way, rng)
    limbs: list[tuple[str, str, _Limb]] = []
    for side, sign in (("l", 1.0), ("r", -1.0)):
        leg, arm = _LEGS[way](side, rng), _ARMS[way](side, rng)
        set_leg(pose, side, sign, leg.angles, rng)
        set_arm(pose, side, sign, arm.angles, rng)
        limbs += [(side, "leg", leg), (side, "arm", arm)]
    if way == "side":  # nobody lies on the point of the shoulder
        forward = turn("z", rng.uniform(15, 35))
        for segment in ("clavicle", "upperarm", "forearm", "hand"):
            at = SEGMENT_INDEX[f"r_{segment}"]
            pose[at] = forward @ pose[at]
    pose = _LAID[way] @ turn("z", rng.normal(0, 12 if way == "side" else 3)) @ pose
    return _settled(pose, body, model, way, limbs)


def _trunk(pose: Pose, way: str, rng: np.random.Generator) -> None:
    normal, uniform = rng.normal, rng.uniform
    bend = uniform(5, 40) if way == "side" else normal(0, 3)
    chest = turn("z", normal(0, 4)) @ turn("y", normal(0, 6)) @ turn("x", bend)
    head = {
        "back": turn("z", normal(0, 25)) @ turn("x", normal(3, 6)),
        "front": turn("z", rng.choice([-1, 1]) * uniform(50, 75)) @ turn("x", normal(-8, 4)),
        "side": turn("y", -uniform(5, 25)) @ turn("x", normal(8, 8)),
    }[way]
    for segment, share in (("spine_low", 0.33), ("spine_mid", 0.67), ("chest", 1.0)):
        pose[SEGMENT_INDEX[segment]] = part(chest, share)
    pose[SEGMENT_INDEX["neck"]] = chest @ part(head, 0.5)
    pose[SEGMENT_INDEX["head"]] = chest @ head


def _leg_on_back(_side: str, rng: np.random.Generator) -> _Limb:
    normal, uniform = rng.normal, rng.uniform
    if rng.random() < 0.3:  # the sole on the floor, the knee up
        angles = Angles(uniform(35, 60), abs(normal(6, 5)), normal(5, 6), uniform(80, 110), -20.0)
        return _Limb(angles, None, 0.085)
    angles = Angles(normal(3, 3), abs(normal(8, 6)), normal(16, 9), abs(normal(5, 5)))
    return _Limb(_with_ankle(angles, normal(-20, 8)), 0.08, 0.055)


def _leg_on_front(_side: str, rng: np.random.Generator) -> _Limb:
    normal = rng.normal
    angles = Angles(normal(0, 3), abs(normal(9, 6)), normal(6, 8), abs(normal(5, 4)))
    if rng.random() < 0.15:  # a shin in the air
        angles = Angles(0.0, abs(normal(6, 4)), 0.0, rng.uniform(50, 110), normal(-25, 8))
        return _Limb(angles, 0.065, None)
    return _Limb(_with_ankle(angles, rng.uniform(-65, -50)), 0.065, 0.06)


def _leg_on_side(side: str, rng: np.random.Generator) -> _Limb:
    flexion = rng.uniform(5, 75)
    angles = Angles(flexion, 0.0, 0.0, np.clip(flexion + rng.normal(10, 15), 5, 120), -20.0)
    if side == "r":
        return _Limb(angles, 0.07, 0.055)
    if rng.random() < 0.5:  # the upper knee in front of the lower one, on the floor
        flexion = rng.uniform(65, 95)
        return _Limb(Angles(flexion, 0.0, 0.0, flexion, -20.0), 0.09, 0.08)
    return _Limb(angles, 0.19, 0.16)


def _arm_on_back(_side: str, rng: np.random.Generator) -> _Limb:
    normal, uniform = rng.normal, rng.uniform
    return {
        "beside": _Limb(Angles(0.0, uniform(6, 40), normal(0, 15), abs(normal(12, 9))), 0.05, 0.04),
        "spread": _Limb(Angles(0.0, uniform(50, 100), uniform(-50, 0), uniform(0, 85)), 0.05, 0.04),
        "up": _Limb(Angles(uniform(150, 172), 12.0, normal(0, 10), uniform(0, 50)), 0.06, 0.05),
        "belly": _Limb(Angles(uniform(0, 12), uniform(8, 20), 52.0, uniform(75, 92)), 0.06, None),
    }[str(rng.choice(["beside", "spread", "up", "belly"], p=[0.4, 0.25, 0.15, 0.2]))]


def _arm_on_front(_side: str, rng: np.random.Generator) -> _Limb:
    normal, uniform = rng.normal, rng.uniform
    return {
        "beside": _Limb(Angles(0.0, uniform(8, 40), normal(0, 15), abs(normal(10, 8))), 0.05, 0.04),
        "spread": _Limb(
            Angles(0.0, uniform(70, 120), uniform(-50, -35), uniform(50, 95)), 0.05, 0.04
        ),
        "up": _Limb(Angles(uniform(150, 172), 15.0, 0.0, uniform(0, 60)), 0.05, 0.04),
    }[str(rng.choice(["beside", "spread", "up"], p=[0.35, 0.4, 0.25]))]


def _arm_on_side(side: str, rng: np.random.Generator) -> _Limb:
    angles = Angles(rng.uniform(50, 110), 0.0, 0.0, rng.uniform(10, 110))
    if side == "r":
        return _Limb(angles, 0.06, 0.045)
    if rng.random() < 0.6:  # the hand on the floor before the chest
        return _Limb(Angles(rng.uniform(35, 80), 0.0, 0.0, rng.uniform(20, 80)), 0.2, 0.045)
    return _Limb(Angles(rng.normal(-3, 5), 3.0, 0.0, abs(rng.normal(12, 8))), None, None)


_LEGS = {"back": _leg_on_back, "front": _leg_on_front, "side": _leg_on_side}
_ARMS = {"back": _arm_on_back, "front": _arm_on_front, "side": _arm_on_side}


def _with_ankle(angles: Angles, ankle: float) -> Angles:
    return Angles(angles.flexion, angles.abduction, angles.twist, angles.hinge, ankle)


def _settled(
    pose: Pose, body: Body, model: BodyModel, way: str, limbs: list[tuple[str, str, _Limb]]
) -> Pose:
    """The pose with the trunk level on the floor and each limb at the heights it rests at."""
    at = _resting_vertices(model, way)
    for _ in range(2):
        pose = _levelled(pose, body, model, at)
    floor = float(_skin(pose, body, model, at)[:, 2].min())
    scale = body.height / 1.7
    for side, kind, limb in limbs:
        chain = [SEGMENT_INDEX[f"{side}_{segment}"] for segment in _CHAINS[kind]]
        for k, height in enumerate((limb.middle, limb.end)):
            if height is not None:
                joints = posed(body, model, pose, np.eye(3)).joints
                bone = joints[chain[k + 1]] - joints[chain[k]]
                rise = floor + height * scale - joints[chain[k], 2]
                lower = _inclined(bone, rise / float(np.linalg.norm(bone)))
                pose[chain[k:]] = lower @ pose[chain[k:]]
    return pose


def _levelled(pose: Pose, body: Body, model: BodyModel, at: NDArray[np.intp]) -> Pose:
    """The pose tilted so that shoulders and hips are on the same floor; a copy."""
    joints = posed(body, model, pose, np.eye(3)).joints
    hips = joints[SEGMENT_INDEX["pelvis"]]
    spine = joints[SEGMENT_INDEX["neck"], :2] - hips[:2]
    spine = spine / np.linalg.norm(spine)
    points = _skin(pose, body, model, at)
    along = (points[:, :2] - hips[:2]) @ spine
    middle = 0.25 * body.height / 1.7
    lowest = [points[part, 2].min() for part in (along < middle, along >= middle)]
    angle = np.arctan2(lowest[1] - lowest[0], 1.6 * middle)
    # Lowers the head's end where that is the higher one.
    return rotation_from_vector(np.array([-spine[1], spine[0], 0.0]) * angle) @ pose


def _inclined(bone: NDArray[np.float64], sine: float) -> NDArray[np.float64]:
    """Rotation that gives a bone [3] another inclination in the same direction seen from above."""
    sine = float(np.clip(sine, -_STEEPEST, _STEEPEST))
    level = bone[:2] / max(float(np.linalg.norm(bone[:2])), 1e-9)
    return aligning(bone, np.array([*(level * np.sqrt(1 - sine**2)), sine]))


def _resting_vertices(model: BodyModel, way: str) -> NDArray[np.intp]:
    """Some vertices of what carries somebody lying: the trunk, on the side also the lower arm."""
    limbs = _LIMB_SEGMENTS.copy()
    if way == "side":
        limbs[SEGMENT_INDEX["r_upperarm"]] = False
    at = model.skin_vertices[::3]
    carries = model.weights[at][:, limbs].sum(1) < 0.3
    return at[carries & (model.weights[at, SEGMENT_INDEX["head"]] < 0.3)]


def _skin(pose: Pose, body: Body, model: BodyModel, at: NDArray[np.intp]) -> NDArray[np.float32]:
    person = posed(body, model, pose, np.eye(3))
    return person.skin(body.vertices[at], model.weights[at])
