"""What a graph left in a bag: images and their people put together again, without ROS."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from smap_ros.bags.messages import body_from_message, image_from_message
from smap_ros.bags.reader import NANOSECONDS, READ_ERRORS, open_bag, raw_header, stamp_ns
from smap_ros.bags.topics import (
    CAMERA_INFO,
    ImageTopic,
    choose_topic,
    image_topics,
    preferred,
    say_others,
    shared_parts,
)
from smap_ros.bodies import Body, BodyFrame
from smap_ros.calibration import CameraInfos, Rectification, rectification
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.images import BitDepth
from smap_ros.skeletons import get_skeleton
from smap_ros.stamps import belong_together

LOG = logging.getLogger(__name__)

BODIES = "smap_ros/msg/BodyArray"
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
        bodies: by topic name (the last part): stamp -> people.
        predicted: by topic name: stamp -> of each of these people, whether they were only
            predicted.
        latency_ms: by topic name: milliseconds from the image's stamp to the arrival of its
            message at the recorder, where stamps and its clock belong together.
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
    bodies: dict[str, dict[int, tuple[Body, ...]]] = field(default_factory=dict)
    predicted: dict[str, dict[int, tuple[bool, ...]]] = field(default_factory=dict)
    latency_ms: dict[str, list[float]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    detector: str = ""

    @property
    def processed(self) -> list[int]:
        """Stamps of the images whose people were found (or found absent)."""
        raw = self.bodies.get("bodies_raw", {})
        return [stamp for stamp in self.image_stamps if stamp in raw]

    @property
    def seconds(self) -> float:
        """From the first to the last processed image."""
        stamps = self.processed
        return (stamps[-1] - stamps[0]) / NANOSECONDS if len(stamps) > 1 else 0.0

    def node(self, name: str) -> dict[str, str]:
        """The diagnostic values of the node of that name which is nearest to the images."""
        found = (values for node, values in self.diagnostics.items() if node.split("/")[-1] == name)
        return next(found, {})

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
            topic: ``bodies`` or ``bodies_raw``.
            source: name of the frames' source; the bag's by default.
            rate: images per second, for stamps as in the original; None takes the times at
                which they were shown. Both count from the first image.
            predicted: whether those who were only predicted are among the people.
        """
        people = self._people(topic, predicted)
        start = self.image_stamps[0] if self.image_stamps else 0
        for index, message, image in self._pictures(people):
            stamp = stamp_ns(message)
            yield (
                image,
                BodyFrame(
                    bodies=people[stamp],
                    camera=self.camera,
                    stamp=index / rate if rate else (stamp - start) / NANOSECONDS,
                    frame_id=message.header.frame_id,
                    source=source or self.path.name,
                    index=index,
                    # People who were smoothed don't err as the network does.
                    detector=self.detector if topic == "bodies_raw" else "",
                ),
            )

    def _people(self, topic: str, predicted: bool) -> dict[int, tuple[Body, ...]]:
        """The people by stamp, with those who were only predicted or without."""
        people = self.bodies.get(topic, {})
        if predicted:
            return people
        flags = self.predicted.get(topic, {})
        return {
            stamp: tuple(body for body, guess in zip(found, flags[stamp], strict=True) if not guess)
            for stamp, found in people.items()
        }

    def _pictures(self, wanted: Collection[int]) -> Iterator[tuple[int, Any, NDArray[np.uint8]]]:
        """Number, message and picture of each image that counts and has one of these stamps."""
        # A stuck driver gives several images one stamp, of which each has its number.
        numbers: defaultdict[int, deque[int]] = defaultdict(deque)
        for k, stamp in enumerate(self.image_stamps):
            if stamp in wanted:
                numbers[stamp].append(k)
        depth = BitDepth()
        with open_bag(self.path) as reader:
            for _, message in _messages(reader, self.topic):
                waiting = numbers.get(stamp_ns(message))
                if not waiting:
                    continue
                index = waiting.popleft()
                try:
                    image = image_from_message(message, depth)
                except InputError as error:
                    LOG.warning("image %d of %s is skipped: %s", index, self.topic, error)
                    continue
                yield index, message, image


def read_recording(
    path: Path, image_topic: str | None = None, rectified: str = "auto"
) -> Recording:
    """Read everything but the pictures of a bag that a graph and its camera left.

    Args:
        path: of the bag.
        image_topic: topic of the images; None takes those that people were found in.
        rectified: whether they were rectified: ``auto``, ``yes`` or ``no``.

    Raises:
        InputError: if the bag can't be read, or has no such images or no calibration of them.
        CameraError: if the calibration is unusable.
    """
    with open_bag(path) as reader:
        topic = _image_topic(reader, image_topic, path)
        if not topic.info:
            infos = sorted({c.topic for c in reader.connections if c.msgtype == CAMERA_INFO})
            raise InputError(
                f"bag {path} has no CameraInfo that belongs to {topic.name}; it has "
                f"{', '.join(infos) or 'none'}. Expected camera_info beside the images, or of "
                f"their frame {topic.frame!r}"
            )
        stamps, size = _image_stamps(reader, topic)
        if not stamps:
            raise InputError(f"bag {path} has no images on {topic.name}")
        decision = rectification(rectified, topic.name, topic.info)
        camera, source = _camera(reader, topic, stamps, size, decision)
        recording = Recording(path, topic.name, camera, source, stamps)
        _read_bodies(reader, recording, topic)
        _read_diagnostics(reader, recording, topic)
        recording.detector = _detector(reader, topic)
    return recording


