"""Whether a camera's images get through to a node, and what helps if they don't."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from smap_ros.graph.middleware import lost_images_advice
from smap_ros.nodes.clocks import clock_trouble, now, simulated
from smap_ros.nodes.conversions import seconds
from smap_ros.nodes.diagnostics import SILENCE, Level
from smap_ros.nodes.loss import Loss, LossMeter
from smap_ros.nodes.offers import Offer, mismatch, offers

# Below that share a lost image now and then is nobody's trouble.
LOSSY = 0.1


@dataclass(frozen=True)
class Doubt:
    """What is wrong with the images that come, or don't.

    Attributes:
        kind: those of one kind are logged once.
        level: how bad it is.
        text: what, and what to do.
    """

    kind: str
    level: Level
    text: str


class ImageWatch:
    """Watches the images of a topic.

    Args:
        node: subscribes them.
        topic: of the images, its full name.
        kind: of the messages.
        reliable: whether the subscription asks for reliable ones.
    """

    def __init__(
        self, node: Node, topic: str, kind: type[Image | CompressedImage], reliable: bool
    ) -> None:
        self._node, self._topic, self._reliable = node, topic, reliable
        self._compressed = kind is CompressedImage
        self._kind = f"sensor_msgs/msg/{kind.__name__}"
        self._meter = LossMeter()
        self._last = time.monotonic()
        self._clocks = ""  # what is wrong with the newest stamp

    def image(self, message: Image | CompressedImage) -> None:
        """An image arrived."""
        self._last = time.monotonic()
        stamp = seconds(message.header.stamp)
        self._clocks = clock_trouble(stamp, now(self._node), simulated(self._node))
        self._meter.image(stamp)

    def info(self, message: CameraInfo) -> None:
        """A CameraInfo arrived."""
        self._meter.info(seconds(message.header.stamp))

    def look(self) -> tuple[Doubt | None, dict[str, str]]:
        """What is wrong, None when images come; and what is known, for diagnostics."""
        found = offers(self._node, self._topic)
        loss = self._meter.loss()
        values = {
            **loss_values(loss),
            "image publishers": "; ".join(str(offer) for offer in found) or "none",
        }
        if time.monotonic() - self._last > SILENCE:
            return self._silence(found), values
        if loss is None or loss.share < LOSSY:
            return (Doubt("clocks", Level.WARN, self._clocks) if self._clocks else None), values
        text = (
            f"the camera sends about {loss.sent:.3g} Hz on {self._topic}, {loss.arrived:.2g} Hz "
            f"arrive; {self._advice(found)}"
        )
        return Doubt("lost", Level.WARN, text), values

    def _silence(self, found: tuple[Offer, ...]) -> Doubt:
        wrong = mismatch(found, self._topic, self._kind, self._reliable)
        if wrong:
            return Doubt("mismatch", Level.ERROR, wrong)
        text = f"no image on {self._topic} for {SILENCE:g} s; "
        if not found:
            return Doubt(
                "silent", Level.WARN, f"{text}nobody publishes it: check the camera and the name"
            )
        if self._meter.info_rate:
            return Doubt(
                "lost",
                Level.WARN,
                f"{text}its CameraInfo comes at {self._meter.info_rate:.3g} Hz, so the images get "
                f"lost: {self._advice(found)}",
            )
        return Doubt(
            "silent", Level.WARN, f"{text}check the camera: {found[0].node} publishes none"
        )

    def _advice(self, found: tuple[Offer, ...]) -> str:
        return lost_images_advice(
            get_rmw_implementation_identifier(),
            os.environ,
            remote=bool(found) and all(offer.remote for offer in found),
            compressed=self._compressed,
        )


def loss_values(loss: Loss | None) -> dict[str, str]:
    """A loss by keys of diagnostics."""
    if loss is None:
        return {"camera rate [Hz]": "unknown", "images lost [%]": "unknown"}
    return {
        "camera rate [Hz]": f"{loss.sent:.1f}",
        "images lost [%]": f"{100 * loss.share:.0f}",
    }
