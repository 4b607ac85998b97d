"""What a network saw of each person lately, and what it answered.

A sighting is one person in one image. The sightings of a person form a window that moves on;
each run of the network over a window answers all its sightings again, and the answers are
blended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.estimators.options import Overlap
from smap_ros.estimators.persons.crops import Crop

Float = NDArray[np.float32]


@dataclass(eq=False)
class Sighting:
    """One person in one image.

    Attributes:
        number: of the image.
        stamp: of the image, seconds.
        person: as the first stage found them, with an identity.
        crop: what the network saw.
        tokens: what the first part of the network made of it, float32 [P, C].
        answer: arrays by name, what windows said of it; empty when none was run yet.
    """

    number: int
    stamp: float
    person: Body
    crop: Crop
    tokens: Float
    answer: dict[str, Float] = field(default_factory=dict)
    _weight: float = 0.0

    def learn(self, answer: Mapping[str, Float], weight: float, overlap: Overlap) -> None:
        """Take another answer, from a place in a window that is worth ``weight``."""
        if overlap == "centre":
            if weight >= self._weight:
                self.answer = {name: np.array(value) for name, value in answer.items()}
                self._weight = weight
            return
        self._weight += weight
        share = np.float32(weight / self._weight)
        for name, value in answer.items():
            before = self.answer.get(name, value)
            self.answer[name] = before + share * (value - before)


class PersonWindow:
    """The last sightings of one person.

    Args:
        length: how many at most.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._sightings: deque[Sighting] = deque(maxlen=length)
        self._fresh = 0  # sightings since the last run

    def add(self, sighting: Sighting) -> None:
        """The newest sighting; the oldest one beyond the length is forgotten."""
        self._sightings.append(sighting)
        self._fresh += 1

    def at(self, number: int) -> Sighting | None:
        """The sighting in an image, if there is one."""
        return next((s for s in self._sightings if s.number == number), None)

    @property
    def last(self) -> Sighting:
        """The newest sighting."""
        return self._sightings[-1]

    def due(self, sighting: Sighting, stride: int) -> bool:
        """Whether the network is to be run before a sighting is reported."""
        return not sighting.answer or self._fresh >= stride

    def tokens(self) -> Float:
        """The network's input, float32 [1, length, P, C].

        A window that isn't full is mirrored at its end, as the official evaluation of MAED pads
        videos that are too short.
        """
        count = len(self._sightings)
        order = np.pad(np.arange(count), (0, self._length - count), mode="reflect")
        stacked: Float = np.stack([self._sightings[k].tokens for k in order])[None]
        return stacked

    def learn(self, answers: Mapping[str, Float], overlap: Overlap) -> None:
        """Take what the network said of the window.

        Args:
            answers: arrays [1, length, ...] by name.
            overlap: what to make of several answers to one sighting.
        """
        count = len(self._sightings)
        for k, sighting in enumerate(self._sightings):
            own = {name: array[0, k] for name, array in answers.items()}
            sighting.learn(own, min(k + 1, count - k), overlap)
        self._fresh = 0


class Windows:
    """The windows of everybody, by identity.

    Args:
        length: sightings in a window.
        memory: a window is dropped when its person was not seen for longer, seconds.
    """

    def __init__(self, length: int, memory: float) -> None:
        self._length, self._memory = length, memory
        self._windows: dict[int, PersonWindow] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, identity: int, sighting: Sighting) -> None:
        """A person was seen."""
        window = self._windows.setdefault(identity, PersonWindow(self._length))
        window.add(sighting)

    def seen_in(self, number: int) -> Iterator[tuple[PersonWindow, Sighting]]:
        """The windows of those who were seen in an image, and their sightings there."""
        for window in self._windows.values():
            sighting = window.at(number)
            if sighting is not None:
                yield window, sighting

    def forget(self, reported: int, stamp: float) -> None:
        """Drop who was not seen lately and is in no image after the one reported last."""
        self._windows = {
            identity: window
            for identity, window in self._windows.items()
            if window.last.number > reported or stamp - window.last.stamp <= self._memory
        }

    def clear(self) -> None:
        """Forget everybody."""
        self._windows.clear()
