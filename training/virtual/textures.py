"""Textures: small procedural ones, photos of the user, images of an asset folder.

A texture is uint8 RGBA [h, w, 4] under a name ``kind/what``; it tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError

Texture = NDArray[np.uint8]
_SIZE = 256
_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def _noise(rng: np.random.Generator, cells: int, octaves: int = 4) -> NDArray[np.float32]:
    """Tiling value noise in [0, 1], float32 [256, 256]."""
    total = np.zeros((_SIZE, _SIZE), dtype=np.float32)
    weight = 0.0
    for octave in range(octaves):
        n = min(cells * 2**octave, _SIZE)
        grid = np.pad(rng.random((n, n), dtype=np.float32), 2, mode="wrap")
        scale = -(-_SIZE // n)
        big = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        tile = big[2 * scale : (n + 2) * scale, 2 * scale : (n + 2) * scale]
        total += cv2.resize(tile, (_SIZE, _SIZE)) * 0.55**octave
        weight += 0.55**octave
    return np.clip(total / weight, 0, 1)


def _rgba(rgb: NDArray[np.floating]) -> Texture:
    """uint8 RGBA of grey [h, w] or colour [h, w, 3] in [0, 1]."""
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, axis=2)
    out = np.full((*rgb.shape[:2], 4), 255, dtype=np.uint8)
    out[..., :3] = np.clip(rgb * 255, 0, 255)
    return out


def _grid_lines(columns: int, rows: int, width: int, shift: bool) -> NDArray[np.bool_]:
    y, x = np.mgrid[0:_SIZE, 0:_SIZE]
    row = y * rows // _SIZE
    x = (x + (row % 2) * (_SIZE // columns // 2)) % _SIZE if shift else x
    return (x % (_SIZE // columns) < width) | (y % (_SIZE // rows) < width)


def _cells(rng: np.random.Generator, columns: int, rows: int, spread: float, shift: bool):
    """Random brightness per tile, [256, 256]."""
    y, x = np.mgrid[0:_SIZE, 0:_SIZE]
    row = y * rows // _SIZE
    x = (x + (row % 2) * (_SIZE // columns // 2)) % _SIZE if shift else x
    values = 1 + spread * rng.uniform(-1, 1, (rows, columns))
    return values[row, x * columns // _SIZE].astype(np.float32)


def _wood(rng: np.random.Generator, planks: int) -> NDArray[np.float32]:
    grain = cv2.resize(_noise(rng, 32, 3)[:, ::8], (_SIZE, _SIZE))
    tone = 0.55 * _cells(rng, 2, planks, 0.18, True) * (0.85 + 0.25 * grain)
    tone[_grid_lines(2, planks, 2, True)] *= 0.55
    return tone[..., None] * np.array([1.15, 0.85, 0.6], dtype=np.float32)


def _tiles(rng: np.random.Generator, columns: int, rows: int, shift: bool, colour, joint: float):
    tone = _cells(rng, columns, rows, 0.08, shift) * (0.8 + 0.3 * _noise(rng, 8))
    image = tone[..., None] * np.asarray(colour, dtype=np.float32)
    image[_grid_lines(columns, rows, 5, shift)] = joint
    return image


def _grass(rng: np.random.Generator) -> NDArray[np.float32]:
    fine, coarse = _noise(rng, 64, 2), _noise(rng, 4)
    return (0.25 + 0.5 * fine + 0.25 * coarse)[..., None] * np.array([0.55, 0.75, 0.3], np.float32)


def _poster(rng: np.random.Generator) -> NDArray[np.float32]:
    image = np.tile(rng.integers(0, 256, 3).astype(np.uint8), (_SIZE, _SIZE, 1))
    for _ in range(int(rng.integers(6, 22))):
        a, b = (tuple(int(v) for v in rng.integers(0, _SIZE, 2)) for _ in range(2))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        kind = rng.integers(4)
        if kind == 0:
            cv2.rectangle(image, a, b, colour, -1)
        elif kind == 1:
            cv2.circle(image, a, int(rng.integers(8, 70)), colour, -1, cv2.LINE_AA)
        elif kind == 2:
            cv2.line(image, a, b, colour, int(rng.integers(2, 16)), cv2.LINE_AA)
        else:
            word = "".join(chr(c) for c in rng.integers(65, 91, 6))
            cv2.putText(image, word, a, cv2.FONT_HERSHEY_SIMPLEX, 1.2, colour, 3, cv2.LINE_AA)
    return image.astype(np.float32) / 255


def _books(rng: np.random.Generator) -> NDArray[np.float32]:
    image = np.full((_SIZE, _SIZE, 3), 0.12, dtype=np.float32)
    for row in range(4):
        x, bottom = 2, (row + 1) * 64 - 6
        while x < _SIZE - 8:
            width, height = int(rng.integers(5, 18)), int(rng.integers(34, 56))
            colour = tuple(float(v) for v in rng.random(3) * 0.9)
            cv2.rectangle(image, (x, bottom - height), (x + width, bottom), colour, -1)
            x += width + int(rng.integers(1, 4))
        image[bottom : bottom + 6] = (0.45, 0.33, 0.2)
    return image


def _windows(rng: np.random.Generator) -> NDArray[np.float32]:
    image = (0.55 + 0.15 * _noise(rng, 8))[..., None] * rng.uniform(0.7, 1.1, 3).astype(np.float32)
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    w, h = _SIZE // columns, _SIZE // rows
    for i in range(columns):
        for j in range(rows):
            x, y = i * w + w // 4, j * h + h // 5
            shade = float(rng.uniform(0.08, 0.5))
            cv2.rectangle(
                image, (x, y), (x + w // 2, y + 3 * h // 5), (shade, shade, shade * 1.2), -1
            )
            cv2.rectangle(image, (x, y), (x + w // 2, y + 3 * h // 5), (0.85,) * 3, 2)
    return image


def _stripes(count: int, duty: float, vertical: bool) -> NDArray[np.float32]:
    ramp = (np.arange(_SIZE) * count / _SIZE) % 1 < duty
    image = np.tile(ramp.astype(np.float32), (_SIZE, 1))
    return image if vertical else image.T


def _checks(count: int) -> NDArray[np.float32]:
    return 0.5 * (_stripes(count, 0.5, True) + _stripes(count, 0.5, False))


def _dots(count: int) -> NDArray[np.float32]:
    y, x = np.mgrid[0:_SIZE, 0:_SIZE] * count / _SIZE % 1 - 0.5
    return (np.hypot(x, y) < 0.28).astype(np.float32)


def _hair(rng: np.random.Generator) -> NDArray[np.float32]:
    return 0.45 + 0.55 * cv2.resize(_noise(rng, 64, 2)[::16], (_SIZE, _SIZE))


def _procedural() -> dict[str, Callable[[np.random.Generator], NDArray[np.floating]]]:
    """Name -> maker. The order seeds each texture: append only."""
    makers: dict[str, Callable[[np.random.Generator], NDArray[np.floating]]] = {
        "plain": lambda r: np.full((_SIZE, _SIZE), 1.0),
        "fabric/weave": lambda r: 0.75 + 0.2 * _noise(r, 128, 1) * _checks(64),
        "fabric/knit": lambda r: 0.7 + 0.25 * _noise(r, 32) - 0.12 * _stripes(64, 0.4, True),
        "fabric/folds": lambda r: 0.62 + 0.38 * _noise(r, 6),
        "skin/a": lambda r: 0.86 + 0.14 * _noise(r, 10),
        "hair/a": _hair,
        "pattern/stripes_h": lambda r: _stripes(8, 0.5, False),
        "pattern/stripes_v": lambda r: _stripes(8, 0.5, True),
        "pattern/pin": lambda r: _stripes(16, 0.15, True),
        "pattern/bands": lambda r: _stripes(2, 0.35, False),
        "pattern/checks": lambda r: _checks(6),
        "pattern/dots": lambda r: _dots(8),
        "pattern/camo": lambda r: (_noise(r, 6, 2) > 0.52).astype(np.float32),
        "pattern/print": lambda r: cv2.cvtColor(_poster(r), cv2.COLOR_RGB2GRAY),
        "floor/wood": lambda r: _wood(r, 8),
        "floor/parquet": lambda r: _wood(r, 4),
        "floor/tiles": lambda r: _tiles(r, 4, 4, False, (0.75, 0.72, 0.66), 0.4),
        "floor/slabs": lambda r: _tiles(r, 2, 4, True, (0.55, 0.55, 0.53), 0.3),
        "floor/carpet": lambda r: 0.4 + 0.35 * _noise(r, 64, 3),
        "floor/concrete": lambda r: 0.42 + 0.3 * _noise(r, 4, 6),
        "floor/checker": lambda r: (
            0.25
            + 0.5
            * np.round(
                _tiles(r, 2, 2, False, (1, 1, 1), 0.4)[..., 0] * 0
                + ((np.indices((_SIZE, _SIZE)) * 2 // _SIZE).sum(0) % 2)
            )
        ),
        "ground/grass": _grass,
        "ground/asphalt": lambda r: 0.25 + 0.2 * _noise(r, 64, 3),
        "ground/gravel": lambda r: (
            (_noise(r, 48, 2) ** 1.5)[..., None] * np.array([0.95, 0.88, 0.78])
        ),
        "ground/paving": lambda r: _tiles(r, 8, 8, True, (0.6, 0.52, 0.46), 0.32),
        "wall/plaster": lambda r: 0.8 + 0.15 * _noise(r, 8, 5),
        "wall/stained": lambda r: 0.55 + 0.45 * _noise(r, 3, 6),
        "wall/brick": lambda r: _tiles(r, 4, 12, True, (0.62, 0.34, 0.26), 0.62),
        "wall/tiles": lambda r: _tiles(r, 8, 8, False, (0.85, 0.88, 0.9), 0.6),
        "wall/panels": lambda r: _wood(r, 2) * 1.2,
        "wall/paper": lambda r: 0.75 - 0.12 * _stripes(16, 0.5, True) + 0.06 * _noise(r, 16),
        "wall/concrete": lambda r: 0.5 + 0.2 * _noise(r, 3, 6) - 0.1 * _grid_lines(2, 2, 3, False),
        "thing/metal": lambda r: 0.55 + 0.2 * cv2.resize(_noise(r, 64, 2)[::16], (_SIZE, _SIZE)),
        "thing/leaves": lambda r: (
            (0.15 + 0.85 * (_noise(r, 24, 2) > 0.5) * _noise(r, 64, 1))[..., None]
            * np.array([0.45, 0.8, 0.3])
        ),
        "thing/cardboard": lambda r: (
            (0.6 + 0.12 * _noise(r, 12))[..., None] * np.array([1.0, 0.8, 0.55])
        ),
    }
    for k in range(4):
        makers[f"thing/books{k}"] = _books
        makers[f"facade/{k}"] = _windows
    for k in range(10):
        makers[f"poster/{k}"] = _poster
    return makers


class TextureBank:
    """Textures by name; made or read when first asked for."""

    def __init__(self, photos: Path | None = None, photo_size: int = 320, seed: int = 0) -> None:
        """Open the bank.

        Args:
            photos: folder of pictures without people, used as backdrops and posters.
            photo_size: longest side they are reduced to.
            seed: of the procedural textures.

        Raises:
            InputError: if the folder holds no picture.
        """
        self._seed = seed
        self._makers = _procedural()
        self._order = list(self._makers)
        self._files: dict[str, tuple[Path, int]] = {}
        self._made: dict[str, Texture] = {}
        if photos is not None:
            found = sorted(p for p in photos.rglob("*") if p.suffix.lower() in _PHOTO_SUFFIXES)
            if not found:
                raise InputError(f"no pictures ({', '.join(_PHOTO_SUFFIXES)}) in {photos}")
            for k, path in enumerate(found):
                self.add_file(f"photo/{k}", path, photo_size)

    def add_file(self, name: str, path: Path, size: int = 512) -> None:
        """Let ``name`` stand for an image file, reduced to ``size`` on its longest side."""
        self._files[name] = (path, size)

    def add(self, name: str, texture: Texture) -> None:
        """Let ``name`` stand for a texture."""
        self._made[name] = texture

    def names(self, kind: str) -> list[str]:
        """All names that start with ``kind/``, in a fixed order."""
        # Made textures come last and once: the list must not depend on what was used before.
        every = dict.fromkeys((*self._order, *self._files, *self._made))
        return [name for name in every if name.startswith(kind + "/")]

    def __getitem__(self, name: str) -> Texture:
        """The texture, uint8 [h, w, 4].

        Raises:
            InputError: if its file can't be read.
        """
        if name not in self._made:
            if name in self._files:
                texture = _read(*self._files[name])
            else:
                rng = np.random.default_rng([7 + self._seed, self._order.index(name)])
                texture = _rgba(self._makers[name](rng))
            self._made[name] = texture
        return self._made[name]


def decoded(path: Path, flags: int) -> NDArray[np.uint8]:
    """An image file as OpenCV's ``imdecode`` gives it; ``imread`` crashes on some names.

    Raises:
        InputError: if it isn't an image.
    """
    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:  # of too many pixels
        image = None
    if image is None:
        raise InputError(f"can't read the image {path}; remove it or replace it")
    return image


def _read(path: Path, size: int) -> Texture:
    image = decoded(path, cv2.IMREAD_UNCHANGED)
    if image.ndim == 2 or image.shape[2] != 4:  # 8 bits, and the way up that the camera noted
        image = decoded(path, cv2.IMREAD_COLOR)
    elif image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    scale = size / max(image.shape[:2])
    if scale < 1:
        y, x = (max(scale, 1 / side) for side in image.shape[:2])  # a pixel is left of each side
        image = cv2.resize(image, None, fx=x, fy=y, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGBA)
