"""The stage of a scene: a room, a street or a photo, with seats, clutter and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual import surroundings
from smap_train.virtual.config import SceneSettings
from smap_train.virtual.parts import Part, merged
from smap_train.virtual.people import Person
from smap_train.virtual.renderer import Light, View
from smap_train.virtual.surroundings import Extent
from smap_train.virtual.textures import TextureBank

Generator = np.random.Generator


@dataclass(frozen=True)
class Stage:
    """What people are in.

    Attributes:
        parts: of the surroundings.
        light: on everything.
        backdrop: texture behind everything.
    """

    parts: list[Part]
    light: Light
    backdrop: str


def surround(
    settings: SceneSettings,
    bank: TextureBank,
    spots: NDArray[np.float64],
    eyes: NDArray[np.float64],
    people: list[Person],
    view: View,
    rng: Generator,
) -> Stage:
    """A stage that leaves people and camera their room.

    Args:
        spots: where people are or pass, on the floor [N, 2].
        eyes: where the camera is or passes [M, 2].
        people: those who sit get a seat.
        view: the camera; things are put between it and people.
    """
    every = np.concatenate([spots, eyes])
    extent = _extent(every, view, rng)
    photos = bank.names("photo")
    backdrop = "plain"
    parts: list[Part] = []
    outdoor = rng.random() < settings.outdoor_share
    if photos and rng.random() < settings.photo_share:
        backdrop = str(rng.choice(photos))
    elif outdoor:
        backdrop = str(rng.choice(bank.names("sky")))
        parts += surroundings.street(extent, bank, rng)
    else:
        parts += surroundings.room(extent, bank, rng)
    for person in people:
        if person.posture == "sit":
            base, seat = person.seat()
            parts += surroundings.chair(base, seat, person.heading, bank, rng)
    parts += _clutter(spots, eyes, extent, bank, rng)
    centre = np.array([*every.mean(0), 0.8])
    radius = float(np.clip(np.linalg.norm(every - every.mean(0), axis=1).max() + 1.5, 3, 8))
    return Stage(merged(parts), surroundings.light(rng, outdoor, centre, radius), backdrop)


def _extent(spots: NDArray, view: View, rng: Generator) -> Extent:
    """Room around everybody and the camera."""
    low, high = spots.min(0), spots.max(0)
    margin = np.exp(rng.uniform(np.log(0.7), np.log(5.0), 4))
    return Extent(
        (float(low[0] - margin[0]), float(high[0] + margin[1])),
        (float(low[1] - 0.3 - 0.4 * margin[2]), float(high[1] + margin[3])),
        float(max(rng.uniform(2.4, 3.8), view.eye[2] + 0.25)),
    )


def _clutter(
    spots: NDArray, eyes: NDArray, extent: Extent, bank: TextureBank, rng: Generator
) -> list[Part]:
    """Furniture; some of it low or thin and in front of people."""
    parts: list[Part] = []
    for _ in range(int(rng.integers(0, 12))):
        in_front = rng.random() < 0.3 and len(spots) > 0
        if in_front:
            eye, target = eyes[rng.integers(len(eyes))], spots[rng.integers(len(spots))]
            at = eye + (target - eye) * rng.uniform(0.35, 0.8) + rng.normal(0, 0.35, 2)
        else:
            at = np.array([rng.uniform(*extent.x), rng.uniform(*extent.y)])
        clear = np.linalg.norm(spots - at, axis=1).min(initial=np.inf) >= 0.75
        if clear and np.linalg.norm(eyes - at, axis=1).min() >= 0.9:
            parts += surroundings.furniture(at, bank, rng, low=in_front)
    return parts
