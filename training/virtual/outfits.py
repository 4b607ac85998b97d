"""Outfits: skin, clothes, hair and shoes of one person in rest pose, and a wardrobe of helpers.

:class:`HelperWardrobe` needs nothing but the body model: it cuts clothes out of MakeHuman's
helper geometry. ``makehuman.MakeHumanWardrobe`` uses modelled, textured garments.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.bodies import SEGMENT_INDEX, SEGMENTS, Body, BodyModel
from smap_train.virtual.parts import RGB, Material, Part
from smap_train.virtual.posing import Posed
from smap_train.virtual.shapes import box

# Linear RGB of skin under white light, fair to dark.
SKIN_TONES: tuple[RGB, ...] = (
    (0.68, 0.46, 0.36),
    (0.60, 0.38, 0.28),
    (0.52, 0.32, 0.21),
    (0.38, 0.22, 0.14),
    (0.24, 0.13, 0.08),
    (0.11, 0.06, 0.04),
)
HAIR_TONES: tuple[RGB, ...] = (
    (0.015, 0.012, 0.011),
    (0.045, 0.028, 0.018),
    (0.12, 0.07, 0.035),
    (0.3, 0.18, 0.075),
    (0.35, 0.34, 0.33),
    (0.16, 0.05, 0.025),
)


@dataclass(frozen=True)
class Piece:
    """A surface that moves with the body.

    Attributes:
        points, normals: in rest pose, float32 [N, 3].
        weights: of the segments, float32 [N, S].
        uv: float32 [N, 2]; faces: int32 [T, 3].
        material: its look; faces_key: see :class:`Part`.
        luggage: whether it is put down for sitting and lying.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    weights: NDArray[np.float32]
    uv: NDArray[np.float32]
    faces: NDArray[np.int32]
    material: Material
    faces_key: str = ""
    luggage: bool = False


Outfit = list[Piece]


class Wardrobe(Protocol):
    """Chooses what a body wears."""

    def dress(self, body: Body, rng: np.random.Generator) -> Outfit:
        """An outfit for ``body``."""
        ...


def worn(outfit: Outfit, person: Posed, label: int) -> list[Part]:
    """The outfit on a posed body, as parts of person ``label``."""
    parts = []
    for piece in outfit:
        points, normals = person.skin_with_normals(piece.points, piece.normals, piece.weights)
        parts.append(
            Part(
                points, normals, piece.uv, piece.faces, piece.material, label, True, piece.faces_key
            )
        )
    return parts


def cloth_colour(rng: np.random.Generator) -> RGB:
    """A colour that clothes have: often dark, white or muted, sometimes vivid; linear RGB."""
    kind = rng.random()
    if kind < 0.3:
        grey = float(rng.choice([0.02, 0.05, 0.12, 0.3, 0.75])) * rng.uniform(0.8, 1.2)
        return (grey, grey, grey * rng.uniform(0.9, 1.15))
    saturation = rng.beta(2, 2) if kind < 0.75 else rng.uniform(0.6, 0.95)
    hue = rng.random() if rng.random() < 0.7 else rng.normal(0.61, 0.04)  # denim is common
    rgb = colorsys.hsv_to_rgb(hue % 1.0, saturation, rng.beta(2, 2) * 0.9 + 0.08)
    return tuple(float(v) ** 2.0 for v in rgb)  # type: ignore[return-value]


def scaled(colour: RGB, factor: float) -> RGB:
    """A colour times a factor."""
    return tuple(float(c * factor) for c in colour)  # type: ignore[return-value]


