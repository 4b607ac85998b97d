"""Letterboxes: round trips, known numbers, how images are shrunk."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.errors import CameraError
from smap_ros.geometry.letterbox import Letterbox

sides = st.integers(1, 4000)


@given(width=sides, height=sides, x=st.floats(0, 1), y=st.floats(0, 1))
def test_letterbox_maps_points_there_and_back(width, height, x, y):
    box = Letterbox(width, height, 448, 256)
    point = np.array([x * width - 0.5, y * height - 0.5])
    inside = box.to_network(point)
    np.testing.assert_allclose(box.to_image(inside), point, atol=1e-6 * max(width, height))
    (left, top), (w, h) = box.pad, box.resized
    assert left - 0.5 - 1e-6 <= inside[0] <= left + w - 0.5 + 1e-6
    assert top - 0.5 - 1e-6 <= inside[1] <= top + h - 0.5 + 1e-6


@given(width=sides, height=sides)
def test_letterbox_fills_one_side_and_centres_the_other(width, height):
    box = Letterbox(width, height, 448, 256)
    (w, h), (left, top) = box.resized, box.pad
    assert w == 448 or h == 256
    assert left == (448 - w) // 2 and top == (256 - h) // 2
    assert abs(w - width * box.scale) <= 1 and abs(h - height * box.scale) <= 1


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), (720, 1280), (448, 256), (64, 64), (3000, 10), (1, 1)]
)
def test_letterboxed_image_is_padded_with_grey(width, height):
    box = Letterbox(width, height, 448, 256)
    out = box.apply(np.full((height, width, 3), 200, np.uint8))
    (w, h), (left, top) = box.resized, box.pad
    assert out.shape == (256, 448, 3) and out.dtype == np.uint8
    assert (out[top : top + h, left : left + w] == 200).all()
    assert (out == 128).all(axis=-1).sum() == 448 * 256 - w * h


def test_letterboxed_image_shows_things_where_points_say():
    image = np.zeros((720, 1280, 3), np.uint8)
    image[400:440, 900:940] = 255
    box = Letterbox(1280, 720, 448, 256)
    out = box.apply(image)[..., 0].astype(float)
    out[:2] = out[-2:] = 0  # the pads
    y, x = np.indices(out.shape)
    centre = np.array([(x * out).sum(), (y * out).sum()]) / out.sum()
    np.testing.assert_allclose(box.to_image(centre), [919.5, 419.5], atol=0.3)


@pytest.mark.parametrize("size", [(2560, 1440), (1281, 723), (1920, 1080), (900, 500)])
def test_shrinking_keeps_the_mean_of_fine_patterns(size):
    """Aliasing would turn a fine checkerboard into stripes."""
    width, height = size
    board = (np.indices((height, width)).sum(axis=0) % 2 * 255).astype(np.uint8)
    box = Letterbox(width, height, 448, 256)
    out = box.apply(np.repeat(board[..., None], 3, axis=-1))
    (w, h), (left, top) = box.resized, box.pad
    inside = out[top : top + h, left : left + w].astype(float)
    assert abs(inside.mean() - 127.5) < 3
    assert inside.std() < 45, "stripes would have 127"


@pytest.mark.parametrize("size", [(1920, 1080), (3840, 2160), (1281, 723), (640, 480), (300, 200)])
def test_bilinear_resize_is_opencvs(size):
    """As official SMAP prepares images: nothing is averaged however much they shrink."""
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    box = Letterbox(width, height, 832, 512, "bilinear")
    plain = cv2.resize(image, box.resized, interpolation=cv2.INTER_LINEAR)
    (w, h), (left, top) = box.resized, box.pad
    inside = box.apply(image)[top : top + h, left : left + w]
    np.testing.assert_array_equal(inside, plain)
    by_factor = cv2.resize(image, None, fx=box.scale, fy=box.scale, interpolation=cv2.INTER_LINEAR)
    assert by_factor.shape == plain.shape  # the official call, its size rounded alike
    averaged = Letterbox(width, height, 832, 512).apply(image)[top : top + h, left : left + w]
    assert (averaged != plain).any() == (box.scale <= 0.5)


@pytest.mark.parametrize("sizes", [(0, 1, 4, 4), (1, 0, 4, 4), (4, 4, 0, 4), (4, 4, 4, -1)])
def test_letterbox_of_nothing_is_refused(sizes):
    with pytest.raises(CameraError, match="positive"):
        Letterbox(*sizes)
