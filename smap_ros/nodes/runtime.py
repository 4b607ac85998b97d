"""Running nodes as a process: start, spin, stop in order, exit status."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from smap_ros.errors import SmapError
from smap_ros.graph.launcher import FAILURE_FILE

BAD_INPUT = 2  # exit status

_LOG_FOLDER = "; set HOME, or ROS_LOG_DIR to a folder that can be written"
_SHOWN = 60  # letters of a wrong name

NodeFactory = Callable[[], Node]


class RosLogHandler(logging.Handler):
    """Hands what the library logs on to a ROS logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at the same level."""
        message = self.format(record)
        # One call site per level: rclpy remembers the level of each place that logs.
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)


class _Interrupt:
    """Leaves the first interrupt to ROS, which shuts its context down and wakes the executor.

    Python's own handler would raise KeyboardInterrupt wherever the process happens to be; inside
    the middleware that surfaces as a RuntimeError. A second interrupt does raise it, for a process
    that is stuck before its nodes are down.

    Attributes:
        seen: whether there was one; ROS knows nothing of those from before it was initialised.
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True


def _hang_up(number: int, frame: FrameType | None) -> None:
    """The terminal is gone: as SIGTERM, which ROS knows while it runs."""
    if rclpy.ok():
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _orderly_interrupt() -> Iterator[_Interrupt]:
    # Before rclpy.init: its handler in C calls the one that was there.
    interrupt = _Interrupt()
    handlers: dict[int, Any] = {signal.SIGINT: interrupt}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        handlers[signal.SIGHUP] = _hang_up
    for number, new in handlers.items():
        signal.signal(number, new)
    try:
        yield interrupt
    finally:
        # The process is about to end by itself: whoever asks it to now shall not see it die.
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)


def run(factories: Sequence[NodeFactory], argv: Sequence[str] | None = None) -> int:
    """Run nodes in this process until it is interrupted or a node ends it; it is to exit then.

    Several nodes share a multi-threaded executor. Afterwards interrupts are ignored.

    Args:
        factories: make the nodes, once ROS is initialised.
        argv: command line with ROS arguments; None takes the process's own.

    Returns:
        Exit status: 0, 2 when a node refuses its parameters, or what a node has as its
        ``exit_status``. What it has as its ``failure`` is told to who started us.
    """
    with _orderly_interrupt() as interrupt:
        return _run(factories, argv, interrupt)


def _run(
    factories: Sequence[NodeFactory], argv: Sequence[str] | None, interrupt: _Interrupt
) -> int:
    logger = rclpy.logging.get_logger("smap_ros")
    try:
        rclpy.init(args=None if argv is None else list(argv))
    except RuntimeError as error:  # rclpy's errors: ROS arguments it can't read
        advice = _LOG_FOLDER if "logging" in str(error) else ""
        logger.fatal(f"ROS can't start: {error}{advice}")
        return BAD_INPUT
    if interrupt.seen:
        rclpy.try_shutdown()
        return 0
    handler = RosLogHandler(logger)
    library = logging.getLogger("smap_ros")
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    nodes: list[Node] = []
    try:
        for factory in factories:
            nodes.append(factory())  # noqa: PERF401  what was made is destroyed if the next fails
        _spin(nodes)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (SmapError, ParameterException, NameValidationException) as error:
        reason = bad_name(error) if isinstance(error, NameValidationException) else str(error)
        _say_why(reason)
        logger.fatal(reason)
        return BAD_INPUT
    except RuntimeError as error:  # rclpy's errors
        if rclpy.ok() and "resolve name" in str(error):
            _say_why(bad_name(error))
            logger.fatal(bad_name(error))
            return BAD_INPUT
        if rclpy.ok():
            raise
        # Interrupted while a node was being made: nothing can be made in a context that is down.
    finally:
        for node in nodes:
            node.destroy_node()
        library.removeHandler(handler)
        rclpy.try_shutdown()
    for node in nodes:
        if getattr(node, "failure", ""):
            _say_why(node.failure)
    return max((int(getattr(node, "exit_status", 0)) for node in nodes), default=0)


def bad_name(error: Exception) -> str:
    """What is wrong with a name that ROS refuses, in one line: without marks below the name."""
    what, *name = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    what = re.sub(r", at /\S+:\d+$", "", what).rstrip(":")
    shown = name[0] if name else ""
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}..."
    told = f" ({shown})" if shown else ""
    return (
        f"ROS refuses a name: {what}{told}. Choose another topic, name or namespace (remappings, "
        "and the arguments image, camera_info, bodies, namespace)"
    )


def _say_why(failure: str) -> None:
    """Tell whoever started this process why it fails, if they want to know."""
    path = os.environ.get(FAILURE_FILE)
    if path:
        with contextlib.suppress(OSError):  # the log has it as well
            Path(path).write_text(" ".join(failure.split()) + "\n", encoding="utf-8")


def _spin(nodes: Sequence[Node]) -> None:
    executor: Executor
    if len(nodes) == 1:
        executor = SingleThreadedExecutor()
    else:
        executor = MultiThreadedExecutor(num_threads=len(nodes))
    for node in nodes:
        executor.add_node(node)
    try:
        executor.spin()
    finally:
        executor.shutdown()
