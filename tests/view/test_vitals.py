"""What the nodes say of themselves, typed, and the panel that tells it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from smap_ros.view.vitals import Level, Vitals, latency, panel, problem

VALUES = {
    "model": "smap_lite 0.1.0 on openvino",
    "rate in [Hz]": "15.0",
    "rate out [Hz]": "7.3",
    "frames dropped": "12",
    "frames rejected": "3",
    "latency p50 [ms]": "80.0",
    "latency p95 [ms]": "120.5",
    "network p50 [ms]": "60.25",
    "network p95 [ms]": "90.00",
}


def status(name="robot/pose3d_node: pose estimation", level=b"\x00", message="running", **values):
    entries = [SimpleNamespace(key=k, value=v) for k, v in (values or VALUES).items()]
    return SimpleNamespace(name=name, hardware_id="", level=level, message=message, values=entries)


@pytest.mark.parametrize("level", [b"\x01", 1], ids=["rclpy", "rosbags"])
def test_a_status_becomes_numbers(level):
    vitals = Vitals.from_status(status(level=level, message="no image"))
    assert vitals.node == "robot/pose3d_node"
    assert vitals.level is Level.WARN and vitals.message == "no image"
    assert (vitals.rate_in, vitals.rate_out) == (15.0, 7.3)
    assert (vitals.dropped, vitals.rejected) == (12, 3)
    assert vitals.stages_ms == {"latency": (80.0, 120.5), "network": (60.25, 90.0)}


def test_what_a_node_does_not_say_or_says_badly_is_left_out():
    bad = {"rate in [Hz]": "fast", "frames dropped": "-1", "latency p50 [ms]": "nan"}
    vitals = Vitals.from_status(status(level=b"\x09", **bad))
    assert math.isnan(vitals.rate_in) and vitals.dropped is None
    assert vitals.level is Level.STALE  # a level that there is none of
    assert latency([vitals]) == ""


def test_the_worst_is_told_first_and_of_equals_the_first():
    names = {"a": Level.OK, "b": Level.WARN, "c": Level.ERROR, "d": Level.ERROR, "e": Level.STALE}
    vitals = [Vitals(name, level, "words") for name, level in names.items()]
    assert problem(vitals).node == "c"
    assert problem(vitals[:1]) is None
    assert "c: words" in panel(vitals) and "ERROR" in panel(vitals)
    assert "running" in panel(vitals[:1])
    assert "running" not in panel([])


def test_the_panel_has_rates_losses_engine_and_latency():
    vitals = [Vitals.from_status(status())]
    text = panel(vitals, {"people": "3", "empty": ""})
    assert all(word in text for word in ("pose3d", "15.0", "7.3", ">15<", "openvino", "people"))
    assert "empty" not in text
    text = latency(vitals)
    # The sum comes after the stages.
    assert (
        text.index("network") < text.index("60.2") < text.index(">latency<") < text.index("120.5")
    )


def test_texts_from_the_network_cannot_become_part_of_the_page():
    evil = "<img src=x onerror=alert(1)>"
    vitals = Vitals.from_status(status(f"{evil}: x", b"\x02", evil, **{**VALUES, "model": evil}))
    text = panel([vitals], {evil: evil}) + latency([vitals])
    assert "<img" not in text and "&lt;img" in text
