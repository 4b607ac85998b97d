"""3DPW: its own sequences, or the JSON files of 3DCrowdNet's authors.

``sequenceFiles/<split>/<name>.pkl`` (see :mod:`smap_ros.evaluation.threedpw.truth`, which reads
them) give SMPL's 24 joints in metres and the body itself, of the frames whose camera is known.
``3DPW_latest_<split>.json`` are in the form of COCO: ``cam_param`` (``focal``, ``princpt``) of
pictures, ``openpose_result`` (18 x 3) and ``smpl_param`` (metres, camera) of people.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smap_ros.camera import Camera
from smap_ros.errors import InputError, reason
from smap_ros.evaluation.threedpw.truth import Sequence3dpw, read_threedpw
from smap_ros.skeletons import SMPL24
from smap_train.data.layouts.coco_form import MALFORMED, annotation_id, pictures
from smap_train.data.layouts.fits import fit_row
from smap_train.data.layouts.persons import (
    COLUMNS,
    SEEN,
    PersonRecord,
    PersonRecords,
    U,
    V,
    bad_person,
    box_around,
    joint_set,
    open_persons,
    persons_of,
    with_neighbours,
)
from smap_train.data.records import METRES, MILLIMETRES

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

# OpenPose's COCO model.
OPENPOSE18 = joint_set(
    "openpose18",
    "nose neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle l_hip "
    "l_knee l_ankle r_eye l_eye r_ear l_ear",
    "neck",
)
_SIZES = ((1920, 1080), (1080, 1920))
_OFF_MIDDLE = 0.15  # share that a camera's middle may be off the pictures'
_VERSION = 1


def sequence_files(path: Path) -> list[Path]:
    """The sequences below a folder, or the one that it is.

    Raises:
        InputError: if there are none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.pkl"))
    if not files:
        raise InputError(
            f"{path} has no sequences of 3DPW; expected its sequenceFiles, a folder in it, or "
            "3DPW_latest_train.json"
        )
    return files


def source_files(data: PeopleData) -> list[Path]:
    """What the labels are read from."""
    return sequence_files(data.annotations)


def open_people(data: PeopleData) -> PersonRecords:
    """The people of all frames, of sequences only where the camera is known.

    Raises:
        InputError: if there are no sequences, or the file can't be read.
    """
    path, files = data.annotations, source_files(data)
    if path.suffix == ".json":
        index = open_persons("3dpw-json", _VERSION, files, lambda: _listed(path))
        keep = np.arange(0, len(index), data.every)
        return PersonRecords(index, data.images, OPENPOSE18, keep, METRES)
    index = open_persons(f"3dpw-{data.every}", _VERSION, files, lambda: _people(files, data.every))
    return PersonRecords(index, data.images, SMPL24, unit=METRES)


def image_name(sequence: Sequence3dpw, frame: int) -> Path:
    """A frame's picture, below the data set's ``imageFiles``."""
    return Path(sequence.name) / f"image_{frame:05d}.jpg"


def _people(files: list[Path], every: int) -> Iterator[PersonRecord]:
    for file in files:
        try:
            (sequence,) = read_threedpw(file)
        except InputError as error:
            yield bad_person(str(file), str(error))
            continue
        for frame in range(0, len(sequence.views), every):
            yield from with_neighbours(list(_of_frame(file, sequence, frame)))


def _size(camera: Camera) -> tuple[int, int]:
    """Of the pictures, which may lie elsewhere, by the middle of the camera."""
    middle = 2 * np.array([camera.cx, camera.cy])
    near = (size for size in _SIZES if np.allclose(middle, size, rtol=_OFF_MIDDLE))
    return next(near, (camera.width, camera.height))


def _of_frame(file: Path, sequence: Sequence3dpw, frame: int) -> Iterator[PersonRecord]:
    camera = sequence.views[frame].camera
    size, world = _size(camera), sequence.extrinsics[frame]
    for number, actor in enumerate(sequence.actors):
        if not actor.valid[frame]:
            continue
        joints = np.ones((len(SMPL24), COLUMNS))
        joints[:, 2:5] = actor.joints[frame]
        joints[:, [U, V]] = np.nan_to_num(camera.project(actor.joints[frame]))
        fit = {
            "pose": actor.poses[frame], "shape": actor.shape, "trans": actor.translation[frame]
        }  # fmt: skip
        seen_by = {"R": world[:3, :3], "t": world[:3, 3] * MILLIMETRES.of_a_metre}
        place = f"{file}, frame {frame}, person {number}"
        try:
            row = fit_row(fit, seen_by)
        except MALFORMED as error:
            yield bad_person(place, f"its body is malformed: {reason(error)}")
            continue
        yield PersonRecord(
            image_name(sequence, frame), *size,
            box_around(joints[:, [U, V]]), joints, SMPL24,
            camera=np.array([camera.fx, camera.fy, camera.cx, camera.cy]), fit=row, place=place,
        )  # fmt: skip


def _listed(path: Path) -> Iterator[PersonRecord]:
    """The people of 3DCrowdNet's file, of whom it has no joints but those that OpenPose found."""
    for picture in pictures(path, dict):
        yield from (bad_person(*one, picture.file) for one in picture.bad)
        yield from persons_of(picture, annotation_id, _person)


def _person(annotation: dict[str, Any], image: dict[str, Any], place: str) -> PersonRecord:
    found = np.array(annotation["openpose_result"], np.float64)
    if found.shape != (len(OPENPOSE18), 3):
        raise ValueError(f"openpose_result has the shape {found.shape}, expected 18 x 3")
    joints = np.zeros((len(OPENPOSE18), COLUMNS))
    joints[:, [U, V]], joints[:, SEEN] = found[:, :2], found[:, 2] > 0
    seen_by = image["cam_param"]
    file = Path(image["file_name"])
    return PersonRecord(
        file if len(file.parts) > 1 else Path(image["sequence"]) / file,
        image["width"], image["height"], np.array(annotation["bbox"], np.float64), joints,
        OPENPOSE18, has_depth=False,
        camera=np.array([*seen_by["focal"], *seen_by["princpt"]], np.float64),
        fit=fit_row(annotation["smpl_param"]), place=place,
    )  # fmt: skip
