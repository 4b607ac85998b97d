"""MuCo-3DHP.json (pictures of people composed of MPI-INF-3DHP) as SMAP's bodies.

A file of a gigabyte, in the form of COCO: ``images`` with ``f`` and ``c``, ``annotations`` with
``keypoints_img`` (21 x 2 pixels), ``keypoints_cam`` (21 x 3 millimetres) and ``keypoints_vis``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Z,
    COLUMNS,
    CX,
    CY,
    DEPTH,
    FX,
    FY,
    SEEN,
    BodiesRecord,
    Float64,
    X,
    Y,
)
from smap_train.data.layouts.json_stream import entries

DATASET = "MuCo"
JOINTS = 21
# Which of its 21 joints each of mpi15 is.
_ORDER = (1, 0, 14, 5, 6, 7, 11, 12, 13, 2, 3, 4, 8, 9, 10)
_MM_PER_CM = 10.0


def read_muco(path: Path, folder: str = "") -> Iterator[BodiesRecord]:
    """The pictures with somebody in them, in the order of the file.

    Visibility is 2 where ``keypoints_vis`` says so, 1 elsewhere, for hidden joints are labelled as
    well, and 0 outside of the picture. How the authors made it of the file isn't known.

    Args:
        path: of MuCo-3DHP.json.
        folder: of the pictures below the data set's; goes before their names.

    Raises:
        InputError: if the file can't be read, or a record is malformed, naming it.
    """
    people: dict[int, list[Float64]] = defaultdict(list)
    for number, entry in enumerate(entries(path, "annotations")):
        try:
            people[entry["image_id"]].append(_joints(entry))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, annotation {number} is malformed: {error!r}") from error
    for image in entries(path, "images"):
        place = f"{path}, image {image.get('id') if isinstance(image, dict) else image!r}"
        try:
            bodies = _bodies(people.pop(image["id"], []), image)
            name, width, height = image["file_name"], image["width"], image["height"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{place} is malformed: {error!r}") from error
        if len(bodies):
            yield BodiesRecord(Path(folder) / name, width, height, DATASET, bodies, place=place)
    if people:
        raise InputError(f"{path} has people of image {next(iter(people))}, which it doesn't have")


def _joints(entry: dict[str, Any]) -> Float64:
    """x, y (pixels), X, Y, Z (mm), visible: float64 [15, 6], joints of mpi15."""
    columns = [
        np.array(entry[name], np.float64).reshape(len(entry[name]), -1)
        for name in ("keypoints_img", "keypoints_cam", "keypoints_vis")
    ]
    shapes = [column.shape for column in columns]
    if shapes != [(JOINTS, 2), (JOINTS, 3), (JOINTS, 1)]:
        raise ValueError(
            f"keypoints_img, keypoints_cam and keypoints_vis have the shapes {shapes}, expected "
            f"{JOINTS} x 2, x 3 and x 1"
        )
    return np.concatenate(columns, axis=1)[list(_ORDER)]


def _bodies(people: list[Float64], image: dict[str, Any]) -> Float64:
    bodies = np.zeros((len(people), len(MPI15), COLUMNS))
    for body, own in zip(bodies, people, strict=True):
        body[:, [X, Y]] = own[:, :2]
        body[:, CAMERA_X : CAMERA_Z + 1] = own[:, 2:5] / _MM_PER_CM
        body[:, DEPTH] = body[:, CAMERA_Z]
        size = (image["width"], image["height"])
        inside = ((own[:, :2] >= 0) & (own[:, :2] < size)).all(axis=1)
        body[:, SEEN] = np.where(inside, np.where(own[:, 5] > 0, 2, 1), 0)
        body[:, [FX, FY]], body[:, [CX, CY]] = image["f"], image["c"]
    return bodies
