"""`smap-ros parameters`."""

from __future__ import annotations

import sys

from rich import box
from rich.table import Table

from smap_ros.cli import tables
from smap_ros.graph.documents import parameters_page, parameters_yaml
from smap_ros.graph.node_types import NODES


def run(*, yaml: bool, markdown: bool) -> None:
    """Show every parameter of every node; as a file on stdout where one is asked for."""
    if yaml or markdown:
        sys.stdout.write(parameters_yaml() if yaml else parameters_page())
        return
    for node in NODES.values():
        table = Table(title=node.name, title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("parameter", style="cyan", no_wrap=True)
        table.add_column("default", no_wrap=True)
        table.add_column("meaning")
        for one in node.parameters:
            table.add_row(one.name, one.text(one.default) or "''", one.described)
        tables.console().print(table)
