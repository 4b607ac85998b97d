"""People labelled by boxes in the MOTChallenge format (MOT15 to MOT20, CVAT's "MOT 1.1").

A sequence is a folder with ``gt/gt.txt``, pictures ``img1/000001.jpg``... (or one video file, which
is what somebody who labelled it in CVAT has) and maybe ``seqinfo.ini``. A line of ``gt.txt`` is
frame (from 1), identity, left, top, width, height, considered (0: need not be found), and then
class and visibility (MOT16 and later, CVAT), or x, y, z (MOT15), or nothing. Classes are those of
``gt/labels.txt`` where it is there, counted from 1, and else MOTChallenge's.

Pixels are counted from 1 in MOTChallenge and from 0 in CVAT; boxes of people are not so exact that
half a pixel to either side would matter, so both are taken as they are.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import InputError, reason
from smap_ros.evaluation.common.clips import Clip
from smap_ros.evaluation.common.predictions import ClipFrame, Key, Picture
from smap_ros.evaluation.common.views import View, guessed_camera
from smap_ros.evaluation.mot.labels import LABELS, Label, read_labels
from smap_ros.pictures import read_picture
from smap_ros.sources import IMAGE_SUFFIXES, open_source
from smap_ros.sources.files import image_files

Float = NDArray[np.float64]

TRUTH, INFO = f"{LABELS}/gt.txt", "seqinfo.ini"
_PICTURES = "img1"
_SECTION = "Sequence"
_RATE = 30.0  # images a second, where nothing says it
_VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")


@dataclass(frozen=True)
class ClipView:
    """A frame of a clip as predictions ask for it; see :class:`.predictions.Picture`."""

    key: Key
    camera: Camera
    clip: Clip
    number: int

    def image(self) -> NDArray[np.uint8]:
        """The frame, uint8 [H, W, 3] bgr.

        Raises:
            InputError: if the film can't be read as far.
        """
        return self.clip.image(self.number)


@dataclass(frozen=True)
class MotPicture:
    """One picture and its labels.

    Attributes:
        view: the picture.
        boxes: float64 [P, 4]: left, top, width, height, pixels, maybe beyond the picture.
        ids: int64 [P], identities; negative where a label has none.
        counted: bool [P], who must be found. The others need not be.
    """

    view: Picture
    boxes: Float
    ids: NDArray[np.int64]
    counted: NDArray[np.bool_]


@dataclass(frozen=True)
class MotSequence:
    """A film: the name of its folder, images per second, and its pictures in order."""

    name: str
    rate: float
    pictures: tuple[MotPicture, ...]


@dataclass(frozen=True)
class _Info:
    """What ``seqinfo.ini`` says; None, or empty, where it doesn't."""

    folder: str = _PICTURES
    suffix: str = ""
    rate: float | None = None
    length: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class _Shown:
    """The pictures of a sequence: image files, or a clip; their size and rate."""

    files: Sequence[Path]
    clip: Path | None
    count: int
    size: tuple[int, int]
    rate: float | None = None


def read_mot(path: Path) -> list[MotSequence]:
    """The sequence of a folder, or all sequences in it, by name.

    Raises:
        InputError: if there are none, or a file is missing or malformed, or labels and pictures
            don't belong together.
    """
    folders = [path] if (path / TRUTH).is_file() else []
    folders = folders or sorted(file.parent.parent for file in path.glob(f"*/{TRUTH}"))
    if not folders:
        raise InputError(
            f"{path} has no sequences in the MOTChallenge format; expected a folder with {TRUTH} "
            f"and {_PICTURES} or a video, or a folder of such folders"
        )
    return [_read_sequence(folder, alone=len(folders) == 1) for folder in folders]


def _read_sequence(folder: Path, *, alone: bool) -> MotSequence:
    info = _read_info(folder / INFO)
    shown = _shown(folder, info)
    _check_info(folder, info, shown)
    labels = read_labels(folder / TRUTH, shown.count)
    name = folder.resolve().name
    views = _views(name, shown, alone=alone)
    return MotSequence(
        name,
        info.rate or shown.rate or _RATE,
        tuple(_picture(view, labels.get(k, ())) for k, view in enumerate(views, start=1)),
    )


def _picture(view: Picture, labels: Sequence[Label]) -> MotPicture:
    return MotPicture(
        view,
        np.array([label.box for label in labels], np.float64).reshape(-1, 4),
        np.array([label.id for label in labels], np.int64),
        np.array([label.counted for label in labels], np.bool_),
    )


