"""Whether labels can be those of people: lengths of limbs, depths, cameras, boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import Skeleton
from smap_train.data.records import Measured, Unit

Kind = Literal["unit", "depth", "camera", "box"]
Float64 = NDArray[np.float64]

LIMBS_M = (0.09, 0.65)  # mean of the long bones; a small child's are 0.1, a giant's 0.5
_TYPICAL_M = 0.33
_FARTHEST_M = 20.0  # median depth of the pelvises of a data set
# Labelled pixels from projected points: share of a person's extent and of the picture, for lenses
# bend what a pinhole doesn't.
_APART, _BENT = 0.25, 0.05
_FEWEST = 4  # joints by which a camera is judged
_DEPTHS_APART = 0.05  # share
_BONES = [
    (f"{side}_{a}", f"{side}_{b}")
    for side in "lr"
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
]


@dataclass(frozen=True)
class Doubt:
    """What is wrong with the labels of a person.

    Attributes:
        record: its number in the index.
        kind: of the mistake.
        text: what was got and what was expected.
    """

    record: int
    kind: Kind
    text: str


def doubts(people: Measured) -> Iterator[Doubt]:
    """What no person's labels can be, person by person."""
    yield from _limb_doubts(people)
    yield from _depth_doubts(people)
    yield from _camera_doubts(people)
    yield from _box_doubts(people)


def limb_lengths(points: Float64, skeleton: Skeleton) -> Float64:
    """Mean length of each person's long bones, NaN where none has both ends; [P].

    Args:
        points: float64 [P, J, 3], NaN where unknown.
        skeleton: of them.
    """
    ends = [
        (skeleton.index(a), skeleton.index(b))
        for a, b in _BONES
        if a in skeleton.joints and b in skeleton.joints
    ]
    lengths = np.array([np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in ends])
    known = np.isfinite(lengths)
    total = np.where(known, lengths, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known.any(axis=0), total / known.sum(axis=0), np.nan)


def wrong_unit(lengths: Float64, unit: Unit) -> str:
    """What unit the limbs of most people tell; empty if it is the one that is expected.

    Args:
        lengths: from :func:`limb_lengths`.
        unit: expected.
    """
    lengths = lengths[np.isfinite(lengths)]
    return _unit_told(float(np.median(lengths)), unit) if len(lengths) else ""


def root_depths(people: Measured) -> Float64:
    """The depths of the pelvises in metres, as stated, [P]; NaN where unknown."""
    stated: Float64 = np.where(np.isnan(people.depth), people.points[..., 2], people.depth)
    return stated[:, people.skeleton.root]


def too_far(depths: Float64, unit: Unit) -> str:
    """Why the depths of most pelvises can't be in the unit expected; empty if they can.

    Args:
        depths: from :func:`root_depths`.
        unit: expected.
    """
    depths = depths[depths > 0]
    if not len(depths) or (median := float(np.median(depths))) <= _FARTHEST_M:
        return ""
    return (
        f"the median depth of the pelvises is {median * unit.of_a_metre:,.0f}; expected "
        f"{unit.name}, below {_FARTHEST_M * unit.of_a_metre:,.0f}"
    )


def _unit_told(length: float, unit: Unit) -> str:
    if LIMBS_M[0] <= length <= LIMBS_M[1]:
        return ""
    own = length * unit.of_a_metre
    text = (
        f"arms and legs have bones of {own:,.4g} on average; expected "
        f"{LIMBS_M[0] * unit.of_a_metre:g} to {LIMBS_M[1] * unit.of_a_metre:g} {unit.name}"
    )
    if length == 0:
        return text
    factor = 10.0 ** round(np.log10(length / _TYPICAL_M))
    names = {1.0: "metres", 100.0: "centimetres", 1000.0: "millimetres"}
    told = names.get(round(unit.of_a_metre * factor, 6))
    if factor == 1 or told is None:
        return text
    change = f"divide by {factor:g}" if factor > 1 else f"multiply by {1 / factor:g}"
    return f"{text}: are they {told}? Then {change}"


def _limb_doubts(people: Measured) -> Iterator[Doubt]:
    lengths = limb_lengths(people.points, people.skeleton)
    with np.errstate(invalid="ignore"):
        wrong = (lengths < LIMBS_M[0]) | (lengths > LIMBS_M[1])
    for k in np.flatnonzero(wrong):
        yield Doubt(int(people.record[k]), "unit", _unit_told(float(lengths[k]), people.unit))


def _depth_doubts(people: Measured) -> Iterator[Doubt]:
    """Depths that are stated twice, and differ."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = people.depth / people.points[..., 2]
        wrong = np.abs(ratio - 1) > _DEPTHS_APART
    for k in np.flatnonzero(wrong.any(axis=1)):
        joint = int(np.flatnonzero(wrong[k])[0])
        own = people.depth[k, joint] * people.unit.of_a_metre
        yield Doubt(
            int(people.record[k]), "depth",
            f"the depth of {people.skeleton.joints[joint]}, {own:g}, is {ratio[k, joint]:.3g} "
            "times its Z; expected the same number",
        )  # fmt: skip


def _camera_doubts(people: Measured) -> Iterator[Doubt]:
    """Points that the camera doesn't show where the pixels are."""
    focal, center = people.camera[:, None, :2], people.camera[:, None, 2:]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shown = people.points[..., :2] / people.points[..., 2:] * focal + center
        apart = np.linalg.norm(shown - people.pixels, axis=-1)
    known = np.isfinite(apart)
    for k in np.flatnonzero(known.sum(axis=1) >= _FEWEST):
        pixels = people.pixels[k][known[k]]
        extent = float(np.ptp(pixels, axis=0).max())
        median = float(np.median(apart[k][known[k]]))
        most = _APART * extent + _BENT * 2 * float(people.camera[k, 2:].max())
        if median > most:
            camera = [round(float(v), 1) for v in people.camera[k]]
            yield Doubt(
                int(people.record[k]), "camera",
                f"its joints in space are seen {median:,.0f} pixels beside its joints in the "
                f"picture, by the camera {camera}; expected within {most:,.0f}",
            )  # fmt: skip


def _box_doubts(people: Measured) -> Iterator[Doubt]:
    """Boxes that none of the labelled joints lies in."""
    low, high = people.box[:, None, :2], people.box[:, None, 2:]
    with np.errstate(invalid="ignore"):
        inside = ((people.pixels >= low - 1) & (people.pixels <= high + 1)).all(axis=-1)
    known = np.isfinite(people.pixels[..., 0]) & np.isfinite(people.box[:, :1])
    for k in np.flatnonzero(known.any(axis=1) & ~inside.any(axis=1)):
        box = [round(float(v), 1) for v in people.box[k]]
        yield Doubt(
            int(people.record[k]), "box",
            f"none of its labelled joints lies in its box, which reaches from {box[:2]} to "
            f"{box[2:]}; expected x, y, width and height in pixels",
        )  # fmt: skip
