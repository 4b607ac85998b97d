"""How large lenses show people, and that distances follow it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.estimators import create_estimator
from smap_ros.estimators.smap.lens import shown_size
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.paths import config_directory
from smap_ros.skeletons import MPI15

CLIP = config_directory() / "demo" / "truth.json"
PINHOLE = Camera.from_fov(1280, 720, np.deg2rad(90))
LENSES = {
    "plumb_bob": (-0.25, 0.06, 0.001, -0.001, 0.0),
    "rational_polynomial": (0.3, 0.02, 0.0, 0.0, 0.0, 0.6, 0.1, 0.0),
    "equidistant": (0.0, 0.0, 0.0, 0.0),
}
ALL = np.ones((1, 15), np.bool_)


def stick(ray: tuple[float, float], length: float = 0.01) -> np.ndarray:
    """Somebody far away, all joints one above another; float64 [1, 15, 3]."""
    heights = np.linspace(-length / 2, length / 2, 15)
    return np.stack(np.broadcast_arrays(ray[0], ray[1] + heights, 1.0), axis=-1)[None]


def bent(model: str) -> Camera:
    return replace(PINHOLE, distortion=LENSES[model], distortion_model=model)


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("ray", [(0.0, 0.0), (0.5, 0.0), (-0.9, 0.1)])
def test_it_is_how_much_smaller_the_same_person_is(model: str, ray: tuple[float, float]) -> None:
    camera, person = bent(model), stick(ray)
    without, there = PINHOLE.project(person)[0], camera.project(person)[0]
    expected = np.linalg.norm(np.ptp(there, axis=0)) / np.linalg.norm(np.ptp(without, axis=0))
    assert shown_size(there[None], ALL, camera)[0] == pytest.approx(expected, rel=2e-3)


def test_without_a_lens_or_enough_joints_nothing_is_known() -> None:
    person = PINHOLE.project(stick((0.9, 0.0), 0.5))
    assert shown_size(person, ALL, PINHOLE).tolist() == [1.0]
    one = np.arange(15)[None] == MPI15.root
    assert shown_size(person, one, bent("equidistant")).tolist() == [1.0]
    assert shown_size(np.full((1, 15, 2), np.nan), ALL, bent("equidistant")).tolist() == [1.0]


def test_joints_at_a_right_angle_make_nobody_a_dwarf() -> None:
    """Where a fisheye sees the hand of somebody beside it a pinhole has it endlessly far out."""
    camera = Camera.from_fov(1280, 720, np.deg2rad(90))
    camera = replace(
        camera, fx=400.0, fy=400.0, distortion=(0.0,) * 4, distortion_model="equidistant"
    )
    person = camera.project(stick((1.0, 0.0), 1.0))
    usual = shown_size(person, ALL, camera)[0]
    person[0, 5] = camera.cx + 400 * np.deg2rad(89.9), camera.cy
    assert shown_size(person, ALL, camera)[0] > 0.3 * usual


@pytest.mark.parametrize("wide", [1.0, 0.3, 0.1])
def test_a_fisheye_shows_nobody_larger_than_a_pinhole(wide: float) -> None:
    """Somebody far beside the camera, from the front and from the side."""
    camera = Camera(
        1280, 960, 400.0, 400.0, 640.0, 480.0, distortion=(0.0,) * 4,
        distortion_model="equidistant",
    )  # fmt: skip
    for away in (8.0, 15.0):
        across = wide * np.linspace(-0.3, 0.3, 15)
        person = np.stack([away + 0 * across, across, np.linspace(1.2, 3.0, 15)], axis=-1)
        pixels = camera.project(person[None])
        assert (np.abs(pixels - (640, 480)) < (640, 480)).all()
        assert 0 < shown_size(pixels, ALL, camera)[0] < 1


def pictures(camera: Camera, lens: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where in the picture without a lens each pixel of that with one is, for OpenCV."""
    grid = np.stack(np.meshgrid(np.arange(lens.width), np.arange(lens.height)), axis=-1)
    points = camera.project(lens.back_project(grid.astype(float), np.ones(grid.shape[:2])))
    x, y = np.moveaxis(np.nan_to_num(points, nan=-1e4).astype(np.float32), -1, 0)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def same(body: Body, others: tuple[Body, ...]) -> Body | None:
    """Whose pelvis is seen in the same direction."""
    away = [np.linalg.norm(b.root[:2] / b.root[2] - body.root[:2] / body.root[2]) for b in others]
    return others[int(np.argmin(away))] if away and min(away) < 0.03 else None


def test_people_are_as_far_away_behind_a_lens() -> None:
    """The shipped model on pictures of the shipped clip: as they are, and bent by a lens."""
    scenes = [scene for scene in read_clip(CLIP) if scene.key % 10 == 0]
    camera = scenes[0].camera
    lens = replace(camera, distortion=(-0.9, 0.5, 0.0, 0.0, 0.0))
    maps = pictures(camera, lens)
    estimator = create_estimator("smap_lite", "onnxruntime", threads=1)
    farther = []
    for scene in scenes:
        image = scene.image()
        behind = estimator.estimate(cv2.remap(image, *maps, cv2.INTER_LINEAR), lens).bodies
        for body in estimator.estimate(image, camera).bodies:
            other = same(body, behind)
            if other is not None and abs(body.root[0] / body.root[2]) > 0.25:
                farther.append(np.log(other.root[2] / body.root[2]))
    assert len(farther) >= 8
    assert abs(np.mean(farther)) < 0.03
