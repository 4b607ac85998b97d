"""Simple solids for surroundings and furniture, with texture coordinates in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.parts import Material, Part

_BOX_FACES = (  # axis of the normal, its sign, axes of the texture
    (0, 1, 1, 2),
    (0, -1, 1, 2),
    (1, 1, 0, 2),
    (1, -1, 0, 2),
    (2, 1, 0, 1),
    (2, -1, 0, 1),
)


def quad(
    corner: NDArray[np.floating],
    along: NDArray[np.floating],
    up: NDArray[np.floating],
    material: Material,
    tile: float | None = 1.0,
    shadow: bool = True,
    cells: int = 1,
) -> Part:
    """A parallelogram facing along x up, divided into ``cells`` x ``cells`` for lighting.

    Args:
        tile: metres a texture covers; None stretches it once over the quad.
    """
    corner, along, up = (np.asarray(v, dtype=np.float64) for v in (corner, along, up))
    steps = np.linspace(0, 1, cells + 1)
    s, t = (g.reshape(-1, 1) for g in np.meshgrid(steps, steps, indexing="xy"))
    points = corner + s * along + t * up
    normal = np.cross(along, up)
    normal /= np.linalg.norm(normal)
    size = (
        np.ones(2) if tile is None else np.array([np.linalg.norm(along), np.linalg.norm(up)]) / tile
    )
    row = cells + 1
    first = (np.arange(cells)[:, None] * row + np.arange(cells)).reshape(-1, 1)
    faces = np.concatenate([first + (0, 1, row + 1), first + (0, row + 1, row)])
    return Part(
        points.astype(np.float32),
        np.tile(normal, (len(points), 1)).astype(np.float32),
        (np.concatenate([s, t], axis=1) * size).astype(np.float32),
        faces.astype(np.int32),
        material,
        shadow=shadow,
    )


def box(
    centre: NDArray[np.floating],
    size: NDArray[np.floating],
    material: Material,
    yaw: float = 0.0,
    tile: float | None = 1.0,
) -> Part:
    """A box of ``size`` [3] around ``centre`` [3], turned about z."""
    centre, half = np.asarray(centre, dtype=np.float64), np.asarray(size, dtype=np.float64) / 2
    points, normals, uvs, faces = [], [], [], []
    for axis, sign, u, v in _BOX_FACES:
        corners = np.zeros((4, 3))
        corners[:, axis] = sign * half[axis]
        corners[:, u] = half[u] * np.array([-1, 1, 1, -1])
        corners[:, v] = half[v] * np.array([-1, -1, 1, 1])
        normal = np.zeros(3)
        normal[axis] = sign
        scale = (1, 1) if tile is None else (2 * half[u] / tile, 2 * half[v] / tile)
        start = 4 * len(points)
        points.append(corners)
        normals.append(np.tile(normal, (4, 1)))
        uvs.append(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * scale)
        faces.append(np.array([[0, 1, 2], [0, 2, 3]]) + start)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return Part(
        (np.concatenate(points) @ turn.T + centre).astype(np.float32),
        (np.concatenate(normals) @ turn.T).astype(np.float32),
        np.concatenate(uvs).astype(np.float32),
        np.concatenate(faces).astype(np.int32),
        material,
    )


def cylinder(
    base: NDArray[np.floating],
    radius: float,
    height: float,
    material: Material,
    top_radius: float | None = None,
    sides: int = 20,
) -> Part:
    """An upright cylinder or cone with a lid, standing on ``base`` [3]."""
    top_radius = radius if top_radius is None else top_radius
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    up = np.array([0.0, 0, height])
    points = np.concatenate([ring * radius, ring * top_radius + up, ring * top_radius + up, [up]])
    flat = np.tile([0.0, 0, 1], (sides + 2, 1))
    uv = np.stack([angle * radius, np.zeros_like(angle)], axis=1)
    around = np.arange(sides)[:, None]
    n = sides + 1
    faces = np.concatenate(
        [
            around + (0, 1, n + 1),
            around + (0, n + 1, n),
            np.concatenate([around + (2 * n, 2 * n + 1), np.full((sides, 1), 3 * n)], axis=1),
        ]
    )
    return Part(
        (points + base).astype(np.float32),
        np.concatenate([ring, ring, flat]).astype(np.float32),
        np.concatenate([uv, uv + (0, height), ring[:, :2], [[0, 0]]]).astype(np.float32),
        faces.astype(np.int32),
        material,
    )


def rod(
    start: NDArray[np.floating], end: NDArray[np.floating], radius: float, material: Material
) -> Part:
    """A round stick from ``start`` [3] to ``end`` [3]; its ends are open."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = end - start
    length = float(np.linalg.norm(axis))
    aside = np.cross(axis, (1.0, 0, 0) if abs(axis[0]) < 0.9 * length else (0, 1.0, 0))
    aside /= np.linalg.norm(aside)
    angle = np.linspace(0, 2 * np.pi, 9)
    ring = np.cos(angle)[:, None] * aside + np.sin(angle)[:, None] * np.cross(axis / length, aside)
    around = np.arange(8)[:, None]
    return Part(
        np.concatenate([start + ring * radius, end + ring * radius]).astype(np.float32),
        np.tile(ring, (2, 1)).astype(np.float32),
        np.concatenate([[(a * radius, v) for a in angle] for v in (0.0, length)]).astype(
            np.float32
        ),
        np.concatenate([around + (0, 1, 10), around + (0, 10, 9)]).astype(np.int32),
        material,
    )


def ball(centre: NDArray[np.floating], radii: NDArray[np.floating], material: Material) -> Part:
    """An ellipsoid."""
    lat, lon = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 17), indexing="ij")
    unit = np.stack([np.sin(lat) * np.cos(lon), np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    unit = unit.reshape(-1, 3)
    first = (np.arange(8)[:, None] * 17 + np.arange(16)).reshape(-1, 1)
    faces = np.concatenate([first + (0, 17, 18), first + (0, 18, 1)])
    radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), 3)
    normals = unit / radii
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return Part(
        (unit * radii + centre).astype(np.float32),
        normals.astype(np.float32),
        np.stack([lon.reshape(-1) * radii[0], lat.reshape(-1) * radii[2]], axis=1).astype(
            np.float32
        ),
        faces.astype(np.int32),
        material,
    )
