"""CameraInfo to camera: windows, binning, other sizes, rectified images, impossible numbers."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.calibration import Calibration, camera_from_info, rectification
from smap_ros.errors import CameraError
from tests.bag_messages import SIZE, STORE, STORE1, K, camera_info

LENS = (-0.35, 0.12, 0.0, 0.0, 0.0)
P = (500.0, 0.0, 390.0, 0.0, 0.0, 505.0, 210.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize("store", [STORE, STORE1], ids=["ROS 2", "ROS 1"])
def test_raw_images_belong_to_k_and_d_and_rectified_ones_to_p(store):
    info = camera_info(1, store=store, d=LENS, p=P)
    raw, rectified = camera_from_info(info, SIZE), camera_from_info(info, SIZE, rectified=True)
    assert (raw.fx, raw.fy, raw.cx, raw.cy) == (614.5, 614.5, 383.5, 215.5)
    assert raw.distortion == LENS
    assert (rectified.fx, rectified.fy, rectified.cx, rectified.cy) == (500, 505, 390, 210)
    assert rectified.distortion == ()


def test_a_rectified_image_without_p_needs_a_camera_without_lens():
    nothing = (0.0,) * 12
    assert camera_from_info(camera_info(1, p=nothing), SIZE, rectified=True).fx == 614.5
    with pytest.raises(CameraError, match="P of the calibration, which they belong to, is empty"):
        camera_from_info(camera_info(1, p=nothing, d=LENS), SIZE, rectified=True)


@given(
    left=st.integers(1, 300), top=st.integers(1, 200), across=st.integers(1, 4),
    rectified=st.booleans(), sensor=st.booleans(),
)  # fmt: skip
def test_a_window_of_the_sensor_binned_sees_the_same_rays(left, top, across, rectified, sensor):
    """Whether width and height are the sensor's, as the definition has it, or the window's."""
    wide, high = 400, 200
    size = SIZE if sensor else (wide, high)
    info = camera_info(1, size=size, roi=(left, top, wide, high), binning=(across, across))
    camera = camera_from_info(info, (wide // across, high // across), rectified)
    whole = Calibration(*SIZE, K).camera()
    ray = np.array([0.05, -0.02, 1.0])
    there = (whole.project(ray) - (left, top) + 0.5) / across - 0.5
    np.testing.assert_allclose(camera.project(ray), there, atol=0.05 * across)


@pytest.mark.parametrize("size", [(384, 216), (1536, 864), (768, 400), (432, 768), (300, 300)])
def test_an_image_of_another_size_than_its_camera_info_says_is_refused(size):
    with pytest.raises(CameraError, match=r"calibrated for 768x432 px, but the image is"):
        camera_from_info(camera_info(1), size)


def test_an_image_of_another_size_than_a_file_says_is_scaled_or_refused():
    stated = Calibration(*SIZE, K)
    assert stated.camera((384, 216), scaled=True).fx == pytest.approx(614.5 / 2)
    for size in ((768, 400), (432, 768), (300, 300)):
        with pytest.raises(CameraError, match="another shape, so it can't be scaled"):
            stated.camera(size, scaled=True)
    window = Calibration(*SIZE, K, roi=(100, 100, 384, 216))
    with pytest.raises(CameraError, match="calibrated for 384x216 px"):
        window.camera(SIZE, scaled=True)


@pytest.mark.parametrize(
    ("roi", "fits"),
    [
        ((368, 232, 400, 200), True),  # to the very corner
        ((369, 232, 400, 200), False),
        ((368, 233, 400, 200), False),
        ((2000, 0, 400, 200), False),
        ((0, 0, 800, 450), False),
    ],
)
def test_a_window_beyond_the_sensor_is_refused(roi, fits):
    stated = Calibration(*SIZE, K, roi=roi)
    if fits:
        assert stated.camera().width == 400
        return
    with pytest.raises(CameraError, match=r"window of the sensor \(roi\).*beyond the 768x432 px"):
        stated.camera()


def test_a_size_that_is_not_stated_is_that_of_the_image():
    assert camera_from_info(camera_info(1, size=(0, 0)), SIZE).width == 768
    with pytest.raises(CameraError, match="0x432"):
        camera_from_info(camera_info(1, size=(0, 432)), SIZE)


WIDE = (900.0, 0, 641, 0, 900.0, 358, 0, 0, 1.0)  # of 1280x720


@pytest.mark.parametrize(
    "size", [(1920, 1080), (960, 540), (800, 450), (640, 360), (1280, 960), (1600, 720)]
)
@pytest.mark.parametrize("binning", [1, 2])
@pytest.mark.parametrize("rectified", [False, True])
def test_without_a_size_the_matrix_of_another_is_refused(size, binning, rectified):
    info = camera_info(1, size=(0, 0), k=WIDE, p=P, binning=(binning, binning))
    size = size[0] // binning, size[1] // binning
    with pytest.raises(CameraError, match=r"states no size, .* made for about 1282x716 px\. State"):
        camera_from_info(info, size, rectified)


def test_without_a_size_it_is_told_once_which_one_is_taken(caplog):
    for _ in range(3):
        assert Calibration(0, 0, WIDE).camera((1280, 720), scaled=True).fx == 900
    assert caplog.messages == ["a calibration states no size; taken for 1280x720 px, the image's"]
    # An uncommonly far one: 7.5 % of the width.
    assert Calibration(0, 0, (900.0, 0, 735, *WIDE[3:])).camera((1280, 720)).cx == 735
    with pytest.raises(CameraError, match="about 1490x716"):
        Calibration(0, 0, (900.0, 0, 745, *WIDE[3:])).camera((1280, 720))
    assert Calibration(1280, 720, (900.0, 0, 745, *WIDE[3:])).camera((1280, 720)).cx == 745


IMPOSSIBLE = {
    "not calibrated": ({"k": (0,) * 9}, "K is all zeros"),
    "normalised": ({"k": (0.8, 0, 0.5, 0, 1.4, 0.5, 0, 0, 1)}, "normalised by the image's size"),
    "millimetres": ({"k": (3.6, 0, 383.5, 0, 3.6, 215.5, 0, 0, 1)}, "looks like millimetres"),
    "endless": ({"k": (1e9, 0, 383.5, 0, 1e9, 215.5, 0, 0, 1)}, "field of view of 4.4"),
    "for twice the size": ({"k": (1229, 0, 767.5, 0, 1229, 431.5, 0, 0, 1)}, "for another size"),
    "far outside": ({"k": (614, 0, -3000, 0, 614, 215, 0, 0, 1)}, "principal point"),
    "no principal point": ({"k": (614, 0, 0, 0, 614, 0, 0, 0, 1)}, "principal point"),
    "transposed": ({"k": (614, 0, 0, 0, 614, 0, 383, 215, 1)}, "K is impossible"),
    "bottom row": ({"k": (614, 0, 383, 0, 614, 215, 0, 0, 0)}, "K is no camera matrix"),
    "skew": ({"k": (614, 90, 383, 0, 614, 215, 0, 0, 1)}, "skew"),
    "flat pixels": ({"k": (614, 0, 383, 0, 61400, 215, 0, 0, 1)}, "K is impossible"),
    "wild distortion": ({"d": (-50, 3, 0, 0, 0)}, "folds over"),
    "wild the other way": ({"d": (50, 0, 0, 0, 0)}, "folds over"),
    "wild fisheye": ({"d": (90, 0, 0, 0), "model": "equidistant"}, "folds over"),
    "distortion in pixels": ({"d": (614, 383, 614, 215, 0)}, "folds over"),
    "skew nobody knows": ({"k": (614, math.nan, 383, 0, 614, 215, 0, 0, 1)}, "skew"),
    "unknown lens without numbers": ({"d": (), "model": "double_sphere"}, "is unknown.*plumb_bob"),
    "unknown lens of zeros": ({"d": (0.0,) * 4, "model": "fov"}, "'fov' is unknown"),
    "unknown lens": ({"d": (0.1, 0, 0, 0), "model": "double_sphere"}, "'double_sphere' is unknown"),
    "inverse lens": ({"d": LENS, "model": "Inverse Brown Conrady"}, "is unknown"),
    "too few": ({"d": (0.1, 0.1, 0.1)}, "3 distortion coefficients"),
    "no number": ({"k": (math.nan,) * 9}, "finite"),
    "negative": ({"k": (-614, 0, 383, 0, 614, 215, 0, 0, 1)}, "positive focal"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_camera_has_is_refused_with_what_it_may_be(name):
    fields, words = IMPOSSIBLE[name]
    with pytest.raises(CameraError, match=words) as error:
        camera_from_info(camera_info(1, **fields), SIZE)
    assert "\n" not in str(error.value)


def test_an_impossible_p_is_refused_for_rectified_images_only():
    info = camera_info(1, p=(0.8, 0, 0.5, 0, 0, 0.8, 0.5, 0, 0, 0, 1, 0))
    assert camera_from_info(info, SIZE).fx == 614.5
    with pytest.raises(CameraError, match="P is impossible"):
        camera_from_info(info, SIZE, rectified=True)


@pytest.mark.parametrize("d", [(), (0.0,) * 5])
@pytest.mark.parametrize(
    "model", ["", "Inverse Brown Conrady", "Modified Brown Conrady", "pinhole", "none", "Plumb Bob"]
)
def test_names_that_drivers_give_to_no_lens_are_taken_for_none(model, d):
    camera = camera_from_info(camera_info(1, d=d, model=model), SIZE)
    assert not camera.distortion and camera.distortion_model == "plumb_bob"


REAL = {
    "webcam": (614.5, (-0.28, 0.08, 0.001, -0.0007, 0.0), "plumb_bob"),
    "action camera": (360.0, (-0.25, 0.07, 0.0, 0.0, -0.008), "plumb_bob"),
    "wide, rational": (330.0, (0.2, -0.05, 5e-4, 3e-4, 0.01, 0.5, -0.02, 5e-3), "rational"),
    "five of the rational": (614.5, (-0.28, 0.08, 0.0, 0.0, 0.0), "rational"),
    "fisheye": (280.0, (-0.01, 0.02, -0.01, 0.002), "equidistant"),
    "older name": (280.0, (-0.01, 0.02, -0.01, 0.002), "fisheye"),
    "ideal fisheye": (245.0, (0.0, 0.0, 0.0, 0.0), "equidistant"),
    "telephoto": (12000.0, (0.0, 0.0, 0.0, 0.0, 0.0), "plumb_bob"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_cameras_are_taken(name):
    focal, lens, model = REAL[name]
    k = (focal, 0, 380, 0, focal, 220, 0, 0, 1)
    model = "rational_polynomial" if model == "rational" else model
    camera = camera_from_info(camera_info(1, k=k, d=lens, model=model), SIZE)
    assert camera.fx == focal


def test_a_fisheye_of_which_all_coefficients_are_zero_still_bends_rays():
    info = camera_info(1, k=(245, 0, 383.5, 0, 245, 215.5, 0, 0, 1), d=(0.0,) * 4, model="fisheye")
    camera = camera_from_info(info, SIZE)
    angle = math.radians(60)  # an equidistant lens shows angles at equal distances
    pixel = np.array([383.5 + 245 * angle, 215.5])
    x, y, z = camera.back_project(pixel, np.array(2.0))
    assert math.atan2(x, z) == pytest.approx(angle, abs=1e-4) and abs(y) < 1e-6


def test_points_are_undistorted_as_opencv_does():
    k, lens = np.array(K).reshape(3, 3), np.array([-0.01, 0.02, -0.01, 0.002])
    pixels = np.random.default_rng(0).uniform((250, 100), (500, 330), (20, 2))
    info = camera_info(1, d=lens, model="equidistant")
    expected = cv2.fisheye.undistortPoints(pixels[:, None], k, lens, P=k)[:, 0]
    np.testing.assert_allclose(camera_from_info(info, SIZE).undistort(pixels), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "info", "rectified"),
    [
        ("/camera/image_rect", "/camera/camera_info", True),
        ("/camera/image_rect_color/compressed", "/camera/camera_info", True),
        ("/left/rect/image", "/left/camera_info", True),
        ("/cam/image_rectified", "/cam/camera_info", True),
        ("/cam/image", "/cam/camera_info_rect", True),
        ("/camera/image_raw", "/camera/camera_info", False),
        ("/direct_cam/image_color", "/direct_cam/camera_info", False),
        ("/unrectified/image", "/unrectified/camera_info", False),
        ("", "", False),
    ],
)
def test_the_names_of_the_topics_tell_whether_images_are_rectified(image, info, rectified):
    found = rectification("auto", image, info)
    assert found.rectified == rectified and found.reason
    assert rectification("yes", image, info).rectified
    assert not rectification("no", image, info).rectified


def test_the_decision_says_whether_it_matters():
    differs, same = Calibration(*SIZE, K, LENS, p=P), Calibration.from_info(camera_info(1))
    yes, no = rectification("auto", "/c/image_rect"), rectification("auto", "/c/image_raw")
    assert yes.describe(differs).startswith("rectified images, so P without distortion")
    assert no.describe(differs).startswith("raw images, so K with its distortion")
    assert "raw or rectified is the same" in yes.describe(same)
    assert yes.reason in yes.describe(differs)
