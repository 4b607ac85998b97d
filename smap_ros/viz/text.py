"""Smooth text on images: OpenCV's own letters are strokes."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from smap_ros.viz.colors import RGB, bgr

Image = NDArray[np.uint8]


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size=size)
    except TypeError:  # Pillow before 10.1 has no scalable default
        return ImageFont.truetype("DejaVuSans.ttf", size)


@lru_cache(maxsize=512)
def text_mask(text: str, size: int) -> Image:
    """Coverage of a line of text, uint8 [height, width], one line high whatever the letters."""
    font = _font(size)
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("Hgy|")
    shape = (max(1, int(np.ceil(right - left)) + 1), max(1, int(np.ceil(bottom - top)) + 1))
    canvas = PillowImage.new("L", shape)
    ImageDraw.Draw(canvas).text((-left, -top), text, font=font, fill=255)
    return np.asarray(canvas)


def blend(image: Image, mask: Image, x: int, y: int, color: RGB, opacity: float = 1.0) -> None:
    """Paint a colour through a mask at (x, y), in place; what lies outside is cut."""
    height, width = image.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.shape[1], width), min(y + mask.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    alpha = mask[y0 - y : y1 - y, x0 - x : x1 - x, None].astype(np.float32) * (opacity / 255)
    region = image[y0:y1, x0:x1]
    paint = np.array(bgr(color), np.float32)
    region[...] = (region + alpha * (paint - region) + 0.5).astype(np.uint8)


def put_text(
    image: Image, text: str, x: int, y: int, size: int, color: RGB, opacity: float = 1.0
) -> None:
    """Write a line with its top left corner at (x, y), in place."""
    blend(image, text_mask(text, size), x, y, color, opacity)


@lru_cache(maxsize=256)
def plate_mask(width: int, height: int, radius: int) -> Image:
    """A rectangle with round corners, smooth edges, uint8 [height, width]."""
    scale = 4
    mask = np.zeros((height * scale, width * scale), np.uint8)
    r, right, bottom = radius * scale, width * scale - 1, height * scale - 1
    cv2.rectangle(mask, (r, 0), (right - r, bottom), 255, -1)
    cv2.rectangle(mask, (0, r), (right, bottom - r), 255, -1)
    for center in ((r, r), (right - r, r), (r, bottom - r), (right - r, bottom - r)):
        cv2.circle(mask, center, r, 255, -1)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
