"""One function over many items, here, in processes of this machine, or on a Ray cluster.

Results come in the order of the items, whoever made them, so that what is made of them doesn't
depend on the number of workers. A worker that is lost (killed, out of memory, its machine gone) is
replaced and its item begun again, at most :data:`MOST_TRIES` times.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import socket
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from smap_ros.errors import InputError, SmapError
from smap_ros.stopping import Stopped, stoppable

LOG = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Tick = Callable[[int], None]
# Called once by each worker: gives the function of an item and a Tick.
Opener = Callable[[], Callable[[Item, Tick], Result]]

MOST_TRIES = 3
_REACHED = 5.0  # seconds
_GOODBYE = 10.0  # seconds a process has to end by itself, if nothing else is said


@dataclass(frozen=True)
class Workers:
    """Who works.

    Attributes:
        jobs: processes of this machine, or actors on the cluster; 0: one, or one a CPU of the
            cluster.
        ray: address of a cluster (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``), ``local`` to
            start one here; empty for none.
    """

    jobs: int = 0
    ray: str = ""

    @property
    def several(self) -> bool:
        """Whether anybody else than this process works."""
        return bool(self.ray) or self.jobs > 1


def spread(
    opener: Opener[Item, Result],
    items: Sequence[Item],
    workers: Workers,
    on_tick: Tick = lambda count: None,
    last_words: float = _GOODBYE,
) -> Generator[Result, None, None]:
    """The results of items, in their order, each as soon as it and those before are there.

    Args:
        opener: see :data:`Opener`; workers elsewhere get it, the items and the results pickled.
        items: what is worked on.
        workers: who works.
        on_tick: called with what the function says that it has done. From a cluster it comes
            when an item is finished.
        last_words: seconds that a process of this machine has to end when it is stopped.

    Raises:
        SmapError: what the function raises, of the first item in order that did; or that workers
            are lost again and again.
        RuntimeError: with the worker's traceback, for anything else that it raises.
    """
    if workers.ray:
        with closing(_on_ray(opener, items, workers, on_tick)) as results:
            yield from _in_order(results, len(items))
    elif workers.jobs > 1 and len(items) > 1:
        crew = _Crew(opener, items, min(workers.jobs, len(items)), on_tick, last_words)
        with closing(crew.results()) as results:
            yield from _in_order(results, len(items))
    else:
        function = opener()
        for item in items:
            yield function(item, on_tick)


def _in_order(results: Iterator[tuple[int, Any]], count: int) -> Iterator[Any]:
    """Results by their number; a failure is raised when all before it were given."""
    there: dict[int, Any] = {}
    for wanted in range(count):
        while wanted not in there:
            number, result = next(results)
            there[number] = result
        result = there.pop(wanted)
        if isinstance(result, _Failure):
            raise result.error
        yield result


@dataclass(frozen=True)
class _Failure:
    """What an item's function raised."""

    error: Exception


def _failure(error: Exception) -> _Failure:
    """An exception that can travel: a user's mistake as it is, a bug as its traceback."""
    if isinstance(error, SmapError):
        with suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return _Failure(error)
    return _Failure(RuntimeError("".join(traceback.format_exception(error)).rstrip()))


def _lost(number: int, tries: int, how: str) -> None:
    """Say that a worker is gone.

    Raises:
        InputError: if that happened to this item too often.
    """
    if tries >= MOST_TRIES:
        raise InputError(
            f"a worker was lost {tries} times over item {number} ({how}); is its memory enough? "
            "Take fewer --jobs"
        )
    LOG.warning("a worker was lost over item %d (%s); another begins it again", number, how)


@dataclass
class _Worker:
    """A process, the pipe to it, and the number of its item."""

    process: Any
    pipe: Connection
    number: int | None = None


