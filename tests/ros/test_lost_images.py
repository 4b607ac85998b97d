"""Images that get lost on their way to the pose node: noticed, told, and mended as told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from smap_ros.graph.middleware import environment_file, middleware_environment
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.loss import LossMeter
from tests.ros.pose3d_client import ENGINE, NODE

BENCH = Path(__file__).parents[2] / "bench" / "driver_loss.py"


# --- the meter ------------------------------------------------------------------------------------


def loss_of(images, infos=()):
    """What the meter says one second after the last of these stamps, each come at its time."""
    now = [0.0]
    meter = LossMeter(clock=lambda: now[0])
    for stamp, add in sorted(
        [(stamp, meter.image) for stamp in images] + [(stamp, meter.info) for stamp in infos],
        key=lambda event: event[0],
    ):
        now[0] = stamp
        add(stamp)
    now[0] = max([*images, *infos]) + 1.0
    return meter.loss()


def stamps(rate=15.0, seconds=9.0, jitter=0.0, start=100.0):
    times = start + np.arange(int(rate * seconds)) / rate
    return times + np.random.default_rng(1).uniform(-jitter, jitter, len(times))


def kept(times, share, seed=0):
    return times[np.random.default_rng(seed).random(len(times)) < share]


@pytest.mark.parametrize("share", [0.03, 0.1, 0.4, 0.8, 1.0])
def test_images_without_their_camera_info_are_lost(share):
    sent = stamps()
    images = kept(sent, share, seed=3)
    loss = loss_of(images, sent)
    assert loss.sent == pytest.approx(15, rel=0.02)
    since = sent[sent >= images[0]]  # before, the topic may not have been found yet
    assert loss.arrived == pytest.approx(15 * len(images) / len(since), rel=0.02)


def test_camera_infos_that_get_lost_as_well_do_not_hide_the_cameras_rate():
    sent = stamps(jitter=0.003)
    infos = kept(sent, 0.7, seed=3)
    loss = loss_of(kept(infos, 0.2, seed=4), infos)
    assert loss.sent == pytest.approx(15, rel=0.03) and loss.arrived < 4


@pytest.mark.parametrize(("share", "jitter"), [(0.3, 0.0), (0.5, 0.004), (0.8, 0.004)])
def test_gaps_tell_where_camera_info_does_not(share, jitter):
    loss = loss_of(kept(stamps(jitter=jitter), share), infos=[100.0, 104.0])
    assert loss.sent == pytest.approx(15, rel=0.05)
    assert loss.share == pytest.approx(1 - share, abs=0.12)


ALL_THERE = {
    "steady": stamps(),
    "with jitter": stamps(jitter=0.01),
    "half the rate from the middle on, as in the dark": np.concatenate(
        [stamps(30.0, 5.0), stamps(15.0, 4.0, start=105.0)]
    ),
    "half the rate from early on": np.concatenate(
        [stamps(30.0, 2.0), stamps(15.0, 7.0, start=102.0)]
    ),
    "one lost": np.delete(stamps(), 40),
    "no rate at all": 100 + np.cumsum(np.random.default_rng(2).uniform(0.05, 0.4, 40)),
    "few": stamps(1.0),
    "none but one": np.array([100.0]),
}


@pytest.mark.parametrize("times", ALL_THERE.values(), ids=ALL_THERE)
def test_nothing_is_lost_where_nothing_is(times):
    loss = loss_of(times)
    assert loss is None or loss.share < 0.1


def test_images_before_the_topic_was_found_are_not_lost():
    sent = stamps()
    assert loss_of(sent[40:], sent).share == 0


@pytest.mark.parametrize("late", [-0.02, 0.02, 0.2])
def test_images_that_come_a_little_before_or_after_their_camera_info_are_not_lost(late):
    now = [0.0]
    meter = LossMeter(clock=lambda: now[0])
    events = [(s, meter.info, s) for s in stamps()] + [(s + late, meter.image, s) for s in stamps()]
    for now[0], add, stamp in sorted(events, key=lambda event: event[0]):
        add(stamp)
        loss = meter.loss()
        assert loss is None or loss.share < 1e-9


def test_a_topic_that_is_throttled_on_purpose_loses_nothing():
    sent = stamps(30.0)
    assert loss_of(sent[::4], sent) is None


def meter_at(events):
    """A meter that images and infos have come to at their times, and a way to let time pass."""
    now = [0.0]
    meter = LossMeter(clock=lambda: now[0])
    for now[0], add in sorted(events, key=lambda event: event[0]):
        getattr(meter, add)(now[0])

    def wait(seconds):
        now[0] += seconds

    return meter, wait


@pytest.mark.parametrize("rate", [2.0, 15.0, 30.0])
def test_camera_infos_that_come_no_more_have_no_rate(rate):
    """A camera that hangs sends neither; one whose images get lost goes on saying its lens."""
    sent = stamps(rate, 12.0)
    meter, wait = meter_at([(s, "info") for s in sent])
    wait(1.2 / rate)
    assert meter.info_rate == pytest.approx(rate)
    wait(2.0 - 1.2 / rate)  # images are missed after so long
    assert meter.info_rate == 0
    wait(4.0)
    assert meter.info_rate == 0


@pytest.mark.parametrize(("images", "rate", "every"), [(3, 30.0, 1.0), (5, 30.0, 1.0),
                                                      (3, 10.0, 1.0), (30, 30.0, 3.0)])  # fmt: skip
def test_images_in_bursts_are_not_lost(images, rate, every):
    """As of a camera that sends when something moves."""
    bursts = 100 + np.arange(0, 12, every)
    assert loss_of(np.concatenate([start + np.arange(images) / rate for start in bursts])) is None


def test_a_link_that_loses_images_in_a_row_is_not_taken_for_bursts():
    sent = stamps(15.0, 10.0)
    lost = [k + j for k, row in ((20, 2), (50, 5), (90, 3), (120, 1)) for j in range(row)]
    assert loss_of(np.delete(sent, lost)).sent == pytest.approx(15)


def test_losses_of_like_length_between_images_of_any_number_are_not_taken_for_bursts():
    """As of a link that stalls for as long each time."""
    rng = np.random.default_rng(0)
    kept = np.concatenate([[True] * rng.integers(5, 15) + [False] * 4 for _ in range(40)])
    sent = 100 + np.arange(len(kept)) / 30
    assert loss_of(sent[kept]).share == pytest.approx(1 - kept.mean(), abs=0.08)


def test_a_recording_that_begins_again_is_not_a_loss():
    first, again = stamps(), stamps(start=100.0)
    now = [0.0]
    meter = LossMeter(clock=lambda: now[0])
    for k, stamp in enumerate([*first, *again]):
        now[0] = 100 + k / 15
        meter.image(stamp)
    loss = meter.loss()
    assert loss is None or loss.share < 0.01


@pytest.mark.parametrize("jump", [5000.0, -60.0, 11.0])
def test_a_clock_that_is_set_is_forgotten_with_what_was_before(jump):
    now = [0.0]
    meter = LossMeter(clock=lambda: now[0])
    for k in range(90):
        now[0] = 100 + k / 15
        for add in (meter.image, meter.info):
            add(now[0] + (jump if k >= 45 else 0.0))
    now[0] += 0.6
    assert meter.info_rate == pytest.approx(15)
    assert meter.loss().sent == pytest.approx(15) and meter.loss().share == 0


def test_a_calibration_that_is_said_now_and_then_ends_no_count():
    now = [0.0]
    meter = LossMeter(clock=lambda: now[0])
    sent = stamps(seconds=40.0)
    for k, stamp in enumerate(np.delete(sent, np.arange(0, len(sent), 7))):
        now[0] = stamp
        meter.image(stamp)
        if k % 200 == 0:
            meter.info(stamp)
    assert meter.loss().share == pytest.approx(1 / 7, abs=0.05)


# --- the node -------------------------------------------------------------------------------------


@contextmanager
def driver(*words, source=""):
    """A driver's process, in a shell that may have sourced a file; without any profile else."""
    bare = {k: v for k, v in os.environ.items() if k not in middleware_environment({})}
    bare.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    command = f"exec {sys.executable} {BENCH} --driver raw --count 0 {' '.join(words)}"
    if source:
        command = f"source {source} && {command}"
    process = subprocess.Popen(["bash", "-c", command], env=bare)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


