"""How many images a camera sends, and how many of them arrive; no ROS in here."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 10.0  # seconds
# An image comes later than its CameraInfo, which is smaller: both have arrived by then.
SETTLED = 0.5  # seconds
MAX_STAMPS = 4000  # bounds the memory of a window that is fed by a flood
RESTART = 1.0  # seconds; stamps that go back this far begin anew
# Fewer say nothing of how many there are.
MIN_INFOS, MIN_GAPS = 15, 5
# Share of the images whose stamps a CameraInfo must have for them to belong together.
TOGETHER = 0.8
# Share of the gaps that are the shortest usual one, or shorter.
SHORTEST = 10.0  # percent
# Nothing has come lately when it was so long ago, seconds, and so many times the usual.
QUIET, QUIET_PERIODS = 1.0, 3
# Gaps of so many periods, and of more than two that are all alike between bursts that are alike,
# aren't of images that got lost, but of a camera that sends bursts; so many gaps tell.
PAUSE, MIN_ALIKE, ALIKE = 10, 3, 0.1
# The shortest gap may be a few periods itself. Gaps without a period are 0.25 off on average.
PERIODS, OFF_PERIOD = (1, 2, 3), 0.1


@dataclass(frozen=True)
class Loss:
    """What became of a camera's images.

    Attributes:
        sent: images per second that the camera sends, by their stamps.
        arrived: of these, those that arrive.
    """

    sent: float
    arrived: float

    @property
    def share(self) -> float:
        """Of the images, those that are lost, in [0, 1]."""
        return 1 - self.arrived / self.sent


class LossMeter:
    """Counts the images that don't arrive, over the last seconds.

    A camera gives each image a CameraInfo of the same stamp, which is small and arrives: images
    without one are lost. Where CameraInfo comes otherwise, the gaps between stamps tell: those of
    lost images are multiples of the shortest usual one.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Time of arrival and stamp.
        self._images: deque[tuple[float, float]] = deque(maxlen=MAX_STAMPS)
        self._infos: deque[tuple[float, float]] = deque(maxlen=MAX_STAMPS)
        self._first = 0.0  # stamp of the first image

    def image(self, stamp: float) -> None:
        """An image arrived; its stamp in seconds."""
        self._add(self._images, stamp)
        if len(self._images) == 1:
            self._first = stamp

    def info(self, stamp: float) -> None:
        """A CameraInfo arrived; its stamp in seconds."""
        self._add(self._infos, stamp)

    def loss(self) -> Loss | None:
        """What became of the images of the last seconds; None when nothing tells."""
        images, infos = self._recent(self._images), self._recent(self._infos)
        if len(images) and np.isin(images, infos).mean() >= TOGETHER:
            # Until the first image, its topic was still being found.
            infos = infos[infos >= self._first]
            return _by_infos(images, infos) if len(infos) >= MIN_INFOS else None
        return _by_gaps(np.diff(images))

    @property
    def info_rate(self) -> float:
        """CameraInfo messages per second, by their stamps; 0 when too few come, or no more."""
        rate = _rate(self._recent(self._infos))
        if not rate:
            return 0.0
        first, last = self._infos[0][0], self._infos[-1][0]
        usual = (last - first) / (len(self._infos) - 1)
        quiet = self._clock() - last > max(QUIET, QUIET_PERIODS * usual)
        return 0.0 if quiet else rate

    def _add(self, stamps: deque[tuple[float, float]], stamp: float) -> None:
        back = bool(stamps) and stamp < stamps[-1][1] - RESTART
        newest = max((some[-1][1] for some in (self._images, self._infos) if some), default=stamp)
        if back or stamp > newest + WINDOW:  # the clock was set
            self._images.clear()
            self._infos.clear()
        if stamp > 0:
            stamps.append((self._clock(), stamp))

    def _recent(self, stamps: deque[tuple[float, float]]) -> NDArray[np.float64]:
        """Those whose images and CameraInfos have arrived by now, each once, in order."""
        latest = self._clock() - SETTLED
        while stamps and stamps[0][0] < latest - WINDOW:
            stamps.popleft()
        both = [*self._images, *self._infos]
        settled = max((stamp for arrival, stamp in both if arrival <= latest), default=0.0)
        return np.unique([stamp for _, stamp in list(stamps) if stamp <= settled])


def _by_infos(images: NDArray[np.float64], infos: NDArray[np.float64]) -> Loss | None:
    """From the CameraInfos that have an image, and those that have none."""
    known = np.union1d(images, infos)
    places = np.flatnonzero(np.isin(known, images))
    steps = np.diff(places)
    if len(steps) > 2 and steps.min() > 1 and np.ptp(steps) <= 1:
        return None  # every n-th image on purpose: a topic that is throttled
    rate = _rate(known)
    arrived = rate * len(places) / len(known)
    # CameraInfos get lost as well, if fewer.
    regular = _gap_loss(np.diff(known)) if arrived < rate * TOGETHER else None
    return Loss(regular.sent if regular else rate, arrived)


def _by_gaps(gaps: NDArray[np.float64]) -> Loss | None:
    """From gaps alone, in seconds.

    Both halves must tell of losses: a camera that changes its rate, as in the dark, has gaps of
    two lengths as well, but one after the other.
    """
    early, late = (_gap_loss(half) for half in np.array_split(gaps, 2))
    if early is None or late is None:
        return None
    return min(early, late, key=lambda loss: loss.share)


def _gap_loss(gaps: NDArray[np.float64]) -> Loss | None:
    if len(gaps) < MIN_GAPS:
        return None
    shortest = float(np.percentile(gaps, SHORTEST, method="higher"))
    for periods in PERIODS:
        multiples = np.maximum(1, np.round(gaps * periods / shortest))
        period = gaps.sum() / multiples.sum()
        if np.abs(gaps / period - multiples).mean() < OFF_PERIOD:
            if _bursts(multiples):
                return None
            return Loss(1 / period, len(gaps) / gaps.sum())
    return None


def _bursts(periods: NDArray[np.float64]) -> bool:
    """Whether gaps of so many periods are between images that a camera sends in bursts."""
    long = periods[periods > 1]
    if len(long) in (0, len(periods)):
        return False  # nothing comes in a row
    bursts = np.diff(np.flatnonzero(periods > 1))
    alike = len(long) >= MIN_ALIKE and _alike(long) and _alike(bursts)
    return bool(long.min() > PAUSE or (alike and long.min() > 2))


def _alike(lengths: NDArray[np.number]) -> bool:
    return bool(np.ptp(lengths) <= max(1.0, ALIKE * float(lengths.max())))


def _rate(stamps: NDArray[np.float64]) -> float:
    if len(stamps) < MIN_INFOS:
        return 0.0
    return float((len(stamps) - 1) / (stamps[-1] - stamps[0]))
