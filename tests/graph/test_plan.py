"""The graph as data: what launch files, `smap-ros up` and `smap-ros demo` start."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from smap_ros.errors import InputError, SmapError
from smap_ros.graph.middleware import (
    FAST_DDS_2,
    FAST_DDS_3,
    environment_file,
    fast_dds,
    lost_images_advice,
    middleware_environment,
)
from smap_ros.graph.node_types import NODES
from smap_ros.graph.plan import GRAPHS, LIVE, REPLAY, VIEW, plan
from smap_ros.paths import config_directory, share_directory

ALL_ARGUMENTS = [(graph, argument) for graph in GRAPHS.values() for argument in graph.arguments]
NAMES = [f"{graph.name}-{argument.name}" for graph, argument in ALL_ARGUMENTS]


@pytest.mark.parametrize(("graph", "argument"), ALL_ARGUMENTS, ids=NAMES)
def test_every_argument_is_described_and_has_a_default_that_is_allowed(graph, argument):
    assert len(argument.description) > 5
    assert argument.value.parse(argument.default) == argument.value.default
    assert not argument.choices or argument.default in argument.choices
    for node, name in argument.sets:  # the same wherever it is set
        one = NODES[node].parameter(name)
        assert replace(one, name=argument.name, changes=argument.value.changes) == argument.value


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=lambda graph: graph.name)
def test_every_parameter_of_a_graphs_nodes_is_an_argument_of_it(graph):
    arguments = {pair for a in graph.arguments for pair in a.sets}
    parameters = {
        (member.type.name, one.name) for member in graph.members for one in member.type.parameters
    }
    left_out = {(m.type.name, name) for m in graph.members for name in m.without}
    assert arguments == parameters - left_out
    for name in {name for _, name in left_out}:  # another node has it
        assert name in {a.name for a in graph.arguments}


@pytest.mark.parametrize("node", NODES.values(), ids=lambda node: node.name)
def test_every_parameter_is_described_and_every_node_has_a_module(node):
    assert importlib.util.find_spec(node.module)
    assert (share_directory() / "scripts" / node.name).is_file()
    for parameter in node.parameters:
        assert parameter.help
        assert parameter.accept(parameter.default) == parameter.default


def test_an_argument_that_is_given_wins_over_the_file_even_where_it_equals_the_default():
    for graph in GRAPHS.values():
        for argument in graph.arguments:
            if argument.name in ("source", "calibration", "params_file", "rviz"):
                continue
            planned = plan(graph, {argument.name: argument.default}).processes
            for process in planned:
                for node, name in argument.sets:
                    if node in process.nodes:
                        expected = argument.value.written(argument.value.default)
                        assert process.parameters[node][name] == expected
    pose3d = plan(LIVE, {"engine": "auto", "use_sim_time": "false"}).processes[0]
    assert pose3d.parameters == {"pose3d_node": {"engine": "auto", "use_sim_time": False}}


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
    assert "image:=/front/image" in words
    assert camera.namespace_arguments == ["-r", "__ns:=/robot"]
    assert words[-2:] == ["--log-level", "warn"]
    assert pose3d.parameters["pose3d_node"] == {"bundle": "smap_lite", "use_sim_time": True}
    assert smoother.remappings == ()


def test_what_is_not_given_is_left_to_the_parameter_file():
    assert plan(LIVE).processes[0].parameters == {"pose3d_node": {}}


def test_composed_is_one_process_with_everything():
    (process,) = plan(REPLAY, {"source": "clip.mp4", "composed": True}).processes
    words = process.arguments
    assert words[words.index("--nodes") + 1].split(",") == [*NODES][:4]
    parameters = json.loads(words[words.index("--parameters") + 1])
    assert parameters["camera_node"] == {"subscribers": 1, "source": "clip.mp4"}
    assert process.ends_graph


def test_the_first_image_waits_for_the_pose_node_unless_something_else_is_stated(tmp_path):
    assert camera({"source": "a.mp4"})["subscribers"] == 1
    assert camera({"source": "a.mp4", "subscribers": 0})["subscribers"] == 0
    file = tmp_path / "mine.yaml"
    file.write_text("camera_node:\n  ros__parameters:\n    subscribers: 3\n")
    assert "subscribers" not in camera({"source": "a.mp4", "params_file": str(file)})


def test_the_pose_node_knows_whether_the_images_wait_for_it(tmp_path):
    def pose(given):
        return plan(REPLAY, given).processes[1].parameters["pose3d_node"]

    assert "images_wait" not in pose({"source": "a.mp4"})
    assert "images_wait" not in pose({"source": "a.mp4", "pacing": "real_time"})
    assert pose({"source": "a.mp4", "pacing": "as_consumed"})["images_wait"] is True
    for live in ("0", "/dev/video1"):
        assert "images_wait" not in pose({"source": live, "pacing": "as_consumed"})
    stated = {"source": "a.mp4", "pacing": "as_consumed", "images_wait": False}
    assert pose(stated)["images_wait"] is False
    file = tmp_path / "mine.yaml"
    file.write_text("camera_node:\n  ros__parameters:\n    pacing: as_consumed\n")
    of_file = {"source": "a.mp4", "params_file": str(file)}
    assert pose(of_file)["images_wait"] is True
    assert "images_wait" not in pose({**of_file, "pacing": "auto"})
    file.write_text("pose3d_node:\n  ros__parameters:\n    images_wait: false\n")
    assert "images_wait" not in pose({**of_file, "pacing": "as_consumed"})


def test_the_viewer_is_never_in_the_composed_process():
    values = {"composed": True, "view": True, "view_port": 9000, "camera_height": 1.2}
    composed, viewer = plan(LIVE, values).processes
    assert composed.nodes == ("pose3d_node", "smoother_node", "markers_node")
    assert viewer.executable == "view_node" and viewer.module == NODES["view_node"].module
    assert viewer.parameters["view_node"] == {"view_port": 9000, "camera_height": 1.2}
    assert [p.nodes for p in plan(VIEW).processes] == [("view_node",)]


def test_without_the_smoother_people_are_taken_as_they_are_found():
    values = {"smoother": False, "view": True}
    remappings = {p.executable: p.remappings for p in plan(LIVE, values).processes}
    assert remappings["markers_node"] == remappings["view_node"] == (("bodies", "bodies_raw"),)
    assert remappings["pose3d_node"] == ()
    for process in plan(LIVE, {"bodies": "people", "view": True}).processes[1:]:
        assert process.remappings == (("bodies", "people"),)


@pytest.mark.parametrize("graph", [LIVE, REPLAY], ids=lambda graph: graph.name)
@pytest.mark.parametrize("composed", [False, True])
def test_without_the_smoother_the_pose_node_publishes_on_the_stated_topic(graph, composed):
    values = {"smoother": False, "bodies": "people", "view": True, "composed": composed}
    for process in plan(graph, values).processes:
        topics = {topic for node in process.nodes for topic in NODES[node].topics}
        people = {(name, "people") for name in topics & {"bodies", "bodies_raw"}}
        assert people and set(process.remappings) == people


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
        ({"fov_deg": "170"}, r"170 degrees; expected .* 1\.15 to 157\.4, or a calibration"),
        ({"fov_deg": "0.5"}, r"0\.5 degrees; expected .* 1\.15 to 157\.4, or a calibration"),
        ({"image": ""}, "image is ''; expected the name of a topic"),
        ({"image": "bad topic"}, "image is 'bad topic'; expected the name .* like camera/image"),
        ({"camera_info": "a//b"}, "camera_info is 'a//b'"),
        ({"image": "a__b"}, "image is 'a__b'"),
        ({"image": "front/{ns}/image"}, "expected the name of a topic"),
        ({"image": "x" * 300}, "image is 'xxx.*; expected the name of a topic"),
        ({"namespace": "a__b"}, "namespace is 'a__b'"),
        ({"bodies": "bodies_raw"}, "bodies is 'bodies_raw', the topic that the smoother takes"),
        ({"bodies": "/r2/bodies_raw", "namespace": "r2"}, "the topic that the smoother takes"),
        ({"composed": "yes"}, "composed is 'yes'; expected a truth value"),
        ({"min_joints": "2.5"}, "min_joints is 2.5; expected a whole number, 0 to 15, or bundle"),
        ({"min_score": "a"}, "min_score is 'a'; expected a number, 0 to 1, or bundle"),
        ({"params_file": "nowhere.yaml"}, "'nowhere.yaml' doesn't exist"),
    ],
)
def test_arguments_that_are_wrong_are_refused_with_the_reason(values, reason):
    with pytest.raises(SmapError, match=reason):
        plan(LIVE, values)


@pytest.mark.parametrize("name", ["/front/image_raw", "~/image", "_a/b_/c2", "image_2"])
def test_topics_that_ros_takes_are_taken(name):
    assert ("image", name) in plan(LIVE, {"image": name}).processes[0].remappings
    elsewhere = plan(LIVE, {"bodies": "/other/bodies_raw", "namespace": "r2"})
    assert any(("bodies", "/other/bodies_raw") in one.remappings for one in elsewhere.processes)
    assert plan(LIVE, {"bodies": "bodies_raw", "smoother": False}).processes


@pytest.mark.parametrize("namespace", ["robot2/front", "/robot2", "_a1/b_2/"])
def test_namespaces_are_kept_as_they_are_stated(namespace):
    process = plan(LIVE, {"namespace": namespace}).processes[0]
    assert process.namespace == namespace.rstrip("/")
    assert process.namespace_arguments == ["-r", f"__ns:=/{namespace.strip('/')}"]


@pytest.mark.parametrize("namespace", ["two words", "robot//front", "2nd", "a-b", "~/x", "é"])
def test_namespaces_that_ros_would_refuse_are_refused_first(namespace):
    with pytest.raises(InputError, match=r"namespace is .*; expected names of letters"):
        plan(LIVE, {"namespace": namespace})


def test_rviz_is_refused_where_it_is_not_installed_and_runs_with_the_nodes_where_it_is(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no program rviz2; install it"):
        plan(LIVE, {"rviz": "true"})
    (tmp_path / "rviz2").write_text("#!/bin/sh\n")
    (tmp_path / "rviz2").chmod(0o755)
    values = {"rviz": "true", "namespace": "robot", "use_sim_time": "true"}
    rviz = plan(LIVE, values).processes[-1]
    stated = plan(LIVE, {**values, "smoother": False, "bodies": "people"}).processes[-1]
    assert set(stated.remappings) == {("bodies", "people"), ("bodies_raw", "people")}
    assert rviz.executable == "rviz_node" and rviz.may_end and not rviz.ends_graph
    assert rviz.namespace == "robot" and rviz.parameters["rviz_node"] == {"use_sim_time": True}


# --- the shipped clip and the user's files ------------------------------------------------------


def camera(values):
    return plan(REPLAY, values).processes[0].parameters["camera_node"]


def test_the_shipped_clip_brings_its_calibration_only_where_none_is_stated():
    assert camera({"calibration": "mine.yaml"})["calibration"] == "mine.yaml"
    assert "calibration" not in camera({"fov_deg": 70})
    assert Path(camera({"calibration": ""})["calibration"]).is_file()
    for values in ({"calibration": "mine.yaml"}, {"fov_deg": 70}, {"source": ""}):
        assert Path(camera(values)["source"]).name == "clip.mp4"


def test_a_source_in_the_parameter_file_is_not_replaced_by_the_clip(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("/**/camera_node:\n  ros__parameters:\n    source: walk.mp4\n    fov_deg: 60\n")
    assert "source" not in camera({"params_file": str(file)})
    assert Path(camera({"params_file": str(file), "source": ""})["source"]).name == "clip.mp4"
    file.write_text("camera_node:\n  ros__parameters:\n    loop: on\n")
    assert Path(camera({"params_file": str(file)})["source"]).name == "clip.mp4"


@pytest.mark.parametrize(
    ("section", "text", "reason"),
    [
        ("pose3d_node", "{min_joints: 2.5}", "min_joints is 2.5; expected a whole number"),
        ("/**/pose3d_node", "{min_score: a}", "min_score is 'a'; expected a number"),
        ("/**", "{min_score: .nan}", "pose3d_node: min_score is nan; expected 0 to 1"),
        ("/robot/pose3d_node", "{engine: 3}", "engine is 3; expected one of auto"),
        ("pose3d_node", "{min_jonts: 3}", "no parameter 'min_jonts'; it has .*stride"),
        ("pose3d_node", "{flip_test: maybe}", "flip_test is 'maybe'; expected a truth"),
        ("pose3d_node", "[", "can't be read: .*; expected a YAML file"),
    ],
)
def test_parameter_files_that_are_wrong_are_refused_before_anything_starts(
    tmp_path, section, text, reason
):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{section}: {{ros__parameters: {text}}}")
    with pytest.raises(InputError, match=reason):
        plan(LIVE, {"params_file": str(file)})


def test_parameter_files_that_ros_takes_are_taken(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/**: {ros__parameters: {use_sim_time: true, of_another_node: 3}}\n"
        "pose3d_node: {ros__parameters: {flip_test: off, min_joints: bundle, fov_deg: 60,\n"
        "  qos_overrides./image.subscription.depth: 3}}\n"
        "smoother_node: {ros__parameters: {min_cutoff: 1e-2}}\n"
        "driver: {ros__parameters: {exposure: 3}}\n"
    )
    assert plan(LIVE, {"params_file": str(file)}).processes[0].parameter_file == file
    assert plan(LIVE, {"params_file": str(config_directory() / "pose3d.yaml")})


# --- middleware ---------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("distro", "variables"),
    [
        ("humble", {FAST_DDS_2.variable}),
        ("jazzy", {FAST_DDS_2.variable}),
        ("kilted", {FAST_DDS_3.variable}),
        ("rolling", {FAST_DDS_3.variable}),
    ],
)
def test_the_profile_is_set_where_the_distributions_fast_dds_looks(elsewhere, distro, variables):
    """Kilted's rmw_fastrtps warns of the older one; Jazzy's Fast DDS doesn't know the newer."""
    for rmw in ({}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}):
        added = middleware_environment({"ROS_DISTRO": distro, **rmw})
        assert {name for name in added if "PROFILES" in name} == variables
        assert all(Path(added[name]).is_file() for name in variables)
        assert int(added["MALLOC_MMAP_THRESHOLD_"]) > 2**20


