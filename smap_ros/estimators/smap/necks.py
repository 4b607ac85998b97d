"""People of whom only the neck is seen: their pelvis by what the neck tells, and nobody twice.

Near a camera the pelvis is below the picture, and everything downstream wants one: where a person
is. A network that tells poses at necks says where; no picture shows it, so its score is 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from smap_ros.association.config import NECK, PELVIS
from smap_ros.bodies import INFERRED_SCORE
from smap_ros.camera import Camera
from smap_ros.estimators.smap.lifting import (
    BAD_ROOT_DEPTH,
    Double,
    Float,
    Lifted,
)
from smap_ros.geometry.letterbox import Letterbox

MIN_DEPTH = 0.05  # metres; a pelvis told to be nearer than this is in no picture's person
SAME_NECK = 0.35  # metres between two necks in the picture's plane that can be one
SAME_DEPTH = 0.35  # difference of the logarithm of two depths that can be one


def rooted_at_pelvis(lifted: Lifted, camera: Camera, letterbox: Letterbox) -> Lifted:
    """People lifted from their necks as if from their pelvises, which nobody saw.

    Args:
        lifted: from :func:`~smap_ros.estimators.smap.lifting.lift` with the neck as root, with the
            poses that necks tell.
        camera, letterbox: as there.

    Returns:
        The same people, but those whose pelvis would be behind the camera: position and network
        pixel of the pelvis as told, with score 0 and no image point, and the poses from there.
    """
    assert lifted.poses is not None
    neck, told = lifted.joints_3d[:, NECK].astype(np.float64), lifted.poses.astype(np.float64)
    pelvis = told[:, PELVIS]
    depth = neck[:, 2] + pelvis[:, 2]
    keep = np.flatnonzero(np.isfinite(depth) & (depth > MIN_DEPTH))
    dropped = dict(lifted.dropped)
    if len(keep) < len(lifted):
        dropped[BAD_ROOT_DEPTH] = dropped.get(BAD_ROOT_DEPTH, 0) + len(lifted) - len(keep)
    neck, told, pelvis, depth = neck[keep], told[keep], pelvis[keep], depth[keep]
    out = replace(lifted[keep.tolist()], dropped=dropped)
    nearer = (depth / neck[:, 2])[:, None]
    joints, network = out.joints_3d.copy(), out.joints_network.copy()
    # Told is how far the pelvis is in the picture, in metres at the neck's depth.
    joints[:, PELVIS] = np.concatenate(
        [(neck[:, :2] + pelvis[:, :2]) * nearer, depth[:, None]], axis=1
    )
    focal = camera.fx * letterbox.scale * size_shown(out)
    metres_per_pixel = (neck[:, 2] / focal)[:, None]
    network[:, PELVIS] = network[:, NECK] + pelvis[:, :2] / metres_per_pixel
    poses = told - pelvis[:, None]
    poses[..., :2] *= nearer[:, None]
    return replace(out, joints_3d=joints, joints_network=network, poses=poses.astype(np.float32))


def united(people: Lifted, necks: Lifted, focal: float) -> Lifted:
    """People found from pelvises and from necks, each of them once.

    Two halves of a person (a pelvis without neck, and a neck where its pose has one) become one
    person. A neck that is where somebody's is already is dropped.

    Args:
        people: found from pelvises.
        necks: found from necks, see :func:`rooted_at_pelvis`.
        focal: focal length in network pixels.
    """
    if not len(necks):
        return replace(people, dropped=_counted(people, necks))
    fresh: list[int] = []
    for k in range(len(necks)):
        owner = _owner(people, necks, k, focal)
        if owner is None:
            fresh.append(k)
        elif people.scores[owner, NECK] == 0:
            people = _completed(people, owner, necks, k)
    return _joined(people, necks[fresh], _counted(people, necks))


def _owner(people: Lifted, necks: Lifted, k: int, focal: float) -> int | None:
    """Who has a neck where that of row ``k`` is; None if nobody has."""
    if not len(people):
        return None
    pelvis = people.joints_3d[:, PELVIS].astype(np.float64)
    seen = people.scores[:, NECK] > 0
    at = people.joints_network[:, NECK].astype(np.float64)
    depth = people.joints_3d[:, NECK, 2].astype(np.float64)
    if people.poses is not None:  # where the neck should be of those whose neck wasn't found
        told = people.poses[:, NECK].astype(np.float64)
        scale = (focal * size_shown(people) / pelvis[:, 2])[:, None]
        pixels = people.joints_network[:, PELVIS] + told[:, :2] * scale
        at = np.where(seen[:, None], at, pixels)
        depth = np.where(seen, depth, pelvis[:, 2] + told[:, 2])
    mine = float(necks.joints_3d[k, NECK, 2])
    away = np.linalg.norm(at - necks.joints_network[k, NECK], axis=1) * mine
    away /= focal * size_shown(necks)[k]
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log(depth / mine))
    near = (away < SAME_NECK) & (apart < SAME_DEPTH)
    return int(np.argmin(np.where(near, away, np.inf))) if near.any() else None


def size_shown(people: Lifted) -> Double:
    """How large the lens shows people, float64 [N]."""
    return np.ones(len(people)) if people.shown is None else people.shown


def _completed(people: Lifted, row: int, necks: Lifted, k: int) -> Lifted:
    """A person with the joints that only their neck led to, moved to the person's depth."""
    given = (people.scores[row] == 0) & (necks.scores[k] > 0)
    arrays: dict[str, Any] = {}
    for name in ("joints_3d", "joints_2d", "scores", "joints_network"):
        arrays[name] = getattr(people, name).copy()
        arrays[name][row, given] = getattr(necks, name)[k, given]
    # The half's depths hang from a neck that was placed by itself; the pelvis' word counts.
    told = people.poses[row, NECK, 2] if people.poses is not None else np.float32(0)
    neck = people.joints_3d[row, PELVIS, 2] + told
    factor = neck / necks.joints_3d[k, NECK, 2]
    arrays["joints_3d"][row, given] *= max(float(factor), 0.1)
    return replace(people, **arrays)


