"""The CameraInfo messages of a topic, and which of them an image belongs to."""

from __future__ import annotations

from typing import Any

from smap_ros.calibration.calibration import Calibration
from smap_ros.errors import CameraError

# Cameras remembered by frame, and changes of each: a publisher that invents either must not fill
# the memory. A lens that zooms changes with each image: these are 4 seconds of it at 60 hertz.
MAX_FRAMES, MAX_CHANGES = 16, 240
RESTART = 5.0  # seconds; stamps that go back this far begin a recording anew

_History = tuple[tuple[float, Calibration], ...]


class CameraInfos:
    """What is known of the cameras: of each frame the calibrations, and since when.

    The newest that isn't later than an image is the image's. Messages without a stamp count from
    their arrival. Safe to use from two threads.

    Attributes:
        newest: what the message stated that came last.
    """

    def __init__(self) -> None:
        self._histories: dict[str, _History] = {}
        self.newest: Calibration | None = None

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames that have a calibration."""
        return tuple(self._histories)

    def take(self, info: Any) -> Calibration:
        """A message that has arrived; what it states."""
        calibration = Calibration.from_info(info)
        frame, stamp = info.header.frame_id, stamp_seconds(info)
        histories = self._histories
        history = histories.get(frame, ())
        if not stamp or (history and history[-1][0] > stamp + RESTART):
            history = ()
        if not history or history[-1][1] != calibration:
            history = (*history, (stamp, calibration))[-MAX_CHANGES:]
        if frame not in histories and len(histories) >= MAX_FRAMES:
            histories = {}
        self._histories = {**histories, frame: history}
        self.newest = calibration
        return calibration

    def calibration(
        self, frame: str, stamp: float, *, any_frame: bool = False, live: bool = False
    ) -> Calibration:
        """The calibration of an image.

        Args:
            frame: the image's.
            stamp: the image's, seconds; 0 where it has none.
            any_frame: whether the only calibration there is will do, whatever its frame.
            live: whether images and messages are taken as they come: an image from long before
                all that is known has the stamp of another clock, and is as new as what came last.

        Raises:
            CameraError: if there is none of that frame, or none is remembered of so long ago.
        """
        histories = self._histories
        history = histories.get(frame, ())
        if not history and any_frame and len(histories) == 1:
            (history,) = histories.values()
        if not history:
            known = ", ".join(repr(name) for name in histories) or "none"
            raise CameraError(f"no CameraInfo for frame {frame!r} (frames with one: {known})")
        # An image without a stamp is as new as what came last.
        before = [calibration for since, calibration in history if since <= stamp or not stamp]
        if any(any(calibration.k) for calibration in before):
            return before[-1]
        if len(history) == MAX_CHANGES and stamp:
            raise CameraError(
                f"the image is {history[0][0] - stamp:.2f} s older than the last {MAX_CHANGES} "
                f"changes of the calibration of frame {frame!r}: nobody knows its lens any more; "
                "expected images within a second or so, or a lens that doesn't always change"
            )
        if live and stamp < history[0][0] - RESTART:
            return history[-1][1]
        # An image may come before its calibration, and a driver may start without any.
        later = (calibration for _, calibration in history if any(calibration.k))
        return next(later, history[0][1])


def stamp_seconds(message: Any) -> float:
    """The stamp of a message's header in seconds."""
    stamp = message.header.stamp
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9
