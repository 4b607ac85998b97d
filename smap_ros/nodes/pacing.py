"""When the camera node shows its next image; no ROS in here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

POLL = 0.05  # seconds
# Until the first answer, consumers may still be loading their model.
START_PATIENCE = 120.0  # seconds
START_RETRY = 2.0  # seconds between two showings of an image that nobody has answered yet
# Who answers is there; discovery among all the others (recorder, smoother) can take as long.
SETTLE = 2.0  # seconds
# So long a file waits for a sign that somebody here looks for people: processes that start together
# find each other within seconds, on a busy machine within many.
SIGN_PATIENCE = 20.0  # seconds


class RealTimePace:
    """A steady rate.

    A frame that is late is shown at once, and the schedule starts anew from it: a burst of
    frames that catch up would only be dropped.

    Args:
        rate: frames per second; 0 shows each as it comes.
        clock: seconds, monotonic.
        pause: waits for so many seconds; ended by :meth:`stop`, if it isn't stated.
    """

    missed = 0

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._period = 1 / rate if rate > 0 else 0.0
        self._next = 0.0
        self._stopped = threading.Event()
        self._clock, self._pause = clock, pause or self._stopped.wait

    def start(self, ready: Callable[[], bool]) -> None:
        """Begin at once: a camera doesn't wait."""

    def wait(self) -> None:
        """Wait for a frame's turn."""
        now = self._clock()
        if now < self._next:
            self._pause(self._next - now)
        late = now > self._next + self._period
        self._next = (now if late else self._next) + self._period

    def published(self, stamp: float) -> bool:
        """A frame was shown; always true, go on."""
        return True

    def stop(self) -> None:
        """End all waiting."""
        self._stopped.set()


class ConsumerPace:
    """One frame at a time: the next when the people of the last have arrived.

    It begins when the graph is up. Should the first frame get lost all the same, it is shown
    again until somebody answers.

    Args:
        timeout: longest wait for an answer after the first, seconds.
        retry: wait for an answer to the first frame until it is shown again, seconds.

    Attributes:
        missed: frames that nobody answered.
    """

    def __init__(self, timeout: float, retry: float = START_RETRY) -> None:
        self._timeout, self._retry = timeout, retry
        self._answered = -1.0  # stamp of the newest answer, seconds
        self._started = time.monotonic()
        self._changed = threading.Condition()
        self._stopped = False
        self.missed = 0

    def start(self, ready: Callable[[], bool]) -> None:
        """Wait until the consumer is there, and the rest of the graph has found itself."""
        while not ready() and time.monotonic() - self._started < START_PATIENCE:
            if self._pause(POLL):
                return
        self._pause(SETTLE)

    def wait(self) -> None:
        """Nothing to wait for: the last frame was answered, or given up."""

    def consumed(self, stamp: float) -> None:
        """The people of the frame of that stamp have arrived."""
        with self._changed:
            self._answered = max(self._answered, stamp)
            self._changed.notify_all()

    def published(self, stamp: float) -> bool:
        """A frame was shown: wait for its people.

        Returns:
            False when it should be shown once more.
        """
        starting = self._answered < 0
        # Stamps survive the way through ROS exactly; half a microsecond covers the float. At the
        # start, the answer to an earlier showing of the frame will do.
        wanted = 0.0 if starting else stamp - 5e-7
        with self._changed:
            answered = self._changed.wait_for(
                lambda: self._stopped or self._answered >= wanted,
                self._retry if starting else self._timeout,
            )
            if answered:
                return True
            if starting and time.monotonic() - self._started < START_PATIENCE:
                return False
            self.missed += 1
            return True

    def _pause(self, seconds: float) -> bool:
        """Wait; True when stopped meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped, seconds)

    def stop(self) -> None:
        """End all waiting."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class PatientPace:
    """At the source's pace, but no image before the people of the one before have arrived.

    So nothing is shown to a model that is still being loaded, and nothing left out by a machine
    that is slow. Where nobody looks for people, it is the source's pace alone.

    Args:
        consumer: waits for the people.
        real_time: the source's pace.
        expected: whether somebody looks for people, or is about to.
        notify: told, in words, that nobody does.
        patience: longest wait for a sign of them, seconds.
    """

    def __init__(
        self,
        consumer: ConsumerPace,
        real_time: RealTimePace,
        expected: Callable[[], bool],
        notify: Callable[[str], None],
        patience: float = SIGN_PATIENCE,
    ) -> None:
        self._consumer, self._real_time = consumer, real_time
        self._expected, self._notify, self._patience = expected, notify, patience
        self._alone = False
        self._stopped = threading.Event()

    @property
    def missed(self) -> int:
        """Frames that nobody answered."""
        return self._consumer.missed

    def start(self, ready: Callable[[], bool]) -> None:
        """Wait for whoever looks for people, as long as there is a sign of them."""
        end = time.monotonic() + self._patience
        while not self._expected():
            if time.monotonic() > end:
                self._alone = True
                self._notify("nobody here looks for people: playing at the source's pace")
                return
            if self._stopped.wait(POLL):
                return
        self._consumer.start(ready)

    def wait(self) -> None:
        """Wait for a frame's turn."""
        self._real_time.wait()

    def consumed(self, stamp: float) -> None:
        """The people of the frame of that stamp have arrived."""
        self._consumer.consumed(stamp)

    def published(self, stamp: float) -> bool:
        """A frame was shown; false when it should be shown once more."""
        return self._alone or self._consumer.published(stamp)

    def stop(self) -> None:
        """End all waiting."""
        self._stopped.set()
        self._consumer.stop()
        self._real_time.stop()
