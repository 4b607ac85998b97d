"""Rates and percentiles over the last seconds; no ROS in here."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from smap_ros.bags.stages import WINDOW, stage_values

# Bounds the memory of a window that is fed by a flood.
MAX_EVENTS = 5000


class Window:
    """Events of the last seconds, each with a number. Safe to use from several threads.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._events: deque[tuple[float, float]] = deque(maxlen=MAX_EVENTS)
        self._lock = threading.Lock()

    def add(self, value: float = 0.0) -> None:
        """Note an event."""
        with self._lock:
            self._events.append((self._clock(), value))

    @property
    def rate(self) -> float:
        """Events per second."""
        values = self._recent()
        span = min(WINDOW, self._clock() - self._start)
        return len(values) / span if values and span > 0 else 0.0

    def percentiles(self, *shares: float) -> tuple[float, ...]:
        """Percentiles (0 to 100) of the numbers but NaN; NaN when there are none."""
        values = [value for value in self._recent() if not math.isnan(value)]
        if not values:
            return (float("nan"),) * len(shares)
        return tuple(float(v) for v in np.percentile(values, shares))

    def _recent(self) -> list[float]:
        with self._lock:
            oldest = self._clock() - WINDOW
            while self._events and self._events[0][0] < oldest:
                self._events.popleft()
            return [value for _, value in self._events]


class FrameStatistics:
    """What a node that works on frames counts. Safe to use from several threads.

    Attributes:
        received: frames that arrived.
        processed: frames that were worked on to the end.
        dropped: frames replaced by a newer one before their turn.
        rejected: frames that could not be used.
        people: people in the last processed frame.
        notes: what only some models say of the last processed frame, numbers by name.
    """

    def __init__(self) -> None:
        self.received = self.processed = self.dropped = self.rejected = self.people = 0
        self.notes: Mapping[str, float] = {}
        self._arrivals, self._latency = Window(), Window()
        self._stages: dict[str, Window] = {}

    def arrived(self) -> None:
        """A frame arrived."""
        self.received += 1
        self._arrivals.add()

    def replaced(self) -> None:
        """A frame was replaced by a newer one."""
        self.dropped += 1

    def done(
        self,
        people: int,
        latency_ms: float,
        stages_ms: Mapping[str, float],
        notes: Mapping[str, float] | None = None,
    ) -> None:
        """A frame was worked on to the end; milliseconds that nobody knows are NaN."""
        self.processed += 1
        self.people = people
        self.notes = notes or {}
        self._latency.add(latency_ms)
        for name, value in stages_ms.items():
            # A new dict, so that a reader in another thread never sees one that changes size.
            if name not in self._stages:
                self._stages = {**self._stages, name: Window()}
            self._stages[name].add(value)

    def values(self) -> dict[str, str]:
        """All numbers for /diagnostics, by key."""
        p50, p95 = self._latency.percentiles(50, 95)
        values = {
            "frames received": str(self.received),
            "frames processed": str(self.processed),
            "frames dropped": str(self.dropped),
            "frames rejected": str(self.rejected),
            "rate in [Hz]": f"{self._arrivals.rate:.1f}",
            "rate out [Hz]": f"{self._latency.rate:.1f}",
            **stage_values("latency", p50, p95, digits=1),
            "people": str(self.people),
            **{name: f"{value:.4g}" for name, value in self.notes.items()},
        }
        for name, window in self._stages.items():
            p50, p95 = window.percentiles(50, 95)
            values |= stage_values(name, p50, p95)
        return values
