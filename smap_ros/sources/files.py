"""Image files, alone or in a folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from smap_ros.errors import InputError
from smap_ros.offline.names import BODIES, OWN_PICTURES
from smap_ros.pictures import HEIF_SUFFIXES, printable, read_picture
from smap_ros.sources.base import Frame

LOG = logging.getLogger(__name__)

# HEIF is named, so that a folder's HEIC pictures are skipped with a reason.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".png", ".bmp", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pnm", ".avif",
    *HEIF_SUFFIXES,
)  # fmt: skip
# Pictures to their users, films to us, which a video's reader shows.
FILM_SUFFIXES = (".gif",)
_NAMED = 3  # files in one message


class ImageSource:
    """One image file."""

    live = False
    moving = False
    calibrated = False
    rate: float | None = None
    camera_source = ""
    problem = ""

    def __init__(self, path: Path) -> None:
        self.name = printable(path.name)
        self.count: int | None = 1
        self._path = path

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(read_picture(self._path), None, 0.0, 0, self.name)

    def close(self) -> None:
        """Nothing is held open."""


class FolderSource:
    """The image files of a folder in natural order (``2.png`` before ``10.png``).

    A file that can't be read is skipped with a warning; it keeps its index. Sheet and plot that
    ``smap-ros estimate`` left beside its bodies.json are no images of the folder. Animated GIFs are
    left out with a warning.

    Args:
        path: the folder.
        rate: images per second where they are the frames of a film; None: each is a scene of
            its own.

    Raises:
        InputError: if the folder can't be read or has no image files.
    """

    live = False
    calibrated = False
    camera_source = ""
    problem = ""

    def __init__(self, path: Path, rate: float | None = None) -> None:
        self.rate = rate
        self.moving = rate is not None
        self.name = printable(path.name or str(path))
        self._paths = image_files(path)
        _tell_of_films(path)
        if (path / BODIES).is_file():
            self._paths = [file for file in self._paths if file.name not in OWN_PICTURES]
        self.count: int | None = len(self._paths)
        if not self._paths:
            raise InputError(
                f"folder {path} has no images; expected files that end in "
                + ", ".join(IMAGE_SUFFIXES)
            )

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            try:
                image = read_picture(path)
            except InputError as error:
                LOG.warning("skipped: %s", error)
                continue
            stamp = index / self.rate if self.rate else 0.0
            yield Frame(image, None, stamp, index, printable(path.name))

    def close(self) -> None:
        """Nothing is held open."""


def _tell_of_films(folder: Path) -> None:
    """Say which files that may be taken for pictures are left out."""
    if films := image_files(folder, FILM_SUFFIXES):
        named = ", ".join(printable(film.name) for film in films[:_NAMED])
        more = f" and {len(films) - _NAMED} more" if len(films) > _NAMED else ""
        LOG.warning("left out: %s%s of %s: a film; give it by itself", named, more, folder)


def image_files(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The image files of a folder in natural order, without hidden ones.

    (``._1.jpg`` is what macOS leaves beside ``1.jpg`` in archives and on sticks: no picture.)

    Args:
        folder: where they are.
        suffixes: how their names end, in lower case.
    """
    return sorted(
        (p for p in folder.iterdir() if _is_one(p, suffixes)),
        key=lambda p: _natural(p.name),
    )


def _is_one(path: Path, suffixes: Collection[str]) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in suffixes and path.is_file()


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
