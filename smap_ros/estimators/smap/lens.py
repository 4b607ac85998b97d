"""How large lenses show people, by which networks tell how far away they are.

A network knows no lens. Where one shows people smaller than a pinhole would, away from the middle
of wide-angle cameras, it tells them as far away as people who look so small there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera

Double = NDArray[np.float64]

# Tangent of the angle from the optical axis; flatter rays count as this flat, as they would make
# anybody endlessly large.
_FLATTEST = 5.0


def shown_size(pixels: Double, seen: NDArray[np.bool_], camera: Camera) -> Double:
    """How large people are in the picture, beside how large they would be without its lens.

    Where their joints are in the picture, and where the same joints are without distortion, are
    two figures of one shape; this is the ratio of their spreads. In virtual pictures bent by
    lenses it tells to 2 % by how much the first look takes people for farther away.

    Args:
        pixels: float64 [N, 15, 2], of the image.
        seen: bool [N, 15], joints that count.
        camera: intrinsics at the size of the image.

    Returns:
        float64 [N]; 1 without a lens, and where fewer than two joints are known.
    """
    if not camera.distortion:
        return np.ones(len(pixels))
    centre, focal = np.array([camera.cx, camera.cy]), np.array([camera.fx, camera.fy])
    rays = (camera.undistort(np.where(seen[..., None], pixels, np.nan)) - centre) / focal
    flat = np.linalg.norm(rays, axis=-1, keepdims=True) / _FLATTEST
    rays = rays / np.maximum(flat, 1.0)
    ideal = rays * focal
    known = np.asarray(np.isfinite(ideal).all(axis=-1), np.bool_)
    # Both figures are of these rays: of flattened and unflattened ones they'd be of two shapes.
    drawn = camera.project(np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1))
    there, without = _spread(drawn, known), _spread(ideal, known)
    told = (there > 0) & (without > 0)
    return np.where(told, there / np.where(told, without, 1.0), 1.0)


def _spread(points: Double, known: NDArray[np.bool_]) -> Double:
    """Root of the summed squared distances of points [N, J, 2] from their middle, float64 [N]."""
    count = np.maximum(known.sum(axis=1), 1)[:, None, None]
    points = np.where(known[..., None], points, 0.0)
    away = np.where(known[..., None], points - points.sum(axis=1, keepdims=True) / count, 0.0)
    return np.asarray(np.sqrt(np.square(away).sum(axis=(1, 2))), np.float64)
