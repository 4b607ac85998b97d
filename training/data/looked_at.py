"""Crops of people, and of nobody, as the second look at each person sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.estimators.second_look.fusing import towards
from smap_ros.estimators.second_look.region import MIN_SIDE_PX, Region, region_around
from smap_ros.skeletons import MPI15
from smap_train.data.augment import darkened, smeared
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Z,
    FX,
    SEEN,
    BodiesRecord,
    BodiesRecords,
    X,
    Y,
)
from smap_train.data.people import PhotoPerson
from smap_train.data.records import CENTIMETRES
from smap_train.engine.sampling import BadRecordError, list_skipped

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Double = NDArray[np.float64]
Rng = np.random.Generator

VISIBLE = 2  # of a body's joints
_JOINTS = len(MPI15)
_FEWEST_SEEN, _SMALLEST_PX = 4, 24.0  # of people who are learnt from
_HIDDEN, _OUTSIDE = 0.5, 0.25  # weights of joints that nobody could see

# How far off the first look is: deviations of its joints over the farthest one's distance, of the
# crop's turn (radians) and of the logarithm of its side.
_USUAL, _LOST = 0.03, 0.12
_LOST_SHARE, _TURNED_SHARE = 0.15, 0.03
_TURN, _SIDE = 0.15, 0.1

_TINT = 0.2
_DARK_SHARE, _SMEARED_SHARE, _COARSE_SHARE, _COVERED_SHARE = 0.05, 0.05, 0.2, 0.15
_COARSE_PX = (32, 128)  # sides of crops of people far away
_NOBODYS_SIDE = (0.15, 1.0)  # of crops without people, over the picture's height
_LIMB, _ALONG = 0.1, 6  # what is about a limb, over the square's side; points along it
_TRIES, _SMALLER = 100, 0.93  # and how much smaller squares get from one to the next


@dataclass(frozen=True)
class Subject:
    """Somebody in a picture.

    Attributes:
        picture: uint8 [H, W, 3] bgr.
        pixels: float64 [15, 2], pixels of the picture, hidden joints too; NaN where unknown.
        points: float64 [15, 3], metres about the pelvis, along the camera's axes; NaN where
            unknown.
        seen: float64 [15], 1 where a joint can be seen, 0 where not; NaN where unknown.
        camera: that took the picture; None where unknown.
    """

    picture: Image
    pixels: Double
    points: Double
    seen: Double
    camera: Camera | None = None


@dataclass(frozen=True)
class Crop:
    """What the network sees, and what it should answer; NaN where nobody knows.

    Attributes:
        image: uint8 [S, S, 3] rgb.
        pixels: float64 [15, 2], crop pixels from its corner.
        pose: float64 [15, 3], metres about the pelvis, x right, y down, z away in the crop.
        seen: float64 [15], probabilities.
    """

    image: Image
    pixels: Double
    pose: Double
    seen: Double

    def mirrored(self) -> Crop:
        """Left and right exchanged."""
        flip, size = MPI15.flip, self.image.shape[1]
        pixels = np.column_stack([size - self.pixels[:, 0], self.pixels[:, 1]])
        pose = self.pose * (-1.0, 1.0, 1.0)
        image = np.ascontiguousarray(self.image[:, ::-1])
        return Crop(image, pixels[flip], pose[flip], self.seen[flip])

    def weights(self) -> Double:
        """How much each joint's place counts, float64 [15]: less where it can't be seen."""
        size = len(self.image)
        inside = ((self.pixels >= 0) & (self.pixels <= size)).all(axis=1)
        shown = np.where(inside, np.where(self.seen == 0, _HIDDEN, 1.0), _OUTSIDE)
        return np.where(np.isfinite(self.pixels).all(axis=1), shown, 0.0)


class VirtualSubjects:
    """The people of virtual scenes of whom enough can be seen, one by one.

    Args:
        scenes: of folders of shards.
        on_bad: whether a scene that can't be used is an error, or left out.
        skipped: file that lists those left out.

    Raises:
        BadRecordError: if a scene can't be used, and none may be left out.
    """

    def __init__(
        self,
        scenes: BodiesRecords,
        on_bad: Literal["stop", "skip"] = "stop",
        skipped: Path | None = None,
    ) -> None:
        self.scenes = scenes
        self.places: list[tuple[int, int]] = []
        for number in range(len(scenes)):
            try:
                bodies = scenes[number].bodies
            except BadRecordError as error:
                if on_bad == "stop":
                    raise
                list_skipped(skipped, "virtual", number, error)
                continue
            self.places += [(number, row) for row, body in enumerate(bodies) if _is_clear(body)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Subject:
        scene, row = self.places[number]
        record = self.scenes[scene]
        return _subject(record, record.bodies[row])


def _is_clear(body: Double) -> bool:
    visible = body[:, SEEN] == VISIBLE
    extent = np.ptp(body[visible][:, [X, Y]], axis=0).max() if visible.any() else 0.0
    placed = bool(_known(body)[MPI15.root])
    return int(visible.sum()) >= _FEWEST_SEEN and extent >= _SMALLEST_PX and placed


def _known(body: Double) -> NDArray[np.bool_]:
    """Joints whose pixels are known: not those beside the camera."""
    return np.asarray((body[:, SEEN] > 0) | body[:, [X, Y]].any(axis=1), np.bool_)


def _subject(record: BodiesRecord, body: Double) -> Subject:
    known = _known(body)
    points = body[:, CAMERA_X : CAMERA_Z + 1] / CENTIMETRES.of_a_metre
    fx, fy, cx, cy = body[MPI15.root, FX:].tolist()
    return Subject(
        record.read(),
        np.where(known[:, None], body[:, [X, Y]], np.nan),
        points - points[MPI15.root],
        (body[:, SEEN] == VISIBLE).astype(np.float64),
        Camera(record.width, record.height, fx, fy, cx, cy),
    )


class PhotoSubjects:
    """People of photos whose pelvis is known, one by one; their depths are a model's."""

    def __init__(self, people: Sequence[PhotoPerson]) -> None:
        self.people = [p for p in people if np.isfinite(p.joints_2d[MPI15.root]).all()]

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, number: int) -> Subject:
        person = self.people[number]
        pixels = person.joints_2d.astype(np.float64)
        flat = (pixels - pixels[MPI15.root]) * person.metres_per_pixel
        points = np.column_stack([flat, person.depth])
        known = np.isfinite(pixels).all(axis=1)
        return Subject(person.image(), pixels, points, np.where(known, 1.0, np.nan))


