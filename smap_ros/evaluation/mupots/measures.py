"""MuPoTS-3D (Mehta et al., 3DV 2018): multi-person PCK, AUC and ordinal depth.

As the official MATLAB scripts measure, in the form that SMAP uses (15 joints, the neck hangs on
the pelvis) and in the original one (17 joints); the same numbers to rounding. Millimetres and
pixels here, as in the data and the scripts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI17

Float = NDArray[np.float64]

MATCH_PX = 40.0  # a joint of both is the same one when it is closer than this on each axis
MATCH_JOINTS = slice(1, 14)  # without head top and pelvis
PCK_MM = 150.0
AUC_MM = tuple(range(0, 151, 5))
ORDINAL_MM = 300.0  # people closer than this in depth have no order
MISSED_MM = 100000.0  # where an undetected person's joints are put
NAN_MM = 160.0  # what a joint that can't be measured counts as in the tables of visible joints

# Joints 1 to 14 of the data set; the pelvis and what follows it don't count.
GROUPS: dict[str, slice] = {
    "head": slice(0, 1),
    "neck": slice(1, 2),
    "shoulders": slice(2, 6, 3),
    "elbows": slice(3, 7, 3),
    "wrists": slice(4, 8, 3),
    "hips": slice(8, 12, 3),
    "knees": slice(9, 13, 3),
    "ankles": slice(10, 14, 3),
}
COUNTED = slice(0, 14)


@dataclass(frozen=True)
class Rules:
    """Which joints there are, and how bones hang together when they are resized.

    Attributes:
        joints: names, a prefix of ``mpi17``.
        parents: index of the joint that each hangs on; the pelvis on itself.
        order: in which joints are placed; all but the pelvis.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def root(self) -> int:
        """Index of the pelvis."""
        return self.joints.index("pelvis")


SMAP_RULES = Rules(
    joints=MPI17.joints[:15],
    parents=(1, 14, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, 14),
    order=(1, 0, *range(2, 14)),
)
ORIGINAL_RULES = Rules(
    joints=MPI17.joints,
    parents=(1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, 14, 14, 1),
    order=(15, 1, 0, 16, *range(2, 14)),
)


@dataclass(frozen=True)
class Annotated:
    """The true people of one image, in the order of the annotation.

    Attributes:
        joints_3d: float64 [P, J, 3], millimetres (``univ_annot3``).
        joints_2d: float64 [P, J, 2], pixels.
        occluded: bool [P, J].
    """

    joints_3d: Float
    joints_2d: Float
    occluded: NDArray[np.bool_]


@dataclass(frozen=True)
class Detected:
    """The predicted people of one image.

    Attributes:
        joints_3d: float64 [N, J, 3], millimetres of the optical frame.
        joints_2d: float64 [N, J, 2], pixels; exactly (0, 0) where a joint was not found.
    """

    joints_3d: Float
    joints_2d: Float


@dataclass(frozen=True)
class Mode:
    """What is compared.

    Attributes:
        relative: pelvises are moved to the origin first.
        matched_only: people that were not found don't count, instead of as misses.
    """

    relative: bool
    matched_only: bool


MODES = {
    "relative": Mode(relative=True, matched_only=False),
    "relative, matched": Mode(relative=True, matched_only=True),
    "absolute": Mode(relative=False, matched_only=False),
    "absolute, matched": Mode(relative=False, matched_only=True),
}


@dataclass(frozen=True)
class SequenceErrors:
    """One sequence in one mode.

    Attributes:
        errors: float64 [n, J], millimetres; NaN where a bone has no direction.
        occluded: bool [n, J].
        annotated: true people.
        undetected: of them, those that match no prediction.
        ordinal: of the pairs of people, those in the right order of depth; NaN without pairs,
            and when relative.
    """

    errors: Float
    occluded: NDArray[np.bool_]
    annotated: int
    undetected: int
    ordinal: float


def match(annotated: Annotated, detected: Detected) -> NDArray[np.intp]:
    """Which prediction is which true person, intp [P]; -1 where none is.

    Each true person in turn takes the free prediction with most joints within
    :data:`MATCH_PX`; the first of equals.
    """
    found = detected.joints_2d[:, MATCH_JOINTS]
    away = np.abs(annotated.joints_2d[:, None, MATCH_JOINTS] - found[None])  # [P, N, 13, 2]
    near = (away < MATCH_PX).all(axis=-1) & (found != 0).any(axis=-1)
    counts = near.sum(axis=-1)  # [P, N]
    partner = np.full(len(counts), -1, np.intp)
    for person, row in enumerate(counts):
        if row.size and row.max() > 0:
            partner[person] = row.argmax()
            counts[:, partner[person]] = 0
    return partner


def fit_bones(predicted: Float, true: Float, rules: Rules) -> Float:
    """The predicted pose with the true lengths of the bones, float64 [J, 3].

    Directions are those predicted, from the unmoved pelvis outwards. A bone of length 0 has
    none: its joint and those beyond become NaN.
    """
    fitted = predicted.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        for joint in rules.order:
            parent = rules.parents[joint]
            bone = predicted[joint] - predicted[parent]
            length = np.linalg.norm(true[joint] - true[parent])
            fitted[joint] = fitted[parent] + bone / np.linalg.norm(bone) * length
    return fitted


