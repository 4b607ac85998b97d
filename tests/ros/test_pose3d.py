"""The pose node in a process of its own: images in, people out, whatever is thrown at it."""

from __future__ import annotations

import array
import shutil
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.srv import DescribeParameters
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import SetBool

from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_compressed
from tests.ros.pose3d_client import (
    ENGINE,
    NODE,
    answer,
    calibrated_node,
    change_state,
    set_parameter,
    stamp_of,
    state,
)


@pytest.fixture
def running(start, observer, eye, scene_bundle):
    return calibrated_node(start, observer, eye, scene_bundle)


def test_without_or_with_an_uncalibrated_camera_there_is_an_error_and_no_people(
    start, observer, eye, scene_bundle
):
    node = start(NODE, bundle=scene_bundle, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()

    def shown_error(text):
        eye.show()
        time.sleep(0.2)
        status = observer.status(NODE)
        return status and status.level == DiagnosticStatus.ERROR and text in status.message

    observer.wait(lambda: shown_error("no CameraInfo for frame"), "an error: no CameraInfo")
    eye.calibrate(None)
    observer.wait(lambda: shown_error("K is all zeros"), "an error: zero K")
    assert bodies == []
    assert "fov_deg" in node.log and "camera_info" in node.log
    assert node.log.count("[ERROR]") <= 5  # throttled
    assert set_parameter(observer, "fov_deg", 80.0).successful
    assert len(answer(observer, bodies, eye.show()).bodies) == 3
    assert set_parameter(observer, "fov_deg", 0.0).successful
    eye.calibrate()
    assert len(answer(observer, bodies, eye.show()).bodies) == 3


def test_no_image_is_a_warning_that_names_the_topic(start, observer, scene_bundle):
    start(NODE, "-r", "image:=/front/image_raw", bundle=scene_bundle, **ENGINE)
    observer.wait(
        lambda: (s := observer.status(NODE)) and s.level == DiagnosticStatus.WARN
        and "/front/image_raw" in s.message,
        "a warning about the silent topic",
    )  # fmt: skip


def test_compressed_images_and_their_damage(start, observer, eye, scene_bundle):
    node = start(NODE, bundle=scene_bundle, compressed=True, fov_deg=80.0, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    images = observer.publisher(CompressedImage, "image/compressed", qos.SENSOR)
    observer.wait(images.get_subscription_count, "a subscriber of image/compressed")
    observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher of people")

    def jpeg():
        return array_to_compressed(np.full((720, 1280, 3), 250, np.uint8), eye.header(), 90)

    def answered():
        stamp = eye.show(jpeg(), images)
        time.sleep(0.3)
        return any(stamp_of(m) == stamp for m in bodies)

    observer.wait(answered, "people of a jpeg")

    def rejected():
        return int(observer.values(NODE).get("frames rejected", 0))

    for damaged in (jpeg().data[:5000], array.array("B", b"GIF89a and so on")):
        before = rejected()

        def refused(damaged=damaged, before=before):
            message = jpeg()
            message.data = damaged
            eye.show(message, images)
            time.sleep(0.3)
            return rejected() > before

        # A good image right behind could replace the damaged one while that waits: newest wins.
        observer.wait(refused, "a rejected image")
        observer.wait(answered, "people of the next jpeg")
    assert len(bodies[-1].bodies) == 3
    assert node.alive


def test_forty_people(start, observer, eye, bundles, crowd):
    start(NODE, bundle=bundles(crowd), fov_deg=80.0, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()

    def seen():
        eye.show()
        time.sleep(0.3)
        return bodies and len(bodies[-1].bodies)

    assert observer.wait(seen, "people") == 40


def test_lifecycle(start, observer, eye, scene_bundle):
    node = start(NODE, bundle=scene_bundle, autostart=False, fov_deg=80.0, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    assert state(observer) == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):  # everything works a second time
        assert change_state(observer, Transition.TRANSITION_CONFIGURE)
        assert state(observer) == State.PRIMARY_STATE_INACTIVE
        assert eye.images.get_subscription_count() == 0
        refused = set_parameter(observer, "bundle", "another")
        assert not refused.successful and "clean up" in refused.reason
        assert change_state(observer, Transition.TRANSITION_ACTIVATE)
        eye.ready()
        observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher")
        bodies.clear()
        observer.wait(lambda: (eye.show(), time.sleep(0.2), bodies)[-1], "people")
        assert change_state(observer, Transition.TRANSITION_DEACTIVATE)
        observer.wait(lambda: eye.images.get_subscription_count() == 0, "no subscriber left")
        assert change_state(observer, Transition.TRANSITION_CLEANUP)
        assert state(observer) == State.PRIMARY_STATE_UNCONFIGURED
        # Not configured: parameters are free again.
        assert set_parameter(observer, "min_score", 0.1).successful
    assert not change_state(observer, Transition.TRANSITION_ACTIVATE)  # from unconfigured
    assert change_state(observer, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    observer.wait(lambda: "shut down" in observer.status(NODE).message, "the end in words")
    assert node.alive and "Traceback" not in node.log


def test_a_transition_that_a_state_does_not_have_is_refused_and_changes_nothing(
    start, observer, eye, scene_bundle
):
    node = start(NODE, bundle=scene_bundle, autostart=False, **ENGINE)
    known = range(10)  # create to active_shutdown, and the inner ones
    steps = {
        State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_CONFIGURE,
        State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_ACTIVATE,
        State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
    }
    own = {
        State.PRIMARY_STATE_UNCONFIGURED: {1, 5},
        State.PRIMARY_STATE_INACTIVE: {2, 3, 6},
        State.PRIMARY_STATE_ACTIVE: {4, 7},
        State.PRIMARY_STATE_FINALIZED: set(),
    }
    for now, step in [*steps.items(), (State.PRIMARY_STATE_FINALIZED, None)]:
        for other in [*known, 10, 60, 97, 255]:
            if other not in own[now]:
                assert not change_state(observer, other), (now, other)
                assert state(observer) == now
        if step is not None:
            assert change_state(observer, step)
    enabled = observer.call(SetBool, f"/{NODE}/enable", SetBool.Request(data=True))
    assert not enabled.success and "shut down" in enabled.message
    assert node.alive and "Traceback" not in node.log


def test_a_missing_or_corrupt_bundle_fails_configure_and_the_node_lives(
    start, observer, scene_bundle, tmp_path
):
    node = start(NODE, bundle=str(tmp_path / "nowhere"), **ENGINE)
    observer.wait(
        lambda: (s := observer.status(NODE)) and s.level == DiagnosticStatus.ERROR
        and "no bundle" in s.message,
        "an error: no bundle",
    )  # fmt: skip
    assert "can't configure: no bundle" in node.log
    assert state(observer) == State.PRIMARY_STATE_UNCONFIGURED
    corrupt = tmp_path / "corrupt"
    shutil.copytree(scene_bundle, corrupt)
    model = bytearray((corrupt / "model.onnx").read_bytes())
    model[100] ^= 0xFF
    (corrupt / "model.onnx").write_bytes(model)
    unknown = tmp_path / "unknown"
    shutil.copytree(scene_bundle, unknown)
    text = (unknown / "bundle.yaml").read_text()
    (unknown / "bundle.yaml").write_text(text + "treshold: 0.5\n")
    for folder, reason in ((corrupt, "altered or damaged"), (unknown, "treshold: unknown key")):
        assert set_parameter(observer, "bundle", str(folder)).successful
        assert not change_state(observer, Transition.TRANSITION_CONFIGURE)
        assert state(observer) == State.PRIMARY_STATE_UNCONFIGURED
        assert reason in node.log
    assert set_parameter(observer, "bundle", scene_bundle).successful
    assert change_state(observer, Transition.TRANSITION_CONFIGURE)
    assert state(observer) == State.PRIMARY_STATE_INACTIVE
    assert "Traceback" not in node.log


def test_parameters_are_described_and_refused_with_a_reason(start, observer, scene_bundle):
    start(NODE, bundle=scene_bundle, autostart=False, **ENGINE)
    request = DescribeParameters.Request(names=["engine", "threads", "fov_deg"])
    answer_ = observer.call(DescribeParameters, f"{NODE}/describe_parameters", request)
    engine, threads, fov = answer_.descriptors
    assert "openvino" in engine.additional_constraints and engine.description
    assert (threads.integer_range[0].from_value, threads.integer_range[0].to_value) == (0, 256)
    assert fov.floating_point_range[0].to_value == 179.0 and "degrees" in fov.description
    cases = [
        ("engine", "abacus", "expected one of auto, openvino"),
        ("threads", -1, "threads"),
        ("fov_deg", 200.0, "fov_deg"),
        ("fov_deg", float("nan"), "fov_deg"),
        ("fov_deg", "wide", "fov_deg is 'wide'; expected a number, 0 to 179 degrees"),
    ]
    for name, value, reason in cases:
        result = set_parameter(observer, name, value)
        assert not result.successful and reason in result.reason, (name, value, result.reason)


@pytest.mark.parametrize(
    ("parameters", "reason"), [({"engine": "abacus"}, "engine"), ({"threads": 999}, "threads")]
)
def test_a_parameter_that_is_wrong_at_the_start_ends_the_node_with_one_line(
    start, parameters, reason
):
    node = start(NODE, **parameters)
    assert node.wait() == 2
    assert reason in node.log and "Traceback" not in node.log


def test_ros_arguments_that_cant_be_read_end_the_node_with_one_line(start):
    node = start(NODE, "-r", "__ns:=not/absolute")
    assert node.wait() == 2
    assert "__ns:=not/absolute" in node.log and "Traceback" not in node.log


def test_an_interrupt_while_working_ends_in_order(running, eye):
    node, _ = running
    for _ in range(5):
        eye.show()
    assert node.interrupt() == 0
    assert "Traceback" not in node.log


@pytest.mark.parametrize("word", ["off", "on", "true", "bundle"])
def test_flip_test_is_taken_as_yaml_and_ros_read_it(start, observer, scene_bundle, tmp_path, word):
    """ROS makes booleans of the bare words on and off."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"pose3d_node: {{ros__parameters: {{flip_test: {word}, min_joints: bundle}}}}")
    start(NODE, "--params-file", str(file), bundle=scene_bundle, fov_deg=80, **ENGINE)
    assert observer.wait(lambda: state(observer) == State.PRIMARY_STATE_ACTIVE, "an active node")


def test_what_cant_change_at_run_time_is_refused(start, observer, scene_bundle):
    start(NODE, bundle=scene_bundle, autostart=False, **ENGINE)
    start("markers_node")
    refused = set_parameter(observer, "autostart", True)
    assert not refused.successful and "takes effect at the start only" in refused.reason
    for name, value in {"tf": True, "compressed": True, "tf_prefix": "a"}.items():
        refused = set_parameter(observer, name, value, node="markers_node")
        assert not refused.successful and f"{name} can't change now" in refused.reason
    assert set_parameter(observer, "labels", False, node="markers_node").successful
    assert not set_parameter(observer, "labels", "maybe", node="markers_node").successful


def test_a_model_that_cant_be_loaded_ends_the_process_where_that_is_wanted(start, tmp_path):
    node = start(NODE, bundle=str(tmp_path / "nowhere"), on_failure="exit")
    assert node.wait() == 2
    assert "can't configure: no bundle" in node.log and "Traceback" not in node.log