def cloth_material(rng: np.random.Generator) -> Material:
    """Cloth of a random colour, a third of the time with a pattern."""
    patterns = ("stripes_h", "stripes_v", "pin", "bands", "checks", "dots", "camo", "print")
    pattern = f"pattern/{rng.choice(patterns)}" if rng.random() < 0.35 else ""
    return Material(
        texture=str(rng.choice(["fabric/weave", "fabric/knit", "fabric/folds"])),
        tint=scaled(cloth_colour(rng), 1.6),
        pattern=pattern,
        tint2=scaled(cloth_colour(rng), 1.6),
        pattern_scale=float(rng.uniform(1.0, 3.0)),
        gloss=float(rng.uniform(0, 0.03)),
        two_sided=True,
    )


def skin_piece(model: BodyModel, body: Body, material: Material, hidden: frozenset[int]) -> Piece:
    """The skin without the vertices that clothes hide."""
    position, uv, faces = model.surface
    key = ""
    if hidden:
        gone = np.zeros(len(model.weights), dtype=bool)
        gone[list(hidden)] = True
        faces = faces[~gone[position[faces]].any(1)]
    else:
        key = "skin"
    return Piece(
        body.vertices[position],
        body.normals[position],
        model.weights[position],
        model.uv[uv],
        faces,
        material,
        key,
    )


def backpack(body: Body, rng: np.random.Generator) -> Piece:
    """A bag on the back, which moves with the chest."""
    scale = body.height / 1.7
    width, depth, height = rng.uniform((0.24, 0.1, 0.32), (0.34, 0.2, 0.5)) * scale
    chest, neck = (body.joints[SEGMENT_INDEX[name]] for name in ("chest", "neck"))
    middle = (chest + neck) / 2 - (0, 0, 0.1 * scale)
    near = (np.abs(body.vertices[:, 0]) < 0.08) & (np.abs(body.vertices[:, 2] - middle[2]) < 0.1)
    back = float(body.vertices[near, 1].max())
    centre = np.array([0.0, back + depth / 2, middle[2]])
    made = box(centre, np.array([width, depth, height]), Material(), tile=0.4)
    weights = np.zeros((len(made.positions), len(SEGMENTS)), np.float32)
    weights[:, SEGMENT_INDEX["chest"]] = 1
    look = replace(cloth_material(rng), texture="fabric/folds")
    return Piece(made.positions, made.normals, weights, made.uv, made.faces, look, luggage=True)


