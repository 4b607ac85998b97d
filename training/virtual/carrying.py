"""Things held with both hands in front of the body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.bodies import SEGMENT_INDEX, SEGMENTS, Body, BodyModel
from smap_train.virtual.parts import Material, Part
from smap_train.virtual.posing import Posed
from smap_train.virtual.shapes import box

# From the wrist to the middle of the palm, and half the thickness of a hand; metres on 1.7 m.
_PALM, _HALF_HAND = 0.085, 0.022
_SMALLEST = 0.12
_ARM_SEGMENTS = np.array(
    [name.split("_")[-1] in ("upperarm", "forearm", "hand") for name in SEGMENTS]
)


@dataclass(frozen=True)
class Held:
    """A box between the hands of somebody, who may move.

    Attributes:
        size: width from hand to hand, depth, height, metres.
        offset: of its middle from the middle between the palms: to the left, back, up; metres.
        material: its look.
    """

    size: tuple[float, float, float]
    offset: tuple[float, float, float]
    material: Material

    def part(self, body: Body, person: Posed) -> Part:
        """The box where the hands of ``person`` hold it."""
        middle, axes, _ = _grip(body, person)
        made = box(np.zeros(3), np.array(self.size), self.material, tile=0.6)
        centre = middle + axes @ np.array(self.offset)
        return replace(
            made,
            positions=(made.positions @ axes.T + centre).astype(np.float32),
            normals=(made.normals @ axes.T).astype(np.float32),
        )


def held_box(
    body: Body, model: BodyModel, person: Posed, material: Material, rng: np.random.Generator
) -> Held | None:
    """A box that fits between the hands and before the belly; None if none does."""
    middle, axes, gap = _grip(body, person)
    width = gap - 2 * _HALF_HAND * body.height / 1.7
    height = rng.uniform(0.08, 0.5)
    rise = rng.uniform(-0.1, 0.4) * height
    ahead = _front(body, model, person, middle, axes, (width, rise - height / 2, rise + height / 2))
    nearest = ahead - rng.uniform(0.005, 0.04)  # axes point back: what is in front is negative
    farthest = min(-rng.uniform(0.05, 0.2), nearest - _SMALLEST)
    if width < _SMALLEST or nearest < 0.02:
        return None
    size = (width, nearest - farthest, height)
    return Held(size, (0.0, (nearest + farthest) / 2, rise), material)


def _grip(body: Body, person: Posed) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Middle between the palms [3], axes (left, back, up) as columns [3, 3], their distance."""
    palms = []
    for side in "lr":
        elbow, wrist = (
            person.joints[SEGMENT_INDEX[f"{side}_{segment}"]] for segment in ("forearm", "hand")
        )
        along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        palms.append(wrist + along * _PALM * body.height / 1.7)
    left = palms[0] - palms[1]
    gap = float(np.linalg.norm(left))
    left = left / max(gap, 1e-9)
    back = np.cross(np.array([0.0, 0.0, 1.0]), left)
    back = back / max(float(np.linalg.norm(back)), 1e-9)
    axes = np.stack([left, back, np.cross(left, back)], axis=1)
    return (palms[0] + palms[1]) / 2, axes, gap


def _front(
    body: Body,
    model: BodyModel,
    person: Posed,
    middle: NDArray[np.float64],
    axes: NDArray[np.float64],
    room: tuple[float, float, float],
) -> float:
    """How far back from the palms the body begins, arms aside, metres.

    Args:
        room: width of the box, and its lower and upper side above the palms.
    """
    width, low, high = room
    at = model.skin_vertices[::3]
    at = at[model.weights[at][:, _ARM_SEGMENTS].sum(1) < 0.3]
    points = (person.skin(body.vertices[at], model.weights[at]) - middle) @ axes
    near = (np.abs(points[:, 0]) < width / 2) & (points[:, 2] > low - 0.02) & (points[:, 2] < high)
    return float(points[near, 1].min(initial=0.5))
