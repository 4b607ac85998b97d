"""The worst cases as one picture: the true and the predicted person on their photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.viz.colors import BACKGROUND, MUTED, PALETTE, RGB, TEXT, bgr
from smap_ros.viz.contact_sheet import Cell, contact_sheet
from smap_ros.viz.draw import draw_body
from smap_ros.viz.text import blend, plate_mask, put_text, text_mask

Image = NDArray[np.uint8]

CASES = 24
TRUE: RGB = PALETTE[2]
FOUND: RGB = PALETTE[1]

_CELL = (380, 285)  # width and height, pixels
_COLUMNS = 6
_AROUND = 1.5  # size of the part shown, over that of the person
_SMALLEST = 64.0  # width of the part shown, pixels of the photo
_HEADER = 44


@dataclass(frozen=True)
class Case:
    """One place of the gallery.

    Attributes:
        caption: what is wrong.
        index: of the picture in its set; pictures are read in this order.
        read: gives the picture, uint8 [H, W, 3] bgr.
        true, found: the two people, or None where there is none.
        others: further true people, for orientation.
    """

    caption: str
    index: int
    read: Callable[[], Image]
    true: Body | None
    found: Body | None
    others: tuple[Body, ...] = ()

    @property
    def people(self) -> tuple[int, int]:
        """Tells apart who is shown."""
        return id(self.true), id(self.found)


def take_turns(kinds: Sequence[Sequence[Case]], count: int = CASES) -> list[Case]:
    """Up to ``count`` cases, as many of each kind as of the others while it has any, kind by kind.

    Args:
        kinds: cases of each kind, the worst first. People that two kinds have are taken once.
    """
    queues = [iter(kind) for kind in kinds]
    taken: list[list[Case]] = [[] for _ in kinds]
    used: set[tuple[int, int]] = set()
    while len(used) < count:
        before = len(used)
        for queue, cases in zip(queues, taken, strict=True):
            case = next((case for case in queue if case.people not in used), None)
            if case is not None and len(used) < count:
                cases.append(case)
                used.add(case.people)
        if len(used) == before:
            break
    return [case for cases in taken for case in cases]


def gallery(cases: Sequence[Case], title: str) -> Image:
    """The cases in reading order under a title and a legend.

    Args:
        cases: at least one.

    Returns:
        uint8 [H, W, 3], bgr.

    Raises:
        InputError: if there are no cases, or a picture can't be read.
    """
    cells: dict[int, Cell] = {}
    # Frames of films are fast only in order.
    for place in sorted(range(len(cases)), key=lambda k: cases[k].index):
        cells[place] = Cell(_view(cases[place]), cases[place].caption)
    sheet = contact_sheet([cells[k] for k in range(len(cases))], columns=_COLUMNS)
    header = np.full((_HEADER, sheet.shape[1], 3), bgr(BACKGROUND), np.uint8)
    x = 10
    for text, color, size in ((title, TEXT, 17), ("true", TRUE, 15), ("predicted", FOUND, 15)):
        if color != TEXT:
            blend(header, plate_mask(18, 6, 3), x, 22, color)
            x += 26
        put_text(header, text, x, 14, size, TEXT if color == TEXT else MUTED)
        x += text_mask(text, size).shape[1] + 28
    return np.concatenate([header, sheet])


def _view(case: Case) -> Image:
    """The part of the picture around the case, with its people, at the size of a cell."""
    image = case.read()
    people = [
        (body, ink) for body, ink in ((case.true, TRUE), (case.found, FOUND)) if body is not None
    ]
    corner, scale = _part([body for body, _ in people], image.shape[1], image.shape[0])
    view = _cut(image, corner, scale)
    # Pixel centres have integer coordinates.
    shift = (0.5 - corner) * scale - 0.5
    for body, ink in (*((other, TRUE) for other in case.others), *people):
        moved = (body.joints_2d * scale + shift).astype(np.float32)
        draw_body(view, replace(body, joints_2d=moved), ink)
    return view


def _cut(image: Image, corner: NDArray[np.float64], scale: float) -> Image:
    """A cell's worth of a picture from a corner on, enlarged."""
    shrink = np.ones(2)
    if scale < 1:  # warping alone would skip pixels
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        shrink = np.array(size) / image.shape[1::-1]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    rest = scale / shrink
    shift = 0.5 * rest - corner * scale - 0.5
    matrix = np.array([[rest[0], 0, shift[0]], [0, rest[1], shift[1]]])
    view = cv2.warpAffine(image, matrix, _CELL, borderValue=bgr(BACKGROUND))
    return view.astype(np.uint8, copy=False)


def _part(people: Sequence[Body], width: int, height: int) -> tuple[NDArray[np.float64], float]:
    """Top left corner of the part of a picture to show, and its enlargement."""
    points = np.concatenate([body.joints_2d for body in people]).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    size = np.array([width, height], np.float64)
    points = np.clip(points, 0, size) if len(points) else np.array([[0.0, 0.0], size])
    low, high = points.min(axis=0), points.max(axis=0)
    ratio = _CELL[0] / _CELL[1]
    across = max(_SMALLEST, _AROUND * (high[0] - low[0]), _AROUND * ratio * (high[1] - low[1]))
    part = np.array([across, across / ratio])
    corner = (low + high) / 2 - part / 2
    # Within the picture where it is large enough, else the picture in the middle.
    inside = np.clip(corner, 0, np.maximum(size - part, 0))
    return np.where(part > size, (size - part) / 2, inside), _CELL[0] / across
