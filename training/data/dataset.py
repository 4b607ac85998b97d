"""The training set of smap_lite: photos composed on the fly, mixed with virtual scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data import augment, compose
from smap_train.data.augment import NONE, Augmentation, Border, covered
from smap_train.data.layouts.virtual import usable_samples
from smap_train.data.people import PhotoPerson
from smap_train.data.picture import Picture, inside_of
from smap_train.targets.smap_lite import make_targets

MEAN, STD = 127.5, 127.5  # values 0..255 to -1..1
NECK = MPI15.index("neck")
_NEAREST = 0.3  # metres; where a joint nearer than this would be seen says nothing


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] bgr to the network's float32 [3, H, W] rgb."""
    rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    return torch.from_numpy((rgb.astype(np.float32) - MEAN) / STD)


@dataclass(frozen=True)
class VirtualScene:
    """One rendered scene: encoded image and its labels as the shard's json has them."""

    image: bytes
    labels: dict

    def picture(
        self, rng: np.random.Generator, width: int, height: int, more: Augmentation = NONE
    ) -> Picture:
        """A random view of the scene: mirrored, turned, scaled and shifted into the given size.

        Depth over focal length scales with the zoom: people that appear larger are nearer.

        Args:
            more: shares of the views that are near, turned, and of everything from afar.
        """
        image = cv2.imdecode(np.frombuffer(self.image, np.uint8), cv2.IMREAD_COLOR)
        # Nobody could find those of whom no pixel shows.
        people = [person for person in self.labels["people"] if person.get("pixels", 1) > 0]
        joints = np.array([p["joints_2d"] for p in people], np.float32).reshape(-1, 15, 2)
        points = np.array([p["joints_3d"] for p in people], np.float32).reshape(-1, 15, 3)
        visibility = np.array([p["visibility"] for p in people], np.uint8).reshape(-1, 15)
        if rng.random() < 0.5:
            image = image[:, ::-1]
            joints = joints[:, MPI15.flip].copy()
            joints[..., 0] = image.shape[1] - 1 - joints[..., 0]
            points, visibility = points[:, MPI15.flip], visibility[:, MPI15.flip]
        affine = self._view(rng, image.shape[1::-1], (width, height), joints, visibility, more)
        size, zoom = image.shape[1::-1], float(np.sqrt(np.linalg.det(affine[:, :2])))
        border = Border.draw(rng)
        view = cv2.warpAffine(
            image, affine, (width, height), borderMode=border.flag, borderValue=border.value
        )
        picture = Picture.empty(view)
        if border.flag == cv2.BORDER_REFLECT_101:  # reflected people are nowhere
            picture.trust[~covered(affine, size, (width, height))] = 0.0
        last = np.array([width - 1.0, height - 1.0])
        focal = float(self.labels["camera"]["fx"]) * zoom
        for uv, xyz, seen in zip(joints, points, visibility, strict=True):
            everywhere = compose.transform(affine, uv)
            inside = inside_of(everywhere, np.zeros(2), last)
            everywhere[xyz[:, 2] < _NEAREST] = np.nan
            keep = inside & (seen > 0)
            moved = np.where(keep[:, None], everywhere, np.float32(np.nan))
            if not keep.any():
                continue
            root, neck = xyz[MPI15.root, 2], xyz[NECK, 2]
            shown = np.where(keep, seen, 0).astype(np.uint8)
            depth = xyz[:, 2] - root
            picture.add(moved, shown, depth, root / focal, everywhere, neck / focal)
        return picture

    @staticmethod
    def _view(
        rng: np.random.Generator,
        size: tuple[int, int],
        to: tuple[int, int],
        joints: np.ndarray,
        visibility: np.ndarray,
        more: Augmentation,
    ) -> np.ndarray:
        """The affine [2, 3] of a random view, between pictures of two sizes (width, height)."""
        fit = max(to[0] / size[0], to[1] / size[1])
        center, middle = np.array(size, np.float32) / 2, np.array(to) / 2
        turn = augment.angle(rng, more.turned, rng.normal(0, 0.05))
        seen = np.flatnonzero((visibility == compose.VISIBLE).sum(axis=1) >= 3)
        known = np.where(visibility[..., None] > 0, joints, np.nan).astype(np.float32)
        if more.filled and len(seen) and rng.random() < more.filled:
            view = augment.filling(rng, known[rng.choice(seen)], to)
            if view is not None:
                zoom = float(np.clip(view[1], 0.6 * fit, 4.0 * fit))
                return compose.similarity(rng, view[0], middle.astype(np.float32), zoom, view[2])
        if len(seen) and rng.random() < more.near:
            found = augment.focus(rng, known[rng.choice(seen)])
            if found is not None:
                zoom = float(np.clip(max(to) / found[1], 0.6 * fit, 4.0 * fit))
                return compose.similarity(rng, found[0], middle.astype(np.float32), zoom, turn)
        far = rng.random() < more.small
        zoom = fit * float(rng.uniform(0.4, 1.0) if far else rng.uniform(0.95, 1.35))
        slack = np.abs(np.array(size) * zoom - to) / 2
        target = (middle + rng.uniform(-slack, slack)).astype(np.float32)
        return compose.similarity(rng, center, target, zoom, turn)


