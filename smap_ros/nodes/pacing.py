"""When the camera node shows its next image; no ROS in here."""

from __future__ import annotations

import threading
import time

# Until the first answer, consumers may still be loading their model.
START_PATIENCE = 120.0  # seconds
START_RETRY = 0.5  # seconds between two showings of the first image
# Who answers is there; discovery among all the others (recorder, smoother) can take as long.
SETTLE = 2.0  # seconds


class RealTimePace:
    """A steady rate.

    A frame that is late is shown at once, and the schedule starts anew from it: a burst of
    frames that catch up would only be dropped.

    Args:
        rate: frames per second; 0 shows each as it comes.
    """

    missed = 0

    def __init__(self, rate: float) -> None:
        self._period = 1 / rate if rate > 0 else 0.0
        self._next = 0.0
        self._stopped = threading.Event()

    def wait(self) -> None:
        """Wait for a frame's turn."""
        now = time.monotonic()
        if now < self._next:
            self._stopped.wait(self._next - now)
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

    The first frame is shown again and again until somebody answers, and once more when the rest
    of the graph has had time to find itself, so that no frame is lost while the nodes start.

    Args:
        timeout: longest wait for an answer after the first, seconds.
        settle: wait after the first answer, seconds.

    Attributes:
        missed: frames that nobody answered.
    """

    def __init__(self, timeout: float, settle: float = SETTLE) -> None:
        self._timeout, self._settle = timeout, settle
        self._answered = -1.0  # stamp of the newest answer, seconds
        self._started = time.monotonic()
        self._changed = threading.Condition()
        self._stopped = False
        self.missed = 0

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
                START_RETRY if starting else self._timeout,
            )
            if answered and starting:
                self._changed.wait_for(lambda: self._stopped, self._settle)
                return self._stopped
            if answered:
                return True
            if starting and time.monotonic() - self._started < START_PATIENCE:
                return False
            self.missed += 1
            return True

    def stop(self) -> None:
        """End all waiting."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
