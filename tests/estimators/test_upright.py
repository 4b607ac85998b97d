"""Cameras on their side and upside down: people are found as upright, and told as they are."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import replace

import cv2
import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, EngineError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import flush_before
from smap_ros.estimators.upright import roll_when_upright, turned, with_upright_images
from smap_ros.geometry.mounting import Mounting
from smap_ros.paths import config_directory
from smap_ros.skeletons import MPI15
from smap_ros.sources import open_source

DEMO = config_directory() / "demo"
CPU = {"engine": "onnxruntime", "threads": 1}
# How a camera's picture comes when the named side of it is up, made of an upright one.
LAID = {
    "right": cv2.ROTATE_90_CLOCKWISE,
    "bottom": cv2.ROTATE_180,
    "left": cv2.ROTATE_90_COUNTERCLOCKWISE,
}
ROLL = {"right": 90, "bottom": 180, "left": -90}
LENSES = {
    "plumb_bob": (0.12, -0.05, 0.004, -0.007, 0.01),
    "rational_polynomial": (
        0.1,
        -0.02,
        0.003,
        0.005,
        0.01,
        0.02,
        0.01,
        0.0,
        4e-3,
        1e-3,
        -3e-3,
        0.0,
    ),
    "equidistant": (0.02, -0.01, 0.003, 0.001),
}


def upright_camera(model="plumb_bob"):
    lens = {"distortion": LENSES[model], "distortion_model": model}
    return Camera(640, 400, 400.0, 404.0, 300.0, 210.0, **lens)


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_camera_sees_the_same_rays(model, turns):
    """A point of the scene, turned like the image, falls on the turned pixel; with any lens."""
    camera = upright_camera(model)
    points = np.array([[-0.6, 0.3, 2.0], [0.5, 0.4, 1.5], [0.1, -0.5, 3.0]])
    picture = np.indices((camera.height, camera.width)).transpose(1, 2, 0)
    seen = turned(camera, turns)
    laid = np.rot90(picture, turns)
    assert laid.shape[:2] == (seen.height, seen.width)
    rotated = points
    for _ in range(turns):
        rotated = np.stack([rotated[:, 1], -rotated[:, 0], rotated[:, 2]], axis=1)
    pixels, others = camera.project(points), seen.project(rotated)
    for before, after in zip(pixels, others, strict=True):
        x, y = (round(v) for v in after)
        row, column = laid[y, x]  # where that pixel was
        np.testing.assert_allclose(
            after - (x, y), _offset(before - (column, row), turns), atol=1e-6
        )


def _offset(step, turns):
    for _ in range(turns):
        step = np.array([step[1], -step[0]])
    return step


def test_four_turns_are_none():
    camera = replace(upright_camera("rational_polynomial"), mounting=Mounting(1.0, 0.2, 0.3))
    assert turned(camera, 4) == camera
    assert turned(camera, -1) == turned(camera, 3)


@pytest.mark.parametrize("side", LAID)
def test_people_of_a_camera_on_its_side_are_those_of_an_upright_one(side):
    image = next(iter(open_source(str(DEMO / "clip.mp4")))).image
    upright = Camera.from_yaml(DEMO / "camera.yaml")
    turns = ROLL[side] // 90 % 4
    camera = replace(turned(upright, -turns), mounting=Mounting(1.0, 0.0, math.radians(ROLL[side])))
    laid = cv2.rotate(image, LAID[side])
    expected = create_estimator("smap_lite", **CPU).estimate(image, upright)
    assert len(expected) == 3
    for options in ({}, {"image_up": side}):
        got = create_estimator("smap_lite", **CPU, **options).estimate(laid, camera)
        assert got.camera == camera
        for one, other in zip(got, expected, strict=True):
            joints, pixels, height, width = other.joints_3d, other.joints_2d, *image.shape[:2]
            for _ in range(turns):
                joints = np.stack([-joints[:, 1], joints[:, 0], joints[:, 2]], axis=1)
                pixels = np.stack([height - 1 - pixels[:, 1], pixels[:, 0]], axis=1)
                height, width = width, height
            np.testing.assert_allclose(one.joints_3d, joints, atol=1e-4)
            np.testing.assert_allclose(one.joints_2d, pixels, atol=1e-3)


def test_nothing_is_turned_that_is_nearly_upright_unknown_or_stated_to_be_so(make_bundle, scene):
    for mounting, options in (
        (None, {}),
        (Mounting(1.0, 0.1, math.radians(44)), {}),
        (Mounting(1.0, 0.1, math.radians(90)), {"image_up": "top"}),
    ):
        camera = replace(scene.camera, mounting=mounting)
        estimator = create_estimator(make_bundle(scene), **CPU, **options)
        frame = estimator.estimate(scene.image(250), camera, 3.0)
        assert (len(frame), frame.stamp, frame.camera) == (3, 3.0, camera)


def test_an_image_that_fails_lends_its_camera_to_no_other():
    """Stamps are all 0 where nobody states them."""
    frame = next(iter(open_source(str(DEMO / "clip.mp4"))))
    camera = Camera.for_image(frame.image, fov_deg=60)
    estimator = create_estimator("smap_lite", **CPU)
    expected = estimator.estimate(frame.image, camera)
    wide = replace(camera, width=9000, height=9000, fx=8000.0, fy=16000.0)
    with pytest.raises(CameraError, match="megapixels"):
        estimator.estimate(np.zeros((9000, 9000, 3), np.uint8), wide)
    broken = replace(camera, mounting=Mounting(1.0, 0.0, math.pi / 2))
    inner = estimator._estimator._estimator  # what runs the network
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_):
            raise EngineError("the runtime failed")

        patch.setattr(inner, "lifted", fail)
        with pytest.raises(EngineError):
            estimator.estimate(frame.image, broken)
    again = estimator.estimate(frame.image, camera)
    assert again.camera == camera
    for body, other in zip(again, expected, strict=True):
        np.testing.assert_array_equal(body.joints_3d, other.joints_3d)
        np.testing.assert_array_equal(body.joints_2d, other.joints_2d)


def test_a_second_thread_is_refused_and_the_first_ones_people_stay_right():
    frame = next(iter(open_source(str(DEMO / "clip.mp4"))))
    camera = Camera.for_image(frame.image, fov_deg=60)
    estimator = create_estimator("smap_lite", **CPU)
    expected = estimator.estimate(frame.image, camera)
    refused, wrong = [], []

    def look():
        for _ in range(5):
            try:
                people = estimator.estimate(frame.image, camera)
            except EngineError as error:
                refused.append(str(error))
                continue
            wrong.extend(
                not np.array_equal(a.joints_3d, b.joints_3d)
                for a, b in zip(people, expected, strict=True)
            )

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused and not any(wrong)
    assert "one caller at a time: make an estimator for each thread" in refused[0]


def test_a_side_that_images_do_not_have_is_refused():
    with pytest.raises(InputError, match="image_up is 'x'; expected one of auto, top"):
        create_estimator("smap_lite", image_up="x", **CPU)


@pytest.mark.parametrize("side", ["top", *LAID])
def test_a_side_that_is_not_up_as_a_roll_is_stated_is_refused(side):
    expected = ROLL.get(side, 0)
    for off in (-44, 0, 44):
        roll = math.remainder(expected + off, 360)
        if roll:  # 0 says nothing
            rest = roll_when_upright(roll, side)
            assert math.remainder(rest - off, 360) == pytest.approx(0)
    for off in (-90, 46, 180):
        roll = math.remainder(expected + off, 360)
        if roll:
            with pytest.raises(InputError, match=f"contradict each other.*about {expected}"):
                roll_when_upright(roll, side)


def test_auto_goes_by_the_stated_roll_of_cameras_that_do_not_state_their_own():
    image, camera = np.zeros((48, 64, 3), np.uint8), Camera.from_fov(64, 48, 1.0)
    for roll, size in ((0, (64, 48)), (44, (64, 48)), (92, (48, 64)), (-90, (48, 64))):
        assert roll_when_upright(roll, "auto") == pytest.approx(math.remainder(roll, 90))
        inner = Late()
        estimator = with_upright_images(inner, "auto", roll)
        estimator.estimate(image, camera)
        estimator.estimate(image, replace(camera, mounting=Mounting(1.0)), 2.0)
        sizes = [(seen.width, seen.height) for seen, _ in inner.waiting]
        assert sizes == [size, (64, 48)]


def test_a_stated_roll_by_which_images_of_a_tilted_sensor_would_be_turned_is_refused():
    """The model would be told of a level camera, and shown an image on its side."""
    lens = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.01)
    camera = replace(
        Camera.from_fov(64, 48, 1.0), distortion=lens, distortion_model="rational_polynomial"
    )
    image = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(CameraError, match=r"roll of about 90 degrees, as stated, .* tilted sensor"):
        with_upright_images(Late(), "auto", 88).estimate(image, camera)
    assert with_upright_images(Late(), "auto", 10).estimate(image, camera).pending


def test_a_side_that_is_not_up_as_the_camera_is_mounted_is_refused():
    """Nobody would be found, without a word."""
    image, camera = np.zeros((48, 64, 3), np.uint8), Camera.from_fov(64, 48, 1.0)
    estimator = with_upright_images(Late(), "right")
    for roll in (0.0, -90.0, 180.0):
        mounted = replace(camera, mounting=Mounting(1.0, 0.1, math.radians(roll)))
        with pytest.raises(CameraError, match=r"contradict each other; expected about 90"):
            estimator.estimate(image, mounted)
    for fine in (Mounting(1.0, 0.1, math.radians(50)), Mounting(3.0, math.radians(80), 0.0)):
        assert estimator.estimate(image, replace(camera, mounting=fine)).pending
        estimator.flush()


class Late:
    """Reports people two images later, as video models do, and fails once, with an image queued."""

    skeleton = MPI15

    def __init__(self):
        self.waiting, self.about, self.description = deque(), None, "late"

    def estimate(self, image, camera, stamp=0.0):
        self.waiting.append((camera, stamp))
        if stamp == 1.0:
            raise EngineError("the runtime failed")
        if len(self.waiting) <= 2:
            return BodyFrame((), camera, stamp, pending=True)
        return BodyFrame((), *self.waiting.popleft())

    def flush(self):
        frames = [BodyFrame((), *waiting) for waiting in self.waiting]
        self.waiting.clear()
        return frames

    def close(self):
        pass


def test_people_of_an_image_that_waits_are_told_in_its_own_picture_though_the_model_failed_there():
    estimator = with_upright_images(Late(), "left")
    image, camera = np.zeros((48, 64, 3), np.uint8), Camera.from_fov(64, 48, 1.0)
    told = []
    for stamp in range(6):
        try:
            told.append(estimator.estimate(image, camera, float(stamp)))
        except EngineError:
            continue
    told += estimator.flush()
    done = [frame for frame in told if not frame.pending]
    assert [frame.stamp for frame in done] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(frame.camera == camera for frame in done)
    assert not estimator._cameras


class Beginning(Late):
    """Takes an image of time 0 for the first of another video."""

    def flush_before(self, stamp):
        return self.flush() if stamp == 0 else []


@pytest.mark.parametrize(("kind", "owed"), [(Late, []), (Beginning, [1.5, 2.0])])
def test_what_is_owed_before_another_video_is_told_in_its_own_picture(kind, owed):
    estimator = with_upright_images(kind(), "left")
    image, camera = np.zeros((48, 64, 3), np.uint8), Camera.from_fov(64, 48, 1.0)
    for stamp in (0.5, 1.5, 2.0):
        estimator.estimate(image, camera, stamp)
    assert flush_before(estimator, 2.5) == []
    frames = flush_before(estimator, 0.0)
    assert [frame.stamp for frame in frames] == owed
    assert all(frame.camera == camera for frame in frames)
