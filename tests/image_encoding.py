"""Raw ROS images made for tests: the other way round of ``smap_ros.images.decode_image``."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def encode_image(image: Image, encoding: str = "bgr8") -> tuple[int, bytes]:
    """Bytes per row and the bytes of uint8 [H, W, 3] bgr; 16-bit samples are little-endian."""
    encoded = _ENCODERS[encoding](image)
    return encoded.shape[1] * encoded[0, 0].nbytes, encoded.tobytes()


def _mono16(image: Image) -> NDArray[np.uint16]:
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return (gray.astype("<u2") << 8).astype("<u2")


def _subsample(image: Image, luma_first: bool) -> Image:
    """4:2:2 with studio range (BT.601, as OpenCV decodes it); pairs share the mean colour."""
    pixels = image[..., ::-1].astype(np.float32)  # rgb
    luma = 16 + pixels @ np.array([65.481, 128.553, 24.966], np.float32) / 255
    pairs = pixels.reshape(image.shape[0], -1, 2, 3).mean(axis=2)
    u = 128 + pairs @ np.array([-37.797, -74.203, 112.0], np.float32) / 255
    v = 128 + pairs @ np.array([112.0, -93.786, -18.214], np.float32) / 255
    first, second = luma[:, 0::2], luma[:, 1::2]
    order = (first, u, second, v) if luma_first else (u, first, v, second)
    packed: Image = np.stack(order, axis=-1).round().clip(0, 255).astype(np.uint8)
    return packed


def _mosaic(image: Image) -> Image:
    """Green, red; blue, green."""
    mosaic = image[..., 1].copy()
    mosaic[0::2, 1::2] = image[0::2, 1::2, 2]
    mosaic[1::2, 0::2] = image[1::2, 0::2, 0]
    return mosaic


def _planes(image: Image) -> Image:
    """Rows of brightness, then rows of U and V in turn for every other pixel and row."""
    height, width = image.shape[:2]
    planar = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    u, v = planar[height:].reshape(2, height // 2, width // 2)
    return np.concatenate([planar[:height], np.stack([u, v], axis=-1).reshape(-1, width)])


def _convert_by(code: int) -> Callable[[Image], Image]:
    return lambda image: cv2.cvtColor(image, code)


_ENCODERS: dict[str, Callable[[Image], NDArray[Any]]] = {
    "bgr8": np.ascontiguousarray,
    "8UC3": np.ascontiguousarray,
    "rgb8": _convert_by(cv2.COLOR_BGR2RGB),
    "bgra8": _convert_by(cv2.COLOR_BGR2BGRA),
    "8UC4": _convert_by(cv2.COLOR_BGR2BGRA),
    "rgba8": _convert_by(cv2.COLOR_BGR2RGBA),
    "mono8": _convert_by(cv2.COLOR_BGR2GRAY),
    "8UC1": _convert_by(cv2.COLOR_BGR2GRAY),
    "mono16": _mono16,
    "16UC1": _mono16,
    "bayer_grbg8": _mosaic,
    "nv12": _planes,
    "yuv422": lambda image: _subsample(image, luma_first=False),
    "uyvy": lambda image: _subsample(image, luma_first=False),
    "yuv422_yuy2": lambda image: _subsample(image, luma_first=True),
    "yuyv": lambda image: _subsample(image, luma_first=True),
}