def person_crop(rng: Rng, subject: Subject, size: int, margin: float) -> Crop:
    """A random crop of somebody, about as wrong as a first look would cut it.

    Raises:
        BadRecordError: if the person is a point.
    """
    region = believed_region(rng, subject.pixels, size, margin)
    return worsened(rng, crop_of(subject, region))


def crop_of(subject: Subject, region: Region) -> Crop:
    """Somebody in a square of their picture."""
    image = region.apply(subject.picture)[..., ::-1]
    turn = np.eye(3)
    if subject.camera is not None:
        turn = towards(subject.camera, np.array([region.x, region.y]))
    pose = subject.points @ turn
    pose[:, :2] = pose[:, :2] @ region.turn
    pixels = region.to_crop(subject.pixels)
    outside = ((pixels < 0) | (pixels > region.size)).any(axis=1)
    seen = np.where(outside & (subject.seen > 0), 0.0, subject.seen)
    return Crop(np.ascontiguousarray(image), pixels, pose, seen)


def believed_region(rng: Rng, pixels: Double, size: int, margin: float) -> Region:
    """Where a first look might look for somebody.

    Raises:
        BadRecordError: if the person is a point.
    """
    reach = float(np.nanmax(np.linalg.norm(pixels - pixels[MPI15.root], axis=1)))
    off = (_LOST if rng.random() < _LOST_SHARE else _USUAL) * reach
    region = region_around(pixels + rng.normal(0, off, pixels.shape), margin, size)
    if region is None:
        raise BadRecordError(f"a person of {reach:g} pixels is no person; expected more")
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < _TURNED_SHARE else rng.normal(0, _TURN)
    side = region.side * float(np.exp(rng.normal(0, _SIDE)))
    return replace(region, angle=region.angle + float(turn), side=side)


