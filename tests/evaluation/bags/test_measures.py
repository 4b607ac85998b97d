"""The measures of a bag, with numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError
from smap_ros.evaluation.bags import measures, report
from smap_ros.evaluation.bags.measures import (
    BagRun,
    against_truth,
    handovers,
    latencies,
    topic_of,
    tracks,
)
from smap_ros.evaluation.bags.report import BagReport, markdown, page
from smap_ros.evaluation.bags.truth import index_by_truth
from smap_ros.evaluation.common.identities import INSTALL, has_trackeval
from smap_ros.offline.results import Latency
from smap_ros.skeletons import MPI15
from smap_ros.temporal import BodySmoother, SmootherConfig, TrackerConfig, smooth_frames
from tests.evaluation.conftest import CAMERA, person_at

SECOND = 10**9


def frame(k: int, *people: tuple[int | None, float], **fields) -> BodyFrame:
    """A frame at k tenths of a second, with people (id, x) at 4 m."""
    bodies = []
    for number, x in people:
        body = person_at(x, 4)
        bodies.append(type(body)(**{**vars(body), "id": number}))
    return BodyFrame(tuple(bodies), CAMERA, stamp=k / 10, index=k, **fields)


@pytest.mark.parametrize(
    ("steps", "gaps", "missing", "backwards", "repeated"),
    [
        ([1, 1, 1], 0, 0, 0, 0),
        ([1, 1, 1, 4, 1], 1, 3, 0, 0),
        ([1, 1.4, 1, 1], 0, 0, 0, 0),
        ([1, 2, 1, 1, 3], 2, 3, 0, 0),
        ([1, -2, 1, 0, 1], 0, 0, 1, 1),
    ],
)
def test_gaps_are_counted_by_the_usual_interval(steps, gaps, missing, backwards, repeated):
    stamps = (np.cumsum([5, *steps]) * SECOND).astype(int).tolist()
    topic = topic_of("/image", "sensor_msgs/msg/Image", stamps)
    assert (topic.gaps, topic.missing) == (gaps, missing)
    assert (topic.backwards, topic.repeated) == (backwards, repeated)
    assert topic.rate == pytest.approx(1)
    assert topic.messages == len(stamps)


def test_what_does_not_come_steadily_has_no_gaps():
    topic = topic_of("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", [0, SECOND, 9 * SECOND])
    assert topic.gaps is None and topic.missing is None
    assert topic.longest == 8
    alone = topic_of("/image", "sensor_msgs/msg/Image", [SECOND])
    assert math.isnan(alone.rate) and alone.gaps == 0


def test_identities_have_lengths_and_holes():
    frames = [frame(0, (1, 0)), frame(1, (1, 0), (2, 2)), frame(2, (2, 2)), frame(3, (1, 0))]
    one, two = tracks(frames)
    assert (one.id, one.frames, one.holes, one.start, one.end) == (1, 3, 1, 0, 0.3)
    assert (two.frames, two.holes) == (2, 0)


@pytest.mark.parametrize(
    ("x", "k", "expected"),
    [(0.5, 2, [(1, 7)]), (0.9, 2, []), (0.5, 12, []), (0.0, 0, [])],
)
def test_a_new_identity_where_one_has_just_ended_is_probably_the_same_person(x, k, expected):
    frames = [frame(0, (1, 0.0), (2, 3.0))]
    if k == 0:  # both at once are two
        frames[0] = frame(0, (1, 0.0), (7, x))
    else:
        frames.append(frame(k, (7, x), (2, 3.0)))
    assert handovers(frames) == expected


def test_changed_identities_are_counted_against_the_truth():
    true = [frame(k, (0, 0), (1, 2)) for k in range(5)]
    found = [
        frame(0, (5, 0), (6, 2)),
        frame(1, (5, 0), (6, 2)),
        frame(2, (6, 2)),
        frame(3, (6, 0), (5, 2)),  # exchanged
        frame(4, (6, 0), (5, 2)),
    ]
    truth = against_truth(found, true)
    assert truth.switches == 2
    assert (truth.accuracy.people, truth.accuracy.matched) == (10, 9)
    assert truth.accuracy.mpjpe_mm == pytest.approx(0)
    assert (truth.before.motion.switches, truth.before.motion.poses) == (2, 9)
    # Our own tracker, which sees where everybody stands, exchanges nobody.
    assert (truth.after.motion.switches, truth.after.motion.poses) == (0, 9)
    assert truth.after.motion.acceleration == pytest.approx(0, abs=1e-3)
    if has_trackeval():
        assert truth.before.identities.idf1 < truth.after.identities.idf1
        assert truth.after.identities.fragments == 1


def test_people_without_identities_have_no_measures_of_them():
    true = [frame(k, (0, 0), (1, 2)) for k in range(5)]
    found = [frame(k, (None, 0), (None, 2)) for k in range(5)]
    truth = against_truth(found, true)
    assert truth.before.identities is None
    assert (truth.after.identities is not None) == has_trackeval()


def test_a_truth_that_does_not_say_who_is_who_measures_no_identities():
    true = [frame(k, (None, 0), (None, 2)) for k in range(5)]
    found = [frame(k, (1, 0), (2, 2)) for k in range(5)]
    run = BagRun("a bag", "as recorded", 1.0, (), frames=found)
    run.truth = against_truth(found, true)
    assert run.truth.accuracy.matched == 10
    assert run.truth.before.identities is None and run.truth.after.identities is None
    assert run.truth.switches is None
    text = markdown(BagReport(run), "smap-ros bag")
    assert "| changes of identity against the truth | - |" in text
    assert text.count(" - switches") == 2


@pytest.mark.parametrize("installed", [True, False])
def test_without_trackeval_it_is_said_what_is_left_out(monkeypatch, installed):
    for module in (measures, report):
        monkeypatch.setattr(module, "has_trackeval", lambda: installed)
    monkeypatch.setattr(measures, "identity_numbers", lambda films: None)
    true = [frame(k, (0, 0), (1, 2)) for k in range(5)]
    text = markdown(told_of(true, true), "smap-ros bag")
    assert (f"| HOTA, MOTA, IDF1 | {INSTALL} |" in text) == (not installed)
    nameless = [frame(k, (None, 0), (None, 2)) for k in range(5)]
    assert INSTALL not in markdown(told_of(true, nameless), "smap-ros bag")


def test_who_need_not_be_found_counts_nowhere():
    true = [frame(k, (0, 0), (1, 2)) for k in range(5)]
    found = [frame(k, (5, 0)) for k in range(5)]
    counted = {k: np.array([True, k > 2]) for k in range(5)}
    truth = against_truth(found, true, counted=counted)
    assert (truth.accuracy.people, truth.accuracy.matched) == (7, 5)


@pytest.mark.parametrize("lengths", [(3, 5), (1, 4, 6), (2,)])
def test_tracks_have_a_median_length(lengths):
    frames = [
        frame(k, *((number, 2.0 * number) for number, last in enumerate(lengths) if k <= last))
        for k in range(max(lengths) + 1)
    ]
    run = BagRun("a bag", "as recorded", 1.0, (), frames=frames)
    expected = f"| tracks, median length | {len(lengths)}, {np.median(lengths) / 10:.2f} s |"
    assert expected in markdown(BagReport(run), "smap-ros bag")


@pytest.mark.parametrize("delay", [0, 2])
def test_people_are_smoothed_as_the_node_does_for_their_detector(delay):
    """The node's way is `BodySmoother` with the hash that skeleton_info says."""
    own = load_bundle("maed_smoother").manifest.detector_sha256
    config = SmootherConfig(delay=delay)
    rng = np.random.default_rng(0)
    true = [frame(k, (0, 0.1 * k), (1, 2)) for k in range(20)]
    found = [
        replace(
            one,
            detector=own,
            bodies=tuple(
                replace(b, id=None, joints_3d=b.joints_3d + rng.normal(0, 0.02, (15, 3)))
                for b in one
            ),
        )
        for one in true
    ]
    node, expected = BodySmoother(config, own), []
    for one in found:
        expected += node.update(one.bodies, one.stamp, one)
    expected += node.flush()
    got = list(smooth_frames(found, config))
    assert len(got) == len(expected) == 20
    for (one, people), answer in zip(got, expected, strict=True):
        assert one is answer.note
        for a, b in zip(people, answer.people, strict=True):
            np.testing.assert_array_equal(a.body.joints_3d, b.body.joints_3d)
    judged = against_truth(found, true, config)
    assert judged.smoother == node.smoother == "maed"
    assert judged.after.motion.acceleration < judged.before.motion.acceleration
    unknown = [replace(one, detector="") for one in found]
    assert against_truth(unknown, true, config).smoother == ("rts" if delay else "split")


