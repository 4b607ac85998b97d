"""What two looks at the same people make of them together.

A closed form: in each joint the second look's share is the logistic function of a weighted sum of
both scores and of how far apart the two are; who disagrees beyond reason keeps the first look's
pose, and so does who gets somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.manifest.second_look import SecondLookSpec, ShareWeights
from smap_ros.camera import Camera
from smap_ros.skeletons import MPI15

Float = NDArray[np.float32]
Double = NDArray[np.float64]

SAME_ANSWER = 0.1  # of the smaller crop's side: two second looks this close saw the same person
MAX_APART = 0.3  # shares of the crop's side that count, in how far apart two looks see a joint
_SURE = 50.0  # a logit that leaves nothing to the other look, and no exponential beyond floats


@dataclass(frozen=True)
class Seen:
    """What a second look sees of N people; rows of people it didn't look at are NaN.

    Attributes:
        joints_2d: float64 [N, 15, 2], pixels of the image.
        scores: float64 [N, 15], probability that the joint is seen.
        poses: float64 [N, 15, 3], metres from the pelvis, along the axes of the camera.
        presence: float64 [N], probability that somebody is there.
        sides: float64 [N], of the crops, pixels of the image.
    """

    joints_2d: Double
    scores: Double
    poses: Double
    presence: Double
    sides: Double

    def __getitem__(self, rows: Any) -> Seen:
        return Seen(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def nothing(cls, people: int) -> Seen:
        """Of people nobody has looked at yet; to be filled in row by row."""
        joints = len(MPI15)
        shapes = ((joints, 2), (joints,), (joints, 3), (), ())
        return cls(*(np.full((people, *shape), np.nan) for shape in shapes))


@dataclass(frozen=True)
class Together:
    """Both looks in the picture.

    Attributes:
        taken: bool [N], people whose second look counts; the others are the first look's.
        joints_2d: float32 [N, 15, 2], pixels; NaN where no look knows.
        scores: float32 [N, 15].
        in_space: float64 [N, 15], the second look's share in the pose in metres.
    """

    taken: NDArray[np.bool_]
    joints_2d: Float
    scores: Float
    in_space: Double


def together(
    joints_2d: Float, believed: NDArray[np.floating], scores: Float, seen: Seen,
    camera: Camera, spec: SecondLookSpec,
) -> Together:  # fmt: skip
    """Joints in the picture by both looks.

    Args:
        joints_2d: float32 [N, 15, 2], pixels, where the first look sees them; NaN where missing.
        believed: float [N, 15, 2], the same, and where those it doesn't see should be.
        scores: float32 [N, 15], of the first look; 0 where it doesn't see the joint.
        seen: what the second look sees.
        camera: intrinsics at the size of the image.
        spec: weights and limits.
    """
    known = np.isfinite(believed).all(axis=-1)
    apart = np.linalg.norm(seen.joints_2d - believed, axis=-1) / seen.sides[:, None]  # [N, 15]
    apart = np.where(known, apart, np.nan)
    count = np.maximum(known.sum(axis=1), 1)
    mean_apart = np.nansum(apart, axis=1) / count
    taken = np.asarray(
        (seen.presence >= spec.min_presence) & (mean_apart <= spec.max_apart), np.bool_
    )
    taken &= ~_anothers(seen, mean_apart, taken)
    apart = np.clip(np.nan_to_num(apart), 0, MAX_APART)
    second = np.nan_to_num(seen.scores)
    share = np.where(known, share_of(spec.in_picture, scores, second, apart), 1.0)
    in_space = share_of(spec.in_space, scores, second, apart)

    first = np.where(known[..., None], believed, seen.joints_2d)
    pixels = first + share[..., None] * (seen.joints_2d - first)
    last = np.array([camera.width, camera.height]) - 0.5
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= -0.5) & (pixels <= last)).all(axis=-1)
    found = scores > 0
    alone = np.where(inside & (second >= spec.min_score), share * second, 0.0)
    fused = np.where(found, scores + share * (second - scores), alone)
    rows = taken[:, None]
    return Together(
        taken=taken,
        joints_2d=np.where(rows[..., None], pixels, joints_2d).astype(np.float32),
        scores=np.where(rows, fused, scores).astype(np.float32),
        in_space=np.where(rows, in_space, 0.0),
    )


def _anothers(seen: Seen, mean_apart: Double, taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whose second look saw somebody else, who stands before them, bool [N].

    Of two people with the same answer it is the one who was farther from it at the first look.
    """
    answers = seen.joints_2d
    between = np.linalg.norm(answers[:, None] - answers[None], axis=-1).mean(axis=-1)
    side = np.minimum(seen.sides[:, None], seen.sides[None])
    rank = np.empty(len(taken))
    rank[np.argsort(mean_apart, kind="stable")] = np.arange(len(taken))
    same = (between < SAME_ANSWER * side) & taken[:, None] & taken[None]
    return np.asarray((same & (rank[:, None] > rank[None])).any(axis=1), np.bool_)


def pose_of_both(joints_3d: Float, seen: Seen, in_space: Double) -> Float:
    """People's poses by both looks, in the first look's place.

    Args:
        joints_3d: float32 [N, 15, 3], metres, optical frame, by the first look; NaN where missing.
        seen: what the second look sees.
        in_space: float64 [N, 15], its share; 0 for people whose second look doesn't count.

    Returns:
        float32 [N, 15, 3]; the pelvis stays. What only the second look knows is the second look's.
    """
    root = joints_3d[:, MPI15.root, None].astype(np.float64)
    first = joints_3d - root
    missing = np.asarray(~np.isfinite(first).all(axis=-1), np.bool_)
    second = np.where((in_space > 0)[..., None], seen.poses, first)
    mixed = first + in_space[..., None] * (second - first)
    both = np.where(missing[..., None], second, mixed)
    both[:, MPI15.root] = 0
    return np.asarray(root + both, np.float32)


def towards(camera: Camera, pixel: Double) -> Double:
    """The shortest turn that brings the optical axis onto a pixel's ray, float64 [3, 3].

    What a crop shows is seen along the ray through its middle: a pose told of the crop is turned so
    to stand in the camera's frame. The identity where the pixel has no ray.
    """
    ray = camera.back_project(np.asarray(pixel, np.float64), np.ones(()))
    return np.asarray(turns(ray[None])[0], np.float64)


def turns(rays: NDArray[np.floating]) -> Double:
    """The shortest turns that bring the optical axis onto rays [N, 3], float64 [N, 3, 3].

    The identity for rays that aren't finite.
    """
    rays = np.asarray(rays, np.float64)
    known = np.isfinite(rays).all(axis=-1) & rays.any(axis=-1)
    rays = np.where(known[:, None], rays, [0.0, 0.0, 1.0])
    x, y, z = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).T
    cross = np.zeros((len(rays), 3, 3))  # of (0, 0, 1) x ray
    cross[:, 0, 2], cross[:, 1, 2], cross[:, 2, 0], cross[:, 2, 1] = x, y, -x, -y
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + z)[:, None, None], np.float64)


def share_of(weights: ShareWeights, first: Float, second: Double, apart: Double) -> Double:
    """The second look's share in joints, float64, 0 to 1.

    Args:
        weights: of what follows.
        first, second: scores of each look.
        apart: between the two, as a share of the crop's side.
    """
    total = weights.bias + weights.first * first + weights.second * second + weights.apart * apart
    return np.asarray(1 / (1 + np.exp(-np.clip(total, -_SURE, _SURE))), np.float64)
