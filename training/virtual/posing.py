"""Posing a body: forward kinematics of its segments, linear blend skinning, joints.

A pose is an array of global rotations, one per segment [S, 3, 3], from the neutral posture
(upright, arms and legs straight down, facing -y) to the posed one. It says nothing about
bone lengths, so one pose fits every body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.virtual.bodies import SEGMENT_INDEX, SEGMENTS, Body, BodyModel
from smap_train.virtual.geometry import aligning

_DOWN = np.array([0.0, 0.0, -1.0])
# Limb segments: (segment, segment whose joint ends it, segment it hangs on or "").
_LIMBS = (
    ("upperarm", "forearm", ""),
    ("forearm", "hand", "upperarm"),
    ("thigh", "shin", ""),
    ("shin", "foot", "thigh"),
)
# mpi15 joint -> segment whose joint it is (neck, head top and pelvis are derived).
_JOINT_SEGMENT = {
    "shoulder": "upperarm",
    "elbow": "forearm",
    "wrist": "hand",
    "hip": "thigh",
    "knee": "shin",
    "ankle": "foot",
}
_MIRROR = np.diag([-1.0, 1.0, 1.0])
_MIRRORED = np.array(
    [
        SEGMENT_INDEX[{"l_": "r_", "r_": "l_"}.get(name[:2], name[:2]) + name[2:]]
        for name in SEGMENTS
    ]
)


def neutral_pose() -> NDArray[np.float64]:
    """The pose without any rotation, [S, 3, 3]."""
    return np.tile(np.eye(3), (len(SEGMENTS), 1, 1))


def mirrored(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose with left and right exchanged, [..., S, 3, 3]."""
    return _MIRROR @ pose[..., _MIRRORED, :, :] @ _MIRROR


def straightening(body: Body) -> NDArray[np.float64]:
    """Rotations that bring a body from its rest pose to the neutral one, [S, 3, 3]."""
    out = neutral_pose()
    for side in "lr":
        for segment, end, upper in _LIMBS:
            own = SEGMENT_INDEX[f"{side}_{segment}"]
            before = out[SEGMENT_INDEX[f"{side}_{upper}"]] if upper else np.eye(3)
            bone = body.joints[SEGMENT_INDEX[f"{side}_{end}"]] - body.joints[own]
            # The lower segment first follows the upper one, which keeps the hinge's axis.
            out[own] = aligning(before @ bone, _DOWN) @ before
        out[SEGMENT_INDEX[f"{side}_hand"]] = out[SEGMENT_INDEX[f"{side}_forearm"]]
    return out


@dataclass(frozen=True)
class Posed:
    """A body in a pose, in the world.

    Attributes:
        rotations: rest to world, [S, 3, 3]; translations: [S, 3].
        joints: segment joints in the world, [S, 3].
    """

    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    joints: NDArray[np.float64]

    def moved(self, offset: NDArray[np.floating]) -> Posed:
        """The same, shifted by ``offset`` [3]."""
        return Posed(self.rotations, self.translations + offset, self.joints + offset)

    def skin(
        self, points: NDArray[np.floating], weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Positions in the world of rest points [N, 3] with weights [N, S]."""
        blend = self._blend(weights)
        return (
            np.matmul(blend[:, :, :3], points[:, :, None].astype(np.float32))[:, :, 0]
            + blend[:, :, 3]
        )

    def skin_with_normals(
        self,
        points: NDArray[np.floating],
        normals: NDArray[np.floating],
        weights: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Positions and normals in the world of rest points [N, 3]."""
        blend = self._blend(weights)
        both = np.stack([points, normals], axis=2).astype(np.float32)
        turned = np.matmul(blend[:, :, :3], both)  # [N, 3, 2]
        return turned[:, :, 0] + blend[:, :, 3], turned[:, :, 1]

    def _blend(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        matrices = np.concatenate([self.rotations, self.translations[:, :, None]], axis=2)
        flat = matrices.reshape(len(matrices), 12).astype(np.float32)
        return (weights @ flat).reshape(-1, 3, 4)


def posed(
    body: Body, model: BodyModel, pose: NDArray[np.float64], heading: NDArray[np.float64]
) -> Posed:
    """Forward kinematics with the pelvis at the origin.

    Args:
        pose: global rotations from neutral [S, 3, 3].
        heading: rotation of the whole person [3, 3].
    """
    rotations = heading @ pose @ straightening(body)
    joints = np.zeros((len(SEGMENTS), 3))
    for k, parent in enumerate(model.parents):  # parents come before their children
        if parent >= 0:
            joints[k] = joints[parent] + rotations[parent] @ (body.joints[k] - body.joints[parent])
    translations = joints - np.einsum("sij,sj->si", rotations, body.joints)
    return Posed(rotations, translations, joints)


def at_rest(body: Body) -> Posed:
    """The body as modelled: arms half raised, legs apart, origin where the model has it."""
    return Posed(neutral_pose(), np.zeros((len(SEGMENTS), 3)), body.joints)


def mpi15_joints(body: Body, model: BodyModel, person: Posed) -> NDArray[np.float64]:
    """The mpi15 joints of a posed body in the world, [15, 3].

    Neck is the midpoint of the shoulders, pelvis that of the hips, head top the top vertex.
    """
    out = np.zeros((len(MPI15), 3))
    for side in "lr":
        for joint, segment in _JOINT_SEGMENT.items():
            out[MPI15.index(f"{side}_{joint}")] = person.joints[SEGMENT_INDEX[f"{side}_{segment}"]]
    for middle, pair in (("neck", "shoulder"), ("pelvis", "hip")):
        out[MPI15.index(middle)] = (
            out[MPI15.index(f"l_{pair}")] + out[MPI15.index(f"r_{pair}")]
        ) / 2
    top = model.head_top
    out[MPI15.index("head_top")] = person.skin(
        body.vertices[top : top + 1], model.weights[top : top + 1]
    )[0]
    return out
