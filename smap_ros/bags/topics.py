"""Which topic of a bag is the camera, and which calibration belongs to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from smap_ros.bags.reader import READ_ERRORS
from smap_ros.calibration.rectified import RECTIFIED_INFO, named_rectified
from smap_ros.errors import InputError

LOG = logging.getLogger(__name__)

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

# Words in the names of topics whose pictures are no camera's, or were drawn upon.
_NO_CAMERA = frozenset(
    ("annotated", "compresseddepth", "confidence", "depth", "disparity", "mask", "segmentation")
)
# Depth in metres or millimetres, disparities, labels.
_NO_PICTURE = ("16UC1", "32FC1", "64FC1", "16SC1", "32SC1")
# Pictures of a camera, but people are found more easily in colour.
_SECOND_CHOICE = ("debug", "infra", "thermal", "fisheye")


@dataclass(frozen=True)
class ImageTopic:
    """A topic of pictures.

    Attributes:
        name: of the topic.
        kind: type of its messages.
        count: how many there are.
        frame: frame of the first.
        info: topic of the calibration that belongs to it; empty when there is none.
        camera: whether these are pictures that a camera took.
    """

    name: str
    kind: str
    count: int
    frame: str = ""
    info: str = ""
    camera: bool = True

    @property
    def base(self) -> str:
        """The topic without what a transport adds to its name."""
        return self.name.removesuffix("/compressed").removesuffix("/compressedDepth")

    @property
    def namespace(self) -> str:
        """The camera's namespace: the topic without its last part."""
        return self.base.rpartition("/")[0]

    def describe(self) -> str:
        """For a list of topics to choose from."""
        notes = [f"{self.count} images", self.info or "no CameraInfo"]
        if not self.camera:
            notes = [f"{self.count} images", "no camera's"]
        return f"{self.name} ({', '.join(notes)})"


def image_topics(reader: AnyReader) -> list[ImageTopic]:
    """All topics of pictures, by name, each with its calibration."""
    first = _first_messages(reader)
    infos = {
        c.topic: _frame(first.get(c.topic)) for c in reader.connections if c.msgtype == CAMERA_INFO
    }
    found: dict[str, ImageTopic] = {}
    for connection in reader.connections:
        if connection.msgtype not in (RAW, COMPRESSED):
            continue
        name, message = connection.topic, first.get(connection.topic)
        count = connection.msgcount + (found[name].count if name in found else 0)
        topic = ImageTopic(name, connection.msgtype, count, _frame(message))
        info, camera = _info_of(topic, infos), _is_camera(name, message)
        found[name] = replace(topic, info=info, camera=camera)
    return [found[name] for name in sorted(found)]


def choose_topic(reader: AnyReader, wanted: str | None, path: Path) -> ImageTopic:
    """The topic to read.

    Args:
        reader: of the bag.
        wanted: name of the topic; None takes a camera's, in colour and calibrated where there is
            one, and says which others there are.
        path: of the bag, for people.

    Raises:
        InputError: if there is none.
    """
    topics = image_topics(reader)
    listed = ", ".join(topic.describe() for topic in topics) or "none"
    if wanted is not None:
        for topic in topics:
            if topic.name.lstrip("/") == wanted.lstrip("/"):
                return topic
        raise InputError(f"bag {path} has no image topic {wanted!r}; it has {listed}")
    if not topics:
        there = ", ".join(sorted({c.topic for c in reader.connections})) or "no topics"
        raise InputError(
            f"bag {path} has no images; expected a topic of type {RAW} or {COMPRESSED}, it has "
            f"{there}"
        )
    cameras = [topic for topic in topics if topic.camera]
    if not cameras:
        raise InputError(
            f"bag {path} has no images of a camera, only {listed}; --image-topic takes one anyway"
        )
    best = preferred(cameras)
    say_others(path, best, [topic for topic in cameras if topic.base != best.base])
    return best


def say_others(path: Path, best: ImageTopic, others: Sequence[ImageTopic]) -> None:
    """Tell people of a choice that was made for them."""
    if others:
        LOG.warning(
            "%s holds %d cameras' images: reading %s; also there: %s; choose with --image-topic",
            path,
            len(others) + 1,
            best.name,
            ", ".join(topic.describe() for topic in others),
        )


def preferred(topics: Iterable[ImageTopic]) -> ImageTopic:
    """The topic that is taken where nobody chooses."""

    def rank(topic: ImageTopic) -> tuple[bool, bool, bool, int, bool, str]:
        second = any(word in topic.name.lower() for word in _SECOND_CHOICE)
        beside = topic.info.rpartition("/")[0] in (topic.namespace, topic.base)
        raw = topic.kind == RAW
        return second, not topic.info, not beside, -topic.count, not raw, topic.name

    return min(topics, key=rank)


def _first_messages(reader: AnyReader) -> dict[str, Any]:
    """The first message of each topic of pictures and calibrations."""
    first: dict[str, Any] = {}
    for connection in reader.connections:
        if connection.msgtype in (RAW, COMPRESSED, CAMERA_INFO) and connection.topic not in first:
            try:
                for _, _, raw in reader.messages(connections=[connection]):
                    first[connection.topic] = reader.deserialize(raw, connection.msgtype)
                    break
            except READ_ERRORS as error:  # damage: whoever reads the topic says so
                LOG.debug("the first message of %s can't be read: %s", connection.topic, error)
    return first


def _frame(message: Any) -> str:
    return "" if message is None else str(message.header.frame_id)


def named_camera(name: str) -> bool:
    """Whether a topic's name is no other than that of pictures that a camera took."""
    return _NO_CAMERA.isdisjoint(re.split(r"[/_]", name.lower()))


def _is_camera(name: str, first: Any) -> bool:
    """Whether a topic's pictures were taken by a camera: by its name and its first message."""
    if not named_camera(name):
        return False
    encoding, form = getattr(first, "encoding", ""), getattr(first, "format", "")
    return encoding not in _NO_PICTURE and "compressedDepth" not in form


def _info_of(topic: ImageTopic, infos: dict[str, str]) -> str:
    """The calibration's topic: beside the image as drivers publish it, or else of its frame.

    Args:
        topic: of the images, without its calibration.
        infos: topics of calibrations, with the frame of the first of each.
    """
    names = ["camera_info", RECTIFIED_INFO]
    if named_rectified(topic.base):
        names.reverse()
    for place in (topic.namespace, topic.base):
        for name in names:
            if f"{place}/{name}" in infos:
                return f"{place}/{name}"
    same = [name for name, frame in infos.items() if frame and frame == topic.frame]
    nearest = sorted(same, key=lambda name: (-shared_parts(name, topic.name), name))
    return nearest[0] if nearest else ""


def shared_parts(one: str, other: str) -> int:
    """How many leading parts two names have in common."""
    pairs = list(zip(one.split("/"), other.split("/"), strict=False))
    return next((k for k, (a, b) in enumerate(pairs) if a != b), len(pairs))
