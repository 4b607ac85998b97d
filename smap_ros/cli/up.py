"""`smap-ros up`: the live graph without ROS's launch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.table import Table

from smap_ros.cli import tables
from smap_ros.errors import InputError, SmapError
from smap_ros.graph.launcher import Launcher
from smap_ros.graph.plan import LIVE, REPLAY, Graph, plan


def run(words: Sequence[str], *, show_args: bool) -> None:
    """Start the graph and wait for its end or Ctrl-C; or list its arguments.

    With a ``source`` our own camera node is part of the graph (``replay.launch.py``); without
    one, images come from a driver (``pose3d.launch.py``).

    Args:
        words: ``name:=value``.
        show_args: list the arguments of both graphs and return.

    Raises:
        InputError: if a word isn't ``name:=value``, or an argument is unknown or refused.
        SmapError: if a node failed.
    """
    values = named_values(words)
    if show_args:
        for graph in (LIVE, REPLAY):
            tables.console().print(_arguments(graph))
        return
    graph = REPLAY if "source" in values else LIVE
    planned = plan(graph, values)
    nodes = ", ".join(node for process in planned.processes for node in process.nodes)
    sys.stderr.write(f"starting {nodes}; Ctrl-C ends them\n")
    status = Launcher(planned).run()
    if status:
        raise SmapError(f"a node ended with status {status}; its log above says why")


def named_values(words: Sequence[str]) -> dict[str, str]:
    """Launch arguments by name.

    Raises:
        InputError: if a word isn't ``name:=value``.
    """
    values: dict[str, str] = {}
    for word in words:
        name, given, value = word.partition(":=")
        if not given or not name:
            raise InputError(f"argument {word!r} isn't NAME:=VALUE; for example engine:=openvino")
        values[name] = value
    return values


def _arguments(graph: Graph) -> Table:
    table = Table(
        title=f"{graph.name}.launch.py: {graph.description}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("argument", style="cyan", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("meaning")
    for argument in graph.arguments:
        one = argument.value
        choices = f" ({', '.join(one.choices)})" if one.choices else ""
        table.add_row(argument.name, argument.default or "''", argument.description + choices)
    return table
