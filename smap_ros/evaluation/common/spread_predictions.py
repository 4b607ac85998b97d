"""A bundle's people in pictures, found by several processes or a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import (
    BundlePredictions,
    FolderPredictions,
    Key,
    Picture,
    open_predictions,
)
from smap_ros.spread import Tick, Workers, spread

_STILLS = 16  # pictures that a worker takes at a time


@dataclass(frozen=True)
class Reel:
    """Pictures that one worker looks at, one after the other.

    Attributes:
        pictures: in order.
        fps: of the film that they are; None for stills.
    """

    pictures: Sequence[Picture]
    fps: float | None = None


# Pictures as a worker has them: what the bundle is, and each picture's key with its people.
_Answer = tuple[str, list[tuple[Key, BodyFrame]]]


def reels_of(stills: Iterable[Picture]) -> list[Reel]:
    """Stills, some to a reel."""
    pictures = list(stills)
    return [Reel(pictures[k : k + _STILLS]) for k in range(0, len(pictures), _STILLS)]


class SpreadPredictions:
    """The people that workers find in each picture.

    Args:
        opener: gives the function of a reel, in each worker.
        reels: all pictures that will be asked for, in that order; others among them are passed
            over.
        workers: who works.
        spec: the bundle, as the user names it.
    """

    def __init__(
        self,
        opener: Callable[[], Callable[[Reel, Tick], _Answer]],
        reels: Sequence[Reel],
        workers: Workers,
        spec: str,
    ) -> None:
        self.description = spec
        self._frames = self._found(opener, reels, workers)

    def _found(
        self,
        opener: Callable[[], Callable[[Reel, Tick], _Answer]],
        reels: Sequence[Reel],
        workers: Workers,
    ) -> Generator[tuple[Key, BodyFrame], None, None]:
        with closing(spread(opener, reels, workers)) as answers:
            for self.description, frames in answers:
                yield from frames

    def film(self, pictures: Iterable[Picture], fps: float) -> None:
        """Nothing: the reels say so."""

    def of(self, picture: Picture) -> BodyFrame:
        """The next picture of that key."""
        for key, frame in self._frames:
            if key == picture.key:
                return frame
        raise RuntimeError(f"picture {picture.key} is asked for, but not next among the reels")

    def close(self) -> None:
        """End the workers."""
        self._frames.close()


def open_spread(
    spec: str, reels: Sequence[Reel], workers: Workers, threads: int, **choice: Any
) -> SpreadPredictions:
    """A bundle that workers run on reels.

    Args:
        spec: name or path of a bundle.
        reels: the pictures, see :class:`SpreadPredictions`.
        workers: who works.
        threads: of each; 0: all cores of this machine divided by the jobs, one on a cluster.
        choice: the others of :func:`~smap_ros.evaluation.common.predictions.open_predictions`.

    Raises:
        InputError: if it isn't a bundle.
    """
    path = Path(spec)
    if path.suffix == ".json" or FolderPredictions.found(path):
        raise InputError(f"--jobs and --ray share out a bundle's work; {spec} holds people already")
    if not threads:
        threads = 1 if workers.ray else max((os.cpu_count() or 1) // workers.jobs, 1)
    whole = str(path.resolve()) if path.exists() else spec  # workers may start elsewhere
    opener = partial(_opened, whole, threads=threads, **choice)
    return SpreadPredictions(opener, reels, workers, spec)


def _opened(spec: str, **choice: Any) -> Callable[[Reel, Tick], _Answer]:
    """What a worker does with a reel."""
    predictions = open_predictions(spec, **choice)
    assert isinstance(predictions, BundlePredictions)

    def look(reel: Reel, tick: Tick) -> _Answer:
        if reel.fps is not None:
            predictions.film(reel.pictures, reel.fps)
        found = [(picture.key, predictions.of(picture)) for picture in reel.pictures]
        return predictions.description, found

    return look
