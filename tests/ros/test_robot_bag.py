"""A robot's recording with TF through the whole graph, and straight through the estimator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool

from smap_ros.bags.transforms import CameraMotion, read_transforms
from smap_ros.bodies import Body, BodyFrame
from smap_ros.calibration import CameraChoice
from smap_ros.estimators import create_estimator
from smap_ros.evaluation.bags.measures import against_truth
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.graph.plan import REPLAY, plan
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import bodies_from_message, seconds
from smap_ros.offline.estimate import camera_of
from smap_ros.sources.bag import BagSource
from smap_ros.temporal import SmootherConfig, smooth_frames

FOLDER = Path(__file__).parents[1] / "robot_bag"
MODEL = {
    "bundle": "smap_lite", "engine": "onnxruntime", "threads": 1, "flip_test": False,
    "second_look_budget": 0.0,  # whoever is looked at is so at any pace of the machine
}  # fmt: skip
TOLERANCE = 1e-4  # metres
_MANY = QoSProfile(depth=200)  # nothing is lost while this process is busy


@pytest.fixture(scope="module")
def straight() -> list[BodyFrame]:
    """Everybody whom the estimator finds, image by image, with the bag's stamps."""
    estimator = create_estimator(**MODEL)
    frames = [
        replace(
            estimator.estimate(frame.image, camera_of(CameraChoice(), frame), frame.stamp),
            frame_id=frame.frame_id,
            index=frame.index,
            detector=estimator.about.sha256,
        )
        for frame in BagSource(FOLDER / "bag")
    ]
    estimator.close()
    return frames


@pytest.fixture(scope="module")
def motion() -> CameraMotion:
    return CameraMotion(read_transforms(FOLDER / "bag"))


@pytest.fixture
def replayed(observer, start, with_tf2) -> tuple[list[BodyArray], list[BodyArray]]:
    """What comes on ``bodies_raw`` and ``bodies`` when `replay.launch.py` plays the bag."""
    raw = observer.collect(BodyArray, "bodies_raw", _MANY)
    smooth = observer.collect(BodyArray, "bodies", _MANY)
    ends = observer.collect(Bool, "end_of_stream", qos.LATCHED)
    images = {"image_reliability": "reliable", "image_depth": 100}
    arguments = {"source": str(FOLDER / "bag"), "pacing": "as_consumed", "consume_timeout": 60.0}
    arguments |= {"stamps": "recorded"}  # whatever the machine's speed, people move as they did
    chosen = plan(REPLAY, {**MODEL, **arguments, "fixed_frame": "odom", "markers": False, **images})
    nodes = {process.nodes[0]: process for process in chosen.processes}
    for name in ("pose3d_node", "smoother_node", "camera_node"):
        if name == "camera_node":  # when the others have found one another: nothing is sent twice
            for other in ("pose3d_node", "smoother_node"):
                observer.wait(lambda: observer.values(other), f"{other} to be up")  # noqa: B023
            observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
            both = "this process and the smoother to listen"
            observer.wait(lambda: observer.node.count_subscribers("bodies_raw") > 1, both)
        start(name, **nodes[name].parameters[name])
    observer.wait(lambda: any(m.data for m in ends), "the end of the bag", 240)
    count = len(list(BagSource(FOLDER / "bag")))
    last = lambda messages: seconds(messages[-1].header.stamp) if messages else 0.0  # noqa: E731
    observer.wait(lambda: len(raw) >= count, "the people of all images")
    observer.wait(lambda: last(smooth) == last(raw), "them smoothed")
    return raw, smooth


def test_the_graph_says_what_the_estimator_and_the_smoother_say(replayed, straight, motion):
    raw, smooth = replayed
    # The first image is shown again until somebody answers.
    raw = list({seconds(message.header.stamp): message for message in raw}.values())
    assert [seconds(message.header.stamp) for message in raw] == [f.stamp for f in straight]
    for message, frame in zip(raw, straight, strict=True):
        placed = [body for body in frame if np.isfinite(body.root).all()]
        same_people(message, placed)
    expected = smooth_frames(straight, pose=lambda frame: motion.pose(frame.frame_id, frame.stamp))
    for message, (frame, people) in zip(smooth, expected, strict=True):
        assert seconds(message.header.stamp) == frame.stamp
        assert [(b.id, b.predicted) for b in message.bodies] == [
            (p.body.id, p.predicted) for p in people
        ]
        same_people(message, [person.body for person in people])
    # Who is hidden for half a second is carried on under the same id.
    assert {b.id for m in smooth for b in m.bodies if not b.predicted} == {0, 1}
    assert sum(b.predicted for m in smooth for b in m.bodies) >= 4


def same_people(message: BodyArray, expected: Sequence[Body]) -> None:
    bodies = bodies_from_message(message)
    for body, own in zip(bodies, expected, strict=True):
        there = body.present
        np.testing.assert_allclose(body.joints_3d[there], own.joints_3d[there], atol=TOLERANCE)


def test_the_people_are_near_the_truth_and_keep_their_ids_through_crossing_and_hiding(
    straight, motion
):
    scenes = read_clip(FOLDER / "truth.json")
    truth = against_truth(
        straight,
        [scene.frame for scene in scenes],
        SmootherConfig(smoother="maed"),  # whichever network smap_lite is by now
        pose=lambda frame: motion.pose(frame.frame_id, frame.stamp),
        counted={scene.frame.index: scene.counted for scene in scenes},
    )
    assert truth.smoother == "maed"
    assert truth.after.motion.switches == 0
    assert truth.after.motion.mpjpe_mm < min(120, truth.before.motion.mpjpe_mm + 5)
    assert truth.after.motion.acceleration < 0.5 * truth.before.motion.acceleration
    assert truth.after.motion.bones_percent < 0.5 * truth.before.motion.bones_percent
    if truth.after.identities is not None:
        assert truth.after.identities.assa > 70


@pytest.mark.parametrize("shown_first", [1, 3])
@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_identities_are_the_same_however_fast_the_bag_is_played(
    straight, motion, speed, shown_first
):
    """A camera node shows its first image until somebody listens; the stamps are the clock's."""
    frames = [straight[0]] * shown_first + straight[1:]
    start = straight[0].stamp
    poses, played = {}, []
    for k, frame in enumerate(frames):
        stamp = start + 0.1 * k / speed
        poses[stamp] = motion.pose(frame.frame_id, frame.stamp)
        played.append(replace(frame, stamp=stamp))
    tracked = list(smooth_frames(played, pose=lambda frame: poses[frame.stamp]))
    named = Counter(p.body.id for _, people in tracked for p in people if not p.predicted)
    # Somebody found twice behind the other one may last long enough when the film is slow.
    assert {number for number, images in named.items() if images > 2} == {0, 1}
    first, last = ({p.body.id: p.body.root for p in tracked[k][1]} for k in (0, -1))
    assert first[0][0] > first[1][0]  # whose paths cross
    assert set(last) <= {0, 1}