def read_shards(
    folder: Path, on_bad: Literal["stop", "skip"] = "stop", skipped: Path | None = None
) -> list[VirtualScene]:
    """All finished shards of a folder written by ``smap-train synth``.

    Args:
        folder: of them.
        on_bad: whether a scene that can't be used is an error, or left out.
        skipped: file that lists those left out.

    Raises:
        InputError: if there are none, or one is damaged.
        BadRecordError: if a scene can't be used, and none may be left out.
    """
    usable = usable_samples([folder], on_bad, skipped)
    return [VirtualScene(sample.encoded(), sample.labels) for sample in usable]


class MixedDataset(Dataset[dict[str, Tensor]]):
    """Endless mixture, deterministic in (seed, index).

    Args:
        sports: people with 2D labels and, where it agrees, pseudo depth.
        street: clothed people, some with masks, with pseudo labels.
        scenes: virtual scenes; may be empty.
        size: width and height of the pictures, multiples of 32.
        length: pictures per epoch.
        seed: of the whole run.
        virtual_share: share of pictures that come from virtual scenes.
        paste_share: share of the others that are masked people pasted on photo backgrounds.
        sports_share: share of the mosaics that show sports rather than street photos.
        two_rows: share of the mosaics with two rows of smaller people.
        more: shares of the pictures that are near, turned, framed, dark, ...
        ordinary: virtual scenes of the pictures for a teacher.
        ordinary_share: share of the pictures that are for a teacher: nothing of ``more`` is done
            to them, and ``ordinary`` is true in their samples.
    """

    def __init__(
        self,
        sports: list[PhotoPerson],
        street: list[PhotoPerson],
        scenes: list[VirtualScene],
        *,
        size: tuple[int, int],
        length: int,
        seed: int,
        virtual_share: float,
        paste_share: float = 0.3,
        sports_share: float = 0.6,
        two_rows: float = 0.0,
        more: Augmentation = NONE,
        ordinary: Sequence[VirtualScene] = (),
        ordinary_share: float = 0.0,
    ):
        self.ordinary, self.ordinary_share = ordinary, ordinary_share
        self.photos = [sports, street]
        self.cutouts = [person for person in street if person.mask is not None]
        self.scenes = scenes
        self.size, self.length, self.seed = size, length, seed
        photos = bool(sports or street)
        self.virtual_share = (virtual_share if photos else 1.0) if scenes else 0.0
        self.paste_share, self.sports_share = paste_share, sports_share
        self.two_rows, self.more = two_rows, more
        if not street and not scenes:
            raise InputError("no training data: give street photos, virtual scenes, or both")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        # Drawn only where it matters: runs without a teacher see what they always saw.
        ordinary = self.ordinary_share > 0 and bool(rng.random() < self.ordinary_share)
        more = NONE if ordinary else self.more
        picture = self.picture(rng, ordinary)
        picture.image = compose.degrade(rng, picture.image, more)
        if rng.random() < more.framed:  # behind the camera's faults: bars have none
            augment.framed(rng, picture)
        targets = make_targets(picture)
        arrays = {name: torch.from_numpy(value) for name, value in vars(targets).items()}
        sample = {"image": to_tensor(picture.image), **arrays}
        return {**sample, "ordinary": torch.tensor(ordinary)}

    def picture(self, rng: np.random.Generator, ordinary: bool = False) -> Picture:
        """One composed picture before degradation."""
        width, height = self.size
        more, scenes = (NONE, self.ordinary) if ordinary else (self.more, self.scenes)
        if not any(self.photos):
            scenes = scenes or self.scenes
        if rng.random() < self.virtual_share and scenes:
            picture = scenes[rng.integers(len(scenes))].picture(rng, width, height, more)
            if self.cutouts and rng.random() < 0.2:
                sizes = (0.3 * height, 1.2 * height)
                compose.paste(rng, picture, self.cutouts, int(rng.integers(1, 3)), sizes)
            return picture
        if self.cutouts and rng.random() < self.paste_share:
            picture = compose.background(rng, self.cutouts, width, height)
            low = 0.08 if rng.random() < more.small else 0.2
            count = int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.1, 0.2, 0.25, 0.2, 0.15, 0.1]))
            return compose.paste(rng, picture, self.cutouts, count, (low * height, 1.3 * height))
        sports = self.photos[0] and rng.random() < self.sports_share
        group = self.photos[0] if sports else self.photos[1]
        return compose.mosaic(rng, group or self.photos[0], width, height, self.two_rows, more)
