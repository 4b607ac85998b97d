"""A training picture with its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Rng = np.random.Generator

UNKNOWN, OCCLUDED, VISIBLE = 0, 1, 2


@dataclass
class Picture:
    """A training picture with its labels, all in its own pixels.

    Attributes:
        image: uint8 [H, W, 3] bgr.
        joints_2d: float32 [P, 15, 2]; NaN where unknown or out of the picture.
        outside_too: float32 [P, 15, 2], the same, with joints that are known to be out of it.
        visibility: uint8 [P, 15]: 0 unknown, 1 occluded, 2 visible.
        depth: float32 [P, 15] metres relative to the pelvis; NaN where unknown.
        root_depth: float32 [P], metres over focal length in pixels; NaN where unknown.
        neck_depth: float32 [P], the same of the neck.
        trust: float32 [H, W] in [0, 1]: how far the absence of people can be believed.
        unknown: uint16 [H, W], bit j set where joint j may be present but isn't labelled.
    """

    image: Image
    joints_2d: Float
    outside_too: Float
    visibility: NDArray[np.uint8]
    depth: Float
    root_depth: Float
    neck_depth: Float
    trust: Float
    unknown: NDArray[np.uint16]

    @classmethod
    def empty(cls, image: Image) -> Picture:
        """A picture without people."""
        height, width = image.shape[:2]
        return cls(
            image,
            np.zeros((0, 15, 2), np.float32),
            np.zeros((0, 15, 2), np.float32),
            np.zeros((0, 15), np.uint8),
            np.zeros((0, 15), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.float32),
            np.ones((height, width), np.float32),
            np.zeros((height, width), np.uint16),
        )

    def add(
        self,
        joints: Float,
        visibility: NDArray[np.uint8],
        depth: Float,
        root: float,
        outside_too: Float | None = None,
        neck: float | None = None,
    ) -> None:
        """Append one person's labels.

        Without ``outside_too`` nothing is known out there; without ``neck`` the neck is as far
        as the pelvis, as photos of unknown focal length have it.
        """
        wide = joints if outside_too is None else outside_too
        self.joints_2d = np.concatenate([self.joints_2d, joints[None]])
        self.outside_too = np.concatenate([self.outside_too, wide[None]])
        self.visibility = np.concatenate([self.visibility, visibility[None]])
        self.depth = np.concatenate([self.depth, depth[None]])
        self.root_depth = np.append(self.root_depth, np.float32(root))
        self.neck_depth = np.append(self.neck_depth, np.float32(root if neck is None else neck))


def inside_of(
    points: Float, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Points [..., 2] between two corners, both included; NaN is outside; bool [...]."""
    with np.errstate(invalid="ignore"):
        return ((points >= low) & (points <= high)).all(axis=-1)