def test_where_tf_tells_the_cameras_turn_a_lone_person_keeps_the_id():
    yaws = np.radians(24.0) * np.arange(5)  # faster than anybody would expect
    true, poses = [], []
    for k, yaw in enumerate(yaws):
        x, z = 4 * np.sin(0.5 - yaw), 4 * np.cos(0.5 - yaw)
        true.append(BodyFrame((replace(person_at(x, z), id=0),), CAMERA, stamp=k / 5, index=k))
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        poses.append(pose)
    config = SmootherConfig(smoother="none", tracker=TrackerConfig(max_lateral=0.3))
    switches = [
        against_truth(true, true, config, pose).after.motion.switches
        for pose in (lambda frame: poses[frame.index], lambda frame: None)
    ]
    assert switches[0] == 0 < switches[1]


def test_images_are_told_apart_by_number_or_else_by_time():
    true = [frame(k) for k in range(10)]
    first = [frame(k) for k in range(4)]
    assert index_by_truth(first, true, 10, cut=False) == {k: k for k in range(4)}
    assert index_by_truth(first, true, 4, cut=True) == {k: k for k in range(4)}
    # Every second image was dropped before it was recorded.
    halved = [BodyFrame((), CAMERA, stamp=2 * k / 10 + 0.01, index=k) for k in range(5)]
    assert index_by_truth(halved, true, 5, cut=False) == {k: 2 * k for k in range(5)}
    slow = [BodyFrame((), CAMERA, stamp=float(k), index=k) for k in range(5)]
    with pytest.raises(InputError, match="the bag has 5 images, the truth 10 frames"):
        index_by_truth(slow, true, 5, cut=False)


