"""How certain it is that a person who was found is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, were_seen
from smap_ros.bundles.manifest.smap import PersonScore
from smap_ros.camera import Camera
from smap_ros.estimators.smap.lifting import JOINTS, Float
from smap_ros.estimators.smap.placement import heights
from smap_ros.skeletons import MPI15

Double = NDArray[np.float64]

EVIDENCE = tuple(PersonScore.model_fields)

_LEAST, _MOST = 1e-3, 1e3  # of what a logarithm is taken
_LEAST_PRESENCE = 0.01  # a landmark network's smaller ones say no more
_SURE = 9.0  # logits beyond would be more than is known


@dataclass(frozen=True)
class Told:
    """Who is found in an image before scores leave anybody out.

    Attributes:
        bodies: N people, nearest first.
        evidence: gives float64 [N, 6], :func:`evidence` of each.
        notes: numbers for diagnostics.
    """

    bodies: tuple[Body, ...]
    evidence: Callable[[], Double]
    notes: Mapping[str, float]


def plain_scores(scores: Float) -> Float:
    """The mean over all joints of the set, lowered by each missing one, as SMAP has it.

    Args:
        scores: float32 [N, 15], of what was seen; 0 where missing.

    Returns:
        float32 [N].
    """
    return np.asarray(scores.sum(axis=1) / JOINTS, np.float32)


def evidence(
    scores: Float, joints_3d: Float, depth_std: Double, camera: Camera,
    presence: Double | None = None, shown: Double | None = None,
) -> Double:  # fmt: skip
    """What speaks for each person, in the order of :class:`PersonScore`'s fields.

    Args:
        scores: float32 [N, 15], of the first look at the image; up to ``INFERRED_SCORE`` for joints
            that weren't seen.
        joints_3d: float32 [N, 15, 3], metres, optical frame; NaN where missing.
        depth_std: float64 [N], metres; NaN where nothing is known of it.
        camera: intrinsics at the size of the image.
        presence: float64 [N], probability that somebody is there as the second look has it; NaN of
            people it didn't look at, None where there is no second look.
        shown: float64 [N], how large the lens shows them; None without one.

    Returns:
        float64 [N, 6]: 1, the mean score of the joints seen, their share of all, and the logarithms
        of the distance's deviation over the distance (0 where it isn't known), of the apparent
        height over the width of the picture, and of the presence (0 where it isn't known).
    """
    seen = were_seen(scores)
    count = seen.sum(axis=1)
    mean = np.where(seen, scores, 0).sum(axis=1) / np.maximum(count, 1)
    depth = np.maximum(joints_3d[:, MPI15.root, 2].astype(np.float64), _LEAST)
    apparent = camera.fx / camera.width * heights(joints_3d) / depth
    apparent = apparent if shown is None else apparent * shown
    told = np.full(len(scores), np.nan) if presence is None else presence
    return np.stack(
        [
            np.ones(len(scores)),
            mean,
            count / JOINTS,
            _log(depth_std / depth, unknown=1.0),
            _log(apparent, unknown=_LEAST),
            _log(np.clip(told, _LEAST_PRESENCE, 1), unknown=1.0),
        ],
        axis=1,
    )


def certainty(weights: PersonScore, found: Double) -> Float:
    """Probabilities that people are there.

    Args:
        weights: of the bundle.
        found: float64 [N, 6], :func:`evidence`.

    Returns:
        float32 [N], above 0 and below 1.
    """
    logit = found @ np.array([getattr(weights, name) for name in EVIDENCE])
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -_SURE, _SURE))), np.float32)


def _log(values: Double, unknown: float) -> Double:
    """Logarithms, never infinite; NaN counts as ``unknown``."""
    known = np.where(np.isnan(values), unknown, values)
    return np.asarray(np.log(np.clip(known, _LEAST, _MOST)), np.float64)
