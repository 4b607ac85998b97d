"""When the camera node shows its next image; no ROS in here."""

from __future__ import annotations

import math
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
# A recording that was interrupted, or whose clock was set, is not waited for any longer: everybody
# is forgotten by then.
LONGEST_GAP = 10.0  # seconds


class Spacing:
    """How long after the one before an image is due.

    Args:
        rate: images per second; 0: at once, where they aren't spaced as they were recorded.
        recorded: whether that is as long as between their stamps; ``rate`` is then for those
            whose stamps don't go on, as at the beginning of another round.
    """

    def __init__(self, rate: float, recorded: bool = False) -> None:
        self.period = 1 / rate if rate > 0 else 0.0
        self._recorded = recorded
        self._last: float | None = None

    def after(self, recorded: float) -> float:
        """Seconds to an image of that stamp, from the one asked for before; 0 for the first."""
        last, self._last = self._last, recorded
        if last is None:
            return 0.0
        if not self._recorded or recorded <= last:
            return self.period
        return min(recorded - last, LONGEST_GAP)


class RealTimePace:
    """The pace of the source.

    A frame that is late is shown at once, and the schedule starts anew from it: a burst of
    frames that catch up would only be dropped.

    Args:
        spacing: of the frames.
        clock: seconds, monotonic.
        pause: waits for so many seconds; ended by :meth:`stop`, if it isn't stated.
    """

    missed = 0

    def __init__(
        self,
        spacing: Spacing,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._spacing = spacing
        self._due = -math.inf  # of the last frame
        self._stopped = threading.Event()
        self._clock, self._pause = clock, pause or self._stopped.wait

    def start(self, ready: Callable[[], bool]) -> None:
        """Begin at once: a camera doesn't wait."""

    def wait(self, recorded: float) -> None:
        """Wait for the turn of a frame that was recorded then, seconds."""
        step, now = self._spacing.after(recorded), self._clock()
        due = self._due + step
        if now < due:
            self._pause(due - now)
        late = now > due + max(step, self._spacing.period)
        self._due = now if late else due

    def published(self, stamp: float) -> bool:
        """A frame was shown; always true, go on."""
        return True

    def stop(self) -> None:
        """End all waiting."""
        self._stopped.set()


class ConsumerPace:
    """One frame at a time: the next when the people of the last have arrived.

    It begins when the graph is up. Should the first frame get lost all the same, it is shown
    again until somebody answers. However fast the answers come, no frame is shown sooner after
    the one before than its spacing says: people would move faster than they did.

    Args:
        timeout: longest wait for an answer after the first, seconds.
        spacing: of the frames, at least.
        retry: wait for an answer to the first frame until it is shown again, seconds.

    Attributes:
        missed: frames that nobody answered.
    """

    def __init__(self, timeout: float, spacing: Spacing, retry: float = START_RETRY) -> None:
        self._timeout, self._spacing, self._retry = timeout, spacing, retry
        self._shown = -math.inf  # when the last frame was, seconds
        self._answered: float | None = None  # stamp of the newest answer, seconds
        self._fresh = False  # whether it came since the frame before was answered or given up
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

    def wait(self, recorded: float) -> None:
        """Wait for the turn of a frame that was recorded then, seconds.

        The last frame was answered, or given up.
        """
        due = self._shown + self._spacing.after(recorded)
        self._pause(max(0.0, due - time.monotonic()))

    def consumed(self, stamp: float) -> None:
        """The people of the frame of that stamp have arrived."""
        with self._changed:
            self._answered, self._fresh = stamp, True
            self._changed.notify_all()

    def published(self, stamp: float) -> bool:
        """A frame was shown: wait for its people.

        Returns:
            False when it should be shown once more.
        """
        self._shown = time.monotonic()
        starting = self._answered is None
        with self._changed:
            answered = self._changed.wait_for(
                lambda: self._stopped or self._answers(stamp, starting),
                self._retry if starting else self._timeout,
            )
            self._fresh = False
            if answered:
                return True
            if starting and time.monotonic() - self._started < START_PATIENCE:
                return False
            self.missed += 1
            return True

    def _answers(self, stamp: float, starting: bool) -> bool:
        """Whether the newest answer is that to the frame of a stamp.

        At the start, the answer to an earlier showing of it will do. Frames may have one stamp, as
        of a simulation whose clock stands still.
        """
        if self._answered is None:
            return False
        # Stamps survive the way through ROS exactly; half a microsecond covers the float.
        return starting or (self._fresh and abs(self._answered - stamp) < 5e-7)

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
    """At the source's pace at most, and no image before the people of the one before have arrived.

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

    def wait(self, recorded: float) -> None:
        """Wait for the turn of a frame that was recorded then, seconds."""
        (self._real_time if self._alone else self._consumer).wait(recorded)

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
