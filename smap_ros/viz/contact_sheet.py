"""Many frames on one picture, to judge a video at a glance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.viz.colors import BACKGROUND, OUTLINE, TEXT, bgr
from smap_ros.viz.draw import DrawStyle, draw_resized
from smap_ros.viz.text import blend, plate_mask, put_text, text_mask

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """One picture of the sheet: the thumbnail, and its caption."""

    image: Image
    caption: str


class FrameSampler:
    """Keeps about ``count`` evenly spaced thumbnails of a stream whose length isn't known.

    Every k-th frame is kept; when twice as many have gathered, k doubles and every second
    kept one goes. Memory stays bounded whatever the length.

    Args:
        count: thumbnails wanted in the end.
        width: their width in pixels.
    """

    def __init__(self, count: int = 40, width: int = 400) -> None:
        self._count = count
        self._width = width
        self._every = 1
        self._seen = 0
        self._cells: list[Cell] = []

    def add(self, image: Image, frame: BodyFrame, caption: str = "") -> None:
        """Hand over the next frame and its picture, uint8 [H, W, 3] without drawings."""
        if self._seen % self._every == 0:
            style = DrawStyle(labels=False)
            # No taller than twice as wide: a strip one pixel wide would become a tower.
            height, width = image.shape[:2]
            width = max(1, min(self._width, 2 * self._width * width // height))
            self._cells.append(Cell(draw_resized(image, frame, width, style), caption))
            if len(self._cells) >= 2 * self._count:
                self._cells = self._cells[::2]
                self._every *= 2
        self._seen += 1

    def cells(self) -> list[Cell]:
        """At most ``count`` thumbnails, evenly spaced from the first to the last kept."""
        if len(self._cells) <= self._count:
            return list(self._cells)
        picks = np.linspace(0, len(self._cells) - 1, self._count).round().astype(int)
        return [self._cells[k] for k in picks]


def contact_sheet(cells: list[Cell], columns: int | None = None) -> Image:
    """A grid of thumbnails in reading order.

    Args:
        cells: thumbnails of any sizes; each is fitted into the first one's.
        columns: per row; None makes the sheet about as wide as 16:10.

    Raises:
        InputError: if there are no cells.
    """
    if not cells:
        raise InputError("a contact sheet needs at least one frame, got none")
    height, width = cells[0].image.shape[:2]
    if columns is None:
        columns = max(1, round(math.sqrt(len(cells) * 1.6 * height / width)))
    columns = min(columns, len(cells))
    gap = 6
    rows = math.ceil(len(cells) / columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    sheet = np.full(shape, bgr(BACKGROUND), np.uint8)
    for k, cell in enumerate(cells):
        y, x = gap + k // columns * (height + gap), gap + k % columns * (width + gap)
        _place(sheet[y : y + height, x : x + width], cell)
    return sheet


def _place(region: Image, cell: Cell) -> None:
    """Fit a thumbnail into its place and write its caption."""
    height, width = region.shape[:2]
    image = cell.image
    if image.shape[:2] != (height, width):
        scale = min(width / image.shape[1], height / image.shape[0])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    region[top : top + image.shape[0], left : left + image.shape[1]] = image
    if cell.caption:
        mask = text_mask(cell.caption, 13)
        blend(region, plate_mask(mask.shape[1] + 10, mask.shape[0] + 4, 4), 4, 4, OUTLINE, 0.72)
        put_text(region, cell.caption, 9, 6, 13, TEXT)
