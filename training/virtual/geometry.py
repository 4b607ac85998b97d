"""Rotations and mesh arithmetic for virtual humans.

The world is z up, in metres; a body in neutral pose faces -y with its left side at +x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]


def rotation_from_vector(vectors: Float) -> NDArray[np.float64]:
    """Rotation matrices of rotation vectors (Rodrigues), [..., 3] -> [..., 3, 3]."""
    vectors = np.asarray(vectors, dtype=np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    axis = vectors / np.maximum(angle[..., 0], 1e-12)
    skew = np.zeros((*vectors.shape, 3))
    skew[..., 0, 1], skew[..., 0, 2] = -axis[..., 2], axis[..., 1]
    skew[..., 1, 0], skew[..., 1, 2] = axis[..., 2], -axis[..., 0]
    skew[..., 2, 0], skew[..., 2, 1] = -axis[..., 1], axis[..., 0]
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * (skew @ skew)


def vector_from_rotation(rotation: Float) -> NDArray[np.float64]:
    """Rotation vector of one rotation matrix [3, 3], for angles below pi."""
    cosine = np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0)
    angle = np.arccos(cosine)
    axis = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    return axis * (0.5 if angle < 1e-6 else angle / (2 * max(np.sin(angle), 1e-9)))


def about(axis: str, angle: float) -> NDArray[np.float64]:
    """Rotation by ``angle`` radians about ``"x"``, ``"y"`` or ``"z"``, [3, 3]."""
    vector = np.zeros(3)
    vector["xyz".index(axis)] = angle
    return rotation_from_vector(vector)


def aligning(source: Float, target: Float) -> NDArray[np.float64]:
    """Smallest rotation that turns direction ``source`` [3] into ``target`` [3]."""
    source = source / np.linalg.norm(source)
    target = target / np.linalg.norm(target)
    cross = np.cross(source, target)
    sine = np.linalg.norm(cross)
    if sine < 1e-9:
        return np.eye(3)
    return rotation_from_vector(cross / sine * np.arctan2(sine, source @ target))


def between(first: Float, second: Float, share: float) -> NDArray[np.float64]:
    """Rotations [..., 3, 3] on the way from ``first`` (share 0) to ``second`` (share 1)."""
    if share == 0:
        return np.asarray(first, dtype=np.float64)
    u, _, v = np.linalg.svd((1 - share) * first + share * second)
    return u @ v


def triangles(faces: NDArray[np.integer]) -> NDArray[np.int32]:
    """Triangles [T, 3] of quads or triangles [F, 3 or 4]."""
    faces = np.asarray(faces, dtype=np.int32)
    if faces.shape[1] == 3:
        return faces
    return np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


def vertex_normals(vertices: Float, faces: NDArray[np.integer]) -> NDArray[np.float32]:
    """Area-weighted unit normals [V, 3] of a triangle mesh; zero where no face touches."""
    corner = vertices[faces]  # [T, 3, 3]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    index = faces.reshape(-1)
    total = np.stack(
        [np.bincount(index, np.repeat(normal[:, k], 3), minlength=len(vertices)) for k in range(3)],
        axis=1,
    )
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(
        np.float32
    )


def unweld(
    faces: NDArray[np.integer], uv_faces: NDArray[np.integer]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """One render vertex for every pair of position and texture coordinate.

    Args:
        faces, uv_faces: indices of positions and of texture coordinates, both [T, 3].

    Returns:
        position index [N], texture coordinate index [N], triangles over those N [T, 3].
    """
    pairs = np.stack([faces.reshape(-1), uv_faces.reshape(-1)], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return unique[:, 0], unique[:, 1], inverse.reshape(-1, 3).astype(np.int32)
