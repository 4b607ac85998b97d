"""The smoother node over DDS: raw people in, people with identities out."""

from __future__ import annotations

from time import sleep

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import bodies_from_message, body_array, seconds
from smap_ros.nodes.smoother import FROZEN, SmootherNode
from smap_ros.skeletons import MPI15, get_skeleton
from smap_ros.temporal import SmootherConfig, smooth_frames
from tests.ros.stamps import stamp_of

CAMERA = Camera.from_fov(1280, 720, np.deg2rad(70))
SHAPE = np.random.default_rng(3).uniform([-0.3, -0.7, -0.2], [0.3, 0.9, 0.2], (15, 3))
SHAPE[2] = 0  # pelvis


def person(root):
    joints = (np.asarray(root, float) + SHAPE).astype(np.float32)
    pixels = CAMERA.project(joints).astype(np.float32)
    return Body(joints, pixels, np.full(15, 0.8, np.float32), 0.8)


def message(time, *roots, frame="eye"):
    header = Header(frame_id=frame, stamp=stamp_of(time))
    return body_array([(person(root), False) for root in roots], header, (1280, 720), MPI15)


@pytest.fixture
def wired(spin, observer):
    """Publish raw people; what comes back for a stamp."""
    spin(SmootherNode)
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")

    def through(sent):
        raw.publish(sent)
        return observer.wait(
            lambda: next((m for m in list(out) if m.header == sent.header), None), "the answer"
        )

    return through


def test_identities_last_and_header_size_and_joint_set_go_through(wired):
    for k in range(10):
        answer = wired(message(100 + k * 0.1, (0.1 * k, 0, 4), (-0.1 * k, 0, 5)))
        assert [body.id for body in answer.bodies] == [0, 1]
        assert not any(body.predicted for body in answer.bodies)
        assert (answer.skeleton, answer.image_width, answer.image_height) == ("mpi15", 1280, 720)
    depth = [body.pose.position.z for body in answer.bodies]
    assert depth == pytest.approx([4, 5], abs=0.01)


def test_a_gap_is_filled_and_marked_until_the_person_is_forgotten(wired):
    for k in range(5):
        wired(message(100 + k * 0.1, (0, 0, 4)))
    scores = []
    for time in (100.5, 101.2, 103.3):
        gap = wired(message(time))
        assert [(body.id, body.predicted) for body in gap.bodies] == [(0, True)]
        scores.append(gap.bodies[0].score)
    assert 0.8 > scores[0] > scores[1] > scores[2] > 0
    assert wired(message(103.5)).bodies == []


def test_with_a_delay_images_are_answered_with_their_own_stamps_and_diagnostics_say_so(
    spin, observer
):
    spin(SmootherNode, smoother="rts", delay=2)
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
    sent = [message(100 + k * 0.1, (0.1 * k, 0, 4)) for k in range(5)]
    for one in sent:
        raw.publish(one)
    observer.wait(lambda: len(out) == 5, "all five, the last two when nothing more comes")
    assert [m.header for m in out] == [m.header for m in sent]
    values = observer.wait(
        lambda: (v := observer.values("smoother_node")).get("delay p50 [ms]") == "200.0" and v,
        "the wait of 200 ms",
    )
    assert (values["smoother"], values["delay [images]"]) == ("rts", "2")


def crossing(k):
    """Two people who cross; the one behind is hidden for half a second."""
    x = -1.5 + 0.1 * k
    return [(x, 0, 3.5)] if 12 <= k < 20 else [(x, 0, 3.5), (-x, 0, 4.4)]


