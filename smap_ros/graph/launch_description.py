"""A graph of :mod:`smap_ros.graph.plan` as a description for ROS's ``launch``.

The only module that imports ``launch``; it comes with a ROS distribution, not from PyPI.
"""

from __future__ import annotations

import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from smap_ros.errors import SmapError
from smap_ros.graph.middleware import middleware_environment
from smap_ros.graph.plan import PACKAGE, Argument, Graph, ProcessPlan, plan


class _Default(str):
    """A value that nobody gave: files that include ours may read it, as ROS promises."""


def describe(graph: Graph) -> LaunchDescription:
    """All arguments of a graph, declared, and what starts its nodes when they are known."""
    given: dict[str, str] = {}
    return LaunchDescription(
        [
            # Before the arguments are declared, those have a value that somebody has given one.
            OpaqueFunction(function=_note, args=[graph, given]),
            *(_declare(argument) for argument in graph.arguments),
            OpaqueFunction(function=_start, args=[graph, given]),
        ]
    )


def _note(context: LaunchContext, graph: Graph, given: dict[str, str]) -> None:
    """Keep the arguments that are given: they win over the parameter file, defaults don't."""
    configured = context.launch_configurations
    given.clear()
    for name in [argument.name for argument in graph.arguments if argument.name in configured]:
        if isinstance(configured[name], _Default):  # of a file of ours that was included before
            del configured[name]
        else:
            given[name] = configured[name]


def _declare(argument: Argument) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        argument.name,
        default_value=argument.default,
        description=argument.description,
        choices=list(argument.choices) or None,
    )


def _start(
    context: LaunchContext, graph: Graph, given: dict[str, str]
) -> list[LaunchDescriptionEntity]:
    configured = context.launch_configurations
    for name in [argument.name for argument in graph.arguments if argument.name not in given]:
        configured[name] = _Default(configured[name])
    return [_node(process) for process in plan(graph, given).processes]


def _node(process: ProcessPlan) -> Node:
    return Node(
        package=PACKAGE,
        executable=process.executable,
        # Given here, and relative, it nests in the namespaces of an including file.
        namespace=process.namespace or None,
        arguments=process.arguments,
        # Of this process alone: an including file's others keep theirs.
        additional_env=middleware_environment(os.environ),
        output="screen",
        emulate_tty=True,
        on_exit=_Ending(process),
    )


class _Ending:
    """What the end of a process means for the graph.

    Raising is what makes ``ros2 launch`` shut the rest down and end with a failing status.
    """

    def __init__(self, process: ProcessPlan) -> None:
        self._process = process

    def __call__(
        self, event: ProcessExited, context: LaunchContext
    ) -> list[LaunchDescriptionEntity] | None:
        name, status = self._process.executable, event.returncode
        if context.is_shutdown or self._process.may_end:
            return None
        if status == 0 and self._process.ends_graph:
            return [Shutdown(reason=f"{name} has shown its last image")]
        raise SmapError(f"{name} ended with status {status}; its log above says why")
