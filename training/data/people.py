"""People in photos: labels of LSPET and CCP brought to mpi15, with pseudo depth where it agrees.

A photo's depth labels are weak-perspective: pseudo 3D landmarks in metres against their own
pixels give pixels per metre, hence the depth over focal length, Z / f = metres per pixel. That is
SMAP's normalised root depth (ECCV 2020, section 3.2), so no focal length has to be guessed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import DAMAGED_ZIP, InputError, reason
from smap_ros.evaluation.pck2d.truth import MIN_JOINTS, read_lspet
from smap_ros.evaluation.views.truth import from_blaze
from smap_ros.images import check_complete
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.photos import pseudo_arrays
from smap_train.engine.sampling import BadRecordError, list_skipped

_MOST_PX, _MOST_M = 100_000.0, 10.0
_MAX_DISAGREEMENT = 0.25  # of the torso length, median over joints, for pseudo depth to count

Float = NDArray[np.float32]


@dataclass(frozen=True)
class PhotoPerson:
    """One labelled person and the photo around them.

    Attributes:
        photo: encoded image.
        mask: encoded person mask, or None.
        joints_2d: float32 [15, 2] pixels; NaN where unknown.
        depth: float32 [15] metres relative to the pelvis (away is positive); NaN where unknown.
        metres_per_pixel: root depth over focal length; NaN where unknown.
        place: archive and name of the photo, for messages.
        size: width and height of the photo that the labels are for, pixels; None where they don't
            say.
    """

    photo: bytes
    mask: bytes | None
    joints_2d: Float
    depth: Float
    metres_per_pixel: float
    place: str = ""
    size: tuple[int, int] | None = None

    def image(self) -> NDArray[np.uint8]:
        """The decoded photo, uint8 [H, W, 3] bgr."""
        return _decode(self.photo, cv2.IMREAD_COLOR)

    def person_mask(self) -> NDArray[np.uint8] | None:
        """The decoded mask, uint8 [H, W], 255 on the person; None if there is none."""
        if self.mask is None:
            return None
        return ((_decode(self.mask, cv2.IMREAD_GRAYSCALE) > 0) * 255).astype(np.uint8)


def _decode(data: bytes, flag: int) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if image is None:
        raise InputError(f"a labelled photo of {len(data)} bytes is not an image; re-copy the data")
    return image


def load_lspet(archive: Path, pseudo: Path) -> list[PhotoPerson]:
    """Leeds Sports Pose Extended (Johnson and Everingham, CVPR 2011) with pseudo depth.

    Args:
        archive: see :func:`smap_ros.evaluation.pck2d.truth.read_lspet`.
        pseudo: npz with ``names``, ``landmarks`` [n, 33, 3], ``world_m`` [n, 33, 3].
    """
    labels = pseudo_arrays(pseudo)
    row = {str(name): k for k, name in enumerate(labels["names"])}
    landmarks, world = labels["landmarks"], labels["world_m"]
    people = []
    for photo in read_lspet(archive):
        depth, scale = np.full(15, np.nan, np.float32), float("nan")
        k = row.get(photo.name)
        if k is not None:
            pseudo_2d, pseudo_depth, pseudo_scale = _from_blaze(landmarks[k], world[k])
            if _agrees(photo.joints_2d, pseudo_2d):
                depth, scale = pseudo_depth, pseudo_scale
        place = f"{archive}, {photo.name}"
        size = photo.width, photo.height
        people.append(
            PhotoPerson(photo.encoded(), None, photo.joints_2d, depth, scale, place, size)
        )
    return people


def load_ccp(archive: Path, pseudo: Path) -> list[PhotoPerson]:
    """Clothing Co-Parsing street photos (Yang et al., CVPR 2014) with pseudo labels.

    Args:
        archive: zip of photos and, in ``masks``, of the people's masks.
        pseudo: as of :func:`load_lspet`.
    """
    labels = pseudo_arrays(pseudo)
    people = []
    expected = f"the zip of the photos that {pseudo.name} names"
    with _readable(archive, expected), zipfile.ZipFile(archive) as files:
        members = {name.removeprefix("ccp_people/"): name for name in files.namelist()}
        for name, landmarks, world in zip(
            labels["names"], labels["landmarks"], labels["world_m"], strict=True
        ):
            joints, depth, scale = _from_blaze(landmarks, world)
            if np.isfinite(joints[:, 0]).sum() < MIN_JOINTS:
                continue
            mask = members.get(f"masks/{Path(str(name)).stem}.png")
            people.append(
                PhotoPerson(
                    files.read(members[str(name)]),
                    files.read(mask) if mask else None,
                    joints,
                    depth,
                    scale,
                    f"{archive}, {name}",
                )
            )
    return people


def usable_photos(
    people: Sequence[PhotoPerson], on_bad: Literal["stop", "skip"], skipped: Path | None = None
) -> list[PhotoPerson]:
    """The people whose photo and labels can be used.

    Args:
        people: loaded.
        on_bad: whether one who can't be is an error, or left out.
        skipped: file that lists those left out.

    Raises:
        BadRecordError: if somebody can't be used, and nobody may be left out.
    """
    usable = []
    for number, person in enumerate(people):
        problem = _problem(person)
        if not problem:
            usable.append(person)
            continue
        bad = BadRecordError(f"{person.place}: {problem}")
        if on_bad == "stop":
            raise bad
        list_skipped(skipped, person.place.partition(",")[0], number, bad)
    return usable


def _problem(person: PhotoPerson) -> str:
    """What is wrong with a person; nothing if they can be used."""
    for name, data in (("photo", person.photo), ("mask", person.mask)):
        try:
            if data is None:
                continue
            _, *shape = check_complete(data)
        except InputError as error:
            return f"its {name} is damaged: {error}"
        height, width = shape
        if person.size is not None and (width, height) != person.size:
            stated = "{}x{} px".format(*person.size)
            return f"its {name} is {width}x{height} px, but its labels are for {stated}"
    numbers = {"joints": person.joints_2d, "depths": person.depth}
    for name, most in (("joints", _MOST_PX), ("depths", _MOST_M)):
        known = numbers[name][~np.isnan(numbers[name])]
        if (np.abs(known) > most).any():
            return f"{name} has {known[np.argmax(np.abs(known))]:g}; expected within {most:g} of 0"
    return ""


@contextmanager
def _readable(path: Path, expected: str) -> Iterator[None]:
    """Refuse a file of data that is missing, damaged or something else."""
    try:
        yield
    except DAMAGED_ZIP as error:
        raise InputError(
            f"{path} can't be read ({reason(error)}); expected {expected}. Fetch or make it again"
        ) from error


def _from_blaze(landmarks: Float, world: Float) -> tuple[Float, Float, float]:
    """Pseudo landmarks to mpi15: pixels [15, 2], relative depth [15], metres per pixel."""
    landmarks, world = landmarks.astype(np.float32), world.astype(np.float32)
    raw = np.concatenate([landmarks[:, :2], world], axis=1)
    points = from_blaze(raw, landmarks[:, 2])  # u, v, X, Y, Z
    pixels, metres = points[:, :2], points[:, 2:]
    known = np.isfinite(points).all(axis=1)
    scale = float("nan")
    if known.sum() >= 6:
        a = pixels[known] - pixels[known].mean(axis=0)
        b = metres[known, :2] - metres[known, :2].mean(axis=0)
        pixels_per_metre = float((a * b).sum() / max((b * b).sum(), 1e-6))
        scale = 1.0 / pixels_per_metre if pixels_per_metre > 1 else float("nan")
    return pixels, metres[:, 2] - metres[MPI15.root, 2], scale


def _agrees(joints: Float, pseudo: Float) -> bool:
    """Whether a pseudo label is the labelled person, with the same left and right."""
    both = np.isfinite(joints).all(axis=1) & np.isfinite(pseudo).all(axis=1)
    torso = np.linalg.norm(joints[MPI15.index("neck")] - joints[MPI15.root])
    if both.sum() < MIN_JOINTS or not np.isfinite(torso) or torso < 5:
        return False
    distance = np.linalg.norm(joints[both] - pseudo[both], axis=1)
    return bool(np.median(distance) < _MAX_DISAGREEMENT * torso)
