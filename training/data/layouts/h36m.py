"""Human3.6M as 3DMPPE's authors parsed it: three JSON files a subject, in the form of COCO.

``Human36M_subjectN_data.json`` (``images`` and ``annotations``), ``..._camera.json`` (R, t in
millimetres, f, c of each camera) and ``..._joint_3d.json`` (17 joints in the world, millimetres,
by action, subaction and frame). A camera sees R X + t.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError, reason
from smap_ros.markup import json_value
from smap_ros.skeletons import H36M17, H36M18
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.fits import fit_row
from smap_train.data.layouts.json_stream import entries
from smap_train.data.layouts.persons import (
    PersonRecord,
    PersonRecords,
    bad_person,
    open_persons,
)

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

SUBJECTS = (1, 5, 6, 7, 8, 9, 11)
_MM_PER_M = 1000.0
_MISSING = (11, 2, 2, 1)  # subject, action, subaction, camera: no film of it was published
_VERSION = 3
_KINDS = ("data", "camera", "joint_3d")


def open_people(data: PeopleData) -> PersonRecords:
    """The people of the subjects, in the frames whose number is a multiple of ``every``.

    Raises:
        InputError: if a file of a subject is missing or damaged.
    """
    subjects = data.subjects or tuple(
        number for number in SUBJECTS if _file(data.annotations, number, "data").exists()
    )
    if not subjects:
        raise InputError(
            f"{data.annotations} has no Human36M_subjectN_data.json; expected the folder of "
            "Human3.6M's parsed annotations"
        )
    files = [_file(data.annotations, number, kind) for number in subjects for kind in _KINDS]
    for path in files:
        if not path.is_file():
            raise InputError(f"{path} is missing; a subject has {', '.join(_KINDS)}")
    name = f"h36m-every-{data.every}"
    if data.fits is not None:
        files += [_file(data.fits, number, "smpl_param") for number in subjects]
    index = open_persons(name, _VERSION, files, lambda: _people(data, subjects))
    return PersonRecords(index, data.images, H36M18)


def _file(folder: Path, subject: int, kind: str) -> Path:
    return folder / f"Human36M_subject{subject}_{kind}.json"


def _people(data: PeopleData, subjects: tuple[int, ...]) -> Iterator[PersonRecord]:
    folder, every = data.annotations, data.every
    for subject in subjects:
        fits = _read(_file(data.fits, subject, "smpl_param")) if data.fits else {}
        path = _file(folder, subject, "data")
        cameras = _read(_file(folder, subject, "camera"))
        joints = _read(_file(folder, subject, "joint_3d"))
        boxes = {
            entry.get("image_id"): entry
            for entry in entries(path, "annotations")
            if isinstance(entry, dict) and isinstance(entry.get("image_id"), int | str)
        }
        for number, image in enumerate(entries(path, "images")):
            named = isinstance(image, dict) and "id" in image
            place = f"{path}, image {image['id'] if named else f'number {number}'}"
            try:
                scene = (image["action_idx"], image["subaction_idx"])
                view = (subject, *scene, image["cam_idx"])
                if image["frame_idx"] % every or view == _MISSING:
                    continue
                world = joints[str(scene[0])][str(scene[1])][str(image["frame_idx"])]
                camera = cameras[str(image["cam_idx"])]
                person = _person(image, boxes[image["id"]]["bbox"], world, camera, place)
                fit = fits.get(str(scene[0]), {}).get(str(scene[1]), {})
                fit = fit.get(str(image["frame_idx"]))
                yield replace(person, fit=fit_row(fit, camera)) if fit else person
            except MALFORMED as error:
                yield bad_person(
                    place, f"is malformed, or its joints or box are missing: {reason(error)}"
                )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json_value(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {path}: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is {type(content).__name__}; expected an object")
    return content


def _person(
    image: Mapping[str, Any], box: Any, world_mm: Any, camera: Mapping[str, Any], place: str
) -> PersonRecord:
    points = _with_thorax(np.array(world_mm, np.float64))
    rotation = np.array(camera["R"], np.float64).reshape(3, 3)
    points = (points @ rotation.T + np.array(camera["t"], np.float64).reshape(3)) / _MM_PER_M
    focal, center = (np.array(camera[k], np.float64).reshape(2) for k in ("f", "c"))
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = points[:, :2] / points[:, 2:] * focal + center
    return PersonRecord(
        Path(image["file_name"]), image["width"], image["height"], np.array(box, np.float64),
        np.column_stack([pixels, points, np.ones(len(points))]), H36M18,
        camera=np.concatenate([focal, center]), place=place,
    )  # fmt: skip


def _with_thorax(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The data set's 17 joints and the mean of the shoulders."""
    if points.shape != (len(H36M17), 3):
        raise ValueError(f"joints have the shape {points.shape}, expected {len(H36M17)} x 3")
    shoulders = points[[H36M17.index("l_shoulder"), H36M17.index("r_shoulder")]]
    return np.vstack([points, shoulders.mean(axis=0)])
