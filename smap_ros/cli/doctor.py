"""`smap-ros doctor`."""

from __future__ import annotations

from smap_ros import doctor
from smap_ros.cli import tables


def run() -> None:
    """Show the report."""
    tables.console().print(doctor.render(doctor.report()))
