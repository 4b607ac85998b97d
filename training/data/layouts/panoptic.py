"""CMU Panoptic: a sequence's own files, or the lists of HMOR's authors.

A sequence has ``calibration_<name>.json``, ``hdPose3d_stage1_coco19/body3DScene_<frame>.json``
(centimetres in the studio, y down; ``hdPose3d_stage1`` with 15 joints where there is none) and
``hdImgs/<camera>/<camera>_<frame>.jpg``. HMOR's ``.pkl`` are lists of ``image_name``,
``intrinsics`` 3 x 3, ``joints_3d_cam`` (P x 15 x 3 centimetres) and ``joints_3d_vis``; those of
VirtualPose's pack step also have the camera's ``R`` and ``t``. They are read without running code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smap_ros.camera import Camera
from smap_ros.errors import InputError, reason
from smap_ros.evaluation.panoptic.truth import (
    CERTAIN,
    POSES,
    Mounted,
    read_cameras,
    world_people,
)
from smap_ros.plain_pickle import read_plain_pickle
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.persons import (
    COLUMNS,
    Float64,
    PersonRecord,
    PersonRecords,
    bad_person,
    box_around,
    joint_set,
    open_persons,
    with_neighbours,
)
from smap_train.data.records import CENTIMETRES

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

# The first 15 are in the order of mpi15, but the second is the nose.
PANOPTIC19 = joint_set(
    "panoptic19",
    "neck nose pelvis l_shoulder l_elbow l_wrist l_hip l_knee l_ankle r_shoulder r_elbow r_wrist "
    "r_hip r_knee r_ankle l_eye l_ear r_eye r_ear",
    "pelvis",
)

SIZE = (1920, 1080)  # of the HD cameras
_FEWER = "hdPose3d_stage1"  # labels of 15 joints
_VERSION = 1
_FRAME = re.compile(r"body3DScene_(\d+)\.json")
_FARTHEST_M = 50.0  # from a camera; the studio is 5 m wide
_CM_PER_M = CENTIMETRES.of_a_metre


@dataclass(frozen=True)
class Sequence:
    """The files of a sequence.

    Attributes:
        folder: of it.
        calibration: its cameras.
        labels: by frame, as its pictures' names have it.
    """

    folder: Path
    calibration: Path
    labels: dict[str, Path]


def sequences(path: Path, every: int = 1) -> list[Sequence]:
    """The sequences of a folder, or the one that it is.

    Args:
        path: the folder.
        every: take the labels of every n-th labelled frame.

    Raises:
        InputError: if there are none, or one has no calibration.
    """
    folders = [path] if _labels_of(path) else sorted(f for f in path.glob("*") if _labels_of(f))
    if not folders:
        raise InputError(
            f"{path} has no sequences of CMU Panoptic; expected folders with "
            f"calibration_<name>.json, {POSES} and hdImgs, or HMOR's .pkl"
        )
    found = []
    for folder in folders:
        calibrations = sorted(folder.glob("calibration_*.json"))
        if not calibrations:
            raise InputError(f"{folder} has no calibration_{folder.name}.json")
        labels = _labels_of(folder)
        kept = sorted(labels)[::every]
        found.append(Sequence(folder, calibrations[0], {frame: labels[frame] for frame in kept}))
    return found


def _labels_of(folder: Path) -> dict[str, Path]:
    for name in (POSES, _FEWER):
        found = (
            (match[1], path)
            for path in (folder / name).glob("*.json")
            if (match := _FRAME.fullmatch(path.name))
        )
        if labels := dict(found):
            return labels
    return {}


def source_files(data: PeopleData) -> list[Path]:
    """What the labels are read from."""
    path = data.annotations
    if not path.is_dir():
        return [path]
    return [
        file
        for sequence in sequences(path, data.every)
        for file in (sequence.calibration, *sequence.labels.values())
    ]


def open_people(data: PeopleData) -> PersonRecords:
    """The people of all pictures that are there; those without a pelvis are left out.

    Raises:
        InputError: if there are no sequences, or the list can't be read.
    """
    path, files = data.annotations, source_files(data)
    if path.is_dir():
        index = open_persons(f"panoptic-{data.every}", _VERSION, files, lambda: _people(path, data))
        keep = None
    else:
        index = open_persons("panoptic-list", _VERSION, files, lambda: _listed(path))
        keep = np.arange(0, len(index), data.every)
    return PersonRecords(index, data.images, PANOPTIC19, keep, CENTIMETRES, pinhole=False)


def _people(path: Path, data: PeopleData) -> Iterator[PersonRecord]:
    for sequence in sequences(path, data.every):
        cameras = read_cameras(sequence.calibration)
        near = sequence.folder.relative_to(path)
        for name, mounted in sorted(cameras.items()):
            folder = sequence.folder / "hdImgs" / name
            there = {file.name for file in folder.glob("*.jpg")} if folder.is_dir() else set()
            for frame, labels in sequence.labels.items():
                image = f"{name}_{frame}.jpg"
                if image in there:
                    yield from _of_frame(labels, mounted, near / "hdImgs" / name / image)


def _of_frame(labels: Path, mounted: Mounted, image: Path) -> Iterator[PersonRecord]:
    """The people of a frame before a camera."""
    try:
        people = world_people(labels)
    except InputError as error:
        yield bad_person(str(labels), f"can't be used: {error}", image)
        return
    records = []
    for number, joints in enumerate(people):
        place = f"{labels}, body {number}, {image.name}"
        if not np.isfinite(joints).all():
            joint, column = np.argwhere(~np.isfinite(joints))[0]
            problem = f"joints{len(joints)}[{4 * joint + column}] is {joints[joint, column]:g}"
            records.append(bad_person(place, problem, image))
            continue
        placed = np.zeros((len(PANOPTIC19), 4))
        placed[: len(joints), :3] = mounted.seen(joints[:, :3])
        placed[: len(joints), 3] = joints[:, 3] > CERTAIN
        if record := _person(placed, mounted.camera, image, place):
            records.append(record)
    yield from with_neighbours(records)


def _person(joints_cm: Float64, camera: Camera, image: Path, place: str) -> PersonRecord | None:
    """A person before a camera; None without a pelvis, or where the picture shows nobody."""
    known = joints_cm[:, 3] > 0
    points = joints_cm[:, :3] / _CM_PER_M
    behind = (points[:, 2] <= 0) & (np.abs(points) < _FARTHEST_M).all(axis=1)
    known &= ~behind  # what is absurd or NaN stays, and is named
    joints = np.zeros((len(points), COLUMNS))
    joints[:, :2] = np.where(known[:, None], camera.project(points), 0)
    joints[:, 2:5], joints[:, 5] = points, known
    size = (camera.width, camera.height)
    pixels = joints[known, :2]
    if not known[PANOPTIC19.root]:
        return None
    if np.isfinite(pixels).all() and not ((pixels >= 0) & (pixels < size)).all(axis=1).any():
        return None
    return PersonRecord(
        image, *size, box_around(pixels), joints, PANOPTIC19,
        camera=np.array([camera.fx, camera.fy, camera.cx, camera.cy]), place=place,
    )  # fmt: skip


def _listed(path: Path) -> Iterator[PersonRecord]:
    """The people of HMOR's list."""
    content = read_plain_pickle(path)
    if not isinstance(content, list):
        raise InputError(f"{path} is {type(content).__name__}; expected HMOR's list of pictures")
    for number, entry in enumerate(content):
        place = f"{path}, record {number}"
        try:
            image = Path(entry["image_name"])
            joints, camera = listed_people(entry)
        except MALFORMED as error:
            yield bad_person(place, f"is malformed: {reason(error)}")
            continue
        made = (_person(one, camera, image, f"{place}, person {k}") for k, one in enumerate(joints))
        yield from with_neighbours([record for record in made if record])


def listed_people(entry: Any) -> tuple[list[Float64], Camera]:
    """The people of an entry of HMOR's list, each [19, 4] with 15 labelled, and its camera.

    Raises:
        KeyError, TypeError, ValueError: if it is malformed.
    """
    points = np.array(entry["joints_3d_cam"], np.float64)
    seen = np.array(entry["joints_3d_vis"], np.float64)
    if points.shape[1:] != (15, 3) or seen.shape[:2] != points.shape[:2]:
        raise ValueError(
            f"joints_3d_cam and joints_3d_vis have the shapes {points.shape} and {seen.shape}; "
            "expected P x 15 x 3"
        )
    people = np.zeros((len(points), len(PANOPTIC19), 4))
    people[:, :15, :3] = points
    people[:, :15, 3] = seen.reshape(len(points), 15, -1)[..., 0] > 0
    intrinsics = np.array(entry["intrinsics"], np.float64).reshape(9)
    return list(people), Camera.from_matrix(*SIZE, intrinsics)
