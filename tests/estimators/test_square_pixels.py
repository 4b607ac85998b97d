"""Pixels that aren't square, of calibrations and of videos, cost people neither shape nor place."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from smap_ros.calibration import CameraChoice
from smap_ros.camera import Camera
from smap_ros.errors import CameraError
from smap_ros.estimators import create_estimator
from smap_ros.offline.estimate import camera_of
from smap_ros.paths import config_directory
from smap_ros.sources import open_source

DEMO = config_directory() / "demo"
CPU = {"engine": "onnxruntime", "threads": 1}


def found(image, camera):
    frame = create_estimator("smap_lite", **CPU).estimate(image, camera)
    assert frame.camera == camera
    return sorted(frame.bodies, key=lambda body: body.root[0])


@pytest.mark.parametrize("size", [(576, 432), (768, 324)], ids=["wide pixels", "high pixels"])
def test_people_of_a_squeezed_image_are_those_of_the_image(size):
    image = next(iter(open_source(str(DEMO / "clip.mp4")))).image
    camera = Camera.from_yaml(DEMO / "camera.yaml")
    squeezed = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    expected, got = found(image, camera), found(squeezed, camera.resized(*size))
    assert len(got) == len(expected) == 3
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one.root, other.root, atol=0.15)
        back = (one.joints_2d + 0.5) * (768 / size[0], 432 / size[1]) - 0.5
        assert np.nanmedian(np.abs(back - other.joints_2d)) < 2


def test_square_pixels_are_handed_on_as_they_are(make_bundle, scene):
    estimator = create_estimator(make_bundle(scene), **CPU)
    frame = estimator.estimate(scene.image(250), scene.camera, 3.0)
    assert (len(frame), frame.stamp, frame.camera) == (3, 3.0, scene.camera)


@pytest.mark.parametrize(("aspect", "fy"), [(Fraction(4, 3), 4 / 3), (None, 1.0)])
def test_a_video_says_how_wide_its_pixels_are(tmp_path, aspect, fy):
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        frame = av.VideoFrame.from_ndarray(np.full((144, 192, 3), 90, np.uint8), format="bgr24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (frame,) = open_source(str(tmp_path / "film.mp4"))
    camera = camera_of(CameraChoice.of(None, 60), frame)
    assert camera.fov == pytest.approx(np.deg2rad(60))
    assert camera.fy / camera.fx == pytest.approx(fy)


@pytest.mark.parametrize(
    ("fx", "size"), [(1.0, "768000x432"), (10.0, "76800x432")], ids=["memory", "sides"]
)
def test_pixels_that_would_make_too_large_an_image_are_refused_before_they_do(fx, size):
    image = np.zeros((432, 768, 3), np.uint8)
    camera = Camera(768, 432, fx, 1000.0, 384.0, 216.0)
    told = rf"fx={fx:g} px and fy=1000 px: an image of 768x432 px would be {size} px of square"
    with pytest.raises(CameraError, match=told):
        create_estimator("smap_lite", engine="onnxruntime", threads=1).estimate(image, camera)
