"""Which of the people found are believed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.estimators.base import FEW_JOINTS
from smap_ros.estimators.options import SmapConfig
from smap_ros.estimators.smap.lifting import JOINTS, NO_ROOT, Float

LOW_SCORE, DUPLICATE = "low_score", "duplicate"


@dataclass(frozen=True)
class Limits:
    """Who is believed.

    Attributes:
        min_joints: fewer joints found are nobody.
        min_plain_score: people whose :func:`plain_scores` are lower are left out before all else.
        min_joint_score: so are those whose joints that were seen score less on average.
        duplicate_distance: metres; of two people whose pelvises are closer the less certain one
            is left out.
        min_score: people with a lower score, at the end, are left out.
    """

    min_joints: int
    min_plain_score: float
    min_joint_score: float
    duplicate_distance: float
    min_score: float

    @classmethod
    def of(cls, config: SmapConfig, manifest: SmapManifest) -> Limits:
        """Those of the bundle, unless the configuration says otherwise."""
        score, joint = config.min_score, config.min_joint_score
        least = manifest.min_score if score is None else score
        return cls(
            min_joints=config.min_joints,
            min_plain_score=0.0 if manifest.person_score is not None else least,
            min_joint_score=manifest.min_joint_score if joint is None else joint,
            duplicate_distance=config.duplicate_distance,
            min_score=least,
        )


def select_people(
    roots: Float, found: NDArray[np.bool_], scores: Float, limits: Limits
) -> tuple[list[int], dict[str, int]]:
    """Which people are believed.

    Args:
        roots: float32 [N, 3], metres.
        found: bool [N, 15], joints found in the image.
        scores: float32 [N], :func:`plain_scores`.
        limits: of what is believed.

    Returns:
        Rows to keep, in their order, and how many were dropped by reason.
    """
    dropped: Counter[str] = Counter()
    kept: list[int] = []
    means = scores * JOINTS / np.maximum(found.sum(axis=1), 1)
    # Best first, so that of two duplicates the better one is met, and kept, first.
    for k in np.argsort(-scores, kind="stable").tolist():
        if not np.isfinite(roots[k]).all():
            dropped[NO_ROOT] += 1
        elif found[k].sum() < limits.min_joints:
            dropped[FEW_JOINTS] += 1
        elif scores[k] < limits.min_plain_score or means[k] < limits.min_joint_score:
            dropped[LOW_SCORE] += 1
        elif any(np.linalg.norm(roots[k] - roots[j]) < limits.duplicate_distance for j in kept):
            dropped[DUPLICATE] += 1
        else:
            kept.append(k)
    return sorted(kept), dict(dropped)
