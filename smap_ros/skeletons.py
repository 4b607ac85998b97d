"""Joint sets, their limbs, and conversion between them by joint name.

``mpi15`` is the working set everywhere (SMAP, section 3.1); others are converted at the
edges of the system. Left and right are the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError


@dataclass(frozen=True)
class Skeleton:
    """A named, ordered set of joints.

    Attributes:
        name: identifier used in bundles, messages and files.
        joints: joint names in channel order; left and right are ``l_`` and ``r_``.
        limbs: pairs of joint indices that are drawn as bones.
        root: index of the joint that gives a person's position.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    root: int

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def flip(self) -> NDArray[np.intp]:
        """Permutation of the joints under a mirrored image, int [J]."""
        swap = {"l_": "r_", "r_": "l_"}
        names = [swap.get(name[:2], name[:2]) + name[2:] for name in self.joints]
        return np.array([self.joints.index(name) for name in names], dtype=np.intp)

    def index(self, joint: str) -> int:
        """Index of a joint by name.

        Raises:
            InputError: if the set has no such joint, naming those it has.
        """
        if joint not in self.joints:
            raise InputError(
                f"joint set {self.name!r} has no joint {joint!r}; it has {', '.join(self.joints)}"
            )
        return self.joints.index(joint)

    def side(self, joint: int) -> str:
        """``"left"``, ``"right"`` or ``"middle"``: the side a joint is drawn as."""
        return {"l_": "left", "r_": "right"}.get(self.joints[joint][:2], "middle")


def _skeleton(name: str, joints: str, limbs: str, root: str) -> Skeleton:
    names = tuple(joints.split())
    pairs = [tuple(pair.split("-")) for pair in limbs.split()]
    return Skeleton(
        name=name,
        joints=names,
        limbs=tuple((names.index(a), names.index(b)) for a, b in pairs),
        root=names.index(root),
    )


# SMAP's order of joints and limbs; limb k carries part-affinity channels 2k and 2k+1.
MPI15 = _skeleton(
    "mpi15",
    "neck head_top pelvis l_shoulder l_elbow l_wrist l_hip l_knee l_ankle "
    "r_shoulder r_elbow r_wrist r_hip r_knee r_ankle",
    "neck-head_top neck-pelvis neck-r_shoulder r_shoulder-r_elbow r_elbow-r_wrist "
    "neck-l_shoulder l_shoulder-l_elbow l_elbow-l_wrist pelvis-r_hip r_hip-r_knee "
    "r_knee-r_ankle pelvis-l_hip l_hip-l_knee l_knee-l_ankle",
    "pelvis",
)

# MPI-INF-3DHP / MuPoTS order.
MPI17 = _skeleton(
    "mpi17",
    "head_top neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle "
    "l_hip l_knee l_ankle pelvis spine head",
    "neck-head head-head_top neck-spine spine-pelvis neck-r_shoulder r_shoulder-r_elbow "
    "r_elbow-r_wrist neck-l_shoulder l_shoulder-l_elbow l_elbow-l_wrist pelvis-r_hip r_hip-r_knee "
    "r_knee-r_ankle pelvis-l_hip l_hip-l_knee l_knee-l_ankle",
    "pelvis",
)

# Human3.6M with 17 joints, in the order of the public preparation scripts.
H36M17 = _skeleton(
    "h36m17",
    "pelvis r_hip r_knee r_ankle l_hip l_knee l_ankle spine neck nose head_top "
    "l_shoulder l_elbow l_wrist r_shoulder r_elbow r_wrist",
    "pelvis-r_hip r_hip-r_knee r_knee-r_ankle pelvis-l_hip l_hip-l_knee l_knee-l_ankle "
    "pelvis-spine spine-neck neck-nose nose-head_top neck-l_shoulder l_shoulder-l_elbow "
    "l_elbow-l_wrist neck-r_shoulder r_shoulder-r_elbow r_elbow-r_wrist",
    "pelvis",
)

