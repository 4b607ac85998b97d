"""A plain-Python part association and synthetic maps: yardstick of the bench, oracle of the tests.

The association is written as loops over single numbers, straight from the description of the
method, and shares nothing with the package but the constants. Given numpy float32 arrays and
``numpy.sqrt`` every operation rounds to float32; given nested lists and ``math.sqrt`` it runs
on Python's own numbers, which is faster and the fair yardstick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.association import AssociationConfig
from smap_ros.skeletons import MPI15

Peak = tuple[Any, Any, Any]
Root = Callable[[Any], Any]
CONFIG = AssociationConfig()

# A standing person, pelvis at 0, centimetres, x right, y down, z away; order of MPI15.
STANDING_CM = np.array(
    [
        (0, -50, 0), (0, -76, 0), (0, 0, 0),
        (17, -47, 0), (22, -18, 0), (24, 6, 0), (12, 2, 0), (13, 48, 0), (14, 88, 0),
        (-17, -47, 0), (-22, -18, 0), (-24, 6, 0), (-12, 2, 0), (-13, 48, 0), (-14, 88, 0),
    ],
    dtype=np.float64,
)  # fmt: skip


def naive_peaks(maps: Sequence[Any], threshold: float = 0.2) -> list[list[Peak]]:
    """Peaks of the 15 heatmaps, at most 127 each: x, y in cells and score."""
    found = []
    for heatmap in maps[: len(MPI15)]:
        height, width, peaks = len(heatmap), len(heatmap[0]), []
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                value = heatmap[y][x]
                if not value > threshold:
                    continue
                others = [
                    heatmap[y + j][x + i]
                    for j in (-1, 0, 1)
                    for i in (-1, 0, 1)
                    if (i, j) != (0, 0)
                ]
                if all(value > other for other in others):
                    peaks.append(_centroid(heatmap, x, y, width, height))
        found.append(peaks[: CONFIG.max_peaks])
    return found


def _centroid(heatmap: Any, x: int, y: int, width: int, height: int) -> Peak:
    zero = heatmap[y][x] * 0
    sum_x, sum_y, total = zero, zero, zero
    for v in range(max(0, y - 3), min(height, y + 4)):
        for u in range(max(0, x - 3), min(width, x + 4)):
            weight = heatmap[v][u]
            if weight > 0:
                sum_x, sum_y, total = sum_x + u * weight, sum_y + v * weight, total + weight
    return sum_x / total + 0.5, sum_y / total + 0.5, heatmap[y][x]


def naive_limb_score(a: Peak, b: Peak, field_x: Any, field_y: Any, sqrt: Root) -> Any:
    """Support of the field for a limb from a to b."""
    height, width = len(field_x), len(field_x[0])
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = sqrt(dx * dx + dy * dy)
    if not length > 1e-6:
        return -1.0
    samples = max(5, min(25, int(sqrt(5 * max(abs(dx), abs(dy))) + 0.5)))
    unit_x, unit_y, step_x, step_y = dx / length, dy / length, dx / samples, dy / samples
    total, count = length * 0, 0
    for k in range(samples):
        u = min(width - 1, int(a[0] + k * step_x + 0.5))
        v = min(height - 1, int(a[1] + k * step_y + 0.5))
        along = unit_x * field_x[v][u] + unit_y * field_y[v][u]
        if along > 0.05:
            total, count = total + along, count + 1
    one = length / length
    if count * one / samples > 0.95:
        return total / count
    near = sqrt(one * (width * height)) / 150
    return one * (0.1 + 1e-6) if length < near else -1.0


def naive_limb_scores(maps: Any, peaks: list[list[Peak]], sqrt: Root) -> list[list[list[Any]]]:
    """Tables of scores, limb by limb."""
    return [
        [
            [
                naive_limb_score(p, q, maps[15 + 2 * limb], maps[16 + 2 * limb], sqrt)
                for q in peaks[b]
            ]
            for p in peaks[a]
        ]
        for limb, (a, b) in enumerate(MPI15.limbs)
    ]


def naive_assign(
    peaks: list[list[Peak]], scores: Any, root_depth: Any, root: int = 2, dist_flag: bool = True
) -> NDArray[np.float32]:
    """People float32 [n, 15, 4], nearest first."""
    depths = [root_depth[int(y)][int(x)] for x, y, _ in peaks[root]]
    order = sorted(range(len(depths)), key=lambda i: depths[i])
    chosen = [[i if j == root else -1 for j in range(15)] for i in order]
    for limb in (1, 0, *range(2, 14)):
        a, b = MPI15.limbs[limb]
        flip = root == 2 and limb == 1
        source, target = (b, a) if flip else (a, b)
        used: set[int] = set()
        for person, i in zip(chosen, order, strict=True):
            if person[source] < 0:
                continue
            best, choice = 0.0, -1
            for k in range(len(peaks[target])):
                if k in used:
                    continue
                score = scores[limb][k][person[source]] if flip else scores[limb][person[source]][k]
                if dist_flag and score > 0:
                    ends = peaks[source][person[source]], peaks[target][k]
                    score = score + _penalty(*ends, limb, depths[i])
                if score > best:
                    best, choice = score, k
            if choice >= 0:
                person[target] = choice
                used.add(choice)
    people = np.zeros((len(order), 15, 4), dtype=np.float32)
    for n, person in enumerate(chosen):
        for j, k in enumerate(person):
            if k >= 0:
                people[n, j] = (*peaks[j][k][:2], 0, peaks[j][k][2])
    return people


def _penalty(a: Peak, b: Peak, limb: int, depth: Any) -> Any:
    single = np.float32 if isinstance(depth, np.float32) else float
    reach = single(1.2 * float(np.float32(CONFIG.bone_length_cm[limb])) / float(depth))
    length = single(math.sqrt(float(a[0] - b[0]) ** 2 + float(a[1] - b[1]) ** 2))
    return min(reach / length / 4 - 1, single(0))


def naive_associate(
    maps: Any, root_depth: Any, sqrt: Root = np.sqrt, root: int = 2, dist_flag: bool = True
) -> NDArray[np.float32]:
    """The whole association in plain Python; see the module's text for ``maps`` and ``sqrt``."""
    peaks = naive_peaks(maps)
    return naive_assign(peaks, naive_limb_scores(maps, peaks, sqrt), root_depth, root, dist_flag)


