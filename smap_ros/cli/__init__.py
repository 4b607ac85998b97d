"""The command `smap-ros`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from smap_ros.errors import SmapError

DONE, BUG, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: words after ``smap-ros``; None takes them from the command line.

    Returns:
        0 when done; 2 for bad usage or input, with one line on stderr; 130 when interrupted.
        A bug in smap_ros keeps its traceback, and Python's exit code 1.
    """
    from smap_ros.cli.app import app

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.ERROR, "error")
    logging.addLevelName(logging.INFO, "note")
    try:
        code = app(args=arguments, prog_name="smap-ros", standalone_mode=False)
    except SmapError as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, EOFError):
        return INTERRUPTED
    except Exception as error:
        # Typer carries its own copy of click, so its errors are told by what they can do.
        message = getattr(error, "format_message", None)
        if message is None:
            if type(error).__name__ == "Abort":
                return INTERRUPTED
            raise
        return _refuse(f"{message().rstrip('.')}; `{_command(error)} --help` shows the usage")
    return code if isinstance(code, int) else DONE


def _refuse(message: str) -> int:
    """One line, whatever the libraries put into it."""
    sys.stderr.write("smap-ros: " + " ".join(message.split()) + "\n")
    return REFUSED


def _command(error: Exception) -> str:
    """The command that the words were given to, such as ``smap-ros estimate``."""
    context = getattr(error, "ctx", None)
    return str(getattr(context, "command_path", None) or "smap-ros")
