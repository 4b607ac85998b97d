"""A recording that can be played: a bodies.json with its pictures, or a bag of the graph."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bags.reader import NANOSECONDS, open_bag
from smap_ros.bags.recording import health_of, read_recording
from smap_ros.bags.salvage import ReadableBag
from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.offline.results import read_bodies
from smap_ros.sources import IMAGE_SUFFIXES, is_bag, open_source
from smap_ros.view.spool import Image, Spool
from smap_ros.view.vitals import Vitals

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds that a frame is shown whose stamp doesn't tell when the next one comes
LONGEST = 5.0  # seconds; a longer gap in a recording isn't waited for


@dataclass(frozen=True)
class Reel:
    """Recorded people, frame by frame.

    Attributes:
        name: of the recording.
        frames: in order; at least one.
        times: float64 [n], seconds from the first frame, ascending.
        spool: their pictures, by number of the frame.
        vitals: of the graph, as (seconds, node by node), ascending; empty where not recorded.
    """

    name: str
    frames: Sequence[BodyFrame]
    times: NDArray[np.float64]
    spool: Spool
    vitals: Sequence[tuple[float, Vitals]] = field(default=())

    def vitals_at(self, number: int) -> list[Vitals]:
        """What each node last said of itself before a frame, or first, by name."""
        first: dict[str, Vitals] = {}
        for _, vitals in self.vitals:
            first.setdefault(vitals.node, vitals)
        end = bisect_right([time for time, _ in self.vitals], float(self.times[number]))
        last = {vitals.node: vitals for _, vitals in self.vitals[:end]}
        return [(first | last)[node] for node in sorted(first)]

    def before(self, number: int, seconds: float) -> Sequence[BodyFrame]:
        """The frames of the same source in the seconds up to a frame, itself included."""
        first = int(np.searchsorted(self.times, self.times[number] - seconds))
        source = self.frames[number].source
        return [frame for frame in self.frames[first : number + 1] if frame.source == source]


def frame_times(frames: Sequence[BodyFrame]) -> NDArray[np.float64]:
    """When each frame is shown, float64 [n], seconds from the first; strictly ascending.

    Stamps tell within a source; single pictures, and the first of another source, wait a while.
    """
    steps = [0.0]
    for before, frame in pairwise(frames):
        step = frame.stamp - before.stamp
        ordered = frame.source == before.source and step > 0
        steps.append(min(step, LONGEST) if ordered else PAUSE)
    return np.cumsum(steps)


@contextmanager
def open_reel(path: Path, images: Path | None = None, topic: str | None = None) -> Iterator[Reel]:
    """A recording for playing.

    Args:
        path: a bodies.json, a folder with one, or a bag.
        images: where the pictures of a bodies.json are, if not beside it: a video, a folder, a
            bag.
        topic: image topic of a bag; None takes the images that people were found in.

    Raises:
        InputError: if there is no such recording, it can't be read, or has no frames.
    """
    if path.is_dir() and (path / "bodies.json").is_file():
        path = path / "bodies.json"
    with ExitStack() as stack:
        if is_bag(path):
            if images is not None:
                raise InputError(f"--images {images} is for a bodies.json; {path} is a bag")
            bag = stack.enter_context(closing(ReadableBag(path)))
            if bag.note:
                log.warning("%s", bag.note)
            reel = _bag_reel(bag.path, path.name, topic)
        elif topic is not None:
            raise InputError(f"a topic ({topic}) is only for ROS bags; {path} isn't one")
        elif path.is_file():
            reel = _json_reel(path, images)
        else:
            raise InputError(
                f"{path} is no recording; expected a bodies.json as `smap-ros estimate` writes it, "
                "a folder with one, or a ROS bag"
            )
        stack.callback(reel.spool.close)
        yield reel


def _bag_reel(path: Path, name: str, image_topic: str | None) -> Reel:
    recording = read_recording(path, image_topic)
    topic = "bodies" if recording.bodies.get("bodies") else "bodies_raw"
    people = recording.bodies.get(topic, {})
    stamps = [stamp for stamp in recording.image_stamps if stamp in people]
    if not stamps:
        raise InputError(
            f"bag {path} has images, but no people of them (bodies or bodies_raw); find them with "
            f"`smap-ros estimate {path} --out DIR`, then `smap-ros view DIR`"
        )
    frames = [
        BodyFrame(people[stamp], recording.camera, (stamp - stamps[0]) / NANOSECONDS, "", name, k)
        for k, stamp in enumerate(stamps)
    ]
    with open_bag(path) as reader:
        vitals = [
            ((arrived - stamps[0]) / NANOSECONDS, Vitals.from_status(status))
            for arrived, status in health_of(reader)
        ]
    pictures = ((k, image) for k, (image, _) in enumerate(recording.frames(topic)))
    return Reel(name, frames, frame_times(frames), Spool(pictures), vitals)


def _json_reel(path: Path, images: Path | None) -> Reel:
    if images is not None and not images.exists():
        raise InputError(f"--images {images} doesn't exist; expected a video, a folder or a bag")
    frames = read_bodies(path)
    if not frames:
        raise InputError(f"{path} has no frames; there is nothing to show")
    pictures = _pictures(frames, path.parent, images)
    return Reel(path.parent.name or path.name, frames, frame_times(frames), Spool(pictures))


def _pictures(
    frames: Sequence[BodyFrame], folder: Path, images: Path | None
) -> Iterator[tuple[int, Image]]:
    """Numbers of the frames with their pictures, as far as these are found.

    The originals, where they are: at ``images``, or beside the file under the name of the source;
    else the annotated pictures that the same run has left.
    """
    numbered = list(enumerate(frames))
    for k, (name, group) in enumerate(groupby(numbered, key=lambda item: item[1].source)):
        members = {frame.index: number for number, frame in group}
        if Path(name).suffix.lower() in IMAGE_SUFFIXES:
            yield from _single(list(members.values()), name, folder, images)
            continue
        original = images or _beside(name, folder)
        if original is not None:
            yield from _of_source(original, members)
            continue
        annotated = [folder / f"annotated_{Path(name.partition(':')[0]).stem}.mp4"]
        annotated[:0] = [folder / "annotated.mp4"] if k == 0 else []
        there = next((file for file in annotated if file.is_file()), None)
        if there is not None:
            yield from _of_source(there, dict(enumerate(members.values())))


def _beside(name: str, folder: Path) -> Path | None:
    """A source by its name: beside the results, above them, or where the user stands."""
    file = name.partition(":")[0]
    places = [base / file for base in (folder, folder.parent, Path())] if file else []
    return next((place for place in places if place.exists()), None)


def _of_source(path: Path, members: Mapping[int, int]) -> Iterator[tuple[int, Image]]:
    """The pictures of a video, folder or bag, by the number of the frame that has its index."""
    source = open_source(str(path))
    last = max(members)
    for frame in source:
        if frame.index in members:
            yield members[frame.index], frame.image
        if frame.index >= last:
            break
    source.close()


def _single(
    numbers: Sequence[int], name: str, folder: Path, images: Path | None
) -> Iterator[tuple[int, Image]]:
    places = [images / name, images] if images is not None else []
    places += [folder / name, folder.parent / name, Path(name)]
    places += [folder / "annotated" / f"{Path(name).stem}.jpg"]
    for place in places:
        if place.is_file():
            for frame in open_source(str(place)):
                yield from ((number, frame.image) for number in numbers)
            return
