"""Protocol ``pck2d``: joints in the picture against labelled photos.

PCK at 0.2 of the torso: a joint is right when it is closer to its label than that share of the
distance from the neck to the middle of the hips (to the one hip, where only one is labelled).
14 joints count, all of mpi15 but the pelvis, which LSPET doesn't label; in each photo those that
are labelled. One person a photo is labelled; of those found, the one whose pelvis is nearest to
the middle of the hips is compared. The same is asked of the pose in metres: of where its joints
project.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import Predictions
from smap_ros.evaluation.pck2d.truth import Photo
from smap_ros.skeletons import MPI15

Float = NDArray[np.float64]

PCK_SHARE = 0.2  # of the torso
JOINTS = tuple(k for k in range(len(MPI15)) if k != MPI15.root)
THRESHOLDS = tuple(round(0.01 * k, 2) for k in range(51))  # of the torso


@dataclass(frozen=True)
class Compared:
    """A photo, and what was found of its person.

    Attributes:
        photo: the photo.
        found: the person compared, or None when nobody was found.
        errors: float64 [15], distance of each joint as a share of the torso; infinite where the
            joint was not found, NaN where it is not labelled, and at the pelvis.
        projected: float64 [15], the same of where the joints in metres project.
    """

    photo: Photo
    found: Body | None
    errors: Float
    projected: Float

    @property
    def hits(self) -> int:
        """Labelled joints that are right."""
        return int((self.errors < PCK_SHARE).sum())

    @property
    def labelled(self) -> int:
        """Labelled joints that count."""
        return int((~np.isnan(self.errors)).sum())


@dataclass(frozen=True)
class Outcome:
    """Predictions against labels, photo by photo.

    Attributes:
        photos: those that could be measured.
        unmeasurable: photos whose torso isn't labelled, so that PCK has no unit.
        skipped: photos that the predictions lack; they don't count.
    """

    photos: tuple[Compared, ...]
    unmeasurable: int
    skipped: int


@dataclass(frozen=True)
class JointNumbers:
    """The measures of one joint: PCK at 0.2 of the torso, and how often it is labelled."""

    pck_percent: float
    labelled: int


def last(photos: Sequence[Photo], count: int) -> Sequence[Photo]:
    """The last photos, as training keeps them from itself; all of them for 0."""
    return photos[-count:] if count else photos


def evaluate(
    predictions: Predictions, photos: Sequence[Photo], on_photo: Callable[[], None] = lambda: None
) -> Outcome:
    """Compare predictions with labels.

    Args:
        predictions: who was found.
        photos: who is there.
        on_photo: called after each photo, for progress.

    Raises:
        InputError: if no photo has a labelled torso, or the predictions have none that has.
        SmapError: if a photo or the predictions can't be used.
    """
    compared = []
    unmeasurable = skipped = 0
    for photo in photos:
        measurable = np.isfinite(torso(photo.joints_2d))
        frame = predictions.of(photo) if measurable else None
        on_photo()
        if frame is not None:
            found = nearest(frame.bodies, photo)
            compared.append(_compared(photo, found, frame.camera))
        unmeasurable += not measurable
        skipped += measurable and frame is None
    if unmeasurable == len(photos):
        raise InputError(
            f"none of the {len(photos)} photos can be measured: PCK is a share of the torso, and "
            "none has labels of its neck, or both shoulders, and of a hip. Measure on other photos"
        )
    if not compared:
        raise InputError(
            f"{predictions.description} has none of the {len(photos)} photos whose torsos are "
            "labelled; are they of the same data?"
        )
    return Outcome(tuple(compared), unmeasurable, skipped)


def _compared(photo: Photo, found: Body | None, camera: Camera) -> Compared:
    """A photo's person beside its labels; ``camera`` is the one that they were found with."""
    seen = projected = None
    if found is not None:
        seen, projected = found.joints_2d, camera.project(found.joints_3d)
    labels = photo.joints_2d
    return Compared(photo, found, torso_errors(seen, labels), torso_errors(projected, labels))


def torso(joints: NDArray[np.floating]) -> float:
    """Distance from the neck to :func:`hips` of labels [15, 2], pixels; NaN if unknown or 0."""
    length = float(np.linalg.norm(joints[MPI15.index("neck")] - hips(joints)))
    return length if length > 0 else float("nan")


def hips(joints: NDArray[np.floating]) -> Float:
    """Middle of the hips of labels [15, 2], or the one labelled hip, float64 [2]; NaN if none."""
    pair = joints[[MPI15.index("l_hip"), MPI15.index("r_hip")]].astype(np.float64)
    known = pair[np.isfinite(pair).all(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(2, np.nan)


def nearest(found: Sequence[Body], photo: Photo) -> Body | None:
    """The person whose pelvis is nearest to the labelled hips; None without anybody."""
    middle = hips(photo.joints_2d)

    def distance(body: Body) -> float:
        away = float(np.linalg.norm(body.joints_2d[MPI15.root] - middle))
        return away if np.isfinite(away) else float("inf")

    return min(found, key=distance, default=None)


def torso_errors(found: NDArray[np.floating] | None, true: NDArray[np.floating]) -> Float:
    """Distances as in :class:`Compared`, of joints [15, 2] from labels [15, 2] in pixels."""
    labelled = np.isfinite(true).all(axis=1)
    labelled[MPI15.root] = False
    errors = np.where(labelled, np.inf, np.nan)
    if found is not None:
        away = np.linalg.norm(found.astype(np.float64) - true, axis=1) / torso(true)
        there = labelled & np.isfinite(away)
        errors[there] = away[there]
    return errors


def by_joint(photos: Sequence[Compared]) -> dict[str, JointNumbers]:
    """The measures of each of the 14 joints, by name."""
    errors = np.array([photo.errors for photo in photos])
    pck = _pck(errors, PCK_SHARE)
    return {
        MPI15.joints[k]: JointNumbers(float(pck[k]), int((~np.isnan(errors[:, k])).sum()))
        for k in JOINTS
    }


def total(photos: Sequence[Compared], share: float = PCK_SHARE) -> float:
    """Mean over the joints of their PCK, percent: every joint weighs the same."""
    return _mean(_pck(np.array([photo.errors for photo in photos]), share), JOINTS)


def total_projected(photos: Sequence[Compared], share: float = PCK_SHARE) -> float:
    """:func:`total` of where poses in metres project."""
    return _mean(_pck(np.array([photo.projected for photo in photos]), share), JOINTS)


def curves(photos: Sequence[Compared]) -> dict[str, list[float]]:
    """PCK in percent at each of :data:`THRESHOLDS`, by part of the body, and ``all`` joints."""
    errors = np.array([photo.errors for photo in photos])
    parts: dict[str, list[int]] = {}
    for k in JOINTS:
        parts.setdefault(MPI15.joints[k].removeprefix("l_").removeprefix("r_"), []).append(k)
    parts["all"] = list(JOINTS)
    pck = [_pck(errors, share) for share in THRESHOLDS]
    return {name: [_mean(row, rows) for row in pck] for name, rows in parts.items()}


def _pck(errors: Float, share: float) -> Float:
    """Percent of the labelled that are closer, by joint, float64 [15]; NaN where never labelled."""
    labelled = (~np.isnan(errors)).sum(axis=0)
    right = (errors < share).sum(axis=0)
    return np.where(labelled > 0, 100 * right / np.maximum(labelled, 1), np.nan)


def _mean(pck: Float, joints: Sequence[int]) -> float:
    """Mean over those joints that are ever labelled; NaN if none is."""
    values = pck[list(joints)]
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
