"""Clothes, hair, shoes, eyes and skins of a MakeHuman data folder.

The folder has ``clothes``, ``hair``, ``skins``, ``eyes`` as MakeHuman's own ``data`` folder
(assets by MakeHuman are CC0). A ``.mhclo`` binds each vertex of a garment to three vertices of
the base mesh with weights and an offset in units of body measures; the ``.mhmat`` next to it
names the texture. Nothing of it is part of this repository.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError, reason
from smap_train.virtual.bodies import Body, BodyModel
from smap_train.virtual.geometry import triangles, unweld, vertex_normals
from smap_train.virtual.outfits import HAIR_TONES, Outfit, Piece, cloth_colour, scaled, skin_piece
from smap_train.virtual.parts import Material
from smap_train.virtual.textures import TextureBank, decoded

# Clothes, hair and skins never used for training, so that tests show unseen ones.
HELD_OUT_ASSETS: frozenset[str] = frozenset(
    {
        *("female_casualsuit02", "female_sportsuit01", "male_casualsuit01", "male_casualsuit03"),
        *("male_worksuit01", "shoes03", "shoes06", "fedora_cocked"),
        *("bob02", "ponytail01", "short02", "short04"),
        *("middleage_asian_male", "old_african_male", "young_caucasian_female2"),
    }
)
_IMAGE_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".tif")
# MakeHuman's axis of a measure -> axis of the body model (y and z change places).
_MEASURE_AXES = {"x": 0, "y": 2, "z": 1}
_CACHED_FITS = 400
# Garments that need no texture of their own.
_HATS = ("fedora", "hat", "cap")
_HAT_SHARE = 0.08


@dataclass(frozen=True)
class Garment:
    """A garment bound to the base mesh.

    Attributes:
        name: folder name, e.g. ``male_casualsuit01``; key: of this one, whatever others there are.
        binding: three base vertices per garment vertex, int [G, 3].
        shares: their weights [G, 3]; offsets: in units of the measures [G, 3] (MakeHuman axes).
        measures: axis -> (vertex, vertex, reference distance).
        hidden: base vertices it covers.
        weights: skinning weights [G, S].
        position, uv, faces: render vertices, see :func:`geometry.unweld`.
        mesh_faces: triangles over the garment's own vertices, for normals.
        texture: name in the texture bank.
    """

    name: str
    key: str
    binding: NDArray[np.intp]
    shares: NDArray[np.float64]
    offsets: NDArray[np.float64]
    measures: dict[str, tuple[int, int, float]]
    hidden: frozenset[int]
    weights: NDArray[np.float32]
    position: NDArray[np.intp]
    uv: NDArray[np.float32]
    faces: NDArray[np.int32]
    mesh_faces: NDArray[np.int32]
    texture: str

    def fitted(self, body: Body) -> NDArray[np.float32]:
        """Garment vertices on a body in rest pose, [G, 3]."""
        rest = body.vertices
        size = np.ones(3)
        for axis, (a, b, reference) in self.measures.items():
            k = _MEASURE_AXES[axis]
            size["xyz".index(axis)] = abs(rest[a, k] - rest[b, k]) / reference
        x, y, z = (self.offsets * size).T
        bound = (rest[self.binding] * self.shares[..., None]).sum(1)
        return (bound + np.stack([x, -z, y], axis=1)).astype(np.float32)


class MakeHumanWardrobe:
    """Outfits made of the garments of one folder."""

    def __init__(
        self, folder: Path, model: BodyModel, textures: TextureBank, split: str = "all"
    ) -> None:
        """Read all garments that have a texture.

        Args:
            split: ``train`` (without :data:`HELD_OUT_ASSETS`), ``held_out`` (only these) or
                ``all``; eyes belong to every split.

        Raises:
            InputError: if the folder lacks clothes, skins or hair for men or women.
        """
        self._model = model
        clothes = _load_all(folder / "clothes", model, textures, split)
        hair = _load_all(folder / "hair", model, textures, split)
        self._shoes = [g for g in clothes if g.name.startswith("shoes")]
        self._suits = {
            sex: [g for g in clothes if g.name.startswith(sex)] for sex in ("male", "female")
        }
        self._hats = [g for g in clothes if g.name.startswith(_HATS)]
        self._hair = {
            "female": hair,
            "male": [g for g in hair if g.name.startswith(("short", "afro"))],
        }
        self._skins = _skins(folder / "skins", textures, split)
        self._eyes = _load_all(folder / "eyes", model, textures, "all")[-1:]
        self._eye_textures = _add_all(folder / "eyes" / "materials", "eye", textures)
        for what, found in (
            ("clothes named male*", self._suits["male"]),
            ("clothes named female*", self._suits["female"]),
            ("skins of men", self._skins["male"]),
            ("skins of women", self._skins["female"]),
        ):
            if not found:
                raise InputError(
                    f"{folder} has no {what} in the split {split!r}; expected a MakeHuman data "
                    "folder with clothes, hair, skins and eyes, each item with its texture"
                )
        self._fits: OrderedDict[tuple[int, str], tuple[NDArray, NDArray]] = OrderedDict()

    def dress(self, body: Body, rng: np.random.Generator) -> Outfit:
        """Skin, eyes, one suit, shoes, hair and sometimes a hat, recoloured at random."""
        sex = "female" if body.female else "male"
        suit = self._suits[sex][rng.integers(len(self._suits[sex]))]
        worn = [(suit, _cloth(suit.texture, rng))]
        if self._shoes:
            shoes = self._shoes[rng.integers(len(self._shoes))]
            worn.append((shoes, Material(shoes.texture, tint=_light(rng), gloss=0.05)))
        if self._hair[sex] and rng.random() < 0.96:
            hair = self._hair[sex][rng.integers(len(self._hair[sex]))]
            worn.append((hair, _hair_material(hair.texture, body, rng)))
        if self._hats and rng.random() < _HAT_SHARE:
            hat = self._hats[rng.integers(len(self._hats))]
            tint = scaled(cloth_colour(rng), 1.6)
            worn.append((hat, Material(hat.texture, tint=tint, two_sided=True)))
        eyes = self._eyes if self._eye_textures else []
        for item in eyes:
            texture = str(rng.choice(self._eye_textures))
            worn.append((item, Material(texture, gloss=0.1, alpha_cut=0.3)))
        skins = self._skins[sex]
        skin = Material(str(skins[rng.integers(len(skins))]), tint=_skin_tint(rng), gloss=0.04)
        hidden = frozenset().union(*(g.hidden for g, _ in worn))
        body_piece = skin_piece(self._model, body, skin, hidden)
        return [body_piece] + [self._piece(g, body, material) for g, material in worn]

    def _piece(self, garment: Garment, body: Body, material: Material) -> Piece:
        key = (body.index, garment.key)
        if key not in self._fits:
            points = garment.fitted(body)
            self._fits[key] = points, vertex_normals(points, garment.mesh_faces)
            if len(self._fits) > _CACHED_FITS:
                self._fits.popitem(last=False)
        points, normals = self._fits[key]
        at = garment.position
        return Piece(
            points[at],
            normals[at],
            garment.weights[at],
            garment.uv,
            garment.faces,
            material,
            garment.key,
        )


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    factor = float(rng.uniform(0.4, 1.2))
    return (factor, factor, factor)


def _skin_tint(rng: np.random.Generator) -> tuple[float, float, float]:
    light = rng.uniform(0.55, 1.15)
    return (light, light * rng.uniform(0.9, 1.03), light * rng.uniform(0.85, 1.03))


def _cloth(texture: str, rng: np.random.Generator) -> Material:
    """The garment's own texture, tinted, recoloured or overprinted."""
    kind = rng.random()
    material = {"texture": texture, "gloss": 0.01, "two_sided": True}
    if kind < 0.4:
        return Material(tint=_light(rng), **material)
    tint = tuple(float(v) for v in rng.uniform(0.35, 1.3, 3))
    if kind < 0.65:
        return Material(tint=tint, **material)
    own = scaled(cloth_colour(rng), 3.0)
    if kind < 0.85:
        return Material(tint=own, grey=0.85, **material)
    pattern = str(rng.choice(["stripes_h", "stripes_v", "checks", "dots", "camo", "print"]))
    return Material(
        tint=own,
        tint2=scaled(cloth_colour(rng), 3.0),
        grey=0.6,
        pattern=f"pattern/{pattern}",
        pattern_scale=float(rng.uniform(2, 6)),
        **material,
    )