CAMERA = ("-r", "image:=camera/image_raw", "-r", "camera_info:=camera/camera_info")


def test_a_driver_without_the_profile_is_told_what_to_do_and_that_helps(
    start, observer, scene_bundle
):
    """Two drivers for ten seconds each: the loss shows over the last ten."""
    node = start(NODE, *CAMERA, bundle=scene_bundle, **ENGINE)
    observer.wait(lambda: observer.values(NODE).get("image publishers"), "an active node", 60)
    with driver("--size", "1280x720", "--rate", "15"):
        status = observer.wait(
            lambda: (s := observer.status(NODE)) and "Hz arrive" in s.message and s, "the loss", 60
        )
    assert status.level == DiagnosticStatus.WARN
    sent, arrived = re.search(
        r"sends about ([\d.]+) Hz on /camera/image_raw, ([\d.]+) Hz arrive", status.message
    ).groups()
    assert float(sent) == pytest.approx(15, rel=0.35) and float(arrived) < float(sent) * 0.9
    told = re.search(r"start the driver's process after `source (\S+)`", status.message).group(1)
    assert told == str(environment_file())
    values = observer.values(NODE)
    assert values["image publishers"] == "/camera_driver: best effort, volatile"
    assert float(values["images lost [%]"]) > 10
    observer.diagnostics.clear()
    with driver("--size", "1280x720", "--rate", "15", source=told):
        observer.wait(
            lambda: (
                observer.values(NODE).get("images lost [%]") == "0"
                and observer.status(NODE).message == "running"
            ),
            "no loss at all",
            60,
        )
    assert node.log.count("Hz arrive") == 1


