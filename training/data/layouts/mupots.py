"""MuPoTS-3D.json, in which PoseNet's authors put the labels of MuPoTS-3D, in the form of COCO.

``intrinsic`` (fx, fy, cx, cy) of pictures; ``is_valid``, ``bbox``, ``keypoints_img`` (17 x 2
pixels), ``keypoints_cam`` (17 x 3 millimetres) and ``keypoints_vis`` of people.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smap_ros.skeletons import MPI17
from smap_train.data.layouts.coco_form import annotation_id, pictures
from smap_train.data.layouts.persons import (
    COLUMNS,
    PersonRecord,
    PersonRecords,
    bad_person,
    open_persons,
    persons_of,
)
from smap_train.data.records import MILLIMETRES

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

_VERSION = 1


def open_people(data: PeopleData) -> PersonRecords:
    """The valid people; all of their joints count as labelled.

    Raises:
        InputError: if the file can't be read.
    """
    path = data.annotations
    index = open_persons("mupots", _VERSION, data.files(), lambda: _people(path))
    keep = np.arange(0, len(index), data.every)
    return PersonRecords(index, data.images, MPI17, keep, MILLIMETRES)


def _people(path: Path) -> Iterator[PersonRecord]:
    for picture in pictures(path, dict):
        yield from (bad_person(*one, picture.file) for one in picture.bad)
        yield from persons_of(picture, annotation_id, _person)


def _person(annotation: dict[str, Any], image: dict[str, Any], place: str) -> PersonRecord | None:
    if not annotation["is_valid"]:
        return None
    pixels = np.array(annotation["keypoints_img"], np.float64)
    points = np.array(annotation["keypoints_cam"], np.float64)
    if (pixels.shape, points.shape) != ((len(MPI17), 2), (len(MPI17), 3)):
        raise ValueError(
            f"keypoints_img and keypoints_cam have the shapes {pixels.shape} and {points.shape}, "
            f"expected {len(MPI17)} x 2 and x 3"
        )
    joints = np.ones((len(MPI17), COLUMNS))
    joints[:, :2], joints[:, 2:5] = pixels, points / MILLIMETRES.of_a_metre
    return PersonRecord(
        Path(image["file_name"]), image["width"], image["height"],
        np.array(annotation["bbox"], np.float64), joints, MPI17,
        camera=np.array(image["intrinsic"], np.float64), place=place,
    )  # fmt: skip
