"""SMAP's output maps: their units, and the mean over an image and its mirror image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.cuda.layout import MapUnits
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.estimators.smap.lifting import CM_PER_M
from smap_ros.skeletons import MPI15

JOINTS = len(MPI15)

Float = NDArray[np.float32]

# Rows of the mirrored maps that belong in the place of the straight ones: left is right.
_JOINTS = list(MPI15.flip)
_LIMBS = [MPI15.limbs.index((_JOINTS[a], _JOINTS[b])) for a, b in MPI15.limbs]
_POSE = [3 * joint + axis for joint in _JOINTS for axis in (0, 1, 2)]
_ROWS = _JOINTS + [JOINTS + 2 * limb + axis for limb in _LIMBS for axis in (0, 1)]


class Maps(NamedTuple):
    """What a network sees; all on one grid.

    Attributes:
        maps: float32 [43, h, w], heatmaps and part affinities.
        bone_depth: float32 [14, h, w], centimetres.
        root_depth: float32 [h, w], centimetres per focal length in network pixels.
        poses: float32 [45, h, w], centimetres; None from a network that doesn't tell them.
    """

    maps: Float
    bone_depth: Float
    root_depth: Float
    poses: Float | None = None

    def copy(self) -> Maps:
        """The same in memory of its own."""
        poses = None if self.poses is None else self.poses.copy()
        return Maps(self.maps.copy(), self.bone_depth.copy(), self.root_depth.copy(), poses)

    def mean_with_mirrored(self, other: Maps) -> Maps:
        """The mean of what a network sees in an image, here, and in its mirror image.

        Args:
            other: of the image mirrored left to right. Its maps are kept, this one's are
                overwritten.

        Returns:
            The maps for the image.
        """
        turned = other.maps[_ROWS, :, ::-1]
        turned[JOINTS::2] *= -1  # the x of affinities points the other way
        _take_mean(self.maps, turned)
        _take_mean(self.bone_depth, other.bone_depth[_LIMBS, :, ::-1])
        _take_mean(self.root_depth, other.root_depth[:, ::-1])
        if self.poses is not None and other.poses is not None:
            turned = other.poses[_POSE, :, ::-1]
            turned[::3] *= -1
            _take_mean(self.poses, turned)
        return self


def _take_mean(array: Float, other: Float) -> None:
    array += other
    array *= 0.5


class MapScales:
    """The network's outputs in the units of association and lifting.

    Buffers are used again; outputs that already have the unit are passed on without a copy.
    """

    def __init__(self, manifest: SmapManifest) -> None:
        scales = manifest.scales
        # Divided and not multiplied by the inverse: to the last bit as SMAP scales.
        maps = np.full((43, 1, 1), scales.paf_scale, np.float32)
        maps[:JOINTS] = scales.heatmap_scale
        # Association and lifting work in SMAP's centimetres.
        units = {
            "bone_depth": scales.bone_depth_unit_m,
            "root_depth": scales.root_depth_unit_m,
            "pose": scales.bone_depth_unit_m,
        }
        depths = {k: np.full((1, 1, 1), 1 / (u * CM_PER_M), np.float32) for k, u in units.items()}
        divisors = {"maps": maps, **depths}
        known = [name for name in divisors if name in manifest.outputs]
        self._outputs = [manifest.outputs[name] for name in known]
        self._divisors = [divisors[name] for name in known]
        self._channels = [output.shape[1] for output in self._outputs]
        self._buffers = [np.empty(output.shape[1:], np.float32) for output in self._outputs]

    def __call__(self, outputs: Mapping[str, NDArray[Any]]) -> Maps:
        """The maps of a network's outputs by name."""
        scaled: list[Float] = []
        kept = zip(self._outputs, self._divisors, self._buffers, strict=True)
        for output, divisor, buffer in kept:
            array: Float = outputs[output.name][0]
            if np.all(divisor == 1):
                scaled.append(array)
            else:
                scaled.append(np.divide(array, divisor, out=buffer))
        return Maps(scaled[0], scaled[1], scaled[2][0], *scaled[3:])

    def units(self, flip_test: bool) -> MapUnits:
        """The same for the GPU: by channel, with the way back from the mirror image if wanted."""
        pairs = zip(self._divisors, self._channels, strict=True)
        divisor = np.concatenate([np.broadcast_to(d.reshape(-1), n) for d, n in pairs])
        if not flip_test:
            return MapUnits(divisor.astype(np.float32))
        blocks = [np.array(_ROWS), np.array(_LIMBS), np.array([0]), np.array(_POSE)]
        starts = np.cumsum([0, *self._channels])
        taken = zip(blocks, starts, self._channels, strict=False)
        channel = np.concatenate([block + start for block, start, _ in taken])
        sign = np.ones(len(divisor), np.float32)
        sign[JOINTS : len(_ROWS) : 2] = -1  # x of the affinities
        sign[starts[3] :: 3] = -1  # x of the poses
        return MapUnits(divisor.astype(np.float32), channel[: len(divisor)], sign)
