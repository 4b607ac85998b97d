"""Scenes on a level floor, as virtualpose_lite's later parts see them: heatmaps and a camera.

Two sources. Poses from motion capture placed before random cameras, with heatmaps as an imperfect
backbone would give them; and rendered pictures (``smap-train synth``) with the heatmaps that
smap_lite does give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import trange

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.camera import Camera
from smap_ros.engines import create_engine
from smap_ros.errors import InputError
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.evaluation.common.shards import Sample
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.virtual import shown_people, usable_samples
from smap_train.models.virtualpose.cameras import Cameras, make_camera, project, to_cells
from smap_train.models.virtualpose.config import ROOT, VirtualPoseConfig
from smap_train.models.virtualpose.model import Truth
from smap_train.targets.agr import Abstraction, box_sides, root_cube, truth
from smap_train.virtual.cameras import random_view
from smap_train.virtual.config import CameraSettings

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Generator = np.random.Generator

MM = 1000.0
MIN_DEPTH = 0.3  # metres; of people whose joints are all before the camera
ELBOW_ROOM = 0.42  # metres between people's centres
ANKLE_HEIGHT = 0.085  # metres; of a standing person's lowest joint
_PLACE_ATTEMPTS = 20

_LEFT = [MPI15.index(name) for name in MPI15.joints if name.startswith("l_")]
_RIGHT = [MPI15.index("r_" + MPI15.joints[k][2:]) for k in _LEFT]
_TRUNK = [MPI15.index(name) for name in ("l_shoulder", "r_shoulder", "l_hip", "r_hip")]
_FAR_ENDS = [MPI15.index(f"{side}_{end}") for side in "lr" for end in ("wrist", "ankle")]


@dataclass(frozen=True)
class LevelScene:
    """People before a camera above a level floor.

    Attributes:
        camera: intrinsics.
        mounting: the camera's height and tilt.
        joints: float32 [P, 15, 3], metres, optical frame.
        heatmaps: float32 [15, h, w], 0..1.
    """

    camera: Camera
    mounting: Mounting
    joints: Float32
    heatmaps: Float32

    def mirrored(self) -> LevelScene:
        """The scene in a mirror."""
        flip = np.array([-1, 1, 1], np.float32)
        return LevelScene(
            # Mirroring the maps maps pixel x to width - x: cell k is at stride * (k + 0.5).
            replace(self.camera, cx=self.camera.width - self.camera.cx),
            replace(self.mounting, roll=-self.mounting.roll),
            self.joints[:, MPI15.flip] * flip,
            np.ascontiguousarray(self.heatmaps[MPI15.flip][..., ::-1]),
        )


def world_camera(camera: Camera, mounting: Mounting, config: VirtualPoseConfig) -> Cameras:
    """A camera in the searched space, which begins below it."""
    ahead = config.space_center_mm[0] + config.space_size_mm[0] / 2
    rotation, position = mounting.pose(ahead / MM)
    intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy)
    return make_camera(rotation, position * MM, intrinsics, (camera.width, camera.height))


def abstract(scene: LevelScene, config: VirtualPoseConfig) -> tuple[Abstraction, Cameras]:
    """What the networks are given of a scene, and what they should answer."""
    view = world_camera(scene.camera, scene.mounting, config)
    rotation, position = view.rotation[0].double().numpy(), view.position_mm[0].double().numpy()
    joints_mm = scene.joints.astype(np.float64) * MM @ rotation + position
    points = torch.from_numpy(joints_mm).reshape(1, -1, 3)
    exact = Cameras(*(value.double() for value in view))
    pixels, depth = project(exact, points)
    people = len(joints_mm)
    cells = to_cells(pixels, exact.image_size, config).numpy().reshape(people, 15, 2)
    size = np.array(config.map_size)
    nearest = np.rint(cells[:, ROOT])
    in_view = np.all((nearest >= 0) & (nearest < size), axis=-1)
    column, row = np.where(in_view[:, None], nearest, 0).astype(np.int64).T
    return Abstraction(
        maps=scene.heatmaps,
        joints_mm=joints_mm.astype(np.float32),
        in_image=np.all((cells >= 0) & (cells < size), axis=-1),
        inds=row * size[0] + column,
        sides=box_sides(cells, config.map_size),
        depth_mm=depth.numpy().reshape(people, 15)[:, ROOT].astype(np.float32),
        in_view=in_view,
        root_cube=root_cube(joints_mm[:, ROOT], config),
    ), view


def collate(
    scenes: Sequence[LevelScene], config: VirtualPoseConfig
) -> tuple[Tensor, Cameras, Truth]:
    """A batch: maps [B, 15, h, w], cameras, truth."""
    seen, cameras = zip(*(abstract(scene, config) for scene in scenes), strict=True)
    maps = torch.from_numpy(np.stack([scene.heatmaps for scene in scenes]))
    return maps, Cameras(*(torch.cat(v) for v in zip(*cameras, strict=True))), truth(seen, config)


class RandomScenes:
    """Poses placed before random cameras, with heatmaps that are wrong as a network's are.

    Args:
        poses: float32 [N, 15, 3], about the pelvis, metres, z up.
        config: of the network.
        people: fewest and most people of a scene.
        settings: of the cameras.
    """

    def __init__(
        self,
        poses: Float32,
        config: VirtualPoseConfig,
        people: tuple[int, int] = (1, 6),
        settings: CameraSettings | None = None,
    ) -> None:
        self.poses, self.config, self.people = poses, config, people
        self.settings = settings or CameraSettings()

    def draw(self, rng: Generator) -> LevelScene:
        """A scene."""
        low, high = self.settings.distance
        reach = math.exp(rng.uniform(math.log(max(low, 1.2)), math.log(high)))
        view = random_view(self.settings, *self.config.image_size, reach, rng)
        camera, mounting = view.camera, Mounting.above(view.rotation[:, 2], view.eye[2])
        count = int(rng.integers(self.people[0], self.people[1] + 1))
        people: list[Float64] = []
        for k in range(count):
            for _ in range(_PLACE_ATTEMPTS):
                distance = reach if k == 0 else rng.uniform(low, min(1.6 * reach + 1, high))
                column = rng.uniform(-0.02, 1.02) * camera.width
                bearing = math.atan((column - camera.cx) / camera.fx)
                place = distance * np.array([math.sin(bearing), math.cos(bearing)])
                joints = view.to_camera(self._person(place, rng))
                apart = all(
                    np.linalg.norm(joints[ROOT] - other[ROOT]) > ELBOW_ROOM for other in people
                )
                if apart and joints[:, 2].min() > MIN_DEPTH and _mostly_seen(joints, camera):
                    people.append(joints)
                    break
        joints = np.array(people, np.float64).reshape(-1, 15, 3)
        heat = imperfect_heatmaps(
            _cells(joints, camera, self.config), joints[..., 2], self.config, rng
        )
        return LevelScene(camera, mounting, joints.astype(np.float32), heat)

    def _person(self, place: Float64, rng: Generator) -> Float64:
        """Joints of somebody on the floor at ``place`` [2], [15, 3], world."""
        pose = self.poses[rng.integers(len(self.poses))].astype(np.float64)
        turn = rng.uniform(-np.pi, np.pi)
        c, s = math.cos(turn), math.sin(turn)
        pose = pose @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        floor = pose[:, 2].min() - max(0.02, ANKLE_HEIGHT + rng.normal(0, 0.02))
        return pose + np.array([place[0], place[1], -floor])


def _cells(joints: Float64, camera: Camera, config: VirtualPoseConfig) -> Float64:
    """Map cells [P, 15, 2] of joints before the camera; the picture has the network's size."""
    pixels = joints[..., :2] / joints[..., 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    return pixels * (config.map_size[0] / config.image_size[0]) - config.cell_shift


def _mostly_seen(joints: Float64, camera: Camera) -> bool:
    pixels = joints[:, :2] / joints[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    inside = np.all((pixels >= 0) & (pixels < (camera.width, camera.height)), axis=-1)
    return bool(inside.mean() > 0.4)


def imperfect_heatmaps(
    cells: Float64, depth: Float64, config: VirtualPoseConfig, rng: Generator
) -> Float32:
    """Heatmaps with the faults of real networks.

    Peaks are shifted, weak or missing, above all those of wrists and ankles and of joints behind
    somebody nearer; left and right are mixed up or swapped; some peaks are nobody's.

    Args:
        cells: [P, 15, 2], map cells.
        depth: [P, 15], along the optical axis.

    Returns:
        float32 [15, h, w], 0..1.
    """
    width, height = config.map_size
    out = np.zeros((15, height, width), np.float32)
    size = np.clip(np.ptp(cells, axis=1).max(-1), 4, 80) if len(cells) else np.zeros(0)
    for k in np.argsort(-depth[:, ROOT]):
        shift = rng.normal(0, 0.35 + 0.012 * size[k], (15, 2))
        shift[_FAR_ENDS] *= 1.6
        wild = rng.random(15) < 0.04
        shift[wild] *= 5
        strength = np.clip(rng.normal(rng.uniform(0.25, 0.8), 0.15, 15), 0.05, 1.0)
        lost = np.full(15, rng.choice([0.03, 0.12]))
        lost[_FAR_ENDS] *= 2.5
        strength[rng.random(15) < lost] = 0.0
        hidden = _behind_others(cells, depth, int(k))
        strength[hidden] *= rng.choice([0.0, 0.4, 0.8], hidden.sum())
        sigma = float(np.exp(rng.normal(math.log(1.5), 0.25)))
        peaks = _gaussians(cells[k] + shift, sigma, (width, height)) * _tall(strength)
        unsure = rng.uniform(0, 0.35) * rng.uniform(0.3, 1, 15)
        near = _gaussians(cells[k], rng.uniform(0.06, 0.25) * size[k], (width, height))
        smear = _silhouette(cells[k], size[k], (width, height)) * near * _tall(unsure)
        _add(out, np.maximum(peaks, smear), _confusion(rng))
    for _ in range(rng.poisson(0.8)):  # nobody's joints, often several kinds at one place
        at = rng.uniform(0, (width, height)) + rng.normal(0, 3, (15, 2))
        ghost = np.where(rng.random(15) < rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.35), 0.0)
        np.maximum(out, _gaussians(at, 1.5, (width, height)) * _tall(ghost), out=out)
    out += rng.uniform(0.0, 0.06) * rng.random((15, 1, 1), np.float32)  # no output is quite zero
    return np.clip(out, 0, 1, out=out)


def _confusion(rng: Generator) -> Float64:
    """How far each left joint is taken for its right partner, and the other way: 0..1, [6]."""
    kind = rng.random()
    if kind < 0.5:
        return np.zeros(len(_LEFT))
    whole = rng.uniform(0, 0.6) if kind < 0.85 else rng.uniform(0.6, 1.0)
    return np.clip(whole + rng.normal(0, 0.15, len(_LEFT)), 0, 1)


def _behind_others(cells: Float64, depth: Float64, person: int) -> NDArray[np.bool_]:
    """Joints of a person that lie in the trunk of somebody nearer, [15]."""
    hidden = np.zeros(15, bool)
    for other in np.flatnonzero(depth[:, ROOT] < depth[person, ROOT] - 0.1):
        low, high = cells[other, _TRUNK].min(0) - 1, cells[other, _TRUNK].max(0) + 1
        hidden |= np.all((cells[person] > low) & (cells[person] < high), axis=-1)
    return hidden


def _gaussians(at: Float64, sigma: float, size: tuple[int, int]) -> Float32:
    """Peaks of height 1: middles [N, 2], cells -> [N, h, w]."""
    columns, rows = (
        np.exp(-0.5 * ((np.arange(size[k]) - at[:, k, None]) / sigma) ** 2).astype(np.float32)
        for k in range(2)
    )
    return rows[:, :, None] * columns[:, None]


def _silhouette(cells: Float64, size: float, map_size: tuple[int, int]) -> Float32:
    """Where a person's limbs are, [h, w]."""
    ends = cells[np.array(MPI15.limbs)]  # [14, 2, 2]
    along = np.linspace(0, 1, 4)[:, None, None]
    points = (ends[:, 0] + (ends[:, 1] - ends[:, 0]) * along).reshape(-1, 2)
    return _gaussians(points, max(0.035 * size, 1.0), map_size).max(0)


def _tall(values: Float64) -> Float32:
    return values.astype(np.float32)[:, None, None]


def _add(out: Float32, person: Float32, mixed: Float64) -> None:
    """Add one person's maps [15, h, w]; ``mixed`` [6] of each pair goes to the partner."""
    left, right = person[_LEFT], person[_RIGHT]
    share = _tall(mixed)
    person[_LEFT] = np.maximum(left * (1 - share), right * share)
    person[_RIGHT] = np.maximum(right * (1 - share), left * share)
    np.maximum(out, person, out=out)


class SeenScenes:
    """Rendered pictures as a bundle's network sees them; kept in memory, 0.1 MB each.

    Args:
        folders: of shards.
        backbone: name or path of a bundle of kind ``smap``.
        config: of the network; pictures and heatmaps must have its sizes.
        limit: most pictures.
        on_bad: whether a picture that can't be used is an error, or left out.
        skipped: file that lists those left out.

    Raises:
        InputError: if there are no such pictures, or it is no such bundle.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        backbone: str,
        config: VirtualPoseConfig,
        limit: int,
        on_bad: Literal["stop", "skip"] = "stop",
        skipped: Path | None = None,
    ) -> None:
        bundle = load_bundle(backbone)
        if not isinstance(bundle.manifest, SmapManifest):
            raise InputError(f"bundle {backbone} is of kind {bundle.kind!r}; expected smap")
        samples = list(usable_samples(folders, on_bad, skipped, floor=True))
        if not samples:
            named = ", ".join(str(folder) for folder in folders)
            raise InputError(f"no scene of {named} can be used; the warnings above say why")
        self._samples = samples[:: max(1, math.ceil(len(samples) / limit))]
        self._heatmaps = np.empty((len(self._samples), 15, *config.map_size[::-1]), np.uint8)
        spec, output = bundle.manifest.input, bundle.manifest.outputs["maps"]
        scale = 255 / bundle.manifest.scales.heatmap_scale
        normalise, engine = Normaliser(spec), create_engine(bundle)
        for k in trange(len(self._samples), desc="backbone", unit="img"):
            blob = normalise(_picture(self._samples[k], config))
            heat = engine.run({spec.name: blob})[output.name][0, :15]
            self._heatmaps[k] = np.rint(np.clip(heat * scale, 0, 255))
        engine.close()

    def __len__(self) -> int:
        return len(self._samples)

    def draw(self, rng: Generator) -> LevelScene:
        """One of the pictures, half of the time in a mirror."""
        k = int(rng.integers(len(self)))
        labels = self._samples[k].labels
        joints = [person["joints_3d"] for person in shown_people(self._samples[k])]
        scene = LevelScene(
            Camera.from_json(labels["camera"]),
            Mounting.above(np.array(labels["floor"]["normal"]), labels["floor"]["distance"]),
            np.array(joints, np.float32).reshape(-1, 15, 3),
            self._heatmaps[k].astype(np.float32) / 255,
        )
        return scene.mirrored() if rng.random() < 0.5 else scene


def _picture(sample: Sample, config: VirtualPoseConfig) -> NDArray[np.uint8]:
    image = sample.image()
    if image.shape[1::-1] != tuple(config.image_size):
        raise InputError(
            f"{sample.shard}: sample {sample.name} is {image.shape[1]}x{image.shape[0]} px; "
            f"expected {config.image_size[0]}x{config.image_size[1]} px"
        )
    return image


class LevelScenes(Dataset[LevelScene]):
    """Endless mixture, deterministic in (seed, index).

    Args:
        random: the one source.
        seen: the other one, if any.
        seen_share: share of scenes from it.
        length: scenes in all.
        seed: of the whole run.
    """

    def __init__(
        self, random: RandomScenes, seen: SeenScenes | None, *, seen_share: float, length: int,
        seed: int,
    ) -> None:  # fmt: skip
        self.random, self.seen = random, seen
        self.seen_share = seen_share if seen else 0.0
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> LevelScene:
        rng = np.random.default_rng((self.seed, index))
        if self.seen is not None and rng.random() < self.seen_share:
            return self.seen.draw(rng)
        return self.random.draw(rng)
