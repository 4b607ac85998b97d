"""The node graph as plain data: nodes, parameters, remappings, arguments.

One source of truth: the launch files, ``smap-ros up`` and ``smap-ros demo`` start what
:func:`plan` makes of a :class:`Graph` and the values of its arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from smap_ros.errors import InputError
from smap_ros.graph.parameters import CAMERA, MARKERS, POSE3D, SMOOTHER, Parameter, Value
from smap_ros.paths import config_directory

PACKAGE = "smap_ros"


@dataclass(frozen=True)
class NodeType:
    """A kind of node.

    Attributes:
        name: of the node and of its executable.
        module: Python module whose ``main`` runs it.
        parameters: what it declares.
        topics: relative names of the topics a graph may remap.
    """

    name: str
    module: str
    parameters: tuple[Parameter, ...]
    topics: tuple[str, ...]

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name."""
        return next(p for p in self.parameters if p.name == name)


CAMERA_NODE = NodeType(
    "camera_node", "smap_ros.nodes.camera", CAMERA, ("image", "camera_info", "bodies_raw")
)
POSE3D_NODE = NodeType(
    "pose3d_node", "smap_ros.nodes.pose3d", POSE3D, ("image", "camera_info", "bodies_raw", "meshes")
)
SMOOTHER_NODE = NodeType(
    "smoother_node", "smap_ros.nodes.smoother", SMOOTHER, ("bodies_raw", "bodies")
)
MARKERS_NODE = NodeType("markers_node", "smap_ros.nodes.markers", MARKERS, ("image", "bodies"))
NODES: dict[str, NodeType] = {
    node.name: node for node in (CAMERA_NODE, POSE3D_NODE, SMOOTHER_NODE, MARKERS_NODE)
}
COMPOSED_NAME, COMPOSED_MODULE = "composed_node", "smap_ros.nodes.composed"


@dataclass(frozen=True)
class Argument:
    """An argument of a graph: of a launch file, or of ``smap-ros up``.

    Attributes:
        value: name, default, description, limits and choices.
        sets: the parameters that take the value, as (node, parameter).
    """

    value: Parameter
    sets: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Name of the argument."""
        return self.value.name

    @property
    def default(self) -> str:
        """The default as text."""
        return _text(self.value.default)

    @property
    def description(self) -> str:
        """What it does."""
        return self.value.description

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values; empty when there is no list of them."""
        return ("true", "false") if isinstance(self.value.default, bool) else self.value.choices


@dataclass(frozen=True)
class Member:
    """A node of a graph.

    Attributes:
        type: kind of node.
        enabled: name of the argument that says whether it runs; empty: always.
    """

    type: NodeType
    enabled: str = ""


@dataclass(frozen=True)
class Graph:
    """What is started together.

    Attributes:
        name: of the launch file.
        description: what it is for.
        arguments: what a user may set.
        members: the nodes.
    """

    name: str
    description: str
    arguments: tuple[Argument, ...]
    members: tuple[Member, ...]

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
        namespace: of the nodes; empty for none.
        parameters: by node; they override ``parameter_file``.
        remappings: pairs (from, to).
        parameter_file: parameters of all nodes, in YAML.
        log_level: of the process.
        ends_graph: True when the graph ends with this process.
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

    @property
    def arguments(self) -> list[str]:
        """Command line after the executable."""
        own: list[str] = []
        ros = ["--ros-args", "--params-file", str(self.parameter_file)]
        if len(self.nodes) == 1:
            for name, value in self.parameters[self.nodes[0]].items():
                # JSON is YAML: quotes keep the text "0" from becoming a number.
                ros += ["-p", f"{name}:={json.dumps(value)}"]
        else:
            own = ["--nodes", ",".join(self.nodes), "--parameters", json.dumps(self.parameters)]
        if self.namespace:
            # rcl only takes a namespace that is fully qualified.
            ros += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for source, target in self.remappings:
            ros += ["-r", f"{source}:={target}"]
        return [*own, *ros, "--log-level", self.log_level]


@dataclass(frozen=True)
class Plan:
    """What to start for given arguments.

    Attributes:
        processes: the processes.
        values: the arguments, checked and typed.
    """

    processes: tuple[ProcessPlan, ...]
    values: Mapping[str, Value] = field(default_factory=dict)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sets(
    node: NodeType, *names: str, also: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Argument, ...]:
    """Arguments that set the parameters of a node of the same names (and those of others)."""
    return tuple(
        Argument(
            node.parameter(name),
            ((node.name, name), *((other, name) for other in (also or {}).get(name, ()))),
        )
        for name in names
    )


