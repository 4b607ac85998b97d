"""Reading messages, whoever made the objects: rclpy, or a bag's type store. No rclpy here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.errors import InputError
from smap_ros.images import BitDepth, decode_compressed, decode_image
from smap_ros.skeletons import Skeleton

UNTRACKED = -1  # smap_ros/msg/Body.UNTRACKED


def image_from_message(message: Any, depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """The picture of a ``sensor_msgs/Image`` or ``CompressedImage``.

    Args:
        message: the image.
        depth: of its topic, so that samples of 16 bits are brought to 8 alike in all its images.

    Returns:
        uint8 [H, W, 3] bgr; a view of the message where possible.

    Raises:
        InputError: if the message contradicts itself, is truncated, or its encoding is unknown.
    """
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format, depth)
    return decode_image(
        message.encoding,
        message.height,
        message.width,
        message.step,
        bool(message.is_bigendian),
        message.data,
        depth,
    )


def body_from_message(message: Any, skeleton: Skeleton) -> Body:
    """The person of a ``smap_ros/msg/Body``.

    Raises:
        InputError: if its arrays don't fit each other or the joint set.
    """
    joints = np.asarray(message.joints, dtype=np.intp)
    count = len(joints)
    lengths = (len(message.positions), len(message.pixels), len(message.scores))
    if lengths != (count, 2 * count, count) or (joints >= len(skeleton)).any():
        raise InputError(
            f"body {message.id} has {count} joints up to {int(joints.max(initial=0))}, "
            f"{lengths[0]} positions, {lengths[1]} pixel numbers and {lengths[2]} scores; expected "
            f"as many positions and scores as joints, twice as many pixel numbers, and joints "
            f"below {len(skeleton)}"
        )
    joints_3d = np.full((len(skeleton), 3), np.nan, np.float32)
    joints_2d = np.full((len(skeleton), 2), np.nan, np.float32)
    scores = np.zeros(len(skeleton), np.float32)
    joints_3d[joints] = np.array([(p.x, p.y, p.z) for p in message.positions]).reshape(-1, 3)
    joints_2d[joints] = np.asarray(message.pixels, np.float32).reshape(-1, 2)
    scores[joints] = message.scores
    identity = None if message.id == UNTRACKED else int(message.id)
    # Bags from before the field have none, and 0 says that it is not known.
    depth_std = float(getattr(message, "depth_std", 0.0)) or math.nan
    return Body(
        joints_3d,
        joints_2d,
        scores,
        float(message.score),
        identity,
        skeleton,
        depth_std=depth_std,
    )
