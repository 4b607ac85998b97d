"""COCO's person keypoints (person_keypoints_train2017.json) as SMAP's bodies."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import coco

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import (
    COCO,
    COLUMNS,
    CX,
    CY,
    FX,
    FY,
    SEEN,
    BodiesRecord,
    Float64,
    X,
    Y,
)

KEYPOINTS = (
    "nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow",
    "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle",
)  # fmt: skip
FEWEST_KEYPOINTS = 3  # of a person that is kept
_NECK_SHARE = 0.185  # of the way from the hips to the shoulders, beyond the shoulders
_SAME = [(MPI15.index(name), k) for k, name in enumerate(KEYPOINTS) if name in MPI15.joints]


def open_coco(path: Path) -> coco.COCO:
    """A file in the form of COCO, read by its own tools.

    Raises:
        InputError: if it can't be read, or isn't of that form.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress there
            found = coco.COCO(str(path))
        if not isinstance(found.imgs, dict) or not found.imgs:
            raise ValueError("it has no images")
        return found
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AssertionError, IndexError) as error:
        raise InputError(f"{path} is no annotation file of COCO: {error!r}") from error


def read_coco(path: Path, folder: str, *, validation: bool = False) -> Iterator[BodiesRecord]:
    """The pictures with somebody labelled, in the order of their ids.

    Crowds, and people with fewer than three keypoints, are left out.

    Args:
        path: of the annotations.
        folder: of the pictures below the data set's; goes before their names.
        validation: mark the records as held out.

    Raises:
        InputError: if the file can't be read, or a record is malformed, naming it.
    """
    found = open_coco(path)
    for image in (found.imgs[key] for key in sorted(found.imgs)):
        place = f"{path}, image {image['id']}"
        try:
            people = [_body(a, image) for a in found.imgToAnns[image["id"]] if _usable(a)]
            if people:
                yield BodiesRecord(
                    Path(folder) / image["file_name"], image["width"], image["height"], COCO,
                    np.array(people), int(validation), place=place,
                )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{place} is malformed: {error!r}") from error


def _usable(annotation: dict[str, Any]) -> bool:
    return annotation["iscrowd"] == 0 and annotation["num_keypoints"] >= FEWEST_KEYPOINTS


def _body(annotation: dict[str, Any], image: dict[str, Any]) -> Float64:
    """15 x 11 numbers of one person. Depths are 0; the focal length is the picture's width."""
    numbers = np.array(annotation["keypoints"], np.float64)
    if numbers.shape != (3 * len(KEYPOINTS),):
        raise ValueError(
            f"keypoints of annotation {annotation['id']} are {numbers.shape[0]} numbers, "
            f"expected {3 * len(KEYPOINTS)}"
        )
    points = numbers.reshape(-1, 3)
    body = np.zeros((len(MPI15), COLUMNS))
    for joint, keypoint in _SAME:
        body[joint, [X, Y, SEEN]] = points[keypoint]
    hips = body[[MPI15.index("l_hip"), MPI15.index("r_hip")]]
    shoulders = body[[MPI15.index("l_shoulder"), MPI15.index("r_shoulder")]]
    pelvis, neck = body[MPI15.root], body[MPI15.index("neck")]
    pelvis[[X, Y]] = middle = hips[:, [X, Y]].mean(axis=0)
    pelvis[SEEN] = hips[:, SEEN].min()
    above = shoulders[:, [X, Y]].mean(axis=0)
    neck[[X, Y]] = above + _NECK_SHARE * (above - middle)
    neck[SEEN] = min(pelvis[SEEN], shoulders[:, SEEN].min())
    body[:, [FX, FY]] = image["width"]
    body[:, CX], body[:, CY] = image["width"] / 2, image["height"] / 2
    return body
