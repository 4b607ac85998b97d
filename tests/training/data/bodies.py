"""Pictures of invented people, labelled in SMAP's form and as `smap-train synth` has it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smap_ros.camera import Camera

SIZE = (160, 120)
_HEIGHTS = [-0.6, -0.9, 0, -0.6, -0.3, -0.05, 0, 0.35, 0.7, -0.6, -0.3, -0.05, 0, 0.35, 0.7]
_SIDES = [0, 0, 0, 0.2, 0.25, 0.28, 0.1, 0.11, 0.12]


def body(x_m: float = 0.0, z_m: float = 4.0, focal: float = 180.0) -> np.ndarray:
    """One upright person as 15 x 11 numbers."""
    points = np.zeros((15, 3))
    points[:, 0] = np.array(_SIDES + [-s for s in _SIDES[3:]]) + x_m
    points[:, 1] = _HEIGHTS
    points[:, 2] = z_m + np.linspace(-0.1, 0.1, 15)
    camera = Camera(*SIZE, focal, focal, SIZE[0] / 2, SIZE[1] / 2)
    numbers = np.zeros((15, 11))
    numbers[:, :2], numbers[:, 2], numbers[:, 3] = camera.project(points), 100 * points[:, 2], 2
    numbers[:, 4:7] = 100 * points
    numbers[:, 7:] = focal, focal, SIZE[0] / 2, SIZE[1] / 2
    return numbers


def picture(bodies: np.ndarray, seed: int = 0) -> np.ndarray:
    """Bright joints on noise."""
    image = np.random.default_rng(seed).integers(0, 90, (SIZE[1], SIZE[0], 3), np.uint8)
    for x, y in bodies[..., :2].reshape(-1, 2):
        cv2.circle(image, (round(x), round(y)), 3, (90, 200, 255), -1)
    return image


def entry(bodies: np.ndarray, **fields: Any) -> dict[str, Any]:
    """A record of the unified JSON."""
    return {
        "img_paths": "images/a/000001.png", "img_width": SIZE[0], "img_height": SIZE[1],
        "dataset": "MuCo", "isValidation": 0, "bodys": bodies.tolist(), "image_id": 7,
        **fields,
    }  # fmt: skip


def write_set(folder: Path, count: int = 6, dataset: str = "MuCo") -> Path:
    """A data set: pictures below the folder, and its annotation file, which is returned."""
    entries = []
    for k in range(count):
        bodies = np.array([body(-0.5, 3.5 + 0.2 * k), body(0.6, 4.5)][: 1 + k % 2])
        name = f"images/{k:06d}.png"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), picture(bodies, k))
        entries.append(entry(bodies, img_paths=name, dataset=dataset))
    path = folder / "annotations.json"
    path.write_text(json.dumps({"root": entries}))
    return path


def scene(bodies: np.ndarray, focal: tuple[float, float] = (180.0, 180.0)) -> dict[str, Any]:
    """Labels of a scene of `smap-train synth`."""
    fx, fy = focal
    people = [
        {
            "id": k, "joints_3d": (numbers[:, 4:7] / 100).tolist(),
            "joints_2d": numbers[:, :2].tolist(), "visibility": [2] * 14 + [1], "pixels": 900,
            "box": [*numbers[:, :2].min(0).tolist(), *np.ptp(numbers[:, :2], axis=0).tolist()],
        }
        for k, numbers in enumerate(bodies)
    ]  # fmt: skip
    camera = {"fx": fx, "fy": fy, "cx": SIZE[0] / 2, "cy": SIZE[1] / 2}
    return {
        "camera": {**camera, "width": SIZE[0], "height": SIZE[1]}, "people": people,
        "floor": {"normal": [0.0, -1.0, 0.0], "distance": 0.75},
    }  # fmt: skip


def write_shard(folder: Path, scenes: list[tuple[dict[str, Any], np.ndarray]]) -> Path:
    """A folder with one shard of scenes and their pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "shard-00000.tar", "w") as tar:
        for k, (labels, image) in enumerate(scenes):
            encoded = cv2.imencode(".jpg", image)[1].tobytes()
            for kind, data in (("jpg", encoded), ("json", json.dumps(labels).encode())):
                member = tarfile.TarInfo(f"{k:06d}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return folder


def write_scenes(folder: Path, count: int = 6) -> Path:
    """A shard of people here and there."""
    made = []
    for k in range(count):
        bodies = np.array([body(-0.5 + 0.1 * k, 3.5 + 0.2 * k), body(0.7, 4.5)])[: 1 + k % 2]
        made.append((scene(bodies), picture(bodies, k)))
    return write_shard(folder, made)
