"""The launch files, executed by ROS's own launch where it is installed."""

from __future__ import annotations

import importlib.util
import os

import pytest

from smap_ros.errors import InputError, SmapError
from smap_ros.graph.plan import GRAPHS, LIVE, REPLAY
from smap_ros.paths import share_directory

each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=lambda graph: graph.name)


@each_graph
def test_launch_file_reads_the_graph(graph):
    """What can be checked without ``launch``: each graph has its file, and the file is of it."""
    text = (share_directory() / "launch" / f"{graph.name}.launch.py").read_text()
    compile(text, graph.name, "exec")
    names = {"pose3d": "LIVE", "replay": "REPLAY", "view": "VIEW"}
    assert f"describe({names[graph.name]})" in text


@pytest.fixture
def launch():
    # The folder launch/ of a checkout is no such module either.
    pytest.importorskip("launch_ros", reason="ROS's launch can't be installed from PyPI")
    return importlib.import_module("launch")


def description_of(graph):
    path = share_directory() / "launch" / f"{graph.name}.launch.py"
    spec = importlib.util.spec_from_file_location(graph.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def nodes_of(launch, graph, given, context=None):
    """The node actions of a launch file for arguments as ``ros2 launch`` gives them."""
    context = context or launch.LaunchContext()
    context.launch_configurations.update(given)
    actions = []
    for entity in description_of(graph).entities:
        actions += entity.visit(context) or []
    return actions


@each_graph
def test_launch_file_declares_the_graphs_arguments(launch, graph):
    declared = {a.name: a for a in description_of(graph).get_launch_arguments()}
    assert set(declared) == {argument.name for argument in graph.arguments}
    for argument in graph.arguments:
        # launch itself adds the choices, and a full stop before them where there is none.
        choices = f". Valid choices are: {list(argument.choices)}" if argument.choices else ""
        words = argument.description.removesuffix("." * bool(choices))
        assert declared[argument.name].description == f"{words}{choices}"


@each_graph
def test_launch_file_starts_the_nodes_and_changes_no_environment(launch, graph):
    before = dict(os.environ)
    context = launch.LaunchContext()
    actions = nodes_of(launch, graph, {}, context)
    assert len(actions) == len(graph.members)
    assert dict(os.environ) == before and dict(context.environment) == before


def words_of(launch, action, context):
    """The command line of a node action, with what launch itself adds."""
    action._perform_substitutions(context)
    return [launch.utilities.perform_substitutions(context, word) for word in action.cmd[1:]]


def test_an_argument_that_equals_its_default_is_handed_on_where_it_is_given(launch):
    for given, handed in (({}, False), ({"engine": "auto", "autostart": "true"}, True)):
        context = launch.LaunchContext()
        words = words_of(launch, nodes_of(launch, LIVE, given, context)[0], context)
        assert ('engine:="auto"' in words) is handed and ("autostart:=true" in words) is handed


def test_defaults_of_a_first_inclusion_are_not_given_to_a_second(launch):
    context = launch.LaunchContext()
    nodes_of(launch, LIVE, {"namespace": "front", "engine": "openvino"}, context)
    rear = {"namespace": "rear"}
    words = words_of(launch, nodes_of(launch, LIVE, rear, context)[0], context)
    assert not [word for word in words if word.startswith("threads:=")]
    # Whoever includes ours may read our arguments, and hand them on.
    declared = {argument.name: argument.default for argument in LIVE.arguments}
    assert context.launch_configurations == {**declared, "engine": "openvino", **rear}
    threads = str(context.launch_configurations["threads"])
    again = nodes_of(launch, LIVE, {**rear, "threads": threads}, context)
    assert f"threads:={threads}" in words_of(launch, again[0], context)


def test_namespaces_nest(launch):
    context = launch.LaunchContext()
    context.launch_configurations["ros_namespace"] = "/robot2"  # what PushRosNamespace sets
    for action in nodes_of(launch, LIVE, {"namespace": "cam"}, context):
        action._perform_substitutions(context)
        assert action.expanded_node_namespace == "/robot2/cam"


def test_wrong_values_are_refused_before_anything_starts(launch):
    with pytest.raises(InputError, match="threads is -1; expected 0 to 256"):
        nodes_of(launch, LIVE, {"threads": "-1"})


def test_a_failure_ends_the_launch_with_an_error_and_a_files_end_without(launch):
    from launch.events import Shutdown

    from smap_ros.graph.launch_description import _Ending
    from smap_ros.graph.plan import plan

    class Event:
        def __init__(self, returncode):
            self.returncode = returncode

    camera, pose3d = plan(REPLAY).processes[:2]
    context = launch.LaunchContext()
    (end,) = _Ending(camera)(Event(0), context)
    assert isinstance(end, launch.actions.Shutdown) and isinstance(end.event, Shutdown)
    for process, status in ((camera, 2), (pose3d, 1), (pose3d, 0), (pose3d, -11)):
        with pytest.raises(SmapError, match=f"{process.executable} ended with status {status}"):
            _Ending(process)(Event(status), context)
    context._set_is_shutdown(True)
    assert _Ending(pose3d)(Event(-2), context) is None
