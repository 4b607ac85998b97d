"""The turned square about a person."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.estimators.second_look.region import Region, region_around
from smap_ros.skeletons import MPI15

ROOT, NECK = MPI15.root, MPI15.index("neck")
LEFT, RIGHT = MPI15.index("l_shoulder"), MPI15.index("r_shoulder")


def person(angle: float = 0.0) -> np.ndarray:
    """A stick figure of 15 points about (300, 200), feet 100 px from the pelvis, turned."""
    points = np.zeros((15, 2))
    points[:, 1] = np.linspace(-80, 100, 15)
    points[ROOT] = 0
    points[[NECK, LEFT, RIGHT]] = (0, -50), (20, -50), (-20, -50)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return points @ turn.T + (300, 200)


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, -90])
def test_the_square_is_about_the_pelvis_and_turned_with_the_shoulders(degrees: float) -> None:
    region = region_around(person(math.radians(degrees)), 1.25, 256)
    assert region is not None
    assert (region.x, region.y) == pytest.approx((300, 200))
    assert region.side == pytest.approx(2 * 1.25 * 100)
    assert math.cos(region.angle - math.radians(degrees)) == pytest.approx(1)
    # Upright in the crop: the neck is above the middle, by its share of the side.
    neck = region.to_crop(person(math.radians(degrees))[NECK])
    assert neck == pytest.approx((128, 128 - 50 / 250 * 256))


@pytest.mark.parametrize("missing", [[LEFT], [LEFT, RIGHT], [LEFT, RIGHT, NECK]])
def test_without_shoulders_the_neck_says_what_is_up_and_else_the_picture(missing) -> None:
    joints = person(math.pi / 2)
    joints[missing] = np.nan
    region = region_around(joints, 1.25, 256)
    assert region is not None
    expected = 0.0 if NECK in missing else math.pi / 2
    assert region.angle == pytest.approx(expected)


def test_who_has_no_pelvis_or_nothing_else_has_no_square() -> None:
    joints = person()
    joints[ROOT] = np.nan
    assert region_around(joints, 1.25, 256) is None
    alone = np.full((15, 2), np.nan)
    assert region_around(alone, 1.25, 256) is None
    alone[ROOT] = 5
    assert region_around(alone, 1.25, 256) is None


@given(
    st.floats(-2000, 2000), st.floats(-2000, 2000), st.floats(8, 3000), st.floats(-4, 4),
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)  # fmt: skip
def test_crop_and_image_are_two_names_of_a_point(x, y, side, angle, point) -> None:
    region = Region(x, y, side, angle, 256)
    back = region.to_image(region.to_crop(np.array(point)))
    np.testing.assert_allclose(back, point, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi])
def test_a_crop_shows_what_it_says(angle: float) -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    yy, xx = np.mgrid[:240, :320]
    spot = np.array([170.0, 110.0])
    image[...] = (255 * np.exp(-((xx - spot[0]) ** 2 + (yy - spot[1]) ** 2) / 18))[..., None]
    region = Region(160, 120, 120, angle, 256)
    crop = region.apply(image)[..., 0].astype(float)
    rows, columns = np.mgrid[:256, :256]
    # Crop pixels are counted from the corner: the middle of pixel k is at k + 0.5.
    middle = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum() + 0.5
    np.testing.assert_allclose(middle, region.to_crop(spot), atol=0.05)


def test_beyond_the_picture_its_border_goes_on() -> None:
    image = np.full((100, 100, 3), 40, np.uint8)
    image[:, 90:] = 200
    crop = Region(100, 50, 80, 0.0, 64).apply(image)
    assert (crop[:, 40:] == 200).all() and (crop[:, :16] == 40).all()
