"""SMAP's label maps written as loops over single cells, straight from the rules.

The yardstick of the bench and an oracle of the tests; it shares nothing with the package but
constants.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15

KERNELS = (15, 11, 9, 7, 5)
STRIDE = 4
# OpenCV rounds small kernels to whole shares.
FIXED = {
    5: (1, 4, 6, 4, 1), 7: (2, 7, 14, 18, 14, 7, 2), 9: (4, 13, 30, 51, 60, 51, 30, 13, 4),
}  # fmt: skip


def gaussian(size: int) -> list[float]:
    """Weights that add up to 1."""
    if size in FIXED:
        return [weight / sum(FIXED[size]) for weight in FIXED[size]]
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    weights = [math.exp(-((k - size // 2) ** 2) / (2 * sigma**2)) for k in range(size)]
    return [weight / sum(weights) for weight in weights]


def reflected(place: int, length: int) -> int:
    """Where a cell beyond the border is taken from; the border itself isn't doubled."""
    while not 0 <= place < length:
        place = -place if place < 0 else 2 * (length - 1) - place
    return place


def heatmap(peaks: list[tuple[int, int]], size: int, grid: tuple[int, int]) -> NDArray[np.float64]:
    """One joint's map: cells (row, column) of 1, blurred, the highest 255."""
    ones = np.zeros(grid)
    for row, column in peaks:
        ones[row, column] = 1
    weights, half = gaussian(size), size // 2
    rows, blurred = np.zeros(grid), np.zeros(grid)
    for y in range(grid[0]):
        for x in range(grid[1]):
            rows[y, x] = sum(
                w * ones[y, reflected(x + k - half, grid[1])] for k, w in enumerate(weights)
            )
    for y in range(grid[0]):
        for x in range(grid[1]):
            blurred[y, x] = sum(
                w * rows[reflected(y + k - half, grid[0]), x] for k, w in enumerate(weights)
            )
    return blurred * (255 / blurred.max()) if peaks else blurred


def field(
    limbs: list[tuple[tuple[float, ...], tuple[float, ...]]], t: int, grid: tuple[int, int]
) -> NDArray[np.float64]:
    """One limb's x, y, depth of all people: ends (x, y, depth), x and y in cells."""
    total, count = np.zeros((3, *grid)), np.zeros(grid)
    for a, b in limbs:
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy)
        if length < 1:
            continue
        ux, uy = dx / length, dy / length
        for y in range(
            max(round(min(a[1], b[1]) - t), 0), min(round(max(a[1], b[1]) + t), grid[0])
        ):
            for x in range(
                max(round(min(a[0], b[0]) - t), 0), min(round(max(a[0], b[0]) + t), grid[1])
            ):
                if abs((x - a[0]) * uy - (y - a[1]) * ux) < t:
                    total[:, y, x] += (ux, uy, b[2] - a[2])
                    count[y, x] += 1
    total /= np.maximum(count, 1)
    total[:2] *= 127
    return total


def random_bodies(
    rng: np.random.Generator, people: int, grid: tuple[int, int]
) -> NDArray[np.float64]:
    """People as [N, 15, 4] of x, y, depth, visibility; limbs of any length, some outside."""
    size = STRIDE * np.array(grid[::-1])
    bodies = np.empty((people, len(MPI15), 4))
    middle = rng.uniform(0, size, (people, 1, 2))
    bodies[..., :2] = middle + rng.normal(0, 0.12 * size[1], (people, len(MPI15), 2))
    bodies[..., 2] = rng.uniform(150, 900, (people, 1)) + rng.normal(0, 20, bodies.shape[:2])
    bodies[..., 3] = rng.integers(0, 3, bodies.shape[:2])
    # SMAP's samples have no labelled joint outside of the picture.
    bodies[..., 3] *= ((bodies[..., :2] >= 0) & (bodies[..., :2] < size)).all(-1)
    return bodies


def label_maps(bodies: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.float64]:
    """All five scales, [5, 57, *grid], of bodies [N, 15, >= 4]: x, y, depth, visibility."""
    scales = []
    for scale, size in enumerate(KERNELS):
        maps = []
        for joint in range(len(MPI15)):
            peaks = [
                (int(y / STRIDE), int(x / STRIDE))
                for x, y, _, v in bodies[:, joint, :4].tolist()
                if v >= 1 and 0 <= x < STRIDE * grid[1] and 0 <= y < STRIDE * grid[0]
            ]
            maps.append(heatmap(peaks, size, grid)[None])
        t = max(1, 3 - scale)
        needed = 2 if t > 1 else 1
        for a, b in MPI15.limbs:
            limbs = []
            for person in bodies[..., :4].tolist():
                if min(person[a][3], person[b][3]) >= needed:
                    ends = [
                        (int(person[k][0]) / STRIDE, int(person[k][1]) / STRIDE, int(person[k][2]))
                        for k in (a, b)
                    ]
                    limbs.append((ends[0], ends[1]))
            maps.append(field(limbs, t, grid))
        scales.append(np.concatenate(maps))
    return np.array(scales)
