"""The graph as data: what launch files, `smap-ros up` and `smap-ros demo` start."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from smap_ros.errors import InputError
from smap_ros.graph.middleware import middleware_environment
from smap_ros.graph.parameters import Parameter
from smap_ros.graph.plan import GRAPHS, LIVE, NODES, REPLAY, plan
from smap_ros.paths import config_directory, share_directory

ALL_ARGUMENTS = [(graph, argument) for graph in GRAPHS.values() for argument in graph.arguments]
NAMES = [f"{graph.name}-{argument.name}" for graph, argument in ALL_ARGUMENTS]


@pytest.mark.parametrize(("graph", "argument"), ALL_ARGUMENTS, ids=NAMES)
def test_every_argument_is_described_and_has_a_default_that_is_allowed(graph, argument):
    assert len(argument.description) > 5
    assert argument.value.problem(argument.value.default) is None
    assert not argument.choices or argument.default in argument.choices
    for node, parameter in argument.sets:
        assert NODES[node].parameter(parameter).default == argument.value.default
    assert plan(graph, {argument.name: argument.default}).values == plan(graph).values


def test_parameter_file_has_every_parameter_with_its_default():
    data = yaml.safe_load((config_directory() / "pose3d.yaml").read_text())
    assert set(data) == {f"/**/{name}" for name in NODES}
    for name, node in NODES.items():
        expected = {p.name: p.default for p in node.parameters if p.name != "source"}
        assert data[f"/**/{name}"]["ros__parameters"] == expected


@pytest.mark.parametrize("node", NODES.values(), ids=lambda node: node.name)
def test_every_parameter_is_described_and_every_node_has_a_module(node):
    assert importlib.util.find_spec(node.module)
    assert (share_directory() / "scripts" / node.name).is_file()
    for parameter in node.parameters:
        assert parameter.description
        assert parameter.problem(parameter.default) is None


def test_processes_and_what_they_are_given():
    planned = plan(
        REPLAY,
        {
            "source": "0",
            "fov_deg": "60",
            "image": "/front/image",
            "namespace": "robot",
            "markers": "false",
            "bundle": "smap_lite",
            "use_sim_time": "true",
            "log_level": "warn",
        },
    )
    camera, pose3d, smoother = planned.processes
    assert [p.executable for p in planned.processes] == [*NODES][:3]
    assert camera.ends_graph and not pose3d.ends_graph
    words = camera.arguments
    assert 'source:="0"' in words and "fov_deg:=60.0" in words  # a text and a float, as declared
    assert "image:=/front/image" in words and "__ns:=/robot" in words
    assert words[-2:] == ["--log-level", "warn"]
    assert pose3d.parameters["pose3d_node"] == {"bundle": "smap_lite", "use_sim_time": True}
    assert smoother.remappings == ()


def test_what_is_not_given_is_left_to_the_parameter_file():
    assert plan(LIVE).processes[0].parameters == {"pose3d_node": {}}


def test_composed_is_one_process_with_everything():
    (process,) = plan(REPLAY, {"source": "clip.mp4", "composed": True}).processes
    words = process.arguments
    assert words[words.index("--nodes") + 1].split(",") == [*NODES]
    parameters = json.loads(words[words.index("--parameters") + 1])
    assert parameters["camera_node"] == {"source": "clip.mp4"}
    assert process.ends_graph


def test_without_a_source_the_shipped_clip_is_shown():
    parameters = plan(REPLAY).processes[0].parameters["camera_node"]
    assert Path(parameters["source"]).is_file() and Path(parameters["calibration"]).is_file()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"engin": "auto"}, "no argument 'engin'.*engine"),
        ({"engine": "abacus"}, "engine is 'abacus'; expected one of auto"),
        ({"threads": "-1"}, "threads is -1; expected 0 to 256"),
        ({"threads": "two"}, "threads is 'two'; expected a whole number"),
        ({"fov_deg": "nan"}, "fov_deg is nan"),
        ({"fov_deg": "180"}, "expected 0 to 179"),
        ({"composed": "yes"}, "composed is 'yes'; expected a truth value"),
        ({"params_file": "nowhere.yaml"}, "'nowhere.yaml' doesn't exist"),
    ],
)
def test_arguments_that_are_wrong_are_refused_with_the_reason(values, reason):
    with pytest.raises(InputError, match=reason):
        plan(LIVE, values)


def test_a_parameter_of_one_type_refuses_the_others():
    flag, count = Parameter("flag", True, "a flag"), Parameter("count", 1, "a count", 0, 9)
    assert flag.problem(1) and count.problem(True) and count.problem(1.0) and count.problem("1")
    assert replace(count, default=1.0).problem(1) is None


# --- middleware ---------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_profile_is_set_where_the_user_has_none(elsewhere):
    added = middleware_environment({})
    profile = added["FASTRTPS_DEFAULT_PROFILES_FILE"]
    assert profile == added["FASTDDS_DEFAULT_PROFILES_FILE"] and Path(profile).is_file()
    assert int(added["MALLOC_MMAP_THRESHOLD_"]) > 2**20
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" in middleware_environment(
        {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
    ],
)
def test_the_users_own_settings_stay(elsewhere, environment):
    added = middleware_environment({**environment, "MALLOC_TRIM_THRESHOLD_": "1"})
    assert set(added) == {"MALLOC_MMAP_THRESHOLD_"}


def test_a_profile_in_the_working_directory_stays(elsewhere):
    (elsewhere / "DEFAULT_FASTRTPS_PROFILES.xml").write_text("<profiles/>")
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in middleware_environment({})


# --- launch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=lambda graph: graph.name)
def test_launch_file_declares_the_graphs_arguments(graph):
    pytest.importorskip("launch_ros", reason="ROS's launch can't be installed from PyPI")
    path = share_directory() / "launch" / f"{graph.name}.launch.py"
    spec = importlib.util.spec_from_file_location(graph.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    declared = {a.name: a for a in description.get_launch_arguments()}
    assert set(declared) == {argument.name for argument in graph.arguments}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=lambda graph: graph.name)
def test_launch_file_reads_the_graph(graph):
    """What can be checked without ``launch``: each graph has its file, and the file is of it."""
    text = (share_directory() / "launch" / f"{graph.name}.launch.py").read_text()
    compile(text, graph.name, "exec")
    assert f"describe({'LIVE' if graph is LIVE else 'REPLAY'})" in text
