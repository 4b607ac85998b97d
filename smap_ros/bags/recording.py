"""What a graph left in a bag: images and their people put together again, without ROS."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from smap_ros.bags.messages import image_from_message
from smap_ros.bags.people import (
    BODIES,
    RAW,
    People,
    images_of_people,
    last_part,
    matching,
    read_people,
    short_names,
)
from smap_ros.bags.reader import NANOSECONDS, open_bag, read_messages, stamp_ns
from smap_ros.bags.topics import (
    CAMERA_INFO,
    ImageTopic,
    choose_topic,
    preferred,
    say_others,
    shared_parts,
)
from smap_ros.bodies import Body, BodyFrame
from smap_ros.calibration import CameraInfos, Rectification, rectification
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.images import BitDepth

LOG = logging.getLogger(__name__)

_SKELETON_INFO = "smap_ros/msg/SkeletonInfo"
# The camera node shows its first image again when nobody has answered it for two seconds.
SHOWN_AGAIN = 1_900_000_000  # nanoseconds

_DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"


@dataclass
class Recording:
    """One camera of a bag, and what one run of the graph made of its images.

    Attributes:
        path: folder of the bag.
        topic: of the images.
        camera: calibration of the images.
        camera_source: where it is known from, and whether the images are rectified, for people.
        image_stamps: stamps of the images in order, nanoseconds; an image shown again at the
            start, while nobody was ready for it, counts once.
        again: how often the first of them was shown before under the stamp that counts.
        people: of these images, by name: the last part of their topic, or all of it where several
            topics end alike.
        elsewhere: topics of people of other images, with the names of these.
        diagnostics: by the node's full name: its last values. The nodes nearest to the images
            come first.
        detector: sha256 of the network that found ``bodies_raw``, where a latched SkeletonInfo
            says it; empty otherwise.
    """

    path: Path
    topic: str
    camera: Camera
    camera_source: str = ""
    image_stamps: list[int] = field(default_factory=list)
    again: int = 0
    people: dict[str, People] = field(default_factory=dict)
    elsewhere: dict[str, list[str]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    detector: str = ""

    @property
    def processed(self) -> list[int]:
        """Stamps of the images whose people were found (or found absent)."""
        raw = self._bodies(RAW)
        return [stamp for k, stamp in enumerate(self.image_stamps) if k in raw]

    @property
    def latency_ms(self) -> dict[str, list[float]]:
        """Milliseconds from images to the messages of their people, by name."""
        return {name: people.latency_ms for name, people in self.people.items()}

    @property
    def seconds(self) -> float:
        """From the first to the last processed image."""
        stamps = self.processed
        return (stamps[-1] - stamps[0]) / NANOSECONDS if len(stamps) > 1 else 0.0

    def node(self, name: str) -> dict[str, str]:
        """The diagnostic values of the node of that name which is nearest to the images."""
        found = (values for node, values in self.diagnostics.items() if node.split("/")[-1] == name)
        return next(found, {})

    @property
    def named_topics(self) -> dict[str, str]:
        """The names of all topics of people that something came on."""
        return {p.topic: name for name, p in self.people.items() if p.bodies or p.unclear}

    def named(self, wanted: str, besides: str = "") -> str:
        """The name of a topic of people.

        Args:
            wanted: the whole topic, or its last part where no other ends alike.
            besides: name of one that isn't meant.

        Raises:
            InputError: if nobody is there, or several end alike.
        """
        others = {topic: name for topic, name in self.named_topics.items() if name != besides}
        meant = matching(wanted, others)
        if len(meant) == 1:
            return others[meant[0]]
        if meant:
            raise InputError(
                f"bag {self.path} has people on {len(meant)} topics {wanted}: {', '.join(meant)}; "
                "state the whole name of one"
            )
        raise InputError(self._lacking(wanted, sorted(others.values()), besides))

    def _lacking(self, wanted: str, there: list[str], besides: str) -> str:
        """Why there is no such topic of people, for people."""
        for topic in matching(wanted, self.elsewhere):
            return (
                f"the people on {topic} of bag {self.path} are of "
                f"{' and '.join(self.elsewhere[topic])}, not of "
                f"{self.topic}; choose their images with --image-topic"
            )
        also = f" besides {self.people[besides].topic}" if besides else ""
        return (
            f"bag {self.path} has no people on topic {wanted}{also}; it has "
            f"{', '.join(there) or f'no messages of type {BODIES}'}{also}"
        )

    def frames(
        self,
        topic: str = "bodies",
        *,
        source: str = "",
        rate: float | None = None,
        predicted: bool = True,
    ) -> Iterator[tuple[NDArray[np.uint8], BodyFrame]]:
        """The processed images with their people, in order; indices count all images.

        Images that can't be decoded are skipped with a warning. One that was shown again under
        its stamp comes once, as it counts once.

        Args:
            topic: name of the people's, as in ``people``.
            source: name of the frames' source; the bag's by default.
            rate: images per second, for stamps as in the original; None takes the times at
                which they were shown. Both count from the first image.
            predicted: whether those who were only predicted are among the people.
        """
        people = self._bodies(topic, predicted)
        start = self.image_stamps[0] if self.image_stamps else 0
        for index, message, image in self._pictures(people):
            stamp = stamp_ns(message)
            yield (
                image,
                BodyFrame(
                    bodies=people[index],
                    camera=self.camera,
                    stamp=index / rate if rate else (stamp - start) / NANOSECONDS,
                    frame_id=message.header.frame_id,
                    source=source or self.path.name,
                    index=index,
                    # People who were smoothed don't err as the network does.
                    detector=self.detector if last_part(topic) == RAW else "",
                ),
            )

    def _bodies(self, topic: str, predicted: bool = True) -> Mapping[int, tuple[Body, ...]]:
        """The people by image, with those who were only predicted or without."""
        people = self.people.get(topic, People(topic))
        if predicted:
            return people.bodies
        return {
            index: tuple(
                body
                for body, guess in zip(found, people.predicted[index], strict=True)
                if not guess
            )
            for index, found in people.bodies.items()
        }

    def _pictures(self, wanted: Collection[int]) -> Iterator[tuple[int, Any, NDArray[np.uint8]]]:
        """Number, message and picture of each image that counts and has one of these numbers."""
        # A stuck driver gives several images one stamp, of which each has its number.
        numbers: defaultdict[int, deque[int]] = defaultdict(deque)
        for k, stamp in enumerate(self.image_stamps):
            numbers[stamp].append(k)
        if self.image_stamps:
            numbers[self.image_stamps[0]].extendleft([0] * self.again)
        depth = BitDepth()
        shown = self.again
        with open_bag(self.path) as reader:
            for _, message in read_messages(reader, self.topic):
                waiting = numbers.get(stamp_ns(message))
                if not waiting:
                    continue
                index = waiting.popleft()
                if index == 0 and shown:
                    shown -= 1
                    continue
                if index not in wanted:
                    continue
                try:
                    image = image_from_message(message, depth)
                except InputError as error:
                    LOG.warning("image %d of %s is skipped: %s", index, self.topic, error)
                    continue
                yield index, message, image


def read_recording(
    path: Path,
    image_topic: str | None = None,
    rectified: str = "auto",
    people: str | None = None,
) -> Recording:
    """Read everything but the pictures of a bag that a graph and its camera left.

    Args:
        path: of the bag.
        image_topic: topic of the images; None takes those that people were found in.
        rectified: whether they were rectified: ``auto``, ``yes`` or ``no``.
        people: topic of the people that count for this, or its last part; None: any.

    Raises:
        InputError: if the bag can't be read, or has no such images or no calibration of them.
        CameraError: if the calibration is unusable.
    """
    with open_bag(path) as reader:
        found = images_of_people(reader)
        topic = _image_topic(reader, image_topic, path, found, people)
        if not topic.info:
            infos = sorted({c.topic for c in reader.connections if c.msgtype == CAMERA_INFO})
            raise InputError(
                f"bag {path} has no CameraInfo that belongs to {topic.name}; it has "
                f"{', '.join(infos) or 'none'}. Expected camera_info beside the images, or of "
                f"their frame {topic.frame!r}"
            )
        stamps, again, size = _image_stamps(reader, topic)
        if not stamps:
            raise InputError(f"bag {path} has no images on {topic.name}")
        decision = rectification(rectified, topic.name, topic.info)
        camera, source = _camera(reader, topic, stamps, size, decision)
        recording = Recording(path, topic.name, camera, source, stamps, again)
        _read_people(reader, recording, topic, found)
        _read_diagnostics(reader, recording, topic)
        recording.detector = _detector(reader, topic)
    return recording


def images_of(path: Path, people: str) -> str:
    """The topic of the images that people were found in.

    Args:
        path: of the bag.
        people: their topic or its last part; where there is none, it is as of any people.

    Raises:
        InputError: if the bag can't be read, or has no images.
    """
    with open_bag(path) as reader:
        return _image_topic(reader, None, path, images_of_people(reader), people).name


def _image_topic(
    reader: AnyReader,
    wanted: str | None,
    path: Path,
    found: Mapping[str, Sequence[ImageTopic]],
    people: str | None,
) -> ImageTopic:
    """The topic asked for, or that whose images people were found in."""
    if wanted is not None:
        return choose_topic(reader, wanted, path)
    meant = found if people is None else matching(people, found) or found
    seen = {topic.name: topic for name in meant for topic in found[name]}
    if not seen:
        return choose_topic(reader, None, path)
    best = preferred(seen.values())
    say_others(path, best, [topic for topic in seen.values() if topic.base != best.base])
    return best


def _camera(
    reader: AnyReader,
    topic: ImageTopic,
    stamps: list[int],
    size: tuple[int, int] | None,
    decision: Rectification,
) -> tuple[Camera, str]:
    """The camera of the first image of the topic, and where it is known from."""
    infos = CameraInfos()
    for _, message in read_messages(reader, topic.info):
        infos.take(message)
    try:
        calibration = infos.calibration(topic.frame, stamps[0] / NANOSECONDS, any_frame=True)
        camera = calibration.camera(size, decision.rectified)
    except CameraError as error:
        raise CameraError(f"{topic.info} of {topic.name}: {error}") from error
    return camera, f"{topic.info}, {decision.describe(calibration)}"


def _read_people(
    reader: AnyReader,
    recording: Recording,
    images: ImageTopic,
    found: Mapping[str, Sequence[ImageTopic]],
) -> None:
    """The people that were found in the images, and where else there are some."""
    ours = []
    for topic, found_in in found.items():
        if images.base in [other.base for other in found_in]:
            ours.append(topic)
        elif found_in:
            recording.elsewhere[topic] = [other.name for other in found_in]
    for name, topic in short_names(ours).items():
        recording.people[name] = read_people(reader, topic, recording.image_stamps, recording.again)


def health_of(reader: AnyReader) -> Iterator[tuple[int, Any]]:
    """Arrival (nanoseconds) and DiagnosticStatus of all that the nodes of a bag said."""
    topics = {c.topic for c in reader.connections if c.msgtype == _DIAGNOSTICS}
    for topic in sorted(topics):
        for arrived, message in read_messages(reader, topic):
            yield from ((arrived, status) for status in message.status)


def _read_diagnostics(reader: AnyReader, recording: Recording, images: ImageTopic) -> None:
    """The last values of each node; of nodes of one name, those nearest to the images."""
    nodes: dict[str, dict[str, str]] = {}
    for _, status in health_of(reader):
        nodes[status.hardware_id] = {entry.key: entry.value for entry in status.values}

    def nearness(node: str) -> int:
        return shared_parts(images.name, "/" + node.lstrip("/"))

    recording.diagnostics = {
        node: nodes[node] for node in sorted(nodes, key=nearness, reverse=True)
    }


def _detector(reader: AnyReader, images: ImageTopic) -> str:
    """What the pose node nearest to the images last said of its network; empty if it didn't."""
    topics = {c.topic for c in reader.connections if c.msgtype == _SKELETON_INFO}
    nearest = max(sorted(topics), key=lambda name: shared_parts(images.name, name), default="")
    said = [message for _, message in read_messages(reader, nearest)]
    return str(getattr(said[-1], "model_sha256", "")) if said else ""  # of bags from before: none