class _Crew(Generic[Item, Result]):
    """Processes of this machine, each with one item at a time."""

    def __init__(
        self,
        opener: Opener[Item, Result],
        items: Sequence[Item],
        jobs: int,
        on_tick: Tick,
        last_words: float,
    ) -> None:
        self._last_words = last_words
        self._opener, self._items, self._jobs, self._on_tick = opener, items, jobs, on_tick
        self._waiting = deque(range(len(items)))
        self._tries = [0] * len(items)
        self._ticks = [0] * len(items)  # told of the try under way
        self._workers: list[_Worker] = []

    def results(self) -> Generator[tuple[int, Result | _Failure], None, None]:
        """Number and result of each item, as they come."""
        try:
            for _ in range(self._jobs):
                self._hire()
            while self._workers:
                for worker in self._heard():
                    yield from self._message(worker)
        finally:
            for worker in self._workers:
                worker.process.terminate()  # stops as a user would stop it
            for worker in self._workers:
                worker.process.join(self._last_words)
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()

    def _hire(self) -> None:
        """Start a process with the next item, if there is one."""
        if not self._waiting:
            return
        context = multiprocessing.get_context("spawn")  # OpenGL and threads don't survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(self._opener, theirs), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Its next item, or the end."""
        if not self._waiting:
            self._dismiss(worker)
            return
        worker.number = number = self._waiting.popleft()
        self._tries[number] += 1
        self._ticks[number] = 0
        with suppress(OSError):  # it is gone already: that is noticed when it is listened to
            worker.pipe.send(self._items[number])

    def _heard(self) -> list[_Worker]:
        """The workers that said something, or are gone."""
        ready = wait([worker.pipe for worker in self._workers])
        return [worker for worker in self._workers if worker.pipe in ready]

    def _message(self, worker: _Worker) -> Iterator[tuple[int, Result | _Failure]]:
        number = worker.number
        assert number is not None
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self._dismiss(worker)
            _lost(number, self._tries[number], f"exit code {worker.process.exitcode}")
            self._on_tick(-self._ticks[number])
            self._waiting.appendleft(number)
            self._hire()
            return
        if kind == "tick":
            self._ticks[number] += value
            self._on_tick(value)
            return
        self._give(worker)
        yield number, value

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(_GOODBYE)


def _work(opener: Opener[Any, Any], pipe: Connection) -> None:
    """A process: items until the pipe is closed."""
    with suppress(Stopped, EOFError, BrokenPipeError), stoppable():
        function: Callable[[Any, Tick], Any] | None = None
        while True:
            item = pipe.recv()
            try:
                function = function or opener()
                answer: Any = function(item, lambda count: pipe.send(("tick", count)))
            except Exception as error:
                answer = _failure(error)
            pipe.send(("done", answer))


def _on_ray(
    opener: Opener[Item, Result], items: Sequence[Item], workers: Workers, on_tick: Tick
) -> Generator[tuple[int, Result | _Failure], None, None]:
    """The same on a cluster: an actor a job."""
    ray = _connected(workers)
    actor = ray.remote(num_cpus=1)(_Actor)
    try:
        cpus = int(ray.cluster_resources().get("CPU", 1))
        idle = [actor.remote(opener) for _ in range(min(workers.jobs or cpus, len(items)))]
        waiting, tries = deque(range(len(items))), [0] * len(items)
        running: dict[Any, tuple[int, Any]] = {}
        while waiting or running:
            while waiting and idle:
                number, one = waiting.popleft(), idle.pop()
                tries[number] += 1
                running[one.do.remote(items[number])] = number, one
            (ready, *_), _ = ray.wait(list(running))
            number, one = running.pop(ready)
            try:
                result, ticks = ray.get(ready)
            except ray.exceptions.RayError as error:
                _lost(number, tries[number], type(error).__name__)
                waiting.appendleft(number)
                idle.append(actor.remote(opener))
                continue
            idle.append(one)
            on_tick(ticks)
            yield number, result
    finally:
        ray.shutdown()


def _connected(workers: Workers) -> Any:
    """Ray, connected to a cluster.

    Raises:
        InputError: if it isn't installed, or there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray: pip install 'smap-ros[ray]'") from error
    _check_address(workers.ray)
    here: Mapping[str, Any] = {"include_dashboard": False, "num_cpus": workers.jobs or None}
    try:
        ray.init(
            address=workers.ray, logging_level=logging.WARNING, log_to_driver=False,
            **(here if workers.ray == "local" else {}),
        )  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster at {workers.ray!r} ({str(error).splitlines()[0]}); start one with "
            "`ray start --head` and give its HOST:PORT, or `local`"
        ) from error
    return ray


def _check_address(address: str) -> None:
    """Refuse a place where nobody listens: Ray would try for minutes, and then end the process.

    Raises:
        InputError: if it is ``HOST:PORT`` and can't be reached.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return  # auto, local
    try:
        socket.create_connection((host, int(port)), _REACHED).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Ray cluster at {address!r} ({error}); start one with `ray start --head` and give "
            "its HOST:PORT, or `local`"
        ) from error


class _Actor:
    """A worker of a cluster."""

    def __init__(self, opener: Opener[Any, Any]) -> None:
        self._opener = opener
        self._function: Callable[[Any, Tick], Any] | None = None

    def do(self, item: Any) -> tuple[Any, int]:
        """Result of an item, or its failure, and the ticks that it said."""
        ticks: list[int] = []
        try:
            self._function = self._function or self._opener()
            return self._function(item, ticks.append), sum(ticks)
        except Exception as error:
            return _failure(error), sum(ticks)
