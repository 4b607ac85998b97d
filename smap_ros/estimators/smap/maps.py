"""SMAP's output maps: their units, and the mean over an image and its mirror image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.cuda.layout import OUTPUTS, MapUnits
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
        neck_depth, neck_poses: the same of necks.
        depth_spread: float32 [2, h, w], error to expect of the logarithm of pelvises' and necks'
            depths; None from a network that doesn't tell it.
    """

    maps: Float
    bone_depth: Float
    root_depth: Float
    poses: Float | None = None
    neck_depth: Float | None = None
    neck_poses: Float | None = None
    depth_spread: Float | None = None

    def copy(self) -> Maps:
        """The same in memory of its own."""
        return self._replace(**{k: a.copy() for k, a in self._asdict().items() if a is not None})

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
        for mine, theirs in ((self.poses, other.poses), (self.neck_poses, other.neck_poses)):
            if mine is not None and theirs is not None:
                turned = theirs[_POSE, :, ::-1]
                turned[::3] *= -1
                _take_mean(mine, turned)
        for mine, theirs in (
            (self.neck_depth, other.neck_depth),
            (self.depth_spread, other.depth_spread),
        ):
            if mine is not None and theirs is not None:
                _take_mean(mine, theirs[..., ::-1])
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
        bone, root = scales.bone_depth_unit_m, scales.root_depth_unit_m
        units = {"bone_depth": bone, "root_depth": root, "pose": bone}
        units |= {"neck_depth": root, "neck_pose": bone}
        divisors = {"maps": maps}
        for name, unit in units.items():
            divisors[name] = np.full((1, 1, 1), 1 / (unit * CM_PER_M), np.float32)
        divisors["depth_spread"] = np.ones((1, 1, 1), np.float32)  # of a logarithm: no unit
        self._divisors = {name: d for name, d in divisors.items() if name in manifest.outputs}
        self._outputs = {name: manifest.outputs[name] for name in self._divisors}
        self._buffers = {k: np.empty(o.shape[1:], np.float32) for k, o in self._outputs.items()}

    def __call__(self, outputs: Mapping[str, NDArray[Any]]) -> Maps:
        """The maps of a network's outputs by name."""
        scaled: dict[str, Float] = {}
        for name, divisor in self._divisors.items():
            array: Float = outputs[self._outputs[name].name][0]
            whole = np.all(divisor == 1)
            scaled[name] = array if whole else np.divide(array, divisor, out=self._buffers[name])
        necks = scaled.get("neck_depth")
        return Maps(
            scaled["maps"],
            scaled["bone_depth"],
            scaled["root_depth"][0],
            scaled.get("pose"),
            None if necks is None else necks[0],
            scaled.get("neck_pose"),
            scaled.get("depth_spread"),
        )

    def units(self, flip_test: bool) -> MapUnits:
        """The same for the GPU: by channel, with the way back from the mirror image if wanted."""
        names = tuple(name for name in OUTPUTS if name in self._divisors)
        divisor = np.concatenate(
            [np.broadcast_to(self._divisors[name].reshape(-1), OUTPUTS[name]) for name in names]
        ).astype(np.float32)
        if not flip_test:
            return MapUnits(divisor, names)
        starts = np.cumsum([0, *(OUTPUTS[name] for name in names)])
        channel = np.concatenate([_MIRRORED[n] + s for n, s in zip(names, starts, strict=False)])
        sign = np.concatenate([_signs(name) for name in names])
        return MapUnits(divisor, names, channel, sign)


# Channels of each output in the mirrored image's maps.
_MIRRORED: dict[str, NDArray[np.intp]] = {
    "maps": np.array(_ROWS), "bone_depth": np.array(_LIMBS), "root_depth": np.arange(1),
    "pose": np.array(_POSE), "neck_depth": np.arange(1), "neck_pose": np.array(_POSE),
    "depth_spread": np.arange(2),
}  # fmt: skip


def _signs(name: str) -> Float:
    """-1 for the channels of an output that point along x, which mirroring turns."""
    sign = np.ones(OUTPUTS[name], np.float32)
    if name == "maps":
        sign[JOINTS::2] = -1
    elif name in ("pose", "neck_pose"):
        sign[::3] = -1
    return sign
