"""`smap-ros doctor`."""

from __future__ import annotations

from smap_ros.cli import tables
from smap_ros.doctor import machine


def run() -> None:
    """Show the report."""
    tables.console().print(machine.render(machine.report()))
