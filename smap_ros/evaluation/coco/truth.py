"""COCO's person keypoints (Lin et al., ECCV 2014): photos, and people with 17 keypoints.

The JSON file holds ``images`` (``id``, ``file_name``, ``width``, ``height``), ``annotations``
(``image_id``, ``keypoints`` [17 x (x, y, v)], ``num_keypoints``, ``area``, ``bbox``, ``iscrowd``)
and ``categories``, of which the person's lists the keypoints' names. v is 0 for keypoints that
aren't labelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.common.jsonfiles import read_json
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.views import View, guessed_camera
from smap_ros.markup import whole_number
from smap_ros.skeletons import COCO17

PERSON = 1  # id of the category
NUMBERS = 3 * len(COCO17)  # of a person's keypoints
_LATEST = ("val2017", "val2014")  # of a folder, the first that is there
_MALFORMED = (KeyError, TypeError, ValueError, OverflowError, AttributeError)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CocoPhoto:
    """One photo: its number in the data set, how its file is found, and its people's labels."""

    number: int
    view: View
    people: Sequence[Json]


def read_coco(path: Path) -> list[CocoPhoto]:
    """The photos of a file of person keypoints, in its order, those without people as well.

    Args:
        path: the file, or the folder of the data set: its ``annotations`` folder is looked at
            for the validation set of 2017.

    Raises:
        InputError: if it is missing or malformed.
    """
    file = _file(path)
    content = read_json(file)
    try:
        numbers = [whole_number(image["id"]) for image in content["images"]]
        if (twice := repeated(numbers)) is not None:
            raise ValueError(f"two images have id {twice}")
        images = dict(zip(numbers, content["images"], strict=True))
        _check_names(file, content["categories"])
        people: dict[int, list[Json]] = {number: [] for number in images}
        for k, label in enumerate(content["annotations"]):
            if label["category_id"] == PERSON:
                people[whole_number(label["image_id"])].append(_label(label, k))
        photos = [_photo(file, image, people[number]) for number, image in images.items()]
    except _MALFORMED as error:
        raise InputError(
            f"{file} is malformed ({reason(error)}); expected COCO's person_keypoints_*.json with "
            "images, categories, and annotations of 17 keypoints"
        ) from error
    if not photos:
        raise InputError(f"{file} has no images")
    if (name := repeated(photo.view.key for photo in photos)) is not None:
        raise InputError(f"{file}: two images are called {name}; people are found by that name")
    return photos


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _LATEST:
        for folder in (path / "annotations", path):
            if (file := folder / f"person_keypoints_{name}.json").is_file():
                return file
    raise InputError(
        f"{path} has no annotations/person_keypoints_{_LATEST[0]}.json; name the file of person "
        "keypoints, or the folder of COCO"
    )


def _check_names(file: Path, categories: Sequence[Json]) -> None:
    """Refuse keypoints other than COCO's, or in another order."""
    names = {c["id"]: list(c["keypoints"]) for c in categories if "keypoints" in c}[PERSON]
    ours = [name.replace("left_", "l_").replace("right_", "r_") for name in names]
    if tuple(ours) != COCO17.joints:
        raise InputError(f"{file} has the keypoints {', '.join(names)}; expected COCO's 17")


def _label(label: Json, number: int) -> dict[str, Any]:
    """An annotation with what is measured, checked."""
    points = [float(value) for value in label["keypoints"]]
    numbers = np.array([*points, *map(float, label["bbox"]), float(label["area"])])
    if len(points) != NUMBERS or len(label["bbox"]) != 4 or not np.isfinite(numbers).all():
        raise ValueError(
            f"annotation {number} has {len(points)} numbers in keypoints, {len(label['bbox'])} in "
            f"bbox, all finite: {bool(np.isfinite(numbers).all())}"
        )
    if float(label["area"]) < 0:
        raise ValueError(f"annotation {number} has an area of {label['area']} px², below 0")
    return {
        "id": number + 1,
        "image_id": whole_number(label["image_id"]),
        "category_id": PERSON,
        "keypoints": points,
        "num_keypoints": int(np.count_nonzero(points[2::3])),
        "area": float(label["area"]),
        "bbox": [float(value) for value in label["bbox"]],
        "iscrowd": int(label.get("iscrowd", 0)),
    }


def _photo(file: Path, image: Json, people: Sequence[Json]) -> CocoPhoto:
    name = Path(str(image["file_name"]))
    camera = guessed_camera(whole_number(image["width"]), whole_number(image["height"]))
    number = whole_number(image["id"])
    return CocoPhoto(number, View(name.stem, camera, _picture(file, name)), people)


def _picture(file: Path, name: Path) -> Path:
    """Where a photo is: beside the annotations' folder, or in one named as their set."""
    part = file.stem.rsplit("_", 1)[-1]
    folders = (file.parent.parent / part, file.parent / part, file.parent, file.parent / "images")
    return next((f / name for f in folders if (f / name).is_file()), folders[0] / name)