def _hair_material(texture: str, body: Body, rng: np.random.Generator) -> Material:
    tone = HAIR_TONES[4 if body.age > 62 else rng.integers(len(HAIR_TONES))]
    return Material(
        texture, tint=scaled(tone, 3.5), grey=0.8, gloss=0.03, alpha_cut=0.35, two_sided=True
    )


def _image_beside(folder: Path, name: str) -> Path | None:
    """The image of that name, in whatever format the folder has it."""
    for suffix in _IMAGE_SUFFIXES:
        path = folder / Path(name).with_suffix(suffix)
        if path.is_file():
            return path
    return None


def _add_all(folder: Path, kind: str, textures: TextureBank) -> list[str]:
    names = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            names.append(f"{kind}/{path.stem}")
            textures.add_file(names[-1], path, 128)
    return names


def _in_split(name: str, split: str) -> bool:
    return split == "all" or (name in HELD_OUT_ASSETS) == (split == "held_out")


def _skins(folder: Path, textures: TextureBank, split: str) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {"male": [], "female": []}
    for path in sorted(folder.rglob("*diffuse*")) if folder.is_dir() else []:
        if path.suffix.lower() not in _IMAGE_SUFFIXES or "suit" in path.parent.name:
            continue
        if not _in_split(path.parent.name, split):
            continue
        name = f"mhskin/{path.relative_to(folder)}"  # folders of skins share names of files
        textures.add_file(name, path)
        out["female" if "female" in path.stem else "male"].append(name)
    return out


