"""Tables for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from smap_ros.offline.results import Latency, Summary

_PIPE_WIDTH = 120

# Descriptions of the files a run leaves, by name.
_MEANINGS = {
    "bodies.json": "people of every image, 2D and 3D",
    "contact_sheet.png": "evenly spaced frames at a glance",
    "poses_3d.png": "people in metres, from the front and from above",
    "annotated/": "pictures with skeletons",
    "report.json": "all numbers, and the command that made them",
    "plots.png": "the figures",
    "gallery.png": "the worst cases: true and predicted people",
    "report.md": "the report for people to read",
    "report.html": "the same as a page",
    "bag": "all topics as a ROS 2 bag (MCAP)",
    "logs": "what each node logged",
}


def console() -> Console:
    """Terminal for results; plain text of a fixed width when piped."""
    wide = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, width=wide)


def progress() -> Progress:
    """Progress on stderr, with the time left; silent when stderr isn't a terminal."""
    screen = Console(file=sys.stderr)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # names of files may have brackets
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


def waiting() -> Progress:
    """A spinner on stderr for what has no known end; silent when stderr isn't a terminal."""
    screen = Console(file=sys.stderr)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # names of files may have brackets
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


def facts(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))  # not markup: users choose names, [/y] is one
    return table


def latencies(latency: Mapping[str, Latency], note: str = "") -> Table:
    """Milliseconds by stage, and which of them aren't of the whole run."""
    title = f"latency in ms ({note})" if note else "latency in ms"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("stage", style="dim")
    table.add_column("p50", justify="right")
    table.add_column("p95", justify="right")
    for stage, value in latency.items():
        style = "bold" if stage == "total" or stage.startswith("image to") else ""
        table.add_row(stage, f"{value.p50:.1f}", f"{value.p95:.1f}", style=style)
    return table


def people_rows(summary: Summary) -> list[tuple[str, str]]:
    """How many people a run found."""
    mean = summary.people / summary.frames if summary.frames else 0.0
    rows = [
        ("frames with people", f"{summary.frames_with_people} of {summary.frames}"),
        ("people per frame", f"{mean:.2f}"),
    ]
    if summary.tracks:
        rows.append(("identities", str(summary.tracks)))
    return rows


def files(out: Path, names: Iterable[str]) -> Table:
    """What was written, relative to the output folder."""
    title = Text(f"in {out}", style="table.title")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(style="green", no_wrap=True)
    table.add_column(style="dim")
    for name in names:
        meaning = _MEANINGS.get(name.partition("/")[0] if name != "annotated/" else name, "")
        table.add_row(
            Text(name), meaning or ("video with skeletons" if name.endswith(".mp4") else "")
        )
    return table
