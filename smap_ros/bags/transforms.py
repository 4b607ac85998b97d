"""The TF that was recorded with images: where the camera was."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bags.reader import NANOSECONDS, READ_ERRORS, open_bag, stamp_ns
from smap_ros.errors import CameraError
from smap_ros.geometry.transforms import Transform, TransformTree

LOG = logging.getLogger(__name__)

# As tf2 and, before it, tf name their messages.
TF_KINDS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
# Frames that stand still by REP-105; odom first, as the others jump when the robot is localised.
FIXED_FRAMES = ("odom", "map", "world", "earth")


def read_transforms(path: Path) -> TransformTree:
    """Everything that a bag has on TF; of a damaged bag what comes before the damage.

    Raises:
        InputError: if it can't be opened.
    """
    tree = TransformTree(memory=math.inf)
    with open_bag(path) as reader:
        connections = [c for c in reader.connections if c.msgtype in TF_KINDS]
        if not connections:
            return tree
        try:
            for connection, _, raw in reader.messages(connections=connections):
                message: Any = reader.deserialize(raw, connection.msgtype)
                fixed = connection.topic.rpartition("/")[2] == "tf_static"
                for stamped in message.transforms:
                    t, q = stamped.transform.translation, stamped.transform.rotation
                    pose = Transform(stamped.header.frame_id, (t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
                    stamp = stamp_ns(stamped) / NANOSECONDS
                    tree.add(stamped.child_frame_id, pose, stamp, fixed=fixed)
        except READ_ERRORS as error:
            LOG.warning("TF of %s is damaged: %s", path, error)
    return tree


class CameraMotion:
    """Where a camera was while a bag was recorded.

    Args:
        tree: the bag's TF.
        fixed_frame: a frame that stands still; empty takes one of :data:`FIXED_FRAMES` that the
            camera hangs on.

    Attributes:
        problem: why the motion is unknown at the last moment that was asked for; empty if it isn't.
    """

    def __init__(self, tree: TransformTree, fixed_frame: str = "") -> None:
        self._tree, self._stated = tree, fixed_frame
        self.problem = ""

    def fixed_frame(self, frame_id: str) -> str:
        """What the motion is measured against; empty where nothing stands still."""
        if self._stated:
            return self._stated
        above = self._tree.ancestors(frame_id)
        return next((name for name in FIXED_FRAMES if name in above), "")

    def pose(self, frame_id: str, stamp: float) -> NDArray[np.float64] | None:
        """The camera's optical frame to what stands still, float64 [4, 4]; None if unknown."""
        fixed = self.fixed_frame(frame_id)
        if not fixed:
            return None
        try:
            pose = self._tree.pose(frame_id, fixed, stamp)
        except CameraError as error:
            self.problem = str(error)
            return None
        self.problem = ""
        return pose
