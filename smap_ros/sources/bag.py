"""The images of a ROS bag, each with its camera."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from smap_ros.bags.messages import image_from_message
from smap_ros.bags.reader import NANOSECONDS, READ_ERRORS, open_bag, stamp_ns
from smap_ros.bags.salvage import ReadableBag
from smap_ros.bags.topics import choose_topic
from smap_ros.bags.transforms import read_transforms
from smap_ros.calibration import CameraInfos, rectification
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.geometry.transforms import TransformTree
from smap_ros.images import BitDepth
from smap_ros.pictures import printable
from smap_ros.sources.base import Frame

LOG = logging.getLogger(__name__)


class BagSource:
    """The images of one topic, each with the camera that its CameraInfo states.

    Images that can't be decoded are skipped with a warning; a bag that is damaged gives the
    images before the damage, then a warning. Where the calibration is damaged, they come without.

    Args:
        path: the bag's folder, or its ``.mcap``, ``.db3`` or ``.bag`` file.
        topic: image topic; None picks that of a camera, see
            :func:`smap_ros.bags.topics.choose_topic`.
        rectified: whether the images were rectified: ``auto``, ``yes`` or ``no``.
        world_frame: of TF, with z up and 0 on the floor, that images' mountings are told in; empty:
            they aren't. Images whose mounting TF doesn't tell are left out, with a warning.

    Attributes:
        topic: the topic that is read.
        camera_source: where its camera is known from, and whether its images are rectified.
        damage: what the last reading found damaged, at most one line.
        unmounted: numbers of the images that the last reading left out for TF.
        why_unmounted: what was wrong at the first of them.

    Raises:
        InputError: if the bag can't be opened or has no such topic.
    """

    live = False
    moving = True
    problem = ""

    def __init__(
        self,
        path: Path,
        topic: str | None = None,
        rectified: str = "auto",
        world_frame: str = "",
    ) -> None:
        self.damage: list[str] = []
        self.unmounted: list[int] = []
        self.why_unmounted = ""
        self._bag = ReadableBag(path)
        if self._bag.note:
            LOG.warning("%s", self._bag.note)
        with open_bag(self._bag.path) as reader:
            self.topic = choose_topic(reader, topic, path)
            seconds = (reader.end_time - reader.start_time) / NANOSECONDS
            infos = self._stated(reader)
        self._world_frame = world_frame
        self._tree = self.transforms() if world_frame else None
        self._rectification = rectification(rectified, self.topic.name, self.topic.info)
        self._depth = BitDepth()
        self.calibrated = bool(self.topic.info)
        self.camera_source = self._camera_source(infos)
        self.name = printable(f"{self._bag.path.name}:{self.topic.name}")
        self.count: int | None = self.topic.count
        self.rate: float | None = (self.count - 1) / seconds if self.count > 1 and seconds else None

    def __iter__(self) -> Iterator[Frame]:
        index, self.unmounted = -1, []
        try:
            with open_bag(self._bag.path) as reader:
                infos, taken = self._first_infos(reader)
                for time, message in self._paired(reader, infos, taken):
                    index += 1
                    image = self._decode(message, index)
                    if image is not None:
                        yield from self._mounted(self._frame(image, message, infos, time, index))
        except READ_ERRORS as error:
            if index < 0:
                raise InputError(f"bag {self._bag.path} can't be read: {error}") from error
            text = f"bag {self._bag.path} is damaged after {index + 1} images: {error}"
            LOG.warning("%s", text)
            self.damage = [text]

    def transforms(self) -> TransformTree:
        """Everything that the bag has on TF."""
        return read_transforms(self._bag.path)

    def close(self) -> None:
        """Nothing is held open between iterations."""

    def _stated(self, reader: AnyReader) -> CameraInfos:
        """The first calibration; if it is damaged, the images go on without."""
        try:
            infos, _ = self._first_infos(reader)
        except READ_ERRORS as error:
            LOG.warning(
                "the calibration %s of %s is damaged: %s; the images are taken as uncalibrated",
                self.topic.info,
                printable(str(self._bag.path)),
                str(error).rstrip("."),
            )
            # Without it, as a message that can't be read would end the images.
            self.topic = replace(self.topic, info="")
            return CameraInfos()
        return infos

    def _first_infos(self, reader: AnyReader) -> tuple[CameraInfos, int]:
        """What is known up to the first calibration, and how many messages said it.

        Images may come before it, and a driver may start with K all zeros.
        """
        infos = CameraInfos()
        taken = 0
        for message in self._messages(reader, self.topic.info):
            taken += 1
            if any(infos.take(message).k):
                break
        return infos, taken

    def _camera_source(self, infos: CameraInfos) -> str:
        if infos.newest is None:
            return "no CameraInfo"
        source = f"{self.topic.info}, {self._rectification.describe(infos.newest)}"
        LOG.info("%s: camera of %s", self.topic.name, source)
        return source

    def _paired(
        self, reader: AnyReader, infos: CameraInfos, taken: int
    ) -> Iterator[tuple[int, Any]]:
        """Arrival and message of each image, once its calibration has been taken.

        The calibration of an image may be recorded right after it. The first ``taken`` are known.
        """
        waiting: tuple[int, Any] | None = None
        topics = (self.topic.name, self.topic.info)
        wanted = [c for c in reader.connections if c.topic in topics]
        for connection, time, raw in reader.messages(connections=wanted):
            message: Any = reader.deserialize(raw, connection.msgtype)
            if connection.topic == self.topic.info:
                taken -= 1
                if taken < 0:
                    infos.take(message)
                continue
            if waiting is not None:
                yield waiting
            waiting = time, message
        if waiting is not None:
            yield waiting

    def _messages(self, reader: AnyReader, topic: str) -> Iterator[Any]:
        connections = [c for c in reader.connections if topic and c.topic == topic]
        if connections:
            for connection, _, raw in reader.messages(connections=connections):
                yield reader.deserialize(raw, connection.msgtype)

    def _frame(
        self, image: NDArray[np.uint8], message: Any, infos: CameraInfos, time: int, index: int
    ) -> Frame:
        exact = stamp_ns(message) or time
        stamp = exact / NANOSECONDS
        frame_id = message.header.frame_id
        camera, problem = self._camera(image, frame_id, stamp, infos)
        return Frame(image, camera, stamp, index, self.name, frame_id, problem, exact_ns=exact)

    def _mounted(self, frame: Frame) -> Iterator[Frame]:
        """The image with its mounting, where it is asked for; nothing where TF doesn't tell it."""
        if self._tree is None:
            yield frame
            return
        try:
            mounting = self._tree.mounting(frame.frame_id, self._world_frame, frame.stamp)
        except CameraError as error:
            if not self.unmounted:
                self.why_unmounted = str(error)
                LOG.warning("image %d of %s is left out: %s", frame.index, self.name, error)
            self.unmounted.append(frame.index)
        else:
            yield replace(frame, mounting=mounting)

    def _camera(
        self, image: NDArray[np.uint8], frame_id: str, stamp: float, infos: CameraInfos
    ) -> tuple[Camera | None, str]:
        """The camera of an image, or why there is none."""
        if not self.topic.info:
            return None, "it comes without a calibration"
        try:
            calibration = infos.calibration(frame_id, stamp, any_frame=True)
            size = (image.shape[1], image.shape[0])
            return calibration.camera(size, self._rectification.rectified), ""
        except CameraError as error:
            return None, f"{self.topic.info}: {error}"

    def _decode(self, message: Any, index: int) -> NDArray[np.uint8] | None:
        try:
            return image_from_message(message, self._depth)
        except InputError as error:
            LOG.warning("image %d of %s is skipped: %s", index, self.name, error)
            return None
