"""Pictures of labelled data sets, as predictions ask for them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.pictures import read_picture

LOG = logging.getLogger(__name__)

# Focal lengths that differ by more than this share make distances differ visibly.
_SAME_FOCAL = 0.01
_FOV = math.radians(60)  # a guess: where joints are in the picture doesn't depend on it


def guessed_camera(width: int, height: int) -> Camera:
    """A camera for pictures whose labels are in the picture alone; its field of view is a guess."""
    return Camera.from_fov(width, height, _FOV)


@dataclass(frozen=True)
class View:
    """One picture of a data set.

    Attributes:
        key: what predictions of it are named by: the stem of its file, after the name of its
            sequence and a slash where the stem alone isn't unique in the data set.
        camera: at the size of the picture.
        path: its file, which only a bundle needs.
        sequence_name: also where the key lacks it; empty if it is of none.
    """

    key: str
    camera: Camera
    path: Path
    sequence_name: str = ""

    def image(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            InputError: if it is missing or damaged, or hasn't the size that its labels say.
        """
        if not self.path.is_file():
            raise InputError(
                f"the picture {self.path} is missing; a bundle is measured on the pictures, put "
                "them where the data set has them, or give a bodies.json"
            )
        image = read_picture(self.path)
        size = (self.camera.width, self.camera.height)
        if image.shape[1::-1] != size:
            raise InputError(
                f"picture {self.path} is {image.shape[1]}x{image.shape[0]} px, but its labels are "
                f"for {size[0]}x{size[1]} px; copy the data set again"
            )
        return image


class Coverage:
    """Counts which pictures the predictions have, and whether they used the right cameras.

    Attributes:
        seen: pictures that were predicted.
        missing: pictures that were not.
    """

    def __init__(self) -> None:
        self.seen = self.missing = 0
        self._other_focal = 0

    def note(self, frame: BodyFrame | None, view: View) -> None:
        """Take one picture's prediction, None where there is none."""
        self.count(frame is not None)
        if frame is not None:
            self._other_focal += abs(frame.camera.fx / view.camera.fx - 1) > _SAME_FOCAL

    def count(self, there: bool) -> None:
        """Take one picture whose camera isn't known."""
        self.seen += there
        self.missing += not there

    def finish(self, description: str) -> None:
        """Warn of other cameras.

        Raises:
            InputError: if no picture was predicted.
        """
        if not self.seen:
            raise InputError(
                f"{description} has none of the {self.missing} pictures of the ground truth; are "
                "they of the same data? Pictures are found by the name of their file; in a folder "
                "of results, those of a sequence are in a folder of its name"
            )
        if self._other_focal:
            LOG.warning(
                "%d of %d pictures were estimated with another focal length than that of the "
                "labels, so distances can't agree; estimate with the data set's cameras",
                self._other_focal,
                self.seen,
            )
