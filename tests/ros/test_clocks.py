"""Stamps and clocks that don't belong together: told in words, and no latency made of them."""

from __future__ import annotations

import re

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock

from smap_ros.msg import BodyArray
from smap_ros.nodes.clocks import clock_trouble
from smap_ros.nodes.statistics import FrameStatistics
from tests.ros.pose3d_client import ENGINE, NODE

WALL = 1.8e9

# stamp, node's clock, whether that is /clock: what is told
RULES = {
    "as it should be": (WALL - 0.2, WALL, False, ""),
    "a little ahead": (WALL + 0.3, WALL, False, ""),
    "simulation, as it should be": (41.9, 42.0, True, ""),
    "simulation that runs by the time of a bag": (1.5e9, 1.5e9 + 0.1, True, ""),
    "none": (0.0, WALL, False, "have no stamp"),
    "none in a simulation": (0.0, 42.0, True, "have no stamp"),
    "ahead": (WALL + 7, WALL, False, "7.0 s ahead of this machine's clock"),
    "tomorrow": (WALL + 86400, WALL, False, "24.0 hours ahead of"),
    "behind": (WALL - 90, WALL, False, "90.0 s behind this machine's clock"),
    "a recording": (WALL - 3e6, WALL, False, "34.7 days behind .*ros2 bag play --clock"),
    "simulation's stamps": (41.9, WALL, False, "clock of a simulation .* use_sim_time:=true"),
    "wall stamps in a simulation": (WALL, 42.0, True, "/clock says 42.0 s.* use_sim_time:=false"),
    "simulation ahead": (50.0, 42.0, True, "8.0 s ahead of /clock"),
    "a recording's own": (WALL - 3e6, WALL, False, "own stamps, which gives no latency .*shown"),
    "a video's own": (2.5, WALL, False, "plays a video with stamps:=recorded"),
    "no /clock": (WALL, 0.0, True, "nothing comes on /clock"),
    "no /clock for the driver either": (0.0, 0.0, True, "nothing comes on /clock"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_what_is_told_of_a_stamp(name):
    stamp, clock, simulated, told = RULES[name]
    found = clock_trouble(stamp, clock, simulated, WALL)
    assert re.search(told, found) and bool(found) == bool(told), found


def test_latency_that_nobody_knows_counts_as_a_frame_and_nothing_else():
    statistics = FrameStatistics()
    for latency in (float("nan"), 20.0, float("nan")):
        statistics.done(1, latency, {"transport": latency, "network": 5.0})
    values = statistics.values()
    assert values["frames processed"] == "3" and float(values["rate out [Hz]"]) > 0
    assert values["latency p50 [ms]"] == "20.0" and values["transport p95 [ms]"] == "20.00"


def test_a_node_names_the_clocks_and_publishes_no_nonsense(start, observer, eye, scene_bundle):
    """The images' stamps are a little over 1000 s, then none, then of today."""
    node = start(NODE, bundle=scene_bundle, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()

    def shown(change, words, latency="nan"):
        """The level of diagnostics that say so, with a latency or none."""

        def told():
            eye.calibrate()
            image = eye.image()
            change(image.header)
            eye.show(image)
            status, values = observer.status(NODE), observer.values(NODE)
            known = values.get("latency p50 [ms]", "nan") != "nan"
            return bodies and words in status.message and known == (latency != "nan") and status

        return observer.wait(lambda: observer.status(NODE) and told(), words).level

    assert shown(lambda header: None, "stamped 10") == DiagnosticStatus.WARN
    assert shown(lambda h: setattr(h, "stamp", Time()), "no stamp (0)") == DiagnosticStatus.WARN

    def of_today(header):
        header.stamp = observer.node.get_clock().now().to_msg()

    assert shown(of_today, "running", "known") == DiagnosticStatus.OK
    assert 0 <= float(observer.values(NODE)["latency p50 [ms]"]) < 10_000
    assert node.log.count("have no stamp (0)") <= 1


def test_wall_stamps_under_simulated_time_are_told(start, observer, eye, scene_bundle):
    start(NODE, bundle=scene_bundle, use_sim_time=True, **ENGINE)
    clock = observer.publisher(Clock, "/clock", 10)
    eye.ready()

    def told():
        clock.publish(Clock(clock=Time(sec=42)))
        eye.calibrate()
        image = eye.image()
        image.header.stamp = observer.node.get_clock().now().to_msg()
        eye.show(image)
        status = observer.status(NODE)
        return status and "/clock says 42.0 s" in status.message and status

    assert observer.wait(told, "the clocks").level == DiagnosticStatus.WARN
    assert observer.values(NODE)["latency p50 [ms]"] == "nan"
