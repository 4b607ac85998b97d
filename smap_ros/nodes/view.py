"""People in a browser: the node behind `smap-ros view`.

It subscribes only while a browser is there, and takes the newest of everything: it can be left
running without slowing the graph down.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from smap_ros.bags.messages import image_from_message
from smap_ros.bags.surfaces import Welder, surfaces_from_markers
from smap_ros.bodies import BodyFrame, Mesh
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, SmapError
from smap_ros.geometry.mounting import Mounting
from smap_ros.graph.node_types import NODES, VIEW_NODE
from smap_ros.images import BitDepth
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.clocks import latency_ms
from smap_ros.nodes.conversions import bodies_from_message, seconds
from smap_ros.nodes.diagnostics import DEPTH, STEADY, TOPIC, Diagnostics, Health, Level
from smap_ros.nodes.early import EarlyMessages
from smap_ros.nodes.image_watch import ImageInput, ImageWatch, image_bytes
from smap_ros.nodes.parameters import NodeParameters, Values
from smap_ros.nodes.pipeline import LiveCameras
from smap_ros.nodes.runtime import run
from smap_ros.nodes.worker import NewestWins
from smap_ros.nodes.world import WorldFrame
from smap_ros.view.access import address, exposure, require_viser
from smap_ros.view.live import Live, Pictures
from smap_ros.view.scene import View
from smap_ros.view.vitals import Vitals, latency, panel

LOOK_PERIOD = 0.25  # seconds between two looks whether a browser is there
STATUS_PERIOD = 0.5  # seconds between two updates of the panel
# How wide the picture of a camera is drawn that tells no calibration.
ASSUMED_OPENING = math.radians(60)
# People who don't come for so long: the picture is shown without them.
ALONE = 1.0  # seconds
OVERTAKEN = 0.1  # seconds that a picture, which is large, may come after its people

# The newest only, and none that the publisher would have to send again.
NEWEST = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT
)


class ViewNode(Node):
    """Subscribes ``bodies``, ``image``, ``camera_info``, ``meshes``, ``skeleton_info``.

    And ``/diagnostics``. Publishes nothing but its own diagnostics: it serves a page.
    """

    _whole = False  # a node that refuses its parameters is destroyed half made, from Kilted on

    def __init__(self, **options: Any) -> None:
        super().__init__(VIEW_NODE.name, **options)
        self._settings = NodeParameters(self, VIEW_NODE.parameters, accept=self._accept)
        require_viser()
        from smap_ros.view.page import Page  # with viser, which not everybody has

        host, port = self._settings.text("view_host"), self._settings.whole("view_port")
        space = self.get_namespace().strip("/")
        self._live = Live([f"{space}/{name}".lstrip("/") for name in NODES])
        self._cameras = LiveCameras()
        self._depth = BitDepth()
        self._accept(self._settings.values())
        self._pictures: Pictures[Image | CompressedImage] = Pictures(image_bytes)
        self._meshes: dict[int, Mesh] = {}
        self._mesh_ends: dict[int, float] = {}  # of their lifetime, by time.monotonic
        self._welder = Welder()
        self._notes: dict[str, str] = {}  # for the panel, by topic
        self._made: list[Subscription] = []
        self._early: list[EarlyMessages] = []
        self._watch: ImageWatch | None = None
        self._stopped = threading.Event()
        self._last_bodies = self._last_status = 0.0
        self.shown = 0
        world = self._settings.text("world_frame")
        self._cameras.world = WorldFrame(self, world) if world else None
        self._page = Page(host, port)
        self._worker: NewestWins[BodyArray | None] = NewestWins(self._work, lambda: None, "view")
        self.create_timer(LOOK_PERIOD, self._look, clock=STEADY)
        self._whole = True
        self._diagnostics = Diagnostics(self, "viewer", self._health)
        warning = exposure(host, self._page.port)
        if warning is not None:
            self.get_logger().warning(warning)
        self.get_logger().info(f"open {address(host, self._page.port)} in a browser")

    @property
    def port(self) -> int:
        """Where the page is served."""
        return self._page.port

    def destroy_node(self) -> None:
        """Stop serving, then the node."""
        if self._whole:
            self._stopped.set()
            self._worker.stop()
            self._page.close()
        super().destroy_node()

    # --- subscriptions --------------------------------------------------------------------------

    def _look(self) -> None:
        """Subscribe while somebody is there, and keep the panel up to date."""
        if not self._page.watched:
            self._leave()
            return
        if not self._made:
            self._subscribe()
        now = time.monotonic()
        self._keep_meshes({k: m for k, m in self._meshes.items() if now < self._mesh_ends[k]})
        if now - self._last_bodies > ALONE:
            self._worker.put(None)
        if now - self._last_status > STATUS_PERIOD:
            self._last_status = now
            vitals = self._live.vitals()
            self._page.show_status(panel(vitals, self._notes), latency(vitals))

    def _subscribe(self) -> None:
        image, info = (self.resolve_topic_name(name) for name in ("image", "camera_info"))
        images = ImageInput.of(self, self._settings)
        self._watch = ImageWatch(self, images)
        beside = self._cameras.decide(self._settings.text("rectified"), image, info)
        create = self.create_subscription
        self._made = [
            create(BodyArray, "bodies", self._on_bodies, NEWEST),
            create(images.kind, images.topic, self._on_image, images.profile),
            create(CameraInfo, info, self._on_info, NEWEST),
            create(SkeletonInfo, "skeleton_info", self._on_skeleton, qos.LATCHED),
            create(MarkerArray, "meshes", self._on_meshes, NEWEST, raw=True),
            create(DiagnosticArray, TOPIC, self._on_diagnostics, DEPTH),
        ]
        cameras = self._cameras
        self._early = [EarlyMessages(self, CameraInfo, info, cameras.take_early_info)]
        if beside:
            self._made.append(create(CameraInfo, beside, cameras.take_rectified_info, NEWEST))
            early = EarlyMessages(self, CameraInfo, beside, cameras.take_early_rectified_info)
            self._early.append(early)

    def _leave(self) -> None:
        for subscription in self._made:
            self.destroy_subscription(subscription)
        for early in self._early:
            early.close()
        self._made, self._watch, self._early = [], None, []
        self._pictures.clear()
        self._keep_meshes({})

    def _keep_meshes(self, kept: dict[int, Mesh]) -> None:
        """Show no other surfaces than these, of those that there are."""
        if len(kept) < len(self._meshes):
            self._meshes = kept
            self._page.show_surfaces(kept)

    def _on_bodies(self, message: BodyArray) -> None:
        self._last_bodies = time.monotonic()
        self._worker.put(message)

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = message.header.stamp
        if self._watch is not None:
            self._watch.image(stamp)
        self._pictures.keep((stamp.sec, stamp.nanosec), message)

    def _on_info(self, message: CameraInfo) -> None:
        if self._watch is not None:
            self._watch.info(message.header.stamp)
        self._cameras.take_info(message)

    def _on_skeleton(self, message: SkeletonInfo) -> None:
        version = f" {message.model_version}" if message.model_version else ""
        self._notes |= {"model": f"{message.model}{version}", "engine": message.engine}

    def _on_meshes(self, message: bytes) -> None:
        try:
            surfaces = surfaces_from_markers(message)
        except SmapError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        new = {identity: self._welder.mesh(c) for identity, c in surfaces.corners.items()}
        kept = {} if surfaces.all_gone else self._meshes
        self._meshes = {k: m for k, m in (kept | new).items() if k not in surfaces.gone}
        now = time.monotonic()
        ends = self._mesh_ends | {k: now + seconds for k, seconds in surfaces.lifetimes.items()}
        self._mesh_ends = {k: ends[k] for k in self._meshes}
        self._page.show_surfaces(self._meshes)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._live.hear(Vitals.from_status(status))

    # --- showing --------------------------------------------------------------------------------

    def _work(self, message: BodyArray | None) -> None:
        """Show a frame, or the newest picture alone; runs in the worker's thread."""
        started = time.monotonic()
        try:
            if message is None:
                self._show_alone()
            else:
                self._show(message)
        except SmapError as error:
            self._notes["problem here"] = str(error)
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
        period = 1 / self._settings.number("view_rate")
        self._stopped.wait(max(0.0, period - (time.monotonic() - started)))

    def _show(self, message: BodyArray) -> None:
        header = message.header
        stamp = seconds(header.stamp)
        camera = self._camera(header, message.image_width, message.image_height)
        frame = BodyFrame(bodies_from_message(message), camera, stamp, header.frame_id)
        if camera.mounting is not None:
            self._live.mounting = camera.mounting
        view = self._live.add(frame, [body.predicted for body in message.bodies])
        self._page.show(view)
        self._show_picture((header.stamp.sec, header.stamp.nanosec))
        age = latency_ms(self, header.stamp)
        told = "stamped by another clock" if math.isnan(age) else f"{age:.0f} ms"
        floor = view.floor
        self._notes |= {
            "people": str(len(frame)),
            "age when shown": told,
            "camera height": f"{floor.mounting.height:.2f} m, {floor.known.value}",
        }
        self._notes.pop("problem here", None)
        self.shown += 1

    def _show_alone(self) -> None:
        """The newest picture, if there is one, while nobody says who is in it."""
        self._notes["people"] = f"none came on {self.resolve_topic_name('bodies')}"
        self._notes.pop("age when shown", None)
        message = self._pictures.of(None)
        if message is None:
            self._page.show(View((), self._live.floor))
            return
        height, width = image_from_message(message).shape[:2]
        camera = self._camera(message.header, width, height)
        self._page.show(View((), self._live.floor, camera))
        self._show_picture(None)

    def _camera(self, header: Header, width: int, height: int) -> Camera:
        """The camera of an image; a usual one where it isn't known, with a note that says why."""
        try:
            camera = self._cameras.camera(header.frame_id, width, height, seconds(header.stamp))
        except CameraError as error:
            self._notes["calibration"] = str(error)
            return Camera.from_fov(width, height, ASSUMED_OPENING)
        self._notes.pop("calibration", None)
        return camera

    def _picture(self, stamp: tuple[int, int] | None) -> Image | CompressedImage | None:
        """The newest one without a stamp, else that of the stamp, which may be on its way."""
        if stamp is None:
            return self._pictures.of(None)
        if (found := self._pictures.exactly(stamp)) is None:
            self._stopped.wait(OVERTAKEN)
            found = self._pictures.exactly(stamp)
        return found

    def _show_picture(self, stamp: tuple[int, int] | None) -> None:
        wanted = self._page.wants("picture")
        message = self._picture(stamp) if wanted else None
        self._notes.pop("picture", None)
        if wanted and message is None:
            self._notes["picture"] = "none is at hand of the image that the people were found in"
        shown = None if message is None else image_from_message(message, self._depth)
        self._page.show_picture(shown)

    # --- parameters and diagnostics -------------------------------------------------------------

    def _accept(self, values: Values) -> None:
        self._cameras.fov_deg = float(values["fov_deg"] or 0)  # or it is refused, and all stays
        self._live.trail = float(values["view_trail"] or 0)
        height = values["camera_height"]
        pitch, roll = (
            math.radians(float(values[f"camera_{name}_deg"] or 0)) for name in ("pitch", "roll")
        )
        if height is not None:
            self._live.mounting = Mounting(float(height), pitch, roll)

    def _health(self) -> Health:
        values = {"port": str(self.port), "frames shown": str(self.shown)}
        if self._watch is None:
            return Health(Level.OK, "nobody looks", values)
        # A graph that stands still can be looked at as well.
        doubt, seen = self._watch.report(silence=False)
        if doubt is None:
            self._notes.pop("images", None)
            return Health(Level.OK, "somebody looks", values | seen)
        self._notes["images"] = doubt.text
        return Health(doubt.level, doubt.text, values | seen)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([ViewNode], argv)


if __name__ == "__main__":
    sys.exit(main())
