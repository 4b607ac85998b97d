"""Target maps of smap_lite, in map cells and metres.

SMAP's own label maps (:mod:`smap_train.targets.smap`) normalise each channel by its maximum; here
every person's peak is 1, people are combined by the maximum, and limbs get as wide as the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.data.picture import Picture

Float = NDArray[np.float32]
STRIDE = 4
MAX_PEOPLE = 20

_SIGMA = 1.3  # cells; narrower peaks don't survive the 7x7 centroid of association
_LIMB_HALF_WIDTH = (1.2, 2.5)  # cells, for far and near people
_NECK = MPI15.index("neck")
_LIMBS = np.array(MPI15.limbs)


@dataclass(frozen=True)
class Targets:
    """What the network should predict for one picture.

    Attributes:
        keypoints: float32 [15, h, w] in [0, 1]; ``keypoint_weight`` alike.
        affinities: float32 [28, h, w] unit vectors; ``affinity_weight`` [14, h, w].
        bone_depth: float32 [14, h, w] metres; ``bone_weight`` alike, 1 on labelled limbs.
        roots: float32 [20, 3] rows of (row, column, root depth over focal length); depth 0 where
            there is no person.
        poses: float32 [20, 45], of the same people, metres, NaN where unknown: x and y of each
            joint from the pelvis in the picture times depth over focal length of the pelvis, and
            its depth behind the pelvis.
        necks, neck_poses: the same as seen from the necks in the picture, whose people may have
            their pelvis out of it.
    """

    keypoints: Float
    keypoint_weight: Float
    affinities: Float
    affinity_weight: Float
    bone_depth: Float
    bone_weight: Float
    roots: Float
    poses: Float
    necks: Float
    neck_poses: Float


def make_targets(picture: Picture) -> Targets:
    """Render the label maps of a picture whose sides are multiples of 4 pixels."""
    height, width = (side // STRIDE for side in picture.image.shape[:2])
    # Association reports x of a peak in cells such that 4 x is the pixel: the centre of cell i
    # is pixel 4 (i + 0.5).
    cells = picture.joints_2d / STRIDE - 0.5
    trust = picture.trust[2::STRIDE, 2::STRIDE]
    unknown = picture.unknown[2::STRIDE, 2::STRIDE]
    known = (unknown[None] >> np.arange(15, dtype=np.uint16)[:, None, None]) & 1 == 0
    keypoints = _keypoints(cells, height, width)
    keypoint_weight = np.maximum(trust[None] * known, keypoints > 0.1).astype(np.float32)
    limbs, depth, mask, depth_mask = _limbs(cells, picture.depth, height, width)
    both_known = known[_LIMBS[:, 0]] & known[_LIMBS[:, 1]]
    affinity_weight = np.maximum(trust[None] * both_known, mask).astype(np.float32)
    return Targets(
        keypoints,
        keypoint_weight,
        limbs,
        affinity_weight,
        depth,
        depth_mask,
        *_people(cells, picture, picture.root_depth, MPI15.root),
        *_people(cells, picture, picture.neck_depth, _NECK),
    )


def _keypoints(cells: Float, height: int, width: int) -> Float:
    out = np.zeros((15, height, width), np.float32)
    if len(cells) == 0:
        return out
    with np.errstate(invalid="ignore"):
        x = np.exp(-((np.arange(width) - cells[..., 0, None]) ** 2) / (2 * _SIGMA**2))
        y = np.exp(-((np.arange(height) - cells[..., 1, None]) ** 2) / (2 * _SIGMA**2))
    x, y = np.nan_to_num(x).astype(np.float32), np.nan_to_num(y).astype(np.float32)
    for person in range(len(cells)):
        np.maximum(out, y[person, :, :, None] * x[person, :, None, :], out=out)
    return out


def _limbs(
    cells: Float, depth: Float, height: int, width: int
) -> tuple[Float, Float, Float, Float]:
    """Part affinities [28, h, w], bone depths [14, h, w], and where each is labelled."""
    vectors = np.zeros((14, 2, height, width), np.float32)
    bones = np.zeros((14, height, width), np.float32)
    count = np.zeros((14, height, width), np.float32)
    depth_count = np.zeros((14, height, width), np.float32)
    for joints, joint_depth in zip(cells, depth, strict=True):
        if not np.isfinite(joints).any():
            continue
        extent = np.nanmax(joints, axis=0) - np.nanmin(joints, axis=0)
        half = float(np.clip(0.03 * np.nanmax(extent), *_LIMB_HALF_WIDTH))
        for k, (a, b) in enumerate(_LIMBS):
            _add_limb(
                joints[a],
                joints[b],
                float(joint_depth[b] - joint_depth[a]),
                half,
                vectors[k],
                bones[k],
                count[k],
                depth_count[k],
            )
    vectors /= np.maximum(count, 1)[:, None]
    bones /= np.maximum(depth_count, 1)
    return (
        vectors.reshape(28, height, width),
        bones,
        (count > 0).astype(np.float32),
        (depth_count > 0).astype(np.float32),
    )


def _add_limb(
    start: Float,
    end: Float,
    depth: float,
    half: float,
    vectors: Float,
    bones: Float,
    count: Float,
    depth_count: Float,
) -> None:
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return
    length = float(np.hypot(*(end - start)))
    if length < 0.5:
        return
    height, width = count.shape
    x0, y0 = np.maximum(np.floor(np.minimum(start, end) - half), 0).astype(int)
    x1, y1 = np.ceil(np.maximum(start, end) + half).astype(int) + 1
    x1, y1 = min(x1, width), min(y1, height)
    if x0 >= x1 or y0 >= y1:
        return
    ux, uy = (end - start) / length
    dx = np.arange(x0, x1, dtype=np.float32)[None] - start[0]
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] - start[1]
    along, across = dx * ux + dy * uy, np.abs(dx * uy - dy * ux)
    # Association samples up to half a cell beyond the ends.
    on = (across <= half) & (along >= -1.0) & (along <= length + 1.0)
    box = (slice(y0, y1), slice(x0, x1))
    vectors[0][box] += on * ux
    vectors[1][box] += on * uy
    count[box] += on
    if np.isfinite(depth):
        bones[box] += on * depth
        depth_count[box] += on


def _people(cells: Float, picture: Picture, ratios: Float, root: int) -> tuple[Float, Float]:
    """Roots [20, 3] and poses [20, 45] of the people whose joint ``root`` is in the picture."""
    height, width = (side // STRIDE for side in picture.image.shape[:2])
    roots = np.zeros((MAX_PEOPLE, 3), np.float32)
    poses = np.full((MAX_PEOPLE, 15, 3), np.nan, np.float32)
    filled = 0
    people = zip(cells, picture.outside_too, picture.depth, ratios, strict=True)
    for joints, pixels, depth, ratio in people:
        x, y = joints[root]
        inside = 0 <= round(float(np.nan_to_num(x, nan=-9))) < width
        inside = inside and 0 <= round(float(np.nan_to_num(y, nan=-9))) < height
        if inside and np.isfinite(ratio) and ratio > 0 and filled < MAX_PEOPLE:
            roots[filled] = round(float(y)), round(float(x)), ratio
            poses[filled, :, :2] = (pixels - pixels[root]) * ratio
            poses[filled, :, 2] = depth - depth[root]
            filled += 1
    return roots, poses.reshape(MAX_PEOPLE, 45)
