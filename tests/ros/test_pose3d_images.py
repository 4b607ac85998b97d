"""One pose node for many images: what one breaks shows with the next."""

from __future__ import annotations

import array
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from smap_ros.msg import SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import bodies_from_message
from smap_ros.skeletons import MPI15
from tests.image_encoding import encode_image
from tests.ros.pose3d_client import (
    BLACK,
    FRAME,
    GREY,
    NODE,
    answer,
    calibrated_node,
    stamp_of,
)


@pytest.fixture(scope="module")
def observer(observing):
    with observing() as one:
        yield one


@pytest.fixture(scope="module")
def start(starting):
    with starting() as begin:
        yield begin


@pytest.fixture(scope="module")
def eye(observer, scene, make_eye):
    return make_eye(observer, scene.camera)


@pytest.fixture(scope="module")
def running(start, observer, eye, scene_bundle):
    return calibrated_node(start, observer, eye, scene_bundle)


def test_people_come_out_in_metres_with_the_images_stamp_and_frame(running, observer, eye, scene):
    _, bodies = running
    message = answer(observer, bodies, eye.show())
    assert message.header.frame_id == FRAME
    assert (message.skeleton, message.image_width, message.image_height) == ("mpi15", 1280, 720)
    assert len(message.bodies) == 3
    for body, sent, truth in zip(
        bodies_from_message(message), message.bodies, scene.joints, strict=True
    ):
        assert np.linalg.norm(body.joints_3d - truth, axis=1).max() < 0.05
        assert np.abs(body.joints_2d - scene.camera.project(truth)).max() < 3
        assert sent.id == -1 and not sent.predicted and sent.pose_oriented
        position = sent.pose.position
        np.testing.assert_allclose((position.x, position.y, position.z), body.root, atol=1e-6)
        x_min, y_min, x_max, y_max = sent.box
        assert (body.joints_2d >= (x_min - 1e-3, y_min - 1e-3)).all()
        assert (body.joints_2d <= (x_max + 1e-3, y_max + 1e-3)).all()


def test_who_comes_late_still_learns_what_the_joints_mean(running, observer):
    late = observer.collect(SkeletonInfo, "skeleton_info", qos.LATCHED)
    (info,) = observer.wait(lambda: list(late), "the latched skeleton_info")
    assert info.name == "mpi15" and tuple(info.joint_names) == MPI15.joints
    assert [(a, b) for a, b in zip(info.limbs[::2], info.limbs[1::2], strict=True)] == [
        *MPI15.limbs
    ]
    assert (info.root, info.model, info.model_version) == (MPI15.root, "scene", "1")
    assert "onnxruntime" in info.engine


def test_nobody_and_a_network_that_gives_nan_are_empty_lists(running, observer, eye):
    _, bodies = running
    assert answer(observer, bodies, eye.show(eye.image(GREY))).bodies == []
    for _ in range(3):
        assert answer(observer, bodies, eye.show(eye.image(BLACK))).bodies == []
        time.sleep(0.4)
    observer.wait(
        lambda: (s := observer.status(NODE)) and s.level == DiagnosticStatus.ERROR
        and "NaN" in s.message,
        "an error about NaN in the diagnostics",
    )  # fmt: skip
    assert len(answer(observer, bodies, eye.show()).bodies) == 3


def truncated(message):
    message.data = message.data[: len(message.data) // 2]


def with_fields(**fields):
    def change(message):
        for name, value in fields.items():
            setattr(message, name, value)

    return change


BAD_IMAGES = {
    "truncated data": (truncated, "truncated"),
    "no data": (with_fields(data=array.array("B")), "truncated"),
    "an unknown encoding": (with_fields(encoding="bayer_of_tomorrow"), "not supported"),
    "distances": (with_fields(encoding="32FC1", step=5120), "metres, a depth image"),
    "no encoding": (with_fields(encoding=""), "not supported"),
    "0x0": (with_fields(width=0, height=0, step=0, data=array.array("B")), "0x0"),
    "20000x20000": (with_fields(width=20000, height=20000, step=60000), "megapixels"),
    "more rows than data": (with_fields(height=2000), "truncated"),
    "a step shorter than a row": (with_fields(step=100), "step 100"),
    "another size than the calibration": (
        with_fields(width=640, step=1920, height=360), "calibrated for 1280x720"
    ),
    "a frame without calibration": (
        lambda m: setattr(m.header, "frame_id", "elsewhere"), "no CameraInfo for frame 'elsewhere'"
    ),
}  # fmt: skip


def test_each_bad_image_costs_itself_and_the_next_good_one_works(running, observer, eye):
    """One node for all, so that what one breaks shows with the next; 15 s of diagnostics."""
    node, bodies = running
    for name, (spoil, reason) in BAD_IMAGES.items():
        rejected = int(observer.values(NODE).get("frames rejected", 0))
        message = eye.image()
        spoil(message)
        stamp = eye.show(message)
        observer.wait(
            lambda before=rejected: int(observer.values(NODE).get("frames rejected", 0)) > before,
            f"{name} is counted as rejected",
        )
        status = observer.status(NODE)
        assert status.level == DiagnosticStatus.ERROR, name
        assert reason in status.message, f"{name}: {status.message}"
        assert all(stamp_of(m) != stamp for m in bodies), name
        assert len(answer(observer, bodies, eye.show()).bodies) == 3, f"after {name}"
    assert node.alive
    assert "Traceback" not in node.log
    # Ten kinds of trouble within seconds of each other, but no log message per image.
    assert 0 < node.log.count("[ERROR]") <= len(BAD_IMAGES)


@pytest.mark.parametrize(
    "encoding", ["rgb8", "bgra8", "mono8", "yuv422", "mono16", "16UC1", "bayer_grbg8", "nv12"]
)
def test_other_encodings_and_padded_rows_work(running, observer, eye, encoding):
    _, bodies = running
    step, data = encode_image(np.full((720, 1280, 3), 250, np.uint8), encoding)
    rows = np.frombuffer(data, np.uint8).reshape(-1, step)
    padded = np.pad(rows, ((0, 0), (0, 36)))
    message = Image(
        header=eye.header(), width=1280, height=720, encoding=encoding, step=step + 36,
        data=array.array("B", padded.tobytes()),
    )  # fmt: skip
    assert len(answer(observer, bodies, eye.show(message)).bodies) == 3


def test_in_a_flood_the_newest_wins_and_every_frame_is_accounted_for(running, observer, eye):
    _, bodies = running
    before = observer.wait(lambda: observer.values(NODE), "diagnostics")
    stamps = [eye.show() for _ in range(120)]
    # Best effort may lose the last of a flood on the way; a quiet moment later one gets through.
    time.sleep(0.5)
    stamps.append(eye.show())
    answer(observer, bodies, stamps[-1])
    time.sleep(1.5)
    after = observer.values(NODE)

    def count(what):
        return int(after[f"frames {what}"]) - int(before.get(f"frames {what}", 0))

    assert count("received") <= count("processed") + count("dropped") + count("rejected") + 1
    assert count("dropped") > 0 and count("processed") > 1 and count("rejected") == 0
    got = [stamp_of(m) for m in bodies]
    assert got == sorted(got) and len(set(got)) == len(got)
