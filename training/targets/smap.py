"""Label maps of SMAP: keypoint heatmaps, part affinity fields with depth, root depth rows.

Zhen et al., ECCV 2020, section 3.1, with the roundings of the official code, so that a network
trained on these maps and one trained on the official ones have learnt the same thing. Points
are in network-input pixels, depths in centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

STRIDE = 4
HEATMAP_PEAK, AFFINITY_PEAK = 255.0, 127.0
GAUSSIAN_KERNELS = (15, 11, 9, 7, 5)  # cells; one for each label scale, coarse to fine
LABEL_SCALES = len(GAUSSIAN_KERNELS)
MAX_PEOPLE = 20

_LIMBS = MPI15.limbs


@dataclass(frozen=True)
class People:
    """The annotated people of one image, joints in the order of mpi15.

    Attributes:
        points_px: float [N, 15, 2], x and y in network-input pixels.
        depth_cm: float [N, 15], depth along the optical axis; zeros where unknown.
        visibility: int [N, 15]; 0 absent or outside, 1 labelled but hidden, 2 visible.

    Raises:
        InputError: if the shapes don't fit each other.
    """

    points_px: Float64
    depth_cm: Float64
    visibility: NDArray[np.integer]

    def __post_init__(self) -> None:
        joints = (len(self.points_px), len(MPI15))
        for name, shape in (
            ("points_px", (*joints, 2)),
            ("depth_cm", joints),
            ("visibility", joints),
        ):
            got = getattr(self, name).shape
            if got != shape:
                raise InputError(f"people: {name} has shape {got}, expected {shape}")

    def __len__(self) -> int:
        return len(self.points_px)


def affinity_half_width(scale: int) -> int:
    """Half width of the affinity fields at a label scale, cells: 3, 2, 1, 1, 1."""
    return max(1, 3 - scale)


def heatmaps(
    people: People, kernel: int, grid: tuple[int, int], *, stride: int = STRIDE
) -> Float32:
    """Keypoint heatmaps of all people together.

    Each channel is divided by its maximum, so only its highest peak reaches 255: people who
    are close to each other add up and lower the others. That is how SMAP was trained.

    Args:
        people: whoever has visibility 1 or 2 and lies inside the grid is drawn.
        kernel: size of the Gaussian, odd, cells.
        grid: height and width of the maps, cells.
        stride: network-input pixels per cell.

    Returns:
        float32 [15, *grid], 0 to 255.
    """
    maps = np.zeros((len(MPI15), *grid), np.float32)
    person, joint = np.nonzero(_inside(people, grid, stride))
    column, row = (people.points_px[person, joint] / stride).astype(np.intp).T
    for k in np.unique(joint):
        rows, columns = row[joint == k], column[joint == k]
        # Only what the blur reaches. A kernel's width about the peaks, the blur sees the same
        # zeros beyond the box as it does in the whole map.
        box = np.s_[
            max(rows.min() - kernel, 0) : rows.max() + kernel + 1,
            max(columns.min() - kernel, 0) : columns.max() + kernel + 1,
        ]
        maps[k, rows, columns] = 1
        blurred = cv2.GaussianBlur(maps[k][box], (kernel, kernel), 0)
        maps[k][box] = blurred * (HEATMAP_PEAK / blurred.max())
    return maps


def affinity_fields(
    people: People,
    half_width: int,
    grid: tuple[int, int],
    *,
    stride: int = STRIDE,
    visible_only: bool = True,
) -> Float32:
    """Part affinity fields with the limbs' depth differences.

    Cells nearer to a limb than ``half_width`` carry its direction in the image (unit vector
    times 127) and the depth of its second joint relative to its first (cm). Where limbs of
    several people overlap, the mean. Points and depths are cut to whole pixels and
    centimetres first, as officially.

    Args:
        people: limbs with an absent end, or shorter than a cell, are left out.
        half_width: cells.
        grid: height and width of the maps, cells.
        stride: network-input pixels per cell.
        visible_only: fields wider than one cell take only limbs with both ends visible, so
            that a broad field isn't drawn over whoever hides the limb.

    Returns:
        float32 [42, *grid]: x, y, depth for each of the 14 limbs.
    """
    fields = np.zeros((len(_LIMBS), 3, *grid), np.float32)
    needed = 2 if visible_only and half_width > 1 else 1
    cells = np.trunc(people.points_px) / stride
    depth = np.trunc(people.depth_cm)
    for limb, (a, b) in enumerate(_LIMBS):
        drawn = [
            (*covered, depth[person, b] - depth[person, a])
            for person in np.flatnonzero(people.visibility[:, [a, b]].min(axis=1) >= needed)
            if (covered := _limb_cells(cells[person, [a, b]], half_width, grid)) is not None
        ]
        count = np.zeros(grid, np.int32) if len(drawn) > 1 else None
        for box, near, direction, drop in drawn:
            value = np.array([*(AFFINITY_PEAK * direction), drop], np.float32)
            fields[limb][:, *box] += near * value[:, None, None]
            if count is not None:
                count[box] += near
        for box, *_ in drawn if count is not None and count.max() > 1 else ():
            fields[limb][:, *box] /= np.maximum(count[box], 1)
            count[box] = 1  # divided once, wherever boxes overlap
    return fields.reshape(-1, *grid)


def root_depth_rows(
    people: People,
    focal_px: float | Float64,
    grid: tuple[int, int],
    *,
    stride: int = STRIDE,
    max_people: int = MAX_PEOPLE,
) -> Float32:
    """Where the roots are and how deep, for ``losses.root_depth_loss``.

    Args:
        people: those without a labelled root inside the grid are left out.
        focal_px: focal length in network-input pixels (that of the original image times the
            resize factor); one number, or one for each person.
        grid: height and width of the maps, cells.
        stride: network-input pixels per cell.
        max_people: rows of the result; of more people, the first are kept.

    Returns:
        float32 [max_people, 3]: row and column in cells, depth in cm / ``focal_px``; deepest
        first, zeros at the end.
    """
    root = MPI15.root
    depth = people.depth_cm[:, root] / focal_px
    kept = np.flatnonzero(_inside(people, grid, stride)[:, root])[:max_people]
    kept = kept[np.argsort(-depth[kept], kind="stable")]
    rows = np.zeros((max_people, 3), np.float32)
    rows[: len(kept), :2] = people.points_px[kept, root, ::-1] / stride
    rows[: len(kept), 2] = depth[kept]
    return rows


def label_maps(people: People, grid: tuple[int, int], *, stride: int = STRIDE) -> Float32:
    """The labels of all five scales, coarse to fine, for ``losses.smap_loss``.

    Returns:
        float32 [5, 57, *grid]: 15 heatmaps, then x, y, depth of the 14 limbs.
    """
    labels = np.empty((LABEL_SCALES, len(MPI15) + 3 * len(_LIMBS), *grid), np.float32)
    drawn: dict[int, int] = {}  # half width -> scale; the three finest scales share theirs
    for scale, kernel in enumerate(GAUSSIAN_KERNELS):
        labels[scale, : len(MPI15)] = heatmaps(people, kernel, grid, stride=stride)
        half_width = affinity_half_width(scale)
        if half_width in drawn:
            labels[scale, len(MPI15) :] = labels[drawn[half_width], len(MPI15) :]
        else:
            drawn[half_width] = scale
            fields = affinity_fields(people, half_width, grid, stride=stride)
            labels[scale, len(MPI15) :] = fields
    return labels


def _inside(people: People, grid: tuple[int, int], stride: int) -> NDArray[np.bool_]:
    """Joints that are labelled and fall into a cell of the maps, [N, 15]."""
    limits = stride * np.array(grid[::-1])
    inside: NDArray[np.bool_] = np.all(
        (people.points_px >= 0) & (people.points_px < limits), axis=-1
    )
    return inside & (people.visibility >= 1)


def _limb_cells(
    ends: Float64, half_width: int, grid: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.bool_], Float64] | None:
    """The cells a limb covers.

    Args:
        ends: [2, 2], x and y of both ends, cells.

    Returns:
        The bounding box (rows, columns), which of its cells are covered, and the limb's unit
        vector; None for a limb shorter than a cell or outside of the grid.
    """
    along = ends[1] - ends[0]
    length = np.linalg.norm(along)
    if length < 1:
        return None
    unit = along / length
    # np.rint rounds halves to even, as the official code does.
    low = np.maximum(np.rint(ends.min(0) - half_width), 0).astype(int)
    high = np.minimum(np.rint(ends.max(0) + half_width), grid[::-1]).astype(int)
    if np.any(high <= low):
        return None
    columns, rows = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    offset_x, offset_y = columns - ends[0, 0], rows[:, None] - ends[0, 1]
    distance = np.abs(offset_x * unit[1] - offset_y * unit[0])
    return np.s_[low[1] : high[1], low[0] : high[0]], distance < half_width, unit