@pytest.mark.parametrize("cut", [False, True])
def test_images_missing_inside_shift_none_of_those_after_them(cut):
    true = [frame(k) for k in range(40)]
    left = [replace(true[k], index=n) for n, k in enumerate([*range(5), *range(9, 30)])]
    expected = {one.index: round(10 * one.stamp) for one in left}
    assert index_by_truth(left, true, len(left), cut=cut) == expected


@pytest.mark.parametrize("count", [1, 2, 5])
def test_images_of_a_bag_that_was_cut_off_go_by_number_where_times_tell_nothing(count):
    """That the first is at 0 tells nothing."""
    true = [frame(k) for k in range(8)]
    slow = [BodyFrame((), CAMERA, stamp=float(k), index=k) for k in range(count)]
    assert index_by_truth(slow, true, count, cut=True) == {k: k for k in range(count)}


@pytest.mark.parametrize("speed", [0.1, 0.5, 0.8, 0.95])
def test_a_clip_that_was_played_slowly_and_cut_off_goes_by_number(speed):
    true = [frame(k) for k in range(90)]
    slow = [replace(true[k], stamp=true[k].stamp / speed) for k in range(40)]
    assert index_by_truth(slow, true, 40, cut=True) == {k: k for k in range(40)}


@pytest.mark.parametrize(("step", "images"), [(2, 40), (3, 40), (4, 21)])
def test_a_frame_of_the_truth_is_one_image_s_the_nearest(step, images):
    """A bag has more images than there are true frames."""
    shown = [frame(k) for k in range(images)]
    true = [replace(one, index=n) for n, one in enumerate(shown[::step])]
    expected = {step * n: n for n in range(len(true))}
    assert index_by_truth(shown, true, images, cut=False) == expected


def test_the_smoother_sees_images_between_those_that_are_compared():
    smoothing = SmootherConfig(smoother="one_euro")
    shown = [frame(k, (1, 0.3 * (k % 2))) for k in range(40)]
    true = [replace(one, bodies=frame(0, (1, 0.15)).bodies) for one in shown[::2]]
    alone = against_truth(shown[::2], true, smoothing)
    between = [one if one.index % 2 == 0 else replace(one, index=-one.index) for one in shown]
    seen = against_truth(shown[::2], true, smoothing, seen=between)
    assert seen.accuracy == alone.accuracy
    assert seen.after.motion.poses == alone.after.motion.poses
    assert seen.before == alone.before
    # Who stands still in every second image, and is 0.3 m off in the others.
    assert alone.after.motion.acceleration == pytest.approx(0, abs=0.1)
    assert seen.after.motion.acceleration > 1


