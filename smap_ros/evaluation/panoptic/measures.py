"""CMU Panoptic (Joo et al., ICCV 2015) as SMAP's evaluation measures it.

People are matched by their pelvises in the picture; errors are taken absolutely and with the
pelvises aligned. A joint that was not found has no error, but counts as a miss in PCK.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smap_ros.evaluation.common.metrics import joint_errors
from smap_ros.evaluation.common.report import percent
from smap_ros.skeletons import MPI15

Float = NDArray[np.float64]

MATCH_PX = 30.0  # pixels of the network's input
NETWORK_SIZE = (832, 512)  # of SMAP; what those pixels are measured in
PCK_LIMIT = 0.15  # metres
VISIBLE = 2  # 1 is occluded or outside the picture, 0 not labelled

_NECK = MPI15.index("neck")


def register(predicted: Float, true: Float, limit: float = MATCH_PX) -> NDArray[np.intp]:
    """Who is who, by the distance of the pelvises in the picture.

    The closest pair of all is matched first, then the closest of the rest, while closer than the
    limit.

    Args:
        predicted: float64 [N, 2], NaN where a pelvis was not found.
        true: float64 [P, 2], in the same pixels.
        limit: in these pixels.

    Returns:
        Index of the prediction of each true person, intp [P]; -1 where there is none.
    """
    partner = np.full(len(true), -1, np.intp)
    away = np.linalg.norm(true[:, None] - predicted[None], axis=-1)  # [P, N]
    away = np.where(np.isfinite(away), away, np.inf)
    while away.size and away.min() < limit:
        person, k = np.unravel_index(away.argmin(), away.shape)
        partner[person] = k
        away[person], away[:, k] = np.inf, np.inf
    return partner


def network_scale(width: int, height: int) -> float:
    """Pixels of SMAP's network input per pixel of a picture of that size."""
    return min(NETWORK_SIZE[0] / width, NETWORK_SIZE[1] / height)


@dataclass
class Tally:
    """Sums over all images; feed it image by image.

    Attributes:
        people: true people whose pelvis is visible; only these count.
        found: of them.
        near: of them, those whose neck is within :data:`PCK_LIMIT`, or was not found.
        pairs, reversed_pairs: of true people who follow one another in the labels, both found;
            and of these, those whose order of depth is wrong.
        joints: found joints of the found people, float64 [15].
        labelled: found people whose joint is labelled, float64 [15].
        absolute, relative: sums of the errors of ``joints``, metres, float64 [15].
        absolute_right, relative_right: joints within :data:`PCK_LIMIT`, float64 [15].
    """

    people: int = 0
    found: int = 0
    near: int = 0
    pairs: int = 0
    reversed_pairs: int = 0
    joints: Float = field(default_factory=lambda: np.zeros(15))
    labelled: Float = field(default_factory=lambda: np.zeros(15))
    absolute: Float = field(default_factory=lambda: np.zeros(15))
    relative: Float = field(default_factory=lambda: np.zeros(15))
    absolute_right: Float = field(default_factory=lambda: np.zeros(15))
    relative_right: Float = field(default_factory=lambda: np.zeros(15))

    def add(self, predicted: Float, true: Float, visible: NDArray[np.bool_]) -> None:
        """Take the people of an image.

        Args:
            predicted: float64 [P, 15, 3], metres, in the order of the truth: all NaN for people
                who were not found, NaN for joints that were not.
            true: float64 [P, 15, 3], metres; NaN where not labelled.
            visible: bool [P], whether their pelvises are.
        """
        root = MPI15.root
        there = np.isfinite(predicted[:, root, 0])
        for k in np.flatnonzero(visible):
            self.people += 1
            if not there[k]:
                continue
            self.found += 1
            absolute = joint_errors(predicted[k], true[k])
            relative = joint_errors(predicted[k] - predicted[k, root], true[k] - true[k, root])
            # As in SMAP's script, a neck that was not found has no error and so counts as near.
            self.near += not absolute[_NECK] >= PCK_LIMIT
            self.joints += np.isfinite(absolute)
            self.labelled += np.isfinite(true[k, :, 0])
            self.absolute += np.nan_to_num(absolute)
            self.relative += np.nan_to_num(relative)
            self.absolute_right += absolute < PCK_LIMIT
            self.relative_right += relative < PCK_LIMIT
            if k + 1 < len(true) and there[k + 1]:
                self.pairs += 1
                before, after = (
                    float(pose[k, root, 2] - pose[k + 1, root, 2]) for pose in (true, predicted)
                )
                self.reversed_pairs += before * after < 0

    def results(self) -> Results:
        """The measures so far; NaN where there is nothing to measure."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return Results(
                mpjpe_mm=1000 * self.absolute / self.joints,
                mpjpe_relative_mm=1000 * self.relative / self.joints,
                pck_percent=100 * self.absolute_right / self.labelled,
                pck_relative_percent=100 * self.relative_right / self.labelled,
                joints_percent=100 * self.joints / self.labelled,
                recall_percent=percent(self.found, self.people),
                near_percent=percent(self.near, self.people),
                reversed_percent=percent(self.reversed_pairs, self.pairs),
            )


@dataclass(frozen=True)
class Results:
    """The measures of SMAP's evaluation.

    Attributes:
        mpjpe_mm, mpjpe_relative_mm: mean error of the found joints, float64 [15].
        pck_percent, pck_relative_percent: joints of the found people within 150 mm, float64 [15].
        joints_percent: joints of the found people that were found, float64 [15].
        recall_percent: found people of all.
        near_percent: people whose neck is within 150 mm, of all.
        reversed_percent: pairs in the wrong order of depth, of all pairs.
    """

    mpjpe_mm: Float
    mpjpe_relative_mm: Float
    pck_percent: Float
    pck_relative_percent: Float
    joints_percent: Float
    recall_percent: float
    near_percent: float
    reversed_percent: float
