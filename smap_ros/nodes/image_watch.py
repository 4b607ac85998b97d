"""Whether a camera's images get through to a node, and what helps if they don't."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from smap_ros.graph.middleware import lost_images_advice
from smap_ros.nodes import qos
from smap_ros.nodes.clocks import clock_trouble, now, simulated
from smap_ros.nodes.conversions import seconds
from smap_ros.nodes.diagnostics import SILENCE, Level
from smap_ros.nodes.loss import Loss, LossMeter
from smap_ros.nodes.offers import Offer, mismatch, offers
from smap_ros.nodes.parameters import NodeParameters

# Below that share a lost image now and then is nobody's trouble.
LOSSY = 0.1
SILENT = "silent"  # kind of doubt: nobody sends any


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


@dataclass(frozen=True)
class ImageInput:
    """How a node has its images.

    Attributes:
        topic: its full name.
        kind: of the messages.
        profile: quality of service that they are subscribed with.
    """

    topic: str
    kind: type[Image | CompressedImage]
    profile: QoSProfile

    @classmethod
    def of(cls, node: Node, settings: NodeParameters) -> ImageInput:
        """As the parameters of ``ImageQuality`` say."""
        image: str = node.resolve_topic_name("image")
        if settings.flag("compressed"):
            return cls(f"{image}/compressed", CompressedImage, qos.images(settings))
        return cls(image, Image, qos.images(settings))

    @property
    def compressed(self) -> bool:
        """Whether they are compressed."""
        return self.kind is CompressedImage

    @property
    def reliable(self) -> bool:
        """Whether reliable ones are asked for."""
        return bool(self.profile.reliability == QoSReliabilityPolicy.RELIABLE)


def image_bytes(message: Image | CompressedImage) -> int:
    """How much memory an image takes."""
    return len(message.data)


class ImageWatch:
    """Watches the images of a topic.

    Args:
        node: subscribes them.
        images: what it subscribes.
    """

    def __init__(self, node: Node, images: ImageInput) -> None:
        self._node, self._images, self._topic = node, images, images.topic
        self._kind = f"sensor_msgs/msg/{images.kind.__name__}"
        self._meter = LossMeter()
        self._last = time.monotonic()
        self._clocks = ""  # what is wrong with the newest stamp
        self._said: set[str] = set()  # kinds of doubts

    def image(self, stamp: Time) -> None:
        """An image of that stamp arrived."""
        self._last = time.monotonic()
        at = seconds(stamp)
        self._clocks = clock_trouble(at, now(self._node), simulated(self._node))
        self._meter.image(at)

    def info(self, stamp: Time) -> None:
        """A CameraInfo of that stamp arrived."""
        self._meter.info(seconds(stamp))

    def report(self, silence: bool = True) -> tuple[Doubt | None, dict[str, str]]:
        """As :meth:`look`; what is wrong is logged, each kind once.

        Args:
            silence: whether a camera that sends nothing is worth a word.
        """
        doubt, values = self.look()
        if doubt is not None and doubt.kind == SILENT and not silence:
            doubt = None
        if doubt is not None and doubt.kind not in self._said:
            self._said.add(doubt.kind)
            self._node.get_logger().warning(doubt.text)
        return doubt, values

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
        several = self._several(found)
        if several:
            return Doubt("several", Level.WARN, several), values
        if loss is None or loss.share < LOSSY:
            return (Doubt("clocks", Level.WARN, self._clocks) if self._clocks else None), values
        text = (
            f"the camera sends about {loss.sent:.3g} Hz on {self._topic}, {loss.arrived:.2g} Hz "
            f"arrive; {self._advice(found)}"
        )
        return Doubt("lost", Level.WARN, text), values

    def _several(self, found: tuple[Offer, ...]) -> str:
        """That images of several cameras come mixed; empty if they don't."""
        nodes = sorted({offer.node for offer in found if offer.kind == self._kind})
        if len(nodes) < 2:
            return ""
        return (
            f"{len(nodes)} nodes publish images on {self._topic} ({', '.join(nodes)}), which are "
            "taken for those of one camera: stop all but one, or give each a topic of its own"
        )

    def _silence(self, found: tuple[Offer, ...]) -> Doubt:
        wrong = mismatch(found, self._topic, self._kind, self._images.reliable)
        if wrong:
            return Doubt("mismatch", Level.ERROR, wrong)
        text = f"no image on {self._topic} for {SILENCE:g} s; "
        if not found:
            return Doubt(
                SILENT, Level.WARN, f"{text}nobody publishes it: check the camera and the name"
            )
        if self._meter.info_rate:
            return Doubt(
                "lost",
                Level.WARN,
                f"{text}its CameraInfo comes at {self._meter.info_rate:.3g} Hz, so the images get "
                f"lost: {self._advice(found)}",
            )
        return Doubt(SILENT, Level.WARN, f"{text}check the camera: {found[0].node} publishes none")

    def _advice(self, found: tuple[Offer, ...]) -> str:
        return lost_images_advice(
            get_rmw_implementation_identifier(),
            os.environ,
            remote=bool(found) and all(offer.remote for offer in found),
            compressed=self._images.compressed,
        )


def loss_values(loss: Loss | None) -> dict[str, str]:
    """A loss by keys of diagnostics."""
    if loss is None:
        return {"camera rate [Hz]": "unknown", "images lost [%]": "unknown"}
    return {
        "camera rate [Hz]": f"{loss.sent:.1f}",
        "images lost [%]": f"{100 * loss.share:.0f}",
    }
