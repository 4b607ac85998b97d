"""Imaging faults of real cameras: lens and motion blur, exposure, colour cast, noise, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.config import SensorSettings

_TILE = 1024
_tiles: list[NDArray[np.float32]] = []


def _noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Unit normal noise [h, w, 3] cut from a fixed field: drawing it anew costs 6 ms."""
    if not _tiles:
        field = np.random.default_rng(11).standard_normal((_TILE, _TILE, 3), dtype=np.float32)
        _tiles.append(field)
    y, x = rng.integers(0, _TILE, 2)
    rows = (np.arange(height) + y) % _TILE
    columns = (np.arange(width) + x) % _TILE
    return _tiles[0][rows[:, None], columns]


@dataclass(frozen=True)
class Sensor:
    """One camera's faults, the same for all pictures of a sequence.

    Attributes:
        blur: sigma of the lens blur, pixels; streak: kernel of the motion blur, or None.
        gain: exposure and colour cast, float32 [3]; noise: standard deviation, grey levels.
        gamma: exponent of the tone curve; grey: whether there is no colour.
        quality: of the JPEG encoder.
    """

    blur: float
    streak: NDArray[np.float32] | None
    gain: NDArray[np.float32]
    noise: float
    gamma: float
    grey: bool
    quality: int

    @classmethod
    def draw(cls, settings: SensorSettings, rng: np.random.Generator) -> Sensor:
        """A camera within the limits of ``settings``."""
        moved = rng.random() < settings.motion_blur_share and settings.motion_blur >= 2
        gain = np.exp(rng.uniform(*np.log(settings.exposure)))
        cast = 1 + rng.uniform(-settings.cast, settings.cast, 3)
        toned = rng.random() < settings.gamma_share
        low, high = settings.jpeg_quality
        return cls(
            blur=float(rng.uniform(*settings.blur)),
            streak=_streak(rng, settings.motion_blur) if moved else None,
            gain=(gain * cast).astype(np.float32),
            noise=float(rng.uniform(*settings.noise)),
            gamma=float(rng.uniform(0.75, 1.35)) if toned else 1.0,
            grey=bool(rng.random() < settings.grey_share),
            quality=int(rng.integers(low, high + 1)),
        )

    def expose(self, rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """The picture as the camera delivers it, uint8 RGB [h, w, 3]; ``rng`` for the noise."""
        image = cv2.GaussianBlur(rgb, (0, 0), self.blur) if self.blur > 0 else rgb
        if self.streak is not None:
            image = cv2.filter2D(image, -1, self.streak)
        values = image.astype(np.float32)
        values *= self.gain
        # Shot noise grows with the root of brightness; read noise is constant.
        deviation = np.float32(self.noise) * (0.5 + 0.06 * np.sqrt(np.maximum(values, 0)))
        values += deviation * _noise(rng, *rgb.shape[:2])
        if self.gamma != 1:
            values = 255 * np.clip(values / 255, 0, 1) ** np.float32(self.gamma)
        if self.grey:
            values = np.repeat(values.mean(2, keepdims=True), 3, axis=2)
        return np.clip(values, 0, 255).astype(np.uint8)

    def jpeg(self, rgb: NDArray[np.uint8]) -> bytes:
        """JPEG bytes of an RGB picture."""
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1].tobytes()


def _streak(rng: np.random.Generator, longest: float) -> NDArray[np.float32]:
    length = rng.uniform(2, longest)
    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), dtype=np.uint8)
    angle = rng.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    a, b = (tuple(int(round(v)) for v in size // 2 + sign * step) for sign in (-1, 1))
    cv2.line(kernel, a, b, 255, 1, cv2.LINE_AA)
    return (kernel / max(kernel.sum(), 1)).astype(np.float32)
