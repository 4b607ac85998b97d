"""Surroundings: rooms, streets, furniture, light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.parts import RGB, Material, Part
from smap_train.virtual.renderer import Light
from smap_train.virtual.shapes import ball, box, cylinder, quad
from smap_train.virtual.textures import Texture, TextureBank

Generator = np.random.Generator


@dataclass(frozen=True)
class Extent:
    """Floor area in metres: x from/to, y from/to, and the ceiling's height."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: float


def muted(rng: Generator, bright: float = 1.0) -> RGB:
    """A weakly saturated linear tint around ``bright``."""
    grey = rng.uniform(0.45, 1.25) * bright
    return tuple(float(grey * v) for v in rng.uniform(0.75, 1.2, 3))  # type: ignore[return-value]


def surface(bank: TextureBank, rng: Generator, *kinds: str, bright: float = 1.0) -> Material:
    """A tinted texture of one of the kinds, sometimes recoloured."""
    names = [name for kind in kinds for name in bank.names(kind)]
    grey = float(rng.choice([0.0, 0.0, 0.5, 0.9]))
    return Material(
        str(rng.choice(names)),
        tint=muted(rng, bright),
        grey=grey,
        gloss=float(rng.choice([0.0, 0.02, 0.06])),
    )


def room(extent: Extent, bank: TextureBank, rng: Generator) -> list[Part]:
    """Floor, four walls with skirting, ceiling, doors, windows and pictures."""
    (x0, x1), (y0, y1), h = extent.x, extent.y, extent.height
    w, d = x1 - x0, y1 - y0
    floor = surface(bank, rng, "floor")
    wall = surface(bank, rng, "wall", bright=0.95)
    parts = [
        quad((x0, y0, 0), (w, 0, 0), (0, d, 0), floor, rng.uniform(1.0, 3.0), False),
        quad((x0, y1, h), (w, 0, 0), (0, -d, 0), Material("wall/plaster"), 3.0, False),
    ]
    tile = rng.uniform(1.5, 4.0)
    skirting = Material("plain", tint=muted(rng, 0.6))
    for start, along in _walls(extent):
        length = float(np.linalg.norm(along))
        parts.append(quad(start, along, (0, 0, h), wall, tile, False))
        inward = np.cross(along / length, (0, 0, 1.0))
        parts.append(quad(start + inward * 0.012, along, (0, 0, 0.1), skirting, None, False))
        parts += _wall_things(start, along / length, inward, length, h, bank, rng)
    return parts


def _walls(extent: Extent) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Start and direction of each wall, so that it faces inwards."""
    (x0, x1), (y0, y1) = extent.x, extent.y
    corners = [np.array([x, y, 0.0]) for x, y in ((x0, y1), (x1, y1), (x1, y0), (x0, y0))]
    return [(corners[k], corners[(k + 1) % 4] - corners[k]) for k in range(4)]


def _wall_things(
    start: NDArray, along: NDArray, inward: NDArray, length: float, height: float,
    bank: TextureBank, rng: Generator,
) -> list[Part]:  # fmt: skip
    """Doors, windows and pictures that don't overlap on one wall."""
    parts = []
    at = rng.uniform(0.1, 1.0)
    while at < length - 0.6:
        kind = rng.choice(["door", "window", "picture", "picture", "none"])
        width, low, top = {
            "door": (0.95, 0.0, 2.05),
            "window": (rng.uniform(0.8, 2.0), 0.9, min(2.2, height - 0.2)),
            "picture": (rng.uniform(0.3, 1.2), rng.uniform(1.0, 1.4), rng.uniform(1.6, 2.1)),
            "none": (0.5, 0.0, 1.0),
        }[str(kind)]
        if kind != "none" and at + width < length - 0.05:
            corner = start + along * at + inward * 0.02 + (0, 0, low)
            frame = corner - along * 0.05 - inward * 0.008 - (0, 0, 0.05 if low else 0)
            size = along * (width + 0.1), np.array([0, 0, top - low + (0.1 if low else 0.05)])
            parts.append(quad(frame, *size, Material("plain", tint=muted(rng, 0.7)), None, False))
            material = _wall_material(str(kind), bank, rng)
            parts.append(quad(corner, along * width, (0, 0, top - low), material, None, False))
        at += width + rng.uniform(0.3, 1.8)
    return parts


def _wall_material(kind: str, bank: TextureBank, rng: Generator) -> Material:
    photos = bank.names("photo")
    if kind == "door":
        return Material(
            str(rng.choice(["wall/panels", "plain", "thing/metal"])), tint=muted(rng, 0.7)
        )
    if kind == "window":
        if photos and rng.random() < 0.6:
            return Material(str(rng.choice(photos)), tint=(1.6, 1.6, 1.6))
        return Material("wall/stained", tint=(1.5, 1.8, 2.2))
    if photos and rng.random() < 0.75:
        return Material(str(rng.choice(photos)))
    return Material(str(rng.choice(bank.names("poster"))), tint=(0.7, 0.7, 0.7), grey=0.35)


