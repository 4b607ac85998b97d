"""RViz with our layout, in the frame of whatever camera there is.

A driver names its frame as it likes, and without TF RViz shows only what is in its fixed frame. So
this waits for the first message of people, and then becomes RViz.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from smap_ros.graph.node_types import RVIZ_NAME, RVIZ_TOPICS
from smap_ros.graph.parameters import CameraNodeOptions
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.paths import config_directory

PATIENCE = 20.0  # seconds; loading a model takes some
POLL = 0.1  # seconds


def camera_frame(patience: float = PATIENCE) -> str:
    """Frame of the first people that are published on ``bodies`` or ``bodies_raw``.

    Args:
        patience: seconds, after which the frame of our own camera node is taken.
    """
    frames: list[str] = []

    def note(message: BodyArray) -> None:
        frames.append(message.header.frame_id)

    node = Node(RVIZ_NAME)
    try:
        for topic in RVIZ_TOPICS:
            node.create_subscription(BodyArray, topic, note, qos.RELIABLE)
        end = time.monotonic() + patience
        while not frames and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=POLL)
        if not frames:
            frames.append(CameraNodeOptions().frame_id)
            node.get_logger().warning(
                f"no people message for {patience:g} s: showing frame {frames[0]!r}; choose the "
                "camera's in RViz (Global Options, Fixed Frame)"
            )
        return frames[0]
    finally:
        node.destroy_node()


def command(frame: str, ros_arguments: Sequence[str]) -> list[str]:
    """The command line of RViz.

    Args:
        frame: its fixed frame.
        ros_arguments: handed on: namespace, clock and remappings hold for RViz as well.
    """
    layout = config_directory() / "rviz" / "pose3d.rviz"
    return ["rviz2", "-d", str(layout), "-f", frame, *ros_arguments]


def main(argv: Sequence[str] | None = None) -> int:
    """Wait for a frame, and become RViz; 0 when interrupted before."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    rclpy.init(args=[RVIZ_NAME, *arguments])
    frame = ""
    try:
        frame = camera_frame()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    if frame:
        words = command(frame, arguments)
        os.execvp(words[0], words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
