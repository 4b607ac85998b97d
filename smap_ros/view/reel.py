"""A recording that can be played: a bodies.json with its pictures, or a bag of the graph."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bags.people import RAW, SMOOTHED, last_part
from smap_ros.bags.reader import NANOSECONDS, open_bag
from smap_ros.bags.recording import Recording, health_of, read_recording
from smap_ros.bags.salvage import ReadableBag
from smap_ros.bags.topics import shared_parts
from smap_ros.bodies import BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.offline.earlier import by_source, of_picture, with_files
from smap_ros.offline.results import read_bodies
from smap_ros.sources import is_bag, is_camera, open_source
from smap_ros.view.spool import Image, Spool
from smap_ros.view.vitals import Vitals

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds that a frame is shown whose stamp doesn't tell when the next one comes
LONGEST = 5.0  # seconds; a longer gap in a recording isn't waited for
# By how much width to height of a picture may differ from its camera's: a wide film that is kept
# squeezed (16:9 in 4:3 or 5:4) is the same film still, an upright one is not.
SQUEEZED = 1.5

# What a frame was taken from: the name of the source, and the frame that it begins with, as two
# films may have one name.
Take = tuple[str, int]


@dataclass(frozen=True)
class Reel:
    """Recorded people, frame by frame.

    Attributes:
        name: of the recording.
        frames: in order; at least one.
        times: float64 [n], when each is shown, seconds from the first frame, ascending; long gaps
            are left out.
        spool: their pictures, by number of the frame.
        vitals: of the graph, as (seconds on the clock of the frames' stamps, node by node),
            ascending; empty where not recorded.
        predicted: of each person of each frame, whether they were only predicted; empty where not
            recorded.
    """

    name: str
    frames: Sequence[BodyFrame]
    times: NDArray[np.float64]
    spool: Spool
    vitals: Sequence[tuple[float, Vitals]] = field(default=())
    predicted: Sequence[Sequence[bool]] = ()

    @cached_property
    def takes(self) -> Sequence[Take]:
        """Of each frame, what it was taken from."""
        return takes(self.frames)

    def time_at(self, number: int) -> float:
        """Seconds into its film that a frame was taken at; of a single picture, as it is shown."""
        frame = self.frames[number]
        single = of_picture(frame.source) and self.takes.count(self.takes[number]) == 1
        return float(self.times[number]) if single else frame.stamp

    def predicted_at(self, number: int) -> Sequence[bool]:
        """Of each person of a frame, whether they were only predicted; () for nobody."""
        return self.predicted[number] if self.predicted else ()

    def vitals_at(self, number: int) -> list[Vitals]:
        """What each node last said of itself before a frame, or first, by name."""
        first: dict[str, Vitals] = {}
        for _, vitals in self.vitals:
            first.setdefault(vitals.node, vitals)
        end = bisect_right([time for time, _ in self.vitals], self.frames[number].stamp)
        last = {vitals.node: vitals for _, vitals in self.vitals[:end]}
        return [(first | last)[node] for node in sorted(first)]

    def before(self, number: int, seconds: float) -> Sequence[BodyFrame]:
        """The frames of the same source in the seconds up to a frame, itself included."""
        first = int(np.searchsorted(self.times, self.times[number] - seconds))
        taken = self.takes[number]
        there = zip(self.frames[first : number + 1], self.takes[first : number + 1], strict=True)
        return [frame for frame, take in there if take == taken]


def takes(frames: Sequence[BodyFrame]) -> list[Take]:
    """Of each frame, what it was taken from: its source, or the film that its picture is of."""
    found: list[Take] = []
    for group in by_source(frames):
        found += [(group[0].source, len(found))] * len(group)
    return found


def frame_times(frames: Sequence[BodyFrame]) -> NDArray[np.float64]:
    """When each frame is shown, float64 [n], seconds from the first; strictly ascending.

    Stamps tell within a source; single pictures, and the first of another source, wait a while.
    """
    taken = takes(frames)
    steps = [0.0]
    for k in range(1, len(frames)):
        step = frames[k].stamp - frames[k - 1].stamp
        ordered = taken[k] == taken[k - 1] and step > 0
        steps.append(min(step, LONGEST) if ordered else PAUSE)
    return np.cumsum(steps)


@contextmanager
def open_reel(path: Path, images: Path | None = None, topic: str | None = None) -> Iterator[Reel]:
    """A recording for playing.

    Args:
        path: a bodies.json, a folder with one, or a bag.
        images: where the pictures of a bodies.json are, if not beside it: a video, a folder, a
            bag.
        topic: image topic of a bag, be it the recording or the pictures; None takes the images
            that people were found in.

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
        elif topic is not None and (images is None or not is_bag(images)):
            of = path if images is None else images
            raise InputError(f"a topic ({topic}) is only for ROS bags; {of} isn't one")
        elif path.is_file():
            reel = _json_reel(path, images, topic)
        else:
            raise InputError(
                f"{path} is no recording; expected a bodies.json as `smap-ros estimate` writes it, "
                "a folder with one, or a ROS bag"
            )
        stack.callback(reel.spool.close)
        yield reel


def _bag_reel(path: Path, name: str, image_topic: str | None) -> Reel:
    recording = read_recording(path, image_topic)
    topic = _published(recording)
    people = {} if topic is None else recording.people[topic].bodies
    counted = sorted(people)
    stamps = [recording.image_stamps[index] for index in counted]
    if topic is None or not stamps:
        raise InputError(
            f"bag {path} has images, but no people of them (bodies or bodies_raw); find them with "
            f"`smap-ros estimate {path} --out DIR`, then `smap-ros view DIR`"
        )
    frames = [
        BodyFrame(people[n], recording.camera, (stamp - stamps[0]) / NANOSECONDS, "", name, k)
        for k, (n, stamp) in enumerate(zip(counted, stamps, strict=True))
    ]
    with open_bag(path) as reader:
        vitals = [
            ((arrived - stamps[0]) / NANOSECONDS, Vitals.from_status(status))
            for arrived, status in health_of(reader)
        ]
    number = {index: k for k, index in enumerate(counted)}
    pictures = ((number[frame.index], image) for image, frame in recording.frames(topic))
    predicted = [recording.people[topic].predicted[index] for index in counted]
    return Reel(name, frames, frame_times(frames), Spool(pictures), vitals, predicted)


def _published(recording: Recording) -> str | None:
    """The name of the people to show: smoothed where there are some; None without any."""
    for kind in (SMOOTHED, RAW):
        alike = [t for t in recording.named_topics if last_part(t) == kind]
        if alike:
            best = max(alike, key=lambda topic: shared_parts(topic, recording.topic))
            if len(alike) > 1:
                log.warning("people are on %s: showing %s", " and ".join(alike), best)
            for told in recording.people[recording.named_topics[best]].problems:
                log.warning("%s", told)
            return recording.named_topics[best]
    return None


def _json_reel(path: Path, images: Path | None, topic: str | None) -> Reel:
    if images is not None:
        images = images.absolute()  # a folder's name such as "0" alone would be a camera's
        if not images.exists():
            raise InputError(f"--images {images} doesn't exist; expected a video, folder or bag")
        if not (images.is_file() or images.is_dir()):
            raise InputError(f"--images {images} is a device; expected a video, folder or bag")
    frames = read_bodies(path)
    if not frames:
        raise InputError(f"{path} has no frames; there is nothing to show")
    pictures = _pictures(frames, path.parent, images, topic)
    return Reel(path.parent.name or path.name, frames, frame_times(frames), Spool(pictures))


def _pictures(
    frames: Sequence[BodyFrame],
    folder: Path,
    images: Path | None = None,
    topic: str | None = None,
) -> Iterator[tuple[int, Image]]:
    """Numbers of the frames with their pictures, as far as these are found.

    The originals, where they are: at ``images``, or beside the file under the name of the source;
    else the annotated pictures that the same run has left.
    """
    start = 0
    for group, file in with_files(frames):
        members = list(enumerate(group, start))
        start += len(group)
        name, left = group[0].source, folder / file
        if not of_picture(name):
            found = _of_name(members, name, folder, images, topic)
        else:
            found = _singles(members, folder, images, topic, left)
        first = next(found, None)
        if first is None:
            found = _annotated(members, left)
        else:
            yield first
        yield from found


def _of_name(
    members: Sequence[tuple[int, BodyFrame]],
    name: str,
    folder: Path,
    images: Path | None,
    topic: str | None,
) -> Iterator[tuple[int, Image]]:
    """The pictures of frames of a video or a bag."""
    original = images or _beside(name, folder)
    if original is not None:
        # Without it, a bag of several cameras would give the pictures of any of them.
        topic = topic or _topic_in(original, _bag_topic(name)[1])
        yield from _of_source(original, _by_index(members), topic)


def _by_index(members: Sequence[tuple[int, BodyFrame]]) -> dict[int, tuple[int, Camera]]:
    """By their index in the film: number and camera of the frames."""
    return {frame.index: (number, frame.camera) for number, frame in members}


def _bag_topic(name: str) -> tuple[str, str]:
    """The bag and the topic that a source names; the topic is empty of other sources."""
    file, colon, topic = name.rpartition(":")
    told = bool(colon) and topic.startswith("/") and "://" not in name
    return (file, topic) if told else (name, "")


def _topic_in(path: Path, topic: str) -> str | None:
    """The topic, if a bag has it: that which people were found in may be another bag's."""
    if not (topic and is_bag(path)):
        return None
    with closing(ReadableBag(path)) as bag, open_bag(bag.path) as reader:
        return topic if topic in reader.topics else None


def _annotated(members: Sequence[tuple[int, BodyFrame]], left: Path) -> Iterator[tuple[int, Image]]:
    """The pictures that a run left of the frames of a film."""
    if left.suffix == ".mp4" and left.is_file():
        counted = {k: (number, frame.camera) for k, (number, frame) in enumerate(members)}
        yield from _of_source(left, counted)


def _beside(name: str, folder: Path) -> Path | None:
    """A source by its name: beside the results, above them, or where the user stands.

    Only files and folders, and by the last part of the name: a bodies.json that somebody sent may
    name any file of this machine, and that of a live camera names the device.
    """
    if "://" in name:
        return None
    for place in _places(_bag_topic(name)[0], folder):
        if (place.is_file() or place.is_dir()) and not is_camera(str(place)):
            return place
    return None


def _places(name: str, folder: Path) -> list[Path]:
    """Where a file may be that a bodies.json names."""
    file = Path(name).name
    if not file or file == ".." or "\0" in file:
        return []
    # Absolute, as a name such as "0" alone would be a camera's.
    return [base.absolute() / file for base in (folder, folder.parent, Path())]


def _of_source(
    path: Path, members: Mapping[int, tuple[int, Camera]], topic: str | None = None
) -> Iterator[tuple[int, Image]]:
    """The pictures of a video, folder or bag, by the number of the frame that has its index.

    None of another film: of one whose pictures can't be of the frames' camera. Where people were
    found in pictures of several shapes, those that can't are left out.
    """
    last = max(members)
    several = len({camera.width / camera.height for _, camera in members.values()}) > 1
    told = False
    with closing(open_source(str(path), topic=topic if is_bag(path) else None)) as source:
        for frame in source:
            if frame.index in members:
                number, camera = members[frame.index]
                if _fits(frame.image, camera):
                    yield number, frame.image
                elif not told:
                    told = True
                    _tell_of_another(frame.image, camera, path)
                if told and not several:
                    return
            if frame.index >= last:
                break


def _fits(image: Image, camera: Camera) -> bool:
    """Whether a picture may be of a camera, by its shape."""
    height, width = image.shape[:2]
    ratio = width / height / (camera.width / camera.height)
    return bool(1 / SQUEEZED < ratio < SQUEEZED)


def _tell_of_another(image: Image, camera: Camera, path: Path) -> None:
    height, width = image.shape[:2]
    log.warning(
        "pictures of %s are not shown: they are %dx%d, the camera's are %dx%d; state the film that "
        "people were found in with --images",
        *(path, width, height, camera.width, camera.height),
    )


def _singles(
    members: Sequence[tuple[int, BodyFrame]],
    folder: Path,
    images: Path | None,
    topic: str | None,
    left: Path,
) -> Iterator[tuple[int, Image]]:
    """The pictures of frames that each name a file, or else the one that their run left."""
    if images is not None and (is_bag(images) or images.is_file()) and not of_picture(images.name):
        yield from _of_source(images, _by_index(members), topic)
        return
    for number, frame in members:
        place = _single(frame.source, folder, images, left)
        if place is None:
            continue
        try:
            shown = [*open_source(str(place))]
        except InputError as error:  # which leaves the others
            log.warning("the picture of frame %d is not shown: %s", number, error)
            continue
        for one in shown:
            if _fits(one.image, frame.camera):
                yield number, one.image
            else:
                _tell_of_another(one.image, frame.camera, place)


def _single(name: str, folder: Path, images: Path | None, left: Path) -> Path | None:
    """Where the picture of a name is: the original, or the one that its run left."""
    stated = [] if images is None else [images / Path(name).name, images]
    places = [*stated, *_places(name, folder), *([left] if left.suffix == ".jpg" else [])]
    return next((place for place in places if place.is_file()), None)
