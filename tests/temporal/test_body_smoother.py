"""Tracker and smoother together: what the smoother node runs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import BundleError, CameraError, InputError
from smap_ros.geometry.transforms import HOLD_TURNING, Transform, TransformTree
from smap_ros.skeletons import get_skeleton
from smap_ros.temporal import BodySmoother, SmootherConfig, TrackerConfig
from tests.temporal.people import CAMERA, STEP, identities, person
from tests.video_bundle import write_video_bundle


def people(answers):
    """Those of the one frame that was answered."""
    (answer,) = answers
    return answer.people


def test_smoother_smooths_joints_keeps_pixels_and_can_be_turned_off():
    rng = np.random.default_rng(4)
    smoother, raw, smooth = BodySmoother(), [], []
    for k in range(100):
        body = person(rng.normal((0, 0, 4), (0.01, 0.01, 0.1)))
        (tracked,) = people(smoother.update([body], k / 15))
        np.testing.assert_array_equal(tracked.body.joints_2d, body.joints_2d)
        raw.append(body.root)
        smooth.append(tracked.body.root)
    jitter = [np.abs(np.diff(np.array(points)[20:, 2])).mean() for points in (raw, smooth)]
    assert jitter[1] < 0.4 * jitter[0]
    smoother.config = smoother.config.changed(smoother="none")
    body = person((0, 0, 4.2))
    (tracked,) = people(smoother.update([body], 10.0))
    np.testing.assert_array_equal(tracked.body.joints_3d, body.joints_3d)


def test_a_recording_that_starts_again_is_not_drawn_to_its_end():
    smoother = BodySmoother()
    for k in range(20):
        smoother.update([person((0, 0, 4))], 50 + k * STEP)
    (tracked,) = people(smoother.update([person((0.2, 0, 4))], 40.0))
    np.testing.assert_allclose(tracked.body.root, (0.2, 0, 4), atol=1e-6)


def test_auto_says_which_bundle_it_does_without():
    assert BodySmoother().problem == ""
    smoother = BodySmoother(SmootherConfig(smoother_bundle="maed_smother"))
    assert smoother.smoother == "split"
    assert smoother.problem.startswith("smoother auto takes a filter: no bundle 'maed_smother'")
    smoother.config = SmootherConfig(smoother_bundle="smap_lite")
    assert "'smap_lite' is of kind 'smap'" in smoother.problem
    smoother.config = SmootherConfig(smoother="rts", smoother_bundle="smap_lite")
    assert smoother.problem == ""


def test_a_learned_smoother_that_was_exported_anew_is_known_as_it_is(tmp_path):
    own = load_bundle("maed_smoother")
    folder, before, now = tmp_path / "mine", own.manifest.detector_sha256, "ab" * 32
    shutil.copytree(own.folder, folder)
    smoother = BodySmoother(SmootherConfig(delay=2, smoother_bundle=str(folder)), now)
    assert smoother.smoother == "rts"
    path = folder / "bundle.yaml"
    path.write_text(path.read_text().replace(before, now))
    smoother.config = SmootherConfig(delay=2, smoother_bundle=str(folder))
    assert smoother.smoother == "maed"


def test_memory_does_not_grow_with_the_people_who_pass():
    smoother = BodySmoother(SmootherConfig(tracker=TrackerConfig(death_time=0.3, fill_time=0.2)))
    for k in range(300):
        smoother.update([person(((k * 1.7) % 8 - 4, 0, 3 + (k * 2.3) % 7))], k * 0.2)
    assert len(smoother._run._moved) <= 4 and smoother._tracker.people <= 4


def test_with_a_delay_each_frame_is_answered_once_in_order_with_its_own_people():
    smoother = BodySmoother(SmootherConfig(smoother="rts", delay=2))
    answers = []
    for k in range(6):
        answers += smoother.update([person((0, 0, 4), score=0.8 + 0.02 * k)], k * STEP, note=k)
        assert len(answers) == max(0, k - 1)
    answers += smoother.flush()
    assert [answer.note for answer in answers] == list(range(6))
    assert [answer.time for answer in answers] == pytest.approx([k * STEP for k in range(6)])
    scores = [answer.people[0].body.score for answer in answers]
    assert scores == pytest.approx([0.8 + 0.02 * k for k in range(6)])
    assert smoother.flush() == []


def test_frames_that_wait_are_answered_when_a_recording_starts_again_or_the_delay_is_taken_away():
    smoother = BodySmoother(SmootherConfig(smoother="rts", delay=2))
    for k in range(4):
        smoother.update([person((0, 0, 4))], 50 + k * STEP, note=k)
    again = smoother.update([person((0, 0, 4))], 0.0, note="again")
    assert [answer.note for answer in again] == [2, 3]
    smoother.update([person((0, 0, 4))], 0.1, note="second")
    smoother.config = SmootherConfig()
    now = smoother.update([person((0, 0, 4))], 0.2, note="third")
    assert [answer.note for answer in now] == ["again", "second", "third"]


def test_settings_that_change_one_after_the_other_lose_no_frame():
    smoother = BodySmoother(SmootherConfig(smoother="rts", delay=4))
    for k in range(6):
        smoother.update([person((0, 0, 4))], k * STEP, note=k)
    smoother.config = SmootherConfig(smoother="rts", delay=0)
    smoother.config = SmootherConfig(smoother="one_euro", delay=0)
    smoother.config = SmootherConfig(smoother="rts", delay=1)
    now = smoother.update([person((0, 0, 4))], 0.6, note=6)
    assert [answer.note for answer in [*now, *smoother.flush()]] == [2, 3, 4, 5, 6]


def test_a_frame_that_comes_late_is_counted_and_not_answered():
    smoother = BodySmoother()
    for k in range(5):
        people(smoother.update([person((0, 0, 4))], k * STEP))
    assert smoother.update([person((1, 0, 4))], 0.25) == []
    assert smoother.late == 1
    assert identities(people(smoother.update([person((0, 0, 4))], 5 * STEP))) == [0]


def test_a_gap_is_filled_from_both_sides_when_looking_ahead():
    smoother = BodySmoother(
        SmootherConfig(smoother="rts", delay=2, tracker=TrackerConfig(fill_time=1.0))
    )
    answers = []
    for k in range(12):
        x = 0.1 * k if k < 6 else 0.5 + 0.2 * (k - 5)  # faster from the gap on
        found = [] if k == 6 else [person((x, 0, 4))]
        answers += smoother.update(found, k * STEP)
    (filled,) = answers[6].people
    assert filled.predicted
    assert filled.body.root[0] == pytest.approx(0.7, abs=0.05)


def test_a_prediction_goes_on_from_where_the_smooth_person_was():
    smoother = BodySmoother(SmootherConfig(tracker=TrackerConfig(fill_time=1.0)))
    for k in range(20):
        (seen,) = people(smoother.update([person((0, 0, 4.5 if k == 19 else 4.0))], k * STEP))
    (predicted,) = people(smoother.update([], 20 * STEP))
    assert predicted.predicted
    assert abs(predicted.body.root[2] - seen.body.root[2]) < 0.2 < 4.5 - seen.body.root[2]


@pytest.mark.parametrize(("name", "delay"), [("split", 0), ("one_euro", 0), ("rts", 0), ("rts", 2)])
def test_nobody_jumps_after_a_glimpse_that_the_tracker_does_not_believe(name, delay):
    """What was left to see of somebody seemed 2 m nearer; a picture may come twice."""
    smoother = BodySmoother(SmootherConfig(smoother=name, delay=delay))
    stream = [[person((0, 0, 6))]] * 20 + [[person((0, 0, 4), clarity=0.1)]] + [[]] * 4
    times = [*np.arange(21), *np.arange(20, 24)]
    answers = [
        answer
        for k, bodies in zip(times, stream, strict=True)
        for answer in smoother.update(bodies, k * STEP)
    ]
    answers += smoother.flush()
    depths = [one.body.root[2] for answer in answers for one in answer.people]
    predicted = [one.predicted for answer in answers for one in answer.people]
    assert len(depths) == len(stream) and predicted[-4:] == [True] * 4
    last_seen = depths[-5]
    assert np.abs(np.array(depths[-4:]) - last_seen).max() < 0.3
    assert max(depths) < 6.3


@pytest.mark.parametrize(("name", "delay"), [("split", 0), ("rts", 0), ("rts", 2), ("maed", 0)])
def test_who_is_lost_stays_where_they_are_while_the_camera_turns(name, delay):
    smoother = BodySmoother(SmootherConfig(smoother=name, delay=delay))
    answers, true = [], []
    for k in range(24):
        angle = np.radians(3) * k  # 30 degrees a second, the person always before the camera
        pose = np.eye(4)
        pose[np.ix_((0, 2), (0, 2))] = [[np.cos(angle), np.sin(angle)],
                                        [-np.sin(angle), np.cos(angle)]]  # fmt: skip
        true.append(pose[:3, :3].T @ (3.0, 0.0, 4.0))
        bodies = [person(true[-1])] if k < 20 else []
        answers += smoother.update(bodies, k * STEP, pose=pose)
    answers += smoother.flush()
    for place, answer in list(zip(true, answers, strict=True))[20:]:
        (lost,) = answer.people
        assert lost.predicted
        assert np.linalg.norm(lost.body.root - place) < 0.35


@pytest.mark.parametrize("fastest", [1.0, 1.2, 1.5])  # radians/second
def test_nobody_is_renamed_while_the_camera_turns_and_tf_comes_rarely(fastest):
    """Where the newest transform is too old the people tell how the camera turned."""
    tree, smoother = TransformTree(hold=HOLD_TURNING), BodySmoother()
    named, unknown = [], 0
    for k in range(30):
        time = k / 15
        yaw = 0.5 * np.sin(fastest / 0.5 * time)
        c, s = np.cos(yaw), np.sin(yaw)
        if k % 3 == 0:  # 5 hertz
            turned = Transform("odom", (0.0, 0.0, 0.0), (0.0, np.sin(yaw / 2), 0, np.cos(yaw / 2)))
            tree.add("cam", turned, time, fixed=False)
        try:
            pose = tree.pose("cam", "odom", time)
        except CameraError:
            pose, unknown = None, unknown + 1
        pan = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        places = np.array([(0, 0, 3), (1.2, 0, 5), (-2, 0, 5.5)]) @ pan
        answers = smoother.update([person(place) for place in places], time, pose=pose)
        named.append(identities(people(answers)))
    assert named == [[0, 1, 2]] * 30
    assert unknown == 10


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="choose auto or rts"):
        SmootherConfig(smoother="split", delay=2)


@pytest.fixture
def video_bundle(tmp_path, crop_manifest):
    return write_video_bundle(tmp_path, crop_manifest())


def test_people_of_the_image_based_model_are_tracked_and_left_alone(video_bundle):
    config = SmootherConfig(smoother="maed_video", smoother_bundle=str(video_bundle.folder))
    smoother = BodySmoother(config, video_bundle.model_hash)
    for k in range(5):
        body = person((0.1 * k, 0, 4 + 0.1 * (k % 2)))
        (tracked,) = people(smoother.update([body], k / 15))
        np.testing.assert_array_equal(tracked.body.joints_3d, body.joints_3d)
        assert tracked.body.id == 0
    assert (smoother.smoother, smoother.problem) == ("maed_video", "")
    smoother.detector = "0" * 64
    assert "run the pose node with bundle:=" in smoother.problem


def test_the_image_based_model_is_refused_where_it_is_not_given():
    with pytest.raises(BundleError, match=r"'maed_smoother' is of kind 'smoother'.*convert maed"):
        BodySmoother(SmootherConfig(smoother="maed_video"))
    with pytest.raises(BundleError, match="no bundle 'nothing'"):
        BodySmoother(SmootherConfig(smoother="maed_video", smoother_bundle="nothing"))
    with pytest.raises(InputError, match="doesn't look ahead"):
        SmootherConfig(smoother="maed_video", delay=2)
    smoother = BodySmoother()
    with pytest.raises(BundleError):
        smoother.config = SmootherConfig(smoother="maed_video")
    assert smoother.smoother == "split"  # what it was


def joints17(root):
    body = person(root)
    points = np.concatenate([body.joints_3d, body.joints_3d[:2]])
    pixels = np.concatenate([body.joints_2d, body.joints_2d[:2]])
    skeleton = get_skeleton("mpi17")
    points[skeleton.root], pixels[skeleton.root] = body.root, body.joints_2d[2]
    return Body(points, pixels, np.full(17, 0.8, np.float32), 0.8, skeleton=skeleton)


def test_people_whom_the_learned_smoother_can_not_smooth_get_a_filter_and_it_is_said():
    smoother = BodySmoother(SmootherConfig(smoother="maed"))
    people(smoother.update([person((0, 0, 4))], 0.0, view="a"))
    assert smoother.smoother == "maed" and not smoother.problem
    for k in range(1, 5):
        (someone,) = people(smoother.update([joints17((0, 0, 4))], k * STEP, view="b"))
        assert len(someone.body.skeleton) == 17
    assert smoother.smoother == "split"
    assert "these people have 17 joints; choose another smoother" in smoother.problem
    people(smoother.update([person((0, 0, 4))], 1.0, view="a"))
    assert smoother.smoother == "maed" and not smoother.problem


def test_settings_that_are_refused_change_nothing():
    smoother = BodySmoother()
    people(smoother.update([joints17((0, 0, 4))], 0.0))
    before = smoother.config
    wanted = before.changed(smoother="maed", tracker=TrackerConfig(death_time=9.0))
    with pytest.raises(BundleError, match="these people have 17 joints"):
        smoother.config = wanted
    assert smoother.config == before and smoother._tracker.config == before.tracker
    assert smoother.smoother == "split" and not smoother.problem
    # Another camera's people come: all begins anew, by the settings that stayed.
    people(smoother.update([joints17((0, 0, 4))], STEP, view="other"))
    assert smoother.smoother == "split"


@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("wrong", [60.0, -60.0, 2.0])
def test_each_image_is_answered_though_one_has_a_wrong_stamp(wrong, delay):
    smoother = BodySmoother(SmootherConfig(delay=delay))
    answers = []
    for k in range(20):
        time = 100 + k * STEP + (wrong if k == 10 else 0.0)
        answers += smoother.update([person((0.02 * k, 0, 4))], time, note=k)
    answers += smoother.flush()
    assert [answer.note for answer in answers] == list(range(20))
    for answer in answers:
        (someone,) = answer.people
        assert (someone.body.id == 0) == (answer.note != 10) or wrong == 2.0
        assert someone.body.root[0] == pytest.approx(0.02 * answer.note, abs=0.05)


@pytest.mark.parametrize("name", ["rts", "one_euro", "maed"])
@pytest.mark.parametrize(("rate", "hidden"), [(10.0, 0.7), (10.0, 1.2), (30.0, 0.7)])
def test_who_was_hidden_for_long_keeps_their_size_and_place_when_looking_ahead(name, rate, hidden):
    """What a filter would go on to is nobody's place, nor a pose."""
    delay = 0 if name == "one_euro" else 4
    smoother = BodySmoother(SmootherConfig(smoother=name, delay=delay))
    limb, answers = np.array([0.0, 0.5, 0.0]), []
    for k in range(int(4 * rate)):
        time = k / rate
        swing = 1.2 * np.sin(2 * np.pi * 0.9 * time)
        one = person((0.3 * time, 0, 4))
        joints = one.joints_3d.copy()
        joints[8] = joints[7] + [limb[1] * np.sin(swing), limb[1] * np.cos(swing), 0]
        pixels = CAMERA.project(joints).astype(np.float32)
        people = [] if 2 < time < 2 + hidden else [replace(one, joints_3d=joints, joints_2d=pixels)]
        answers += smoother.update(people, time)
    answers += smoother.flush()
    predicted = [p.body for answer in answers for p in answer.people if p.predicted]
    assert len(predicted) >= int(hidden * rate) - 1
    for body in predicted:
        assert np.linalg.norm(body.joints_3d[8] - body.joints_3d[7]) < 0.6
        assert np.abs(body.root[1:] - [0, 4]).max() < 0.3
