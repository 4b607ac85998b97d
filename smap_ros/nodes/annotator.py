"""Pictures with skeletons, made only while somebody looks at them."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from smap_ros.bags.messages import image_from_message
from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import SmapError
from smap_ros.images import BitDepth
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_image
from smap_ros.nodes.diagnostics import STEADY
from smap_ros.nodes.image_watch import ImageInput, image_bytes
from smap_ros.view.live import MAX_PICTURES, PICTURE_BYTES, Pictures
from smap_ros.viz.draw import WEAK_SCORE, draw_frame

LOOK_PERIOD = 0.25  # seconds between two looks at who subscribes
# Best effort loses an image now and then; so many in a row are no accident.
MISSED_IN_A_ROW = 3
SETTLED = 5.0  # seconds after somebody began to look: people of earlier images have come by then


class Annotator:
    """Publishes ``image_annotated``; takes images only while it has a subscriber.

    Args:
        node: the node.
        images: what is drawn on.

    Attributes:
        drawn: pictures so far.
        missed: people whose image was not at hand, though somebody looked.
        draw_ms: how long the last picture took, milliseconds.
    """

    def __init__(self, node: Node, images: ImageInput) -> None:
        self._node, self._input = node, images
        self._images: Pictures[Image | CompressedImage] = Pictures(image_bytes)
        self._subscription: Subscription | None = None
        self._publisher = node.create_publisher(Image, "image_annotated", qos.SENSOR)
        self._timer = node.create_timer(LOOK_PERIOD, self._look, clock=STEADY)
        self._depth = BitDepth()
        self.drawn = self.missed = self._missed_in_a_row = 0
        self._since = 0.0  # when somebody began to look
        self.draw_ms = 0.0

    def annotate(self, message: BodyArray, bodies: tuple[Body, ...]) -> None:
        """Draw the people on their image, if it is at hand and somebody looks."""
        if self._subscription is None:
            return
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        image = self._images.exactly(stamp)
        if image is None:
            self._miss()
            return
        self._missed_in_a_row = 0
        started = time.perf_counter()
        try:
            canvas = image_from_message(image, self._depth)
            height, width = canvas.shape[:2]
            # Drawing uses the people's pixels; of the camera, only the size.
            camera = Camera.from_fov(width, height, 1.0)
            canvas = draw_frame(canvas, BodyFrame(_as_seen(message, bodies), camera))
        except SmapError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        self._publisher.publish(array_to_image(canvas, message.header))
        self.drawn += 1
        self.draw_ms = (time.perf_counter() - started) * 1e3

    @property
    def problem(self) -> str:
        """Why nobody gets a picture, in one line; empty when they are drawn."""
        if self._missed_in_a_row < MISSED_IN_A_ROW:
            return ""
        if self._images.of(None) is None:
            return f"no image_annotated: no images come on {self._input.topic}"
        return (
            "no image_annotated: the people come later than their images are kept, "
            f"{MAX_PICTURES} or {PICTURE_BYTES / 1e6:g} MB, or the images of "
            f"{self._input.topic} are others; lower smoothing_delay, or take smaller images "
            "(compressed:=true)"
        )

    def _miss(self) -> None:
        """No image of these people, who may be of the time before anybody looked."""
        if time.monotonic() - self._since > SETTLED:
            self.missed += 1
            self._missed_in_a_row += 1

    def _look(self) -> None:
        watched = self._publisher.get_subscription_count() > 0
        if watched and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._input.kind, self._input.topic, self._keep, self._input.profile
            )
            self._since, self._missed_in_a_row = time.monotonic(), 0
        elif not watched and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self._images.clear()
            self._missed_in_a_row = 0

    def _keep(self, message: Image | CompressedImage) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        self._images.keep(stamp, message)


def _as_seen(message: BodyArray, bodies: tuple[Body, ...]) -> tuple[Body, ...]:
    """The bodies; those whom the image doesn't show are drawn like joints that it doesn't."""
    weakest = np.nextafter(np.float32(WEAK_SCORE), np.float32(0))
    return tuple(
        replace(body, scores=np.minimum(body.scores, weakest)) if told.predicted else body
        for told, body in zip(message.bodies, bodies, strict=True)
    )
