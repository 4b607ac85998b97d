"""The SMPL body in numpy, for the meshes of true people.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015. The body is
licensed to each user personally, who puts ``SMPL_NEUTRAL.npz`` (arrays ``v_template``,
``shapedirs``, ``posedirs``, ``J_regressor``, ``weights``) and ``J_regressor_h36m.npy`` (of SPIN's
data archive) into a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import DAMAGED_ARRAYS, InputError

Float = NDArray[np.float64]

BODY, H36M = "SMPL_NEUTRAL.npz", "J_regressor_h36m.npy"
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
_VERTICES, _SHAPES = 6890, 10
_EXPECTED = {
    "v_template": (_VERTICES, 3),
    "shapedirs": (_VERTICES, 3, _SHAPES),
    "posedirs": (_VERTICES, 3, 207),
    "J_regressor": (24, _VERTICES),
    "weights": (_VERTICES, 24),
}


@dataclass(frozen=True)
class BodyModel:
    """SMPL, and the regressor of Human3.6M's 17 joints.

    Attributes:
        v_template: float64 [6890, 3], metres.
        shapedirs: float64 [6890, 3, 10].
        posedirs: float64 [6890, 3, 207].
        joint_regressor: float64 [24, 6890].
        weights: float64 [6890, 24].
        h36m_regressor: float64 [17, 6890].
    """

    v_template: Float
    shapedirs: Float
    posedirs: Float
    joint_regressor: Float
    weights: Float
    h36m_regressor: Float

    def vertices(self, pose: Float, shape: Float) -> Float:
        """A posed body at its rest place.

        Args:
            pose: float64 [72], axis and angle of each joint, radians; the root's first.
            shape: float64 [10].

        Returns:
            float64 [6890, 3], metres.
        """
        rotations = np.stack([cv2.Rodrigues(turn)[0] for turn in pose.reshape(24, 3)])
        shaped = self.v_template + self.shapedirs @ shape
        rest = self.joint_regressor @ shaped  # [24, 3]
        features = (rotations[1:] - np.eye(3)).reshape(-1)  # [207]
        posed = shaped + self.posedirs @ features
        turned, moved = np.zeros((24, 3, 3)), np.zeros((24, 3))
        for joint, parent in enumerate(PARENTS):
            if parent < 0:
                turned[joint], moved[joint] = rotations[joint], rest[joint]
                continue
            turned[joint] = turned[parent] @ rotations[joint]
            moved[joint] = moved[parent] + turned[parent] @ (rest[joint] - rest[parent])
        shift = moved - np.einsum("jab,jb->ja", turned, rest)
        skin = np.einsum("vj,jab->vab", self.weights, turned)
        vertices: Float = np.einsum("vab,vb->va", skin, posed) + self.weights @ shift
        return vertices

    def pelvis(self, vertices: Float) -> Float:
        """SMPL's root joint of a mesh [6890, 3], float64 [3]."""
        return np.asarray(self.joint_regressor[0] @ vertices, np.float64)


def read_body_model(folder: Path) -> BodyModel:
    """The user's SMPL files.

    Raises:
        InputError: if one is missing (the text says what goes where) or has other arrays.
    """
    for name in (BODY, H36M):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name} is missing: put your SMPL body there as {BODY}, with arrays "
                f"{', '.join(_EXPECTED)} (https://smplify.is.tue.mpg.de), and {H36M} of SPIN's "
                "data archive"
            )
    try:
        with np.load(folder / BODY, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name], np.float64) for name in _EXPECTED}
        regressor = np.asarray(np.load(folder / H36M, allow_pickle=False), np.float64)
    except DAMAGED_ARRAYS as error:
        raise InputError(
            f"the SMPL files in {folder} can't be read ({error}); expected {BODY} with "
            f"{', '.join(_EXPECTED)}, and {H36M}"
        ) from error
    arrays["shapedirs"] = arrays["shapedirs"][..., :_SHAPES]  # some files have 300
    expected = {**_EXPECTED, H36M: (17, _VERTICES)}
    got = {name: array.shape for name, array in {**arrays, H36M: regressor}.items()}
    if got != expected:
        raise InputError(f"the SMPL files in {folder} have shapes {got}, expected {expected}")
    return BodyModel(
        v_template=arrays["v_template"],
        shapedirs=arrays["shapedirs"],
        posedirs=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"],
        weights=arrays["weights"],
        h36m_regressor=regressor,
    )
