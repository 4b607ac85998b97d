"""The command `smap-ros`."""

from __future__ import annotations

import logging
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: words after ``smap-ros``; None takes them from the command line.

    Returns:
        Exit status, see :func:`smap_ros.cli.ending.run_command`. A bug in smap_ros keeps its
        traceback, and Python's exit status 1.
    """
    from smap_ros.cli.ending import run_command

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    # It warns of a list of fonts that it can't keep, on a full disk or without a home.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.ERROR, "error")
    logging.addLevelName(logging.INFO, "note")

    def command() -> object:
        from smap_ros.cli.app import app

        return app(args=arguments, prog_name="smap-ros", standalone_mode=False)

    return run_command("smap-ros", command)
