"""Joints in the heatmaps: local maxima, refined to a fraction of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.config import (
    DEFAULT,
    EVIDENCE_LIMIT,
    JOINTS,
    PELVIS,
    AssociationConfig,
    check_maps,
    check_root,
)

Float = NDArray[np.float32]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Peaks:
    """Joints found in one image, joint kind by joint kind, each kind in raster order.

    Attributes:
        table: float32 [P, 3], x and y in map cells, and the score at the peak's cell.
        starts: int [16]; joint kind j has rows ``starts[j]`` to ``starts[j + 1]``.
    """

    table: Float
    starts: Index

    @property
    def counts(self) -> Index:
        """Peaks of each joint kind, int [15]."""
        return np.diff(self.starts)

    def of(self, joint: int) -> Float:
        """Peaks of one joint kind, float32 [n, 3] (a view)."""
        return self.table[self.starts[joint] : self.starts[joint + 1]]


def find_peaks(maps: Float, config: AssociationConfig = DEFAULT, root: int = PELVIS) -> Peaks:
    """Local maxima of the 15 heatmaps.

    A peak exceeds the threshold (a root's a share of it) and, strictly, its 8 neighbours; the
    outermost rows and columns have none. It is refined to the centroid of the positive values
    around it. Both follow SMAP's CUDA extension to the last bit (float32, summed row by row).
    NaN, infinite and absurdly large values (over 1e6) count as 0.

    Args:
        maps: float32 [43, h, w], heatmaps scaled to 1 at a Gaussian's top.
        config: thresholds and sizes.
        root: joint that makes a person.

    Raises:
        InputError: if the maps don't have that shape and type, or ``root`` is another joint.
    """
    check_root(root)
    maps = check_maps(maps)
    _, height, width = maps.shape
    thresholds = np.full((JOINTS, 1, 1), config.peak_threshold, np.float32)
    thresholds[root] = config.root_threshold
    cells = _local_maxima(maps[:JOINTS], thresholds)
    joint = cells // (height * width)
    starts = np.searchsorted(joint, np.arange(JOINTS + 1))
    if np.diff(starts).max() > config.max_peaks:
        kept = np.arange(len(cells)) - starts[joint] < config.max_peaks
        cells, joint = cells[kept], joint[kept]
        starts = np.searchsorted(joint, np.arange(JOINTS + 1))
    return Peaks(_refined(maps, cells, config), starts)


def _local_maxima(heatmaps: Float, thresholds: Float) -> Index:
    """Flat indices of the cells above the thresholds that exceed all 8 neighbours, ascending.

    Args:
        heatmaps: float32 [J, h, w].
        thresholds: float32 [J, 1, 1].
    """
    width = heatmaps.shape[2]
    high = heatmaps > thresholds
    high[:, 0] = high[:, -1] = high[:, :, 0] = high[:, :, -1] = False
    cells = np.flatnonzero(high)
    flat = heatmaps.reshape(-1)
    value = flat[cells]
    keep = value <= EVIDENCE_LIMIT
    # Few cells exceed the threshold and the first comparisons drop most of them, so this is
    # several times faster than comparing (or dilating) whole maps.
    beside, others = (1, -1), (width, -width, width + 1, -width - 1, width - 1, 1 - width)
    for offsets in (beside, others):
        cells, value = cells[keep], value[keep]
        neighbours = flat[cells + np.array(offsets)[:, None]]  # [offsets, cells]
        # NaN never holds a peak back.
        keep = ~((neighbours >= value) & (neighbours <= EVIDENCE_LIMIT)).any(axis=0)
    return cells[keep]


def _refined(maps: Float, cells: Index, config: AssociationConfig) -> Float:
    """Centroids of the positive values around the cells, and the value at each cell.

    Args:
        maps: float32 [C, h, w], C-contiguous.
        cells: int [P], flat indices into ``maps``.

    Returns:
        float32 [P, 3].
    """
    _, height, width = maps.shape
    flat = maps.reshape(-1)
    reach = np.arange(-config.centroid_radius, config.centroid_radius + 1)
    row, column = np.divmod(cells, width)
    y = row % height + reach[:, None]  # [k, P]
    x = column + reach[:, None]
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))  # [k, k, P]
    window = cells + (reach[:, None] * width + reach)[..., None]
    weight = flat.take(window, mode="clip")
    weight[~(inside & (weight > 0) & (weight <= EVIDENCE_LIMIT))] = 0

    terms = np.empty((3, *weight.shape), dtype=np.float32)  # [3, k, k, P]: x w, y w, w
    np.multiply(x.astype(np.float32), weight, out=terms[0])
    np.multiply(y.astype(np.float32)[:, None], weight, out=terms[1])
    terms[2] = weight
    # np.sum adds pairwise; the reference adds one by one, and float32 shows the difference.
    sums = np.add.accumulate(terms.reshape(3, len(reach) ** 2, -1), axis=1)[:, -1]
    table = np.empty((len(cells), 3), dtype=np.float32)
    table[:, :2] = (sums[:2] / sums[2] + np.float32(config.peak_offset)).T
    table[:, 2] = flat[cells]
    return table