class HelperWardrobe:
    """Clothes cut from the helper geometry of the base mesh: shirts, trousers, skirts, hair."""

    def __init__(self, model: BodyModel) -> None:
        self._model = model
        strongest = model.weights.argmax(1)
        names = np.array(SEGMENTS)[strongest]
        self._arm = np.array([n.endswith(("upperarm", "forearm", "hand")) for n in names])
        self._leg = np.array([n.endswith(("thigh", "shin", "foot")) for n in names])
        self._foot = np.array([n.endswith("foot") for n in names])
        self._head = names == "head"
        self._left = np.array([n.startswith("l_") for n in names])

    def dress(self, body: Body, rng: np.random.Generator) -> Outfit:
        """Skin, trousers or skirt, shirt, shoes and hair."""
        model = self._model
        tone = np.array(SKIN_TONES[rng.integers(len(SKIN_TONES))]) * rng.uniform(0.85, 1.15)
        skin = Material("skin/a", tint=tuple(tone), gloss=0.04)
        outfit = [skin_piece(model, body, skin, frozenset())]
        outfit.append(
            self._cut(body, "eyes", None, 0.0, Material(tint=(0.3, 0.28, 0.26), gloss=0.2))
        )
        outfit += self._legs_and_shirt(body, rng)
        shoes = Material("fabric/folds", tint=scaled(cloth_colour(rng), 0.7), gloss=0.05)
        outfit.append(self._cut(body, "body", self._foot, 0.009, shoes))
        return outfit + self._hair(body, rng)

    def _legs_and_shirt(self, body: Body, rng: np.random.Generator) -> Outfit:
        down_arm, down_leg, height = self._measures(body)
        sleeve = float(rng.choice([0.25, 0.4, 0.55, 0.97]))
        hem = rng.uniform(-0.3, 0.1)
        collar = rng.uniform(0.88, 1.04)
        leg = float(rng.choice([0.35, 0.55, 0.97, 0.97, 0.97]))
        trunk = ~self._arm & ~self._leg
        trousers = (self._leg & (down_leg < leg)) | (trunk & (height < 0.24))
        shirt = (self._arm & (down_arm < sleeve)) | (
            ~self._arm & (height > hem) & (height < collar)
        )
        pieces = []
        skirt = body.female and rng.random() < 0.3
        if not skirt or rng.random() < 0.3:
            pieces.append(self._cut(body, "tights", trousers, 0.006, cloth_material(rng)))
        if skirt:
            long_enough = down_leg < rng.uniform(0.25, 0.9)
            pieces.append(
                self._cut(body, "skirt", long_enough | ~self._leg, 0.012, cloth_material(rng))
            )
        loose = 0.014 + rng.uniform(0, 0.014)
        pieces.append(self._cut(body, "tights", shirt, loose, cloth_material(rng)))
        return pieces

    def _measures(self, body: Body) -> tuple[NDArray, NDArray, NDArray]:
        """Per vertex: share of the arm and leg above it, and height from hips 0 to neck 1."""

        def along(start: str, end: str) -> NDArray[np.float64]:
            shares = []
            for side in "lr":
                a = body.joints[SEGMENT_INDEX[f"{side}_{start}"]]
                b = body.joints[SEGMENT_INDEX[f"{side}_{end}"]]
                shares.append((body.vertices - a) @ (b - a) / ((b - a) @ (b - a)))
            return np.where(self._left, shares[0], shares[1])

        hip = body.joints[SEGMENT_INDEX["l_thigh"], 2]
        neck = body.joints[SEGMENT_INDEX["neck"], 2]
        height = (body.vertices[:, 2] - hip) / (neck - hip)
        return along("upperarm", "hand"), along("thigh", "foot"), height

    def _hair(self, body: Body, rng: np.random.Generator) -> Outfit:
        tone = HAIR_TONES[4 if body.age > 60 else rng.integers(len(HAIR_TONES))]
        material = Material("hair/a", tint=scaled(tone, 1.5), gloss=0.03, two_sided=True)
        top = body.vertices[self._model.head_top]
        size = top[2] - body.joints[SEGMENT_INDEX["head"], 2]
        back = body.vertices[:, 1] - top[1]
        line = top[2] - size * rng.uniform(0.42, 0.52) + np.clip(-back, -0.03, 0.09) * 1.1
        scalp = self._head & (body.vertices[:, 2] > line)
        pieces = []
        if body.female or rng.random() < 0.9:
            pieces.append(self._cut(body, "body", scalp, rng.uniform(0.006, 0.02), material))
        if body.female and rng.random() < 0.65:
            low = top[2] - rng.uniform(0.25, 0.5)
            pieces.append(self._cut(body, "hair", body.vertices[:, 2] > low, 0.0, material))
        return pieces

    def _cut(
        self,
        body: Body,
        group: str,
        keep: NDArray[np.bool_] | None,
        offset: float,
        material: Material,
    ) -> Piece:
        """Faces of a mesh group whose vertices are all kept, moved outwards by ``offset``."""
        model = self._model
        faces = model.faces[group]
        if keep is not None:
            faces = faces[keep[faces].all(1)]
        used, inverse = np.unique(faces, return_inverse=True)
        rest, normals = body.vertices[used], body.normals[used]
        # Cloth pattern coordinates: front view, one unit a metre.
        uv = np.stack([rest[:, 0] + 0.3 * rest[:, 1], rest[:, 2]], axis=1) * 2
        return Piece(
            rest + normals * np.float32(offset),
            normals,
            model.weights[used],
            uv.astype(np.float32),
            inverse.reshape(-1, 3).astype(np.int32),
            replace(material, two_sided=True),
        )
