"""2D poses as wrong as detectors make them: what networks that are guided by a pose learn from.

Moon et al., "PoseFix", CVPR 2019, after Ronchi and Perona's taxonomy, with 3DCrowdNet's numbers.
Distances are those at which a joint's similarity (OKS) with another is 0.85, 0.5 and 0.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import COCO17

Float64 = NDArray[np.float64]
Rng = np.random.Generator

# COCO's: how precisely people place each keypoint.
SIGMAS = np.array(
    [.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89]
) / 10  # fmt: skip
_FACE, _ARMS, _LEGS = range(5), range(5, 11), range(11, 17)
_TRIES = 30


def _by_part(face: float, arms: float, legs: float) -> Float64:
    return np.repeat([face, arms, legs], [len(_FACE), len(_ARMS), len(_LEGS)])


_JITTER = np.array([0.10, *[0.15] * 10, 0.20, 0.20, *[0.10] * 4])
_JITTER_MORE = 0.05  # with ten valid joints or fewer
# Of the face; of shoulders and ankles; of the others: by the number of valid joints.
_MISS = {5: (0.15, 0.20, 0.25), 10: (0.10, 0.13, 0.15), 17: (0.02, 0.05, 0.10)}
_INVERSION = _by_part(0.01, 0.03, 0.06)
_SWAP, _SWAP_CROWDED = _by_part(0.01, 0.06, 0.03), _by_part(0.02, 0.15, 0.10)


def distances(area: float) -> Float64:
    """Distances at which the similarity is 0.85, 0.5 and 0.1, float64 [17, 3].

    Args:
        area: of the person's box, square pixels.
    """
    return np.sqrt(-2 * area * (2 * SIGMAS[:, None]) ** 2 * np.log([0.85, 0.5, 0.1]))


def shares(valid: int, neighbours: int) -> Float64:
    """How often each joint is wrong in each way, [17, 4]: jitter, miss, inversion, swap.

    Args:
        valid: joints of the person that are labelled.
        neighbours: people whose boxes overlap the person's.
    """
    few = valid <= 10
    face, ends, others = _MISS[next(most for most in _MISS if valid <= most)]
    miss = np.array([*[face] * 5, ends, ends, *[others] * 8, ends, ends])
    crowded = (few and neighbours > 0) or (valid <= 15 and neighbours >= 3)
    swap = _SWAP_CROWDED if crowded else _SWAP
    return np.stack([_JITTER + _JITTER_MORE * few, miss, _INVERSION, swap], axis=1)


def disturbed(joints: Float64, valid: NDArray[np.bool_], others: Float64, rng: Rng) -> Float64:
    """A person's 2D pose as a detector might give it, float64 [17, 2].

    Args:
        joints: float64 [17, 2], COCO's, pixels.
        valid: bool [17]; the others are disturbed as well, and are nobody's business.
        others: float64 [N, 17, 3], x, y and labelled, of people nearby.
        rng: decides.
    """
    known = joints[valid]
    if len(known) < 2:
        return joints.copy()
    area = float(np.prod(np.ptp(known, axis=0)))
    reach, chances = distances(area), shares(int(valid.sum()), len(others))
    out = joints.copy()
    for k, partner in enumerate(COCO17.flip):
        mirrored = joints[[partner]] if partner != k and valid[partner] else joints[:0]
        theirs = np.concatenate([others[:, k], others[:, partner]])
        theirs = theirs[theirs[:, 2] > 0, :2]
        possible = np.array([True, True, len(mirrored) > 0, len(theirs) > 0])
        chance = chances[k] * possible
        good = 1 - chances[k].sum()
        chance = np.append(chance, good) / (chance.sum() + good)
        kind = int(rng.choice(len(chance), p=chance))
        out[k] = _placed(kind, joints[k], mirrored, theirs, reach[k], rng)
    return out


def _placed(
    kind: int, truth: Float64, mirrored: Float64, theirs: Float64, reach: Float64, rng: Rng
) -> Float64:
    """Where a joint with an error of a kind is seen; the truth if no try is of that kind."""
    d85, d50, d10 = reach
    own = truth[None]
    everything = np.concatenate([own, mirrored, theirs])
    about, low, high = {
        0: (own, d85, d50), 1: (everything, d50, d10), 2: (mirrored, 0.0, d50),
        3: (theirs, 0.0, d50), 4: (own, 0.0, d85),
    }[kind]  # fmt: skip
    for _ in range(_TRIES):
        source = about[rng.integers(len(about))]
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(low**2, high**2))
        place: Float64 = source + radius * np.array([np.cos(angle), np.sin(angle)])
        off = np.linalg.norm(everything - place, axis=1)
        # A miss is nobody's; another error is nobody's but its source's.
        if off.min() >= d50 if kind == 1 else off.min() >= radius - 1e-9:
            return place
    return truth
