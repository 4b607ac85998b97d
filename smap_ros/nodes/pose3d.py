"""Images to people in metres: the node that runs the model.

A lifecycle node: configure loads the model, activate starts the work, deactivate pauses it,
cleanup releases model and device.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rclpy.lifecycle import (
    LifecycleNode,
    LifecyclePublisher,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.errors import InputError, SmapError
from smap_ros.estimators import create_estimator
from smap_ros.graph.parameters import Value
from smap_ros.graph.plan import POSE3D_NODE
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import seconds, skeleton_info
from smap_ros.nodes.diagnostics import STEADY, Diagnostics, Health, Level
from smap_ros.nodes.lifecycle import refuse_wrong_transitions
from smap_ros.nodes.mesh_markers import MeshMarkers
from smap_ros.nodes.parameters import NodeParameters
from smap_ros.nodes.pipeline import Arrival, CameraChoice, Pipeline
from smap_ros.nodes.runtime import run
from smap_ros.nodes.worker import NewestWins
from smap_ros.nodes.world import WorldFrame

log = logging.getLogger(__name__)

LOG_PERIOD = 5.0  # seconds between two log messages of one kind
# A problem is reported for so long after it last occurred.
PROBLEM_MEMORY = 2.0  # seconds
SILENCE = 2.0  # seconds without images after which they are missed

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE


class Pose3dNode(LifecycleNode):
    """Subscribes ``image`` and ``camera_info``; publishes ``bodies_raw`` and ``skeleton_info``.

    And ``meshes``, where the model gives people's surfaces.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(POSE3D_NODE.name, **options)
        refuse_wrong_transitions(self)
        self._pipeline: Pipeline | None = None
        self._worker: NewestWins[Arrival] | None = None
        self._publisher: LifecyclePublisher | None = None
        self._info_publisher: Publisher | None = None
        self._meshes: MeshMarkers | None = None
        self._subscriptions_made: list[Subscription] = []
        self._cameras = CameraChoice()
        self._active_since = 0.0
        self._last_image = 0.0
        self._failure = ""
        self._logged: dict[str, float] = {}
        self._settings = NodeParameters(
            self, POSE3D_NODE.parameters, accept=self._accept, locked=self._locked
        )
        self._cameras.fov_deg = self._settings.number("fov_deg")
        self._diagnostics = Diagnostics(self, "pose estimation", self._health)
        self._start_timer = self.create_timer(0.0, self._start, clock=STEADY)

    # --- lifecycle ------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model. FAILURE, with the reason in the log, leaves the node unconfigured."""
        self._diagnostics.publish()  # loading takes seconds: say first that we are here
        try:
            self._load()
        except SmapError as error:
            return self._refuse_to_configure(str(error))
        except Exception as error:  # rclpy would swallow it: say what happened, and live on
            if not self.context.ok():
                return self._refuse_to_configure("interrupted while loading the model")
            log.exception("unexpected error on configure")
            return self._refuse_to_configure(f"unexpected error: {error!r}")
        self._failure = ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to take images. SUCCESS always."""
        assert self._pipeline is not None
        self._active_since, self._last_image = time.monotonic(), 0.0
        self._worker = NewestWins(self._work, self._pipeline.statistics.replaced, "pose3d")
        self._subscribe()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images; the model stays loaded. SUCCESS always."""
        self._pause()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and its device. SUCCESS always."""
        self._release()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state. SUCCESS always."""
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything after a transition failed unexpectedly. SUCCESS: unconfigured."""
        self.get_logger().error(f"a transition from {state.label} failed unexpectedly")
        self._release()
        return SUCCESS

    def destroy_node(self) -> None:
        """Release everything, then the node."""
        self._release()
        super().destroy_node()

    def _start(self) -> None:
        self._start_timer.cancel()
        if not self._settings.flag("autostart"):
            return
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _refuse_to_configure(self, reason: str) -> TransitionCallbackReturn:
        self._failure = reason
        self.get_logger().error(f"can't configure: {reason}")
        self._release()
        return FAILURE

    # --- resources ------------------------------------------------------------------------------

    def _load(self) -> None:
        settings = self._settings
        stated = {
            "min_score": settings.number("min_score") >= 0,
            "min_joints": settings.whole("min_joints") > 0,
            "camera_height": settings.number("camera_height") > 0,
            "camera_pitch_deg": settings.number("camera_pitch_deg") != 0,
            "delay": settings.whole("delay") > 0,
            "stride": settings.whole("stride") > 0,
        }
        # A model that has no use for one of them refuses it by name.
        options: dict[str, Any] = {name: settings[name] for name in stated if stated[name]}
        if settings.text("flip_test") != "bundle":
            options["flip_test"] = settings.text("flip_test") == "on"
        bundle = load_bundle(settings.text("bundle"))
        estimator = create_estimator(
            bundle,
            engine=settings.text("engine"),
            threads=settings.whole("threads"),
            precision="auto" if settings.text("precision") == "auto" else "f32",
            **options,
        )
        self._pipeline = Pipeline(estimator, self._cameras)
        self._cameras.world = self._world(bundle)
        self._publisher = self.create_lifecycle_publisher(BodyArray, "bodies_raw", qos.RELIABLE)
        self._info_publisher = self.create_publisher(SkeletonInfo, "skeleton_info", qos.LATCHED)
        meshes = self.create_lifecycle_publisher(MarkerArray, "meshes", qos.RELIABLE)
        self._meshes = MeshMarkers(meshes, settings.number("mesh_rate"))
        engine = estimator.description.rpartition(" on ")[2]
        self._info_publisher.publish(
            skeleton_info(estimator.skeleton, bundle.name, bundle.manifest.version, engine)
        )
        self.get_logger().info(f"model: {estimator.description}")

    def _world(self, bundle: Bundle) -> WorldFrame | None:
        """What tells how the camera is mounted, if TF is to say so."""
        name = self._settings.text("world_frame")
        if not name:
            return None
        if bundle.kind != "virtualpose":
            raise InputError(
                f"world_frame is {name!r}, but bundle {bundle.name!r} is of kind {bundle.kind!r}, "
                "which needs no floor; leave it empty"
            )
        if self._settings.number("camera_height") > 0:
            raise InputError(
                f"camera_height is stated and world_frame is {name!r}; expected one of the two"
            )
        return WorldFrame(self, name)

    def _subscribe(self) -> None:
        image = self.resolve_topic_name("image")
        kind, topic = Image, image
        if self._settings.flag("compressed"):
            kind, topic = CompressedImage, f"{image}/compressed"
        self._subscriptions_made = [
            self.create_subscription(kind, topic, self._on_image, qos.SENSOR),
            self.create_subscription(
                CameraInfo, "camera_info", self._cameras.take_info, qos.SENSOR
            ),
        ]

    def _pause(self) -> None:
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made = []
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _release(self) -> None:
        self._pause()
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None
        if self._cameras.world is not None:
            self._cameras.world.close()
            self._cameras.world = None
        if self._publisher is not None:
            self.destroy_lifecycle_publisher(self._publisher)
            self._publisher = None
        if self._info_publisher is not None:
            self.destroy_publisher(self._info_publisher)
            self._info_publisher = None
        if self._meshes is not None:
            self.destroy_lifecycle_publisher(self._meshes.publisher)
            self._meshes = None

    # --- frames ---------------------------------------------------------------------------------

    def _on_image(self, message: Image | CompressedImage) -> None:
        pipeline, worker = self._pipeline, self._worker
        if pipeline is None or worker is None:
            return
        self._last_image = time.monotonic()
        pipeline.statistics.arrived()
        worker.put(Arrival(message, self._age(message), self._last_image))

    def _age(self, message: Image | CompressedImage | BodyArray) -> float:
        """Seconds since a message's stamp."""
        return self.get_clock().now().nanoseconds * 1e-9 - seconds(message.header.stamp)

    def _work(self, arrival: Arrival) -> None:
        """Runs in the worker's thread."""
        pipeline, publisher, meshes = self._pipeline, self._publisher, self._meshes
        assert pipeline is not None and publisher is not None and meshes is not None
        bodies = pipeline.process(arrival)
        if bodies is None:
            if pipeline.problem[0]:
                self._report(*pipeline.problem)
            return
        try:
            publisher.publish(bodies)
            pipeline.finish(len(bodies.bodies), self._age(bodies))
            meshes.show(pipeline.people, bodies.header)  # last: they are for the eye alone
        except RuntimeError:  # of the middleware, when the process is ending
            if self.context.ok():
                raise

    def _report(self, kind: str, text: str) -> None:
        """Log a problem, each kind at most once in a period."""
        now = time.monotonic()
        if now - self._logged.get(kind, -LOG_PERIOD) >= LOG_PERIOD:
            self._logged[kind] = now
            self.get_logger().error(text)

    # --- parameters and diagnostics -------------------------------------------------------------

    def _accept(self, values: Mapping[str, Value]) -> None:
        self._cameras.fov_deg = float(values["fov_deg"])
        if self._meshes is not None:
            self._meshes.rate = float(values["mesh_rate"])

    def _locked(self) -> str | None:
        if self._pipeline is None:
            return None
        return "the model is loaded; deactivate and clean up the node first"

    def _health(self) -> Health:
        pipeline = self._pipeline
        if pipeline is None:
            if self._failure:
                return Health(Level.ERROR, f"not configured: {self._failure}")
            return Health(Level.OK, "not configured")
        values = {"model": pipeline.description, **pipeline.statistics.values()}
        if self._worker is None:
            return Health(Level.OK, "inactive", values)
        now = time.monotonic()
        kind, text = pipeline.problem
        if kind and now - pipeline.problem_time < PROBLEM_MEMORY:
            return Health(Level.ERROR, text, values)
        if now - max(self._last_image, self._active_since) > SILENCE:
            topic = self.resolve_topic_name("image")
            text = f"no image on {topic} for {SILENCE:g} s; check the camera and the topic's name"
            return Health(Level.WARN, text, values)
        return Health(Level.OK, "running", values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([Pose3dNode], argv)


if __name__ == "__main__":
    sys.exit(main())
