"""Image files, alone or in a folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.images import check_image
from smap_ros.sources.base import Frame

LOG = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 [H, W, 3] bgr, turned upright as its EXIF says.

    Raises:
        InputError: if the file is unreadable or isn't an image.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    image = None
    if data.size:
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        except cv2.error as error:
            raise InputError(f"{path} can't be decoded: {error.err or error}") from error
    if image is None:
        raise InputError(
            f"{path} ({data.size} bytes) isn't an image that can be read; expected one of "
            + ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        )
    upright = image.astype(np.uint8, copy=False)
    check_image(upright)
    return upright


class ImageSource:
    """One image file."""

    live = False
    moving = False
    calibrated = False
    rate: float | None = None
    camera_source = ""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.count: int | None = 1
        self._path = path

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(read_image(self._path), None, 0.0, 0, self.name)

    def close(self) -> None:
        """Nothing is held open."""


class FolderSource:
    """The image files of a folder in natural order (``2.png`` before ``10.png``).

    A file that can't be read is skipped with a warning; it keeps its index.

    Raises:
        InputError: if the folder has no image files.
    """

    live = False
    moving = False
    calibrated = False
    rate: float | None = None
    camera_source = ""

    def __init__(self, path: Path) -> None:
        self.name = path.name or str(path)
        self._paths = sorted(
            (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()),
            key=lambda p: _natural(p.name),
        )
        self.count: int | None = len(self._paths)
        if not self._paths:
            raise InputError(
                f"folder {path} has no images; expected files that end in "
                + ", ".join(IMAGE_SUFFIXES)
            )

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            try:
                image = read_image(path)
            except InputError as error:
                LOG.warning("skipped: %s", error)
                continue
            yield Frame(image, None, 0.0, index, path.name)

    def close(self) -> None:
        """Nothing is held open."""


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
