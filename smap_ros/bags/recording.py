"""What a graph left in a bag: images and their people put together again, without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from smap_ros.bags.messages import body_from_message, image_from_message
from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.skeletons import get_skeleton
from smap_ros.sources.bag import open_bag

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_BODIES = "smap_ros/msg/BodyArray"
_DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
NANOSECONDS = 1_000_000_000


@dataclass
class Recording:
    """A bag of one run of the graph.

    Attributes:
        path: folder of the bag.
        camera: calibration of the images.
        image_stamps: stamps of the images in order, nanoseconds; an image shown again at the
            start, while nobody was ready for it, counts once.
        bodies: by topic name (the last part): stamp -> people.
        latency_ms: by topic name: milliseconds from the image's stamp to the arrival of its
            message at the recorder.
        diagnostics: by task: the last values of each node.
    """

    path: Path
    camera: Camera
    image_stamps: list[int] = field(default_factory=list)
    bodies: dict[str, dict[int, tuple[Body, ...]]] = field(default_factory=dict)
    latency_ms: dict[str, list[float]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)

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

    def frames(
        self, topic: str = "bodies", *, source: str = "", rate: float | None = None
    ) -> Iterator[tuple[NDArray[np.uint8], BodyFrame]]:
        """The processed images with their people, in order; indices count all images.

        Args:
            topic: ``bodies`` or ``bodies_raw``.
            source: name of the frames' source; the bag's by default.
            rate: images per second, for stamps as in the original; None takes the times at
                which they were shown. Both count from the first image.
        """
        people = self.bodies.get(topic, {})
        index = {stamp: k for k, stamp in enumerate(self.image_stamps)}
        start = self.image_stamps[0] if self.image_stamps else 0
        with open_bag(self.path) as reader:
            for _, message in _messages(reader, _IMAGES):
                stamp = _stamp(message)
                if stamp in index and stamp in people:
                    yield (
                        image_from_message(message),
                        BodyFrame(
                            bodies=people[stamp],
                            camera=self.camera,
                            stamp=index[stamp] / rate if rate else (stamp - start) / NANOSECONDS,
                            frame_id=message.header.frame_id,
                            source=source or self.path.name,
                            index=index[stamp],
                        ),
                    )


def read_recording(path: Path) -> Recording:
    """Read everything but the pictures of a bag that the graph's recorder wrote.

    Raises:
        InputError: if the bag can't be read, or has no images or no calibration.
        CameraError: if the calibration is unusable.
    """
    with open_bag(path) as reader:
        infos = [message for _, message in _messages(reader, (_CAMERA_INFO,))]
        if not infos:
            raise InputError(f"bag {path} has no CameraInfo; nothing reached the recorder")
        first = infos[0]
        camera = Camera.from_matrix(
            first.width, first.height, first.k, first.d, first.distortion_model
        )
        recording = Recording(path, camera)
        recording.image_stamps = _image_stamps(reader)
        if not recording.image_stamps:
            raise InputError(f"bag {path} has no images; expected those the graph worked on")
        _read_bodies(reader, recording)
        for _, message in _messages(reader, (_DIAGNOSTICS,)):
            for status in message.status:
                values = {entry.key: entry.value for entry in status.values}
                recording.diagnostics[status.name] = values
    return recording


def _read_bodies(reader: AnyReader, recording: Recording) -> None:
    for connection in reader.connections:
        if connection.msgtype != _BODIES:
            continue
        topic = connection.topic.rpartition("/")[2]
        people = recording.bodies.setdefault(topic, {})
        latency = recording.latency_ms.setdefault(topic, [])
        wanted = set(recording.image_stamps)
        for _, arrived, raw in reader.messages(connections=[connection]):
            message: Any = reader.deserialize(raw, connection.msgtype)
            stamp = _stamp(message)
            skeleton = get_skeleton(message.skeleton)
            people[stamp] = tuple(body_from_message(body, skeleton) for body in message.bodies)
            if stamp in wanted:
                latency.append((arrived - stamp) * 1e-6)


def _image_stamps(reader: AnyReader) -> list[int]:
    """Stamps of the images; of one that was shown several times at the start, the last."""
    stamps: list[int] = []
    first: bytes | None = None
    for _, message in _messages(reader, _IMAGES):
        data = bytes(message.data)
        if stamps and data == first and len(stamps) == 1:
            stamps[0] = _stamp(message)
            continue
        if not stamps:
            first = data
        stamps.append(_stamp(message))
    return stamps


def _messages(reader: AnyReader, kinds: tuple[str, ...]) -> Iterator[tuple[int, Any]]:
    """Arrival (nanoseconds) and message, for all topics of these types."""
    connections = [c for c in reader.connections if c.msgtype in kinds]
    if connections:
        for connection, arrived, raw in reader.messages(connections=connections):
            yield arrived, reader.deserialize(raw, connection.msgtype)


def _stamp(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def stage_latency(diagnostics: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """p50 and p95 in milliseconds by stage, from a node's diagnostic values."""
    stages: dict[str, tuple[float, float]] = {}
    for key, value in diagnostics.items():
        name, found, _ = key.partition(" p50 [ms]")
        if found:
            stages[name] = (float(value), float(diagnostics.get(f"{name} p95 [ms]", "nan")))
    return stages
