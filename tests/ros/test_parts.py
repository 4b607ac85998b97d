"""The parts of the nodes by themselves: conversions, the worker's slot, statistics."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from smap_ros.bodies import Body
from smap_ros.calibration import camera_from_info
from smap_ros.camera import Camera
from smap_ros.errors import CameraError
from smap_ros.nodes.conversions import (
    bodies_from_message,
    body_array,
    info_from_camera,
)
from smap_ros.nodes.statistics import WINDOW, FrameStatistics, Window
from smap_ros.nodes.worker import NewestWins
from smap_ros.skeletons import MPI15, SKELETONS

HEADER = Header(frame_id="eye", stamp=Time(sec=12, nanosec=250_000_000))


@st.composite
def people(draw):
    skeleton = SKELETONS[draw(st.sampled_from(sorted(SKELETONS)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bodies = []
    for _ in range(draw(st.integers(0, 5))):
        joints = rng.normal((0, 0, 5), 1, (len(skeleton), 3)).astype(np.float32)
        pixels = rng.uniform(-50, 1500, (len(skeleton), 2)).astype(np.float32)
        scores = rng.uniform(0.01, 1, len(skeleton)).astype(np.float32)
        missing = rng.random(len(skeleton)) < 0.3
        missing[skeleton.root] = False
        joints[missing], pixels[missing], scores[missing] = np.nan, np.nan, 0
        identity = draw(st.one_of(st.none(), st.integers(0, 2**31 - 1)))
        std = draw(st.one_of(st.just(float("nan")), st.floats(0.0625, 4, width=32)))
        score = float(rng.random())
        bodies.append(Body(joints, pixels, scores, score, identity, skeleton, depth_std=std))
    return skeleton, bodies


@given(people())
@settings(max_examples=60)
def test_people_come_back_from_the_message_as_they_went(case):
    skeleton, bodies = case
    message = body_array([(b, False) for b in bodies], HEADER, (1280, 720), skeleton)
    back = bodies_from_message(message)
    assert len(back) == len(bodies) and message.header == HEADER
    for got, want in zip(back, bodies, strict=True):
        np.testing.assert_array_equal(got.joints_3d, want.joints_3d)
        np.testing.assert_array_equal(got.joints_2d, want.joints_2d)
        np.testing.assert_array_equal(got.scores, want.scores)
        assert got.id == want.id and got.score == pytest.approx(want.score, abs=1e-6)
        assert got.skeleton is want.skeleton
        np.testing.assert_equal(got.depth_std, want.depth_std)
    assert all(np.isfinite(body.depth_std) for body in message.bodies)  # 0 says not known
    numbers = [v for b in message.bodies for p in b.positions for v in (p.x, p.y, p.z)]
    assert np.isfinite(numbers).all()


def test_who_cant_be_placed_is_not_sent():
    nowhere = Body(
        np.full((15, 3), np.nan, np.float32), np.full((15, 2), np.nan, np.float32),
        np.zeros(15, np.float32), 0.5,
    )  # fmt: skip
    assert body_array([(nowhere, False)], HEADER, (64, 48), MPI15).bodies == []


def test_camera_goes_through_camera_info_with_its_lens():
    lens = (0.1, -0.2, 0.001, 0.002, 0.05)
    camera = Camera(1280, 720, 900.0, 901.0, 640.5, 359.5, lens)
    assert camera_from_info(info_from_camera(camera, HEADER, (1280, 720))) == camera
    with pytest.raises(CameraError, match="not calibrated"):
        camera_from_info(info_from_camera(None, HEADER, (1280, 720)))


def test_a_window_of_the_sensor_binned_has_its_own_camera():
    info = info_from_camera(Camera(1280, 960, 900.0, 900.0, 640.0, 480.0), HEADER, (1280, 960))
    info.roi = RegionOfInterest(x_offset=100, y_offset=200, width=800, height=600)
    info.binning_x = info.binning_y = 2
    camera = camera_from_info(info)
    assert (camera.width, camera.height) == (400, 300)
    # A point on the axis of the lens falls on (540, 280) of the window: (269.75, 139.75) binned.
    assert (camera.cx, camera.cy) == (269.75, 139.75) and camera.fx == 450


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"k": [float("nan")] * 9}, "finite"),
        ({"k": [-1.0, 0.0, 5.0, 0.0, 1.0, 5.0, 0.0, 0.0, 1.0]}, "positive focal"),
        ({"width": 0}, "0x"),
        ({"d": [0.1, 0.2, 0.3]}, "3 distortion coefficients"),
        ({"distortion_model": "crystal_ball", "d": [0.1] * 5}, "crystal_ball"),
    ],
)
def test_an_impossible_camera_info_is_refused(fields, reason):
    info = info_from_camera(Camera.from_fov(64, 48, 1.0), HEADER, (64, 48))
    for name, value in fields.items():
        setattr(info, name, value)
    with pytest.raises(CameraError, match=reason):
        camera_from_info(info)


def test_camera_info_of_a_message_that_was_never_filled_is_refused():
    with pytest.raises(CameraError):
        camera_from_info(CameraInfo())


# --- worker -------------------------------------------------------------------------------------


def test_the_newest_item_wins_and_the_rest_is_counted():
    gate, done, replaced = threading.Event(), [], []

    def work(item):
        gate.wait(60)
        done.append(item)

    worker = NewestWins(work, lambda: replaced.append(1), "test")
    worker.put(1)
    while worker._waiting is not None:  # until the thread has taken it
        pass
    for item in range(2, 100):
        worker.put(item)
    gate.set()
    while len(done) < 2:
        pass
    worker.stop()
    assert done == [1, 99] and len(replaced) == 97
    assert not any(thread.name == "test" for thread in threading.enumerate())


def test_an_item_may_be_none():
    done = []
    worker = NewestWins(done.append, lambda: None, "test")
    for item in (None, 1, None):
        before = len(done)
        worker.put(item)
        end = time.monotonic() + 60
        while len(done) == before:
            assert time.monotonic() < end, "nobody worked on it"
    worker.stop()
    assert done == [None, 1, None]


def test_an_error_costs_its_item_and_the_thread_goes_on(caplog):
    done = threading.Event()

    def work(item):
        if item == "bad":
            raise ValueError("broken item")
        done.set()

    worker = NewestWins(work, lambda: None, "test")
    with caplog.at_level(logging.ERROR):
        worker.put("bad")
        while "broken item" not in caplog.text:
            pass
    worker.put("good")
    assert done.wait(60)
    worker.stop()


# --- statistics ---------------------------------------------------------------------------------


def test_a_window_forgets():
    now = [0.0]
    window = Window(clock=lambda: now[0])
    assert window.rate == 0 and np.isnan(window.percentiles(50)).all()
    for k in range(200):
        now[0] = k * 0.1
        window.add(float(k))
    assert window.rate == pytest.approx(10, abs=0.2)
    assert window.percentiles(0, 100) == pytest.approx((199 - WINDOW * 10, 199), abs=1)
    now[0] = 100.0
    assert window.rate == 0


def test_statistics_report_each_stage():
    statistics = FrameStatistics()
    statistics.arrived()
    statistics.done(3, 50.0, {"network": 40.0})
    values = statistics.values()
    assert values["people"] == "3" and values["latency p50 [ms]"] == "50.0"
    assert values["network p95 [ms]"] == "40.00"
    assert "second looks" not in values
    statistics.done(3, 50.0, {}, {"second looks": 2, "second looks [ms]": 24.0625})
    values = statistics.values()
    assert values["second looks"] == "2" and values["second looks [ms]"] == "24.06"
