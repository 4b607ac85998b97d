"""The node graph as plain data: nodes, parameters, remappings, arguments.

One source of truth: the launch files, ``smap-ros up`` and ``smap-ros demo`` start what
:func:`plan` makes of a :class:`Graph` and the values of its arguments.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from smap_ros.errors import InputError
from smap_ros.graph import floor
from smap_ros.graph.checks import TOPICS, check, namespace_of
from smap_ros.graph.node_types import (
    CAMERA_NODE,
    COMPOSED_MODULE,
    COMPOSED_NAME,
    MARKERS_NODE,
    POSE3D_NODE,
    RVIZ_MODULE,
    RVIZ_NAME,
    RVIZ_TOPICS,
    SMOOTHER_NODE,
    VIEW_NODE,
    NodeType,
)
from smap_ros.graph.parameters import GraphOptions
from smap_ros.graph.params_file import ParamsFile, checked
from smap_ros.paths import config_directory, user_path
from smap_ros.settings import Setting, Value, settings_of

PACKAGE = "smap_ros"


@dataclass(frozen=True)
class Argument:
    """An argument of a graph: of a launch file, or of ``smap-ros up``.

    Attributes:
        value: what is known of it.
        sets: the parameters that take the value, as (node, parameter).
    """

    value: Setting
    sets: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Name of the argument."""
        return self.value.name

    @property
    def default(self) -> str:
        """The default as text."""
        return self.value.text(self.value.default)

    @property
    def description(self) -> str:
        """What it does, with unit and limits."""
        limits = self.value.limits
        return f"{self.value.help} ({limits})" if limits else self.value.help

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words; empty when there is no list of them."""
        return self.value.words


@dataclass(frozen=True)
class Member:
    """A node of a graph.

    Attributes:
        type: kind of node.
        enabled: name of the argument that says whether it runs; empty: always.
        without: parameters that are no arguments of the graph: another node has them.
        renamed: parameters whose argument has another name, as theirs means something else.
    """

    type: NodeType
    enabled: str = ""
    without: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What is started together.

    Attributes:
        name: of the launch file.
        description: what it is for.
        members: the nodes.
        without: arguments that other graphs have and that mean nothing here.
    """

    name: str
    description: str
    members: tuple[Member, ...]
    without: tuple[str, ...] = ()

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """What a user may set: of the graph, and every parameter of its nodes.

        A parameter that several nodes have is one argument that sets it on all of them.
        """
        of_all = settings_of(GraphOptions)
        own = {one.name: Argument(one) for one in of_all if one.name not in self.without}
        for member in self.members:
            for one in member.type.parameters:
                if one.name in member.without:
                    continue
                name = member.renamed.get(one.name, one.name)
                argument = own.setdefault(name, Argument(replace(one, name=name)))
                sets = (*argument.sets, (member.type.name, one.name))
                own[name] = replace(argument, sets=sets)
        return tuple(own.values())

    def argument(self, name: str) -> Argument:
        """The argument of that name.

        Raises:
            InputError: if there is none, naming those there are.
        """
        for argument in self.arguments:
            if argument.name == name:
                return argument
        known = ", ".join(argument.name for argument in self.arguments)
        raise InputError(f"{self.name} has no argument {name!r}; it has {known}")


@dataclass(frozen=True)
class ProcessPlan:
    """One process of a graph.

    Attributes:
        executable: name under ``lib/smap_ros``, for ROS's launch.
        module: the same as a Python module, for our own starter.
        nodes: names of the nodes in it; one, unless composed.
        namespace: of the nodes, as the user states it; relative, unless it begins with a slash.
        parameters: by node; they override ``parameter_file``.
        remappings: pairs (from, to).
        parameter_file: parameters of all nodes, in YAML.
        log_level: of the process.
        ends_graph: True when the graph ends with this process.
        may_end: True when the graph goes on without it.
    """

    executable: str
    module: str
    nodes: tuple[str, ...]
    namespace: str
    parameters: Mapping[str, Mapping[str, Value]]
    remappings: tuple[tuple[str, str], ...]
    parameter_file: Path
    log_level: str
    ends_graph: bool = False
    may_end: bool = False

    @property
    def arguments(self) -> list[str]:
        """Command line after the executable, but for the namespace."""
        own: list[str] = []
        ros = ["--ros-args", "--params-file", str(self.parameter_file)]
        if len(self.nodes) == 1:
            for name, value in self.parameters[self.nodes[0]].items():
                # JSON is YAML: quotes keep the text "0" from becoming a number.
                ros += ["-p", f"{name}:={json.dumps(value)}"]
        else:
            own = ["--nodes", ",".join(self.nodes), "--parameters", json.dumps(self.parameters)]
        for source, target in self.remappings:
            ros += ["-r", f"{source}:={target}"]
        return [*own, *ros, "--log-level", self.log_level]

    @property
    def namespace_arguments(self) -> list[str]:
        """What gives the nodes their namespace where ROS's launch doesn't, which nests them."""
        # rcl only takes a namespace that is fully qualified.
        return ["-r", f"__ns:=/{self.namespace.strip('/')}"] if self.namespace else []


