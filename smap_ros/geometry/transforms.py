"""The tree of frames that a robot publishes on TF, as far as a camera's mounting needs it.

tf2's own buffer is a C++ library behind rclpy bindings that come with a ROS distribution only.
What is needed here of it, one frame's pose in another at a time, is little; this way it runs and
is tested wherever the messages are.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import CameraError
from smap_ros.geometry.mounting import Mounting

Float64 = NDArray[np.float64]

MEMORY = 10.0  # seconds that moving frames are remembered
# How much later than the newest transform a time may be: that one still holds then. Transforms
# often come after the image; and how far a camera looks down changes slowly.
HOLD = 0.5  # seconds
# As long for who asks how a camera turns: 6 degrees at 1 radian/second. Who believes that it stood
# still for longer loses everybody, which estimating from the people doesn't.
HOLD_TURNING = 0.1  # seconds
# Transforms in a row that are older than others, over so long, are no stragglers.
STRAGGLING = 0.5  # seconds
_ROUNDING = 1e-6  # seconds: stamps of today keep a quarter of it as floats
# How those who want a mounting are told the world's frame, and what they can do without.
WORLD_FRAME = "world_frame"
STATE_MOUNTING = "state camera_height and camera_pitch_deg"
MAX_FRAMES = 1000  # remembered; a publisher that invents frames must not fill the memory


@dataclass(frozen=True)
class Transform:
    """Pose of a frame in its parent.

    Attributes:
        parent: name of the frame it hangs on.
        translation: x, y, z, metres.
        rotation: quaternion x, y, z, w; of any length but zero.
    """

    parent: str
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]

    @property
    def usable(self) -> bool:
        """Whether the numbers are finite and the quaternion is one."""
        finite = all(math.isfinite(v) for v in (*self.translation, *self.rotation))
        return finite and math.hypot(*self.rotation) > 1e-6

    def matrix(self) -> Float64:
        """Frame to parent, float64 [4, 4]."""
        x, y, z, w = np.array(self.rotation) / math.hypot(*self.rotation)
        out = np.eye(4)
        out[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        out[:3, 3] = self.translation
        return out


class TransformTree:
    """Transforms by frame, remembered for some seconds. Safe to use from several threads.

    Args:
        memory: seconds that moving frames are remembered.
        parameter: names the world's frame, for what is said where TF doesn't tell.
        instead: what can be done without TF.
        hold: seconds after the newest transform of a frame for which it holds.
    """

    def __init__(
        self,
        memory: float = MEMORY,
        parameter: str = WORLD_FRAME,
        instead: str = STATE_MOUNTING,
        hold: float = HOLD,
    ) -> None:
        self._memory, self._parameter, self._instead = memory, parameter, instead
        self._hold = hold
        self._lock = threading.Lock()
        self._fixed: dict[str, Transform] = {}
        self._moving: dict[str, deque[tuple[float, Transform]]] = {}
        # The latest messages of a frame, if they are older than others: in order, and in a row.
        self._late: dict[str, list[tuple[float, Transform]]] = {}

    def add(self, frame: str, transform: Transform, stamp: float, *, fixed: bool) -> None:
        """Remember where a frame is; unusable numbers are left out.

        Args:
            frame: its name; a leading slash, of ROS 1, is dropped.
            transform: its pose in its parent.
            stamp: seconds.
            fixed: whether it holds for ever (/tf_static).
        """
        frame = _name(frame)
        if not transform.usable or (self._full and not self._known(frame)):
            return
        with self._lock:
            if fixed:  # from now on, as the newest message says in tf2, too
                self._fixed[frame] = transform
                self._moving.pop(frame, None)
                self._late.pop(frame, None)
                return
            history = self._moving.setdefault(frame, deque())
            late = self._late.pop(frame, [])
            if history and stamp <= history[-1][0]:
                late = [*(late if late and late[-1][0] < stamp else []), (stamp, transform)]
                anew = stamp < history[-1][0] - MEMORY or stamp - late[0][0] >= STRAGGLING
                if not anew:
                    self._late[frame] = late
                    return  # twice, or stragglers, so far
                # Time was set back: a bag began anew, or a simulation.
                history.clear()
                history.extend(late[:-1])
            history.append((stamp, transform))
            while history[0][0] < stamp - self._memory:
                history.popleft()

    @property
    def frames(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the frames that are known: those that move, and those that are fixed."""
        with self._lock:
            return tuple(sorted(self._moving)), tuple(sorted(self._fixed))

    def ancestors(self, frame: str) -> tuple[str, ...]:
        """The frames that a frame hangs on by the newest messages, nearest first."""
        chain = [_name(frame)]
        with self._lock:
            while True:
                history = self._moving.get(chain[-1])
                found = history[-1][1] if history else self._fixed.get(chain[-1])
                parent = None if found is None else _name(found.parent)
                if parent is None or parent in chain:
                    return tuple(chain[1:])
                chain.append(parent)

    def at(self, frame: str, stamp: float) -> Transform | None:
        """A frame's pose in its parent at a time, between messages too; None where unknown."""
        with self._lock:
            try:
                return self._found(_name(frame), stamp)
            except CameraError:
                return None

    def pose(self, frame: str, world: str, stamp: float) -> Float64:
        """A frame's pose in another frame at a time.

        Returns:
            ``frame`` to ``world``, float64 [4, 4].

        Raises:
            CameraError: if they aren't connected, or not known at that time.
        """
        with self._lock:
            own, own_end = self._chain(_name(frame), stamp)
            others, others_end = self._chain(_name(world), stamp)
        common = next((name for name in own if name in others), None)
        if common is None:
            raise (
                own_end
                or others_end
                or CameraError(
                    f"TF doesn't connect the camera's frame {frame!r} with {world!r}: "
                    f"{_told(own)}, {_told(others)}. Run robot_state_publisher or a "
                    "static_transform_publisher for the camera, check the parameter "
                    f"{self._parameter}, or {self._instead}"
                )
            )
        return np.asarray(np.linalg.solve(others[common], own[common]), np.float64)

    def mounting(self, frame: str, world: str, stamp: float) -> Mounting:
        """Where the floor is, z = 0 of a level world, seen from a camera's optical frame.

        Raises:
            CameraError: as :meth:`pose`, or if the camera is not above the floor.
        """
        pose = self.pose(frame, world, stamp)
        height = float(pose[2, 3])
        if height <= 0:
            raise CameraError(
                f"TF has the camera's frame {frame!r} {-height:.2f} m below the floor of "
                f"{world!r}; expected a {self._parameter} with z up and 0 on the floor, like "
                "base_footprint"
            )
        return Mounting.above(pose[2, :3], height)

    def _chain(self, frame: str, stamp: float) -> tuple[dict[str, Float64], CameraError | None]:
        """Ancestors of a frame, itself first, with the transform to each, [4, 4].

        Also why there are no more of them, unless the root was reached; that matters only if
        they are needed.
        """
        chain = {frame: np.eye(4)}
        try:
            while (found := self._at(frame, stamp)) is not None:
                parent, matrix = found
                if parent in chain:
                    raise CameraError(f"TF has a loop at frame {parent!r}; some publisher is wrong")
                chain[parent] = matrix @ chain[frame]
                frame = parent
        except CameraError as error:
            return chain, error
        return chain, None

    def _at(self, frame: str, stamp: float) -> tuple[str, Float64] | None:
        """Parent of a frame at a time and the transform to it, or None at the root."""
        found = self._found(frame, stamp)
        return None if found is None else (_name(found.parent), found.matrix())

    def _found(self, frame: str, stamp: float) -> Transform | None:
        """A frame's pose in its parent at a time; None at the root."""
        history = self._moving.get(frame)
        if not history:
            return self._fixed.get(frame)
        first, last = history[0][0], history[-1][0]
        if not first - _ROUNDING <= stamp <= last + self._hold + _ROUNDING:
            side, most = "older than all of", ""
            if stamp > last:
                side = f"{stamp - last:.2f} s newer than"
                most = f", which hold for {self._hold:g} s"
            raise CameraError(
                f"the image is {side} the transforms of frame {frame!r} on TF{most}; check that it "
                "is still published, and often enough, and that images and TF use the same clock "
                "(use_sim_time)"
            )
        return _between(history, stamp)

    @property
    def _full(self) -> bool:
        return len(self._fixed) + len(self._moving) >= MAX_FRAMES

    def _known(self, frame: str) -> bool:
        return frame in self._fixed or frame in self._moving