def told_of(found, true):
    run = BagRun("a bag", "as recorded", 1.0, (), frames=found)
    run.truth = against_truth(found, true)
    return BagReport(run)


def test_joints_that_were_not_found_are_told_with_the_errors():
    true = [frame(k, (0, 0.0)) for k in range(3)]
    found = [frame(k, (5, 0.0)) for k in range(3)]
    for one in found:
        one.bodies[0].joints_3d[[5, 8, 11]] = np.nan
    told = told_of(found, true)
    assert told.numbers()["truth"]["joints_percent"] == pytest.approx(80)
    assert "| joints of the found | 80.0 % |" in markdown(told, "smap-ros bag")


def test_pictures_that_were_lost_make_nobody_smoother():
    """Somebody stands who is found 0.1 m to and fro; every third picture is lost."""
    true = [frame(k, (0, 0.0)) for k in range(40)]
    found = [frame(k, (5, 0.1 * (k % 2))) for k in range(40)]
    whole = told_of(found, true).numbers()["truth"]["before_smoothing"]
    assert whole["motion"]["acceleration"] == pytest.approx(200, rel=1e-3)
    lossy = told_of([one for one in found if one.index % 3], true)
    before = lossy.numbers()["truth"]["before_smoothing"]
    assert math.isnan(before["motion"]["acceleration"]) and before["stride"] == 1
    assert "acceleration error - (- about the pelvis)" in markdown(lossy, "smap-ros bag")
    one_gap = told_of([one for one in found if one.index not in (20, 21)], true)
    motion = one_gap.numbers()["truth"]["before_smoothing"]["motion"]
    assert motion["acceleration"] == pytest.approx(200, rel=1e-3)


def test_people_of_every_second_picture_move_by_steps_of_two_and_that_is_said():
    true = [frame(k, (0, 0.1 * k)) for k in range(40)]
    halved = told_of([frame(k, (5, 0.1 * k)) for k in range(0, 40, 2)], true)
    before = halved.numbers()["truth"]["before_smoothing"]
    assert before["stride"] == 2
    assert before["motion"]["acceleration"] == pytest.approx(0, abs=1e-2)
    told = "a frame here is 2 of the truth's"
    assert markdown(halved, "smap-ros bag").count(told) == 2
    assert told not in markdown(told_of(true, true), "smap-ros bag")


def test_stages_add_up_to_the_total():
    frames = [frame(k, timings_ms={"network": 10.0 + k, "lifting": 1.0}) for k in range(3)]
    got = latencies(frames)
    assert list(got) == ["network", "lifting", "total"]
    assert got["network"].p50 == 11 and got["total"].p50 == 12


@pytest.fixture
def run() -> BagRun:
    topics = (topic_of("/a|b", "sensor_msgs/msg/Image", [0, SECOND]),)
    return BagRun("<b>", "as recorded", 2.0, topics, ["it is <damaged>"], images=2)


def test_pages_escape_what_they_are_given(run):
    run.frames = [frame(0, (1, 0)), frame(1, (1, 0))]
    html = page(BagReport(run), "smap-ros bag '<b>'")
    assert "<b>" not in html and "it is &lt;damaged&gt;" in html
    text = markdown(BagReport(run), "smap-ros bag x")
    assert "| /a\\|b | 2 | 1.0 |" in text
    assert "- it is <damaged>" in text
    assert "| 1 | 0.10 | 2 | 0 |" in text


def test_latencies_say_which_are_not_of_the_whole_bag(run):
    run.latency, run.latency_note = {"network": Latency(1.0, 2.0)}, "of stages: the last 10 s"
    report = BagReport(run)
    assert "## Latency (of stages: the last 10 s)" in markdown(report, "smap-ros bag x")
    assert "<h2>Latency (of stages: the last 10 s)</h2>" in page(report, "smap-ros bag x")
    assert report.numbers()["latency_note"] == run.latency_note


@pytest.mark.parametrize("frames", [[], [frame(0)], [frame(k, (MPI15.root, 0)) for k in range(3)]])
def test_any_run_has_tables_numbers_and_plots(run, frames):
    run.frames = frames
    report = BagReport(run)
    assert report.tables()[0].row_count >= 4
    assert report.numbers()["frames"] == len(frames)
    assert report.plots().shape == (1200, 1920, 3)
