"""Protocol ``mot``: who is found, missed, and seen where nobody is.

A labelled person is found when somebody who is nobody else's fits them
(:mod:`smap_ros.evaluation.mot.likeness`) by at least 0.5; in each picture as many are found as can
be, where people have identities after those who go on as they were. Whoever is left is a ghost,
unless they fit a label that need not be found.

That isn't the overlap (IoU) of boxes at 0.5 that published numbers are of: joints reach neither the
crown nor the soles, and a hand may be the widest part. MOTA, HOTA and the like can't be compared
with those.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.evaluation.common.clips import warn_of_another_film
from smap_ros.evaluation.common.identities import (
    IdentityCollector,
    IdentityNumbers,
    Pairing,
    has_trackeval,
    identity_numbers,
)
from smap_ros.evaluation.common.motion import changes
from smap_ros.evaluation.common.predictions import FilmPredictions, Predictions
from smap_ros.evaluation.common.report import percent
from smap_ros.evaluation.common.views import Coverage
from smap_ros.evaluation.mot.likeness import corners, likeness, within
from smap_ros.evaluation.mot.truth import MotPicture, MotSequence
from smap_ros.temporal import BodySmoother

Float = NDArray[np.float64]

FOUND = 0.5  # likeness from which on somebody is found
BORDER_PX = 2.0  # a label as near to the picture's border as that is cut by it
HEIGHTS = (0.0, 60.0, 120.0, 240.0, math.inf)  # of labels within the picture, pixels


@dataclass(frozen=True)
class Person:
    """A labelled person who must be found.

    Attributes:
        id: identity; negative where the label has none.
        height_px: of the label within the picture.
        cut: whether the label reaches the picture's border.
        found: who was found there, or None when they were missed.
    """

    id: int
    height_px: float
    cut: bool
    found: Body | None


@dataclass(frozen=True)
class Compared:
    """One picture's people against its labels.

    Attributes:
        people: who must be found.
        ghosts: who was found where nobody is.
        excused: how many fit a label that need not be found.
        likeness: float64 [people, kept], of each person with each one that isn't excused.
        kept: who isn't excused.
    """

    people: tuple[Person, ...]
    ghosts: tuple[Body, ...]
    excused: int
    likeness: Float
    kept: tuple[Body, ...]


@dataclass(frozen=True)
class Numbers:
    """Counts over pictures.

    Attributes:
        pictures: that were looked at.
        people: labels that must be found; found: of them.
        empty_pictures: pictures in which nobody must be found.
        ghosts: people found where nobody is.
        ghost_pictures: pictures with a ghost.
        excused: people found who fit a label that need not be found.
    """

    pictures: int
    people: int
    found: int
    empty_pictures: int
    ghosts: int
    ghost_pictures: int
    excused: int

    @property
    def recall_percent(self) -> float:
        """Share of the people that were found; NaN without people."""
        return percent(self.found, self.people)

    @property
    def precision_percent(self) -> float:
        """Share of who was found that is somebody; NaN where nobody was."""
        return percent(self.found, self.found + self.ghosts)

    @property
    def ghosts_per_picture(self) -> float:
        """Ghosts in a picture, on average."""
        return self.ghosts / self.pictures if self.pictures else math.nan

    @property
    def ghost_pictures_percent(self) -> float:
        """Share of the pictures that have a ghost."""
        return percent(self.ghost_pictures, self.pictures)


@dataclass(frozen=True)
class Film:
    """A sequence as it was looked at.

    Attributes:
        name: of the sequence.
        numbers: of its pictures, as ``gt.txt`` counts them.
        found: these pictures with the people as they were found in each.
        tracked: the same with the people who have identities: those of the predictions, or else
            as tracker and smoother as shipped give them.
        smoother: the one that did; empty where predictions have identities.
    """

    name: str
    numbers: tuple[int, ...]
    found: tuple[Compared, ...]
    tracked: tuple[Compared, ...]
    smoother: str = ""


@dataclass(frozen=True)
class MotOutcome:
    """Predictions against the labels.

    Attributes:
        films: sequences of which pictures were predicted.
        skipped: pictures that the predictions lack; they don't count.
        absent: sequences that they lack as a whole.
        identities: of all films, where trackeval is installed and all labels have identities.
    """

    films: tuple[Film, ...]
    skipped: int
    absent: tuple[str, ...]
    identities: IdentityNumbers | None = None


def evaluate(
    predictions: Predictions,
    sequences: Sequence[MotSequence],
    on_picture: Callable[[], None] = lambda: None,
) -> MotOutcome:
    """Compare predictions with labels.

    Args:
        predictions: who was found.
        sequences: who is there.
        on_picture: called after each picture, for progress.

    Raises:
        InputError: if no picture was predicted.
        SmapError: if a picture or the predictions can't be used.
    """
    coverage = Coverage()
    films: list[Film] = []
    for sequence in sequences:
        if isinstance(predictions, FilmPredictions):
            predictions.film([picture.view for picture in sequence.pictures], sequence.rate)
        frames: list[tuple[int, BodyFrame]] = []
        for k, picture in enumerate(sequence.pictures):
            frame = predictions.of(picture.view)
            coverage.count(frame is not None)
            on_picture()
            if frame is not None:
                frames.append((k, frame))
        if frames:
            warn_of_another_film((frame for _, frame in frames), sequence.clip, sequence.name)
            films.append(_film(sequence, frames))
    coverage.finish(predictions.description)
    there = {film.name for film in films}
    return MotOutcome(
        tuple(films),
        coverage.missing,
        tuple(s.name for s in sequences if s.name not in there),
        _identities(films),
    )


def _film(sequence: MotSequence, frames: Sequence[tuple[int, BodyFrame]]) -> Film:
    pairing = Pairing()
    found = tuple(compare(sequence.pictures[k], frame.bodies, pairing) for k, frame in frames)
    numbers = tuple(k + 1 for k, _ in frames)
    if any(body.id is not None for _, frame in frames for body in frame):
        return Film(sequence.name, numbers, found, found)
    smoother = BodySmoother(detector=frames[0][1].detector)
    answers = [
        answer
        for k, frame in frames
        for answer in smoother.update(frame.bodies, sequence.stamps[k], sequence.pictures[k])
    ]
    tracked = []
    for answer in [*answers, *smoother.flush()]:
        # Who is only predicted wasn't found.
        there = [person.body for person in answer.people if not person.predicted]
        tracked.append(compare(answer.note, there, pairing))
    return Film(sequence.name, numbers, found, tuple(tracked), smoother.smoother)


def compare(
    picture: MotPicture, bodies: Sequence[Body], pairing: Pairing | None = None
) -> Compared:
    """Compare the people of one picture with its labels.

    A label without a pixel in the picture is none that must be found.

    Args:
        picture: who is there.
        bodies: who was found.
        pairing: of the film so far; without, the picture is one by itself.
    """
    size = np.array([picture.view.camera.width, picture.view.camera.height], np.float64)
    boxes = corners(picture.boxes)
    inside = within(boxes, size)
    counted = picture.counted & (inside[:, 2:] > inside[:, :2]).all(axis=1)
    similar = likeness(picture.boxes, bodies, size)
    ours = similar[counted]
    cost = np.where(ours >= FOUND, 1 - ours, np.inf).T
    names = [int(k) if k >= 0 else None for k in picture.ids[counted]]
    paired = (pairing or Pairing())(cost, [body.id for body in bodies], names)
    pairs = {row: k for k, row in paired}
    matched = np.isin(np.arange(len(bodies)), list(pairs.values()))
    excused = ~matched & (similar[~counted].max(axis=0, initial=0.0) >= FOUND)
    cut = np.any((boxes[:, :2] <= BORDER_PX) | (boxes[:, 2:] >= size - BORDER_PX), axis=1)
    height = inside[:, 3] - inside[:, 1]
    people = [
        Person(
            int(picture.ids[k]),
            float(height[k]),
            bool(cut[k]),
            bodies[pairs[row]] if row in pairs else None,
        )
        for row, k in enumerate(np.flatnonzero(counted).tolist())
    ]
    return Compared(
        people=tuple(people),
        ghosts=tuple(bodies[k] for k in np.flatnonzero(~matched & ~excused).tolist()),
        excused=int(excused.sum()),
        likeness=ours[:, ~excused],
        kept=tuple(bodies[k] for k in np.flatnonzero(~excused).tolist()),
    )


def count(pictures: Iterable[Compared]) -> Numbers:
    """The numbers of pictures."""
    compared = list(pictures)
    people = [person for picture in compared for person in picture.people]
    return Numbers(
        pictures=len(compared),
        people=len(people),
        found=sum(person.found is not None for person in people),
        empty_pictures=sum(not picture.people for picture in compared),
        ghosts=sum(len(picture.ghosts) for picture in compared),
        ghost_pictures=sum(bool(picture.ghosts) for picture in compared),
        excused=sum(picture.excused for picture in compared),
    )


def switches(film: Film) -> int | None:
    """How often a person who was found again had another identity than before.

    None where nobody has an identity, in the labels or among the found.
    """
    had: defaultdict[int, list[int]] = defaultdict(list)
    for picture in film.tracked:
        for person in picture.people:
            if person.found is not None and person.found.id is not None and person.id >= 0:
                had[person.id].append(person.found.id)
    return sum(changes(np.array(ids)) for ids in had.values()) if had else None


def _identities(films: Sequence[Film]) -> IdentityNumbers | None:
    pictures = [picture for film in films for picture in film.tracked]
    labelled = all(person.id >= 0 for picture in pictures for person in picture.people)
    people = any(picture.people for picture in pictures)
    if not (has_trackeval() and labelled and people):
        return None
    return identity_numbers([_collected(film) for film in films])


def _collected(film: Film) -> IdentityCollector:
    collector = IdentityCollector()
    for picture in film.tracked:
        named = np.array([body.id is not None for body in picture.kept], np.bool_)
        collector.take(
            [int(body.id) for body in picture.kept if body.id is not None],
            [person.id for person in picture.people],
            picture.likeness[:, named],
            np.ones(len(picture.people), np.bool_),
        )
    return collector
