"""Starts and stops the processes of a graph, where ROS's ``launch`` isn't at hand.

Used by ``smap-ros up``, ``smap-ros demo``, the benchmarks and the tests. It knows nothing of
ROS but the command lines of :mod:`smap_ros.graph.plan`.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from smap_ros.graph.middleware import middleware_environment
from smap_ros.graph.plan import Plan, ProcessPlan
from smap_ros.paths import python_of
from smap_ros.stopping import held, stoppable

log = logging.getLogger(__name__)

POLL = 0.05  # seconds
# A node that is asked to stop may be in the middle of loading an engine.
STOP_TIMEOUT = 10.0  # seconds
# Variable that names a file in which a process of ours says why it failed, in one line.
FAILURE_FILE = "SMAP_ROS_FAILURE_FILE"


class Launcher:
    """The processes of a plan. As a context manager it starts them and always stops them.

    Args:
        plan: what to start.
        environment: variables of the processes; None takes ours. Middleware settings are added
            where it has none.
        log_directory: a file per process goes here, and what :meth:`failure` reads; None shows
            their output with ours.
    """

    def __init__(
        self,
        plan: Plan,
        environment: Mapping[str, str] | None = None,
        log_directory: Path | None = None,
    ) -> None:
        self._plan = plan
        environment = dict(os.environ if environment is None else environment)
        self._environment = {**environment, **middleware_environment(environment)}
        self._log_directory = log_directory
        self._running: list[tuple[ProcessPlan, subprocess.Popen[bytes]]] = []
        self._stop_asked = threading.Event()

    def __enter__(self) -> Launcher:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with held():  # none of the processes outlives us
            self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by executable, in order of start."""
        return {process.executable: running.pid for process, running in self._running}

    def start(self) -> None:
        """Start all processes; if one can't be started, or we are asked to stop, none stays."""
        try:
            for process in self._plan.processes:
                with held():  # who asks us to stop finds what has begun among what runs
                    self._running.append((process, self._spawn(process)))
        except BaseException:
            with held():
                self.stop()
            raise

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the graph ends by itself or is asked to stop.

        It ends when its source does, or when a node fails.

        Returns:
            0 when it ended well or was asked to stop, the exit status of a node that failed, or
            None when the time is over.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._stop_asked.is_set():
            for process, running in self._running:
                status = running.poll()
                if status is None or process.may_end:
                    continue
                if status != 0 or not process.ends_graph:
                    log.error("%s ended with status %d", process.executable, status)
                    return status or 1
                return 0
            if end is not None and time.monotonic() >= end:
                return None
            self._stop_asked.wait(POLL)
        return 0

    def failure(self) -> str:
        """Which process failed and why, as it says itself; empty if none does."""
        for process, running in self._running:
            file = self._failure_file(process)
            if running.poll() and file is not None and file.is_file():
                return f"{process.executable}: {file.read_text(encoding='utf-8').strip()}"
        return ""

    def run(self) -> int:
        """Start, wait for the end, SIGINT, SIGTERM or SIGHUP, and stop.

        Returns:
            Exit status as of :meth:`wait`.
        """
        with stoppable(), held() as asked:
            try:
                with self:
                    status = None
                    while status is None and not asked:
                        status = self.wait(POLL)
                    return status or 0
            finally:
                asked.take()  # a live graph is expected to be ended that way

    def ask_to_stop(self) -> None:
        """Make :meth:`wait` return; safe in signal handlers and other threads."""
        self._stop_asked.set()

    def stop(self, timeout: float = STOP_TIMEOUT) -> dict[str, int]:
        """Interrupt all processes and wait; those that don't listen are killed.

        Returns:
            Exit status by executable.
        """
        escalation = ((signal.SIGINT, timeout), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))
        for number, patience in escalation:
            alive = [running for _, running in self._running if running.poll() is None]
            for running in alive:
                running.send_signal(number)
            if _wait_all(alive, patience):
                break
        status = {
            process.executable: running.returncode if running.returncode is not None else -1
            for process, running in self._running
        }
        self._running.clear()
        return status

    def _spawn(self, process: ProcessPlan) -> subprocess.Popen[bytes]:
        words = [*process.arguments, *process.namespace_arguments]
        command = [*python_of("smap_ros.nodes"), process.module, *words]
        log.debug("starting %s", " ".join(command))
        # In a session of its own, so that Ctrl-C on the terminal reaches only us: a node that is
        # interrupted twice can't shut down in order.
        with _interrupts_held():
            return self._begin(process, command)

    def _begin(self, process: ProcessPlan, command: list[str]) -> subprocess.Popen[bytes]:
        if self._log_directory is None:
            return subprocess.Popen(command, env=self._environment, start_new_session=True)
        self._log_directory.mkdir(parents=True, exist_ok=True)
        failure = self._failure_file(process)
        assert failure is not None
        failure.unlink(missing_ok=True)  # of an earlier run
        with (self._log_directory / f"{process.executable}.log").open("wb") as file:
            return subprocess.Popen(
                command,
                env={**self._environment, FAILURE_FILE: str(failure)},
                start_new_session=True,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def _failure_file(self, process: ProcessPlan) -> Path | None:
        if self._log_directory is None:
            return None
        return (self._log_directory / f"{process.executable}.failure").absolute()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that begin in here get an interrupt once they let it through.

    ``smap_ros.nodes`` does so when it can end without Python's traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_all(running: list[subprocess.Popen[bytes]], timeout: float) -> bool:
    """Whether all have ended within that time."""
    end = time.monotonic() + timeout
    while any(one.poll() is None for one in running):
        if time.monotonic() >= end:
            return False
        time.sleep(POLL)
    return True
