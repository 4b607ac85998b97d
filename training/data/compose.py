"""Training pictures made from photos: several photos side by side, and people cut out and pasted.

SMAP mixes COCO's 2D labels with a 3D set (section 4.1); here single-person photos are composed
into pictures of several people, so that the network learns to keep people apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.data.augment import NONE, Augmentation, angle, darkened, filling, focus, smeared
from smap_train.data.people import PhotoPerson
from smap_train.data.picture import (
    OCCLUDED,
    UNKNOWN,
    VISIBLE,
    Float,
    Image,
    Picture,
    Rng,
    inside_of,
)

_LARGEST = 5.0  # enlargement of a photo
_MIN_SHOWN = 0.3  # share of a person's joints that must be visible for the labels to stand


def similarity(
    rng: Rng, center: Float, target: Float, scale: float, rotation: float
) -> NDArray[np.float64]:
    """Affine [2, 3] that turns (radians), scales and moves ``center`` to ``target``."""
    cos, sin = scale * np.cos(rotation), scale * np.sin(rotation)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([linear, (target - linear @ center)[:, None]], axis=1)


def transform(affine: NDArray[np.float64], points: Float) -> Float:
    """Apply an affine [2, 3] to points [..., 2]."""
    return (points @ affine[:, :2].T + affine[:, 2]).astype(np.float32)


def mirrored(person: PhotoPerson, image: Image) -> tuple[Image, Float, Float]:
    """Mirror image, joints and depth; left and right change places."""
    joints = person.joints_2d[MPI15.flip].copy()
    joints[:, 0] = image.shape[1] - 1 - joints[:, 0]
    return image[:, ::-1], joints, person.depth[MPI15.flip]


def _placement(rng: Rng, joints: Float, size: tuple[float, float]) -> tuple[Float, float]:
    """Centre of a person's joints and the scale that makes their extent a random useful size."""
    low, high = np.nanmin(joints, axis=0), np.nanmax(joints, axis=0)
    extent = max(float((high - low).max()), 20.0)
    wanted = np.exp(rng.uniform(np.log(size[0]), np.log(size[1])))
    return ((low + high) / 2).astype(np.float32), wanted / extent


def _person_view(
    rng: Rng, person: PhotoPerson, flip: bool
) -> tuple[Image, Image | None, Float, Float]:
    image, mask = person.image(), person.person_mask()
    if not flip:
        return image, mask, person.joints_2d, person.depth
    image, joints, depth = mirrored(person, image)
    return image, None if mask is None else mask[:, ::-1], joints, depth


def mosaic(
    rng: Rng,
    people: Sequence[PhotoPerson],
    width: int,
    height: int,
    two_rows: float = 0.0,
    more: Augmentation = NONE,
) -> Picture:
    """Photos side by side in columns of random widths, each with its person in the column.

    What lies around the person is real but unlabelled, so it is trusted less.

    Args:
        two_rows: share of the pictures that have two such rows, with smaller people: more of
            them a picture, which is what training is short of.
        more: shares of the people who are near, turned and small, and of the pictures that one
            person fills.
    """
    picture = Picture.empty(np.zeros((height, width, 3), np.uint8))
    # Drawn only where it matters: runs without it see what they always saw.
    if more.filled and rng.random() < more.filled:
        person = people[rng.integers(len(people))]
        _add_tile(rng, picture, person, (slice(0, height), slice(0, width)), more, filled=True)
        return picture
    rows = 2 if rng.random() < two_rows else 1
    for top, bottom in pairwise(np.linspace(0, height, rows + 1).astype(int)):
        for left, right in pairwise(_columns(rng, width, rows)):
            if right - left >= 24:
                person = people[rng.integers(len(people))]
                _add_tile(rng, picture, person, (slice(top, bottom), slice(left, right)), more)
    return picture


def _columns(rng: Rng, width: int, rows: int) -> NDArray[np.int_]:
    """Edges of the columns of a row."""
    count = int(rng.choice([1, 2, 3, 4], p=[0.15, 0.3, 0.35, 0.2])) + rows - 1
    cuts = np.sort(rng.uniform(0.15, 0.85, count - 1)) if count > 1 else np.zeros(0)
    if rows > 1:  # small people need no wide columns
        cuts = np.arange(1, count) / count + rng.uniform(-0.06, 0.06, count - 1)
    return np.round(np.concatenate([[0], cuts, [1]]) * width).astype(int)


