"""From associated joints to absolute 3D: SMAP's depth chain.

Works in centimetres and network pixels inside, as SMAP's networks do; metres, image pixels and
NaN for missing joints outside, as in :class:`smap_ros.bodies.Body`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.config import NECK, PELVIS, check_root
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.smap.lens import shown_size
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.skeletons import MPI15

Float = NDArray[np.float32]
Double = NDArray[np.float64]

JOINTS = len(MPI15)
LIMBS = np.array(MPI15.limbs, dtype=np.intp)  # [14, 2]
TORSO = 1  # the limb that runs from neck to pelvis
CM_PER_M = 100.0

NO_ROOT = "no_root"
BAD_ROOT_DEPTH = "bad_root_depth"


@dataclass(frozen=True)
class LiftingConfig:
    """Settings of the lifting; the defaults are SMAP's.

    Attributes:
        stride: network pixels per map cell.
        root: joint the root depth belongs to: 2 (pelvis) or 0 (neck).
        samples: samples of a bone's relative depth along its limb.
        percentiles: the samples are clipped to these two percentiles before the mean.
        centred_pixels: how network pixels become image pixels. False is SMAP's way: scaled and
            padded about the corner of the image, the two pads equal. True is
            :meth:`Letterbox.to_image`: the pixel centres of the resize. Must be what the
            network's training labels were made with.
        depth_by_size: the network tells how far away people are by how large they look, whatever
            the lens, which :func:`.lens.shown_size` undoes. SMAP's depths are taken as they are.
    """

    stride: float = 4.0
    root: int = PELVIS
    samples: int = 10
    percentiles: tuple[float, float] = (10.0, 90.0)
    centred_pixels: bool = False
    depth_by_size: bool = False

    def __post_init__(self) -> None:
        check_root(self.root)
        if not 0 < self.stride < np.inf:
            raise InputError(f"stride is {self.stride!r}, expected a positive number of pixels")
        if type(self.samples) is not int or self.samples < 2:
            raise InputError(
                f"samples is {self.samples!r}, expected a whole number of at least 2 (the bone's "
                "ends)"
            )
        low, high = self.percentiles
        if not 0 <= low <= high <= 100:
            raise InputError(
                f"percentiles are {self.percentiles}, expected two ascending between 0 and 100"
            )


DEFAULT = LiftingConfig()


@dataclass(frozen=True)
class Lifted:
    """People with absolute 3D joints. N people, in the order of the association.

    Attributes:
        joints_3d: float32 [N, 15, 3], metres, optical frame; NaN where missing.
        joints_2d: float32 [N, 15, 2], pixels of the original image; NaN where missing.
        scores: float32 [N, 15], the heatmaps' peak values; 0 where missing.
        joints_network: float32 [N, 15, 2], network pixels; 0 where missing.
        index: int [N], the person's row in the association's result.
        poses: float32 [N, 15, 3], metres, the whole pose as the network tells it at the pelvis,
            joints that were not found included: x and y from the pelvis in the image, times
            depth over focal length of the pelvis (and over ``shown``), and depth behind it. None
            from networks without that output.
        spread: float32 [N], error to expect of the logarithm of the root's depth, as the network
            tells it; None from networks without that output.
        shown: float64 [N], how large the lens shows them, see :func:`.lens.shown_size`, where
            the depth goes by it; None is 1.
        dropped: people that can't be placed in space, by reason: ``no_root`` (root joint not
            found), ``bad_root_depth`` (the network's root depth there is NaN, infinite or not
            in front of the camera). Reasons with nobody are left out.
    """

    joints_3d: Float
    joints_2d: Float
    scores: Float
    joints_network: Float
    index: NDArray[np.intp]
    dropped: Mapping[str, int] = field(default_factory=dict)
    poses: Float | None = None
    spread: Float | None = None
    shown: Double | None = None

    @classmethod
    def nobody(cls, dropped: Mapping[str, int]) -> Lifted:
        """No people, and why."""
        joints, pixels = np.zeros((0, JOINTS, 3), np.float32), np.zeros((0, JOINTS, 2), np.float32)
        return cls(joints, pixels, joints[..., 0], pixels, np.zeros(0, np.intp), dropped)

    def __len__(self) -> int:
        return len(self.joints_3d)

    def __getitem__(self, rows: Sequence[int]) -> Lifted:
        chosen = np.asarray(rows, np.intp)
        columns = vars(self).items()
        arrays: dict[str, Any] = {k: v[chosen] for k, v in columns if isinstance(v, np.ndarray)}
        return replace(self, **arrays)


@dataclass(frozen=True)
class Measured:
    """What is read in the maps at people's joints. P people, in the order of the association.

    Attributes:
        root_depth: float32 [P], centimetres per focal length in network pixels, at the roots.
        relative_cm: float64 [P, 15], depths relative to the root.
        poses: float32 [P, 15, 3], metres; see :class:`Lifted`.
        spread: float32 [P]; see there.
    """

    root_depth: Float
    relative_cm: Double
    poses: Float | None = None
    spread: Float | None = None


def lift(
    people: Float,
    bone_depth: Float,
    root_depth: Float,
    *,
    camera: Camera,
    letterbox: Letterbox,
    config: LiftingConfig = DEFAULT,
    poses: Float | None = None,
    spread: Float | None = None,
) -> Lifted:
    """Absolute 3D joints of associated people (SMAP, sections 3.1 and 3.4).

    The root's depth is the network's, de-normalised by focal length and image scale; the other
    joints' depths follow along the bones; x and y are back-projected (lens distortion undone).
    A joint that comes out at or behind the camera is missing.

    Args:
        people: float32 [P, 15, 4] from :func:`smap_ros.association.associate`, map cells.
        bone_depth: float32 [14, h, w], relative depth of each limb's ends, centimetres.
        root_depth: float32 [h, w], centimetres per focal length in network pixels.
        camera: intrinsics at the size of the original image.
        letterbox: how the image was fitted into the network's input.
        config: stride, root and sampling.
        poses: float32 [45, h, w], centimetres, from networks that tell them.
        spread: float32 [h, w], from networks that tell it.

    Returns:
        The people that can be placed, and how many can't, by reason.

    Raises:
        InputError: if a shape doesn't fit.
    """
    _check(people, bone_depth, root_depth, camera, letterbox)
    measured = Measured(
        _at_roots(people, root_depth, config),
        relative_depths(people, bone_depth, config),
        None if poses is None else told_poses(people, poses, config),
        None if spread is None else _at_roots(people, spread, config),
    )
    return place(people, measured, camera=camera, letterbox=letterbox, config=config)


def place(
    people: Float,
    measured: Measured,
    *,
    camera: Camera,
    letterbox: Letterbox,
    config: LiftingConfig = DEFAULT,
) -> Lifted:
    """The second half of :func:`lift`: people in space, from what was read in the maps.

    Args:
        people, camera, letterbox, config: as there.
        measured: of the same people.
    """
    found = people[:, config.root, 3] > 0
    at = to_image(people[..., :2] * np.float32(config.stride), letterbox, config)
    shown = np.ones(len(people))
    if config.depth_by_size:
        shown = shown_size(at, people[..., 3] > 0, camera)
    depth_cm = measured.root_depth.astype(np.float64) * (letterbox.scale * camera.fx) * shown
    depth_cm = np.where(found, depth_cm, 0.0)
    placeable = found & np.isfinite(depth_cm) & (depth_cm > 0)
    index = np.flatnonzero(placeable)
    counts = {NO_ROOT: np.sum(~found), BAD_ROOT_DEPTH: np.sum(found & ~placeable)}

    people, depth_cm = people[index], depth_cm[index]
    z_cm = depth_cm[:, None] + measured.relative_cm[index]  # [N, 15]
    scores = np.where(z_cm > 0, people[..., 3], np.float32(0))
    missing = (scores == 0)[..., None]
    network = np.where(missing, np.float32(0), people[..., :2] * np.float32(config.stride))
    pixels = np.where(missing, np.nan, at[index])
    joints = camera.back_project(pixels, np.where(missing[..., 0], np.nan, z_cm / CM_PER_M))
    return Lifted(
        joints_3d=joints.astype(np.float32),
        joints_2d=pixels.astype(np.float32),
        scores=scores,
        joints_network=network,
        index=index,
        dropped={reason: int(count) for reason, count in counts.items() if count},
        poses=None if measured.poses is None else measured.poses[index],
        spread=None if measured.spread is None else measured.spread[index],
        shown=shown[index],
    )


def to_image(points: Float, letterbox: Letterbox, config: LiftingConfig = DEFAULT) -> Double:
    """Network pixels [..., 2] to pixels of the original image, as the configuration says."""
    points = points.astype(np.float64)
    if config.centred_pixels:
        return np.asarray(letterbox.to_image(points), dtype=np.float64)
    image = np.array([letterbox.image_width, letterbox.image_height], dtype=np.float64)
    network = np.array([letterbox.width, letterbox.height], dtype=np.float64)
    pixels: Double = points / letterbox.scale - (network / letterbox.scale - image) / 2
    return pixels


def root_depths(
    people: Float, root_depth: Float, focal: float, config: LiftingConfig = DEFAULT
) -> Double:
    """Depth of each person's root, centimetres, float64 [P]; 0 where the root is missing.

    Args:
        people: float32 [P, 15, 4], map cells.
        root_depth: float32 [h, w], centimetres per focal length in network pixels.
        focal: focal length in network pixels (image focal length times image scale).
    """
    root = people[:, config.root]
    at = _cells(root[:, :2], root_depth.shape[-2:])
    depth: Double = root_depth[at[..., 1], at[..., 0]].astype(np.float64) * focal
    return np.where(root[:, 3] > 0, depth, 0.0)


def told_poses(people: Float, poses: Float, config: LiftingConfig = DEFAULT) -> Float:
    """The poses at people's roots, float32 [P, 15, 3], metres; see :class:`Lifted`.

    Args:
        people: float32 [P, 15, 4], map cells.
        poses: float32 [45, h, w], centimetres.
        config: says which joint is the root.
    """
    told = _at_roots(people, poses, config).T.reshape(-1, JOINTS, 3)
    return np.asarray(told / np.float32(CM_PER_M), np.float32)


def _at_roots(people: Float, maps: Float, config: LiftingConfig) -> Float:
    """What maps [..., h, w] say at people's roots, [..., P]."""
    at = _cells(people[:, config.root, :2], maps.shape[-2:])
    return np.asarray(maps[..., at[:, 1], at[:, 0]], np.float32)


