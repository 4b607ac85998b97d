"""What is known of a running graph."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.geometry.mounting import Mounting
from smap_ros.view.floor import Known
from smap_ros.view.live import (
    FLOOR_PERIOD,
    MAX_FRAMES,
    MAX_PICTURES,
    PICTURE_BYTES,
    SILENT,
    Live,
    Pictures,
)
from smap_ros.view.vitals import Level, Vitals


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_frame_is_shown_with_the_ways_of_the_last_seconds(frames, clock):
    live = Live([], clock)
    live.trail = 0.55
    for frame in frames:
        view = live.add(frame, [False, True])
    assert view.bodies is frames[-1].bodies and view.camera == frames[-1].camera
    assert view.predicted == (False, True)
    assert {len(way) for way in view.trails.values()} == {6}
    live.trail = 0.0
    assert live.add(replace(frames[-1], stamp=2.0)).trails == {}


def test_time_that_goes_back_begins_anew(frames, clock):
    live = Live([], clock)
    for frame in frames:
        live.add(frame)
    assert live.add(frames[0]).trails == {}


def test_the_floor_is_guessed_now_and_then_unless_it_is_stated(frames, clock):
    live = Live([], clock)
    assert live.floor.known is Known.ASSUMED
    assert live.add(frames[0]).floor.known is Known.ASSUMED  # just looked
    clock.time += FLOOR_PERIOD
    for frame in frames:
        view = live.add(frame)
    clock.time += FLOOR_PERIOD
    view = live.add(frames[-1])
    assert view.floor.known is Known.FEET
    assert view.floor.mounting.height == pytest.approx(1.35, abs=0.2)
    live.mounting = Mounting(2.0, math.radians(10))
    assert live.floor.known is Known.STATED and live.floor.mounting.height == 2.0


def test_nodes_are_told_in_the_order_of_the_graph_and_strangers_are_not(clock):
    live = Live(["robot/pose3d_node", "robot/smoother_node"], clock)
    for name in ("robot/smoother_node", "other/pose3d_node", "robot/pose3d_node", "fan"):
        live.hear(Vitals(name, Level.OK, "running"))
    assert [v.node for v in live.vitals()] == ["robot/pose3d_node", "robot/smoother_node"]


def test_a_node_that_falls_silent_is_reported(clock):
    live = Live(["pose3d_node"], clock)
    live.hear(Vitals("pose3d_node", Level.OK, "running"))
    clock.time += SILENT - 0.1
    assert live.vitals()[0].level is Level.OK
    clock.time += 2
    (vitals,) = live.vitals()
    assert vitals.level is Level.STALE and "nothing heard of it for 5 s" in vitals.message


def test_pictures_wait_for_their_people():
    pictures: Pictures[int] = Pictures()
    assert pictures.of((0, 0)) is None
    for k in range(MAX_PICTURES + 5):
        pictures.keep((k, 0), k)
    newest = MAX_PICTURES + 4
    assert pictures.of((7, 0)) == 7
    assert pictures.of((0, 0)) == newest  # it is gone
    assert pictures.of(None) == newest
    pictures.clear()
    assert pictures.of(None) is None


def test_no_other_picture_stands_for_one_that_is_gone_or_never_came():
    pictures: Pictures[int] = Pictures()
    for k in range(MAX_PICTURES + 5):
        pictures.keep((k, 0), k)
    newest = MAX_PICTURES + 4
    assert [pictures.exactly((k, 0)) for k in (5, 100, newest)] == [5, 100, newest]
    assert pictures.exactly((4, 0)) is None and pictures.exactly((newest + 1, 0)) is None


def test_pictures_before_one_that_was_shown_have_nobody_to_wait_for():
    pictures: Pictures[int] = Pictures()
    for k in range(5):
        pictures.keep((k, 0), k)
    assert pictures.exactly((3, 0)) == 3
    there = [pictures.exactly((k, 0)) for k in (0, 1, 2, 3, 3, 4)]
    assert there == [None, None, None, 3, 3, 4]


def test_pictures_that_wait_do_not_fill_the_memory():
    pictures: Pictures[int] = Pictures(lambda size: size)
    tenth = PICTURE_BYTES // 10
    for k in range(40):
        pictures.keep((k // 2, 0), tenth)  # each twice, as one
    kept = [pictures.exactly((k, 0)) is not None for k in (9, 10, 19)]
    assert kept == [False, True, True]
    pictures.keep((99, 0), 2 * PICTURE_BYTES)  # the newest is there, however large
    assert pictures.exactly((99, 0)) and pictures.exactly((19, 0)) is None


def test_many_frames_without_time_do_not_fill_the_memory(frames, clock):
    live = Live([], clock)
    for _ in range(MAX_FRAMES + 100):
        view = live.add(frames[0])
    assert all(len(way) == MAX_FRAMES for way in view.trails.values())
    assert np.isfinite(view.floor.mounting.height)