def may_be_shown_again(first_ns: int, later_ns: int) -> bool:
    """Whether the same picture may be a bag's first image, which cameras show until one answers."""
    return later_ns == first_ns or later_ns - first_ns >= SHOWN_AGAIN


def _image_stamps(
    reader: AnyReader, topic: ImageTopic
) -> tuple[list[int], int, tuple[int, int] | None]:
    """Stamps of the images, how often the first was there before, and width and height.

    Of the first it is counted how often it was shown before under the stamp that counts; width and
    height are None if no image can be decoded.

    Of an image that was shown several times at the start, the last stamp counts. A picture that
    stays the same, as in a simulation where nothing moves, is an image each time.
    """
    stamps: list[int] = []
    before = 0
    first: bytes | None = None
    size: tuple[int, int] | None = None
    for _, message in read_messages(reader, topic.name):
        data, stamp = bytes(message.data), stamp_ns(message)
        again = len(stamps) == 1 and may_be_shown_again(stamps[0], stamp)
        if again and data == first:
            before = before + 1 if stamp == stamps[0] else 0
            stamps[0] = stamp
            continue
        if not stamps:
            first = data
        stamps.append(stamp)
        if size is None:
            with suppress(InputError):  # a picture that can't be decoded
                height, width = image_from_message(message).shape[:2]
                size = (width, height)
    return stamps, before, size