def measure_sequence(
    images: Sequence[tuple[Annotated, Detected]], rules: Rules, mode: Mode
) -> SequenceErrors:
    """Errors of one sequence, image by image."""
    errors, occluded = [], []
    undetected = pairs = right = 0
    for annotated, detected in images:
        partner = match(annotated, detected)
        undetected += int((partner < 0).sum())
        depths = []
        for person, k in enumerate(partner):
            if k < 0 and mode.matched_only:
                continue
            true = annotated.joints_3d[person]
            pose = None if k < 0 else detected.joints_3d[k]
            true, pose = _comparable(true, pose, rules, mode)
            errors.append(np.linalg.norm(pose - true, axis=-1))
            occluded.append(annotated.occluded[person])
            depths.append((pose[rules.root, 2], true[rules.root, 2]))
        if not mode.relative:
            for a, b in itertools.combinations(depths, 2):
                pairs += 1
                right += _same_order(a[0] - b[0], a[1] - b[1])
    count = len(rules.joints)
    return SequenceErrors(
        errors=np.array(errors, np.float64).reshape(-1, count),
        occluded=np.array(occluded, np.bool_).reshape(-1, count),
        annotated=sum(len(annotated.joints_3d) for annotated, _ in images),
        undetected=undetected,
        ordinal=right / pairs if pairs else float("nan"),
    )


def _comparable(true: Float, pose: Float | None, rules: Rules, mode: Mode) -> tuple[Float, Float]:
    """True and predicted pose as they are subtracted."""
    if mode.relative:
        true = true - true[rules.root]
    if pose is None:
        return true, np.full_like(true, MISSED_MM)
    if mode.relative:
        pose = pose - pose[rules.root]
    return true, fit_bones(pose, true, rules)


def _same_order(predicted: float, true: float) -> bool:
    close = abs(predicted) < ORDINAL_MM and abs(true) < ORDINAL_MM
    return bool(predicted * true > 0 or close)


def pck(errors: Float, limit: float = PCK_MM) -> dict[str, float]:
    """Percent of the errors [n, J] below a limit, by group of joints, and in ``total``.

    The total weighs every joint the same. NaN without people.
    """
    return {
        name: 100 * _mean(errors[:, joints] < limit)
        for name, joints in {**GROUPS, "total": COUNTED}.items()
    }


def auc(errors: Float) -> dict[str, float]:
    """Mean of :func:`pck` over the thresholds :data:`AUC_MM`."""
    curves = [pck(errors, limit) for limit in AUC_MM]
    return {name: float(np.mean([curve[name] for curve in curves])) for name in curves[0]}


def pck_curve(errors: Float) -> list[float]:
    """Total PCK in percent at each of :data:`AUC_MM`."""
    return [pck(errors, limit)["total"] for limit in AUC_MM]


def mpjpe(errors: Float) -> Float:
    """Mean error of each of the 14 joints and, last, of all, float64 [15], millimetres."""
    if not len(errors):
        return np.full(15, np.nan)
    joints = errors[:, COUNTED].mean(axis=0)
    return np.append(joints, joints.mean())


@dataclass(frozen=True)
class Masked:
    """Visible joints alone, or occluded ones.

    Attributes:
        mpjpe: float64 [15], millimetres by joint and of all; 0 for a joint that none has.
        pck: float64 [15], shares by joint and of all; 1 for a joint that none has.
        joints: how many there are.
    """

    mpjpe: Float
    pck: Float
    joints: int


def masked(errors: Float, mask: NDArray[np.bool_]) -> Masked:
    """The measures of the joints under a mask [n, J]."""
    chosen = mask[:, COUNTED]
    values = np.nan_to_num(errors[:, COUNTED], nan=NAN_MM) * chosen
    wrong = values > PCK_MM
    count = chosen.sum(axis=0)
    there = np.maximum(count, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = np.float64(values.sum()) / chosen.sum()
        share = 1 - np.float64(wrong.sum()) / chosen.sum()
    return Masked(
        mpjpe=np.append(values.sum(axis=0) / there, whole),
        pck=np.append(1 - wrong.sum(axis=0) / there, share),
        joints=int(chosen.sum()),
    )


def pck_by_joint(sequences: Sequence[SequenceErrors]) -> Float:
    """Share of the errors of at most :data:`PCK_MM` over all sequences, by joint, float64 [J].

    NaN without people.
    """
    errors = np.concatenate([sequence.errors for sequence in sequences])
    if not len(errors):
        return np.full(errors.shape[1], np.nan)
    return np.asarray((errors <= PCK_MM).mean(axis=0), np.float64)


def mean_of_sequences(values: Sequence[float]) -> float:
    """Plain mean over the sequences that have a value; NaN if none has."""
    return _mean(np.array([value for value in values if np.isfinite(value)]))


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean()) if values.size else float("nan")