def _add_tile(
    rng: Rng,
    picture: Picture,
    person: PhotoPerson,
    tile: tuple[slice, slice],
    more: Augmentation,
    filled: bool = False,
) -> None:
    """Fill rows and columns of a picture with a photo about its person.

    Args:
        filled: whether the person shall be as large as fits, at any angle.
    """
    (top, left), (bottom, right) = ((s.start for s in tile), (s.stop for s in tile))
    width, height = right - left, bottom - top
    image, _, joints, depth = _person_view(rng, person, bool(rng.random() < 0.5))
    target = np.array([width * rng.uniform(0.4, 0.6), height * rng.uniform(0.35, 0.65)], np.float32)
    center, scale = _tile_placement(rng, joints, picture.image.shape[0], (width, height), more)
    turn = rng.normal(0, 0.12) if rng.random() < 0.8 else rng.uniform(-0.6, 0.6)
    turn = angle(rng, more.turned, turn)
    view = filling(rng, joints, (width, height)) if filled else None
    if view is not None:
        center, scale, turn = view[0], min(view[1], _LARGEST), view[2]
    affine = similarity(rng, center, target, scale, turn)
    border = cv2.BORDER_REFLECT_101 if rng.random() < 0.2 else cv2.BORDER_CONSTANT
    color = tuple(int(v) for v in rng.integers(0, 256, 3))
    picture.image[tile] = cv2.warpAffine(
        image, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=border, borderValue=color
    )
    moved = transform(affine, joints)
    picture.trust[tile] = _tile_trust(image, affine, (width, height), border, moved)
    bits = np.uint16(0)
    for j in np.flatnonzero(~np.isfinite(moved[:, 0])):
        bits |= np.uint16(1 << int(j))
    picture.unknown[tile] = bits
    visible = ((moved >= 0) & (moved < (width, height))).all(axis=1)
    moved += (left, top)
    everywhere = moved.copy()
    moved[~visible] = np.nan
    ratio = person.metres_per_pixel / scale
    shown = np.where(visible, VISIBLE, UNKNOWN).astype(np.uint8)
    picture.add(moved, shown, depth, ratio, everywhere)


def _tile_placement(
    rng: Rng, joints: Float, rows: int, tile: tuple[int, int], more: Augmentation
) -> tuple[Float, float]:
    """Which point of a person is in the middle of a tile (width, height), and at what scale.

    Args:
        rows: of the whole picture: nobody gets smaller in two rows than in one.
    """
    near = focus(rng, joints) if rng.random() < more.near else None
    if near is not None:
        return near[0], min(max(tile) / near[1], _LARGEST)
    if rng.random() < more.small:
        return _placement(rng, joints, (0.08 * rows, 0.3 * rows))
    # A long person in a narrow column may be cut at the sides, as people at borders are.
    center, scale = _placement(rng, joints, (0.3 * rows, 1.15 * tile[1]))
    return center, min(scale, 2.5)


def _tile_trust(
    image: Image, affine: NDArray[np.float64], size: tuple[int, int], border: int, joints: Float
) -> Float:
    """How far the absence of labels is believed: fully about the person and off the photo."""
    width, height = size
    inside = cv2.warpAffine(
        np.ones(image.shape[:2], np.uint8), affine, size, flags=cv2.INTER_NEAREST
    ).astype(bool)
    trust = np.full((height, width), 1.0 if border == cv2.BORDER_CONSTANT else 0.1, np.float32)
    trust[inside] = 0.35
    low, high = np.nanmin(joints, axis=0), np.nanmax(joints, axis=0)
    margin = 0.12 * float((high - low).max())
    x0, y0 = np.maximum(low - margin, 0).astype(int)
    x1, y1 = np.maximum(high + margin, 0).astype(int)
    trust[y0:y1, x0:x1] = 1.0
    return trust


def paste(
    rng: Rng,
    picture: Picture,
    people: Sequence[PhotoPerson],
    count: int,
    size: tuple[float, float],
) -> Picture:
    """Paste cut-out people over a picture, far ones first; those behind become occluded.

    Args:
        people: only people with a mask are usable.
        count: how many.
        size: smallest and largest extent of a person in pixels.
    """
    height, width = picture.image.shape[:2]
    chosen = []
    for _ in range(count):
        person = people[rng.integers(len(people))]
        image, mask, joints, depth = _person_view(rng, person, bool(rng.random() < 0.5))
        center, scale = _placement(rng, joints, size)
        chosen.append((person.metres_per_pixel / scale, image, mask, joints, depth, center, scale))
    for ratio, image, mask, joints, depth, center, scale in sorted(
        chosen, key=lambda item: -np.nan_to_num(item[0])
    ):
        target = np.array([rng.uniform(0, width), rng.normal(0.5, 0.16) * height], np.float32)
        affine = similarity(rng, center, target, scale, rng.normal(0, 0.12))
        cut = cv2.warpAffine(mask, affine, (width, height), flags=cv2.INTER_LINEAR)
        alpha = (cv2.GaussianBlur(cut, (0, 0), 0.8).astype(np.float32) / 255)[..., None]
        layer = cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR)
        picture.image = (picture.image * (1 - alpha) + layer * alpha).astype(np.uint8)
        solid = cut > 127
        picture.trust[solid] = 1.0
        picture.unknown[solid] = 0
        _occlude(picture, solid)
        moved = transform(affine, joints)
        everywhere = moved.copy()
        inside = _inside(moved, width, height)
        moved[~inside] = np.nan
        shown = np.where(inside, VISIBLE, UNKNOWN).astype(np.uint8)
        picture.add(moved, shown, depth, ratio, everywhere)
    _forget_hidden(picture)
    return picture


