"""The pictures of a sequence, and whether it is clear which of them a label is of."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_ros.errors import InputError
from smap_ros.evaluation.common.clips import VIDEOS
from smap_ros.pictures import read_picture
from smap_ros.sources import IMAGE_SUFFIXES
from smap_ros.sources.files import image_files
from smap_ros.sources.video import VideoSource

LOG = logging.getLogger(__name__)

PICTURES = "img1"


@dataclass(frozen=True)
class Shown:
    """The pictures of a sequence: image files, or a clip.

    Attributes:
        files: empty where there is a clip.
        clip: None where there are files.
        count: of the pictures.
        size: width and height, pixels.
        rate: pictures a second on average, where it is known.
        stamps: seconds from the first one, where they are known and only ascend.
    """

    files: Sequence[Path]
    clip: Path | None
    count: int
    size: tuple[int, int]
    rate: float | None = None
    stamps: tuple[float, ...] | None = None


def pictures_of(folder: Path, pictures: str, suffix: str) -> Shown:
    """Look for a sequence's pictures.

    Args:
        folder: of the sequence.
        pictures: the folder in it that has them, unless they are a clip.
        suffix: of the pictures' names, empty for any.

    Raises:
        InputError: if there are none, or one is missing, or it can't be told which they are.
    """
    there, suffixes = folder / pictures, (suffix,) if suffix else IMAGE_SUFFIXES
    files = image_files(there, suffixes) if there.is_dir() else []
    if files:
        _check_names(files)
        height, width = read_picture(files[0]).shape[:2]
        return Shown(files, None, len(files), (width, height))
    clips = image_files(folder, VIDEOS)
    if not clips:
        raise InputError(
            f"{folder} has no pictures; expected {pictures}/000001{suffix or '.jpg'} and so on, or "
            "a video file"
        )
    if len(clips) > 1:
        names = ", ".join(file.name for file in clips)
        raise InputError(
            f"{folder} has {len(clips)} videos ({names}); expected the one that is labelled: move "
            "the others elsewhere"
        )
    source = VideoSource(clips[0], repeatable=True)  # as Clip reads it
    survey = source.survey()
    stamps = tuple(stamp - survey.stamps[0] for stamp in survey.stamps)
    ascend = all(a < b for a, b in itertools.pairwise(stamps))
    count = len(stamps)
    return Shown((), clips[0], count, survey.size, source.rate, stamps if ascend else None)


def has_pictures(folder: Path) -> bool:
    """Whether a folder looks like a sequence's."""
    return (folder / PICTURES).is_dir() or bool(image_files(folder, VIDEOS))


def _check_names(files: Sequence[Path]) -> None:
    """Refuse pictures of which one isn't there, or whose order isn't clear.

    Labels would be of others. A name that is a number is the picture's; others are counted in their
    order, as CVAT does, which sorts by letters unless told otherwise, and people by number.
    """
    folder = files[0].parent
    if all(file.stem.isdecimal() for file in files):
        _check_numbers(files)
        return
    by_letters = sorted(files, key=lambda file: file.name)
    for mine, other in zip(files, by_letters, strict=True):
        if mine != other:
            raise InputError(
                f"{folder}: by numbers {mine.name} comes before {other.name}, by letters after it, "
                "so it can't be told which picture a label is of; expected names in which both "
                "orders are the same: give all numbers as many digits (000001) and lower-case names"
            )
    gap = _gap(files)
    if gap is not None:
        LOG.warning(
            "%s: %s is followed by %s; pictures are counted in their order, so labels of any "
            "picture left out would be taken for those of the next",
            folder, *(file.name for file in gap),
        )  # fmt: skip


def _check_numbers(files: Sequence[Path]) -> None:
    for number, file in enumerate(files, start=1):
        if int(file.stem) != number:
            raise InputError(
                f"{file.parent} has {file.name} as picture {number}; expected numbers from 1 "
                f"without a gap: {number:0{len(file.stem)}d}{file.suffix} is missing, or they "
                "must be renamed"
            )


def _gap(files: Sequence[Path]) -> tuple[Path, Path] | None:
    """The first two whose numbers are farther apart than others'; None where names aren't such."""
    parts = [re.fullmatch(r"(.*?)(\d+)", file.stem) for file in files]
    named = [part.groups() for part in parts if part is not None]
    if len(named) < len(files) or len({prefix for prefix, _ in named}) > 1:
        return None
    steps = [int(b) - int(a) for (_, a), (_, b) in itertools.pairwise(named)]
    far = next((k for k, step in enumerate(steps) if step > min(steps)), None)
    return None if far is None else (files[far], files[far + 1])
