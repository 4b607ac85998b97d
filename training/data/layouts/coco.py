"""COCO's person keypoints (person_keypoints_train2017.json) as SMAP's bodies."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import coco

from smap_ros.errors import InputError, reason
from smap_ros.markup import json_value
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
from smap_train.data.layouts.coco_form import MALFORMED, Problem

KEYPOINTS = (
    "nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow",
    "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle",
)  # fmt: skip
FEWEST_KEYPOINTS = 3  # of a person that is kept
_NECK_SHARE = 0.185  # of the way from the hips to the shoulders, beyond the shoulders
_SAME = [(MPI15.index(name), k) for k, name in enumerate(KEYPOINTS) if name in MPI15.joints]


def open_coco(path: Path) -> tuple[coco.COCO, list[Problem]]:
    """A file in the form of COCO, indexed by its own tools, and the entries that can't be.

    Raises:
        InputError: if it can't be read, or isn't of that form.
    """
    try:
        content = json_value(path.read_bytes())
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is no annotation file of COCO: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f"{path} is no annotation file of COCO: it has no list of images")
    images, bad = _named(content["images"], f"{path}, image", "id")
    people, malformed = _named(content.get("annotations"), f"{path}, annotation", "id", "image_id")
    if not images:
        raise InputError(f"{path} is no annotation file of COCO: it has no images")
    found = coco.COCO()
    found.dataset = {"images": images, "annotations": people}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress there
        found.createIndex()
    lost = [
        (f"{path}, annotation {entry['id']}", f"is of image {entry['image_id']}, which isn't there")
        for entry in people
        if entry["image_id"] not in found.imgs
    ]
    return found, bad + malformed + lost


def _named(entries: Any, place: str, *keys: str) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The entries that have whole numbers or texts under the keys, and what is wrong with others.

    Raises:
        InputError: if there is no list of them.
    """
    if not isinstance(entries, list):
        raise InputError(f"{place.replace(',', ' has no list of')}s; expected COCO's form")
    good, bad = [], []
    for number, entry in enumerate(entries):
        if isinstance(entry, dict) and all(isinstance(entry.get(k), int | str) for k in keys):
            good.append(entry)
        else:
            bad.append((f"{place} {number}", f"is malformed: expected {' and '.join(keys)}"))
    return good, bad


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
    found, bad = open_coco(path)
    if bad:
        raise InputError(" ".join(bad[0]))
    for image in (found.imgs[key] for key in sorted(found.imgs)):
        place = f"{path}, image {image['id']}"
        try:
            people = [_body(a, image) for a in found.imgToAnns[image["id"]] if _usable(a)]
            if people:
                yield BodiesRecord(
                    Path(folder) / image["file_name"], image["width"], image["height"], COCO,
                    np.array(people), int(validation), place=place,
                )  # fmt: skip
        except MALFORMED as error:
            raise InputError(f"{place} is malformed: {reason(error)}") from error


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
