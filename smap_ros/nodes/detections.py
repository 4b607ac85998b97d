"""People as ``vision_msgs/Detection3DArray``, for software that takes any detector's objects."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Vector3
from numpy.typing import NDArray

from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray

try:  # comes with a ROS distribution; there is no wheel of it
    from vision_msgs.msg import (
        BoundingBox3D,
        Detection3D,
        Detection3DArray,
        ObjectHypothesis,
        ObjectHypothesisWithPose,
    )
except ImportError:
    Detection3DArray = None

KIND = Detection3DArray  # of message; None where it isn't installed
AVAILABLE = KIND is not None
MISSING = "vision_msgs isn't installed"
CLASS = "person"


def detection_array(message: BodyArray) -> Detection3DArray:
    """The people of an image: class, score, pose of the pelvis, box around the joints, track id."""
    return Detection3DArray(
        header=message.header,
        detections=[_detection(body, message) for body in message.bodies],
    )


def _detection(body: BodyMessage, message: BodyArray) -> Detection3D:
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = position_covariance(body)
    return Detection3D(
        header=message.header,
        id="" if body.id == BodyMessage.UNTRACKED else str(body.id),
        results=[
            ObjectHypothesisWithPose(
                hypothesis=ObjectHypothesis(class_id=CLASS, score=float(body.score)),
                pose=PoseWithCovariance(pose=body.pose, covariance=covariance.ravel()),
            )
        ],
        bbox=_box(body),
    )


def position_covariance(body: BodyMessage) -> NDArray[np.float64]:
    """Covariance of a person's position, float64 [3, 3], square metres; zeros if it isn't known.

    Where the pelvis is in the picture is far better known than its distance: the error lies on
    the ray through it. Who isn't seen may be elsewhere across the view as well.
    """
    position = body.pose.position
    if body.depth_std <= 0 or position.z <= 0:
        return np.zeros((3, 3))
    if body.predicted:
        return np.eye(3) * body.depth_std**2
    error = np.array([position.x, position.y, position.z]) * body.depth_std / position.z
    return np.outer(error, error)


def _box(body: BodyMessage) -> BoundingBox3D:
    """The box around the joints, along the axes of the camera's frame."""
    where = body.positions or [body.pose.position]
    joints = np.array([(p.x, p.y, p.z) for p in where])  # [joints, 3]
    low, high = joints.min(axis=0), joints.max(axis=0)
    (x, y, z), (width, height, depth) = ((low + high) / 2).tolist(), (high - low).tolist()
    center = Pose(position=Point(x=x, y=y, z=z))
    return BoundingBox3D(center=center, size=Vector3(x=width, y=height, z=depth))