def street(extent: Extent, bank: TextureBank, rng: Generator) -> list[Part]:
    """Ground, a path, building fronts, hedges and posts behind and beside people."""
    (x0, x1), (_, y1) = extent.x, extent.y
    ground = surface(bank, rng, "ground", "floor")
    parts = [quad((-60, -20, 0), (120, 0, 0), (0, 100, 0), ground, rng.uniform(1.5, 4), False, 10)]
    if rng.random() < 0.5:
        path = surface(bank, rng, "ground")
        shift = rng.uniform(-3, 3)
        parts.append(quad((shift - 1.5, -20, 0.004), (3, 0, 0), (0, 90, 0), path, 2.0, False, 6))
    for _ in range(int(rng.integers(0, 5))):
        width, height = rng.uniform(5, 20), rng.uniform(3, 14)
        centre = (rng.uniform(-30, 30), y1 + rng.uniform(3, 30), height / 2)
        front = Material(str(rng.choice(bank.names("facade") + ["wall/brick"])), tint=muted(rng))
        parts.append(box(centre, (width, 4, height), front, rng.normal(0, 0.2), rng.uniform(4, 8)))
    for _ in range(int(rng.integers(0, 7))):
        side = x0 - rng.uniform(0.3, 4) if rng.random() < 0.5 else x1 + rng.uniform(0.3, 4)
        at = (side if rng.random() < 0.7 else rng.uniform(x0, x1), y1 + rng.uniform(0.5, 12), 0.0)
        parts += _tree(np.array(at), rng) if rng.random() < 0.6 else [_hedge(np.array(at), rng)]
    return parts


def _tree(at: NDArray, rng: Generator) -> list[Part]:
    height = rng.uniform(1.5, 3.5)
    crown = rng.uniform(0.8, 2.0)
    leaves = Material("thing/leaves", tint=muted(rng))
    return [
        cylinder(
            at, rng.uniform(0.08, 0.2), height, Material("wall/panels", tint=(0.4, 0.35, 0.3))
        ),
        ball(at + (0, 0, height + crown * 0.6), (crown, crown, crown * 1.1), leaves),
    ]


def _hedge(at: NDArray, rng: Generator) -> Part:
    size = np.array([rng.uniform(1, 5), rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.8)])
    centre = at + (0, 0, size[2] / 2)
    return box(centre, size, Material("thing/leaves", tint=muted(rng)), rng.normal(0, 0.3))


def furniture(at: NDArray, bank: TextureBank, rng: Generator, low: bool) -> list[Part]:
    """A random thing standing at ``at`` [2]; ``low`` keeps it below the waist or thin."""
    base = np.array([at[0], at[1], 0.0])
    material = surface(bank, rng, "thing", "fabric", "floor", "wall", "poster", bright=0.8)
    yaw = rng.uniform(0, np.pi)
    kind = str(rng.choice(["box", "table", "round", "sofa"] + ([] if low else ["shelf", "plant"])))
    if low and rng.random() < 0.2:
        return [cylinder(base, rng.uniform(0.04, 0.16), rng.uniform(1.8, 3.0), material)]
    if kind == "table":
        return _table(base, material, yaw, rng)
    if kind == "round":
        radius = rng.uniform(0.1, 0.35)
        return [
            cylinder(base, radius, rng.uniform(0.3, 1.0), material, radius * rng.uniform(0.6, 1.2))
        ]
    if kind == "sofa":
        return sofa(base, material, yaw, rng.uniform(0.6, 1.8))
    if kind == "plant":
        return plant(base, rng.uniform(0.25, 0.5), muted(rng))
    tall = 0.9 if low else 2.0
    if kind == "shelf":
        size = np.array([rng.uniform(0.5, 1.2), 0.35, rng.uniform(0.9, tall)])
        material = Material(str(rng.choice(bank.names("thing"))), tint=muted(rng))
        return [box(base + (0, 0, size[2] / 2), size, material, yaw, None)]
    size = np.array([*rng.uniform(0.25, 1.0, 2), rng.uniform(0.25, tall)])
    return [box(base + (0, 0, size[2] / 2), size, material, yaw, rng.uniform(0.5, 1.5))]


def plant(base: NDArray, size: float, tint: RGB = (0.9, 0.9, 0.9)) -> list[Part]:
    """A bush of radius ``size`` in a pot."""
    pot = Material("wall/stained", tint=(0.5, 0.32, 0.24))
    leaves = Material("thing/leaves", tint=tint)
    return [
        cylinder(base, 0.13, 0.35, pot, 0.18),
        ball(base + (0, 0, 0.35 + size), (size, size, size * 1.2), leaves),
    ]


