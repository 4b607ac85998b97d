"""The colours of people and of their sides, the same in every picture.

A person keeps one hue by track id; left limbs are a light tint of it, right limbs a deep shade.
"""

from __future__ import annotations

import numpy as np

RGB = tuple[int, int, int]

# Twelve hues that stay apart on photographs and on dark grey, neighbours far from each other.
PALETTE: tuple[RGB, ...] = (
    (64, 196, 255),
    (255, 167, 38),
    (118, 230, 130),
    (255, 99, 146),
    (179, 136, 255),
    (255, 221, 64),
    (38, 198, 176),
    (255, 118, 84),
    (100, 149, 255),
    (174, 220, 60),
    (234, 140, 255),
    (214, 178, 120),
)
BACKGROUND: RGB = (24, 26, 30)
PANEL: RGB = (32, 35, 40)
GRID: RGB = (62, 67, 75)
TEXT: RGB = (222, 226, 232)
MUTED: RGB = (148, 155, 166)
OUTLINE: RGB = (18, 19, 22)


def person_color(identity: int | None, order: int = 0) -> RGB:
    """Colour of a person by track id, or by order in the frame when not tracked."""
    return PALETTE[(order if identity is None else identity) % len(PALETTE)]


def side_color(color: RGB, side: str) -> RGB:
    """Shade of a person's colour for ``left``, ``right`` or ``middle`` joints."""
    if side == "left":
        return mix(color, (255, 255, 255), 0.42)
    if side == "right":
        return mix(color, (0, 0, 0), 0.30)
    return color


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """``a`` with a share of ``b`` in [0, 1]."""
    r, g, blue = np.rint(np.multiply(a, 1 - share) + np.multiply(b, share)).astype(int)
    return int(r), int(g), int(blue)


def bgr(color: RGB) -> RGB:
    """Order of channels that OpenCV wants."""
    return color[2], color[1], color[0]


def as_hex(color: RGB) -> str:
    """Colour as matplotlib and HTML write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)
