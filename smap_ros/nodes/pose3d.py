"""Images to people in metres: the node that runs the model.

A lifecycle node: configure loads the model, activate starts the work, deactivate pauses it,
cleanup releases model and device. Beside it the service ``~/enable`` pauses the work of an active
node, for those who aren't its lifecycle manager.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import rclpy
from rclpy.lifecycle import (
    LifecycleNode,
    LifecyclePublisher,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.errors import SmapError, unexpected
from smap_ros.estimators.factory import create_chosen
from smap_ros.estimators.options import ModelChoice
from smap_ros.graph.floor import check_floor
from smap_ros.graph.middleware import give_back_memory
from smap_ros.graph.node_types import POSE3D_NODE
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.clocks import latency_ms
from smap_ros.nodes.conversions import skeleton_info
from smap_ros.nodes.diagnostics import STEADY, Diagnostics, Health, Level
from smap_ros.nodes.early import EarlyMessages
from smap_ros.nodes.image_watch import ImageInput, ImageWatch
from smap_ros.nodes.lifecycle import refuse_wrong_transitions
from smap_ros.nodes.mesh_markers import MeshMarkers
from smap_ros.nodes.parameters import NodeParameters, Values
from smap_ros.nodes.pipeline import Arrival, LiveCameras, Outcome, Pipeline, Problem
from smap_ros.nodes.runtime import BAD_INPUT, run
from smap_ros.nodes.worker import NewestWins
from smap_ros.nodes.world import WorldFrame

log = logging.getLogger(__name__)

LOG_PERIOD = 5.0  # seconds between two log messages of one kind
# A problem is reported for so long after it last occurred.
PROBLEM_MEMORY = 2.0  # seconds

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE


class Pose3dNode(LifecycleNode):
    """Subscribes ``image`` and ``camera_info``; publishes ``bodies_raw`` and ``skeleton_info``.

    And ``meshes``, where the model gives people's surfaces.

    Attributes:
        exit_status: of the process; not 0 when the model can't be loaded and the node is to exit.
        failure: why, then.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(POSE3D_NODE.name, **options)
        refuse_wrong_transitions(self)
        self.exit_status, self.failure = 0, ""
        self._pipeline: Pipeline | None = None
        self._worker: NewestWins[Arrival] | None = None
        self._publisher: LifecyclePublisher | None = None
        self._info_publisher: Publisher | None = None
        self._meshes: MeshMarkers | None = None
        self._subscriptions_made: list[Subscription] = []
        self._early: list[EarlyMessages] = []
        self._cameras = LiveCameras()
        self._active, self._enabled = False, True  # by the life cycle; by the service
        self._ended = False  # by the life cycle, for good
        self._watch: ImageWatch | None = None
        self._failure = ""
        self._loading = ""  # how far the model's loading is, where that takes long
        self._problem: Problem | None = None  # of the newest image
        self._logged: dict[str, float] = {}
        self._settings = NodeParameters(
            self, POSE3D_NODE.parameters, accept=self._accept, locked=self._locked
        )
        self._cameras.fov_deg = self._settings.number("fov_deg")
        self._diagnostics = Diagnostics(self, "pose estimation", self._health)
        self.create_service(SetBool, "~/enable", self._on_enable)
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
            if not self.context.ok():  # interrupted meanwhile: nothing to tell, and no way to
                self._release()
                return FAILURE
            log.exception("unexpected error on configure")
            return self._refuse_to_configure(unexpected(error))
        self._failure = self._loading = ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to take images, unless disabled. SUCCESS always."""
        self._active = True
        if self._enabled:
            self._resume()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images; the model stays loaded. SUCCESS always."""
        self._active = False
        self._pause()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and its device. SUCCESS always."""
        self._release()
        self._cameras.forget()
        give_back_memory()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state. SUCCESS always."""
        self._ended = True
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
        elif self._settings.text("on_failure") == "exit":
            self.exit_status = BAD_INPUT
            self.failure = f"can't configure: {self._failure}"
            rclpy.try_shutdown(context=self.context)

    def _refuse_to_configure(self, reason: str) -> TransitionCallbackReturn:
        self._failure, self._loading = reason, ""
        self.get_logger().error(f"can't configure: {reason}")
        self._release()
        return FAILURE

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Stop taking images, or take them again; what was said holds over the life cycle."""
        changed, self._enabled = self._enabled != request.data, request.data
        if self._active and changed:
            if self._enabled:
                self._resume()
            else:
                self._pause()
        response.success = True
        response.message = "enabled" if self._enabled else "disabled"
        if self._ended:
            response.success, response.message = False, "the node is shut down; start it anew"
        elif not self._active:
            response.message += "; the node is not active, this holds once it is"
        self.get_logger().info(f"enable service: {response.message}")
        return response

    # --- resources ------------------------------------------------------------------------------

    def _load(self) -> None:
        settings = self._settings
        # A model that has no use for one of the options refuses it by name.
        choice = ModelChoice.of(settings.values())
        bundle = load_bundle(choice.model.bundle)
        live = not settings.flag("images_wait")
        estimator = create_chosen(choice, bundle, live=live, progress=self._say_loading)
        self._pipeline = Pipeline(estimator, self._cameras)
        self._cameras.world = self._world(bundle)
        self._publisher = self.create_lifecycle_publisher(BodyArray, "bodies_raw", qos.RELIABLE)
        self._info_publisher = self.create_publisher(SkeletonInfo, "skeleton_info", qos.LATCHED)
        meshes = self.create_lifecycle_publisher(MarkerArray, "meshes", qos.RELIABLE)
        self._meshes = MeshMarkers(meshes, settings.number("mesh_rate"))
        about = estimator.about
        self._info_publisher.publish(skeleton_info(estimator.skeleton, about))
        self.get_logger().info(f"model: {about}")

    def _say_loading(self, words: str) -> None:
        """Building takes minutes, in which the executor's timer of the diagnostics stands still."""
        self._loading = words
        self._diagnostics.publish()
        self.get_logger().info(words, throttle_duration_sec=10.0)

    def _world(self, bundle: Bundle) -> WorldFrame | None:
        """What tells how the camera is mounted, if TF is to say so."""
        name = self._settings.text("world_frame")
        check_floor(name, bundle, self._settings.values())
        return WorldFrame(self, name) if name else None

    def _subscribe(self) -> None:
        image, info = (self.resolve_topic_name(name) for name in ("image", "camera_info"))
        beside = self._cameras.decide(self._settings.text("rectified"), image, info)
        images = ImageInput.of(self, self._settings)
        self._watch = ImageWatch(self, images)
        self._subscriptions_made = [
            self.create_subscription(images.kind, images.topic, self._on_image, images.profile),
            self.create_subscription(CameraInfo, info, self._on_info, qos.SENSOR),
        ]
        self._early = [EarlyMessages(self, CameraInfo, info, self._cameras.take_early_info)]
        if beside:
            take, early = self._cameras.take_rectified_info, self._cameras.take_early_rectified_info
            self._subscriptions_made.append(
                self.create_subscription(CameraInfo, beside, take, qos.SENSOR)
            )
            self._early.append(EarlyMessages(self, CameraInfo, beside, early))
        decision = self._cameras.rectification
        taken = "rectified" if decision.rectified else "raw"
        self.get_logger().info(f"images of {images.topic} are taken as {taken}: {decision.reason}")

    def _resume(self) -> None:
        assert self._pipeline is not None
        self._worker = NewestWins(self._work, self._pipeline.statistics.replaced, "pose3d")
        self._subscribe()

    def _pause(self) -> None:
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        for early in self._early:
            early.close()
        self._subscriptions_made, self._watch, self._early = [], None, []
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _release(self) -> None:
        self._active = False
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
        if self._watch is not None:
            self._watch.image(message.header.stamp)
        pipeline.statistics.arrived()
        worker.put(Arrival(message, latency_ms(self, message.header.stamp), time.monotonic()))

    def _on_info(self, message: CameraInfo) -> None:
        if self._watch is not None:
            self._watch.info(message.header.stamp)
        self._cameras.take_info(message)

    def _work(self, arrival: Arrival) -> None:
        """Runs in the worker's thread."""
        assert self._pipeline is not None
        for outcome in self._pipeline.process(arrival):
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        """Publish people, or report why there are none."""
        pipeline, publisher, meshes = self._pipeline, self._publisher, self._meshes
        assert pipeline is not None and publisher is not None and meshes is not None
        self._problem, message = outcome.problem, outcome.message
        if message is None:
            if outcome.problem is not None:
                self._report(outcome.problem)
            return
        try:
            publisher.publish(message)
            pipeline.finish(outcome, latency_ms(self, message.header.stamp))
            meshes.show(outcome.people, message.header)  # last: they are for the eye alone
        except RuntimeError:  # of the middleware, when the process is ending
            if self.context.ok():
                raise

    def _report(self, problem: Problem) -> None:
        """Log a problem, each kind at most once in a period."""
        if problem.time - self._logged.get(problem.kind, -LOG_PERIOD) >= LOG_PERIOD:
            self._logged[problem.kind] = problem.time
            self.get_logger().error(problem.text)

    # --- parameters and diagnostics -------------------------------------------------------------

    def _accept(self, values: Values) -> None:
        fov, rate = values["fov_deg"], values["mesh_rate"]
        assert fov is not None and rate is not None
        self._cameras.fov_deg = float(fov)
        if self._meshes is not None:
            self._meshes.rate = float(rate)

    def _locked(self) -> str | None:
        if self._pipeline is None:
            return None
        return "the model is loaded; deactivate and clean up the node first"

    def _health(self) -> Health:
        pipeline = self._pipeline
        if self._ended:
            return Health(Level.OK, "shut down by its lifecycle manager; start it anew")
        if pipeline is None:
            if self._loading:
                return Health(Level.WARN, f"not configured yet: {self._loading}")
            if self._failure:
                return Health(Level.ERROR, f"not configured: {self._failure}")
            return Health(Level.OK, "not configured")
        values = {
            "model": str(pipeline.about),
            **({"not used": "; ".join(pipeline.about.notes)} if pipeline.about.notes else {}),
            "camera": self._cameras.source,
            **pipeline.statistics.values(),
        }
        if self._watch is None:
            paused = self._active and not self._enabled
            reason = "disabled by the enable service" if paused else "inactive"
            return Health(Level.OK, reason, values)
        doubt, seen = self._watch.report()
        values |= seen
        problem = self._problem
        if problem is not None and time.monotonic() - problem.time < PROBLEM_MEMORY:
            return Health(Level.ERROR, problem.text, values)
        if doubt is None:
            return Health(Level.OK, "running", values)
        return Health(doubt.level, doubt.text, values)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([Pose3dNode], argv)


if __name__ == "__main__":
    sys.exit(main())
