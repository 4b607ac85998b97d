"""Photos of one labelled person each as records of people, for networks that see crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from smap_ros.skeletons import MPI15
from smap_train.data.layouts.persons import (
    CAMERA_X,
    CAMERA_Y,
    CAMERA_Z,
    COLUMNS,
    SEEN,
    PersonRecord,
    U,
    V,
)
from smap_train.data.people import PhotoPerson, load_ccp, load_lspet, usable_photos

_ROOT_DEPTH_M = 4.0  # a guess: what is learnt of photos are depths about the root


class PhotoData(BaseModel):
    """A photo archive and its pseudo labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive: Path
    pseudo: Path


@dataclass(frozen=True)
class PhotoRecord(PersonRecord):
    """A person whose photo is in memory.

    Attributes:
        photo: uint8 [H, W, 3] bgr.
    """

    photo: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))

    def read(self) -> NDArray[np.uint8]:
        """The photo."""
        return self.photo


class PhotoPeople:
    """Photos as records; a photo is decoded when its record is asked for."""

    def __init__(self, people: Sequence[PhotoPerson], place: str) -> None:
        self.people, self.place = people, place

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, number: int) -> PhotoRecord:
        return photo_record(self.people[number], f"{self.place}, photo {number}")


def photo_record(photo: PhotoPerson, place: str) -> PhotoRecord:
    """A photo's person; boxed by the joints, with depths where all joints that are labelled have.

    Args:
        photo: its metres per pixel give the joints' places at a distance that is a guess.
        place: how messages call it.
    """
    image = photo.image()
    height, width = image.shape[:2]
    known = np.isfinite(photo.joints_2d).all(axis=1)
    joints = np.zeros((len(MPI15), COLUMNS))
    joints[:, [U, V]] = np.nan_to_num(photo.joints_2d)
    joints[:, SEEN] = known
    deep = bool(
        known[MPI15.root]
        and np.isfinite(photo.metres_per_pixel)
        and np.isfinite(photo.depth[known]).all()
    )
    if deep:
        from_root = photo.joints_2d - photo.joints_2d[MPI15.root]
        joints[known, CAMERA_X : CAMERA_Y + 1] = (from_root * photo.metres_per_pixel)[known]
        joints[known, CAMERA_Z] = _ROOT_DEPTH_M + photo.depth[known]
    low = np.maximum(photo.joints_2d[known].min(axis=0), 0)
    high = np.minimum(photo.joints_2d[known].max(axis=0), (width - 1, height - 1))
    return PhotoRecord(
        image=Path(place), width=width, height=height,
        box=np.concatenate([low, high - low + 1]).astype(np.float64),
        joints=joints, skeleton=MPI15, has_depth=deep, place=place, photo=image,
    )  # fmt: skip


def open_photos(
    sports: PhotoData | None,
    street: PhotoData | None,
    holdout: int,
    on_bad: Literal["stop", "skip"] = "stop",
    skipped: Path | None = None,
) -> tuple[list[PhotoPerson], list[PhotoPerson]]:
    """Sports and street photos without the tails that are kept for testing.

    Args:
        sports: Leeds Sports Pose Extended, or None.
        street: Clothing Co-Parsing, or None.
        holdout: last sports photos that are left out, and a fifth as many street photos.
        on_bad: whether a photo that can't be used is an error, or left out.
        skipped: file that lists those left out.

    Raises:
        InputError: if an archive or its labels can't be read.
        BadRecordError: if a photo can't be used, and none may be left out.
    """
    lspet = load_lspet(sports.archive, sports.pseudo) if sports else []
    ccp = load_ccp(street.archive, street.pseudo) if street else []
    kept = lspet[: -holdout or None], ccp[: -(holdout // 5) or None]
    return usable_photos(kept[0], on_bad, skipped), usable_photos(kept[1], on_bad, skipped)
