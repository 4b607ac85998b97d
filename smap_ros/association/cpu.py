"""The whole association on the CPU, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.assign import assign
from smap_ros.association.config import (
    DEFAULT,
    PELVIS,
    AssociationConfig,
    check_maps,
    check_root_depth,
)
from smap_ros.association.limbs import limb_scores
from smap_ros.association.peaks import find_peaks


def associate(
    maps: NDArray[np.float32],
    root_depth: NDArray[np.float32],
    *,
    root: int = PELVIS,
    dist_flag: bool = True,
    config: AssociationConfig = DEFAULT,
) -> NDArray[np.float32]:
    """People in one image, from the network's maps (SMAP's depth-aware part association).

    Identical to SMAP's CUDA extension without fused multiply-add, to the last bit, for any map
    size. NaN, infinite and absurdly large (over 1e6) values are no evidence: 0 in a heatmap,
    no support in a part-affinity field, and an unknown root depth puts the person last.

    Args:
        maps: float32 [43, h, w]: 15 heatmaps (network output / 255), then x and y of 14
            part-affinity fields (network output / 127). Best C-contiguous: else it is copied.
        root_depth: float32 [h, w], centimetres per focal length in network pixels
            (Z / f / scale).
        root: joint that makes a person: 2 (pelvis) or 0 (neck).
        dist_flag: penalise limbs longer than a bone can be at the person's depth.
        config: thresholds, bone lengths, stride.

    Returns:
        float32 [people, 15, 4], nearest first, those of weak roots last: x, y in map cells (the
        middle of cell (0, 0) is 0.5, 0.5), 0, score; a missing joint is all zeros. [0, 15, 4] when
        nobody is seen.

    Raises:
        InputError: if a shape, a type or ``root`` is wrong.
    """
    maps = check_maps(maps)
    check_root_depth(root_depth, (maps.shape[1], maps.shape[2]))
    peaks = find_peaks(maps, config, root)
    scores = limb_scores(maps, peaks, config)
    return assign(peaks, scores, root_depth, root=root, dist_flag=dist_flag, config=config)
