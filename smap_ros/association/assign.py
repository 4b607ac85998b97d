"""Who owns which joint: greedy along the skeleton, nearer people first (SMAP, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.config import (
    DEFAULT,
    JOINTS,
    LIMBS,
    PELVIS,
    AssociationConfig,
    check_root,
)
from smap_ros.association.limbs import LimbScores
from smap_ros.association.peaks import Peaks

Float = NDArray[np.float32]

# Neck-pelvis comes first: it connects the two hubs all other limbs hang from.
TORSO = 1
LIMB_ORDER = (TORSO, 0, *range(2, len(LIMBS)))
_ENDS: list[list[int]] = LIMBS.tolist()


def assign(
    peaks: Peaks,
    scores: LimbScores,
    root_depth: Float,
    *,
    root: int = PELVIS,
    dist_flag: bool = True,
    config: AssociationConfig = DEFAULT,
) -> Float:
    """Group peaks into people.

    Every peak of the root joint is a person. Along each limb, people choose in order of their
    root depth, nearest first: the unused candidate with the highest score above 0. With
    ``dist_flag`` a candidate farther away than the bone can be at the person's depth loses
    score. Nobody is filtered by the number of joints or the score.

    A person whose root depth is NaN or infinite chooses last (in raster order among their
    like) and without the distance penalty. After all others come those whose root isn't above
    ``config.peak_threshold``: what they get, nobody else of these roots wants.

    Args:
        peaks: from :func:`~smap_ros.association.find_peaks`, by the same config and root.
        scores: from :func:`~smap_ros.association.limb_scores` for these peaks.
        root_depth: float32 [h, w], centimetres per focal length in network pixels
            (Z / f / scale).
        root: joint that makes a person: 2 (pelvis) or 0 (neck).
        dist_flag: penalise implausibly long limbs (SMAP's adaptive distance constraint).
        config: bone lengths, slack and stride.

    Returns:
        float32 [people, 15, 4], nearest first, those of weak roots last: x, y in map cells, 0,
        score; a missing joint is all zeros.

    Raises:
        InputError: if ``root`` is another joint.
    """
    check_root(root)
    height, width = root_depth.shape
    weak = peaks.of(root)[:, 2] <= np.float32(config.peak_threshold)
    x, y, _ = peaks.of(root).T.astype(np.intp)
    depth = root_depth[np.minimum(y, height - 1), np.minimum(x, width - 1)]
    depth = np.where(np.isfinite(depth), depth, np.float32(np.inf))
    order = np.lexsort((depth, weak))
    reach = _reach(depth[order], config) if dist_flag else None

    chosen = np.full((len(order), JOINTS), -1, dtype=np.intp)  # number of the peak of its kind
    chosen[:, root] = order
    stride, one = np.float32(config.stride), np.float32(1)
    # Joints on the same spot have no positive score, so a division by 0 is never used.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for limb in LIMB_ORDER:
            table, length, (source, target) = scores.table(limb), scores.length(limb), _ENDS[limb]
            if limb == TORSO and root == PELVIS:  # walked away from the root
                table, length, source, target = table.T, length.T, target, source
            parents = chosen[:, source]
            people = (parents >= 0).nonzero()[0]
            if len(people) == 0 or table.shape[1] == 0:
                continue
            parents = parents[people]
            candidates = table[parents]  # [people, targets]
            if reach is not None:
                far = reach[people, limb, None] / length[parents] / stride
                # What isn't positive is never chosen, so it may be lowered too.
                candidates += np.fmin(far - one, 0)
            chosen[people, target] = _choose(candidates)
    return _people(peaks, chosen)


def _reach(depth: Float, config: AssociationConfig) -> Float:
    """How far each limb of each person may stretch, network pixels, float32 [people, 14].

    Depth in centimetres per pixel turns a bone's centimetres into pixels. As in the reference,
    computed in float64 from float32 constants and rounded once. No limit at unknown depth.
    """
    length_cm = np.array(config.bone_length_cm, dtype=np.float32).astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        reach = config.bone_slack * length_cm / depth[:, None].astype(np.float64)
        reach[np.isinf(depth)] = np.inf
        return reach.astype(np.float32)


def _choose(scores: Float) -> list[int]:
    """For each row in turn the free column of the highest score above 0, or -1.

    Ties go to the lower column. Most rows get their first choice, so all first choices are
    taken at once and only a row that finds it gone looks again.
    """
    first = scores.argmax(axis=1)
    best = scores.max(axis=1) > 0
    picks: list[int] = []
    used: set[int] = set()
    for row, (column, positive) in enumerate(zip(first.tolist(), best.tolist(), strict=True)):
        pick = column
        if positive and column in used:
            free = scores[row].copy()
            free[list(used)] = -1
            pick = int(free.argmax())
            positive = bool(free[pick] > 0)
        if positive:
            used.add(pick)
        picks.append(pick if positive else -1)
    return picks


def _people(peaks: Peaks, chosen: NDArray[np.intp]) -> Float:
    """Chosen peaks int [people, 15] as joints float32 [people, 15, 4]."""
    people = np.zeros((*chosen.shape, 4), dtype=np.float32)
    person, joint = np.nonzero(chosen >= 0)
    rows = peaks.table[peaks.starts[joint] + chosen[person, joint]]
    people[person, joint, :2] = rows[:, :2]
    people[person, joint, 3] = rows[:, 2]
    return people
