"""A camera, a video, a folder of images or a bag as ROS images with their calibration."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool, Header

from smap_ros.calibration import CameraChoice
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError, SmapError, unexpected
from smap_ros.graph.node_types import CAMERA_NODE, POSE3D_NODE
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.clocks import NO_CLOCK, now, simulated
from smap_ros.nodes.conversions import (
    array_to_compressed,
    array_to_image,
    info_from_camera,
    seconds,
    stamp_of,
)
from smap_ros.nodes.diagnostics import Diagnostics, Health, Level
from smap_ros.nodes.pacing import POLL, ConsumerPace, PatientPace, RealTimePace, Spacing
from smap_ros.nodes.parameters import NodeParameters
from smap_ros.nodes.recorded_tf import RecordedTransforms
from smap_ros.nodes.runtime import BAD_INPUT, run
from smap_ros.nodes.statistics import FrameStatistics
from smap_ros.offline.estimate import camera_of
from smap_ros.paths import user_path
from smap_ros.sources import Frame, Mode, Source, open_source
from smap_ros.sources.bag import BagSource

log = logging.getLogger(__name__)

SUBSCRIBER_PATIENCE = 60.0  # seconds

DEFAULT_RATE = 10.0  # hertz, of sources that have none
# After the last image, what is under way still gets through before the process, which may hold
# the other nodes too, ends.
DRAIN = 1.0  # seconds
ACKNOWLEDGED = Duration(seconds=2.0)
JOIN_TIMEOUT = 5.0  # seconds


Pace = RealTimePace | ConsumerPace | PatientPace


class CameraNode(Node):
    """Publishes ``image`` (or ``image/compressed``), ``camera_info`` and ``end_of_stream``.

    ``end_of_stream`` is latched: false at the start, true after the last image.

    Attributes:
        exit_status: of the process; not 0 when the source failed.
        failure: why, then.
    """

    _whole = False  # a node that refuses its parameters is destroyed half made, from Kilted on

    def __init__(self, **options: Any) -> None:
        super().__init__(CAMERA_NODE.name, **options)
        self._settings = NodeParameters(self, CAMERA_NODE.parameters)
        self._source = self._open()
        self._choice = self._load_choice()
        self._recorded = self._has_recorded_stamps()
        self.exit_status, self.failure = 0, ""
        self._problem = self._misfit = ""  # of all; of the newest image
        self._skipped = 0  # images that the calibration didn't fit
        self._statistics = FrameStatistics()
        self._stopping = threading.Event()
        self._pace = self._make_pace()
        self._make_publishers()
        self._diagnostics = Diagnostics(self, "camera", self._health)
        self._thread = threading.Thread(target=self._stream, name="camera", daemon=True)
        self._whole = True
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop reading, release the source, then the node."""
        if self._whole:
            self._stop()
        super().destroy_node()

    def _stop(self) -> None:
        self._stopping.set()
        self._pace.stop()
        if self._source.live:
            self._source.close()  # a read may block for long
        # From Kilted on, who shuts ROS down destroys the nodes: our thread, after the last image.
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_TIMEOUT)
        self._source.close()

    # --- set-up ---------------------------------------------------------------------------------

    def _open(self) -> Source:
        source = self._settings.text("source")
        if not source:
            raise InputError(
                "parameter source is empty; expected an image, a folder, a video, a bag, a camera "
                "index or a URL, for example source:=clip.mp4"
            )
        return open_source(
            source,
            topic=self._settings.text("image_topic") or None,
            rectified=self._settings.text("rectified"),
            mode=Mode(
                self._settings.whole("image_width"),
                self._settings.whole("image_height"),
                self._settings.number("rate"),
                self._settings.text("pixel_format"),
            ),
        )

    def _load_choice(self) -> CameraChoice:
        path, fov = self._settings.text("calibration"), self._settings.number("fov_deg")
        # A calibration wins, as the parameters say.
        return CameraChoice.of(
            user_path(path) if path else None,
            fov if fov > 0 and not path else None,
            self._settings.text("rectified"),
        )

    def _has_recorded_stamps(self) -> bool:
        """Whether images keep the stamps that they were recorded with."""
        if self._settings.text("stamps") == "shown":
            return False
        if self._source.live or not self._source.moving:
            raise InputError(
                f"stamps is 'recorded', and {self._source.name} is no recording: only bags and "
                "videos have stamps of their own; expected stamps:=shown"
            )
        return True

    def _make_pace(self) -> Pace:
        pacing, live = self._settings.text("pacing"), self._source.live
        real_time = RealTimePace(self._spacing(0.0 if live else DEFAULT_RATE))
        if pacing == "real_time" or live:
            return real_time
        consumer = ConsumerPace(
            self._settings.number("consume_timeout"),
            self._spacing(0.0 if pacing == "as_consumed" else DEFAULT_RATE),
        )
        self.create_subscription(
            BodyArray,
            "bodies_raw",
            lambda message: consumer.consumed(seconds(message.header.stamp)),
            qos.RELIABLE,
        )
        if pacing == "as_consumed":
            return consumer
        return PatientPace(consumer, real_time, self._expects_consumer, self.get_logger().info)

    def _spacing(self, otherwise: float) -> Spacing:
        """How far images are apart: as the user says, else as recorded; else at a rate."""
        stated = self._settings.number("rate")
        film = self._source.moving and not (stated or self._source.live)
        # Whoever goes by the stamps sees people move as they did, however fast they are shown.
        if film and self._recorded and self._settings.text("pacing") == "as_consumed":
            return Spacing(0.0)
        own = self._source.rate if film else None
        return Spacing(stated or own or otherwise, recorded=film)

    def _make_publishers(self) -> None:
        image = self.resolve_topic_name("image")
        self._compressed = self._settings.flag("compressed")
        kind, topic = (
            (CompressedImage, f"{image}/compressed") if self._compressed else (Image, image)
        )
        self._images = self.create_publisher(kind, topic, qos.images(self._settings))
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos.SENSOR)
        self._transforms = self._recorded_transforms()
        self._end = self.create_publisher(Bool, "end_of_stream", qos.LATCHED)
        self._end.publish(Bool(data=False))

    def _recorded_transforms(self) -> RecordedTransforms | None:
        if not (self._settings.flag("bag_tf") and isinstance(self._source, BagSource)):
            return None
        return RecordedTransforms(self, self._source.transforms())

    # --- the thread -----------------------------------------------------------------------------

    def _stream(self) -> None:
        try:
            self._play()
        except SmapError as error:
            self._fail(str(error))
        except Exception as error:  # the thread's outermost frame: nobody else would hear of it
            if rclpy.ok():
                log.exception("the camera's thread failed")
                self._fail(unexpected(error))
        if not self._stopping.is_set() and rclpy.ok():
            self._finish()

    def _wait_for_subscribers(self) -> None:
        """Until all that shall see the first image are there, or won't come."""
        wanted = self._settings.whole("subscribers")
        end = time.monotonic() + SUBSCRIBER_PATIENCE
        while self._images.get_subscription_count() < wanted:
            if time.monotonic() > end:
                there = self._images.get_subscription_count()
                self.get_logger().warning(
                    f"{there} subscribe to images, {wanted} were to come; starting without them"
                )
                return
            if self._stopping.wait(POLL):
                return

    def _has_consumer(self) -> bool:
        people = self.resolve_topic_name("bodies_raw")  # these counts follow no remapping
        return bool(self._images.get_subscription_count() and self.count_publishers(people))

    def _expects_consumer(self) -> bool:
        """Whether there is a pose node, or somebody beside us who waits for its people."""
        people = self.resolve_topic_name("bodies_raw")
        return bool(
            self.count_publishers(people)
            or self.count_subscribers(people) > 1
            or POSE3D_NODE.name in self.get_node_names()
        )

    def _play(self) -> None:
        self._wait_for_subscribers()
        self._pace.start(self._has_consumer)
        while True:
            before = self._statistics.processed
            for frame in self._source:
                self._show_or_skip(frame)
                if self._stopping.is_set():
                    return
            again = self._settings.flag("loop") and not self._source.live
            if not again or self._statistics.processed == before:
                return

    def _show_or_skip(self, frame: Frame) -> None:
        """Publish a frame; one that the calibration doesn't fit ends nothing that has begun."""
        try:
            self._show(frame)
        except CameraError as error:
            if not self._statistics.processed:
                raise
            self._skipped, self._misfit = self._skipped + 1, str(error)
            self.get_logger().warning(f"skipped: {error}", throttle_duration_sec=5.0)
        else:
            self._misfit = ""

    def _show(self, frame: Frame) -> None:
        """Publish a frame; again, while consumers are only coming up."""
        started = time.perf_counter()
        header = Header(frame_id=frame.frame_id or self._settings.text("frame_id"))
        size = (frame.image.shape[1], frame.image.shape[0])
        info = info_from_camera(self._camera(frame), header, size)
        if self._compressed:
            message: Image | CompressedImage = array_to_compressed(
                frame.image, header, self._settings.whole("jpeg_quality")
            )
        else:
            message = array_to_image(frame.image, header)
        self._statistics.arrived()
        prepared = (time.perf_counter() - started) * 1e3
        self._pace.wait(frame.stamp)
        ready = time.perf_counter()
        while not self._stopping.is_set():
            # The stamp is taken as late as possible: it is what latency is measured from.
            stamp = stamp_of(frame.stamp_ns) if self._recorded else self.get_clock().now().to_msg()
            message.header.stamp = info.header.stamp = stamp
            if self._transforms is not None:
                self._transforms.show(frame.stamp, message.header.stamp)
            self._infos.publish(info)
            self._images.publish(message)
            if self._pace.published(seconds(message.header.stamp)):
                break
        publishing = (time.perf_counter() - ready) * 1e3
        self._statistics.done(0, publishing, {"prepare": prepared})

    def _camera(self, frame: Frame) -> Camera | None:
        """None when nothing is known of it: that is published as such."""
        if frame.camera is None and not self._choice.stated:
            return None
        return camera_of(self._choice, frame, "parameters calibration, fov_deg")

    def _finish(self) -> None:
        self.get_logger().info(
            f"end of {self._source.name} after {self._statistics.processed} images"
            + (f", {self._skipped} skipped" if self._skipped else "")
        )
        self._end.publish(Bool(data=True))
        self._end.wait_for_all_acked(ACKNOWLEDGED)
        if self._settings.flag("exit_at_end") and not self._stopping.wait(DRAIN):
            rclpy.try_shutdown()

    def _fail(self, text: str) -> None:
        self._problem = text
        self.exit_status, self.failure = BAD_INPUT, text
        self.get_logger().error(text)

    # --- diagnostics ----------------------------------------------------------------------------

    def _health(self) -> Health:
        statistics = self._statistics.values()
        values = {
            "source": self._source.name,
            "images": statistics["frames processed"],
            "rate out [Hz]": statistics["rate out [Hz]"],
            "not consumed": str(self._pace.missed),
            "skipped": str(self._skipped),
        }
        if self._problem:
            return Health(Level.ERROR, self._problem, values)
        if not self._thread.is_alive():
            return Health(Level.OK, "end of stream", values)
        if self._misfit:
            return Health(Level.WARN, self._misfit, values)
        if self._source.problem:
            return Health(Level.WARN, self._source.problem, values)
        if simulated(self) and now(self) == 0:
            return Health(Level.WARN, NO_CLOCK, values)
        return Health(Level.OK, "running", values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([CameraNode], argv)


if __name__ == "__main__":
    sys.exit(main())