def _load_all(folder: Path, model: BodyModel, textures: TextureBank, split: str) -> list[Garment]:
    found = sorted(folder.glob("*/*.mhclo")) if folder.is_dir() else []
    files = [path for path in found if _in_split(path.parent.name, split)]
    return [g for g in (_load(path, model, textures) for path in files) if g is not None]


def _load(path: Path, model: BodyModel, textures: TextureBank) -> Garment | None:
    """A garment, or None if its texture is missing."""
    try:
        head, rows, hidden = _parse_mhclo(path)
        images = _material_images(path.parent / head["material"][0])
        bare = path.parent.name.startswith(_HATS)
        if not bare and not images.keys() & {"diffuseTexture", "aomapTexture"}:
            return None
        uv, faces, uv_faces = _parse_obj(path.parent / head["obj_file"][0])
        measures = {
            key[0]: (int(v[0]), int(v[1]), float(v[2]))
            for key, v in head.items()
            if key.endswith("_scale")
        }
        _check_bound(rows, faces, measures, hidden, len(model.weights))
        position, uv_index, render_faces = unweld(faces, uv_faces)
        uv = uv[uv_index].astype(np.float32)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"can't read the MakeHuman garment {path}: {reason(error)}; remove its folder or "
            "restore it"
        ) from error
    # Folders of clothes and hair share names, and one may hold several garments.
    key = f"garment/{path.parent.parent.name}/{path.parent.name}/{path.stem}"
    if not bare:
        _add_garment_texture(key, images, textures)
    binding = rows[:, :3].astype(np.intp)
    weights = (model.weights[binding] * rows[:, 3:6, None]).sum(1)
    weights = np.clip(weights, 0, None)
    return Garment(
        path.parent.name,
        key,
        binding,
        rows[:, 3:6],
        rows[:, 6:9],
        measures,
        hidden,
        (weights / weights.sum(1, keepdims=True)).astype(np.float32),
        position,
        uv,
        render_faces,
        faces,
        "plain" if bare else key,
    )


