"""Parameter files of users: unchanged copies of ours, and what is refused of others."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from smap_ros.errors import InputError
from smap_ros.graph.plan import GRAPHS, LIVE, REPLAY, plan
from smap_ros.paths import config_directory

# What graphs set by themselves depends on.
SITUATIONS = {
    "pose3d": [{}, {"smoother": False}, {"view": True, "camera_height": 1.2}],
    "replay": [
        {},
        {"fov_deg": 60},
        {"source": "0"},
        {"source": "walk.mp4"},
        {"pacing": "real_time"},
        {"pacing": "as_consumed"},
        {"pacing": "as_consumed", "composed": True},
        {"source": "walk.mp4", "pacing": "as_consumed", "stamps": "recorded"},
        {"view": True, "world_frame": "map", "camera_height": 1.2},
        {"view": True, "camera_height": 1.2, "bundle": "virtualpose_lite"},
    ],
    "view": [{}, {"camera_height": 1.2}],
}
CASES = [(GRAPHS[name], values) for name, all_of in SITUATIONS.items() for values in all_of]
NAMES = [f"{graph.name} {' '.join(map(str, values.values()))}" for graph, values in CASES]


def test_every_graph_is_tried_here():
    assert set(SITUATIONS) == set(GRAPHS)


@pytest.mark.parametrize(("graph", "values"), CASES, ids=NAMES)
def test_an_unchanged_copy_of_the_shipped_file_changes_nothing(tmp_path, graph, values):
    copy = shutil.copy(config_directory() / "pose3d.yaml", tmp_path / "mine.yaml")
    without = plan(graph, values).processes
    assert without == tuple(
        replace(process, parameter_file=config_directory() / "pose3d.yaml")
        for process in plan(graph, {**values, "params_file": str(copy)}).processes
    )


def test_what_differs_from_the_defaults_in_a_copy_is_a_wish(tmp_path):
    text = (config_directory() / "pose3d.yaml").read_text()
    copy = tmp_path / "mine.yaml"
    copy.write_text(text.replace("subscribers: 0", "subscribers: 3"))
    of = {"source": "a.mp4", "pacing": "as_consumed", "params_file": str(copy)}
    camera, pose3d = plan(REPLAY, of).processes[:2]
    assert "subscribers" not in camera.parameters["camera_node"]
    assert pose3d.parameters["pose3d_node"]["images_wait"] is True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/**/pose3d_nod: {ros__parameters: {threads: 1}}", "sections of '/..?/pose3d_nod' alone"),
        (
            "a: {ros__parameters: {}}\nb: {c: {ros__parameters: {}}}",
            "of '/a, /b/c' alone; expected",
        ),
        ("camera_node: {ros__parameters: {loop: on}}", "pose3d_node, smoother_node, markers_node"),
        ("/**/pose3d_node: {threads: 1}", r"/pose3d_node/threads is '1'; .* below ros__parameters"),
        ("/**/pose3d_node: {ros_parameters: {threads: 1}}", "ros_parameters/threads is '1'"),
        ("driver: {exposure: 3}\npose3d_node: {ros__parameters: {}}", "/driver/exposure is '3'"),
        ("/**/pose3d_node:\n", "pose3d_node is empty"),
        ("pose3d_node: {ros__parameters: }", "/pose3d_node/ros__parameters is empty"),
        ("pose3d_node: {ros__parameters: [1]}", "/pose3d_node/ros__parameters is '.1.'"),
        ("ros__parameters: {threads: 1}", "ros__parameters of no node is"),
        ("[1, 2]", "it is '.1, 2.'; expected parameters"),
    ],
)
def test_files_that_say_nothing_to_a_graph_or_that_rcl_ends_at_are_refused_in_a_line(
    tmp_path, text, reason
):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=reason) as refusal:
        plan(LIVE, {"params_file": str(file)})
    assert str(file) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# threads: 1\n",
        "pose3d_node: {}\n",
        "/**: {ros__parameters: {threads: 1}}",
        "/front/*: {ros__parameters: {threads: 1}}",
        "front: {pose3d_node: {ros__parameters: {threads: 1}}}",
        "view_node: {ros__parameters: {view_port: 9000}}",  # isn't running: view is false
        "rviz_node: {ros__parameters: {use_sim_time: true}}",
        "driver: {ros__parameters: {exposure: 3}}\ncamera_node: {ros__parameters: {loop: on}}",
    ],
)
def test_files_that_rcl_takes_and_that_may_say_something_are_taken(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert plan(REPLAY, {"params_file": str(file)}).processes[0].parameter_file == file


NAMES = ("/front/pose3d_node", "/**/pose3d_node", "/*/pose3d_node", "/**", "/front/*", "/front/**")


@pytest.mark.parametrize("section", NAMES)
@pytest.mark.parametrize("namespace", ["front", "/front", "front/"])
def test_sections_of_nodes_where_they_run_reach_them(tmp_path, section, namespace, caplog):
    file = tmp_path / "mine.yaml"
    file.write_text(f"{section}: {{ros__parameters: {{fov_deg: 60}}}}")
    planned = plan(LIVE, {"params_file": str(file), "namespace": namespace})
    assert planned.processes[0].parameter_file == file and not caplog.text


@pytest.mark.parametrize(
    ("section", "namespace"),
    [
        ("pose3d_node", "front"), ("/pose3d_node", "/front"), ("/rear/pose3d_node", "front"),
        ("/*/pose3d_node", "robot/front"), ("/front/pose3d_node", "/robot/front"),
        ("/front/pose3d_node", "/front/left"), ("'/*'", "front"), ("/front/*", "/robot/front"),
        ("/rear/**", "/front"), ("/**/rear/*", "front"),
    ],
)  # fmt: skip
def test_sections_that_reach_no_node_where_it_runs_are_refused(tmp_path, section, namespace):
    """To rcl a name without a namespace is of the node at the root, not of one in any."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"{section}: {{ros__parameters: {{fov_deg: 60}}}}")
    name = f"/{namespace.strip('/')}/pose3d_node"
    with pytest.raises(InputError, match=rf"this one is {name}; write /\*\*/pose3d_node"):
        plan(LIVE, {"params_file": str(file), "namespace": namespace})


