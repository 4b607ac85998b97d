"""How far away people are: the network's word and its bias, how large they appear and are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.manifest.smap import FarPeople, SizePrior, SmapManifest
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.smap.lifting import Lifted
from smap_ros.skeletons import MPI15

Float = NDArray[np.float32]
Double = NDArray[np.float64]

# All limbs of mpi15 together are this many heights long: over 6,400 virtual people, to 1.4 %.
_LIMBS_PER_HEIGHT = 2.355
_LIMBS = np.array(MPI15.limbs)
_SHAPE_ERROR = 0.06  # of a skeleton's apparent size, whose pose is seen roughly
MAX_PRIOR_RATIO = 0.7  # twice as near or far than the network says is all that a prior may do
MIN_JOINTS = 6  # fewer say little about size
MAX_FARTHER = 0.4  # half as far again as told is all that a bias may be
MAX_LOG_RATIO = 0.3  # a third nearer or farther than the network says is all that size may do


@dataclass(frozen=True)
class Placed:
    """People in their places.

    Attributes:
        joints_3d: float32 [N, 15, 3], metres, optical frame.
        depth_std: float64 [N], standard deviation of the root's depth, metres; NaN if unknown.
    """

    joints_3d: Float
    depth_std: Double


class Placement:
    """Where people are, with all evidence, as a bundle weighs it.

    Args:
        manifest: of the bundle.
        overrides: of fields of its size prior; None is none.

    Raises:
        InputError: if a prior is wanted of a bundle that doesn't say how wrong its depths are.
    """

    def __init__(self, manifest: SmapManifest, overrides: Mapping[str, float | None]) -> None:
        self._manifest = manifest
        stated = {name: value for name, value in overrides.items() if value is not None}
        self.prior = manifest.size_prior.model_copy(update=stated)
        if self.prior.weight and not manifest.depth_error:
            raise InputError(
                f"size_prior: bundle {manifest.name!r} says nothing of depth_error, how wrong its "
                "depths are, so a prior can't be weighed against them; set size_prior_weight to 0"
            )

    def __call__(self, joints: Float, lifted: Lifted, scores: Float, camera: Camera) -> Placed:
        """The people where they are believed to be.

        Args:
            joints: float32 [N, 15, 3], metres, refined or not.
            lifted: the same people as the network places them, and what it tells of them.
            scores: float32 [N, 15], of what was seen.
            camera: intrinsics at the size of the image.
        """
        share, root, seen = self._manifest.size_share, MPI15.root, lifted.joints_2d
        if share:
            joints = placed_by_size(joints, seen, scores, camera, root, share)
        shown = shown_metre(self._manifest, camera) * (
            1.0 if lifted.shown is None else lifted.shown
        )
        joints = placed_farther(joints, shown, root, self._manifest.far_people)
        deviation = np.full(len(joints), self._manifest.depth_error or np.nan)
        if lifted.spread is not None:
            deviation = deviation * lifted.spread
        if self.prior.weight:
            joints, deviation = placed_by_prior(
                joints, seen, scores, camera, root, deviation, self.prior
            )
        return Placed(joints, deviation * joints[:, root, 2])


def shown_metre(manifest: SmapManifest, camera: Camera) -> float:
    """Pixels in which the network sees a metre that is a metre away, on the axis of a lens."""
    seen = manifest.input
    return camera.fx * min(seen.width / camera.width, seen.height / camera.height)


def placed_farther(joints_3d: Float, shown: float | Double, root: int, far: FarPeople) -> Float:
    """People who are far away or appear small, as much farther as a network tells such too near.

    They become larger with it, so that they still appear as large as they do: told too near,
    they were told too small.

    Args:
        joints_3d: float32 [N, J, 3], metres, optical frame.
        shown: see :func:`shown_metre`; one number, or one for each person.
        root: index of the root.
        far: the bias, as it was measured.

    Returns:
        float32 [N, J, 3].
    """
    depth = joints_3d[:, root, 2].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        farther = far.power * np.maximum(np.log(depth / far.beyond), 0)
        farther += far.small_power * np.maximum(np.log(depth * far.below / shown), 0)
    factor = np.exp(np.minimum(np.nan_to_num(farther), MAX_FARTHER))[:, None, None]
    return (joints_3d * factor).astype(np.float32)


def placed_by_prior(
    joints_3d: Float,
    joints_2d: Float,
    scores: Float,
    camera: Camera,
    root: int,
    deviation: Double,
    prior: SizePrior,
) -> tuple[Float, Double]:
    """People moved along the ray through their root to where people of their size would be.

    The depth at which a body of mean height in the person's pose would appear as large as they
    do, and the depth that they have, are two measurements of one logarithm.

    Args:
        joints_3d, joints_2d, scores, camera, root: as in :func:`placed_by_size`.
        deviation: float64 [N], standard deviation of the logarithm of their depth.
        prior: how large people are.

    Returns:
        Moved people float32 [N, J, 3], and the deviations after it, float64 [N]; people of
        unknown size stay as they are.
    """
    by_size = depths_from_size(joints_3d, joints_2d, scores, camera, root)
    depth = joints_3d[:, root, 2].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(by_size * (prior.mean / heights(joints_3d)) / depth)
        certain = 1 / np.square(deviation)
    whole = np.isfinite(joints_3d).all(axis=(1, 2))  # only of them size is known well
    spread = np.hypot(prior.spread, _SHAPE_ERROR)
    weight = prior.weight / np.square(spread)
    known = np.isfinite(log_ratio) & np.isfinite(certain) & whole
    gain = np.where(known, weight / np.where(known, weight + certain, 1.0), 0.0)
    log_ratio = np.nan_to_num(np.clip(log_ratio, -MAX_PRIOR_RATIO, MAX_PRIOR_RATIO))
    factor = np.exp(gain * log_ratio)[:, None, None]
    moved = (joints_3d + joints_3d[:, root, None] * (factor - 1)).astype(np.float32)
    return moved, np.where(known, 1 / np.sqrt(np.where(known, weight + certain, 1.0)), deviation)


def heights(joints_3d: Float) -> Double:
    """How tall people would stand, from the lengths of the limbs that were found.

    Args:
        joints_3d: float32 [N, 15, 3], metres; NaN where missing.

    Returns:
        float64 [N], metres; NaN where no limb was found.
    """
    limbs = joints_3d[:, _LIMBS[:, 0]] - joints_3d[:, _LIMBS[:, 1]]
    lengths = np.linalg.norm(limbs.astype(np.float64), axis=-1)
    there = np.isfinite(lengths)
    with np.errstate(invalid="ignore"):
        mean = np.where(there, lengths, 0.0).sum(axis=1) / there.sum(axis=1)
    return np.asarray(mean * len(_LIMBS) / _LIMBS_PER_HEIGHT, np.float64)


def depths_from_size(
    joints_3d: Float, joints_2d: Float, scores: Float, camera: Camera, root: int
) -> Double:
    """Depth at which each person's skeleton would appear as large as they do.

    A person's joints relative to the root are taken as they are; the translation that brings
    their projections closest to the image points, weighted by score, has a closed form, since
    ``x (Z + dz) = X + dx`` is linear in it.

    Args:
        joints_3d: float32 [N, J, 3], metres; only positions relative to the root count.
        joints_2d: float32 [N, J, 2], pixels; NaN where missing.
        scores: float32 [N, J]; joints of score 0 don't count.
        camera: intrinsics at the size of the image.
        root: index of the root.

    Returns:
        float64 [N], depth of the root in metres; NaN for people with fewer than ``MIN_JOINTS``
        joints or without a solution in front of the camera.
    """
    rays = np.asarray(camera.back_project(joints_2d, np.ones(scores.shape)))[..., :2]
    relative = (joints_3d - joints_3d[:, root, None]).astype(np.float64)
    usable = (scores > 0) & np.isfinite(rays).all(axis=-1) & np.isfinite(relative).all(axis=-1)
    weight = np.where(usable, scores, 0.0).astype(np.float64)
    rays = np.where(usable[..., None], rays, 0.0)
    relative = np.where(usable[..., None], relative, 0.0)
    # Unknown T of  T_xy - ray T_z = ray dz - dxy  in each joint; T_xy eliminated by weighted means.
    right = rays * relative[..., 2:] - relative[..., :2]
    total = np.maximum(weight.sum(axis=1), 1e-9)[:, None, None]
    centred_rays = rays - (weight[..., None] * rays).sum(axis=1, keepdims=True) / total
    centred_right = right - (weight[..., None] * right).sum(axis=1, keepdims=True) / total
    spread = (weight[..., None] * centred_rays**2).sum(axis=(1, 2))
    product = (weight[..., None] * centred_rays * centred_right).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(spread > 0, -product / spread, np.nan)
    solved = (usable.sum(axis=1) >= MIN_JOINTS) & (depth > 0)
    result: Double = np.where(solved, depth, np.nan)
    return result


def placed_by_size(
    joints_3d: Float, joints_2d: Float, scores: Float, camera: Camera, root: int, share: float
) -> Float:
    """People moved along the ray through their root towards where their size puts them.

    Args:
        joints_3d: float32 [N, J, 3], metres, optical frame, as the network places them.
        joints_2d: float32 [N, J, 2], pixels, where the joints were seen; NaN where missing.
        scores: float32 [N, J], of what was seen; 0 for joints that were inferred.
        camera: intrinsics at the size of the image.
        root: index of the root.
        share: of the size in the logarithm of the depth, 0 to 1; the rest is the network's.

    Returns:
        float32 [N, J, 3]; people of unknown size stay where they are.
    """
    by_size = depths_from_size(joints_3d, joints_2d, scores, camera, root)
    depth = joints_3d[:, root, 2].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(by_size / depth)
    log_ratio = np.nan_to_num(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    factor = np.exp(share * log_ratio)[:, None, None]
    moved: Double = joints_3d + joints_3d[:, root, None] * (factor - 1)
    return moved.astype(np.float32)