_COMMON = (
    Argument(Parameter("namespace", "", "namespace of all nodes and topics")),
    Argument(Parameter("image", "image", "topic of the images")),
    Argument(Parameter("camera_info", "camera_info", "topic of the calibration")),
    *_sets(POSE3D_NODE, "bundle", "engine", "threads", "camera_height", "camera_pitch_deg"),
    *_sets(POSE3D_NODE, "flip_test", "world_frame", "delay", "stride"),
    Argument(Parameter("smoother", True, "run the smoother: ids and smooth joints on bodies")),
    Argument(Parameter("markers", True, "run the markers node: poses, markers, pictures, TF")),
    *_sets(MARKERS_NODE, "tf"),
    Argument(Parameter("composed", False, "run all nodes in one process")),
    Argument(
        Parameter("params_file", "", "parameters of the nodes (YAML); empty: config/pose3d.yaml")
    ),
    Argument(Parameter("use_sim_time", False, "take the time from /clock")),
    Argument(
        Parameter(
            "log_level",
            "info",
            "least level of log messages",
            choices=("debug", "info", "warn", "error", "fatal"),
        )
    ),
    Argument(Parameter("rviz", False, "also start RViz with our layout (needs rviz2)")),
)

LIVE = Graph(
    "pose3d",
    "People in 3D from a camera that a driver publishes.",
    (
        *_COMMON,
        *_sets(POSE3D_NODE, "fov_deg", "autostart"),
        *_sets(POSE3D_NODE, "compressed", also={"compressed": (MARKERS_NODE.name,)}),
    ),
    (Member(POSE3D_NODE), Member(SMOOTHER_NODE, "smoother"), Member(MARKERS_NODE, "markers")),
)

REPLAY = Graph(
    "replay",
    "People in 3D from a video, a folder of images, a bag or a camera that we read ourselves.",
    (
        Argument(
            replace(
                CAMERA_NODE.parameter("source"),
                description=f"{CAMERA_NODE.parameter('source').description}; empty: the clip that "
                "ships, with its calibration",
            ),
            ((CAMERA_NODE.name, "source"),),
        ),
        *_sets(
            CAMERA_NODE,
            "calibration",
            "fov_deg",
            "rate",
            "pacing",
            "loop",
            "compressed",
            also={"compressed": (POSE3D_NODE.name, MARKERS_NODE.name)},
        ),
        *_COMMON,
    ),
    (
        Member(CAMERA_NODE),
        Member(POSE3D_NODE),
        Member(SMOOTHER_NODE, "smoother"),
        Member(MARKERS_NODE, "markers"),
    ),
)

GRAPHS: dict[str, Graph] = {graph.name: graph for graph in (LIVE, REPLAY)}


def plan(graph: Graph, values: Mapping[str, str | Value] | None = None) -> Plan:
    """What to start.

    Args:
        graph: the graph.
        values: arguments by name, as text (from a command line) or typed. What is not given is
            as the parameter file says.

    Raises:
        InputError: if an argument is unknown or its value is refused.
    """
    typed = {argument.name: argument.value.default for argument in graph.arguments}
    for name, given in (values or {}).items():
        typed[name] = _typed(graph.argument(name).value, given)
    members = [m.type for m in graph.members if not m.enabled or typed[m.enabled]]
    chosen = {name: typed[name] for name in values or {}}
    if typed.get("source") == "":
        chosen |= _shipped_clip()
    parameters = {node.name: _parameters(graph, node, chosen) for node in members}
    groups = [members] if typed["composed"] else [[node] for node in members]
    file = str(typed["params_file"])
    if file and not Path(file).is_file():
        raise InputError(f"params_file {file!r} doesn't exist; expected a YAML file of parameters")
    parameter_file = Path(file) if file else config_directory() / "pose3d.yaml"
    processes = tuple(
        ProcessPlan(
            executable=COMPOSED_NAME if typed["composed"] else group[0].name,
            module=COMPOSED_MODULE if typed["composed"] else group[0].module,
            nodes=tuple(node.name for node in group),
            namespace=str(typed["namespace"]),
            parameters={node.name: parameters[node.name] for node in group},
            remappings=_remappings(group, typed),
            parameter_file=parameter_file,
            log_level=str(typed["log_level"]),
            ends_graph=CAMERA_NODE in group,
        )
        for group in groups
    )
    return Plan(processes, typed)


def _typed(value: Parameter, given: str | Value) -> Value:
    if isinstance(given, str) and not isinstance(value.default, str):
        return value.parse(given)
    problem = value.problem(given)
    if problem is not None:
        raise InputError(problem)
    return given


def _shipped_clip() -> dict[str, Value]:
    """The source that stands in where none is given: the demo's clip and its calibration."""
    demo = config_directory() / "demo"
    return {"source": str(demo / "clip.mp4"), "calibration": str(demo / "camera.yaml")}


def _parameters(graph: Graph, node: NodeType, chosen: Mapping[str, Value]) -> dict[str, Value]:
    """What the given arguments set on a node."""
    parameters: dict[str, Value] = {}
    for argument in graph.arguments:
        for owner, name in argument.sets:
            if owner == node.name and argument.name in chosen:
                value = chosen[argument.name]
                # A whole number is fine for a user, but not for ROS where a float is declared.
                kind = type(node.parameter(name).default)
                parameters[name] = float(value) if kind is float else value
    if chosen.get("use_sim_time"):
        parameters["use_sim_time"] = True
    return parameters


def _remappings(group: list[NodeType], typed: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
    topics = {topic for node in group for topic in node.topics}
    return tuple(
        (topic, str(typed[topic]))
        for topic in ("image", "camera_info")
        if topic in topics and typed[topic] != topic
    )
