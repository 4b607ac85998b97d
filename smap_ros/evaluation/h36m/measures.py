"""Human3.6M (Ionescu et al., PAMI 2014) as MobileHumanPose and its line of work measure it.

Every 64th frame of the test subjects, all cameras and actions. Protocol 1: subject 11, after the
best rotation and translation. Protocol 2: subjects 9 and 11, with the pelvises aligned. The mean
is over 17 joints; a thorax, the middle of the shoulders, takes part in the alignment alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.evaluation.common.metrics import joint_errors, procrustes
from smap_ros.skeletons import H36M18

Float = NDArray[np.float64]

EVERY = 64  # frames
COUNTED = slice(0, 17)
ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting",
    "SittingDown", "Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether",
)  # fmt: skip

_SHOULDERS = [H36M18.index("l_shoulder"), H36M18.index("r_shoulder")]


@dataclass(frozen=True)
class Protocol:
    """One of the two protocols.

    Attributes:
        name: for people to read.
        subjects: that are tested.
        aligned: whether the prediction is turned and moved onto the truth; it isn't scaled.
    """

    name: str
    subjects: tuple[int, ...]
    aligned: bool


PROTOCOLS = {
    "h36m-p1": Protocol("protocol 1 (PA-MPJPE, not scaled)", (11,), aligned=True),
    "h36m-p2": Protocol("protocol 2 (MPJPE)", (9, 11), aligned=False),
}


def with_thorax(joints: Float) -> Float:
    """The 17 joints [..., 17, 3] and the middle of the shoulders, float64 [..., 18, 3]."""
    thorax = joints[..., _SHOULDERS, :].mean(axis=-2, keepdims=True)
    return np.concatenate([joints, thorax], axis=-2)


def errors(predicted: Float, true: Float, protocol: Protocol) -> Float:
    """Errors of one person.

    Args:
        predicted: float64 [18, 3], metres; NaN where missing. The pelvis must be there.
        true: float64 [18, 3], metres.
        protocol: what is aligned.

    Returns:
        float64 [17], metres; NaN where missing.
    """
    root = H36M18.root
    predicted, true = predicted - predicted[root], true - true[root]
    there = np.isfinite(predicted).all(axis=1)
    if protocol.aligned and there.sum() >= 3:
        predicted = predicted.copy()
        predicted[there] = procrustes(predicted[there], true[there], scaled=False)
    distances: Float = joint_errors(predicted, true)[COUNTED]
    return distances
