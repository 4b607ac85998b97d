"""People over the pictures of sequences: identities that change, and joints that tremble."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.evaluation.common.metrics import joint_errors
from smap_ros.evaluation.virtual.measures import Person
from smap_ros.skeletons import MPI15

Points = NDArray[np.floating]


@dataclass(frozen=True)
class TrackNumbers:
    """Measures over time of the people of some sequences.

    Attributes:
        sequences: films; people: true people in them who count in some picture.
        switches: how often a person who was found again had another identity than before, also
            after not being found for a while; None where nobody has an identity.
        jitter_mm: mean error of a joint's acceleration, millimetres per picture squared: of
            p[t+1] - 2 p[t] + p[t-1] against the truth's, with the joints where they are; over
            people found in three pictures running. NaN without any.
        relative_jitter_mm: the same with pelvises at the origin.
    """

    sequences: int
    people: int
    switches: int | None
    jitter_mm: float
    relative_jitter_mm: float


def over_time(people: Sequence[Person]) -> TrackNumbers:
    """The measures of the people of sequences, given in order of time."""
    tracks: dict[tuple[str, int | None], list[Person]] = defaultdict(list)
    for person in people:
        if person.scene.sequence is not None:
            tracks[person.scene.sequence, person.true.id].append(person)
    absolute, relative = [], []
    for track in tracks.values():
        for triple in _running(track):
            found = np.stack([p.found.joints_3d for p in triple if p.found is not None])
            true = np.stack([p.true.joints_3d for p in triple])
            absolute.append(_acceleration_error(found, true))
            relative.append(_acceleration_error(_about_root(found), _about_root(true)))
    named = any(p.found is not None and p.found.id is not None for p in people)
    return TrackNumbers(
        sequences=len({sequence for sequence, _ in tracks}),
        people=len(tracks),
        switches=sum(map(_switches, tracks.values())) if named else None,
        jitter_mm=1000 * _mean(absolute),
        relative_jitter_mm=1000 * _mean(relative),
    )


def _switches(track: Iterable[Person]) -> int:
    identities = [p.found.id for p in track if p.found is not None]
    return sum(before != after for before, after in itertools.pairwise(identities))


def _running(track: Sequence[Person]) -> Iterable[tuple[Person, Person, Person]]:
    """Threes of successive pictures in each of which the person was found."""
    found = [person for person in track if person.found is not None]
    for triple in zip(found, found[1:], found[2:], strict=False):
        if triple[2].scene.frame.index - triple[0].scene.frame.index == 2:
            yield triple


def _about_root(points: Points) -> Points:
    return points - points[:, MPI15.root : MPI15.root + 1]


def _acceleration_error(found: Points, true: Points) -> float:
    """Mean over the joints found in all three pictures [3, 15, 3]; metres per picture squared."""
    errors = joint_errors(np.diff(found, 2, axis=0)[0], np.diff(true, 2, axis=0)[0])
    return _mean(errors)


def _mean(values: Iterable[float]) -> float:
    finite = [float(value) for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
