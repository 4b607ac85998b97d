"""Tracks of recorded films as training examples: what was found of a person, and the truth."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.evaluation.common.films import Film
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.skeletons import MPI15
from smap_ros.temporal import BodySmoother, SmootherConfig

Float = NDArray[np.float32]

HELD_EVERY = 10  # films of which one measures the run
_SHORTEST = 12  # pictures of a track that is learned from
# Metres: white noise of a joint that lies half-way between two found ones, so that it errs as much
# as they do (16 to 18 mm an axis).
_HALFWAY_NOISE = 0.012


@dataclass(frozen=True)
class Example:
    """T pictures of one track.

    Attributes:
        found: float32 [T, 15, 3], metres; 0 where missing, in whole pictures too.
        scores: float32 [T, 15], 0 where missing.
        true: float32 [T, 15, 3]; NaN where nobody true was there.
        times: float32 [T], seconds from the first.
    """

    found: Float
    scores: Float
    true: Float
    times: Float

    def __len__(self) -> int:
        return len(self.times)

    def crop(self, length: int, rng: np.random.Generator) -> Example:
        """A random piece at a random rate, perhaps mirrored; gaps, and its end if too short, empty.

        Half of them have the film's rate; others a half, a third or twice of it, or uneven times.
        """
        example = self
        way = rng.random()
        if way < 0.15:
            example = example.doubled(rng)
        elif way < 0.30:
            example = example.rows(np.arange(rng.integers(2), len(self), 2))
        elif way < 0.38:
            example = example.rows(np.arange(rng.integers(3), len(self), 3))
        elif way < 0.50:
            example = example.rows(np.flatnonzero(rng.random(len(self)) < rng.uniform(0.5, 0.95)))
        first = int(rng.integers(max(len(example) - length, 0) + 1))
        example = example.rows(np.arange(first, min(first + length, len(example))))
        if rng.random() < 0.3:
            example = example.with_gaps(rng)
        if rng.random() < 0.5:
            example = example.mirrored()
        return example.filled_up(length)

    def rows(self, rows: NDArray[np.intp]) -> Example:
        """Some pictures, in order."""
        return Example(self.found[rows], self.scores[rows], self.true[rows], self.times[rows])

    def doubled(self, rng: np.random.Generator) -> Example:
        """At twice the rate: people half-way between any two pictures in which they were seen."""

        def between(values: Float) -> Float:
            out = np.repeat(values, 2, axis=0)[:-1]
            out[1::2] = (values[1:] + values[:-1]) / 2
            return out

        found, scores = between(self.found), between(self.scores)
        noise = rng.normal(0, _HALFWAY_NOISE, found[1::2].shape).astype(np.float32)
        both = np.minimum(self.scores[1:], self.scores[:-1]) > 0
        scores[1::2] *= both
        found[1::2] = np.where(both[..., None], found[1::2] + noise, 0)
        return Example(found, scores, between(self.true), between(self.times))

    def with_gaps(self, rng: np.random.Generator) -> Example:
        """Without some pictures and some joints, as when a person is hidden."""
        scores = self.scores.copy()
        scores[rng.random(len(self)) < 0.04] = 0
        scores[rng.random(scores.shape) < 0.02] = 0
        first = int(rng.integers(len(self)))
        scores[first : first + int(rng.integers(1, 8))] = 0
        return Example(self.found * (scores > 0)[..., None], scores, self.true, self.times)

    def mirrored(self) -> Example:
        """As in a mirrored picture."""
        flip = np.array([-1, 1, 1], np.float32)
        found, true = (joints[:, MPI15.flip] * flip for joints in (self.found, self.true))
        return Example(found, self.scores[:, MPI15.flip], true, self.times)

    def filled_up(self, length: int) -> Example:
        """With empty pictures at its end, of this length, and times from 0."""
        short = length - len(self)
        times = self.times - self.times[:1]
        if not short:
            return Example(self.found, self.scores, self.true, times)
        last = times[-1] if len(times) else 0.0
        more = last + np.arange(1, short + 1, dtype=np.float32) * np.float32(0.1)
        return Example(
            np.concatenate([self.found, np.zeros((short, 15, 3), np.float32)]),
            np.concatenate([self.scores, np.zeros((short, 15), np.float32)]),
            np.concatenate([self.true, np.full((short, 15, 3), np.nan, np.float32)]),
            np.concatenate([times, more]).astype(np.float32),
        )


def split(paths: Sequence[Path], held_every: int, *, held: bool) -> list[Path]:
    """Films to learn from, or those that measure the run: one in so many, by a hash of its name."""
    return [p for p in paths if (zlib.crc32(p.stem.encode()) % held_every == 0) == held]


def examples(films: Sequence[Film]) -> list[Example]:
    """The tracks of films as the product's tracker makes them."""
    return [example for film in films for example in _examples(film)]


def _examples(film: Film) -> list[Example]:
    tracker = BodySmoother(SmootherConfig(smoother="none"))
    rows: dict[int, list[tuple[float, Body | None, Body | None]]] = {}
    partner: dict[int, int | None] = {}  # who the person of a track is, as last seen
    for picture in range(len(film)):
        stamp = float(film.stamps[picture])
        (answer,) = tracker.update(film.detections(picture), stamp)
        seen = [person.body for person in answer.people if not person.predicted]
        truth = film.truth(picture)
        pairs = dict(match_by_pelvis(seen, truth))
        for k, body in enumerate(seen):
            assert body.id is not None
            partner[body.id] = truth[pairs[k]].id if k in pairs else None
        by_id = {body.id: body for body in truth}
        for person in answer.people:
            assert person.body.id is not None
            found = None if person.predicted else person.body
            true = by_id.get(partner.get(person.body.id))
            rows.setdefault(person.body.id, []).append((stamp, found, true))
    return [
        _example(track)
        for track in rows.values()
        if sum(found is not None for _, found, _ in track) >= _SHORTEST
    ]


def _example(track: list[tuple[float, Body | None, Body | None]]) -> Example:
    nobody = np.full((15, 3), np.nan, np.float32)
    found = np.stack([nobody if body is None else body.joints_3d for _, body, _ in track])
    scores = np.stack([np.zeros(15, np.float32) if b is None else b.scores for _, b, _ in track])
    scores = scores * np.isfinite(found).all(axis=2)
    return Example(
        found=np.where(scores[..., None] > 0, found, 0).astype(np.float32),
        scores=scores.astype(np.float32),
        true=np.stack([nobody if true is None else true.joints_3d for _, _, true in track]),
        times=np.array([stamp - track[0][0] for stamp, _, _ in track], np.float32),
    )