def _image_topic(reader: AnyReader, wanted: str | None, path: Path) -> ImageTopic:
    """The topic asked for, or that whose images people were found in."""
    if wanted is not None:
        return choose_topic(reader, wanted, path)
    seen = {topic.name: topic for topics in _images_of_people(reader).values() for topic in topics}
    if not seen:
        return choose_topic(reader, None, path)
    best = preferred(seen.values())
    say_others(path, best, [topic for topic in seen.values() if topic.base != best.base])
    return best


def _images_of_people(reader: AnyReader) -> dict[str, list[ImageTopic]]:
    """Of each topic of people, the images that they were found in.

    These have the people's frames and stamps. Cameras that fire together may have both in common:
    then it is those with the most in common in their names.
    """
    cameras = [topic for topic in image_topics(reader) if topic.camera]
    images = {topic.name: _headers(reader, topic.name) for topic in cameras}
    found = {}
    for name in _people(reader):
        headers = _headers(reader, name)
        seen = [topic for topic in cameras if headers & images[topic.name]]
        near = [shared_parts(topic.name, name) for topic in seen]
        found[name] = [topic for topic, k in zip(seen, near, strict=True) if k == max(near)]
    return found


def _headers(reader: AnyReader, topic: str) -> set[tuple[int, str]]:
    """Stamp and frame of each message of a topic."""
    connections = [c for c in reader.connections if c.topic == topic]
    headers: set[tuple[int, str] | None] = set()
    with suppress(*READ_ERRORS):  # damage, which is told where the messages are read
        for connection, _, raw in reader.messages(connections=connections):
            headers.add(raw_header(reader, connection.msgtype, raw))
    return {header for header in headers if header is not None}


def _people(reader: AnyReader) -> list[str]:
    """Topics of people that something came on."""
    return sorted({c.topic for c in reader.connections if c.msgtype == BODIES and c.msgcount})


def _camera(
    reader: AnyReader,
    topic: ImageTopic,
    stamps: list[int],
    size: tuple[int, int] | None,
    decision: Rectification,
) -> tuple[Camera, str]:
    """The camera of the first image of the topic, and where it is known from."""
    infos = CameraInfos()
    for _, message in _messages(reader, topic.info):
        infos.take(message)
    try:
        calibration = infos.calibration(topic.frame, stamps[0] / NANOSECONDS, any_frame=True)
        camera = calibration.camera(size, decision.rectified)
    except CameraError as error:
        raise CameraError(f"{topic.info} of {topic.name}: {error}") from error
    return camera, f"{topic.info}, {decision.describe(calibration)}"


def _read_bodies(reader: AnyReader, recording: Recording, images: ImageTopic) -> None:
    """The people that were found in the images."""
    wanted = set(recording.image_stamps)
    for topic, found_in in _images_of_people(reader).items():
        if images.base not in [other.base for other in found_in]:
            continue
        name = topic.rpartition("/")[2]
        people = recording.bodies.setdefault(name, {})
        predicted = recording.predicted.setdefault(name, {})
        latency = recording.latency_ms.setdefault(name, [])
        for arrived, message in _messages(reader, topic):
            stamp = stamp_ns(message)
            skeleton = get_skeleton(message.skeleton)
            people[stamp] = tuple(body_from_message(body, skeleton) for body in message.bodies)
            predicted[stamp] = tuple(bool(body.predicted) for body in message.bodies)
            # None of a replay with the stamps of its recording.
            if stamp in wanted and belong_together((arrived - stamp) / NANOSECONDS):
                latency.append((arrived - stamp) * 1e-6)


def health_of(reader: AnyReader) -> Iterator[tuple[int, Any]]:
    """Arrival (nanoseconds) and DiagnosticStatus of all that the nodes of a bag said."""
    topics = {c.topic for c in reader.connections if c.msgtype == _DIAGNOSTICS}
    for topic in sorted(topics):
        for arrived, message in _messages(reader, topic):
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
    said = [message for _, message in _messages(reader, nearest)]
    return str(getattr(said[-1], "model_sha256", "")) if said else ""  # of bags from before: none


def may_be_shown_again(first_ns: int, later_ns: int) -> bool:
    """Whether the same picture may be a bag's first image, which cameras show until one answers."""
    return later_ns == first_ns or later_ns - first_ns >= SHOWN_AGAIN


def _image_stamps(reader: AnyReader, topic: ImageTopic) -> tuple[list[int], tuple[int, int] | None]:
    """Stamps of the images, and width and height, if one can be decoded.

    Of an image that was shown several times at the start, the last stamp counts. A picture that
    stays the same, as in a simulation where nothing moves, is an image each time.
    """
    stamps: list[int] = []
    first: bytes | None = None
    size: tuple[int, int] | None = None
    for _, message in _messages(reader, topic.name):
        data, stamp = bytes(message.data), stamp_ns(message)
        again = len(stamps) == 1 and may_be_shown_again(stamps[0], stamp)
        if again and data == first:
            stamps[0] = stamp
            continue
        if not stamps:
            first = data
        stamps.append(stamp)
        if size is None:
            with suppress(InputError):  # a picture that can't be decoded
                height, width = image_from_message(message).shape[:2]
                size = (width, height)
    return stamps, size


def _messages(reader: AnyReader, topic: str) -> Iterator[tuple[int, Any]]:
    """Arrival (nanoseconds) and message, for all of a topic, or those before it is damaged."""
    connections = [c for c in reader.connections if c.topic == topic]
    if not topic or not connections:
        return
    read = 0
    try:
        for connection, arrived, raw in reader.messages(connections=connections):
            yield arrived, reader.deserialize(raw, connection.msgtype)
            read += 1
    except READ_ERRORS as error:
        LOG.warning("%s is damaged after %d messages: %s", topic, read, error)
