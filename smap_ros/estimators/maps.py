"""SMAP's output maps: their units, and the mean over an image and its mirror image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.estimators.lifting import CM_PER_M
from smap_ros.manifest.smap import SmapManifest
from smap_ros.skeletons import MPI15

JOINTS = len(MPI15)

Float = NDArray[np.float32]
Maps = tuple[Float, Float, Float]

# Rows of the mirrored maps that belong in the place of the straight ones: left is right.
_JOINTS = list(MPI15.flip)
_LIMBS = [MPI15.limbs.index((_JOINTS[a], _JOINTS[b])) for a, b in MPI15.limbs]
_ROWS = _JOINTS + [JOINTS + 2 * limb + axis for limb in _LIMBS for axis in (0, 1)]


class MapScales:
    """The network's outputs in the units of association and lifting.

    Buffers are used again; outputs that already have the unit are passed on without a copy.
    """

    def __init__(self, manifest: SmapManifest) -> None:
        scales = manifest.scales
        self._names = [manifest.outputs[k].name for k in ("maps", "bone_depth", "root_depth")]
        grid = manifest.outputs["root_depth"].shape[2:]
        # Divided and not multiplied by the inverse: to the last bit as SMAP scales.
        maps = np.full((43, 1, 1), scales.paf_scale, np.float32)
        maps[:JOINTS] = scales.heatmap_scale
        # Association and lifting work in SMAP's centimetres.
        units = (scales.bone_depth_unit_m, scales.root_depth_unit_m)
        depths = [np.full((1, 1, 1), 1 / (unit * CM_PER_M), np.float32) for unit in units]
        self._divisors = (maps, *depths)
        self._buffers = [np.empty((n, *grid), np.float32) for n in (43, 14, 1)]

    def __call__(self, outputs: Mapping[str, NDArray[Any]]) -> Maps:
        """Maps [43, h, w], bone depths [14, h, w] and root depth [h, w] of a network's outputs."""
        scaled: list[Float] = []
        for name, divisor, buffer in zip(self._names, self._divisors, self._buffers, strict=True):
            array: Float = outputs[name][0]
            if np.all(divisor == 1):
                scaled.append(array)
            else:
                scaled.append(np.divide(array, divisor, out=buffer))
        return scaled[0], scaled[1], scaled[2][0]


def mean_of_mirrored(straight: Maps, mirrored: Maps) -> Maps:
    """The mean of what a network sees in an image and in its mirror image.

    Args:
        straight, mirrored: maps float32 [43, h, w], bone depths float32 [14, h, w] and root
            depths float32 [h, w], of the image and of the image mirrored left to right. The
            first are overwritten.

    Returns:
        The same three for the image.
    """
    maps, bone_depth, root_depth = straight
    other = mirrored[0][_ROWS, :, ::-1]
    other[JOINTS::2] *= -1  # the x of affinities points the other way
    maps += other
    maps *= 0.5
    bone_depth += mirrored[1][_LIMBS, :, ::-1]
    bone_depth *= 0.5
    root_depth += mirrored[2][:, ::-1]
    root_depth *= 0.5
    return maps, bone_depth, root_depth
