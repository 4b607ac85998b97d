"""A thread that works on the newest frame; no ROS in here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

log = logging.getLogger(__name__)

# A frame in the works is finished first; a network that hangs must not keep a node from ending.
JOIN_TIMEOUT = 10.0  # seconds


class NewestWins(Generic[Item]):
    """Hands items to a function, in a thread of its own, one at a time.

    An item that comes while one is being worked on waits, and is replaced by the next.

    Args:
        work: takes an item. It handles its own errors; one that escapes is logged, and the
            thread goes on.
        replaced: called for each item that never gets its turn.
        name: of the thread.
    """

    def __init__(
        self, work: Callable[[Item], None], replaced: Callable[[], None], name: str
    ) -> None:
        self._work = work
        self._replaced = replaced
        self._waiting: tuple[Item] | None = None  # an item may be None itself
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Offer an item; returns at once."""
        with self._changed:
            older, self._waiting = self._waiting, (item,)
            self._changed.notify()
        if older is not None:
            self._replaced()

    def stop(self) -> None:
        """Finish the item in the works, drop the one that waits, end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(JOIN_TIMEOUT)
        if self._thread.is_alive():
            log.error("%s didn't finish its frame within %g s", self._thread.name, JOIN_TIMEOUT)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting is not None)
                if self._stopping:
                    return
                waiting, self._waiting = self._waiting, None
            assert waiting is not None
            try:
                self._work(*waiting)
            except Exception:  # the thread's outermost frame: nobody else would hear of it
                log.exception("%s failed on a frame", self._thread.name)
