"""A graph of :mod:`smap_ros.graph.plan` as a description for ROS's ``launch``.

The only module that imports ``launch``; it comes with a ROS distribution, not from PyPI.
"""

from __future__ import annotations

import os

from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from smap_ros.graph.middleware import middleware_environment
from smap_ros.graph.plan import PACKAGE, Argument, Graph, ProcessPlan, plan
from smap_ros.paths import config_directory


def describe(graph: Graph) -> LaunchDescription:
    """All arguments of a graph, declared, and what starts its nodes when they are known."""
    environment = middleware_environment(os.environ)
    return LaunchDescription(
        [
            *(_declare(argument) for argument in graph.arguments),
            *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
            OpaqueFunction(function=_start, args=[graph]),
        ]
    )


def _declare(argument: Argument) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        argument.name,
        default_value=argument.default,
        description=argument.description,
        choices=list(argument.choices) or None,
    )


def _start(context: LaunchContext, graph: Graph) -> list[LaunchDescriptionEntity]:
    """The nodes for the arguments' values; those left at their default don't override YAML."""
    configured = context.launch_configurations
    given = {
        argument.name: configured[argument.name]
        for argument in graph.arguments
        if configured[argument.name] != argument.default
    }
    planned = plan(graph, given)
    actions: list[LaunchDescriptionEntity] = [_node(process) for process in planned.processes]
    if planned.values["rviz"]:
        layout = str(config_directory() / "rviz" / "pose3d.rviz")
        actions.append(Node(package="rviz2", executable="rviz2", arguments=["-d", layout]))
    return actions


def _node(process: ProcessPlan) -> Node:
    ending = {}
    if process.ends_graph:
        ending["on_exit"] = Shutdown(reason=f"{process.executable} has shown its last image")
    return Node(
        package=PACKAGE,
        executable=process.executable,
        arguments=process.arguments,
        output="screen",
        emulate_tty=True,
        **ending,
    )
