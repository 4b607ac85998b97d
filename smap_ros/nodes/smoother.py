"""Raw people to people with identities and smooth joints."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from smap_ros.errors import CameraError, SmapError
from smap_ros.geometry.transforms import HOLD_TURNING
from smap_ros.graph.node_types import POSE3D_NODE, SMOOTHER_NODE
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.clocks import latency_ms
from smap_ros.nodes.conversions import bodies_from_message, body_array, seconds
from smap_ros.nodes.diagnostics import STEADY, Diagnostics, Feed, Health, Level
from smap_ros.nodes.parameters import NodeParameters, Values
from smap_ros.nodes.runtime import run
from smap_ros.nodes.statistics import FrameStatistics, Window
from smap_ros.nodes.world import WorldFrame
from smap_ros.settings import build
from smap_ros.skeletons import get_skeleton
from smap_ros.temporal import Answer, BodySmoother, SmootherConfig

IDLE = 1.0  # seconds without an image after which those that wait for it go out
# Images in a row with one stamp: so many are no picture that is shown until somebody answers.
FROZEN = 20


class SmootherNode(Node):
    """Subscribes ``bodies_raw``; publishes ``bodies``, by ascending id.

    With a delay, each image is answered with its own stamp when so many later ones have come.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(SMOOTHER_NODE.name, **options)
        self._settings = NodeParameters(self, SMOOTHER_NODE.parameters, accept=self._accept)
        self._smoother = BodySmoother(self._settings.options(SmootherConfig))
        self._problem = self._blind = ""  # what is wrong with people; with the camera's motion
        self._world = self._fixed_frame()
        self._statistics, self._waits = FrameStatistics(), Window()
        self._newest = 0.0  # seconds
        self._last: tuple[float, tuple[str, str]] | None = None  # stamp and view
        self._again = self._again_in_a_row = 0  # images that were shown before
        self._publisher = self.create_publisher(BodyArray, "bodies", qos.RELIABLE)
        self.create_subscription(BodyArray, "bodies_raw", self._on_bodies, qos.RELIABLE)
        self.create_subscription(SkeletonInfo, "skeleton_info", self._on_model, qos.LATCHED)
        self._idle = self.create_timer(IDLE, self._flush, clock=STEADY)
        self._feed = Feed(self, "bodies_raw", POSE3D_NODE.name)
        self._diagnostics = Diagnostics(self, "smoothing", self._health)

    def _fixed_frame(self) -> WorldFrame | None:
        """What tells how the camera moves, if TF is to say so."""
        name = self._settings.text("fixed_frame")
        if not name:
            return None
        without = "leave it empty; the camera's turning is estimated from the people then"
        return WorldFrame(self, name, "fixed_frame", without, HOLD_TURNING)

    def _on_bodies(self, message: BodyArray) -> None:
        started = time.perf_counter()
        self._statistics.arrived()
        self._feed.came()
        try:
            answers = self._answers(message)
        except SmapError as error:
            self._statistics.rejected += 1
            self._problem = str(error)
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        self._problem = ""
        if answers is None:
            return
        work = {"smoothing": (time.perf_counter() - started) * 1e3}
        for answer in answers:
            self._publish(answer, work)
        self._idle.reset()

    def _answers(self, message: BodyArray) -> list[Answer] | None:
        """What is due now that these people have come; None if they had come before.

        Raises:
            SmapError: if they can't be read, or be smoothed.
        """
        bodies = bodies_from_message(message)
        skeleton = get_skeleton(message.skeleton)
        view = (message.header.frame_id, message.skeleton)
        stamp = seconds(message.header.stamp)
        if stamp and (stamp, view) == self._last:
            # A picture that is shown until somebody answers; nobody was seen twice.
            self._again += 1
            self._again_in_a_row += 1
            return None
        self._again_in_a_row = 0
        # Without a stamp it is the time of arrival that says who is still there.
        self._newest, self._last = stamp or time.monotonic(), (stamp, view)
        pose = self._camera_pose(message.header.frame_id, stamp)
        return self._smoother.update(bodies, self._newest, (message, skeleton), pose, view)

    def _on_model(self, message: SkeletonInfo) -> None:
        """Another detector errs otherwise: the learned smoother is for its own alone."""
        self._smoother.detector = message.model_sha256
        if problem := self._smoother.problem:
            self.get_logger().warning(problem)

    def _camera_pose(self, frame_id: str, stamp: float) -> NDArray[np.float64] | None:
        if self._world is None:
            return None
        try:
            pose = self._world.pose(frame_id, stamp)
        except CameraError as error:
            self._blind = str(error)
            return None
        self._blind = ""
        return pose

    def _publish(self, answer: Answer, work: Mapping[str, float]) -> None:
        message, skeleton = answer.note
        out = body_array(
            ((person.body, person.predicted) for person in answer.people),
            message.header,
            (message.image_width, message.image_height),
            skeleton,
        )
        self._publisher.publish(out)
        self._waits.add((self._newest - answer.time) * 1e3)
        self._statistics.done(len(out.bodies), latency_ms(self, message.header.stamp), work)

    def _flush(self) -> None:
        """Answer what waits for images that don't come."""
        for answer in self._smoother.flush():
            self._publish(answer, {})

    def _accept(self, values: Values) -> None:
        self._smoother.config = build(SmootherConfig, values)

    def _health(self) -> Health:
        config = self._smoother.config
        (wait,) = self._waits.percentiles(50)
        values = self._statistics.values() | {
            "smoother": self._smoother.smoother,
            "delay [images]": str(config.delay),
            "delay p50 [ms]": f"{wait:.1f}",
            "images too late": str(self._smoother.late),
            "images shown again": str(self._again),
        }
        if self._problem:
            return Health(Level.ERROR, self._problem, values)
        if silence := self._feed.problem():
            return Health(Level.WARN, silence, values)
        if self._again_in_a_row >= FROZEN and self._last is not None:
            frozen = (
                f"{self._again_in_a_row} images in a row have the stamp {self._last[0]:.3f} s of "
                "one before, and people are told once a stamp; the camera's driver has to stamp "
                "each image"
            )
            return Health(Level.WARN, frozen, values)
        if self._blind:
            return Health(Level.WARN, f"the camera's motion is unknown: {self._blind}", values)
        if problem := self._smoother.problem:
            return Health(Level.WARN, problem, values)
        return Health(Level.OK, "running", values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([SmootherNode], argv)


if __name__ == "__main__":
    sys.exit(main())
