"""The synthetic body that the golden files of the mesh networks were made with.

The SMPL model is licensed, so the goldens use arrays of its true shapes drawn by rule: blobs
of vertices around the joints of a standing figure. It tests arithmetic; it is no body.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_train.models.layers.rotations import IDENTITY_6D
from smap_train.models.layers.smpl import (
    FACES,
    JOINTS,
    PARENTS,
    POSE_FEATURES,
    SHAPES,
    VERTICES,
    Smpl,
    SmplBody,
)
from smap_train.models.maed.body import EXTRA_ROWS, SpinBody

_REST = np.array(  # rest joints, metres, y up, left = +x
    [
        [0, -0.22, 0.03], [0.06, -0.31, 0.02], [-0.06, -0.31, 0.02], [0, -0.11, 0],
        [0.10, -0.69, 0.02], [-0.10, -0.69, 0.02], [0, 0.03, 0], [0.09, -1.09, -0.03],
        [-0.09, -1.09, -0.03], [0, 0.08, 0.02], [0.12, -1.15, 0.09], [-0.12, -1.15, 0.09],
        [0, 0.29, -0.01], [0.08, 0.19, -0.01], [-0.08, 0.19, -0.01], [0, 0.36, 0.04],
        [0.19, 0.23, -0.02], [-0.19, 0.23, -0.02], [0.45, 0.21, -0.04], [-0.45, 0.21, -0.04],
        [0.70, 0.22, -0.05], [-0.70, 0.22, -0.05], [0.79, 0.21, -0.06], [-0.79, 0.21, -0.06],
    ]
)  # fmt: skip
_SUPPORT = 30  # vertices per row of a regressor


@lru_cache(maxsize=1)
def synthetic_body() -> SmplBody:
    """The body model, float64 arrays."""
    own = np.arange(VERTICES) % JOINTS
    parent = np.maximum(np.array(PARENTS), 0)[own]
    regressor = np.zeros((JOINTS, VERTICES))
    regressor[own, np.arange(VERTICES)] = _generator("J_regressor").random(VERTICES)
    return SmplBody(
        v_template=_REST[own] + 0.06 * _normal("v_template", VERTICES, 3),
        shapedirs=0.01 * _normal("shapedirs", VERTICES, 3, SHAPES),
        posedirs=0.002 * _normal("posedirs", VERTICES, 3, POSE_FEATURES),
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=_skinning(own, parent),
        faces=_generator("f").integers(0, VERTICES, (FACES, 3)),
    )


def is_stand_in(body: Smpl) -> bool:
    """Whether a body is the synthetic one, which training without a body puts in."""
    name = "v_template" if body.layout == "smplx" else "th_v_template"
    template = body.get_buffer(name).detach().cpu().double().view(VERTICES, 3)
    return torch.allclose(template, torch.from_numpy(synthetic_body().v_template), atol=1e-6)


def synthetic_regressor(name: str, rows: int) -> NDArray[np.float64]:
    """A regressor of joints from vertices, [rows, 6890]: 30 random vertices in each row.

    The goldens use ``J_regressor_extra`` (9 rows) and ``J_regressor_h36m`` (17 rows).
    """
    generator = _generator(name)
    regressor = np.zeros((rows, VERTICES))
    for row in regressor:
        values = generator.random(_SUPPORT)  # drawn before the vertices
        row[generator.choice(VERTICES, _SUPPORT, replace=False)] = values
    return regressor / regressor.sum(1, keepdims=True)


def synthetic_mean_parameters() -> dict[str, Tensor]:
    """Where the iterative regressor starts: init_pose [1, 144], init_shape, init_cam."""
    generator = _generator("mean_params")
    pose = np.tile(IDENTITY_6D, JOINTS) + 0.1 * generator.standard_normal(6 * JOINTS)
    shape = 0.2 * generator.standard_normal(SHAPES)
    values = {"init_pose": pose, "init_shape": shape, "init_cam": np.array([0.9, 0.01, -0.02])}
    return {name: torch.tensor(value[None], dtype=torch.float32) for name, value in values.items()}


def maed_constants() -> dict[str, Tensor]:
    """The entries of MAED's state dict that hold the body, by their full keys."""
    body = SpinBody()
    body.set_body(synthetic_body())
    body.set_joint_regressors(synthetic_regressor("J_regressor_extra", EXTRA_ROWS))
    return {f"decoder.smpl.{key}": value for key, value in body.state_dict().items()}


def crowdnet_constants() -> dict[str, Tensor]:
    """The entries of 3DCrowdNet's state dict that hold the body, by their full keys."""
    body = Smpl("smplpytorch")
    body.set_body(synthetic_body())
    return {f"human_model_layer.{key}": value for key, value in body.state_dict().items()}


def _skinning(own: NDArray[Any], parent: NDArray[Any]) -> NDArray[np.float64]:
    """Weights on a vertex's own joint, its parent and a third one."""
    random, each = _generator("weights").random((VERTICES, 2)), np.arange(VERTICES)
    weights = np.zeros((VERTICES, JOINTS))
    weights[each, own] += 0.5 + 0.3 * random[:, 0]
    weights[each, parent] += 0.5 - 0.3 * random[:, 0]
    weights[each, (own * 7 + 3) % JOINTS] += 0.05 * random[:, 1]
    normalised: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normalised


def _generator(name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(f"smpl:{name}".encode())))


def _normal(name: str, *shape: int) -> NDArray[np.float64]:
    return _generator(name).standard_normal(shape)
