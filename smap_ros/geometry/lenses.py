"""How far from their axis lens models are lenses: beyond, they turn back towards the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]

_STEEPEST = math.radians(89.5)
_STEPS = 4000
_NEWTON_STEPS = 30
# Rational models of real lenses (Luxonis' OAK) have poles inside the image, each nearly cancelled
# by a zero beside it: within this angle nothing is told of the lens, beyond it is one again.
_AROUND_POLE = math.radians(5)


@lru_cache(maxsize=64)
def widest(fisheye: bool, coefficients: tuple[float, ...]) -> float:
    """Out to where a lens shows what is farther from its axis farther from the middle.

    Calibrations are polynomials, fitted to what a board showed inside the image. Of most wide
    lenses they turn back outside of it: the feet of somebody near would be above their head.

    Args:
        fisheye: whether they are those of ``equidistant``, else of the other models.
        coefficients: in OpenCV's order; only what they do along the radius counts.

    Returns:
        Tangent of the angle from the axis; infinite where it never turns back.
    """
    angles = np.linspace(0.0, _STEEPEST, _STEPS)
    rays = np.tan(angles)
    above, below = _fisheye(rays, coefficients) if fisheye else _polynomial(rays, coefficients)
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = ~(np.diff(above / below) > 0)
    for pole in np.flatnonzero(np.diff(np.sign(below))):
        turned &= np.abs(angles[:-1] - angles[pole]) > _AROUND_POLE
    (back,) = turned.nonzero()
    return float(rays[back[0]]) if len(back) else math.inf


def fisheye_rays(shown: Double, coefficients: Sequence[float], limit: float) -> Double:
    """Rays that a fisheye shows at distances from the middle, by Newton's method on their angles.

    OpenCV's own iteration knows no distance beyond a quarter of a turn, which lenses whose
    coefficients are positive have well within the image.

    Args:
        shown: distances from the middle, in focal lengths, float64 [N].
        coefficients: of ``equidistant``.
        limit: tangent of the angle to which it is a lens, see :func:`widest`.

    Returns:
        Tangents of the angles from the axis, float64 [N], up to the limit: whether they are shown
        there is for the caller to see.
    """
    shown_of = np.polynomial.Polynomial((0.0, *np.ravel([(k, 0.0) for k in (1.0, *coefficients)])))
    slope_of = shown_of.deriv()
    low, high = np.zeros_like(shown), np.full_like(shown, min(math.atan(limit), _STEEPEST))
    angles = np.minimum(shown, high)
    for _ in range(_NEWTON_STEPS):
        error = shown_of(angles) - shown
        low, high = np.where(error < 0, angles, low), np.where(error > 0, angles, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            better = angles - error / slope_of(angles)
        # What leaves the interval that the angle is in would wander off: halve that instead.
        angles = np.where((low <= better) & (better <= high), better, (low + high) / 2)
    return np.tan(angles)


def _fisheye(rays: Double, coefficients: Sequence[float]) -> tuple[Double, Double]:
    angle = np.arctan(rays)
    shown = angle * np.polynomial.polynomial.polyval(angle**2, (1.0, *coefficients))
    return np.asarray(shown, np.float64), np.ones_like(rays)


def _polynomial(rays: Double, coefficients: Sequence[float]) -> tuple[Double, Double]:
    """Numerator and denominator of how far from the middle rays are shown."""
    k1, k2, _, _, k3, k4, k5, k6 = (*coefficients, *[0.0] * 8)[:8]
    square = rays**2
    above = np.polynomial.polynomial.polyval(square, (1.0, k1, k2, k3))
    below = np.polynomial.polynomial.polyval(square, (1.0, k4, k5, k6))
    return np.asarray(rays * above, np.float64), np.asarray(below, np.float64)