def test_reliable_images_of_a_best_effort_driver_are_an_error_in_words(
    start, observer, scene_bundle
):
    start(NODE, *CAMERA, bundle=scene_bundle, image_reliability="reliable", **ENGINE)
    # A driver of no images would do: what it offers is known before.
    observer.publisher(*_image_topic("camera/image_raw"))
    status = observer.wait(
        lambda: (s := observer.status(NODE)) and "no image can come" in s.message and s, "the error"
    )
    assert status.level == DiagnosticStatus.ERROR
    assert "/observer offers best effort" in status.message
    assert "image_reliability:=best_effort" in status.message


def test_images_of_another_type_are_an_error_in_words(start, observer, scene_bundle):
    start(NODE, *CAMERA, bundle=scene_bundle, compressed=True, **ENGINE)
    observer.publisher(*_image_topic("camera/image_raw/compressed"))
    observer.wait(
        lambda: (s := observer.status(NODE)) and s.message
        == "/camera/image_raw/compressed is published as sensor_msgs/msg/Image; expected "
        "sensor_msgs/msg/CompressedImage",
        "the error",
    )  # fmt: skip


def test_reliable_images_come_from_a_reliable_driver(start, observer, eye, scene_bundle):
    start(NODE, bundle=scene_bundle, image_reliability="reliable", image_depth=1, **ENGINE)
    eye.images = observer.publisher(Image, "image", qos.RELIABLE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()

    def people():
        eye.calibrate()
        eye.show()
        return list(bodies)

    assert observer.wait(people, "people")[0].bodies


def _image_topic(name):
    return Image, name, qos.SENSOR
