"""Poses drawn at random within the limits of human joints.

Angles are in degrees here, because anatomy books state them so; see each posture for its
ranges. Axes of a body in neutral pose: x left, y back, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.bodies import SEGMENT_INDEX
from smap_train.virtual.geometry import about, rotation_from_vector, vector_from_rotation
from smap_train.virtual.posing import neutral_pose

Pose = NDArray[np.float64]

# Posture -> probability.
POSTURES: dict[str, float] = {
    "stand": 0.26,
    "walk": 0.13,
    "sit": 0.14,
    "sit_floor": 0.05,
    "crouch": 0.07,
    "kneel": 0.05,
    "reach": 0.1,
    "bend": 0.06,
    "carry": 0.07,
    "lie": 0.07,
}
_ARM_STYLES: dict[str, float] = {
    "hang": 0.36,
    "front": 0.2,
    "side": 0.1,
    "up": 0.12,
    "waist": 0.12,
    "fold": 0.1,
}


# On the floor hands lie in the lap or are held before the body: hanging ones would be below it.
_SITTING_ARM_STYLES = ("lap", "lap", "front", "fold", "up")


@dataclass(frozen=True)
class Angles:
    """Flexion, abduction and twist at a ball joint, flexion at the hinge below it.

    Attributes:
        ankle: how far the toes are raised towards the shin; None keeps the sole level.
    """

    flexion: float
    abduction: float
    twist: float
    hinge: float
    ankle: float | None = None


def turn(axis: str, degrees: float) -> NDArray[np.float64]:
    """Rotation about ``"x"``, ``"y"`` or ``"z"`` by an angle in degrees, [3, 3]."""
    return about(axis, np.radians(degrees))


def part(rotation: NDArray[np.float64], fraction: float) -> NDArray[np.float64]:
    """A fraction of a rotation, [3, 3]."""
    return rotation_from_vector(vector_from_rotation(rotation) * fraction)


def random_pose(rng: np.random.Generator, posture: str) -> Pose:
    """A pose of somebody upright, kneeling or seated.

    Args:
        posture: a key of :data:`POSTURES` but ``lie``, for which see
            :mod:`smap_train.virtual.lying`.
    """
    phase = rng.uniform(0, 2 * np.pi)
    stoop = {"bend": rng.uniform(20, 85), "crouch": rng.uniform(0, 40)}.get(posture, 0.0)
    pose = neutral_pose()
    _trunk(pose, rng, posture, stoop)
    squat = rng.uniform(35, 115)
    if posture == "kneel":
        squat = rng.choice([0.0, rng.uniform(80, 95)])  # on both knees, or one leg ahead
    gait = str(rng.choice(["stand", "walk"])) if posture == "carry" else posture
    around = holding(rng)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        swing = phase + (0.0 if side == "l" else np.pi)
        leg = _leg(rng, gait, swing, squat if side == "l" or posture != "kneel" else 0.0)
        set_leg(pose, side, sign, leg, rng)
        arm = around if posture == "carry" else _arm(rng, posture, swing + np.pi)
        set_arm(pose, side, sign, arm, rng)
    return pose


def holding(rng: np.random.Generator) -> Angles:
    """Both arms around something in front of the belly or the chest."""
    uniform = rng.uniform
    return Angles(uniform(5, 45), uniform(2, 14), uniform(0, 18), uniform(50, 105))


def _trunk(pose: Pose, rng: np.random.Generator, posture: str, stoop: float) -> None:
    normal = rng.normal
    tilt = {
        "sit": normal(-6, 8),
        "sit_floor": normal(-12, 8),
        "crouch": normal(12, 8),
        "bend": 0.4 * stoop,
    }
    pelvis = turn("x", tilt.get(posture, normal(2, 4))) @ turn("y", normal(0, 2.5))
    bend = np.clip(normal(4, 7) + 0.6 * stoop, -15, 60)
    chest = turn("z", np.clip(normal(0, 13), -35, 35)) @ turn("y", normal(0, 5)) @ turn("x", bend)
    nod = np.clip(normal(4, 13) - 0.5 * stoop, -45, 40)
    head = turn("z", np.clip(normal(0, 24), -65, 65)) @ turn("y", normal(0, 6)) @ turn("x", nod)
    for segment, share in (("spine_low", 0.33), ("spine_mid", 0.67), ("chest", 1.0)):
        pose[SEGMENT_INDEX[segment]] = pelvis @ part(chest, share)
    pose[SEGMENT_INDEX["pelvis"]] = pelvis
    pose[SEGMENT_INDEX["neck"]] = pelvis @ chest @ part(head, 0.5)
    pose[SEGMENT_INDEX["head"]] = pelvis @ chest @ head


def _leg(rng: np.random.Generator, posture: str, swing: float, squat: float) -> Angles:
    normal = rng.normal
    if posture == "sit":
        return Angles(normal(84, 8), abs(normal(7, 7)), normal(0, 6), normal(84, 16))
    if posture == "sit_floor":
        raised = rng.uniform(0, 30)  # heels stay on the floor, knees rise
        legs = 90 + raised, abs(normal(8, 7)), normal(5, 8), 2 * raised
        return Angles(*legs, normal(-0.5 * raised, 6))
    if posture == "kneel":
        if squat:
            return Angles(squat, abs(normal(8, 5)), normal(4, 5), squat + normal(0, 4))
        back = rng.uniform(-8, 20)
        return Angles(back, abs(normal(5, 4)), normal(0, 4), 90 + back, rng.uniform(-65, -50))
    if posture == "crouch":
        return Angles(
            squat + normal(0, 6), abs(normal(14, 8)), normal(0, 6), squat * rng.uniform(1.2, 1.5)
        )
    if posture == "walk":
        knee = max(4.0, 28 - 26 * np.cos(swing - 0.9) + normal(0, 5))
        return Angles(24 * np.sin(swing) + normal(6, 4), normal(2, 2), normal(0, 4), knee)
    lean = rng.uniform(8, 16) if posture == "bend" else normal(4, 6)
    return Angles(lean, abs(normal(5, 5)), normal(0, 8), abs(normal(7, 8)))


def _arm(rng: np.random.Generator, posture: str, swing: float) -> Angles:
    normal = rng.normal
    if posture == "walk" and rng.random() < 0.75:
        return Angles(20 * np.sin(swing), abs(normal(6, 4)), normal(0, 8), abs(normal(22, 12)))
    style = str(rng.choice(list(_ARM_STYLES), p=list(_ARM_STYLES.values())))
    if posture == "reach":
        style = str(rng.choice(["front", "side", "up"]))
    if posture == "sit" and rng.random() < 0.5:
        style = "lap"
    if posture == "sit_floor":
        style = str(rng.choice(_SITTING_ARM_STYLES))
    return {
        "hang": Angles(normal(3, 9), abs(normal(8, 6)), normal(0, 12), abs(normal(14, 13))),
        "front": Angles(normal(62, 26), normal(6, 13), normal(0, 20), rng.uniform(0, 125)),
        "side": Angles(normal(0, 18), rng.uniform(45, 100), normal(0, 25), rng.uniform(0, 110)),
        "up": Angles(normal(150, 17), normal(10, 13), normal(0, 25), rng.uniform(0, 100)),
        "waist": Angles(normal(-14, 9), normal(36, 9), normal(38, 12), normal(88, 16)),
        "fold": Angles(normal(28, 8), normal(2, 6), normal(50, 10), normal(105, 12)),
        "lap": Angles(normal(22, 9), abs(normal(8, 6)), normal(18, 10), normal(55, 15)),
    }[style]


def set_leg(pose: Pose, side: str, sign: float, angles: Angles, rng: np.random.Generator) -> None:
    """Set one leg of ``pose``; ``sign`` is 1 for the left side and -1 for the right one."""
    # Legs start from the upright, not from the tilted pelvis: that keeps people in balance.
    flexion = np.clip(angles.flexion, -25, 120)
    knee = np.clip(angles.hinge, 0, 145)
    thigh = (
        turn("x", -flexion)
        @ turn("y", -sign * np.clip(angles.abduction, -10, 40))
        @ turn("z", sign * np.clip(angles.twist, -30, 35))
    )
    shin = thigh @ turn("x", knee)
    if angles.ankle is None:
        ankle = np.clip(knee - flexion + rng.normal(0, 5), -25, 35)
    else:
        ankle = np.clip(angles.ankle, -65, 35)
    pose[SEGMENT_INDEX[f"{side}_thigh"]] = thigh
    pose[SEGMENT_INDEX[f"{side}_shin"]] = shin
    pose[SEGMENT_INDEX[f"{side}_foot"]] = shin @ turn("x", -ankle)


def set_arm(pose: Pose, side: str, sign: float, angles: Angles, rng: np.random.Generator) -> None:
    """Set one arm of ``pose``, hanging on its chest; ``sign`` as for :func:`set_leg`."""
    chest = pose[SEGMENT_INDEX["chest"]]
    flexion = np.clip(angles.flexion, -40, 175)
    lift = turn("y", -sign * np.clip(angles.abduction, -20, 130)) @ turn("x", -flexion)
    # Positive twist turns the arm inwards, so that the bent forearm points to the belly.
    upper = chest @ lift @ turn("z", -sign * np.clip(angles.twist, -50, 70))
    elbow = np.clip(angles.hinge, 0, 145)
    forearm = upper @ turn("x", -elbow)
    hand = forearm @ turn("x", np.clip(rng.normal(0, 12), -50, 50))
    raised = part(chest.T @ upper, 0.16)
    pose[SEGMENT_INDEX[f"{side}_clavicle"]] = chest @ raised
    pose[SEGMENT_INDEX[f"{side}_upperarm"]] = upper
    pose[SEGMENT_INDEX[f"{side}_forearm"]] = forearm
    pose[SEGMENT_INDEX[f"{side}_hand"]] = hand @ turn("z", rng.normal(0, 15))


def limbs_collide(joints: NDArray[np.float64]) -> bool:
    """Whether a hand or elbow is inside the trunk, the head or a thigh.

    Args:
        joints: mpi15 joints of an upright-sized body in metres, [15, 3].
    """
    neck, head, pelvis = joints[0], joints[1], joints[2]
    for elbow, wrist, hip, knee in ((4, 5, 6, 7), (10, 11, 12, 13)):
        hand = joints[wrist] + 0.4 * (joints[wrist] - joints[elbow])
        for point, room in ((joints[elbow], 0.14), (joints[wrist], 0.16), (hand, 0.13)):
            if _distance(point, neck, pelvis) < room or _distance(point, neck, head) < 0.12:
                return True
        for a, b in ((joints[hip], joints[knee]), (joints[6], joints[7]), (joints[12], joints[13])):
            if _distance(joints[wrist], a, b) < 0.1 or _distance(hand, a, b) < 0.08:
                return True
    return False


def leans_on_hands(joints: NDArray[np.float64]) -> bool:
    """Whether a hand is below what should carry the body: feet, knees or seat.

    Args:
        joints: as for :func:`limbs_collide`.
    """
    wrists, elbows = joints[[5, 11]], joints[[4, 10]]
    hands = wrists + 0.5 * (wrists - elbows)
    support = min(
        joints[[8, 14], 2].min() - 0.08, joints[[7, 13], 2].min() - 0.06, joints[2, 2] - 0.1
    )
    return bool(min(hands[:, 2].min(), wrists[:, 2].min() - 0.04) < support)


def _distance(point: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Distance of a point from the segment a-b."""
    along = b - a
    share = np.clip((point - a) @ along / max(along @ along, 1e-9), 0, 1)
    return float(np.linalg.norm(point - a - share * along))
