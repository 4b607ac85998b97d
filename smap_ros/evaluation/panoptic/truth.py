"""The labels of CMU Panoptic: the data set's own files, or SMAP's file made of them.

The data set has a folder for each sequence with ``calibration_<sequence>.json``,
``hdPose3d_stage1_coco19/body3DScene_<frame>.json`` and ``hdImgs/<camera>/<camera>_<frame>.jpg``
(frames of 8 digits, cameras such as ``00_16``). SMAP's is one JSON file of ``root``: a list of
``img_paths``, ``img_width``, ``img_height``, ``isValidation`` and ``bodys`` [N, 15, 11] of x, y, Z,
visibility, X, Y, Z, fx, fy, cx, cy in pixels and centimetres.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError, reason
from smap_ros.evaluation.common.jsonfiles import read_json
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.views import View
from smap_ros.evaluation.panoptic.measures import VISIBLE
from smap_ros.markup import whole_number
from smap_ros.skeletons import MPI15

Float = NDArray[np.float64]

POSES = "hdPose3d_stage1_coco19"
_IMAGES = "hdImgs"
_CENTIMETRES = 0.01
# The first 15 of coco19 are mpi15, but for the nose, which stands where our head top is.
_NOSE = MPI15.index("head_top")
CERTAIN = 0.1  # confidence from which on a joint counts as labelled
_MALFORMED = (
    KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError, CameraError,
)  # fmt: skip


@dataclass(frozen=True)
class PanopticImage:
    """One image and its people.

    Attributes:
        view: the picture and its camera.
        joints_3d: float64 [P, 15, 3], metres, optical frame; NaN where not labelled.
        roots_2d: float64 [P, 2], pelvises, pixels.
        visible: bool [P], whether the pelvises are.
    """

    view: View
    joints_3d: Float
    roots_2d: Float
    visible: NDArray[np.bool_]


def read_panoptic(path: Path) -> list[PanopticImage]:
    """The labelled images of a JSON file in SMAP's form, of a sequence, or of all in a folder.

    Of a sequence, those images of ``hdImgs`` count that have labels. Head tops are then not
    labelled: the data set has noses.

    Raises:
        InputError: if there are none, a file is missing or malformed, or two images are called the
            same.
    """
    if path.is_file():
        images = _read_smap(path)
    else:
        folders = [path] if (path / POSES).is_dir() else sorted(path.glob(f"*/{POSES}"))
        sequences = [path] if (path / POSES).is_dir() else [f.parent for f in folders]
        images = [
            image for folder in sequences for image in _read_sequence(folder, len(sequences) == 1)
        ]
    if not images:
        raise InputError(
            f"{path} has no labelled images of CMU Panoptic; expected a JSON file in SMAP's form "
            f"with test images, or sequences with {POSES} and {_IMAGES}"
        )
    if (name := repeated(image.view.key for image in images)) is not None:
        raise InputError(f"{path}: two images are called {name}; people are found by that name")
    return images


def _read_smap(path: Path) -> list[PanopticImage]:
    entries = read_json(path)
    try:
        tested = [
            entry
            for entry in entries["root"]
            if int(entry.get("isValidation", 1)) and len(entry["bodys"])
        ]
        if (twice := repeated(str(entry["img_paths"]) for entry in tested)) is not None:
            raise ValueError(f"two entries are of {twice}")
        alone = len({Path(str(entry["img_paths"])).stem for entry in tested}) == len(tested)
        return [_smap_image(entry, path.parent, alone) for entry in tested]
    except _MALFORMED as error:
        raise InputError(
            f"{path} is malformed ({reason(error)}); expected root: img_paths, img_width, "
            "img_height and bodys [N][15][11] of each image"
        ) from error


def _smap_image(entry: Any, folder: Path, alone: bool) -> PanopticImage:
    people = np.array(entry["bodys"], np.float64)
    if people.ndim != 3 or people.shape[1:] != (15, 11):
        raise ValueError(f"bodys of shape {people.shape}")
    size = whole_number(entry["img_width"]), whole_number(entry["img_height"])
    camera = Camera(*size, *people[0, 0, 7:11])
    file = Path(str(entry["img_paths"]))
    sequence = _sequence_of(file)
    key = file.stem if alone else f"{sequence}/{file.stem}"
    labelled = people[..., 3:4] > 0
    return PanopticImage(
        view=View(key, camera, folder / file, sequence),
        joints_3d=np.where(labelled, people[..., 4:7], np.nan) * _CENTIMETRES,
        roots_2d=people[:, MPI15.root, :2],
        visible=people[:, MPI15.root, 3] >= VISIBLE,
    )


def _sequence_of(file: Path) -> str:
    """The sequence of ``160422_ultimatum1/hdImgs/00_16/00_16_00000100.jpg``, or the folder."""
    before = [name for name, inside in itertools.pairwise(file.parts) if inside == _IMAGES]
    return before[-1] if before else file.parent.name


@dataclass(frozen=True)
class Mounted:
    """A camera of the studio: intrinsics, and where it is (centimetres)."""

    camera: Camera
    rotation: Float
    translation: Float

    def seen(self, points: Float) -> Float:
        """Points of the studio [N, 3] before the camera, centimetres."""
        return np.asarray(points @ self.rotation.T + self.translation, np.float64)


def _read_sequence(folder: Path, alone: bool) -> list[PanopticImage]:
    cameras = read_cameras(folder / f"calibration_{folder.name}.json")
    images = sorted((folder / _IMAGES).glob("*/*.jpg"))
    return [
        image
        for file in images
        if (image := _sequence_image(file, folder, cameras, alone)) is not None
    ]


def read_cameras(path: Path) -> dict[str, Mounted]:
    """The HD cameras of a sequence by name, from its calibration file.

    Raises:
        InputError: if it is missing or malformed.
    """
    data = read_json(path)
    try:
        mounted = [entry for entry in data["cameras"] if entry.get("type", "hd") == "hd"]
        if (twice := repeated(str(entry["name"]) for entry in mounted)) is not None:
            raise ValueError(f"two cameras are called {twice}")
        return {
            str(entry["name"]): Mounted(
                Camera.from_matrix(
                    whole_number(entry["resolution"][0]),
                    whole_number(entry["resolution"][1]),
                    np.ravel(entry["K"]),
                    np.ravel(entry["distCoef"]).tolist(),
                    "plumb_bob",
                ),
                np.array(entry["R"], np.float64).reshape(3, 3),
                np.array(entry["t"], np.float64).reshape(3),
            )
            for entry in mounted
        }
    except _MALFORMED as error:
        raise InputError(
            f"{path} is malformed ({reason(error)}); expected cameras with name, type, "
            "resolution, K, distCoef, R and t"
        ) from error


def _sequence_image(
    file: Path, folder: Path, cameras: dict[str, Mounted], alone: bool
) -> PanopticImage | None:
    """An image with its labels; None where the frame has none."""
    name, frame = file.parent.name, file.stem.rpartition("_")[2]
    labels = folder / POSES / f"body3DScene_{frame}.json"
    if not labels.is_file():
        return None
    if name not in cameras:
        raise InputError(f"{file} is of camera {name}, which the calibration of {folder} lacks")
    mounted = cameras[name]
    people = list(_people(labels, mounted))
    poses = np.array(people, np.float64).reshape(-1, 15, 3)
    roots = mounted.camera.project(poses[:, MPI15.root]).reshape(-1, 2)
    size = np.array([mounted.camera.width, mounted.camera.height])
    inside = ((roots >= 0) & (roots < size)).all(axis=1) & (poses[:, MPI15.root, 2] > 0)
    key = file.stem if alone else f"{folder.name}/{file.stem}"
    view = View(key, mounted.camera, file, folder.name)
    return PanopticImage(view, poses, roots, inside)


def _people(path: Path, mounted: Mounted) -> Iterator[Float]:
    """The people of a frame before a camera, float64 [15, 3], metres."""
    for joints in world_people(path):
        placed = mounted.seen(joints[:15, :3])
        placed[joints[:15, 3] < CERTAIN] = np.nan
        placed[_NOSE] = np.nan
        yield placed * _CENTIMETRES


def world_people(path: Path) -> list[Float]:
    """The people of a frame: float64 [19 or 15, 4], centimetres in the studio and confidence.

    Sequences without ``joints19`` have ``joints15``, the first of them.

    Raises:
        InputError: if the file is missing or malformed.
    """
    data = read_json(path)
    try:
        return [
            np.array(body["joints19"], np.float64).reshape(19, 4)
            if "joints19" in body
            else np.array(body["joints15"], np.float64).reshape(15, 4)
            for body in data["bodies"]
        ]
    except _MALFORMED as error:
        raise InputError(
            f"{path} is malformed ({reason(error)}); expected bodies with joints19 [19][x, y, z, c]"
        ) from error