def _forget_hidden(picture: Picture) -> None:
    """Drop people of whom hardly anything shows: nobody could find them."""
    visible = (picture.visibility == VISIBLE).sum(axis=1)
    hidden = visible < _MIN_SHOWN * np.maximum((picture.visibility > 0).sum(axis=1), 1)
    picture.joints_2d[hidden] = np.nan
    picture.visibility[hidden] = UNKNOWN
    picture.root_depth[hidden] = np.nan
    picture.neck_depth[hidden] = np.nan


def _inside(points: Float, width: int, height: int) -> NDArray[np.bool_]:
    return inside_of(points, np.zeros(2), np.array([width - 1.0, height - 1.0]))


def _occlude(picture: Picture, solid: NDArray[np.bool_]) -> None:
    """Mark the joints that a newly pasted shape covers as occluded."""
    height, width = solid.shape
    known = _inside(picture.joints_2d, width, height) & (picture.visibility > 0)
    people, joints = np.nonzero(known)
    at = picture.joints_2d[people, joints].astype(int)
    covered = solid[at[:, 1], at[:, 0]]
    picture.visibility[people[covered], joints[covered]] = OCCLUDED


def background(rng: Rng, people: Sequence[PhotoPerson], width: int, height: int) -> Picture:
    """An empty scene: the strip of a street photo beside its person, or smooth colour and noise."""
    if rng.random() < 0.2:
        image = rng.integers(0, 256, (int(rng.integers(2, 6)), int(rng.integers(2, 9)), 3))
        smooth = cv2.resize(image.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        return Picture.empty(smooth)
    person = people[rng.integers(len(people))]
    photo = person.image()
    box = cv2.boundingRect(cv2.findNonZero(person.person_mask()))
    left, right = max(box[0] - 4, 0), min(box[0] + box[2] + 4, photo.shape[1])
    strip = photo[:, :left] if left > photo.shape[1] - right else photo[:, right:]
    if strip.shape[1] < 24:
        strip = photo[: max(box[1] - 2, 24)]
    if rng.random() < 0.5:
        strip = strip[:, ::-1]
    scale = max(width / (2 * strip.shape[1]), height / strip.shape[0]) * rng.uniform(1.0, 1.5)
    strip = cv2.resize(strip, None, fx=scale, fy=scale)
    wide = cv2.copyMakeBorder(
        strip, 0, max(0, height - strip.shape[0]), 0, 0, cv2.BORDER_REFLECT_101
    )
    while wide.shape[1] < width:
        wide = np.concatenate([wide, wide[:, ::-1]], axis=1)
    x = int(rng.integers(0, wide.shape[1] - width + 1))
    y = int(rng.integers(0, wide.shape[0] - height + 1))
    picture = Picture.empty(np.ascontiguousarray(wide[y : y + height, x : x + width]))
    picture.trust[:] = 0.5  # bystanders stand there now and then
    return picture


def degrade(rng: Rng, image: Image, more: Augmentation = NONE) -> Image:
    """What cameras do: exposure, colour, contrast, blur, motion blur, noise, compression."""
    if rng.random() < more.smeared:
        image = smeared(rng, image)
    if rng.random() < more.dark:
        image = darkened(rng, image)
    out = image.astype(np.float32)
    if rng.random() < 0.8:
        gain = rng.uniform(0.6, 1.4) * rng.uniform(0.88, 1.12, 3)
        mean = out.mean()
        out = (out - mean) * rng.uniform(0.7, 1.3) + mean * 1.0
        out = out * gain + rng.uniform(-20, 20)
    if rng.random() < 0.15:
        grey = out.mean(axis=2, keepdims=True)
        out = grey + (out - grey) * rng.uniform(0, 0.6)
    if rng.random() < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.8))
    elif rng.random() < 0.15:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1.0 / length
        turn = cv2.getRotationMatrix2D((length / 2, length / 2), rng.uniform(0, 180), 1)
        out = cv2.filter2D(out, -1, cv2.warpAffine(kernel, turn, (length, length)))
    if rng.random() < 0.5:
        out = out + rng.normal(0, rng.uniform(1, 10), out.shape).astype(np.float32)
    image = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image