@pytest.mark.parametrize(("delay", "known"), [(0, False), (2, False), (0, True), (2, True)])
def test_the_node_says_what_the_same_people_give_straight_through_the_smoother(
    spin, observer, delay, known
):
    """As offline commands smooth them; where ``known``, they are those of the learned smoother's
    own detector."""
    spin(SmootherNode, delay=delay)
    detector = load_bundle("maed_smoother").manifest.detector_sha256 if known else ""
    if known:
        model = SkeletonInfo(name="mpi15", model_sha256=detector)
        observer.publisher(SkeletonInfo, "skeleton_info", qos.LATCHED).publish(model)
        observer.wait(
            lambda: observer.values("smoother_node").get("smoother") == "maed", "the network"
        )
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
    messages = [message(100 + k / 15, *crossing(k)) for k in range(31)]
    frames = [
        BodyFrame(
            bodies_from_message(sent), CAMERA, seconds(sent.header.stamp), "eye", detector=detector
        )
        for sent in messages
    ]
    expected = list(smooth_frames(frames, SmootherConfig(delay=delay)))
    for k, sent in enumerate(messages):
        raw.publish(sent)
        observer.wait(lambda: len(out) > k - delay, "the answer")  # noqa: B023
    observer.wait(lambda: len(out) == 31, "those that waited")
    for answer, (_, told) in zip(out, expected, strict=True):
        assert [(b.id, b.predicted) for b in answer.bodies] == [
            (p.body.id, p.predicted) for p in told
        ]
        for body, person_told in zip(bodies_from_message(answer), told, strict=True):
            np.testing.assert_array_equal(body.joints_3d, person_told.body.joints_3d)
    shown = [sorted((b.pose.position.z, b.id) for b in m.bodies) for m in out]
    assert [[name for _, name in people] for people in shown] == [[0, 1]] * 31
    assert [sum(b.predicted for b in m.bodies) for m in out] == [
        2 - len(crossing(k)) for k in range(31)
    ]


def test_an_image_that_comes_late_renames_nobody_and_is_counted(wired, observer):
    wired(message(100.0, (0, 0, 4)))
    wired(message(100.2, (0, 0, 4)))
    raw = observer.publisher(BodyArray, "bodies_raw")
    observer.wait(raw.get_subscription_count, "the node")
    raw.publish(message(100.1, (0, 0, 4)))
    observer.wait(
        lambda: observer.values("smoother_node").get("images too late") == "1", "the count"
    )
    assert [b.id for b in wired(message(100.3, (0, 0, 4))).bodies] == [0]


def test_a_bag_that_starts_again_and_another_camera_start_anew(wired):
    wired(message(100.0, (0, 0, 4)))
    assert [b.id for b in wired(message(100.1, (0, 0, 4))).bodies] == [0]
    assert [b.id for b in wired(message(50.0, (0, 0, 4))).bodies] == [1]
    assert [b.id for b in wired(message(50.1, (0, 0, 4), frame="other")).bodies] == [2]


def test_malformed_people_cost_their_message_only(wired, observer):
    raw = observer.publisher(BodyArray, "bodies_raw")
    observer.wait(raw.get_subscription_count, "the node")
    for k, spoiled in enumerate(
        [
            {"joints": [0, 1, 99], "positions": [Point()] * 3},
            {"joints": [0, 1], "positions": [Point()]},
        ]
    ):
        bad = message(10.0 + k, (0, 0, 4))
        bad.bodies = [BodyMessage(**spoiled)]
        raw.publish(bad)
    bad = message(12.0, (0, 0, 4))
    bad.skeleton = "octopus8"
    raw.publish(bad)
    observer.wait(
        lambda: observer.values("smoother_node").get("frames rejected") == "3", "three rejected"
    )
    assert len(wired(message(20.0, (0, 0, 4))).bodies) == 1


def test_parameters_take_effect_and_contradictions_are_refused(wired, observer):
    def set_together(**values):
        parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        name = "smoother_node/set_parameters_atomically"
        return observer.call(SetParametersAtomically, name, request).result

    refused = set_together(fill_time=2.0, death_time=1.0)
    assert not refused.successful and "fill_time <= death_time" in refused.reason
    assert not set_together(beta=-1.0).successful
    assert set_together(smoother="none", birth_score=0.9).successful
    assert wired(message(100.0, (0, 0, 4))).bodies == []  # 0.8 must last now
    wired(message(100.1, (0, 0, 4)))
    (body,) = bodies_from_message(wired(message(100.2, (0.3, 0, 4))))
    np.testing.assert_allclose(body.joints_3d, person((0.3, 0, 4)).joints_3d, atol=1e-6)


