"""What is known of a running graph, as far as it is shown; no ROS in here."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from smap_ros.bodies import Body, BodyFrame
from smap_ros.geometry.mounting import Mounting
from smap_ros.view.floor import Floor, guess_floor, moved, stated_floor
from smap_ros.view.scene import View, trails
from smap_ros.view.vitals import Level, Vitals

Message = TypeVar("Message")

MAX_FRAMES = 600  # that trails are made of
FLOOR_BODIES = 400  # the last so many people tell where the floor is
FLOOR_PERIOD = 1.0  # seconds between two guesses
SILENT = 3.0  # seconds after which a node that says nothing is reported
# That wait for their people, as far as so much memory holds them: a slow model, and a smoother
# that waits for its later images, take seconds.
MAX_PICTURES = 150  # five seconds at 30 Hz
PICTURE_BYTES = 256_000_000


class Live:
    """People of the last seconds and the state of the nodes. Safe to use from several threads.

    Args:
        nodes: names of the nodes whose state is of interest, in the order of the graph, with
            their namespace.
        clock: seconds, monotonic.
    """

    def __init__(self, nodes: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._order = {name: k for k, name in enumerate(nodes)}
        self._clock = clock
        self._lock = threading.Lock()
        self._frames: deque[BodyFrame] = deque(maxlen=MAX_FRAMES)
        self._bodies: deque[Body] = deque(maxlen=FLOOR_BODIES)
        self._floor = guess_floor(())
        self._guessed = -FLOOR_PERIOD
        self._vitals: dict[str, tuple[float, Vitals]] = {}
        self.mounting: Mounting | None = None  # where it is stated
        self.trail = 3.0  # seconds

    def add(self, frame: BodyFrame, predicted: Sequence[bool] = ()) -> View:
        """Remember a frame; how it is to be shown."""
        with self._lock:
            if self._frames and frame.stamp < self._frames[-1].stamp:
                self._frames.clear()  # a bag that began anew
            self._frames.append(frame)
            while self._frames[0].stamp < frame.stamp - self.trail:
                self._frames.popleft()
            self._bodies.extend(frame.bodies)
            ways = trails(self._frames)
            return View(frame.bodies, self._stand(), frame.camera, tuple(predicted), ways)

    @property
    def floor(self) -> Floor:
        """The floor as it is known now."""
        with self._lock:
            return self._stand()

    def hear(self, vitals: Vitals) -> None:
        """A node said how it is; others than those of interest are not kept."""
        if vitals.node in self._order:
            with self._lock:
                self._vitals[vitals.node] = (self._clock(), vitals)

    def vitals(self) -> list[Vitals]:
        """What the nodes last said, in the order of the graph; those that fell silent say so."""
        with self._lock:
            heard = sorted(self._vitals.values(), key=lambda item: self._order[item[1].node])
            return [self._aged(since, vitals) for since, vitals in heard]

    def _aged(self, since: float, vitals: Vitals) -> Vitals:
        silence = self._clock() - since
        if silence < SILENT:
            return vitals
        words = f"nothing heard of it for {silence:.0f} s; does it still run?"
        return replace(vitals, level=Level.STALE, message=words)

    def _stand(self) -> Floor:
        if self.mounting is not None:
            return stated_floor(self.mounting)
        now = self._clock()
        if now - self._guessed >= FLOOR_PERIOD:
            self._guessed = now
            guess = guess_floor(self._bodies)
            if moved(self._floor, guess):
                self._floor = guess
        return self._floor


class Pictures(Generic[Message]):
    """The last pictures by their stamp, for the people that come later.

    Safe to use from several threads.

    Args:
        size: bytes of a picture; without it their number alone is bounded.
    """

    def __init__(self, size: Callable[[Message], int] = lambda _: 0) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[int, int], Message] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, stamp: tuple[int, int], picture: Message) -> None:
        """Keep a picture; the oldest go."""
        with self._lock:
            if stamp in self._kept:
                self._bytes -= self._size(self._kept.pop(stamp))
            self._kept[stamp] = picture
            self._bytes += self._size(picture)
            while len(self._kept) > 1 and self._too_much():
                self._drop_oldest()

    def of(self, stamp: tuple[int, int] | None) -> Message | None:
        """The picture of a stamp, or the newest where there is none of it."""
        with self._lock:
            if stamp is not None and stamp in self._kept:
                return self._kept[stamp]
            return next(reversed(self._kept.values()), None)

    def exactly(self, stamp: tuple[int, int]) -> Message | None:
        """The picture of a stamp; None where there is none of it.

        People come in order, so that pictures kept before it have nobody to wait for: they go.
        """
        with self._lock:
            if stamp not in self._kept:
                return None
            while next(iter(self._kept)) != stamp:
                self._drop_oldest()
            return self._kept[stamp]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _drop_oldest(self) -> None:
        self._bytes -= self._size(self._kept.popitem(last=False)[1])

    def _too_much(self) -> bool:
        return len(self._kept) > MAX_PICTURES or self._bytes > PICTURE_BYTES