def _views(name: str, shown: _Shown, *, alone: bool) -> list[Picture]:
    camera = guessed_camera(*shown.size)
    if shown.clip is None:
        keys = [file.stem if alone else f"{name}/{file.stem}" for file in shown.files]
        return [View(key, camera, file) for key, file in zip(keys, shown.files, strict=True)]
    clip = Clip(shown.clip)
    return [
        ClipView(k if alone else ClipFrame(name, k), camera, clip, k) for k in range(shown.count)
    ]


def _shown(folder: Path, info: _Info) -> _Shown:
    """Look for a sequence's pictures.

    Raises:
        InputError: if there are none, or one is missing, or it can't be told which they are.
    """
    pictures = folder / info.folder
    suffixes = (info.suffix,) if info.suffix else IMAGE_SUFFIXES
    files = image_files(pictures, suffixes) if pictures.is_dir() else []
    if files:
        _check_names(files)
        height, width = read_picture(files[0]).shape[:2]
        return _Shown(files, None, len(files), (width, height))
    clips = image_files(folder, _VIDEOS)
    if not clips:
        raise InputError(
            f"{folder} has no pictures; expected {info.folder}/000001{info.suffix or '.jpg'} and "
            "so on, or a video file"
        )
    if len(clips) > 1:
        names = ", ".join(file.name for file in clips)
        raise InputError(
            f"{folder} has {len(clips)} videos ({names}); expected the one that is labelled: move "
            "the others elsewhere"
        )
    # What a file's header says of the number of its frames is no more than an estimate.
    source = open_source(str(clips[0]))
    count, size = 0, (0, 0)
    for frame in source:
        count, size = frame.index + 1, (frame.image.shape[1], frame.image.shape[0])
    return _Shown((), clips[0], count, size, source.rate)


def _check_names(files: Sequence[Path]) -> None:
    """Refuse numbered pictures of which one isn't there: labels would be of others.

    Pictures with other names are counted in their order, as CVAT does.
    """
    if not all(file.stem.isdecimal() for file in files):
        return
    for number, file in enumerate(files, start=1):
        if int(file.stem) != number:
            raise InputError(
                f"{file.parent} has {file.name} as picture {number}; expected numbers from 1 "
                f"without a gap: {number:0{len(file.stem)}d}{file.suffix} is missing, or they "
                "must be renamed"
            )


def _read_info(path: Path) -> _Info:
    """Read ``seqinfo.ini``; nothing is known without one.

    Raises:
        InputError: if it is malformed.
    """
    if not path.is_file():
        return _Info()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        fields = parser[_SECTION]
        suffix = fields.get("imExt", "").strip().lower()
        return _Info(
            folder=fields.get("imDir", _PICTURES),
            suffix=suffix if not suffix or suffix.startswith(".") else f".{suffix}",
            rate=_positive(fields, "frameRate"),
            length=_whole(fields, "seqLength"),
            width=_whole(fields, "imWidth"),
            height=_whole(fields, "imHeight"),
        )
    except (OSError, ValueError, KeyError, configparser.Error) as error:
        why = " ".join(reason(error).split())  # configparser writes several lines
        raise InputError(
            f"{path} is malformed ({why}); expected [{_SECTION}] with imDir, frameRate, "
            "seqLength, imWidth, imHeight and imExt"
        ) from error


def _positive(fields: Mapping[str, str], name: str) -> float | None:
    if name not in fields:
        return None
    value = float(fields[name])
    if not 0 < value < np.inf:
        raise ValueError(f"{name} is {fields[name]}")
    return value


def _whole(fields: Mapping[str, str], name: str) -> int | None:
    value = _positive(fields, name)
    if value is not None and not value.is_integer():
        raise ValueError(f"{name} is {fields[name]}")
    return None if value is None else int(value)


def _check_info(folder: Path, info: _Info, shown: _Shown) -> None:
    """Refuse pictures that aren't those that ``seqinfo.ini`` speaks of."""
    if info.length not in (None, shown.count):
        raise InputError(
            f"{folder / INFO} says seqLength {info.length}, but there are {shown.count} pictures; "
            "copy the sequence again, or correct it"
        )
    stated = (info.width or shown.size[0], info.height or shown.size[1])
    if stated != shown.size:
        raise InputError(
            f"{folder / INFO} says {stated[0]}x{stated[1]} px, but the first picture is "
            f"{shown.size[0]}x{shown.size[1]} px; labels are for the former: give pictures of "
            "that size"
        )