def bone_depths(people: Float, bone_depth: Float, config: LiftingConfig = DEFAULT) -> Double:
    """Depth of each limb's second joint relative to its first, centimetres, float64 [P, 14].

    The mean of samples along the limb in its channel, each clipped to the percentiles. Samples
    that are NaN or infinite are left out. 0 where a joint is missing or no sample is left.

    Args:
        people: float32 [P, 15, 4], map cells.
        bone_depth: float32 [14, h, w], centimetres.
        config: stride, number of samples, percentiles.
    """
    ends = people[:, LIMBS, :2] * np.float32(config.stride)  # [P, 14, 2, 2], network pixels
    # In network pixels and float32, then rounded half to even: the reference samples maps
    # enlarged by the stride with nearest neighbours.
    start, step = ends[:, :, 0], (ends[:, :, 1] - ends[:, :, 0]) / np.float32(config.samples - 1)
    number = np.arange(config.samples, dtype=np.float32)[:, None]
    line = number * step[:, :, None] + start[:, :, None]  # [P, 14, S, 2]
    line[:, :, -1] = ends[:, :, 1]
    at = _cells(np.round(line) / np.float32(config.stride), bone_depth.shape[-2:])
    samples = bone_depth[np.arange(len(LIMBS))[:, None], at[..., 1], at[..., 0]]  # [P, 14, S]
    means = _clipped_mean(samples.astype(np.float64), config.percentiles)
    known = (people[:, LIMBS, 3] > 0).all(axis=-1)
    return np.where(known, means, 0.0)


