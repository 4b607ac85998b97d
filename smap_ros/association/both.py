"""People from two roots: those with a pelvis first, then those of whom only the neck is seen.

SMAP's association starts at one kind of joint (section 3.3). Near a camera the pelvis is often
below the picture; what the first pass leaves over is associated from the necks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.assign import assign
from smap_ros.association.config import (
    DEFAULT,
    JOINTS,
    LIMBS,
    NECK,
    PELVIS,
    AssociationConfig,
    check_maps,
    check_root_depth,
)
from smap_ros.association.limbs import LimbScores, limb_scores
from smap_ros.association.peaks import Peaks, find_peaks

Float = NDArray[np.float32]


def associate_both(
    maps: Float,
    root_depth: Float,
    neck_depth: Float,
    *,
    dist_flag: bool = True,
    config: AssociationConfig = DEFAULT,
) -> tuple[Float, Float]:
    """People associated from their pelvises, and from the necks that these leave over.

    The first are to the last bit what :func:`~smap_ros.association.associate` gives. The others
    use only peaks that nobody of the first has, so that no joint belongs to two people.

    Args:
        maps, root_depth, dist_flag, config: as there.
        neck_depth: float32 [h, w], as ``root_depth``, of necks.

    Returns:
        Two arrays float32 [people, 15, 4] as there.

    Raises:
        InputError: if a shape or a type is wrong.
    """
    maps = check_maps(maps)
    for depth in (root_depth, neck_depth):
        check_root_depth(depth, (maps.shape[1], maps.shape[2]))
    peaks = find_peaks(maps, config)
    scores = limb_scores(maps, peaks, config)
    people = assign(peaks, scores, root_depth, root=PELVIS, dist_flag=dist_flag, config=config)
    left = _unused(peaks, people)
    if not left[peaks.starts[NECK] : peaks.starts[NECK + 1]].any():
        return people, np.zeros((0, JOINTS, 4), np.float32)
    rest, rest_scores = _subset(peaks, scores, left)
    necks = assign(rest, rest_scores, neck_depth, root=NECK, dist_flag=dist_flag, config=config)
    return people, necks


def _unused(peaks: Peaks, people: Float) -> NDArray[np.bool_]:
    """Peaks that nobody has, bool [P]."""
    joint = np.repeat(np.arange(JOINTS), peaks.counts)  # of each peak
    owned = people[:, joint]  # [people, P, 4]
    same = (owned[..., :2] == peaks.table[:, :2]).all(axis=-1) & (owned[..., 3] > 0)
    left: NDArray[np.bool_] = ~same.any(axis=0)
    return left


def _subset(peaks: Peaks, scores: LimbScores, keep: NDArray[np.bool_]) -> tuple[Peaks, LimbScores]:
    """Some of the peaks, with the scores of the limbs between them."""
    kinds = [keep[peaks.starts[j] : peaks.starts[j + 1]] for j in range(JOINTS)]
    starts = np.concatenate(([0], np.cumsum([int(kind.sum()) for kind in kinds])))
    pairs = [np.ix_(kinds[a], kinds[b]) for a, b in LIMBS]
    tables = [scores.table(k)[kept] for k, kept in enumerate(pairs)]
    sizes = np.concatenate(([0], np.cumsum([table.size for table in tables])))
    values = np.concatenate([table.reshape(-1) for table in tables])
    lengths = np.concatenate([scores.length(k)[kept].reshape(-1) for k, kept in enumerate(pairs)])
    shapes = np.array([table.shape for table in tables], np.intp).reshape(-1, 2)
    return (
        Peaks(peaks.table[keep], starts.astype(np.intp)),
        LimbScores(values, lengths, sizes.astype(np.intp), shapes),
    )
