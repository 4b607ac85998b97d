"""The files of MuPoTS-3D, and results in the forms that are compared with them.

``MultiPersonTestSet/TS1`` to ``TS20``, each with ``annot.mat`` (cell array ``annotations``, frames
x people, of ``annot2`` [2, 17], ``annot3`` and ``univ_annot3`` [3, 17], ``isValidFrame``),
``occlusion.mat`` (``occlusion_labels``, the same cells of [1, 17]) and ``img_000000.jpg``...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError, reason
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.views import View
from smap_ros.evaluation.mupots.matfiles import read_mat
from smap_ros.evaluation.mupots.measures import (
    ORIGINAL_RULES,
    SMAP_RULES,
    Annotated,
    Detected,
    Rules,
)
from smap_ros.skeletons import MPI15, MPI17, convert

Float = NDArray[np.float64]

_ANNOTATIONS, _OCCLUSION = "annot.mat", "occlusion.mat"
_SQUARE = (2048, 2048)  # TS1 to TS5
_WIDE = (1920, 1080)  # TS6 to TS20
_LAST_SQUARE = 5
# Files that the official implementations leave: (2D, 3D).
_SMAP_FILES = ("pose2d.mat", "pose3d.mat")
_ORIGINAL_FILES = ("preds_2d_kpt_mupots.mat", "preds_3d_kpt_mupots.mat")
_SMAP_VARIABLES = ("preds_2d_kpt", "preds_3d_kpt")


@dataclass(frozen=True)
class MupotsImage:
    """One image: where it is, and its valid people with all 17 joints."""

    view: View
    annotated: Annotated

    def people(self, rules: Rules) -> Annotated:
        """The people with the joints of those rules."""
        joints = slice(len(rules.joints))
        whole = self.annotated
        return Annotated(
            whole.joints_3d[:, joints], whole.joints_2d[:, joints], whole.occluded[:, joints]
        )


@dataclass(frozen=True)
class MupotsSequence:
    """One sequence, such as ``TS7``, and its images."""

    name: str
    images: tuple[MupotsImage, ...]


def read_mupots(path: Path) -> list[MupotsSequence]:
    """The sequences of the data set, or the one of a single ``TSn`` folder.

    Raises:
        InputError: if there are none, or a file is missing or malformed.
    """
    folders = [path] if (path / _ANNOTATIONS).is_file() else _sequence_folders(path)
    if not folders:
        raise InputError(
            f"{path} isn't MuPoTS-3D; expected MultiPersonTestSet with TS1, TS2, ... that hold "
            f"{_ANNOTATIONS} and {_OCCLUSION}, or one of these"
        )
    return [_read_sequence(folder, alone=len(folders) == 1) for folder in folders]


def detections(frame: BodyFrame | None, camera: Camera) -> Detected:
    """Our people as SMAP's evaluation takes them.

    Depths stay, the rest follows from where joints are seen: SMAP re-projects its refined poses
    so, with one focal length for both axes. A joint that was not found is at the origin.

    Args:
        frame: people in mpi15, metres; None for nobody.
        camera: of the labels.
    """
    bodies = () if frame is None else frame.bodies
    poses = np.array([body.joints_3d for body in bodies], np.float64).reshape(-1, 15, 3) * 1000
    pixels = np.array([body.joints_2d for body in bodies], np.float64).reshape(-1, 15, 2)
    centre = np.array([camera.cx, camera.cy])
    placed = poses.copy()
    placed[..., :2] = (pixels - centre) * poses[..., 2:] / camera.fx
    seen = np.isfinite(placed).all(axis=-1, keepdims=True)
    placed = np.where(seen, placed, poses)
    joints = slice(len(SMAP_RULES.joints))
    return Detected(
        np.nan_to_num(convert(placed, MPI15, MPI17)[:, joints]),
        np.nan_to_num(convert(pixels, MPI15, MPI17)[:, joints]),
    )


class OfficialResults:
    """Results as official implementations save them: two MATLAB files in a folder.

    ``pose2d.mat`` and ``pose3d.mat`` of SMAP (variables ``preds_2d_kpt`` and ``preds_3d_kpt``,
    structs of ``TS1/img_000000.jpg`` -> [N, 15, 4] in SMAP's order), or
    ``preds_2d_kpt_mupots.mat`` and ``preds_3d_kpt_mupots.mat`` of MobileHumanPose and others
    (variables ``TS1_img_000000`` -> [N, 17, 2] and [N, 17, 3]). Millimetres and pixels.

    Attributes:
        description: for people to read.
        rules: those that the joints are for.

    Raises:
        InputError: if a file is missing or malformed.
    """

    def __init__(self, folder: Path) -> None:
        smap = (folder / _SMAP_FILES[1]).is_file()
        names = _SMAP_FILES if smap else _ORIGINAL_FILES
        self.description = f"{folder / names[1]}"
        self.rules = SMAP_RULES if smap else ORIGINAL_RULES
        self._order = [MPI15.index(joint) for joint in SMAP_RULES.joints] if smap else None
        self._pixels, self._poses = (
            _by_image(read_mat(folder / name), folder / name, smap) for name in names
        )

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def found(folder: Path) -> bool:
        """Whether a folder holds such results."""
        return any((folder / name).is_file() for name in (_SMAP_FILES[1], _ORIGINAL_FILES[1]))

    def of(self, sequence: str, stem: str) -> Detected | None:
        """The people of an image, or None if it is not in the files.

        Raises:
            InputError: if it is malformed, or one file has other people there than the other.
        """
        key = f"{sequence}_{stem}"
        if key not in self._poses:
            return None
        poses, pixels = self._people(self._poses[key], 3), self._people(self._pixels.get(key), 2)
        if len(poses) != len(pixels):
            raise InputError(
                f"{self.description} has {len(poses)} people in image {key}, the 2D file beside it "
                f"{len(pixels)}; expected the same people in the same order. Save both from one run"
            )
        return Detected(poses, pixels)

    def _people(self, rows: Any, width: int) -> Float:
        count = len(self.rules.joints)
        try:
            people = np.asarray(rows, np.float64)
            if people.size == 0 and people.ndim < 3:  # what [] becomes: nobody
                people = np.zeros((0, count, width))
            # MATLAB has no [1, J, C].
            people = people.reshape(-1, count, people.shape[-1])[..., :width]
            if people.shape[-1] != width:
                raise ValueError(f"{people.shape[-1]} numbers a joint")
        except (ValueError, TypeError, IndexError) as error:
            raise InputError(
                f"{self.description} and the 2D file beside it are malformed ({error}); expected "
                f"[people, {count}, {width} or more] for each image in both"
            ) from error
        return people if self._order is None else people[:, self._order]


def _by_image(content: dict[str, Any], path: Path, smap: bool) -> dict[str, Any]:
    """Arrays by ``TS1_img_000000``."""
    if not smap:
        return content
    struct = next((content[name] for name in _SMAP_VARIABLES if name in content), None)
    if struct is None or not struct.dtype.names or struct.size != 1:
        raise InputError(
            f"{path} is not what SMAP's convert.py writes: expected preds_2d_kpt or preds_3d_kpt, "
            "a struct of images"
        )
    row, names = struct.reshape(-1)[0], struct.dtype.names
    keys = [Path(name).with_suffix("").as_posix().replace("/", "_") for name in names]
    if (twice := repeated(keys)) is not None:
        raise InputError(f"{path} has two results of image {twice}; expected one")
    return {key: row[name] for key, name in zip(keys, names, strict=True)}


def _sequence_folders(path: Path) -> list[Path]:
    numbered = [
        (int(found[1]), folder)
        for folder in (path.iterdir() if path.is_dir() else ())
        if (found := re.fullmatch(r"TS(\d+)", folder.name)) and (folder / _ANNOTATIONS).is_file()
    ]
    return [folder for _, folder in sorted(numbered)]


def _read_sequence(folder: Path, *, alone: bool) -> MupotsSequence:
    annotations = read_mat(folder / _ANNOTATIONS, "annotations")["annotations"]
    labels = read_mat(folder / _OCCLUSION, "occlusion_labels")["occlusion_labels"]
    if labels.shape != annotations.shape or annotations.ndim != 2:
        raise InputError(
            f"{folder}: annotations are {annotations.shape}, occlusion_labels {labels.shape}; "
            "expected cell arrays of frames x people of one size"
        )
    try:
        frames = [list(_people(*rows)) for rows in zip(annotations, labels, strict=True)]
        camera = _camera(folder, [person for people in frames for person in people])
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise InputError(
            f"{folder / _ANNOTATIONS} is malformed ({reason(error)}); expected annot2 [2, 17], "
            "annot3 and univ_annot3 [3, 17] and isValidFrame in each cell"
        ) from error
    stems = [f"img_{k:06d}" for k in range(len(frames))]
    name = folder.absolute().name
    keys = stems if alone else [f"{name}/{stem}" for stem in stems]
    return MupotsSequence(
        name,
        tuple(
            MupotsImage(View(key, camera, folder / f"{stem}.jpg", name), _annotated(people))
            for key, stem, people in zip(keys, stems, frames, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Person:
    pixels: Float  # [17, 2]
    metric: Float  # [17, 3], millimetres
    universal: Float  # [17, 3], millimetres at a standard height
    occluded: NDArray[np.bool_]  # [17]


def _people(cells: Any, labels: Any) -> Iterator[_Person]:
    """The valid people of a frame."""
    for cell, label in zip(cells, labels, strict=True):
        record = cell.reshape(-1)[0] if cell.size else None
        if record is None or not np.asarray(record["isValidFrame"]).any():
            continue
        yield _Person(
            pixels=_columns(record["annot2"], 2),
            metric=_columns(record["annot3"], 3),
            universal=_columns(record["univ_annot3"], 3),
            occluded=np.asarray(label).reshape(17) > 0,
        )


def _columns(value: Any, rows: int) -> Float:
    return np.asarray(value, np.float64).reshape(rows, 17).T


def _annotated(people: list[_Person]) -> Annotated:
    return Annotated(
        np.array([person.universal for person in people]).reshape(-1, 17, 3),
        np.array([person.pixels for person in people]).reshape(-1, 17, 2),
        np.array([person.occluded for person in people], np.bool_).reshape(-1, 17),
    )


def _camera(folder: Path, people: list[_Person]) -> Camera:
    """The camera that maps the sequence's ``annot3`` to its ``annot2``: it isn't in the files."""
    number = re.fullmatch(r"TS(\d+)", folder.absolute().name)
    width, height = _SQUARE if number and int(number[1]) <= _LAST_SQUARE else _WIDE
    if not people:
        raise InputError(f"{folder} has no valid people; nothing can be measured")
    pixels = np.concatenate([person.pixels for person in people])
    points = np.concatenate([person.metric for person in people])
    (fx, cx), (fy, cy) = (fitted_line(points[:, k] / points[:, 2], pixels[:, k]) for k in range(2))
    try:
        return Camera(width, height, fx, fy, cx, cy)
    except CameraError as error:
        raise InputError(f"{folder}: annot2 and annot3 fit no camera: {error}") from error


def fitted_line(x: Float, y: Float) -> tuple[float, float]:
    """Slope and offset of the line through points."""
    (slope, offset), *_ = np.linalg.lstsq(np.stack([x, np.ones(len(x))], axis=1), y, rcond=None)
    return float(slope), float(offset)
