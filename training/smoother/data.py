"""Tracks of recorded films as training examples: what was found of a person, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.evaluation.common.films import Film
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.skeletons import MPI15
from smap_ros.temporal import BodySmoother, SmootherConfig

Float = NDArray[np.float32]

_SHORTEST = 12  # pictures of a track that is learned from
_THINNED = (1, 1, 1, 2, 3)  # pictures from one to the next: 15, 7.5 and 5 Hz of films at 15


@dataclass(frozen=True)
class Example:
    """T pictures of one track.

    Attributes:
        found: float32 [T, 15, 3], metres; NaN where missing, in whole pictures too.
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
        """A random piece at a random rate, perhaps mirrored; repeated at its end if too short."""
        step = int(rng.choice(_THINNED))
        first = int(rng.integers(max(len(self) - length * step, 0) + 1))
        rows = np.arange(first, len(self), step)[:length]
        found, true = self.found[rows], self.true[rows]
        scores, times = self.scores[rows], self.times[rows] - self.times[rows[0]]
        if rng.random() < 0.5:
            found, true, scores = mirrored(found), mirrored(true), scores[:, MPI15.flip]
        short = length - len(rows)
        if short:
            gap = np.full((short, 15, 3), np.nan, np.float32)
            found, true = np.concatenate([found, gap]), np.concatenate([true, gap])
            scores = np.concatenate([scores, np.zeros((short, 15), np.float32)])
            more = times[-1] + np.arange(1, short + 1, dtype=np.float32) * 0.1
            times = np.concatenate([times, more])
        return Example(found, scores, true, times.astype(np.float32))


def mirrored(joints: Float) -> Float:
    """Joints [T, 15, 3] of a mirrored picture."""
    out: Float = joints[:, MPI15.flip] * np.array([-1, 1, 1], np.float32)
    return out


def examples(films: Sequence[Film]) -> list[Example]:
    """The tracks of films as the product's tracker makes them."""
    made = []
    for film in films:
        made += _examples(film)
    return made


def _examples(film: Film) -> list[Example]:
    tracker = BodySmoother(SmootherConfig(smoother="none"))
    rows: dict[int, list[tuple[float, Body | None, Body | None]]] = {}
    for picture in range(len(film)):
        stamp = float(film.stamps[picture])
        (answer,) = tracker.update(film.detections(picture), stamp)
        seen = [person.body for person in answer.people if not person.predicted]
        truth = film.truth(picture)
        partner = {p: truth[t] for p, t in match_by_pelvis(seen, truth)}
        for k, body in enumerate(seen):
            assert body.id is not None
            rows.setdefault(body.id, []).append((stamp, body, partner.get(k)))
    return [_example(track) for track in rows.values() if len(track) >= _SHORTEST]


def _example(track: list[tuple[float, Body | None, Body | None]]) -> Example:
    nobody = np.full((15, 3), np.nan, np.float32)
    return Example(
        found=np.stack([nobody if body is None else body.joints_3d for _, body, _ in track]),
        scores=np.stack([np.zeros(15, np.float32) if b is None else b.scores for _, b, _ in track]),
        true=np.stack([nobody if true is None else true.joints_3d for _, _, true in track]),
        times=np.array([stamp - track[0][0] for stamp, _, _ in track], np.float32),
    )