def _between(history: Sequence[tuple[float, Transform]], stamp: float) -> Transform:
    """The transform at a time that is not before the first one, interpolated."""
    after = max(bisect(history, stamp, key=lambda entry: entry[0]), 1)
    earlier, before = history[after - 1]
    if after == len(history) or history[after][1].parent != before.parent:
        return before
    later, behind = history[after]
    share = (stamp - earlier) / (later - earlier)
    # Close quaternions: a straight line between them, renormalised, errs by far less than TF.
    a, b = (np.array(t.rotation) / math.hypot(*t.rotation) for t in (before, behind))
    b = -b if a @ b < 0 else b
    rotation = (1 - share) * a + share * b
    if np.linalg.norm(rotation) < 0.1:  # half a turn in one step: nothing lies between them
        rotation = a
    translation = (1 - share) * np.array(before.translation) + share * np.array(behind.translation)
    x, y, z = (float(v) for v in translation)
    qx, qy, qz, qw = (float(v) for v in rotation)
    return Transform(before.parent, (x, y, z), (qx, qy, qz, qw))


def _name(frame: str) -> str:
    return frame.lstrip("/")


def _told(chain: dict[str, Float64]) -> str:
    """A chain of frames for people to read."""
    return f"{next(iter(chain))!r} hangs on " + (" > ".join(list(chain)[1:]) or "nothing")
