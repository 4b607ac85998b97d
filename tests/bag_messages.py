"""Messages of a camera, and bags of them, as drivers leave them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smap_ros.images import encode_compressed

STORE = get_typestore(Stores.ROS2_JAZZY)
STORE1 = get_typestore(Stores.ROS1_NOETIC)
MESSAGES = Path(__file__).resolve().parents[1] / "msg"
for _name in ("Body", "BodyArray"):
    STORE.register(
        get_types_from_msg((MESSAGES / f"{_name}.msg").read_text(), f"smap_ros/msg/{_name}")
    )
SIZE = (768, 432)
K = (614.5, 0.0, 383.5, 0.0, 614.5, 215.5, 0.0, 0.0, 1.0)


def header(stamp: float, frame: str = "cam", store: Any = STORE):
    time = store.types["builtin_interfaces/msg/Time"](
        sec=int(stamp), nanosec=round(stamp % 1 * 1e9)
    )
    kind = store.types["std_msgs/msg/Header"]
    counter = {"seq": 0} if store is STORE1 else {}
    return kind(stamp=time, frame_id=frame, **counter)


def raw_image(
    stamp: float, pixels: np.ndarray, frame: str = "cam", encoding: str = "bgr8", store: Any = STORE
):
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    return store.types["sensor_msgs/msg/Image"](
        header=header(stamp, frame, store), height=height, width=width, encoding=encoding,
        is_bigendian=0, step=data.size // height, data=data,
    )  # fmt: skip


def jpeg_image(stamp: float, pixels: np.ndarray, frame: str = "cam"):
    data = np.frombuffer(encode_compressed(pixels, "jpeg", 95), np.uint8)
    kind = STORE.types["sensor_msgs/msg/CompressedImage"]
    return kind(header=header(stamp, frame), format="jpeg", data=data)


def camera_info(stamp: float, frame: str = "cam", store: Any = STORE, **fields: Any):
    """A CameraInfo; P is K unless it is stated."""
    values: dict[str, Any] = {"k": K, "d": (0.0,) * 5, "roi": (0, 0, 0, 0), "binning": (0, 0)}
    values |= {"size": SIZE, "model": "plumb_bob", **fields}
    k = np.array(values["k"], np.float64)
    p = np.insert(k.reshape(3, 3), 3, 0, axis=1).reshape(-1)
    x, y, width, height = values["roi"]
    region = store.types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=x, y_offset=y, width=width, height=height, do_rectify=False
    )
    matrices = {
        "d": np.array(values["d"], np.float64), "k": k, "r": np.eye(3).reshape(-1),
        "p": np.array(values.get("p", p), np.float64),
    }  # fmt: skip
    if store is STORE1:
        matrices = {name.upper(): value for name, value in matrices.items()}
    return store.types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp, frame, store), width=values["size"][0], height=values["size"][1],
        distortion_model=values["model"], binning_x=values["binning"][0],
        binning_y=values["binning"][1], roi=region, **matrices,
    )  # fmt: skip


def body_array(stamp: float, frame: str, places: Iterable[tuple[float, float, float]]):
    """People of whom only the pelvis is known."""
    point = STORE.types["geometry_msgs/msg/Point"]
    pose = STORE.types["geometry_msgs/msg/Pose"]
    quaternion = STORE.types["geometry_msgs/msg/Quaternion"](x=0, y=0, z=0, w=1)
    bodies = [
        STORE.types["smap_ros/msg/Body"](
            id=k, score=0.9, box=np.zeros(4, np.float32), joints=np.array([2], np.uint8),
            positions=[point(x=x, y=y, z=z)], pixels=np.array([9, 9], np.float32),
            scores=np.array([0.9], np.float32), depth_std=0.0,
            pose=pose(position=point(x=x, y=y, z=z), orientation=quaternion),
            pose_oriented=False, predicted=False,
        )
        for k, (x, y, z) in enumerate(places)
    ]  # fmt: skip
    return STORE.types["smap_ros/msg/BodyArray"](
        header=header(stamp, frame), skeleton="mpi15", image_width=64, image_height=48,
        bodies=bodies,
    )  # fmt: skip


def write_bag(
    path: Path,
    messages: Iterable[tuple[str, Any]],
    plugin=StoragePlugin.MCAP,
    late: float = 0.0,
) -> Path:
    """A rosbag2 of (topic, message), each recorded at its stamp or so many seconds later."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        _write(writer, messages, STORE, STORE.serialize_cdr, round(late * 1e9))
    return path


def write_ros1_bag(path: Path, messages: Iterable[tuple[str, Any]]) -> Path:
    """A .bag of ROS 1 of (topic, message); messages are of ``STORE1``."""
    with Writer1(path) as writer:
        _write(writer, messages, STORE1, STORE1.serialize_ros1)
    return path


def _write(
    writer: Any,
    messages: Iterable[tuple[str, Any]],
    store: Any,
    serialize: Any,
    late_ns: int = 0,
) -> None:
    connections: dict[str, Any] = {}
    for topic, message in messages:
        kind = message.__msgtype__
        if topic not in connections:
            connections[topic] = writer.add_connection(topic, kind, typestore=store)
        stamp = message.header.stamp
        writer.write(
            connections[topic],
            stamp.sec * 10**9 + stamp.nanosec + late_ns,
            serialize(message, kind),
        )