# Human3.6M as MobileHumanPose uses it: with the thorax, the mean of the shoulders.
H36M18 = _skeleton(
    "h36m18",
    " ".join((*H36M17.joints, "thorax")),
    "pelvis-r_hip r_hip-r_knee r_knee-r_ankle pelvis-l_hip l_hip-l_knee l_knee-l_ankle "
    "pelvis-spine spine-thorax thorax-neck neck-nose nose-head_top thorax-l_shoulder "
    "l_shoulder-l_elbow l_elbow-l_wrist thorax-r_shoulder r_shoulder-r_elbow r_elbow-r_wrist",
    "pelvis",
)

# MuCo-3DHP order: MPI-INF-3DHP's and the ends of hands and feet.
MUCO21 = _skeleton(
    "muco21",
    " ".join((*MPI17.joints, "r_hand", "l_hand", "r_foot", "l_foot")),
    "neck-head head-head_top neck-spine spine-pelvis neck-r_shoulder r_shoulder-r_elbow "
    "r_elbow-r_wrist neck-l_shoulder l_shoulder-l_elbow l_elbow-l_wrist pelvis-r_hip r_hip-r_knee "
    "r_knee-r_ankle pelvis-l_hip l_hip-l_knee l_knee-l_ankle r_wrist-r_hand l_wrist-l_hand "
    "r_ankle-r_foot l_ankle-l_foot",
    "pelvis",
)

COCO17 = _skeleton(
    "coco17",
    "nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist "
    "l_hip r_hip l_knee r_knee l_ankle r_ankle",
    "l_shoulder-r_shoulder l_shoulder-l_elbow l_elbow-l_wrist r_shoulder-r_elbow r_elbow-r_wrist "
    "l_hip-r_hip l_shoulder-l_hip r_shoulder-r_hip l_hip-l_knee l_knee-l_ankle r_hip-r_knee "
    "r_knee-r_ankle nose-l_eye nose-r_eye l_eye-l_ear r_eye-r_ear",
    "l_hip",
)

# hri_msgs/Skeleton2D: the 18 points of OpenPose's COCO model, but for the order of eyes and ears.
HRI18 = _skeleton(
    "hri18",
    "nose neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle "
    "l_hip l_knee l_ankle l_eye r_eye l_ear r_ear",
    "neck-r_shoulder r_shoulder-r_elbow r_elbow-r_wrist neck-l_shoulder l_shoulder-l_elbow "
    "l_elbow-l_wrist neck-r_hip r_hip-r_knee r_knee-r_ankle neck-l_hip l_hip-l_knee "
    "l_knee-l_ankle neck-nose nose-r_eye r_eye-r_ear nose-l_eye l_eye-l_ear",
    "neck",
)

# SMPL's 24 joints in kinematic order.
SMPL24 = _skeleton(
    "smpl24",
    "pelvis l_hip r_hip spine1 l_knee r_knee spine2 l_ankle r_ankle spine3 l_foot r_foot neck "
    "l_collar r_collar head l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist l_hand r_hand",
    "pelvis-l_hip pelvis-r_hip pelvis-spine1 l_hip-l_knee r_hip-r_knee spine1-spine2 "
    "l_knee-l_ankle r_knee-r_ankle spine2-spine3 l_ankle-l_foot r_ankle-r_foot spine3-neck "
    "spine3-l_collar spine3-r_collar neck-head l_collar-l_shoulder r_collar-r_shoulder "
    "l_shoulder-l_elbow r_shoulder-r_elbow l_elbow-l_wrist r_elbow-r_wrist l_wrist-l_hand "
    "r_wrist-r_hand",
    "pelvis",
)

# SMPL's joints and the points of the face that 3DCrowdNet adds: what its 2D poses are given in.
SMPL30 = _skeleton(
    "smpl30",
    " ".join((*SMPL24.joints, "nose", "l_eye", "r_eye", "l_ear", "r_ear", "head_top")),
    " ".join(f"{SMPL24.joints[a]}-{SMPL24.joints[b]}" for a, b in SMPL24.limbs)
    + " head-nose nose-l_eye nose-r_eye l_eye-l_ear r_eye-r_ear head-head_top",
    "pelvis",
)

