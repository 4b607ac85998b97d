"""Which camera an image was taken with, from what the user states and the image brings."""

import math

import pytest

from smap_ros.calibration import Calibration, CameraChoice
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError

K = (500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0)
P = (400.0, 0.0, 310.0, 0.0, 0.0, 400.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0)
STATED = Calibration(640, 480, K, (-0.3, 0.1, 0.0, 0.0, 0.0), p=P)


def known(fx: float = 500.0) -> Camera:
    return Camera(640, 480, fx, fx, 320, 240)


def test_a_field_of_view_fits_any_size():
    choice = CameraChoice.of(None, 60)
    for size in ((640, 480), (1280, 720)):
        assert choice.camera(size).fov == pytest.approx(math.radians(60))


def test_what_the_user_states_wins_over_what_comes_with_the_image():
    assert CameraChoice(STATED).camera((640, 480), known(700.0)).fx == 500
    assert CameraChoice(fov=1.0).camera((640, 480), known()).fov == pytest.approx(1.0)
    assert CameraChoice().camera((640, 480), known(700.0)).fx == 700


def test_a_file_is_scaled_to_images_of_its_shape_only():
    choice = CameraChoice(STATED)
    assert choice.camera((1280, 960)).fx == 1000
    # A row more or less is rounding, not another shape.
    assert choice.camera((641, 480)).fx == pytest.approx(500, rel=0.01)
    with pytest.raises(CameraError, match="640x480 px, but the image is 1280x720 px: another"):
        choice.camera((1280, 720))


def test_what_comes_with_an_image_is_for_its_size():
    with pytest.raises(CameraError, match=r"640x480 px, but the image is 1280x960 px\. Calibrate"):
        CameraChoice().camera((1280, 960), known())


def test_rectified_images_of_a_file_have_its_projection_matrix():
    rectified = CameraChoice(STATED, rectified="yes").camera((640, 480))
    assert (rectified.fx, rectified.cx, rectified.distortion) == (400, 310, ())
    assert CameraChoice(STATED).camera((640, 480)).distortion == STATED.d
    with pytest.raises(CameraError, match="P of the calibration, which they belong to, is empty"):
        CameraChoice(Calibration(640, 480, K, STATED.d), rectified="yes")


@pytest.mark.parametrize("size", [(640, 480), (853, 480)])
def test_of_a_video_with_wide_pixels_the_calibration_is_for_its_pixels_or_for_what_is_shown(size):
    """640x480 pixels, each 4/3 as wide as high: shown as 853x480."""
    wide = 4 / 3
    stated = Calibration(*size, (600.0, 0, size[0] / 2, 0, 600.0, 240.0, 0, 0, 1.0))
    camera = CameraChoice(stated).camera((640, 480), pixel_aspect=wide)
    assert (camera.width, camera.height) == (640, 480)
    assert camera.fx == pytest.approx(600 if size == (640, 480) else 450, rel=1e-3)
    assert camera.fy == 600
    ideal = CameraChoice(fov=1.0).camera((640, 480), pixel_aspect=wide)
    assert ideal.fov == pytest.approx(1.0) and ideal.fy / ideal.fx == pytest.approx(wide)


def test_nothing_known_is_an_error_that_says_why_and_what_to_give():
    with pytest.raises(CameraError, match="the bag has none; give a calibration file, or state"):
        CameraChoice().camera((640, 480), problem="the bag has none")


def test_two_answers_are_refused():
    with pytest.raises(InputError, match="give one"):
        CameraChoice(STATED, 1.0)


@pytest.mark.parametrize("degrees", [0, -5, 0.01, 1.1, 179.9, 180, float("nan")])
def test_impossible_angles_are_refused(degrees):
    with pytest.raises(CameraError, match=r"field of view in degrees, 1\.15 to 157\.4, or"):
        CameraChoice.of(None, degrees)


def test_a_word_that_is_none_is_refused():
    with pytest.raises(InputError, match="rectified is 'maybe'; expected one of auto, yes, no"):
        CameraChoice(rectified="maybe")