@dataclass(frozen=True)
class Plan:
    """What to start for given arguments.

    Attributes:
        processes: the processes.
        values: the arguments, checked and typed; None for what is left to the model.
    """

    processes: tuple[ProcessPlan, ...]
    values: Mapping[str, Value | None] = field(default_factory=dict)


# The argument "smoother" says whether it runs, and "delay" is the model's.
_SMOOTHER = Member(
    SMOOTHER_NODE, "smoother", renamed={"smoother": "smoothing", "delay": "smoothing_delay"}
)

LIVE = Graph(
    "pose3d",
    "People in 3D from a camera that a driver publishes.",
    (Member(POSE3D_NODE), _SMOOTHER, Member(MARKERS_NODE, "markers"), Member(VIEW_NODE, "view")),
)

# The camera node makes the CameraInfo of a stated field of view and of rectified images.
_OF_CAMERA = ("fov_deg", "rectified")

REPLAY = Graph(
    "replay",
    "People in 3D from a video, a folder of images, a bag or a camera that we read ourselves.",
    (
        Member(CAMERA_NODE),
        Member(POSE3D_NODE, without=_OF_CAMERA),
        _SMOOTHER,
        Member(MARKERS_NODE, "markers"),
        Member(VIEW_NODE, "view", without=_OF_CAMERA),
    ),
)

VIEW = Graph(
    "view",
    "People in a browser, of a graph that runs already.",
    (Member(VIEW_NODE),),
    without=("smoother", "markers", "composed", "view", "rviz"),
)

GRAPHS: dict[str, Graph] = {graph.name: graph for graph in (LIVE, REPLAY, VIEW)}


def plan(graph: Graph, values: Mapping[str, str | Value | None] | None = None) -> Plan:
    """What to start.

    Args:
        graph: the graph.
        values: arguments by name, as text (from a command line) or typed. What is not given is
            as the parameter file says.

    Raises:
        InputError: if an argument is unknown or its value is refused, the parameter file is
            wrong, or RViz is wanted and not there.
    """
    given = {name: _typed(graph.argument(name).value, v) for name, v in (values or {}).items()}
    typed = {argument.name: argument.value.default for argument in graph.arguments} | given
    check(typed)
    members = [m.type for m in graph.members if not m.enabled or typed[m.enabled]]
    file = _parameter_file(str(typed["params_file"]), graph, members, namespace_of(typed))
    if CAMERA_NODE in members and not _source_stated(given, file):
        given = _shipped_clip(given)
    if CAMERA_NODE in members and POSE3D_NODE in members:
        given = _unhurried(_awaited(given, file), file)
    parameters = {node.name: _parameters(graph, node, given) for node in members}
    if VIEW_NODE in members and POSE3D_NODE in members:
        parameters[POSE3D_NODE.name] = _of_the_model(parameters[POSE3D_NODE.name], file)
    # A viewer of the composed process would take the other nodes' turns.
    together = [node for node in members if typed.get("composed") and node is not VIEW_NODE]
    groups = [together] if together else []
    groups += [[node] for node in members if node not in together]
    common = {
        "namespace": namespace_of(typed),
        "parameter_file": file.path if file else config_directory() / "pose3d.yaml",
        "log_level": str(typed["log_level"]),
    }
    processes = [
        ProcessPlan(
            executable=COMPOSED_NAME if group is together else group[0].name,
            module=COMPOSED_MODULE if group is together else group[0].module,
            nodes=tuple(node.name for node in group),
            parameters={node.name: parameters[node.name] for node in group},
            remappings=_remappings([t for node in group for t in node.topics], typed),
            ends_graph=CAMERA_NODE in group,
            **common,  # type: ignore[arg-type]
        )
        for group in groups
    ]
    if typed.get("rviz"):
        people = _remappings(RVIZ_TOPICS, typed)
        processes.append(replace(_rviz(given, common), remappings=people))
    return Plan(tuple(processes), typed)