def _joined(people: Lifted, necks: Lifted, dropped: dict[str, int]) -> Lifted:
    """Both, the nearest first."""
    columns: dict[str, Any] = {}
    for name, mine in vars(people).items():
        if isinstance(mine, np.ndarray):
            columns[name] = np.concatenate([mine, getattr(necks, name)])
    both = replace(people, **columns, dropped=dropped)
    order = np.argsort(both.joints_3d[:, PELVIS, 2], kind="stable")
    return both[order.tolist()]


def _counted(people: Lifted, necks: Lifted) -> dict[str, int]:
    reasons = {*people.dropped, *necks.dropped}
    return {r: people.dropped.get(r, 0) + necks.dropped.get(r, 0) for r in sorted(reasons)}


def with_inferred(
    joints_3d: Float, scores: Float, joints_2d: Float, camera: Camera
) -> tuple[Float, Float, Float]:
    """People with the joints that were placed without being seen, which say so by their score.

    Args:
        joints_3d: float32 [N, 15, 3], metres, optical frame; NaN where not placed.
        scores: float32 [N, 15], of what was seen.
        joints_2d: float32 [N, 15, 2], pixels, where it was seen or is believed to be; NaN where
            nothing but its position says so.
        camera: intrinsics at the size of the image.

    Returns:
        Joints, scores with ``INFERRED_SCORE`` for those that were not seen or are out of the
        picture, and image points: of the former where their position projects to.
    """
    joints = joints_3d.copy()
    placed = np.isfinite(joints).all(axis=-1) & (joints[..., 2] > 0)
    joints[~placed] = np.nan
    inferred = placed & (scores == 0)
    certain = np.where(inferred, np.float32(INFERRED_SCORE), np.where(placed, scores, 0))
    # The bars of letterboxing have peaks at times; nobody sees what is out of the picture.
    last = np.array([camera.width, camera.height]) - 0.5
    with np.errstate(invalid="ignore"):
        outside = ((joints_2d < -0.5) | (joints_2d > last)).any(axis=-1)
    certain = np.where(outside, np.minimum(certain, np.float32(INFERRED_SCORE)), certain)
    pixels = joints_2d.copy()
    unknown = inferred & ~np.isfinite(pixels).all(axis=-1)
    pixels[unknown] = camera.project(joints[unknown])
    pixels[~placed] = np.nan
    return joints, certain.astype(np.float32), pixels
