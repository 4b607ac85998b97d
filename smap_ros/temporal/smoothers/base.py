"""The protocol of everything that smooths people over time, and what smoothers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

LEAST_DEPTH = 0.01  # metres before the camera
FARTHEST = 1e4  # metres; what is told farther away isn't a place
# Pictures are up to 16384 px wide, and a lens shows who is near far beside them.
FARTHEST_PX = 1e6


def believable(points: NDArray[np.floating], farthest: float = FARTHEST) -> Float:
    """Points as float64 [..., D], NaN where any coordinate isn't a number that can be a place."""
    points = np.asarray(points, np.float64)
    there = (np.abs(points) < farthest).all(axis=-1, keepdims=True)
    return np.where(there, points, np.nan)


@dataclass(frozen=True)
class Seen:
    """The N tracked people of a picture, also those who are only predicted.

    Attributes:
        ids: int64 [N], ascending.
        joints: float64 [N, J, 3], metres, optical frame; NaN where a joint is missing, and
            everywhere of a person who was not seen in this picture.
        scores: float64 [N, J] in [0, 1], 0 where missing.
        time: seconds, later than that of the picture before.
        root: index of the joint that gives a person's position.
    """

    ids: NDArray[np.int64]
    joints: Float
    scores: Float
    time: float
    root: int


class Smoother(Protocol):
    """Smooths the joints of all people of a stream, picture by picture.

    Pictures may come at uneven times: nothing depends on the frame rate. A person who is not
    among those of a picture is forgotten.
    """

    @property
    def delay(self) -> int:
        """Pictures that it looks ahead: an answer is of the picture so many back."""

    def update(self, seen: Seen) -> Float | None:
        """Take the people of a picture.

        Returns:
            float64 [N, J, 3]: the joints of the people of the picture ``delay`` back, in its
            order; NaN where nothing can be said. None as long as there is no such picture.
        """

    def flush(self) -> list[Float]:
        """The answers that are still due, oldest first, with what is known."""

    def reset(self) -> None:
        """Forget everybody."""


@runtime_checkable
class Certain(Protocol):
    """A smoother that knows how far it errs."""

    def take_spread(self) -> Float:
        """Of the oldest answer that it wasn't asked of yet, [N, J], metres; NaN where unknown."""


def rows_before(ids: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each person was among those of another picture; int [N], -1 for the new.

    Args:
        ids, before: ascending identities of two pictures.
    """
    if not len(before):
        return np.full(len(ids), -1, np.intp)
    row = np.searchsorted(before, ids).clip(max=len(before) - 1)
    return np.where(before[row] == ids, row, -1)


def carried(state: Float, rows: NDArray[np.intp], blank: float) -> Float:
    """State [M, ...] of the people before as that of the people now, [N, ...].

    Args:
        rows: see :func:`rows_before`.
        blank: fills the rows of the new.
    """
    if not len(state):
        return np.full((len(rows), *state.shape[1:]), blank)
    out = state[rows]
    out[rows < 0] = blank
    return out


def split_position(joints: Float, root: int) -> tuple[Float, Float, Float]:
    """Take people apart into what a camera measures unequally well.

    Args:
        joints: float64 [N, J, 3].
        root: see :class:`Seen`.

    Returns:
        Viewing direction of the pelvis [N, 1, 2], x/z and y/z; logarithm of its depth z
        [N, 1, 1]; joints about it [N, J, 3], metres. NaN of a pelvis that isn't before the camera.
    """
    position = joints[:, root : root + 1]
    depth = np.where(position[..., 2:] > LEAST_DEPTH, position[..., 2:], np.nan)
    return position[..., :2] / depth, np.log(depth), joints - position


def joined_position(direction: Float, log_depth: Float, about: Float) -> Float:
    """Inverse of :func:`split_position`."""
    ray = np.concatenate([direction, np.ones_like(log_depth)], axis=2)
    joints: Float = ray * np.exp(log_depth) + about
    return joints
