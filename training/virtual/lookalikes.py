"""Slim furniture that is mistaken for people: what stands on a foot with a column or legs above."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.parts import Material, Part
from smap_train.virtual.renderer import View
from smap_train.virtual.shapes import box, cylinder, rod
from smap_train.virtual.surroundings import muted, surface
from smap_train.virtual.textures import TextureBank

Generator = np.random.Generator
_NEAREST, _FARTHEST = 1.2, 8.0  # from the camera, metres
_CLEAR = 0.75  # between the middles of people and things, metres


def places_for(
    count: int, view: View, spots: NDArray[np.float64], rng: Generator
) -> NDArray[np.float64]:
    """Up to ``count`` places on the floor [M, 2] to the left and right of where ``view`` looks.

    Apart from people, not from one another; what stands there may reach towards them.

    Args:
        spots: where people are on the floor [N, 2].
    """
    places = []
    for _ in range(count):
        distance = np.exp(rng.uniform(np.log(_NEAREST), np.log(_FARTHEST)))
        column = rng.uniform(0.02, 0.98) * view.camera.width
        bearing = np.arctan((column - view.camera.cx) / view.camera.fx)
        place = distance * np.array([np.sin(bearing), np.cos(bearing)])
        if np.linalg.norm(spots - place, axis=1).min(initial=np.inf) >= _CLEAR:
            places.append(place)
    return np.array(places).reshape(-1, 2)


def lookalike(place: NDArray[np.float64], bank: TextureBank, rng: Generator) -> list[Part]:
    """One of the things, standing at ``place`` [2]."""
    return THINGS[rng.integers(len(THINGS))](np.array([*place, 0.0]), bank, rng)


def high_table(base: NDArray, bank: TextureBank, rng: Generator) -> list[Part]:
    """A round or square top on a column with a star foot, 0.7 to 1.15 m high."""
    height, column = rng.uniform(0.7, 1.15), rng.uniform(0.02, 0.045)
    metal, top = _metal(rng), _look(bank, rng, "wall", "floor", bright=1.1)
    across = rng.uniform(0.5, 0.9)
    at = base + (0, 0, height)
    if rng.random() < 0.7:
        plate = cylinder(at, across / 2, rng.uniform(0.015, 0.04), top)
    else:
        plate = box(at, (across, across, 0.03), top, rng.uniform(0, np.pi))
    pole = cylinder(base + (0, 0, 0.05), column, height - 0.05, metal)
    return [plate, pole, *_foot(base, rng.uniform(0.2, 0.4), metal, rng)]


def swivel_chair(base: NDArray, bank: TextureBank, rng: Generator) -> list[Part]:
    """Seat and back on a column with five feet; stools lack the back."""
    seat, width = rng.uniform(0.4, 0.8), rng.uniform(0.34, 0.5)
    metal, cloth = _metal(rng), _look(bank, rng, "fabric", bright=0.7)
    yaw = rng.uniform(0, 2 * np.pi)
    parts = [
        box(base + (0, 0, seat), (width, width, rng.uniform(0.04, 0.1)), cloth, yaw),
        cylinder(base + (0, 0, 0.05), 0.03, seat - 0.05, metal),
        *_foot(base, rng.uniform(0.2, 0.34), metal, rng),
    ]
    if rng.random() < 0.7:
        back = np.array([-np.sin(yaw), np.cos(yaw), 0.0]) * (width / 2 + 0.03)
        high = rng.uniform(0.3, 0.7)
        size = (width * 0.9, 0.05, high)
        parts.append(box(base + back + (0, 0, seat + 0.12 + high / 2), size, cloth, yaw))
    return parts


def tripod(base: NDArray, bank: TextureBank, rng: Generator) -> list[Part]:
    """Three legs that meet at a head with a lamp, camera or board on it."""
    apex, reach = rng.uniform(0.8, 1.7), rng.uniform(0.25, 0.55)
    stick = _metal(rng) if rng.random() < 0.6 else _look(bank, rng, "floor", bright=0.7)
    head = base + (0, 0, apex)
    turn = rng.uniform(0, 2 * np.pi)
    parts = [
        rod(base + reach * np.array([np.cos(a), np.sin(a), 0]), head, 0.014, stick)
        for a in turn + np.arange(3) * 2 * np.pi / 3
    ]
    material = _look(bank, rng, "thing", "poster", bright=0.8)
    size = (rng.uniform(0.12, 0.7), rng.uniform(0.03, 0.3), rng.uniform(0.12, 0.6))
    return [*parts, box(head + (0, 0, size[2] / 2), size, material, turn)]


def floor_lamp(base: NDArray, bank: TextureBank, rng: Generator) -> list[Part]:
    """A shade on a thin pole, 1.3 to 1.9 m high."""
    height, wide = rng.uniform(1.3, 1.9), rng.uniform(0.12, 0.3)
    metal = _metal(rng)
    shade = _look(bank, rng, "fabric", bright=1.3)
    high = rng.uniform(0.2, 0.4)
    plate = cylinder(base, rng.uniform(0.12, 0.2), 0.03, metal)
    foot = [plate] if rng.random() < 0.6 else _foot(base, 0.3, metal, rng)
    return [
        cylinder(base, 0.015, height, metal),
        cylinder(base + (0, 0, height), wide, high, shade, wide * rng.uniform(0.4, 1.0)),
        *foot,
    ]


def coat_stand(base: NDArray, bank: TextureBank, rng: Generator) -> list[Part]:
    """Coats and hats on a pole, or on hangers along a rail."""
    wood = _metal(rng) if rng.random() < 0.5 else _look(bank, rng, "floor", bright=0.6)
    height = rng.uniform(1.4, 1.9)
    yaw = rng.uniform(0, np.pi)
    along = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    if rng.random() < 0.5:
        parts = [cylinder(base, 0.025, height, wood), *_foot(base, 0.3, wood, rng)]
        hooks = [along * 0.12, -along * 0.12][: int(rng.integers(1, 3))]
        if rng.random() < 0.4:
            hat = _look(bank, rng, "fabric", bright=0.6)
            parts.append(cylinder(base + (0, 0, height), 0.14, 0.12, hat, 0.08))
    else:
        half = along * rng.uniform(0.4, 0.8)
        up = np.array([0, 0, height])
        parts = [rod(base + end, base + end + up, 0.016, wood) for end in (half, -half)]
        parts.append(rod(base + up - half, base + up + half, 0.016, wood))
        hooks = [half * rng.uniform(-0.9, 0.9) for _ in range(int(rng.integers(1, 6)))]
    return parts + [_coat(base + hook, height, yaw, bank, rng) for hook in hooks]


THINGS: tuple[Callable[[NDArray, TextureBank, Generator], list[Part]], ...] = (
    high_table,
    high_table,
    swivel_chair,
    tripod,
    floor_lamp,
    coat_stand,
)


def _coat(at: NDArray, height: float, yaw: float, bank: TextureBank, rng: Generator) -> Part:
    """Cloth that hangs from ``height``, wider below."""
    long = rng.uniform(0.5, min(1.1, height - 0.2))
    cloth = _look(bank, rng, "fabric", bright=0.7)
    if rng.random() < 0.5:
        size = (rng.uniform(0.06, 0.15), rng.uniform(0.3, 0.5), long)
        return box(at + (0, 0, height - 0.1 - long / 2), size, cloth, yaw)
    low, high = rng.uniform(0.14, 0.24), rng.uniform(0.06, 0.14)
    return cylinder(at + (0, 0, height - 0.1 - long), low, long, cloth, high)


def _foot(base: NDArray, reach: float, material: Material, rng: Generator) -> list[Part]:
    """A star of three to five feet that rise to the column, or a plate."""
    if rng.random() < 0.2:
        return [cylinder(base, reach * 0.8, 0.02, material)]
    count = int(rng.integers(3, 6))
    hub = base + (0, 0, rng.uniform(0.06, 0.14))
    turn = rng.uniform(0, 2 * np.pi) + np.arange(count) * 2 * np.pi / count
    thick = rng.uniform(0.014, 0.03)
    tips = [base + (reach * np.cos(a), reach * np.sin(a), thick) for a in turn]
    return [rod(hub, tip, thick, material) for tip in tips]


def _metal(rng: Generator) -> Material:
    """Chrome, painted or black metal."""
    bright = float(rng.choice([0.12, 0.5, 1.1]))
    return Material("plain", tint=muted(rng, bright), gloss=float(rng.uniform(0.03, 0.5)))


def _look(bank: TextureBank, rng: Generator, *kinds: str, bright: float) -> Material:
    """Painted in one colour, or a texture of one of the kinds."""
    if rng.random() < 0.4:
        return Material("plain", tint=muted(rng, bright))
    return surface(bank, rng, *kinds, bright=bright)