def _typed(value: Setting, given: str | Value | None) -> Value | None:
    return value.parse(given) if isinstance(given, str) else value.accept(given)


def _parameter_file(
    path: str, graph: Graph, members: list[NodeType], namespace: str
) -> ParamsFile | None:
    """The user's file of parameters, checked; None where there is none."""
    if not path:
        return None
    file = user_path(path)
    if not file.is_file():
        raise InputError(f"params_file {path!r} doesn't exist; expected a YAML file of parameters")
    others = [] if "rviz" in graph.without else [RVIZ_NAME]
    return checked(file, members, [*(m.type.name for m in graph.members), *others], namespace)


def _source_stated(given: Mapping[str, Value | None], file: ParamsFile | None) -> bool:
    # An empty source on the command line wins over the file's.
    of_file = file.stated(CAMERA_NODE) if file else {}
    return bool({**of_file, **given}.get("source"))


def _shipped_clip(given: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """The arguments with the demo's clip as the source, and its calibration if none is stated."""
    demo = config_directory() / "demo"
    stated = given.get("calibration") or given.get("fov_deg")
    calibration = {} if stated else {"calibration": str(demo / "camera.yaml")}
    return {**given, "source": str(demo / "clip.mp4"), **calibration}


def _awaited(given: Mapping[str, Value | None], file: ParamsFile | None) -> dict[str, Value | None]:
    """The arguments with a first image that waits for the pose node, unless they say otherwise.

    On a busy machine it can take longer to come up than a camera waits for a sign of anybody.
    """
    if file and "subscribers" in file.wished(CAMERA_NODE):
        return dict(given)
    return {"subscribers": 1, **given}


def _unhurried(
    given: Mapping[str, Value | None], file: ParamsFile | None
) -> dict[str, Value | None]:
    """The arguments with a pose node that knows whether the camera's images wait for it."""
    if file and "images_wait" in file.wished(POSE3D_NODE):
        return dict(given)
    camera = (file.stated(CAMERA_NODE) if file else {}) | dict(given)
    if camera.get("pacing") != "as_consumed":
        return dict(given)
    from smap_ros.sources import is_camera  # OpenCV comes with it: only where it is needed

    live = is_camera(str(camera.get("source", "")))  # cameras never wait
    return dict(given) if live else {"images_wait": True, **given}


def _parameters(
    graph: Graph, node: NodeType, given: Mapping[str, Value | None]
) -> dict[str, Value]:
    """What the given arguments set on a node."""
    parameters = {
        name: argument.value.written(given[argument.name])
        for argument in graph.arguments
        for owner, name in argument.sets
        if owner == node.name and argument.name in given
    }
    return {**parameters, **_clock(given)}


def _of_the_model(parameters: dict[str, Value], file: ParamsFile | None) -> dict[str, Value]:
    """The pose node's parameters without what is said of the floor for the viewer alone."""
    if parameters.keys().isdisjoint(floor.TELLS):
        return parameters
    stated = file.stated(POSE3D_NODE) if file else {}
    left = floor.of_the_viewer_alone(stated | parameters)
    return {name: value for name, value in parameters.items() if name not in left}


def _clock(given: Mapping[str, Value | None]) -> dict[str, Value]:
    simulated = given.get("use_sim_time")
    return {} if simulated is None else {"use_sim_time": simulated}


def _rviz(given: Mapping[str, Value | None], common: Mapping[str, object]) -> ProcessPlan:
    if shutil.which("rviz2") is None:
        raise InputError(
            "rviz is true, but there is no program rviz2; install it (apt install "
            "ros-$ROS_DISTRO-rviz2) and source ROS's setup, or leave rviz:=true away. "
            "Foxglove shows the same with config/foxglove/pose3d.json"
        )
    return ProcessPlan(
        executable=RVIZ_NAME,
        module=RVIZ_MODULE,
        nodes=(RVIZ_NAME,),
        parameters={RVIZ_NAME: _clock(given)},
        remappings=(),
        may_end=True,
        **common,  # type: ignore[arg-type]
    )


def _remappings(
    topics: Iterable[str], typed: Mapping[str, Value | None]
) -> tuple[tuple[str, str], ...]:
    meant = {topic: str(typed[topic]) for topic in TOPICS}
    if typed.get("smoother") is False:
        if meant["bodies"] == "bodies":
            meant["bodies"] = "bodies_raw"
        meant["bodies_raw"] = meant["bodies"]  # the pose node publishes what the others read
    return tuple(
        (topic, name) for topic, name in meant.items() if topic in topics and name != topic
    )