# The nodes of 3DCrowdNet's joint graph.
CROWD15 = _skeleton(
    "crowd15",
    "pelvis l_hip r_hip l_knee r_knee l_ankle r_ankle neck head_top l_shoulder r_shoulder "
    "l_elbow r_elbow l_wrist r_wrist",
    "pelvis-l_hip l_hip-l_knee l_knee-l_ankle pelvis-r_hip r_hip-r_knee r_knee-r_ankle "
    "pelvis-neck neck-head_top neck-l_shoulder l_shoulder-l_elbow l_elbow-l_wrist "
    "neck-r_shoulder r_shoulder-r_elbow r_elbow-r_wrist",
    "pelvis",
)

# SPIN's joints: those of OpenPose as they come from SMPL's skeleton and surface, then those of
# other data sets, which are regressed from the surface and are the ones to compare with.
SPIN49 = _skeleton(
    "spin49",
    "nose_op neck_op r_shoulder_op r_elbow_op r_wrist_op l_shoulder_op l_elbow_op l_wrist_op "
    "pelvis_op r_hip_op r_knee_op r_ankle_op l_hip_op l_knee_op l_ankle_op r_eye_op l_eye_op "
    "r_ear_op l_ear_op l_big_toe l_small_toe l_heel r_big_toe r_small_toe r_heel "
    "r_ankle r_knee r_hip l_hip l_knee l_ankle r_wrist r_elbow r_shoulder l_shoulder l_elbow "
    "l_wrist neck head_top pelvis thorax spine jaw head nose l_eye r_eye l_ear r_ear",
    "neck-head_top neck-pelvis neck-r_shoulder r_shoulder-r_elbow r_elbow-r_wrist "
    "neck-l_shoulder l_shoulder-l_elbow l_elbow-l_wrist pelvis-r_hip r_hip-r_knee "
    "r_knee-r_ankle pelvis-l_hip l_hip-l_knee l_knee-l_ankle",
    "pelvis",
)

SKELETONS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        MPI15,
        MPI17,
        H36M17,
        H36M18,
        MUCO21,
        COCO17,
        HRI18,
        SMPL24,
        SMPL30,
        CROWD15,
        SPIN49,
    )
}

# Joints a set lacks but others imply: name -> joints whose mean stands for it.
_MIDPOINTS: dict[str, tuple[str, str]] = {
    "neck": ("l_shoulder", "r_shoulder"),
    "pelvis": ("l_hip", "r_hip"),
}


def get_skeleton(name: str) -> Skeleton:
    """The joint set of that name.

    Raises:
        InputError: if there is none, naming those that exist.
    """
    if name not in SKELETONS:
        raise InputError(f"unknown joint set {name!r}; known: {', '.join(SKELETONS)}")
    return SKELETONS[name]


def convert(
    points: NDArray[np.floating], source: Skeleton, target: Skeleton
) -> NDArray[np.floating]:
    """Reorder joints from one set to another, by name.

    Neck and pelvis are taken as midpoints of shoulders and hips where the source lacks
    them; every other joint the source lacks becomes NaN.

    Args:
        points: float [..., J_source, C].

    Returns:
        float [..., J_target, C] of the same dtype.

    Raises:
        InputError: if the joint axis doesn't fit ``source``.
    """
    if points.ndim < 2 or points.shape[-2] != len(source):
        raise InputError(
            f"points of shape {points.shape} don't fit joint set {source.name!r}: "
            f"expected [..., {len(source)}, C]"
        )
    if source == target:
        return points.copy()
    out = np.full((*points.shape[:-2], len(target), points.shape[-1]), np.nan, points.dtype)
    for k, name in enumerate(target.joints):
        if name in source.joints:
            out[..., k, :] = points[..., source.joints.index(name), :]
        elif name in _MIDPOINTS and all(j in source.joints for j in _MIDPOINTS[name]):
            a, b = (source.joints.index(j) for j in _MIDPOINTS[name])
            out[..., k, :] = (points[..., a, :] + points[..., b, :]) / 2
    return out
