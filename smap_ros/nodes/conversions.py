"""Between ROS messages and our own types."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from smap_ros.bags.messages import body_from_message
from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.base import ModelInfo
from smap_ros.geometry.orientation import torso_orientation
from smap_ros.images import encode_compressed
from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.skeletons import Skeleton, get_skeleton

NANOSECONDS = 1_000_000_000


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return float(stamp.sec) + stamp.nanosec / NANOSECONDS


def stamp_of(nanoseconds: int) -> Time:
    """A stamp from nanoseconds.

    Raises:
        InputError: if no stamp can say that.
    """
    sec, nanosec = divmod(nanoseconds, NANOSECONDS)
    if not -(2**31) <= sec < 2**31:
        raise InputError(f"{sec} s is no time that a ROS stamp can hold; expected 32 bits")
    return Time(sec=sec, nanosec=nanosec)


def stamp_of_bytes(message: bytes) -> Time:
    """The stamp of a serialised message that begins with a header, without reading the rest.

    CDR, the serialisation of ROS messages: four bytes, of which the second says the byte order,
    then the seconds and nanoseconds. No time where there is no room for one.
    """
    if len(message) < 12:
        return Time()
    order = "<" if message[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", message, 4)
    return Time(sec=sec, nanosec=nanosec)


def array_to_image(image: NDArray[np.uint8], header: Header) -> Image:
    """A bgr8 message of uint8 [H, W, 3] bgr."""
    height, width = image.shape[:2]
    data = array.array("B")
    # rclpy takes an array.array as it is, and checks anything else byte by byte: 0.1 ms for a
    # 1280x720 image instead of 60 ms.
    data.frombytes(np.ascontiguousarray(image).data)
    return Image(
        header=header, height=height, width=width, encoding="bgr8", step=3 * width, data=data
    )


def array_to_compressed(image: NDArray[np.uint8], header: Header, quality: int) -> CompressedImage:
    """A jpeg message of uint8 [H, W, 3] bgr."""
    data = array.array("B")
    data.frombytes(encode_compressed(image, "jpeg", quality))
    return CompressedImage(header=header, format="jpeg", data=data)


def info_from_camera(camera: Camera | None, header: Header, size: tuple[int, int]) -> CameraInfo:
    """The CameraInfo of a camera, or that of an uncalibrated one (K all zeros).

    Args:
        camera: the camera, or None when nothing is known.
        header: of the image.
        size: width and height of the image in pixels.
    """
    info = CameraInfo(header=header, width=size[0], height=size[1])
    if camera is None:
        return info
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    info.distortion_model = camera.distortion_model
    info.d = list(camera.distortion) or [0.0] * 5
    info.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def skeleton_info(skeleton: Skeleton, about: ModelInfo) -> SkeletonInfo:
    """What the joint indices mean, and what finds them."""
    return SkeletonInfo(
        name=skeleton.name,
        joint_names=list(skeleton.joints),
        limbs=[joint for limb in skeleton.limbs for joint in limb],
        root=skeleton.root,
        model=about.name,
        model_version=about.version,
        engine=about.runtime,
        model_sha256=about.sha256,
    )


def body_array(
    bodies: Iterable[tuple[Body, bool]],
    header: Header,
    size: tuple[int, int],
    skeleton: Skeleton,
) -> BodyArray:
    """The message of the people of a frame; who has no root can't be placed and is left out.

    Args:
        bodies: people, each with whether it is predicted; ``joints_3d`` in metres.
        header: of the image, unchanged.
        size: width and height of the image in pixels.
        skeleton: joint set of the people.
    """
    return BodyArray(
        header=header,
        skeleton=skeleton.name,
        image_width=size[0],
        image_height=size[1],
        bodies=[
            _body_message(body, predicted)
            for body, predicted in bodies
            if np.isfinite(body.root).all()
        ],
    )


def _body_message(body: Body, predicted: bool) -> BodyMessage:
    present = np.flatnonzero(body.present & np.isfinite(body.joints_2d).all(axis=1))
    positions = body.joints_3d[present].astype(np.float64).tolist()
    box = body.box
    if math.isfinite(box[0]):
        edges = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    else:
        edges = [0.0, 0.0, 0.0, 0.0]
    orientation = torso_orientation(body)
    root = body.root.astype(np.float64).tolist()
    pose = Pose(position=Point(x=root[0], y=root[1], z=root[2]))
    if orientation is not None:
        x, y, z, w = orientation
        pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
    return BodyMessage(
        id=BodyMessage.UNTRACKED if body.id is None else body.id,
        score=float(body.score),
        box=np.array(edges, np.float32),
        joints=array.array("B", present.astype(np.uint8).tobytes()),
        positions=[Point(x=x, y=y, z=z) for x, y, z in positions],
        pixels=_floats(body.joints_2d[present]),
        scores=_floats(body.scores[present]),
        pose=pose,
        pose_oriented=orientation is not None,
        predicted=predicted,
        depth_std=float(body.depth_std) if math.isfinite(body.depth_std) else 0.0,
    )


def _floats(values: NDArray[np.float32]) -> array.array[float]:
    return array.array("f", values.astype(np.float32, copy=False).tobytes())


def bodies_from_message(message: BodyArray) -> tuple[Body, ...]:
    """The people of a message.

    Raises:
        InputError: if the joint set is unknown or the arrays of a body don't fit each other.
    """
    skeleton = get_skeleton(message.skeleton)
    return tuple(body_from_message(body, skeleton) for body in message.bodies)