def synthetic_scene(
    people: int, seed: int = 0, size: tuple[int, int] = (128, 208), noise: float = 0.015
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Network-like maps of a crowd: maps float32 [43, h, w] and root depth float32 [h, w].

    People stand in a jittered grid over the whole image, so limbs cross as the crowd grows.
    """
    height, width = size
    rng = np.random.default_rng(seed)
    maps = np.zeros((43, height, width), dtype=np.float32)
    counts = np.zeros((14, height, width), dtype=np.float32)
    root_depth = np.full(size, 2.0, dtype=np.float32)
    focal = 0.8 * width  # cells
    columns = max(1, math.ceil(math.sqrt(people * width / height * 1.6)))
    rows = max(1, math.ceil(people / columns))
    for n in range(people):
        centre = np.array([(n % columns + 0.5) / columns, (n // columns + 0.5) / rows])
        centre = (centre + rng.uniform(-0.1, 0.1, 2) / (columns, rows)) * (width, height)
        depth_cm = rng.uniform(300, 450) * (1 + 0.5 * (rows - 1)) * 128 / height
        joints = _pose(rng) * focal / depth_cm + centre
        root_depth[tuple(np.clip(joints[2, ::-1].astype(int), 0, (height - 1, width - 1)))] = 0
        _draw(maps, counts, joints)
        y, x = np.clip(joints[2, ::-1].astype(int), 4, (height - 5, width - 5))
        root_depth[y - 4 : y + 5, x - 4 : x + 5] = depth_cm / (focal * CONFIG.stride)
    maps[15:] /= np.repeat(np.maximum(counts, 1), 2, axis=0)
    maps += noise * rng.standard_normal(maps.shape, dtype=np.float32)
    return maps, root_depth


def _pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """A standing person turned at random, seen from the front, centimetres [15, 2]."""
    pose = STANDING_CM + 4 * rng.standard_normal(STANDING_CM.shape)
    angle = rng.uniform(0, 2 * np.pi)
    return np.stack(
        [pose[:, 0] * np.cos(angle) + 12 * np.sin(angle) * np.sign(pose[:, 0]), pose[:, 1]], axis=1
    )


def _draw(maps: NDArray[np.float32], counts: NDArray[np.float32], joints: Any) -> None:
    """Add one person's Gaussians and limbs (joints in cells [15, 2])."""
    height, width = maps.shape[1:]
    for joint, (x, y) in enumerate(joints):
        u, v = np.arange(width) - x, np.arange(height)[:, None] - y
        np.maximum(maps[joint], np.exp(-(u * u + v * v) / (2 * 1.8**2)), out=maps[joint])
    for limb, (a, b) in enumerate(MPI15.limbs):
        mask = np.zeros((height, width), dtype=np.uint8)
        ends = [tuple(round(float(c)) for c in joints[k]) for k in (a, b)]
        cv2.line(mask, ends[0], ends[1], 1, thickness=4)
        unit = (joints[b] - joints[a]) / max(1e-6, float(np.linalg.norm(joints[b] - joints[a])))
        maps[15 + 2 * limb] += mask * np.float32(unit[0])
        maps[16 + 2 * limb] += mask * np.float32(unit[1])
        counts[limb] += mask