def test_a_section_at_the_root_beside_others_is_told(tmp_path, caplog):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/front/pose3d_node: {ros__parameters: {fov_deg: 60}}\n"
        "/rear/pose3d_node: {ros__parameters: {fov_deg: 90}}\n"
        "smoother_node: {ros__parameters: {delay: 3}}\n"
    )
    plan(LIVE, {"params_file": str(file), "namespace": "front"})
    (told,) = caplog.messages
    assert "section /smoother_node is of" in told and "this one is /front/smoother_node" in told


@pytest.mark.parametrize("section", ["pose3d_node", "/*"])
def test_a_section_at_the_root_beside_one_of_all_nodes_is_told_once(tmp_path, section, caplog):
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"{section}: {{ros__parameters: {{threads: 1}}}}\n/**: {{ros__parameters: {{threads: 2}}}}"
    )
    plan(LIVE, {"params_file": str(file), "namespace": "/front"})
    (told,) = caplog.messages
    assert f"section /{section.strip('/')} is of" in told and "write /**/pose3d_node" in told


@pytest.mark.parametrize(("namespace", "waits"), [("rear", True), ("/rear", True), ("front", False),
                                                  ("robot/rear", False), ("", True)])  # fmt: skip
def test_of_a_file_for_two_robots_each_graph_takes_its_own(tmp_path, namespace, waits):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/**/pose3d_node: {ros__parameters: {fov_deg: 60}}\n"
        "/rear/camera_node: {ros__parameters: {pacing: as_consumed, source: a.mp4}}\n"
    )
    planned = plan(REPLAY, {"params_file": str(file), "namespace": namespace})
    parameters = {k: v for p in planned.processes for k, v in p.parameters.items()}
    assert parameters["pose3d_node"].get("images_wait", False) is waits
    assert ("source" in parameters["camera_node"]) is not waits  # the shipped clip
