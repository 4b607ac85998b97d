"""Scores of all possible limbs: how well the part-affinity field supports each joint pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.config import (
    DEFAULT,
    EVIDENCE_LIMIT,
    JOINTS,
    LIMBS,
    AssociationConfig,
    check_maps,
)
from smap_ros.association.peaks import Peaks

Float = NDArray[np.float32]
Int = NDArray[np.int32]
Bool = NDArray[np.bool_]

# Pairs worked on at once: bounds the memory (at 127 peaks of every kind there are 225,806
# pairs) and keeps the temporaries in the processor's cache.
_BLOCK = 8192
# Up to so many pairs, sampling them all takes less time than finding those that are worth it.
_FEW = 256


@dataclass(frozen=True)
class LimbScores:
    """Scores of every pair of peaks that could be a limb.

    Attributes:
        values: float32 [S], the 14 tables one after the other, row-major.
        lengths: float32 [S], from joint to joint in map cells, in the same order.
        starts: int [15]; limb k has ``values[starts[k]:starts[k + 1]]``.
        shapes: int [14, 2], peaks of the limb's first and second joint.
    """

    values: Float
    lengths: Float
    starts: NDArray[np.intp]
    shapes: NDArray[np.intp]

    def table(self, limb: int) -> Float:
        """Scores of one limb, float32 [first, second] (a view); -1 where it is no limb."""
        return self._of(self.values, limb)

    def length(self, limb: int) -> Float:
        """Lengths of one limb, float32 [first, second] (a view)."""
        return self._of(self.lengths, limb)

    def _of(self, values: Float, limb: int) -> Float:
        return values[self.starts[limb] : self.starts[limb + 1]].reshape(self.shapes[limb])


@dataclass(frozen=True)
class _Pairs:
    """Candidate limbs, every attribute [n]: the line from a to b and where its field is."""

    ax: Float
    ay: Float
    step_x: Float  # (b - a) / samples
    step_y: Float
    unit_x: Float
    unit_y: Float
    samples: Int  # 5 to 25
    channel: Int  # flat index of the field's x channel

    def __getitem__(self, rows: NDArray[np.intp]) -> _Pairs:
        return _Pairs(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def limb_scores(maps: Float, peaks: Peaks, config: AssociationConfig = DEFAULT) -> LimbScores:
    """Score all pairs of peaks by the part-affinity field between them.

    The field is sampled on the line from the first joint to the second (which itself is never
    sampled) and projected on the line's direction. If the share of samples above a threshold
    is large enough, the score is their mean. If not, pairs closer than about a cell get a small
    positive score, all others -1. Follows SMAP's CUDA extension to the last bit (float32, sums
    in the order of the samples). A sample that is NaN, infinite or over 1e6 gives no support.

    Args:
        maps: float32 [43, h, w], fields scaled to unit vectors.
        peaks: from :func:`~smap_ros.association.find_peaks` on the same maps.
        config: thresholds and sizes.

    Raises:
        InputError: if the maps don't have that shape and type.
    """
    maps = check_maps(maps)
    shapes = peaks.counts[LIMBS]  # [14, 2]
    starts = np.concatenate(([0], np.cumsum(shapes.prod(axis=1))))
    values, lengths = np.empty((2, starts[-1]), dtype=np.float32)
    # Infinities times zero and the like are expected here: NaN never passes a threshold.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for begin in range(0, len(values), _BLOCK):
            pair = np.arange(begin, min(begin + _BLOCK, len(values)))
            limb = np.searchsorted(starts, pair, side="right") - 1
            first, second = np.divmod(pair - starts[limb], shapes[limb, 1])
            first += peaks.starts[LIMBS[limb, 0]]
            second += peaks.starts[LIMBS[limb, 1]]
            a, b, block = peaks.table[first], peaks.table[second], slice(pair[0], pair[-1] + 1)
            values[block] = _scores(maps, limb, a, b, config)
            lengths[block] = _lengths(a, b)
    return LimbScores(values, lengths, starts, shapes)


def _lengths(a: Float, b: Float) -> Float:
    """Distances in the picture of n pairs [n, 3], float32 [n].

    As in the reference: float32 differences, float64 squares, rounded once.
    """
    squares = np.square((a[:, :2] - b[:, :2]).astype(np.float64))
    lengths: Float = np.sqrt(squares[:, 0] + squares[:, 1]).astype(np.float32)
    return lengths


def _scores(
    maps: Float, limb: NDArray[np.intp], a: Float, b: Float, config: AssociationConfig
) -> Float:
    """Scores of n pairs: limb int [n], a and b float32 [n, 3]; returns float32 [n]."""
    _, height, width = maps.shape
    ax, ay = np.ascontiguousarray(a[:, 0]), np.ascontiguousarray(a[:, 1])
    dx, dy = b[:, 0] - ax, b[:, 1] - ay
    length = np.sqrt(dx * dx + dy * dy)
    extent = np.sqrt(np.float32(config.samples_gain) * np.maximum(np.abs(dx), np.abs(dy)))
    samples = (extent + np.float32(0.5)).astype(np.int32)
    samples = samples.clip(config.min_samples, config.max_samples)
    channel = ((JOINTS + 2 * limb) * (height * width)).astype(np.int32)
    pairs = _Pairs(
        ax, ay, dx / samples.astype(np.float32), dy / samples.astype(np.float32),
        dx / length, dy / length, samples, channel,
    )  # fmt: skip

    near = length < np.sqrt(np.float32(width * height)) / np.float32(config.near_divisor)
    scores = np.where(near, np.float32(config.near_score + 1e-6), np.float32(-1))
    distinct = length > 1e-6
    scores[~distinct] = -1
    if len(pairs.samples) > _FEW:
        distinct &= _plausible(maps, pairs, config)
    candidates = distinct.nonzero()[0]
    means, supported = _mean_support(maps, pairs[candidates], config)
    scores[candidates[supported]] = means[supported]
    return scores


def _plausible(maps: Float, pairs: _Pairs, config: AssociationConfig) -> Bool:
    """Pairs that a look at three of their samples can't rule out, bool [n].

    Most pairs join two people and fail at once; with SMAP's settings a limb may miss no sample
    (one from 21 samples on), so this spares sampling them all and never changes a score.
    """
    allowed = _allowed_misses(config)[pairs.samples]
    if config.min_samples < 4:
        return np.ones(len(allowed), dtype=np.bool_)
    # With at least 4 samples these are three different ones.
    probes = pairs.samples[:, None] * np.array([1, 2, 3], dtype=np.int32) // 4
    _, support = _sample(maps, pairs, probes)
    misses = 3 - np.count_nonzero(support > config.paf_threshold, axis=1)
    plausible: Bool = misses <= allowed
    return plausible


def _mean_support(maps: Float, pairs: _Pairs, config: AssociationConfig) -> tuple[Float, Bool]:
    """Mean of the supporting samples float32 [n], and whether their share suffices bool [n]."""
    number = np.arange(config.max_samples, dtype=np.int32)[None]
    valid, along = _sample(maps, pairs, number)
    kept = valid & (along > config.paf_threshold)
    count = np.count_nonzero(kept, axis=1).astype(np.float32)
    total = np.add.accumulate(np.where(kept, along, np.float32(0)), axis=1)[:, -1]
    share = count / pairs.samples.astype(np.float32)
    return total / count, share > np.float32(config.paf_min_share)


def _sample(maps: Float, pairs: _Pairs, number: Int) -> tuple[Bool, Float]:
    """The field along the pairs' lines at the given samples.

    Args:
        number: int32 [n or 1, k], sample numbers from 0.

    Returns:
        Whether the pair has that sample and the field there is no nonsense, bool [n, k], and
        the field's projection on the line, float32 [n, k] (0 where nonsense).
    """
    _, height, width = maps.shape
    along = number.astype(np.float32)
    half = np.float32(0.5)
    x = (pairs.ax[:, None] + along * pairs.step_x[:, None] + half).astype(np.int32)
    y = (pairs.ay[:, None] + along * pairs.step_y[:, None] + half).astype(np.int32)
    cell = np.minimum(y, height - 1) * width + np.minimum(x, width - 1)
    cell += pairs.channel[:, None]
    flat = maps.reshape(-1)
    support = pairs.unit_x[:, None] * flat[cell]
    cell += height * width
    support += pairs.unit_y[:, None] * flat[cell]
    valid = (number < pairs.samples[:, None]) & (support <= EVIDENCE_LIMIT)
    return valid, support


def _allowed_misses(config: AssociationConfig) -> Int:
    """Samples a limb may miss and still pass, by its number of samples, int32 [max + 1].

    -1 where it can't pass at all. The share is compared as in the reference, in float32.
    """
    samples = np.arange(config.max_samples + 1)
    misses = np.arange(config.max_samples + 1)[:, None]
    share = (samples - misses).astype(np.float32) / samples.astype(np.float32)
    passes = (misses <= samples) & (share > np.float32(config.paf_min_share))
    most: Int = np.count_nonzero(passes, axis=0).astype(np.int32) - 1
    return most
