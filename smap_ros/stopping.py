"""Being asked to stop: Ctrl-C, SIGTERM and SIGHUP, taken the same way by every command.

The first signal raises :class:`Stopped` where the program is, so that it can finish its files;
inside :func:`held` it waits until they are whole. The exit status is then 128 and the signal's
number, as a shell tells it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# `timeout` and terminals signal a process and then its group: the second one is the same wish.
_SAME_WISH = 1.0  # seconds


class Stopped(BaseException):
    """Somebody asked this process to stop. Not an Exception: nothing recovers from it.

    Attributes:
        signal: which signal said so.
        during: what was under way and what is left of it, for the last line; may be empty.
    """

    def __init__(self, number: int, during: str = "") -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)
        self.during = during

    @property
    def status(self) -> int:
        """Exit status of a process that stops because of it."""
        return 128 + self.signal

    def __str__(self) -> str:
        how = "interrupted" if self.signal == signal.SIGINT else f"stopped by {self.signal.name}"
        return f"{how}; {self.during}" if self.during else how


class Asked:
    """What was asked of this process so far; true when a signal waits to be taken.

    Also the handler of the signals.
    """

    def __init__(self) -> None:
        self._holders = 0  # blocks of `held` around the program
        self._waiting: int | None = None
        self._first: float | None = None

    def __bool__(self) -> bool:
        return self._waiting is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise :class:`Stopped`, or note it where it is held back."""
        now = time.monotonic()
        if self._first is not None and now - self._first < _SAME_WISH:
            return
        self._first = now
        if not self._holders:
            raise Stopped(number)
        self._waiting = number

    def take(self) -> Stopped | None:
        """What waits, to be raised by the caller; None where nobody asked."""
        number, self._waiting = self._waiting, None
        return None if number is None else Stopped(number)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """See :func:`held`."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
        stop = None if self._holders else self.take()
        if stop is not None:
            raise stop


_asked = Asked()


def leave_to_parent(worker: int = 0) -> None:
    """Ignore the signals in a process that its parent ends; a terminal signals both.

    Args:
        worker: its number, as data loaders hand over; it makes no difference.
    """
    del worker
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let the signals raise :class:`Stopped` in here; those that are ignored (nohup) stay so.

    Where one hits a native module that is being imported, Python makes an ImportError of it: what
    goes back to :class:`Stopped` is raised as that. Signals belong to the main thread; in any
    other this does nothing.
    """
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer, _asked = _asked, Asked()
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    # None: a handler that Python didn't install, such as that of ROS.
    previous = {n: h for n, h in previous.items() if h not in (signal.SIG_IGN, None)}
    for number in previous:
        signal.signal(number, _asked)
    try:
        yield
    except Exception as error:
        stop = _origin(error)
        if stop is None:
            raise
        raise stop from error
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _asked = outer


def _origin(error: BaseException) -> Stopped | None:
    """The stop that an error was made of, if there is one."""
    seen: BaseException | None = error
    passed: set[int] = set()  # `raise error from error` makes a chain without an end
    while seen is not None and not isinstance(seen, Stopped):
        if id(seen) in passed:
            return None
        passed.add(id(seen))
        seen = seen.__cause__ or seen.__context__
    return seen


@contextlib.contextmanager
def held() -> Iterator[Asked]:
    """Keep :class:`Stopped` back until the block is done: for files that must be whole.

    A loop may look at what it is given between two steps, and take it.
    """
    asked = _asked
    with asked.hold():
        yield asked