def chain_depths(bones: Double, root: int = PELVIS) -> Double:
    """Depths of all joints relative to the root, centimetres, float64 [P, 15].

    Args:
        bones: float64 [P, 14] from :func:`bone_depths`.
        root: 2 (pelvis): the torso's bone is walked from pelvis to neck; or 0 (neck).
    """
    depths = np.zeros((len(bones), JOINTS))
    if root == PELVIS:
        depths[:, NECK] = -bones[:, TORSO]
    for limb, (parent, child) in enumerate(LIMBS):
        if child != root:
            depths[:, child] = depths[:, parent] + bones[:, limb]
    return depths


def relative_depths(people: Float, bone_depth: Float, config: LiftingConfig = DEFAULT) -> Double:
    """Depths of all joints relative to the root, centimetres, float64 [P, 15].

    A bone that is not known adds nothing. Arguments as in :func:`bone_depths`.
    """
    return chain_depths(bone_depths(people, bone_depth, config), config.root)


def _cells(points: Float, size: tuple[int, ...]) -> NDArray[np.intp]:
    """Map cells, int [..., 2] (x, y), that hold the points [..., 2]; clipped to the map."""
    height, width = size
    return np.clip(points.astype(np.intp), 0, (width - 1, height - 1))


def _clipped_mean(samples: Double, percentiles: tuple[float, float]) -> Double:
    """Mean over the last axis after clipping to its percentiles (linear interpolation).

    Values that are not finite are left out; 0 where none is left.
    """
    finite = np.isfinite(samples)
    if finite.all():  # as a rule: the same in a third of the time
        return _mean_of_finite(samples, percentiles)
    ordered = np.sort(np.where(finite, samples, np.nan), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    limits = []
    for percentile in percentiles:
        position = np.maximum(count - 1, 0) * (percentile / 100)
        low = np.floor(position).astype(np.intp)
        below = np.take_along_axis(ordered, low, axis=-1)
        above = np.take_along_axis(ordered, np.minimum(low + 1, np.maximum(count - 1, 0)), axis=-1)
        limits.append(below + (above - below) * (position - low))
    clipped = np.clip(ordered, *limits)
    total = np.nansum(clipped, axis=-1)
    mean: Double = total / np.maximum(count[..., 0], 1)
    return mean


def _mean_of_finite(samples: Double, percentiles: tuple[float, float]) -> Double:
    """:func:`_clipped_mean` of finite samples, to the last bit."""
    ordered = np.sort(samples, axis=-1)
    last = ordered.shape[-1] - 1
    limits = []
    for percentile in percentiles:
        position = last * (percentile / 100)
        low = math.floor(position)
        below, above = ordered[..., low, None], ordered[..., min(low + 1, last), None]
        limits.append(below + (above - below) * (position - low))
    clipped = np.minimum(np.maximum(ordered, limits[0]), limits[1])
    mean: Double = clipped.sum(axis=-1) / ordered.shape[-1]
    return mean


def _check(
    people: Float, bone_depth: Float, root_depth: Float, camera: Camera, letterbox: Letterbox
) -> None:
    if people.ndim != 3 or people.shape[1:] != (JOINTS, 4):
        raise InputError(
            f"people have shape {people.shape}, expected [P, {JOINTS}, 4] from associate()"
        )
    if root_depth.ndim != 2 or 0 in root_depth.shape:
        raise InputError(f"root_depth has shape {root_depth.shape}, expected [h, w]")
    if bone_depth.shape != (len(LIMBS), *root_depth.shape):
        raise InputError(
            f"bone_depth has shape {bone_depth.shape}, expected "
            f"{(len(LIMBS), *root_depth.shape)} to go with the root depth"
        )
    if (camera.width, camera.height) != (letterbox.image_width, letterbox.image_height):
        raise InputError(
            f"the camera is for {camera.width}x{camera.height} px, the letterbox for "
            f"{letterbox.image_width}x{letterbox.image_height} px; use Camera.resized() or the "
            "CameraInfo of this image"
        )


def without_unplaced(lifted: Lifted) -> Lifted:
    """Joints whose pixel has no ideal ray (a lens that can't be undone there) become missing."""
    placed = np.asarray(np.isfinite(lifted.joints_3d).all(axis=-1))
    return replace(
        lifted,
        joints_2d=np.where(placed[..., None], lifted.joints_2d, np.float32(np.nan)),
        scores=np.where(placed, lifted.scores, np.float32(0)),
    )
