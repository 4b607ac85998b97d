"""Latencies as diagnostic values, and back."""

import math

import pytest

from smap_ros.bags.stages import stage_latency, stage_values


def test_what_is_written_is_read_again_but_what_nobody_measured():
    values = {
        "people": "3",
        **stage_values("latency", 12.345, 67.89, digits=1),
        **stage_values("besides network", 1.0, 2.5),
        **stage_values("waiting", math.nan, math.nan),
    }
    read = stage_latency(values)
    assert read["latency"] == (12.3, 67.9) and read["besides network"] == (1.0, 2.5)
    assert "waiting" not in read and len(read) == 2


def test_values_of_other_nodes_are_left_aside():
    assert stage_latency({"load p50 [ms]": "1", "state": "fine"}) == {}


@pytest.mark.parametrize("value", ["n/a", "", "3 ms", "nan", "inf"])
@pytest.mark.parametrize("percentile", ["p50", "p95"])
def test_what_is_no_number_costs_its_own_stage_alone(percentile, value):
    values = stage_values("loop", 1.0, 2.0) | stage_values("latency", 3.0, 4.0)
    values[f"loop {percentile} [ms]"] = value
    assert stage_latency(values) == {"latency": (3.0, 4.0)}
