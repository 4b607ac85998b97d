"""`smap-ros parameters`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from smap_ros.cli import tables
from smap_ros.errors import InputError
from smap_ros.graph.documents import parameters_page, parameters_yaml
from smap_ros.graph.node_types import NODES


def run(*, yaml: bool, markdown: bool, out: Path | None) -> None:
    """Show every parameter of every node, or write one of the files made of them.

    Raises:
        InputError: if the file can't be written, or it isn't said which.
    """
    if yaml and markdown:
        raise InputError("both --yaml and --markdown were given; give one")
    if yaml or markdown:
        give(parameters_yaml() if yaml else parameters_page(), out)
        return
    if out is not None:
        raise InputError("--out was given without --yaml or --markdown; give one of them")
    for node in NODES.values():
        table = Table(title=node.name, title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("parameter", style="cyan", no_wrap=True)
        table.add_column("default", no_wrap=True)
        table.add_column("meaning")
        for one in node.parameters:
            # As it is: units stand in brackets, like markup.
            table.add_row(*map(Text, (one.name, one.text(one.default) or "''", one.described)))
        tables.console().print(table)


def give(text: str, out: Path | None) -> None:
    """Write a text to a file, or to the screen where none is named.

    Raises:
        InputError: if the file can't be written.
    """
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't write {out}: {error.strerror}") from error
