"""Leeds Sports Pose Extended (Johnson and Everingham, CVPR 2011): photos with 2D joints.

The archive is a zip file, or a folder, of ``images/`` and ``annotations.json``: ``joint_names``
(14) and ``images``, each with ``image``, ``width``, ``height`` and ``joints`` [14][x, y, labelled].
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import DAMAGED_ZIP, InputError, reason
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.views import guessed_camera
from smap_ros.images import decode_compressed
from smap_ros.markup import json_value
from smap_ros.skeletons import MPI15

LOG = logging.getLogger(__name__)

ANNOTATIONS = "annotations.json"
MIN_JOINTS = 9  # labelled ones, of the 15; fewer don't make a useful person

Float = NDArray[np.float32]


class PhotoFiles:
    """Files of a zip archive or of a folder, by name.

    Raises:
        InputError: if the path is neither.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGED_ZIP as error:
            raise InputError(
                f"can't open {path}: {getattr(error, 'strerror', None) or error}; expected a zip "
                f"file or a folder of images/ and {ANNOTATIONS}"
            ) from error

    def __reduce__(self) -> tuple[type[PhotoFiles], tuple[Path]]:
        """Opened again in another process."""
        return PhotoFiles, (self._path,)

    def names(self) -> list[str]:
        """Names of all files, sorted, with ``/`` between folders."""
        if self._zip is not None:
            return sorted(name for name in self._zip.namelist() if not name.endswith("/"))
        inside = (path for path in self._path.rglob("*") if path.is_file())
        return sorted(path.relative_to(self._path).as_posix() for path in inside)

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            InputError: if it is missing, damaged or encrypted.
        """
        try:
            if self._zip is not None:
                return self._zip.read(name)
            return (self._path / name).read_bytes()
        except (OSError, KeyError) as error:
            raise InputError(f"can't read {name} of {self._path}: {error}") from error
        except DAMAGED_ZIP as error:
            raise InputError(
                f"can't read {name} of {self._path}: {reason(error)}; expected a whole archive "
                "without a password. Fetch it again, or give the folder that you unpack it into"
            ) from error


@dataclass(frozen=True)
class Photo:
    """One photo of one labelled person; others may be in it without labels.

    Attributes:
        name: of the file in the archive.
        width, height: pixels.
        joints_2d: float32 [15, 2], mpi15, pixels; NaN where not labelled.
        files: the archive.
    """

    name: str
    width: int
    height: int
    joints_2d: Float
    files: PhotoFiles

    @property
    def key(self) -> str:
        """What predictions of this photo are named by: the stem of its file."""
        return Path(self.name).stem

    @property
    def camera(self) -> Camera:
        """A camera for what needs one; its field of view is a guess."""
        return guessed_camera(self.width, self.height)

    def encoded(self) -> bytes:
        """The photo as it is in the archive (JPEG)."""
        return self.files.read(self.name)

    def image(self) -> NDArray[np.uint8]:
        """The photo, uint8 [H, W, 3] bgr.

        Raises:
            InputError: if it is missing or damaged, or hasn't the size that its labels say.
        """
        return decoded(self.files, self.name, (self.width, self.height))


def decoded(files: PhotoFiles, name: str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """A photo, uint8 [H, W, 3] bgr.

    Args:
        files: the archive that has it.
        name: of its file there.
        size: width and height that its labels are for; None where they don't say.

    Raises:
        InputError: if it is missing or damaged, or has another size.
    """
    try:
        image = decode_compressed(files.read(name))
    except InputError as error:
        raise InputError(f"photo {name}: {error}") from error
    if size is not None and image.shape[1::-1] != size:
        raise InputError(
            f"photo {name} is {image.shape[1]}x{image.shape[0]} px, but its labels say "
            f"{size[0]}x{size[1]} px; copy the data again"
        )
    return image


def read_lspet(path: Path) -> list[Photo]:
    """The photos with at least :data:`MIN_JOINTS` labelled joints, in the order of the labels.

    Training and testing both take theirs from this list, so that a tail kept from training
    (``holdout`` of ``smap-train fit``) is the same photos here.

    Raises:
        InputError: if the archive or its labels can't be read, two photos have one name, or there
            is none with so many joints.
    """
    photos = _photos(path)
    check_names([photo.key for photo in photos], f"{ANNOTATIONS} of {path}")
    known = [photo for photo in photos if np.isfinite(photo.joints_2d[:, 0]).sum() >= MIN_JOINTS]
    if not known:
        raise InputError(
            f"{ANNOTATIONS} of {path} labels nobody well enough: of {len(photos)} photos, expected "
            f"some with at least {MIN_JOINTS} labelled joints"
        )
    tell_of_unknown(len(photos) - len(known), len(photos), path)
    return known


def tell_of_unknown(few: int, photos: int, source: Path) -> None:
    """Say how many of the photos are left out, as fewer than :data:`MIN_JOINTS` are labelled."""
    if few:
        LOG.info(
            "left out: %d of %d photos of %s: fewer than %d joints are labelled",
            few, photos, source, MIN_JOINTS,
        )  # fmt: skip


def check_names(keys: Sequence[str], source: str) -> None:
    """Refuse photos of one name, of which predictions can be only one.

    Args:
        keys: stems of the photos' files.
        source: that lists them, for people.

    Raises:
        InputError: if two are equal.
    """
    if (twice := repeated(keys)) is not None:
        raise InputError(
            f"{source}: two photos are called {twice}; people are found by that name, and a photo "
            "listed twice would count twice. Leave one of them, or rename it"
        )


def _photos(path: Path) -> list[Photo]:
    """All photos that are listed."""
    files = PhotoFiles(path)
    try:
        data: Any = json_value(files.read(ANNOTATIONS))
        names = list(data["joint_names"])
        photos = []
        for entry in data["images"]:
            joints = mpi15_joints(np.array(entry["joints"], np.float32), names)
            size = int(entry["width"]), int(entry["height"])
            photos.append(Photo(str(entry["image"]), *size, joints, files))
        return photos
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise InputError(
            f"{ANNOTATIONS} of {path} is malformed ({reason(error)}); expected joint_names and "
            "images with image, width, height and joints [14][x, y, labelled]"
        ) from error


def mpi15_joints(points: Float, names: list[str]) -> Float:
    """Labelled joints brought to mpi15.

    Neck and pelvis are the midpoints of shoulders and hips, as everywhere in mpi15. LSPET's own
    neck label sits a tenth of a torso higher and only stands in where a shoulder is unlabelled.

    Args:
        points: float32 [14, 3]: x, y in pixels, and whether it is labelled.
        names: of these joints.

    Returns:
        float32 [15, 2], NaN where not labelled.
    """
    joints = np.full((len(MPI15), 2), np.nan, np.float32)
    for k, joint in enumerate(MPI15.joints):
        if joint in names and points[names.index(joint), 2] > 0:
            joints[k] = points[names.index(joint), :2]
    for middle, side in (("neck", "shoulder"), ("pelvis", "hip")):
        midpoint = (joints[MPI15.index(f"l_{side}")] + joints[MPI15.index(f"r_{side}")]) / 2
        if np.isfinite(midpoint).all():
            joints[MPI15.index(middle)] = midpoint
    return joints