def nobodys_crop(rng: Rng, scene: BodiesRecord, size: int) -> Crop:
    """A random square of a virtual scene in which nobody is.

    Raises:
        BadRecordError: if people are everywhere.
    """
    return worsened(rng, _unlabelled(nobodys_region(rng, scene, size), scene.read()))


def nobodys_region(rng: Rng, scene: BodiesRecord, size: int) -> Region:
    """A random square away from all limbs, a small one where people are many.

    Raises:
        BadRecordError: if people are everywhere.
    """
    flesh, largest = limb_points(scene.bodies), 1.0
    low, high = -_LIMB * size, (1 + _LIMB) * size
    for _ in range(_TRIES):
        region = _square(rng, (scene.width, scene.height), size, largest)
        places = region.to_crop(flesh)
        if not ((places > low) & (places < high)).all(axis=1).any():
            return region
        largest *= _SMALLER
    raise BadRecordError(f"{scene.place}: no square without people; expected some room")


def limb_points(bodies: Double) -> Double:
    """Points along the limbs of people [N, 15, 11] whose ends are known, pixels [M, 2]."""
    ends = np.array(MPI15.limbs)
    known = (bodies[..., SEEN] > 0) | bodies[..., [X, Y]].any(axis=-1)
    first, last = (bodies[:, ends[:, k]][..., [X, Y]] for k in (0, 1))
    share = np.linspace(0, 1, _ALONG)[:, None, None, None]
    along = first + share * (last - first)
    return np.asarray(along[:, known[:, ends].all(axis=-1)].reshape(-1, 2), np.float64)


def any_crop(rng: Rng, subject: Subject, size: int) -> Crop:
    """A random square of somebody's picture, whatever it shows."""
    height, width = subject.picture.shape[:2]
    return worsened(rng, _unlabelled(_square(rng, (width, height), size), subject.picture))


def _square(rng: Rng, picture: tuple[int, int], size: int, largest: float = 1.0) -> Region:
    """A square of a picture (width, height), nearly upright; its side is up to its height's."""
    width, height = picture
    side = largest * height * float(np.exp(rng.uniform(*np.log(_NOBODYS_SIDE))))
    x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
    return Region(x, y, max(side, MIN_SIDE_PX), float(rng.normal(0, _TURN)), size)


def _unlabelled(region: Region, picture: Image) -> Crop:
    """What a square shows, of which nobody says anything."""
    nothing = np.full((_JOINTS, 3), np.nan)
    image = np.ascontiguousarray(region.apply(picture)[..., ::-1])
    return Crop(image, nothing[:, :2], nothing, nothing[:, 0])


def worsened(rng: Rng, crop: Crop) -> Crop:
    """A crop as cameras see it: mirrored half of the time, tinted, now and then dark or coarse."""
    if rng.random() < 0.5:
        crop = crop.mirrored()
    if rng.random() < _COARSE_SHARE:
        crop = replace(crop, image=_coarse(rng, crop.image))
    if rng.random() < _COVERED_SHARE:
        crop = covered(rng, crop)
    tint = rng.uniform(1 - _TINT, 1 + _TINT, 3) * rng.uniform(1 - _TINT, 1 + _TINT)
    image = np.clip(crop.image * tint.astype(np.float32), 0, 255).astype(np.uint8)
    if rng.random() < _DARK_SHARE:
        image = darkened(rng, image)
    if rng.random() < _SMEARED_SHARE:
        image = smeared(rng, image)
    return replace(crop, image=image)


def _coarse(rng: Rng, image: Image) -> Image:
    """As of somebody far away."""
    size = image.shape[:2][::-1]
    side = int(rng.integers(*_COARSE_PX))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def covered(rng: Rng, crop: Crop) -> Crop:
    """With something of one colour before it, behind which no joint can be seen."""
    size = len(crop.image)
    low = rng.integers(0, size * 3 // 4, 2)
    high = low + rng.integers(size // 10, size // 2, 2)
    image = crop.image.copy()
    image[low[1] : high[1], low[0] : high[0]] = rng.integers(0, 256, 3)
    behind = ((crop.pixels >= low) & (crop.pixels < high)).all(axis=1) & (crop.seen > 0)
    return replace(crop, image=image, seen=np.where(behind, 0.0, crop.seen))
