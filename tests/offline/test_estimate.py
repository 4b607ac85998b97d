"""Which camera an image was taken with, from what the user states and the source knows."""

import math

import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.offline.estimate import CameraChoice
from smap_ros.sources import Frame


def frame(width: int, height: int, camera: Camera | None = None) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), camera, 0.0, 0, "a.png")


def camera(width: int = 640, height: int = 480, fx: float = 500.0) -> Camera:
    return Camera(width, height, fx, fx, width / 2, height / 2)


def test_a_field_of_view_fits_any_size():
    choice = CameraChoice.of(None, 60)
    for size in ((640, 480), (1280, 720)):
        assert choice.of_frame(frame(*size)).fov == pytest.approx(math.radians(60))


def test_what_the_user_states_wins_over_the_source():
    choice = CameraChoice(calibration=camera(fx=700.0))
    assert choice.of_frame(frame(640, 480, camera(fx=500.0))).fx == 700
    assert CameraChoice().of_frame(frame(640, 480, camera(fx=500.0))).fx == 500


def test_a_calibration_is_scaled_to_images_of_its_shape_only():
    choice = CameraChoice(calibration=camera())
    assert choice.of_frame(frame(1280, 960)).fx == 1000
    # A row more or less is rounding, not another shape.
    assert choice.of_frame(frame(641, 480)).fx == pytest.approx(500, rel=0.01)
    with pytest.raises(CameraError, match=r"for 640x480 px, the image a\.png is 1280x720 px"):
        choice.of_frame(frame(1280, 720))


def test_nothing_known_is_an_error_that_says_what_to_give():
    with pytest.raises(CameraError, match="give --camera"):
        CameraChoice().of_frame(frame(640, 480))


def test_two_answers_are_refused():
    with pytest.raises(InputError, match="give one"):
        CameraChoice(camera(), 1.0)


@pytest.mark.parametrize("degrees", [0, -5, 180, float("nan")])
def test_impossible_angles_are_refused(degrees):
    with pytest.raises(CameraError, match="between 0 and 180"):
        CameraChoice.of(None, degrees)