def test_without_a_known_distribution_both_variables_are_set():
    assert fast_dds("") == (FAST_DDS_2, FAST_DDS_3)


@pytest.mark.parametrize(
    "environment",
    [
        {"ROS_DISTRO": "jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"ROS_DISTRO": "kilted", "FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"ROS_DISTRO": "kilted", "FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
    ],
)
def test_the_users_own_settings_stay(elsewhere, environment):
    added = middleware_environment({**environment, "MALLOC_TRIM_THRESHOLD_": "1"})
    assert set(added) == {"MALLOC_MMAP_THRESHOLD_"}


def test_a_setting_that_the_distributions_fast_dds_does_not_know_decides_nothing(elsewhere):
    environment = {"ROS_DISTRO": "jazzy", FAST_DDS_3.variable: "mine.xml"}
    assert FAST_DDS_2.variable in middleware_environment(environment)


@pytest.mark.parametrize(("distro", "read"), [("jazzy", FAST_DDS_2), ("kilted", FAST_DDS_3)])
def test_a_profile_in_the_working_directory_stays(elsewhere, distro, read):
    (elsewhere / read.local).write_text("<profiles/>")
    assert read.variable not in middleware_environment({"ROS_DISTRO": distro})


def sourced(environment):
    """What a shell's processes have after sourcing the file."""
    command = f"source {environment_file()} && exec env"
    done = subprocess.run(
        ["bash", "-uec", command], env=environment, check=True, capture_output=True, text=True
    )
    ours = {*middleware_environment({}), FAST_DDS_2.variable, FAST_DDS_3.variable, *environment}
    return dict(
        line.split("=", 1) for line in done.stdout.splitlines() if line.split("=")[0] in ours
    )


@pytest.mark.parametrize("distro", ["humble", "jazzy", "kilted", "rolling"])
@pytest.mark.parametrize(
    "environment",
    [{}, {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, {"MALLOC_TRIM_THRESHOLD_": "1"}],
)
def test_a_drivers_shell_sources_what_our_nodes_are_given(elsewhere, environment, distro):
    environment = {**environment, "ROS_DISTRO": distro}
    assert sourced(environment) == {**environment, **middleware_environment(environment)}


def test_a_shell_that_knows_no_distribution_has_the_variables_of_all(elsewhere):
    assert {FAST_DDS_2.variable, FAST_DDS_3.variable} <= set(sourced({}))


USED = {"FASTRTPS_DEFAULT_PROFILES_FILE": "ours.xml"}
ADVICE = {
    "start the driver's process after `source ": ("rmw_fastrtps_cpp", USED, {}),
    "start the driver's process and this one after": ("rmw_fastrtps_cpp", {}, {}),
    "let the buffers of rmw_cyclonedds_cpp hold": ("rmw_cyclonedds_cpp", {}, {}),
    "on another machine: let it publish JPEG": ("rmw_fastrtps_cpp", USED, {"remote": True}),
    "or let it publish smaller images": ("rmw_fastrtps_cpp", USED, {"compressed": True}),
}


@pytest.mark.parametrize("told", ADVICE)
def test_what_helps_against_lost_images_depends_on_the_middleware(elsewhere, told):
    rmw, environment, more = ADVICE[told]
    assert told in lost_images_advice(rmw, environment, **more)


def test_memory_that_is_kept_for_images_can_be_given_back():
    """In a process of its own, as the variables count when one starts."""
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "from smap_ros.graph.middleware import give_back_memory\n"
        "def used():\n"
        "    pages = int(Path('/proc/self/statm').read_text().split()[1])\n"
        "    return pages * resource.getpagesize() / 1e6\n"
        "blocks = [bytearray(b'x' * 1_000_000) for _ in range(200)]\n"
        "last = bytearray(b'x' * 1_000_000)\n"
        "del blocks\n"
        "kept = used()\n"
        "give_back_memory()\n"
        "print(kept - used())\n"
    )
    environment = {**os.environ, **middleware_environment({"ROS_DISTRO": "jazzy"})}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 150  # MB
