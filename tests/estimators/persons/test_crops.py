"""Square crops: where they lie, what they show, and the way there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.estimators.persons.crops import Crop, crop_around

GOLDEN = Path(__file__).parents[2] / "goldens" / "mobilehumanpose" / "golden.npz"
NAN = float("nan")
PLACES = st.floats(-3000, 3000)
CROPS = st.builds(Crop, x=PLACES, y=PLACES, side=st.floats(2, 4000), size=st.just(256))


@pytest.mark.parametrize(
    ("points", "margin", "expected"),
    [
        ([[100, 50], [140, 150]], 1.0, (70, 50, 100)),
        ([[100, 50], [140, 150]], 1.25, (57.5, 37.5, 125)),
        ([[10, 200], [300, 220]], 1.0, (10, 65, 290)),
        ([[100, 50], [NAN, NAN], [140, 150]], 1.0, (70, 50, 100)),
        # What lies outside of the image is cut off before the box is made square.
        ([[-100, 50], [100, 150]], 1.0, (0, 50, 100)),
        ([[600, 300], [700, 900]], 1.0, (530, 300, 179)),
    ],
)
def test_crop_is_the_square_about_the_box_in_the_image(points, margin, expected):
    crop = crop_around(np.array(points, float), (640, 480), margin, 256)
    assert (crop.x, crop.y, crop.side) == pytest.approx(expected)
    assert crop.size == 256


def test_crop_is_that_of_the_official_code():
    """``process_bbox`` of MobileHumanPose: a box x, y, width, height in an image of 640 x 480."""
    golden = np.load(GOLDEN)
    x, y, width, height = golden["process_bbox_in"]
    corners = np.array([[x, y], [x + width - 1, y + height - 1]])  # first and last pixel
    crop = crop_around(corners, (640, 480), 1.25, 256)
    assert (crop.x, crop.y, crop.side, crop.side) == tuple(golden["process_bbox_out"])


@pytest.mark.parametrize(
    "points",
    [
        np.empty((0, 2)),
        [[NAN, NAN], [NAN, NAN]],
        [[100, 100]],
        [[100, 100], [101, 100.5]],
        [[-50, -50], [-10, -20]],
    ],
)
def test_points_without_a_box_in_the_image_give_no_crop(points):
    assert crop_around(np.array(points, float), (640, 480), 1.25, 256) is None


@given(CROPS, st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=5))
def test_points_come_back_from_the_crop(crop, points):
    pixels = np.array(points)
    back = crop.to_image(crop.to_crop(pixels))
    assert np.abs(back - pixels).max() < 1e-6


@pytest.mark.parametrize(("x", "y", "side"), [(100, 40, 256), (31.5, -60.25, 400), (400, 300, 90)])
def test_what_is_seen_lies_where_the_crop_says(x, y, side):
    crop = Crop(x, y, side, 256)
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    middle = np.array([x + side * 0.45, y + side * 0.55])
    spread = side / 20
    blob = np.exp(-((columns - middle[0]) ** 2 + (rows - middle[1]) ** 2) / (2 * spread**2))
    image = np.repeat((blob * 255).astype(np.uint8)[..., None], 3, axis=2)
    seen = crop.apply(image)[..., 0].astype(float)
    assert seen.shape == (256, 256)
    columns, rows = np.meshgrid(np.arange(256), np.arange(256))
    found = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
    assert np.abs(found - crop.to_crop(middle)).max() < 0.1


def test_outside_of_the_image_is_black():
    image = np.full((100, 100, 3), 200, np.uint8)
    crop = Crop(-50, 0, 100, 64).apply(image)
    assert (crop[:, :30] == 0).all() and (crop[:, 33:] == 200).all()