def _check_bound(
    rows: NDArray[np.float64],
    faces: NDArray[np.int32],
    measures: dict[str, tuple[int, int, float]],
    hidden: frozenset[int],
    vertices: int,
) -> None:
    """Raise an error of Python's of a garment that isn't bound to a body of so many vertices."""
    ends = [v for a, b, _ in measures.values() for v in (a, b)]
    used = [*ends, *hidden, *(rows[:, :3].ravel() if len(rows) else ())]
    if not used or min(used) < 0 or max(used) >= vertices:
        raise ValueError(f"it is bound to vertices that aren't among the body's {vertices}")
    if not np.isfinite(rows).all() or not all(0 < size < np.inf for *_, size in measures.values()):
        raise ValueError("its weights, offsets or measures are no numbers above 0")
    if faces.min() < 0 or faces.max() >= len(rows):
        raise ValueError(f"its faces have vertices that aren't among the {len(rows)} bound ones")


def _add_garment_texture(name: str, images: dict[str, Path], textures: TextureBank) -> None:
    # Without colours of its own a garment has the shade of its folds, and is tinted.
    textures.add_file(name, images.get("diffuseTexture", images.get("aomapTexture", Path())))
    if images.keys() >= {
        "diffuseTexture",
        "aomapTexture",
    }:  # baked shade of folds, multiplied in once
        colour = textures[name].copy()
        shade = decoded(images["aomapTexture"], cv2.IMREAD_GRAYSCALE)
        shade = cv2.resize(shade, colour.shape[1::-1], interpolation=cv2.INTER_AREA)
        colour[..., :3] = colour[..., :3] * (shade[..., None] / 255.0)
        textures.add(name, colour)


def _material_images(path: Path) -> dict[str, Path]:
    found = {}
    for line in path.read_text(errors="ignore").splitlines() if path.is_file() else []:
        words = line.split()
        if len(words) == 2 and words[0].endswith("Texture"):
            image = _image_beside(path.parent, words[1])
            if image is not None:
                found[words[0]] = image
    return found


def _parse_mhclo(path: Path) -> tuple[dict[str, list[str]], NDArray[np.float64], frozenset[int]]:
    """Header words, rows of (3 vertices, 3 weights, 3 offsets), hidden base vertices."""
    head: dict[str, list[str]] = {}
    rows: list[list[float]] = []
    hidden: set[int] = set()
    section = "head"
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("verts", "delete_verts", "weights"):
            section = words[0]
        elif words[0][0].isalpha():
            head[words[0]] = words[1:]  # header lines may follow the start of a section
        elif section == "verts" and len(words) == 1:
            rows.append([int(words[0])] * 3 + [1, 0, 0, 0, 0, 0])
        elif section == "verts":
            numbers = [float(w) for w in words[:9]]
            rows.append(numbers + [0.0] * (9 - len(numbers)))
        elif section == "delete_verts":
            hidden |= _ranges(words)
    return head, np.array(rows, dtype=np.float64), frozenset(hidden)


def _ranges(words: list[str]) -> set[int]:
    """Numbers of a list such as ``3 7 - 9 12``."""
    out: set[int] = set()
    for k, word in enumerate(words):
        if word == "-":
            out |= set(range(int(words[k - 1]), int(words[k + 1]) + 1))
        else:
            out.add(int(word))
    return out


def _parse_obj(path: Path) -> tuple[NDArray, NDArray[np.int32], NDArray[np.int32]]:
    """Texture coordinates [U, 2], triangles of positions and of texture coordinates [T, 3]."""
    uv: list[list[float]] = []
    faces: list[NDArray] = []
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split()
        if words[:1] == ["vt"]:
            uv.append([float(w) for w in words[1:3]])
        elif words[:1] == ["f"]:
            corners = np.array([[int(v) for v in w.split("/")[:2]] for w in words[1:]]) - 1
            faces.extend(corners[[0, k, k + 1]] for k in range(1, len(corners) - 1))
    stacked = np.array(faces)  # [T, 3, 2]
    return np.array(uv), triangles(stacked[..., 0]), triangles(stacked[..., 1])
