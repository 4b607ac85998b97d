"""Cameras: round trips, known numbers, refusals."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros.camera import Camera
from smap_ros.errors import CameraError
from smap_ros.geometry.lenses import fisheye_rays, widest

LENSES = {
    "none": ((), "plumb_bob"),
    "plumb_bob 5": ((-0.28, 0.08, 0.001, -0.0007, 0.0), "plumb_bob"),
    "plumb_bob 4": ((0.05, -0.02, 0.0, 0.001), "plumb_bob"),
    "rational": ((0.2, -0.05, 0.0005, 0.0003, 0.01, 0.5, -0.02, 0.005), "rational_polynomial"),
    "fisheye": ((-0.01, 0.02, -0.01, 0.002), "equidistant"),
}
lenses = pytest.mark.parametrize("lens", LENSES)
sides = st.integers(1, 4000)


def camera(lens: str = "none") -> Camera:
    distortion, model = LENSES[lens]
    return Camera(1280, 720, 800, 820, 655.5, 340.25, distortion, model)


points = st.tuples(st.floats(-0.7, 0.7), st.floats(-0.4, 0.4), st.floats(0.3, 30)).map(
    lambda p: np.array([p[0] * p[2], p[1] * p[2], p[2]])
)


@lenses
@settings(max_examples=40)
@given(point=points)
def test_back_projection_undoes_projection(lens, point):
    view = camera(lens)
    pixel = view.project(point)
    assert pixel.shape == (2,)
    back = view.back_project(pixel, point[2])
    np.testing.assert_allclose(back, point, atol=2e-4 * point[2])


@lenses
def test_projection_is_opencv_s(lens):
    view = camera(lens)
    cloud = np.random.default_rng(0).uniform([-2, -1, 3], [2, 1, 6], (50, 3))
    zero = np.zeros(3)
    coefficients = np.array(view.distortion or (0.0,) * 4)
    project = cv2.fisheye.projectPoints if lens == "fisheye" else cv2.projectPoints
    expected, _ = project(cloud[:, None], zero, zero, view.matrix, coefficients)
    np.testing.assert_allclose(view.project(cloud), expected[:, 0], atol=1e-9)


@lenses
@pytest.mark.parametrize("shape", [(0, 2), (2,), (4, 2), (3, 4, 2)])
def test_shapes_are_kept_and_inputs_untouched(lens, shape):
    view = camera(lens)
    pixels = np.random.default_rng(0).uniform(300, 700, shape)
    before = pixels.copy()
    ideal = view.undistort(pixels)
    assert ideal.shape == shape and ideal.dtype == np.float64
    assert view.back_project(pixels, np.ones(shape[:-1])).shape == (*shape[:-1], 3)
    ideal += 1
    np.testing.assert_array_equal(pixels, before)


@lenses
def test_unknown_points_stay_unknown_and_do_not_disturb_others(lens):
    view = camera(lens)
    pixels = np.array([[600.0, 300.0], [np.nan, np.nan], [np.nan, 10.0], [700.0, 400.0]])
    ideal = view.undistort(pixels)
    assert np.isnan(ideal[1]).all() and np.isnan(ideal[2]).any()
    np.testing.assert_allclose(ideal[[0, 3]], view.undistort(pixels[[0, 3]]))
    cloud = np.array([[0, 0, 2.0], [np.nan, 0, 2], [0, 0, 0], [0, 0, -1], [1, 1, 1e-9]])
    assert np.isfinite(view.project(cloud)).all(axis=1).tolist() == [True, *[False] * 4]


@lenses
def test_pixels_without_an_ideal_ray_are_unknown_not_invented(lens):
    """Far outside the image a lens polynomial turns back: no ray projects to those pixels."""
    view = camera(lens)
    pixels = np.array([[-9000.0, 7000.0], [640.0, 360.0], [30000.0, 360.0]])
    depth = np.full(3, 2.0)
    rays = view.back_project(pixels, depth)
    assert np.isfinite(rays[1]).all()
    again = view.project(rays)
    known = np.isfinite(again).all(axis=1)
    np.testing.assert_allclose(again[known], pixels[known], atol=1.0)


@given(degrees=st.floats(1, 179), width=st.integers(2, 8000))
def test_field_of_view_is_kept(degrees, width):
    view = Camera.from_fov(width, 480, math.radians(degrees))
    assert view.fov == pytest.approx(math.radians(degrees))
    assert (view.cx, view.cy) == ((width - 1) / 2, 239.5)
    left, right = view.back_project(np.array([[-0.5, 0.0], [width - 0.5, 0.0]]), np.ones(2))[:, 0]
    assert math.atan(right) - math.atan(left) == pytest.approx(math.radians(degrees))


@pytest.mark.parametrize("fov", [0, -1, math.pi, 7, math.nan, math.inf])
def test_impossible_fields_of_view_are_refused(fov):
    with pytest.raises(CameraError, match="field of view"):
        Camera.from_fov(640, 480, fov)


@given(width=sides, height=sides, point=points)
def test_resizing_moves_points_with_the_image(width, height, point):
    view = camera()
    small = view.resized(width, height)
    ratio = np.array([width / 1280, height / 720])
    expected = (view.project(point) + 0.5) * ratio - 0.5
    np.testing.assert_allclose(small.project(point), expected, atol=1e-6 * max(width, height))


def test_resizing_keeps_distortion():
    view = camera("plumb_bob 5")
    small = view.resized(640, 360)
    assert (small.distortion, small.distortion_model) == (view.distortion, "plumb_bob")
    back = small.resized(1280, 720)
    np.testing.assert_allclose(back.matrix, view.matrix)


K = [800.0, 0, 320, 0, 810, 240, 0, 0, 1]


def test_camera_from_camera_info():
    view = Camera.from_matrix(640, 480, K, [0.0] * 5, "plumb_bob")
    assert view == Camera(640, 480, 800, 810, 320, 240)
    assert Camera.from_matrix(640, 480, np.reshape(K, (3, 3))) == view
    np.testing.assert_array_equal(view.matrix, np.reshape(K, (3, 3)))
    assert Camera.from_matrix(640, 480, K, [0.1, 0, 0, 0], "").distortion_model == "plumb_bob"
    assert Camera.from_json(view.to_json()) == view


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((640, 480, [0.0] * 9), "all zeros"),
        ((640, 480, K[:8]), "8 numbers, expected 9"),
        ((640, 480, []), "0 numbers"),
        ((0, 480, K), "0x480"),
        ((640, -480, K), "640x-480"),
        ((640, 480, [-800.0, *K[1:]]), "positive focal"),
        ((640, 480, [math.nan, *K[1:]]), "finite"),
        ((640, 480, [*K[:2], math.inf, *K[3:]]), "finite"),
        ((640, 480, [0.0, *K[1:]]), "positive focal"),
        ((640, 480, K, [0.1] * 3), "3 distortion coefficients; expected 4 or 5"),
        ((640, 480, K, [0.1] * 5, "equidistant"), "expected 4"),
        ((640, 480, K, [0.1] * 5, "double_sphere"), "'double_sphere' is unknown"),
        ((640, 480, K, [math.nan] * 5), "finite"),
    ],
)
def test_impossible_cameras_are_refused(arguments, words):
    with pytest.raises(CameraError, match=words):
        Camera.from_matrix(*arguments)


def test_whole_numbers_are_coefficients_too():
    for model, lens in (("equidistant", (0, 0, 0, 0)), ("plumb_bob", (1, 0, 0, 0, 0))):
        whole = Camera(640, 480, 400, 400, 320, 240, lens, model)
        exact = Camera(640, 480, 400.0, 400.0, 320.0, 240.0, tuple(map(float, lens)), model)
        points = np.array([[0.1, 0.2, 3.0], [-0.5, 0.1, 2.0]])
        np.testing.assert_array_equal(whole.project(points), exact.project(points))
        np.testing.assert_array_equal(
            whole.undistort(whole.project(points)), exact.undistort(exact.project(points))
        )


@pytest.mark.parametrize("degrees", [0.5, 157.5, 179.999, math.nan, 0, -60])
def test_openings_that_place_nobody_are_refused_for_images(degrees):
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.raises(CameraError, match=r"expected the horizontal .* 1\.15 to 157\.4, or a cal"):
        Camera.for_image(image, fov_deg=degrees)
    assert math.degrees(Camera.for_image(image, fov_deg=150).fov) == pytest.approx(150)


def test_pixels_of_an_image_may_be_wider_than_high():
    """A film of 576x432 px that is shown in 768x432 has the camera of that, and its distances."""
    stored, shown = np.zeros((432, 576, 3), np.uint8), np.zeros((432, 768, 3), np.uint8)
    view = Camera.for_image(stored, fov_deg=60, pixel_aspect=4 / 3)
    square = Camera.for_image(shown, fov_deg=60)
    assert view.fov == pytest.approx(square.fov)
    assert (view.fx, view.fy) == pytest.approx((square.fx * 3 / 4, square.fy))
    for aspect in (0, -1, math.nan):
        with pytest.raises(CameraError, match="positive focal"):
            Camera.for_image(stored, fov_deg=60, pixel_aspect=aspect)


BENT = {
    "webcam": ((-0.34, 0.13, 0.001, -0.001, -0.023), "plumb_bob"),  # turns back at 57 degrees
    "rational": ((0.1, -0.4, 0.0, 0.0, 0.02, 0.3, 0.05, 0.01), "rational_polynomial"),
    "fisheye": ((-0.1, -0.15, 0.0, 0.0), "equidistant"),
}


@pytest.mark.parametrize("lens", BENT)
def test_what_is_farther_from_the_axis_than_a_model_is_a_lens_lies_farther_out(lens):
    view = Camera(1280, 720, 800, 800, 640, 360, *BENT[lens])
    steep = np.linspace(0.0, 20.0, 4000)
    for x, y in ((1.0, 0.0), (0.0, -1.0), (-0.6, 0.8)):
        rays = np.stack([steep * x, steep * y, np.ones_like(steep)], axis=1)
        out = (view.project(rays) - (640, 360)) @ (x, y)
        assert (np.diff(out) > 0).all()
    # A pixel of the image still has one ray, and what nothing shows has none.
    corner = np.array([[1279.0, 719.0]])
    back = view.back_project(corner, np.array([2.0]))
    assert np.isnan(back[0, 0]) or np.allclose(view.project(back), corner, atol=0.5)


def test_feet_of_somebody_near_are_below_the_picture_of_a_wide_lens():
    view = Camera(1280, 720, 800, 800, 640, 360, *BENT["webcam"])
    body = np.array([[0.1, y, 0.6] for y in (-0.3, 0.0, 0.5, 0.9, 1.4)])  # head to feet
    rows = view.project(body)[:, 1]
    assert (np.diff(rows) > 0).all() and rows[-1] > 1000


OAK = {  # Luxonis' own calibrations: a pole within the image, and a zero beside it
    "OAK-D": (-4.8608, 17.2820, 0.0002, 0.0010, -25.1723, -4.9436, 17.5144, -25.2908),
    "OAK-D-Lite": (-4.0934, 9.1908, 0.00125, -0.00103, -8.9172, -4.1880, 9.5568, -9.3035),
}


@pytest.mark.parametrize("lens", OAK)
def test_a_lens_goes_on_behind_a_pole_of_its_model(lens):
    view = Camera(250, 250, 196.5, 196.5, 124.5, 124.5, OAK[lens], "rational_polynomial")
    rays = np.array([[x, y, 1.0] for x in np.linspace(-0.7, 0.7, 9) for y in (-0.65, 0.1, 0.7)])
    expected, _ = cv2.projectPoints(
        rays[:, None], np.zeros(3), np.zeros(3), view.matrix, np.array(view.distortion)
    )
    np.testing.assert_allclose(view.project(rays), expected[:, 0], atol=1e-9)


def test_no_ray_is_made_up_for_pixels_that_a_lens_never_shows():
    view = Camera(1920, 1080, 880, 880, 960, 540, (-0.27, 0.03, 0.0, 0.0, 0.0), "plumb_bob")
    grid = np.stack(np.meshgrid(np.arange(0.0, 1920, 8), np.arange(0.0, 1080, 8)), axis=-1)
    rays = (view.undistort(grid) - (960, 540)) / 880
    steep = np.linalg.norm(rays, axis=-1)
    assert np.isnan(steep).any() and np.nanmax(steep) <= view.widest


def test_coefficients_may_be_a_list():
    one, other = (Camera(640, 480, 500, 500, 320, 240, d) for d in ([0.1] * 5, (0.1,) * 5))
    point = np.array([0.2, -0.1, 1.0])
    np.testing.assert_array_equal(one.project(point), other.project(point))


@pytest.mark.parametrize("lens", [(0.1, 0.02, 0.0, 0.0), (0.05, 0.0, 0.0, 0.0), (0.3, 0, 0, 0)])
def test_a_fisheye_that_shows_rays_far_from_the_middle_knows_them(lens):
    """OpenCV takes nothing to be farther than a quarter of a turn by the focal length."""
    view = Camera(1280, 960, 300, 290, 639.5, 479.5, lens, "equidistant")
    angle, turn = np.meshgrid(np.radians(np.linspace(0.0, 89.0, 90)), np.radians([0, 50, 200]))
    rays = np.stack(
        [np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], axis=-1
    )
    pixels = view.project(rays)
    np.testing.assert_allclose(view.back_project(pixels, rays[..., 2]), rays, atol=1e-6)
    # What is beyond half a sphere is on no plane.
    assert np.isnan(view.undistort(np.array([4000.0, 479.5]))).all()


@given(lens=st.tuples(*[st.floats(-0.3, 0.3)] * 4), seed=st.integers(0, 99))
def test_fisheye_rays_are_those_of_opencv_wherever_it_has_some(lens, seed):
    limit = widest(True, lens)
    angles = np.random.default_rng(seed).uniform(0.01, min(math.atan(limit), 1.3), 20)
    shown = angles * np.polynomial.polynomial.polyval(angles**2, (1.0, *lens))
    ours = fisheye_rays(shown, lens, limit)
    pixels = np.stack([shown, np.zeros_like(shown)], axis=-1)[:, None]
    theirs = cv2.fisheye.undistortPoints(pixels, np.eye(3), np.array(lens))[:, 0, 0]
    there = np.arctan(theirs)
    solved = np.abs(there * np.polynomial.polynomial.polyval(there**2, (1.0, *lens)) - shown) < 1e-9
    solved &= (theirs >= 0) & (theirs < 0.99 * limit)
    np.testing.assert_allclose(np.arctan(ours)[solved], there[solved], atol=1e-6)
