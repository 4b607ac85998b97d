"""Imaging faults of real cameras: lens and motion blur, exposure, colour cast, noise, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.virtual.config import SensorSettings

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


def expose(
    rgb: NDArray[np.uint8], settings: SensorSettings, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The picture as a camera would deliver it, uint8 [h, w, 3] of the same colour order."""
    image = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(*settings.blur)))
    if rng.random() < settings.motion_blur_share and settings.motion_blur >= 2:
        image = cv2.filter2D(image, -1, _streak(rng, settings.motion_blur))
    values = image.astype(np.float32)
    gain = np.exp(rng.uniform(*np.log(settings.exposure)))
    cast = 1 + rng.uniform(-settings.cast, settings.cast, 3)
    values *= (gain * cast).astype(np.float32)
    spread = np.float32(rng.uniform(*settings.noise))
    # Shot noise grows with the root of brightness; read noise is constant.
    deviation = spread * (0.5 + 0.06 * np.sqrt(np.maximum(values, 0)))
    values += deviation * _noise(rng, *rgb.shape[:2])
    if rng.random() < settings.gamma_share:
        values = 255 * np.clip(values / 255, 0, 1) ** np.float32(rng.uniform(0.75, 1.35))
    if rng.random() < settings.grey_share:
        values = np.repeat(values.mean(2, keepdims=True), 3, axis=2)
    return np.clip(values, 0, 255).astype(np.uint8)


def _streak(rng: np.random.Generator, longest: float) -> NDArray[np.float32]:
    length = rng.uniform(2, longest)
    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), dtype=np.uint8)
    angle = rng.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    a, b = (tuple(int(round(v)) for v in size // 2 + sign * step) for sign in (-1, 1))
    cv2.line(kernel, a, b, 255, 1, cv2.LINE_AA)
    return (kernel / max(kernel.sum(), 1)).astype(np.float32)


def jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB picture."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
