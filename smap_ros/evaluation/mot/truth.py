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
import logging
import zipfile
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
from smap_ros.evaluation.mot.shown import PICTURES, Shown, has_pictures, pictures_of

Float = NDArray[np.float64]

LOG = logging.getLogger(__name__)

TRUTH, INFO, DETECTIONS = f"{LABELS}/gt.txt", "seqinfo.ini", "det/det.txt"
_SECTION = "Sequence"
_RATE = 30.0  # images a second, where nothing says it
_LABELLED = 0.9  # of a film; where labels end before that, labelling may have


@dataclass(frozen=True)
class ClipView:
    """A frame of a clip as predictions ask for it; see :class:`.predictions.Picture`."""

    key: Key
    camera: Camera
    clip: Clip
    number: int
    sequence_name: str

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
    """A film.

    Attributes:
        name: of its folder.
        rate: images per second.
        pictures: in order.
        stamps: of the pictures, seconds from the first.
        clip: name of the video file; empty where pictures are files.
    """

    name: str
    rate: float
    pictures: tuple[MotPicture, ...]
    stamps: tuple[float, ...]
    clip: str = ""


@dataclass(frozen=True)
class _Info:
    """What ``seqinfo.ini`` says; None, or empty, where it doesn't."""

    folder: str = PICTURES
    suffix: str = ""
    rate: float | None = None
    length: int | None = None
    width: int | None = None
    height: int | None = None


def read_mot(path: Path) -> list[MotSequence]:
    """The sequence of a folder, or all sequences in it, by name.

    Raises:
        InputError: if there are none, or a file is missing or malformed, or labels and pictures
            don't belong together.
    """
    folders = [path] if (path / TRUTH).is_file() else []
    folders = folders or sorted(file.parent.parent for file in path.glob(f"*/{TRUTH}"))
    if folders != [path]:
        _warn_of_unlabelled(path, folders)
    if not folders:
        raise InputError(
            f"{path} has no sequences in the MOTChallenge format{_why(path)}; expected a folder "
            f"with {TRUTH} and {PICTURES} or a video, or a folder of such folders"
        )
    return [_read_sequence(folder, alone=len(folders) == 1) for folder in folders]


def _warn_of_unlabelled(path: Path, labelled: Sequence[Path]) -> None:
    """Say so of sequences among others whose labels are missing."""
    others = sorted(path.iterdir()) if path.is_dir() and labelled else []
    names = [
        folder.name
        for folder in others
        if folder.is_dir() and folder not in labelled and has_pictures(folder)
    ]
    if names:
        LOG.warning("%s: %s without %s; left out", path, ", ".join(names), TRUTH)


def _why(path: Path) -> str:
    """What is there instead, as far as others have made that mistake."""
    if not path.exists():
        return ": it isn't there"
    if path.name in Path(TRUTH).parts:
        return ": it is a part of one; give the folder that has it"
    if zipfile.is_zipfile(path):
        return ": it is an archive; unpack it"
    if path.suffix.lower() == ".xml" or next(path.glob("*.xml"), None) is not None:
        return ": CVAT's XML isn't read; export the same task as MOT 1.1"
    if (path / DETECTIONS).is_file() or next(path.glob(f"*/{DETECTIONS}"), None) is not None:
        return f": {DETECTIONS} is what a detector found; test sequences come without labels"
    return ""


def _read_sequence(folder: Path, *, alone: bool) -> MotSequence:
    info = _read_info(folder / INFO)
    shown = pictures_of(folder, info.folder, info.suffix)
    _check_info(folder, info, shown)
    labels = read_labels(folder / TRUTH, shown.count)
    name = folder.resolve().name
    views = _views(name, shown, alone=alone)
    rate = info.rate or shown.rate or _RATE
    own = None if info.rate else shown.stamps
    _warn_of_the_rest(folder, max(labels, default=0), shown.count, rate)
    return MotSequence(
        name,
        rate,
        tuple(_picture(view, labels.get(k, ())) for k, view in enumerate(views, start=1)),
        own or tuple(k / rate for k in range(shown.count)),
        "" if shown.clip is None else shown.clip.name,
    )


def _warn_of_the_rest(folder: Path, last: int, count: int, rate: float) -> None:
    """Say so where nobody seems to have labelled the end of a film."""
    if 0 < last < _LABELLED * count and count - last > rate:
        LOG.warning(
            "%s: labels end at picture %d of %d; those after it count as showing nobody. If it "
            "was labelled no further, cut it there",
            folder, last, count,
        )  # fmt: skip


def _picture(view: Picture, labels: Sequence[Label]) -> MotPicture:
    return MotPicture(
        view,
        np.array([label.box for label in labels], np.float64).reshape(-1, 4),
        np.array([label.id for label in labels], np.int64),
        np.array([label.counted for label in labels], np.bool_),
    )


def _views(name: str, shown: Shown, *, alone: bool) -> list[Picture]:
    camera = guessed_camera(*shown.size)
    if shown.clip is None:
        keys = [file.stem if alone else f"{name}/{file.stem}" for file in shown.files]
        return [View(key, camera, file, name) for key, file in zip(keys, shown.files, strict=True)]
    clip = Clip(shown.clip)
    return [
        ClipView(k if alone else ClipFrame(name, k), camera, clip, k, name)
        for k in range(shown.count)
    ]


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
            folder=fields.get("imDir", "").strip() or PICTURES,
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


def _check_info(folder: Path, info: _Info, shown: Shown) -> None:
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
