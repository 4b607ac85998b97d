"""LUPerson's crops of people with the keypoints that HAP's authors had ViTPose find.

Pictures ``X.jpg`` in one folder, ``X.npy`` in another: a pickled array of objects, whose first
element's first is a dictionary with ``keypoints``, 17 x 3 (x, y, score), COCO's order, pixels. A
pickled list names the pictures in the order of their usefulness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError, reason
from smap_ros.plain_pickle import read_plain_pickle
from smap_ros.skeletons import COCO17
from smap_train.data.index import TEXT, Index, Row, fixed, open_index
from smap_train.data.layouts.pictures import read_picture
from smap_train.data.records import IndexedRecords

_VERSION = 2
_MOST_PX = 1e5
_SCHEMA = {
    "image": TEXT, "keypoints": fixed("<f4", len(COCO17), 2), "place": TEXT, "problem": TEXT
}  # fmt: skip


@dataclass(frozen=True)
class PersonCrop:
    """A crop of a person.

    Attributes:
        image: its file.
        keypoints: float32 [17, 2], COCO's, pixels.
        place: for messages.
    """

    image: Path
    keypoints: NDArray[np.float32]
    place: str

    def read(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            BadRecordError: if it is missing or damaged.
        """
        return read_picture(self.image, None, self.place)


class PersonCrops(IndexedRecords[PersonCrop]):
    """The crops of a list."""

    def __init__(self, index: Index, folder: Path) -> None:
        super().__init__(index)
        self.folder = folder

    def made(self, row: Row) -> PersonCrop:
        """The crop of a row."""
        return PersonCrop(self.folder / row["image"], row["keypoints"], row["place"])


def open_luperson(
    names: Path, images: Path, poses: Path, share: float = 1.0, cache: Path | None = None
) -> PersonCrops:
    """The first ``share`` of the crops that a list names.

    Args:
        names: ``cfs_list.pkl``.
        images: folder that the names are relative to.
        poses: folder of the keypoints, by the same names.
        share: of the list.
        cache: folder of indexes; the user's cache folder if None.

    Raises:
        InputError: if the list can't be read.
    """
    index = open_index(
        f"luperson-{share:g}", _VERSION, [names], _SCHEMA, lambda: _rows(names, poses, share), cache
    )
    return PersonCrops(index, images)


def _rows(names: Path, poses: Path, share: float) -> Iterator[dict[str, Any]]:
    listed = read_plain_pickle(names)
    if not (isinstance(listed, list) and all(isinstance(name, str) for name in listed)):
        raise InputError(f"{names} is no list of names of pictures")
    for name in listed[: int(len(listed) * share)]:
        path = (poses / name).with_suffix(".npy")
        row = {"image": name, "keypoints": np.zeros((17, 2)), "place": str(path), "problem": ""}
        try:
            row["keypoints"] = _keypoints(read_plain_pickle(path))
        except (InputError, KeyError, IndexError, TypeError, ValueError) as error:
            row["problem"] = f"holds no 17 keypoints: {reason(error)}"
        yield row


def _keypoints(content: Any) -> NDArray[np.float32]:
    points = np.array(content[0][0]["keypoints"], np.float32)
    if points.shape != (len(COCO17), 3):
        raise ValueError(f"keypoints have the shape {points.shape}, expected (17, 3)")
    wrong = np.argwhere(~(np.abs(points) <= _MOST_PX))
    if len(wrong):
        joint, column = wrong[0]
        raise ValueError(f"keypoints[{joint}][{column}] is {points[joint, column]:g}")
    return points[:, :2]
