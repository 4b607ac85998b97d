"""ROS bags (rosbag2 in sqlite3 or MCAP, ROS 1), read without ROS."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_typestore

from smap_ros.bags.messages import image_from_message
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.sources.base import Frame

LOG = logging.getLogger(__name__)

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

# Topics that are pictures, but not a camera's colour image.
_NOT_COLOUR = ("depth", "disparity", "infra", "mask", "annotated", "debug", "thermal")
_ERRORS = (AnyReaderError, ReaderError, SerdeError, TypesysError, OSError, ValueError, KeyError)


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A bag, open for reading.

    Raises:
        InputError: if it can't be opened.
    """
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except _ERRORS as error:
        raise InputError(
            f"{path} can't be opened as a ROS bag: {error}. A rosbag2 is a folder with "
            "metadata.yaml (`ros2 bag reindex` rebuilds it)"
        ) from error
    try:
        yield reader
    finally:
        reader.close()


class BagSource:
    """The images of one topic, each with the last CameraInfo before it.

    Images that can't be decoded are skipped with a warning; a bag that is damaged gives the
    images before the damage, then a warning.

    Args:
        path: the bag's folder, or its ``.mcap``, ``.db3`` or ``.bag`` file.
        topic: image topic; None picks the colour topic with a calibration and most images.

    Raises:
        InputError: if the bag can't be opened or has no such topic.
    """

    live = False
    moving = True

    def __init__(self, path: Path, topic: str | None = None) -> None:
        # A file of a rosbag2 needs the metadata that lie beside it.
        inside = path.suffix in (".mcap", ".db3") and (path.parent / "metadata.yaml").is_file()
        self._path = path.parent if inside else path
        with open_bag(self._path) as reader:
            self._image = _pick_topic(reader, topic, self._path)
            info = _camera_info_topic(reader, self._image.topic)
            seconds = (reader.end_time - reader.start_time) * 1e-9
        self._info = info.topic if info else None
        self.calibrated = info is not None
        self.name = f"{self._path.name}:{self._image.topic}"
        self.count: int | None = self._image.msgcount
        self.rate: float | None = (
            (self.count - 1) / seconds if self.count and self.count > 1 and seconds > 0 else None
        )

    def __iter__(self) -> Iterator[Frame]:
        index = -1
        try:
            with open_bag(self._path) as reader:
                camera = self._first_camera(reader)
                wanted = [
                    c for c in reader.connections if c.topic in (self._image.topic, self._info)
                ]
                for connection, time, raw in reader.messages(connections=wanted):
                    message: Any = reader.deserialize(raw, connection.msgtype)
                    if connection.topic == self._info:
                        camera = _camera(message) or camera
                        continue
                    index += 1
                    image = self._decode(message, index)
                    if image is not None:
                        stamp = _stamp(message) or time * 1e-9
                        frame_id = message.header.frame_id
                        yield Frame(image, camera, stamp, index, self.name, frame_id)
        except _ERRORS as error:
            if index < 0:
                raise InputError(f"bag {self._path} can't be read: {error}") from error
            LOG.warning("bag %s is damaged after %d images: %s", self._path, index + 1, error)

    def close(self) -> None:
        """Nothing is held open between iterations."""

    def _first_camera(self, reader: AnyReader) -> Camera | None:
        """The first calibration: an image may come just before it."""
        connections = [c for c in reader.connections if c.topic == self._info]
        if not connections:
            return None
        for connection, _, raw in reader.messages(connections=connections):
            return _camera(reader.deserialize(raw, connection.msgtype))
        return None

    def _decode(self, message: Any, index: int) -> NDArray[np.uint8] | None:
        try:
            return image_from_message(message)
        except InputError as error:
            LOG.warning("image %d of %s is skipped: %s", index, self.name, error)
            return None


def _pick_topic(reader: AnyReader, topic: str | None, path: Path) -> Connection:
    images = [c for c in reader.connections if c.msgtype in (RAW, COMPRESSED)]
    names = ", ".join(sorted({c.topic for c in images})) or "none"
    if topic is not None:
        images = [c for c in images if c.topic.lstrip("/") == topic.lstrip("/")]
        if not images:
            raise InputError(f"bag {path} has no image topic {topic!r}; it has {names}")
        return images[0]
    if not images:
        raise InputError(
            f"bag {path} has no images; expected a topic of type {RAW} or {COMPRESSED}, it has "
            + (", ".join(sorted({c.topic for c in reader.connections})) or "no topics")
        )

    def preference(connection: Connection) -> tuple[bool, bool, int, bool, str]:
        colour = not any(word in connection.topic.lower() for word in _NOT_COLOUR)
        calibrated = _camera_info_topic(reader, connection.topic) is not None
        raw = connection.msgtype == RAW
        return not colour, not calibrated, -connection.msgcount, not raw, connection.topic

    best = min(images, key=preference)
    if len({c.topic for c in images}) > 1:
        LOG.info("%s: reading topic %s of %s; choose with --topic", path, best.topic, names)
    return best


def _camera_info_topic(reader: AnyReader, image_topic: str) -> Connection | None:
    """``camera_info`` beside the image topic, where ROS drivers publish it."""
    base = image_topic.removesuffix("/compressed")
    sibling = f"{base.rpartition('/')[0]}/camera_info"
    for connection in reader.connections:
        if connection.msgtype == CAMERA_INFO and connection.topic in (
            sibling,
            f"{base}/camera_info",
        ):
            return connection
    return None


def _camera(message: Any) -> Camera | None:
    """The calibration of a CameraInfo; None (and a warning) if it is empty."""
    k = getattr(message, "k", None)
    d = getattr(message, "d", None)
    try:
        # ROS 1 spells the fields in capitals.
        return Camera.from_matrix(
            message.width,
            message.height,
            message.K if k is None else k,
            message.D if d is None else d,
            message.distortion_model,
        )
    except CameraError as error:
        LOG.warning("the bag's CameraInfo is not used: %s", error)
        return None


def _stamp(message: Any) -> float:
    stamp = message.header.stamp
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9
