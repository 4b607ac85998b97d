"""Each parameter of each node, set to what it can't be while the node runs."""

from __future__ import annotations

import math

import pytest
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from smap_ros.graph.node_types import NODES
from smap_ros.paths import config_directory
from smap_ros.settings import Changes, Setting

LONG = "a" * 100_000
# Of each type, what is none of it, or nothing that anybody means.
WRONG = {
    bool: [None, 3, 1.5, "maybe", "", [True]],
    int: [None, "x", "", True, 1.5, 2**62, -(2**62), [1], math.nan, math.inf],
    float: [None, "x", "", True, math.nan, math.inf, -math.inf, [1.0]],
    str: [None, 3, 1.5, ["a"], b"a"],
}


def wrong(one: Setting) -> list:
    values = [*WRONG[one.kind]]
    for limit, outwards in ((one.low, -1), (one.high, 1)):
        if one.kind in (int, float) and math.isfinite(limit):
            values.append(one.kind(limit + outwards * max(1, abs(limit))))
    if one.choices:
        values += ["", "no such word", LONG]
    elif one.kind is str and one.changes is not Changes.ANY_TIME:
        values.append(LONG)
    return values


@pytest.fixture
def running(start, observer, scene_bundle, tmp_path):
    """Starts a node; whatever it says to parameters that are set."""
    own = {
        "camera_node": {
            "source": str(config_directory() / "demo" / "clip.mp4"), "loop": True,
            "pacing": "real_time",
        },
        "pose3d_node": {"bundle": scene_bundle, "engine": "onnxruntime", "threads": 1},
        "recorder_node": {"output": str(tmp_path / "bag")},
        "view_node": {"view_port": 0},
    }  # fmt: skip

    def begin(name: str):
        node = start(name, **own.get(name, {}))

        def up():
            status = observer.status(name)
            return status and not status.message.startswith("not configured")

        observer.wait(up, f"{name} to be up", 60)

        def set_to(values: list[tuple[str, object]]) -> list[tuple[bool, str]]:
            parameters = [_message(key, value) for key, value in values]
            answer = observer.call(
                SetParameters,
                f"/{name}/set_parameters",
                SetParameters.Request(parameters=parameters),
            )
            return [(result.successful, result.reason) for result in answer.results]

        return node, set_to

    return begin


def _message(name: str, value: object) -> ParameterMessage:
    if value is None:  # as `ros2 param delete` does
        return ParameterMessage(name=name)
    return Parameter(name, value=[value] if isinstance(value, bytes) else value).to_parameter_msg()


@pytest.mark.parametrize("name", NODES)
def test_whatever_a_parameter_is_set_to_is_taken_or_refused_by_name(name, running):
    node, set_to = running(name)
    parameters = NODES[name].parameters
    tried = [(one.name, value) for one in parameters for value in wrong(one)]
    for (key, value), (taken, reason) in zip(tried, set_to(tried), strict=True):
        assert not taken, f"{key} takes {str(value)[:50]}"
        assert key in reason and "\n" not in reason and len(reason) < 500, reason
    # What it already is, where that can't change: told so, and not "successful".
    fixed = [one for one in parameters if one.changes is not Changes.ANY_TIME]
    answers = set_to([(one.name, one.written(one.default)) for one in fixed])
    for one, (taken, reason) in zip(fixed, answers, strict=True):
        assert not taken and "can't change now" in reason, one.name
    assert node.alive and "Traceback" not in node.log


def test_a_smoother_that_is_told_nonsense_goes_on(running):
    """It reads a bundle while it is told; rclpy ends a node whose answer fails."""
    node, set_to = running("smoother_node")
    assert set_to([("smoother", "maed")]) == [(True, "")]
    tried = [("smoother_bundle", text) for text in (LONG, "~nobody_here/a", "\n", "/dev/null")]
    for taken, reason in set_to(tried):
        assert not taken and len(reason) < 500
    assert set_to([("min_cutoff", 1.0)]) == [(True, "")]
    assert node.alive and "Traceback" not in node.log
