"""How a command ends: one line and an exit status, whatever happened."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable

from smap_ros.errors import SmapError
from smap_ros.stopping import Stopped, stoppable

DONE, BUG, REFUSED = 0, 1, 2
CLOSED_PIPE = 128 + signal.SIGPIPE

# What the machine or its user has to mend: no room, no permission, no such way.
_ENVIRONMENT = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ELOOP, errno.EMFILE,
    errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS,
}  # fmt: skip


def run_command(
    program: str, command: Callable[[], object], *, prefix: str = "", keep_lines: bool = False
) -> int:
    """Run a command of a Typer application that isn't in its standalone mode.

    Args:
        program: name for the one line.
        command: what to do; a number that it returns is the exit status.
        prefix: what the line begins with instead of the program's name.
        keep_lines: leave errors of several lines as they are.

    Returns:
        0 when done; 2 for bad usage or input, a full disk or missing permission; 128 and the
        number of the signal that stopped it; 141 when the reader of the output went away. Each
        but the first comes with one line on stderr.

    Raises:
        Exception: a bug, which keeps its traceback and Python's exit status 1.
    """
    _open_streams()
    _print_any_name()
    prefix = prefix or program
    told = str if keep_lines else _one_line
    try:
        with stoppable():
            status = command()
            sys.stdout.flush()
    except Stopped as stop:
        return _end(prefix, str(stop), stop.status)
    except (BrokenPipeError, SystemExit) as error:
        # rich ends a process whose reader went away with SystemExit(1).
        if isinstance(error, SystemExit) and error.code != 1:
            raise
        _drop_output()
        return _end(prefix, "the reader of the output went away", CLOSED_PIPE)
    except (SmapError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _ENVIRONMENT:
            raise
        _drop_output()
        return _end(prefix, told(_told(error)), REFUSED)
    except Exception as error:
        # Typer carries its own copy of click, so its errors are told by what they can do.
        message = getattr(error, "format_message", None)
        if message is None:
            if type(error).__name__ == "Abort":
                return _end(prefix, "interrupted", 128 + signal.SIGINT)
            raise
        usage = f"; `{_path(error, program)} --help` shows the usage"
        # Of a group without a command the message is its help, which was shown, or nothing.
        told_usage = _one_line(message()).rstrip(".") or "Missing command"
        return _end(prefix, told_usage + usage, REFUSED)
    return status if isinstance(status, int) else DONE


def _told(error: SmapError | OSError) -> str:
    if isinstance(error, OSError):
        where = "can't write the output" if error.filename is None else str(error.filename)
        return f"{where}: {error.strerror or error}"
    return str(error)


def _one_line(message: str) -> str:
    """Whatever the libraries put into it."""
    return " ".join(message.split())


def _end(prefix: str, message: str, status: int) -> int:
    """Say why; in vain when nobody is left to read it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{prefix}: {message}\n")
        sys.stderr.flush()
    return status


def _drop_output() -> None:
    """What a stream still holds goes nowhere: Python flushes at its end, and would complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):  # a stream without a file
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def _open_streams() -> None:
    """Streams that were closed before the start (``>&-``, some daemons) lead nowhere.

    Their numbers would otherwise be those of the next files that are opened, into which whatever
    prints would write.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w"))


def _print_any_name() -> None:
    """File names that aren't UTF-8 are shown with escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _path(error: Exception, program: str) -> str:
    """The command that the words were given to, such as ``smap-ros estimate``."""
    context = getattr(error, "ctx", None)
    return str(getattr(context, "command_path", None) or program)