def _table(base: NDArray, material: Material, yaw: float, rng: Generator) -> list[Part]:
    w, d, h = rng.uniform(0.6, 1.6), rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.95)
    parts = [box(base + (0, 0, h), (w, d, 0.04), material, yaw)]
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    for sx in (-0.46, 0.46):
        for sy in (-0.44, 0.44):
            x, y = turn @ (sx * w, sy * d)
            parts.append(box(base + (x, y, h / 2), (0.05, 0.05, h), material, yaw))
    return parts


def sofa(
    base: NDArray, material: Material, yaw: float, width: float, seat: float = 0.42
) -> list[Part]:
    """A seat with a back towards local +y (people sit facing -y before ``yaw``)."""
    back = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    return [
        box(base + (0, 0, seat / 2), (width, 0.5, seat), material, yaw),
        box(base + back * 0.31 + (0, 0, seat), (width, 0.1, seat * 1.9), material, yaw),
    ]


def chair(base: NDArray, seat: float, yaw: float, bank: TextureBank, rng: Generator) -> list[Part]:
    """Something to sit on whose seat is ``seat`` metres high: chair, stool, sofa or block."""
    material = surface(bank, rng, "thing", "fabric", "floor", bright=0.7)
    kind = rng.choice(["chair", "stool", "sofa", "block"])
    if kind == "sofa":
        return sofa(base, material, yaw, rng.uniform(0.7, 1.8), seat)
    if kind == "block":
        return [box(base + (0, 0, seat / 2), (rng.uniform(0.45, 0.9), 0.45, seat), material, yaw)]
    if kind == "stool":
        return [cylinder(base, 0.2, seat, material)]
    back = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    parts = [
        box(base + (0, 0, seat - 0.02), (0.44, 0.42, 0.04), material, yaw),
        box(base + back * 0.21 + (0, 0, seat + 0.22), (0.42, 0.03, 0.45), material, yaw),
    ]
    across = np.array([back[1], -back[0], 0.0])
    for sx in (-0.19, 0.19):
        for sy in (-0.18, 0.18):
            foot = base + across * sx + back * sy
            parts.append(box(foot + (0, 0, seat / 2), (0.035, 0.035, seat), material, yaw))
    return parts


def sky(rng: Generator) -> Texture:
    """A vertical gradient with clouds, uint8 [64, 64, 4]."""
    grey = rng.uniform(0.4, 0.9)
    top = grey * rng.uniform(0.85, 1.05, 3) * (0.6, 0.85, 1.2)
    low = rng.uniform(0.6, 1.0) * rng.uniform(0.88, 1.05, 3)
    share = np.linspace(0, 1, 64)[:, None, None] ** rng.uniform(0.5, 1.5)
    clouds = cv2.resize(rng.random((8, 8)), (64, 64), interpolation=cv2.INTER_CUBIC)[..., None]
    image = top * (1 - share) + low * share + rng.uniform(0, 0.35) * (clouds - 0.5)
    out = np.full((64, 64, 4), 255, dtype=np.uint8)
    out[..., :3] = np.clip(image * 255, 0, 255)
    return out


def light(rng: Generator, outdoor: bool, centre: NDArray, radius: float) -> Light:
    """Sun and sky outdoors; a main lamp or window and bounced light indoors."""
    angle = rng.uniform(0, 2 * np.pi)
    lift = rng.uniform(0.35, 1.3) if outdoor else rng.uniform(0.6, 1.5)
    direction = np.array([np.cos(angle) * np.cos(lift), np.sin(angle) * np.cos(lift), np.sin(lift)])
    warm = rng.uniform(-0.18, 0.18)
    strength = rng.uniform(0.0, 2.2) if outdoor else rng.uniform(0.1, 1.2)
    sun = np.array([1 + warm, 1.0, 1 - warm]) * strength
    sky_light = rng.uniform(0.3, 0.8) * np.array([1 - 0.6 * warm, 1.0, 1 + 0.8 * warm])
    bounce = sky_light * rng.uniform(0.35, 0.85) * rng.uniform(0.85, 1.1, 3)
    side = sky_light * rng.uniform(0.0, 0.9)
    across = rng.uniform(0, 2 * np.pi)
    # Expose for the light there is, then err by up to a stop and a half.
    mean = float((sun * 0.45 + 0.5 * (sky_light + bounce) + 0.35 * side).mean())
    return Light(
        direction,
        tuple(sun),
        tuple(sky_light),
        tuple(bounce),
        tuple(side),
        np.array([np.cos(across), np.sin(across), 0.0]),
        float(rng.uniform(0.6, 3.5)),
        float(0.74 / mean * 2.0 ** rng.normal(0, 0.3)),
        centre,
        radius,
    )
