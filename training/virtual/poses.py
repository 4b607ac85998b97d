"""Poses drawn at random within the limits of human joints.

Angles are in degrees here, because anatomy books state them so; see each posture for its
ranges. Axes of a body in neutral pose: x left, y back, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.virtual.bodies import SEGMENT_INDEX
from training.virtual.geometry import about, rotation_from_vector, vector_from_rotation
from training.virtual.posing import neutral_pose

Pose = NDArray[np.float64]

# Posture -> probability.
POSTURES: dict[str, float] = {
    "stand": 0.38,
    "walk": 0.2,
    "sit": 0.16,
    "crouch": 0.08,
    "reach": 0.1,
    "bend": 0.08,
}
_ARM_STYLES: dict[str, float] = {
    "hang": 0.36,
    "front": 0.2,
    "side": 0.1,
    "up": 0.12,
    "waist": 0.12,
    "fold": 0.1,
}


@dataclass(frozen=True)
class _Angles:
    """Flexion, abduction and twist at a ball joint, flexion at the hinge below it."""

    flexion: float
    abduction: float
    twist: float
    hinge: float


def _turn(axis: str, degrees: float) -> NDArray[np.float64]:
    return about(axis, np.radians(degrees))


def _part(rotation: NDArray[np.float64], fraction: float) -> NDArray[np.float64]:
    return rotation_from_vector(vector_from_rotation(rotation) * fraction)


def random_pose(rng: np.random.Generator, posture: str | None = None) -> tuple[Pose, str]:
    """A pose and the name of its posture.

    Args:
        posture: a key of :data:`POSTURES`, or None to draw one.
    """
    posture = posture or str(rng.choice(list(POSTURES), p=list(POSTURES.values())))
    phase = rng.uniform(0, 2 * np.pi)
    stoop = {"bend": rng.uniform(20, 85), "crouch": rng.uniform(0, 40)}.get(posture, 0.0)
    pose = neutral_pose()
    _trunk(pose, rng, posture, stoop)
    squat = rng.uniform(35, 115)
    for side, sign in (("l", 1.0), ("r", -1.0)):
        swing = phase + (0.0 if side == "l" else np.pi)
        leg = _leg(rng, posture, swing, squat)
        _set_leg(pose, side, sign, leg, rng)
        _set_arm(pose, side, sign, _arm(rng, posture, swing + np.pi), rng)
    return pose, posture


def _trunk(pose: Pose, rng: np.random.Generator, posture: str, stoop: float) -> None:
    normal = rng.normal
    tilt = {"sit": normal(-6, 8), "crouch": normal(12, 8), "bend": 0.4 * stoop}
    pelvis = _turn("x", tilt.get(posture, normal(2, 4))) @ _turn("y", normal(0, 2.5))
    bend = np.clip(normal(4, 7) + 0.6 * stoop, -15, 60)
    chest = (
        _turn("z", np.clip(normal(0, 13), -35, 35)) @ _turn("y", normal(0, 5)) @ _turn("x", bend)
    )
    nod = np.clip(normal(4, 13) - 0.5 * stoop, -45, 40)
    head = _turn("z", np.clip(normal(0, 24), -65, 65)) @ _turn("y", normal(0, 6)) @ _turn("x", nod)
    for segment, share in (("spine_low", 0.33), ("spine_mid", 0.67), ("chest", 1.0)):
        pose[SEGMENT_INDEX[segment]] = pelvis @ _part(chest, share)
    pose[SEGMENT_INDEX["pelvis"]] = pelvis
    pose[SEGMENT_INDEX["neck"]] = pelvis @ chest @ _part(head, 0.5)
    pose[SEGMENT_INDEX["head"]] = pelvis @ chest @ head


def _leg(rng: np.random.Generator, posture: str, swing: float, squat: float) -> _Angles:
    normal = rng.normal
    if posture == "sit":
        return _Angles(normal(84, 8), abs(normal(7, 7)), normal(0, 6), normal(84, 16))
    if posture == "crouch":
        return _Angles(
            squat + normal(0, 6), abs(normal(14, 8)), normal(0, 6), squat * rng.uniform(1.2, 1.5)
        )
    if posture == "walk":
        knee = max(4.0, 28 - 26 * np.cos(swing - 0.9) + normal(0, 5))
        return _Angles(24 * np.sin(swing) + normal(6, 4), normal(2, 2), normal(0, 4), knee)
    lean = rng.uniform(8, 16) if posture == "bend" else normal(4, 6)
    return _Angles(lean, abs(normal(5, 5)), normal(0, 8), abs(normal(7, 8)))


def _arm(rng: np.random.Generator, posture: str, swing: float) -> _Angles:
    normal = rng.normal
    if posture == "walk" and rng.random() < 0.75:
        return _Angles(20 * np.sin(swing), abs(normal(6, 4)), normal(0, 8), abs(normal(22, 12)))
    style = str(rng.choice(list(_ARM_STYLES), p=list(_ARM_STYLES.values())))
    if posture == "reach":
        style = str(rng.choice(["front", "side", "up"]))
    if posture == "sit" and rng.random() < 0.5:
        style = "lap"
    return {
        "hang": _Angles(normal(3, 9), abs(normal(8, 6)), normal(0, 12), abs(normal(14, 13))),
        "front": _Angles(normal(62, 26), normal(6, 13), normal(0, 20), rng.uniform(0, 125)),
        "side": _Angles(normal(0, 18), rng.uniform(45, 100), normal(0, 25), rng.uniform(0, 110)),
        "up": _Angles(normal(150, 17), normal(10, 13), normal(0, 25), rng.uniform(0, 100)),
        "waist": _Angles(normal(-14, 9), normal(36, 9), normal(38, 12), normal(88, 16)),
        "fold": _Angles(normal(28, 8), normal(2, 6), normal(50, 10), normal(105, 12)),
        "lap": _Angles(normal(22, 9), abs(normal(8, 6)), normal(18, 10), normal(55, 15)),
    }[style]


def _set_leg(pose: Pose, side: str, sign: float, angles: _Angles, rng: np.random.Generator) -> None:
    # Legs start from the upright, not from the tilted pelvis: that keeps people in balance.
    flexion = np.clip(angles.flexion, -25, 120)
    knee = np.clip(angles.hinge, 0, 145)
    thigh = (
        _turn("x", -flexion)
        @ _turn("y", -sign * np.clip(angles.abduction, -10, 40))
        @ _turn("z", sign * np.clip(angles.twist, -30, 35))
    )
    shin = thigh @ _turn("x", knee)
    ankle = np.clip(knee - flexion + rng.normal(0, 5), -25, 35)
    pose[SEGMENT_INDEX[f"{side}_thigh"]] = thigh
    pose[SEGMENT_INDEX[f"{side}_shin"]] = shin
    pose[SEGMENT_INDEX[f"{side}_foot"]] = shin @ _turn("x", -ankle)


def _set_arm(pose: Pose, side: str, sign: float, angles: _Angles, rng: np.random.Generator) -> None:
    chest = pose[SEGMENT_INDEX["chest"]]
    flexion = np.clip(angles.flexion, -40, 175)
    lift = _turn("y", -sign * np.clip(angles.abduction, -20, 130)) @ _turn("x", -flexion)
    # Positive twist turns the arm inwards, so that the bent forearm points to the belly.
    upper = chest @ lift @ _turn("z", -sign * np.clip(angles.twist, -50, 70))
    elbow = np.clip(angles.hinge, 0, 145)
    forearm = upper @ _turn("x", -elbow)
    hand = forearm @ _turn("x", np.clip(rng.normal(0, 12), -50, 50))
    raised = _part(chest.T @ upper, 0.16)
    pose[SEGMENT_INDEX[f"{side}_clavicle"]] = chest @ raised
    pose[SEGMENT_INDEX[f"{side}_upperarm"]] = upper
    pose[SEGMENT_INDEX[f"{side}_forearm"]] = forearm
    pose[SEGMENT_INDEX[f"{side}_hand"]] = hand @ _turn("z", rng.normal(0, 15))


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


def _distance(point: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Distance of a point from the segment a-b."""
    along = b - a
    share = np.clip((point - a) @ along / max(along @ along, 1e-9), 0, 1)
    return float(np.linalg.norm(point - a - share * along))
