"""People over the pictures of sequences: identities that change, and joints that tremble."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smap_ros.evaluation.common.motion import MotionNumbers, Track, motion_numbers
from smap_ros.evaluation.virtual.measures import Person
from smap_ros.skeletons import MPI15


@dataclass(frozen=True)
class TrackNumbers:
    """Measures over time of the people of some sequences.

    Attributes:
        sequences: films; people: true people in them who count in some picture.
        switches: how often a person who was found again had another identity than before, also
            after not being found for a while; None where nobody has an identity.
        motion: errors, trembling and lag, over pictures that follow one another.
    """

    sequences: int
    people: int
    switches: int | None
    motion: MotionNumbers


def over_time(people: Sequence[Person]) -> TrackNumbers:
    """The measures of the people of sequences, given in order of time."""
    tracks: dict[tuple[str, int | None], list[Person]] = defaultdict(list)
    for person in people:
        if person.scene.sequence is not None:
            tracks[person.scene.sequence, person.true.id].append(person)
    named = any(p.found is not None and p.found.id is not None for p in people)
    motion = motion_numbers([_track(track) for track in tracks.values()])
    return TrackNumbers(
        sequences=len({sequence for sequence, _ in tracks}),
        people=len(tracks),
        switches=motion.switches if named else None,
        motion=motion,
    )


def _track(people: Sequence[Person]) -> Track:
    """A person, a row for each picture from first to last; NaN where they don't count."""
    indices = np.array([person.scene.frame.index for person in people])
    rows = indices - indices[0]
    length = int(rows[-1]) + 1
    true, found = (np.full((length, len(MPI15), 3), np.nan) for _ in range(2))
    ids = np.full(length, -1, np.int64)
    for row, person in zip(rows, people, strict=True):
        true[row] = person.true.joints_3d
        if person.found is not None:
            found[row] = person.found.joints_3d
            ids[row] = -1 if person.found.id is None else person.found.id
    stamps = np.interp(np.arange(length), rows, [person.scene.frame.stamp for person in people])
    return Track(true, found, ids, stamps)
