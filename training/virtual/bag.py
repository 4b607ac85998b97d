"""A film as a robot would have recorded it: a ROS bag of images, CameraInfo and TF.

The robot's frame ``base_link`` stands on the floor below the camera and moves in ``odom``; the
camera's optical frame is fixed to it. TF has the very stamps of the images, and comes before them.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smap_ros.errors import InputError
from smap_ros.geometry.orientation import quaternion
from smap_train.virtual.renderer import View

ODOM, BASE, OPTICAL = "odom", "base_link", "camera_optical_frame"
IMAGES, INFO = "/camera/image_raw/compressed", "/camera/camera_info"
START_NS = 100_000_000_000  # the recording's first stamp: no clock of a robot says 0
QUALITY = 60  # of the jpegs
# The renderer's world, x right and y ahead at the start, in the robot's: x ahead, y to the left.
_WORLD_IN_ODOM = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])


class RobotBag:
    """Writes a bag picture by picture; a context manager. Equal films give equal bytes.

    Args:
        path: folder of the bag; an earlier one is replaced.
        view: of the first picture.
        fps: pictures a second.

    Raises:
        InputError: if the folder holds anything else, or can't be removed.
    """

    def __init__(self, path: Path, view: View, fps: float) -> None:
        _remove_earlier(path)
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Any] = {}
        self._fps, self._count = fps, 0
        self._first = view

    def __enter__(self) -> RobotBag:
        """The writer, open."""
        self._writer.open()
        self._transform("/tf_static", START_NS, BASE, OPTICAL, _in_base(self._first))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the bag."""
        self._writer.close()

    def add(self, rgb: NDArray[np.uint8], view: View) -> None:
        """Append a picture, uint8 [h, w, 3], and where its camera was."""
        stamp = START_NS + round(self._count * 1e9 / self._fps)
        self._count += 1
        self._transform("/tf", stamp, ODOM, BASE, _base_of(view))
        header = self._header(stamp, OPTICAL)
        camera = view.camera
        k = camera.matrix
        self._write(
            INFO,
            stamp,
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.insert(k, 3, 0, axis=1).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._make(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
        )
        picture = np.ascontiguousarray(rgb[..., ::-1])
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].reshape(-1)
        kind = "sensor_msgs/msg/CompressedImage"
        self._write(IMAGES, stamp, kind, header=header, format="jpeg", data=data)

    def _transform(
        self, topic: str, stamp: int, parent: str, child: str, pose: NDArray[np.float64]
    ) -> None:
        """A pose [4, 4] of a frame in its parent."""
        rotation = self._make(
            "geometry_msgs/msg/Quaternion",
            **dict(zip("xyzw", quaternion(pose[:3, :3]), strict=True)),
        )
        place = dict(zip("xyz", (float(v) for v in pose[:3, 3]), strict=True))
        transform = self._make(
            "geometry_msgs/msg/Transform",
            translation=self._make("geometry_msgs/msg/Vector3", **place),
            rotation=rotation,
        )
        stamped = self._make(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp, parent),
            child_frame_id=child,
            transform=transform,
        )
        self._write(topic, stamp, "tf2_msgs/msg/TFMessage", transforms=[stamped])

    def _header(self, stamp: int, frame: str) -> Any:
        time = self._make("builtin_interfaces/msg/Time", sec=stamp // 10**9, nanosec=stamp % 10**9)
        return self._make("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _write(self, topic: str, stamp: int, kind: str, **fields: Any) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store
            )
        data = self._store.serialize_cdr(self._make(kind, **fields), kind)
        self._writer.write(self._connections[topic], stamp, data)


def _remove_earlier(path: Path) -> None:
    """Remove the bag that an earlier film left at a path, and nobody else's files."""
    ours = (f"{path.name}.mcap", "metadata.yaml")
    try:
        if not path.exists() and not path.is_symlink():
            return
        if path.is_symlink() or not path.is_dir():
            raise InputError(
                f"{path} is no folder, where the film's bag goes; move it elsewhere, or choose "
                "another `out`"
            )
        others = sorted(f.name for f in path.iterdir() if f.name not in ours or not f.is_file())
        if others:
            named = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if others[5:] else "")
            raise InputError(
                f"{path} holds {named}; the film's bag goes there, expected nothing but an earlier "
                f"one ({', '.join(ours)}). Move it elsewhere, or choose another `out`"
            )
        for file in list(path.iterdir()):
            file.unlink()
        path.rmdir()
    except OSError as error:
        raise InputError(f"can't replace the bag {path}: {error.strerror or error}") from error


def _base_of(view: View) -> NDArray[np.float64]:
    """The robot in odom: below the camera, heading where it looks; [4, 4]."""
    ahead = _WORLD_IN_ODOM @ view.rotation[2]
    heading = math.atan2(ahead[1], ahead[0])
    c, s = math.cos(heading), math.sin(heading)
    pose = np.eye(4)
    pose[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    pose[:2, 3] = (_WORLD_IN_ODOM @ view.eye)[:2]
    return pose


def _in_base(view: View) -> NDArray[np.float64]:
    """The camera's optical frame in the robot's; [4, 4]."""
    pose = np.eye(4)
    pose[:3, :3] = _WORLD_IN_ODOM @ view.rotation.T
    pose[:3, 3] = _WORLD_IN_ODOM @ view.eye
    camera: NDArray[np.float64] = np.linalg.solve(_base_of(view), pose)
    return camera
