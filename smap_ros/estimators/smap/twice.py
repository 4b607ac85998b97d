"""People of the maps looked at a second time, each in a crop of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.manifest.second_look import SecondLookSpec
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.base import Image
from smap_ros.estimators.second_look.fusing import Double, Seen, Together, pose_of_both, together
from smap_ros.estimators.second_look.learned import Views, fused_output, fusing_input
from smap_ros.estimators.second_look.look import SecondLook, Use
from smap_ros.estimators.smap.lifting import JOINTS, Float, Lifted
from smap_ros.estimators.smap.necks import size_shown
from smap_ros.skeletons import MPI15


@dataclass(frozen=True)
class Twice:
    """People by both looks.

    Attributes:
        lifted: the people with joints in the picture by both looks.
        joints_3d: float32 [N, 15, 3], metres, optical frame.
        scores: float32 [N, 15]; 0 where neither sees the joint.
        presence: float64 [N], the second look's, that somebody is there; NaN where it didn't look.
        taken: bool [N], whose second look the closed form believes.
        use: what was made of the time.
    """

    lifted: Lifted
    joints_3d: Float
    scores: Float
    presence: Double
    taken: NDArray[np.bool_]
    use: Use


@dataclass(frozen=True)
class BothLooks:
    """What each look sees of the same people, before anything is decided.

    Attributes:
        lifted: the people by the first look.
        joints_3d: float32 [N, 15, 3], metres, optical frame, by the first look, refined or not.
        believed: float [N, 15, 2], pixels, where the first look sees joints, or takes them to be.
        seen: what the second look sees.
        looked: bool [N], people at whom there was time to look.
        ms: milliseconds that took.
    """

    lifted: Lifted
    joints_3d: Float
    believed: NDArray[np.floating]
    seen: Seen
    looked: NDArray[np.bool_]
    ms: float

    @property
    def scores(self) -> Float:
        """Of the first look's joints, float32 [N, 15]; 0 where missing."""
        return np.clip(self.lifted.scores, 0, 1)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Who was looked at again with an answer, whether or not it counts, bool [N]."""
        return np.asarray(np.isfinite(self.seen.presence), np.bool_)


def look_again(
    second: SecondLook, image: Image, camera: Camera, lifted: Lifted, joints_3d: Float
) -> BothLooks:
    """Look at people again.

    Args:
        second: looks.
        image, camera: as the first look saw them.
        lifted: the people by the first look.
        joints_3d: float32 [N, 15, 3], the same, refined or not.
    """
    scores = np.clip(lifted.scores, 0, 1)
    found = (scores > 0)[..., None]
    believed = np.where(found, lifted.joints_2d, camera.project(joints_3d))
    seen, looked, ms = second(
        image, camera, believed, joints_3d[:, MPI15.root], scores.sum(axis=1) / JOINTS
    )
    return BothLooks(lifted, joints_3d, believed, seen, looked, ms)


def as_one(
    looks: BothLooks, camera: Camera, spec: SecondLookSpec, scale: float,
    refined: Callable[[Lifted], Float] | None, budget_ms: float = 0.0,
) -> Twice:  # fmt: skip
    """Make one person of both looks.

    What both see in the picture goes through the refining network again, and the pose is halfway
    between that and the first look's: the network has learned from the first look's joints, and
    with others' its pose is better for some and worse for others, the mean for both. Then the
    poses in metres are averaged. Where people are stays the first look's word, unless a fusing
    network comes after (:func:`corrected`).

    Args:
        looks: at the same people.
        camera: as both saw them.
        spec: shares and limits.
        scale: network pixels per image pixel of the first look.
        refined: the refining network, which made ``looks.joints_3d`` of ``looks.lifted``; None
            without one.
        budget_ms: what the second look might have taken.
    """
    lifted, seen = looks.lifted, looks.seen
    both = together(lifted.joints_2d, looks.believed, looks.scores, seen, camera, spec)
    use = Use(len(lifted), int(looks.looked.sum()), int(both.taken.sum()), looks.ms, budget_ms)
    if not both.taken.any():
        return Twice(lifted, looks.joints_3d, looks.scores, seen.presence, both.taken, use)
    moved = _moved(lifted, both, camera, scale)
    again = moved.joints_3d if refined is None else _halfway(looks.joints_3d, refined(moved))
    poses = pose_of_both(again, seen, both.in_space)
    people = replace(moved, joints_2d=both.joints_2d)
    return Twice(people, poses, both.scores, seen.presence, both.taken, use)


def views_of(looks: BothLooks, closed: Twice) -> Views:
    """What a fusing network is told of those who were looked at again.

    Args:
        looks: at the people.
        closed: what the closed form makes of them.

    Raises:
        InputError: if the first look tells no poses, or no error of its distances.
    """
    rows, lifted = looks.answered, looks.lifted
    if lifted.poses is None or lifted.spread is None:
        raise InputError(
            f"the first look's network has outputs pose: {lifted.poses is not None}, depth_spread: "
            f"{lifted.spread is not None}; a fusing network is fed with both, so take a bundle "
            "that has them, as smap_lite"
        )
    # As far beside the pelvis as they look, which a lens makes less.
    in_picture = np.ones((len(lifted), 1, 3), np.float32)
    in_picture[..., :2] = size_shown(lifted)[:, None, None]
    return Views(
        closed_3d=closed.joints_3d[rows],
        closed_2d=closed.lifted.joints_2d[rows],
        closed_scores=closed.scores[rows],
        first_3d=looks.joints_3d[rows],
        first_2d=lifted.joints_2d[rows],
        first_scores=looks.scores[rows],
        believed=looks.believed[rows],
        poses=(lifted.poses * in_picture)[rows],
        spread=lifted.spread[rows],
        taken=closed.taken[rows],
        seen=looks.seen[rows],
    )


def corrected(
    looks: BothLooks, closed: Twice, camera: Camera, network: Callable[[Float], Float]
) -> Twice:
    """The people as a fusing network has them; those who weren't looked at again stay.

    Args:
        looks, camera: at the people.
        closed: what the closed form makes of them.
        network: from its input, float32 [M, 350], to its output, float32 [M, 75].
    """
    rows = looks.answered
    if not rows.any():
        return closed
    views = views_of(looks, closed)
    given, frames = fusing_input(views, camera)
    joints_3d, joints_2d = closed.joints_3d.copy(), closed.lifted.joints_2d.copy()
    output = network(given)
    joints_3d[rows], joints_2d[rows] = fused_output(output, views, frames, camera)
    return replace(closed, lifted=replace(closed.lifted, joints_2d=joints_2d), joints_3d=joints_3d)


def _halfway(first: Float, again: Float) -> Float:
    """Poses between two of the same people, at the place of the first, float32 [N, 15, 3]."""
    root = first[:, MPI15.root, None]
    relative = (first - root + again - again[:, MPI15.root, None]) / 2
    return np.asarray(root + relative, np.float32)


def _moved(lifted: Lifted, both: Together, camera: Camera, scale: float) -> Lifted:
    """People whose joints that the first look saw are where both looks see them, as far away."""
    placed = camera.back_project(both.joints_2d, lifted.joints_3d[..., 2])
    usable = both.taken[:, None] & (lifted.scores > 0) & np.isfinite(placed).all(axis=-1)
    rows = usable[..., None]
    shift = (both.joints_2d - lifted.joints_2d) * np.float32(scale)
    return replace(
        lifted,
        joints_3d=np.where(rows, placed, lifted.joints_3d).astype(np.float32),
        joints_2d=np.where(rows, both.joints_2d, lifted.joints_2d),
        joints_network=np.where(rows, lifted.joints_network + shift, lifted.joints_network),
    )