def test_a_contradiction_at_the_start_is_refused(spin):
    with pytest.raises(ParameterException, match="beta"):
        spin(SmootherNode, beta=-3.0)
    with pytest.raises(Exception, match="fill_time"):
        spin(SmootherNode, fill_time=3.0, death_time=1.0)


def test_stamps_survive_as_they_are(wired):
    sent = message(1.0, (0, 0, 4))
    sent.header.stamp = Time(sec=2_000_000_000, nanosec=999_999_999)
    assert wired(sent).header.stamp == sent.header.stamp


def test_images_without_a_stamp_keep_nobody_for_ever(spin, observer):
    """Time stands still for them: who left would stay, as predicted."""
    spin(SmootherNode, fill_time=2.0, death_time=2.0)
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
    told = []
    for roots in ([(0, 0, 4)], [(0, 0, 4)], []):
        raw.publish(message(0, *roots))
        observer.wait(lambda: len(out) > len(told), "the answer")
        told.append([(b.id, b.predicted) for b in out[-1].bodies])
    sleep(2.2)
    raw.publish(message(0))
    observer.wait(lambda: len(out) == 4, "the answer")
    assert told == [[(0, False)], [(0, False)], [(0, True)]]
    assert not out[-1].bodies and out[-1].header.stamp == Time()


def test_a_stamp_that_stands_still_is_counted_and_said(wired, observer):
    wired(message(100.0, (0, 0, 4)))
    raw = observer.publisher(BodyArray, "bodies_raw")
    observer.wait(raw.get_subscription_count, "the node")

    def again():
        raw.publish(message(100.0, (0, 0, 4)))
        status = observer.status("smoother_node")
        frozen = status and "images in a row have the stamp 100.000 s" in status.message
        return frozen and status

    status = observer.wait(again, "the warning")
    assert status.level == DiagnosticStatus.WARN
    wired(message(100.1, (0, 0, 4)))
    observer.wait(
        lambda: int(observer.values("smoother_node").get("images shown again", 0)) >= FROZEN,
        "the count",
    )
    observer.wait(lambda: observer.status("smoother_node").message == "running", "no more of it")


def test_a_picture_that_is_shown_again_holds_no_waiting_images_back(spin, observer):
    spin(SmootherNode, smoother="rts", delay=2)
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
    for k in range(4):
        raw.publish(message(100 + k * 0.1, (0, 0, 4)))

    def again():
        raw.publish(message(100.3, (0, 0, 4)))
        return len(out) == 4

    observer.wait(again, "the two that wait, though the last picture is shown all the time")


def test_people_of_another_joint_set_than_the_learned_smoothers_end_nothing(spin, observer):
    spin(SmootherNode, smoother="maed")
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
    skeleton = get_skeleton("mpi17")
    joints = np.random.default_rng(0).uniform(-0.5, 0.5, (17, 3)).astype(np.float32) + (0, 0, 4)
    body = Body(
        joints.astype(np.float32), CAMERA.project(joints).astype(np.float32),
        np.full(17, 0.8, np.float32), 0.8, skeleton=skeleton,
    )  # fmt: skip
    for k in range(3):
        header = Header(frame_id="eye", stamp=stamp_of(100 + k * 0.1))
        raw.publish(body_array([(body, False)], header, (1280, 720), skeleton))
        observer.wait(lambda: len(out) == k + 1, "the answer")  # noqa: B023
    assert [[b.id for b in m.bodies] for m in out] == [[0]] * 3
    observer.wait(
        lambda: (s := observer.status("smoother_node")) and "have 17 joints" in s.message,
        "the reason",
    )
