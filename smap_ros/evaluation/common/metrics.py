"""Errors of 3D poses, and who is who between prediction and truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import InputError
from smap_ros.temporal.assignment import assign

Float = NDArray[np.float64]

# Two people are one when their pelvises are closer than this share of the true person's box
# diagonal in the image.
MATCH_SHARE = 0.25


def joint_errors(predicted: NDArray[np.floating], true: NDArray[np.floating]) -> Float:
    """Distance of each joint from the truth.

    Args:
        predicted: float [..., J, 3].
        true: float [..., J, 3], in the same unit.

    Returns:
        float64 [..., J] in that unit; NaN where either is NaN.

    Raises:
        InputError: if the shapes differ or don't end in [J, 3].
    """
    _check(predicted, true)
    difference = np.asarray(predicted, np.float64) - np.asarray(true, np.float64)
    distances: Float = np.linalg.norm(difference, axis=-1)
    return distances


def mpjpe(predicted: NDArray[np.floating], true: NDArray[np.floating], root: int) -> float:
    """Mean per-joint position error after both roots were moved to the origin.

    Args:
        predicted: float [..., J, 3].
        true: float [..., J, 3], in the same unit.
        root: index of the joint they are aligned at.

    Returns:
        Mean over the joints that both have (the root counts, with error 0, as in the
        Human3.6M protocol); NaN if there are none.
    """
    _check(predicted, true)
    aligned = predicted - predicted[..., root : root + 1, :]
    errors = joint_errors(aligned, true - true[..., root : root + 1, :])
    return float(np.nanmean(errors)) if np.isfinite(errors).any() else float("nan")


def pa_mpjpe(predicted: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """Mean per-joint position error after the best similarity transform (Procrustes).

    Args:
        predicted: float [J, 3].
        true: float [J, 3], in the same unit.

    Returns:
        Mean over the joints that both have; NaN with fewer than 3 of them.
    """
    _check(predicted, true)
    both = np.isfinite(predicted).all(axis=-1) & np.isfinite(true).all(axis=-1)
    if both.sum() < 3:
        return float("nan")
    x, y = np.asarray(predicted, np.float64)[both], np.asarray(true, np.float64)[both]
    return float(joint_errors(procrustes(x, y), y).mean())


def procrustes(points: Float, target: Float, *, scaled: bool = True) -> Float:
    """Points [J, 3] moved, turned and scaled (not mirrored) closest to the target [J, 3].

    Args:
        points, target: float64 [J, 3].
        scaled: False keeps the size.
    """
    x, y = points - points.mean(axis=0), target - target.mean(axis=0)
    size = float((x**2).sum())
    if size == 0:
        return np.broadcast_to(target.mean(axis=0), target.shape).copy()
    u, s, vt = np.linalg.svd(x.T @ y)
    # A reflection would fit a mirrored pose: the smallest axis is turned back.
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    scale = float((s * signs).sum()) / size if scaled else 1.0
    fitted: Float = scale * (x @ rotation) + target.mean(axis=0)
    return fitted


def match_by_pelvis(
    predicted: Sequence[Body], true: Sequence[Body], share: float = MATCH_SHARE
) -> list[tuple[int, int]]:
    """Pairs of (prediction, truth) by distance of the pelvises in the image.

    One to one, with the least total distance. A pair is possible when the distance is less
    than ``share`` of the diagonal of the true person's box.

    Args:
        predicted, true: people of one image.
        share: of the box diagonal.
    """
    return assign(pelvises_apart(predicted, true, share))


def pelvises_apart(
    predicted: Sequence[Body], true: Sequence[Body], share: float = MATCH_SHARE
) -> Float:
    """Distances of pelvises in the image, over the farthest that can be one person.

    Args:
        predicted, true, share: as :func:`match_by_pelvis` takes them.

    Returns:
        float64 [predicted, true], 0 to 1; infinite where they can't be one person.
    """
    if not predicted or not true:
        return np.full((len(predicted), len(true)), np.inf)
    a = np.array([body.joints_2d[body.skeleton.root] for body in predicted], np.float64)
    b = np.array([body.joints_2d[body.skeleton.root] for body in true], np.float64)
    limit = share * np.array([np.hypot(*body.box[2:]) for body in true])
    apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
    # Nobody is near a person without any extent.
    return np.where(apart < limit, apart / np.maximum(limit, 1e-9), np.inf)


@dataclass(frozen=True)
class Accuracy:
    """Predictions against the truth over a set of images.

    Attributes:
        frames: images compared.
        people: true people who count.
        matched: those that were found.
        false: predictions that match nobody.
        mpjpe_mm: mean joint error of matched people, pelvises aligned, millimetres.
        pa_mpjpe_mm: the same after the best similarity transform.
        root_depth_percent: median of |error of the pelvis' depth| / true depth, percent.
        joints_percent: of the true joints of matched people, those that were found; the others are
            in no error.
    """

    frames: int
    people: int
    matched: int
    false: int
    mpjpe_mm: float
    pa_mpjpe_mm: float
    root_depth_percent: float
    joints_percent: float

    @property
    def recall(self) -> float:
        """Share of the true people that were found; NaN without people."""
        return self.matched / self.people if self.people else float("nan")

    @property
    def precision(self) -> float:
        """Share of the predictions that are people; NaN without predictions."""
        found = self.matched + self.false
        return self.matched / found if found else float("nan")


def compare(
    predicted: Iterable[BodyFrame],
    true: Iterable[BodyFrame],
    counted: Mapping[int, NDArray[np.bool_]] | None = None,
) -> Accuracy:
    """Accuracy of predictions, frame by frame with equal index.

    Frames that only one side has are left out.

    Args:
        predicted, true: people found, and who was there.
        counted: who must be found, bool [people] of a true frame by its index. Missing the others
            is no miss, and who was found in their place is neither right nor wrong. Everybody
            without it.

    Raises:
        InputError: if no index is on both sides.
    """
    truth = {frame.index: frame for frame in true}
    pairs = [(frame, truth[frame.index]) for frame in predicted if frame.index in truth]
    if not pairs:
        raise InputError("predictions and truth share no frame index; are they of one video?")
    joint, aligned, depth = [], [], []
    matched = false = people = present = joints = 0
    for ours, theirs in pairs:
        counts = (counted or {}).get(theirs.index, np.ones(len(theirs), np.bool_))
        pairs_here = match_by_pelvis(ours.bodies, theirs.bodies)
        matches = [(p, t) for p, t in pairs_here if counts[t]]
        matched += len(matches)
        people += int(counts.sum())
        false += len(ours) - len(pairs_here)
        for p, t in matches:
            a, b = ours.bodies[p], theirs.bodies[t]
            joint.append(mpjpe(a.joints_3d, b.joints_3d, a.skeleton.root))
            aligned.append(pa_mpjpe(a.joints_3d, b.joints_3d))
            depth.append(abs(float(a.root[2] - b.root[2])) / float(b.root[2]))
            there = np.isfinite(b.joints_3d).all(axis=1)
            joints += int(there.sum())
            present += int((np.isfinite(a.joints_3d).all(axis=1) & there).sum())
    return Accuracy(
        frames=len(pairs),
        people=people,
        matched=matched,
        false=false,
        mpjpe_mm=1000 * _mean(joint),
        pa_mpjpe_mm=1000 * _mean(aligned),
        root_depth_percent=100 * _median(depth),
        joints_percent=100 * present / joints if joints else float("nan"),
    )


def _mean(values: list[float]) -> float:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else float("nan")


def _median(values: list[float]) -> float:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.median(finite)) if finite else float("nan")


def _check(predicted: NDArray[np.floating], true: NDArray[np.floating]) -> None:
    if predicted.shape != true.shape or predicted.ndim < 2 or predicted.shape[-1] != 3:
        raise InputError(
            f"poses have shapes {predicted.shape} and {true.shape}; expected equal [..., joints, 3]"
        )
