"""Two looks at the same people, together."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from smap_ros.bundles.manifest.second_look import SecondLookSpec
from smap_ros.camera import Camera
from smap_ros.estimators.second_look.fusing import Seen, pose_of_both, together, towards
from smap_ros.skeletons import MPI15
from tests.second_look_bundle import second_look

CAMERA = Camera.from_fov(640, 480, 1.0)
EVEN = SecondLookSpec.model_validate(second_look(min_presence=0.5, max_apart=0.2))
WRIST = MPI15.index("l_wrist")


def seen(shift: float = 0.0, presence: float = 1.0, score: float = 0.8) -> Seen:
    """A second look at one person 100 px wide, shifted to the right."""
    joints = points() + (shift, 0)
    return Seen(
        joints_2d=joints, scores=np.full((1, 15), score), poses=np.ones((1, 15, 3)),
        presence=np.array([presence]), sides=np.array([100.0]),
    )  # fmt: skip


def points() -> np.ndarray:
    return np.stack([np.linspace(200, 260, 15), np.linspace(100, 300, 15)], axis=-1)[None]


def fuse(look: Seen, spec: SecondLookSpec = EVEN, first: np.ndarray | None = None):
    scores = np.full((1, 15), 0.4, np.float32) if first is None else first
    found = np.where((scores > 0)[..., None], points(), np.nan).astype(np.float32)
    return together(found, points(), scores, look, CAMERA, spec)


def test_with_no_weights_both_count_half() -> None:
    both = fuse(seen(10.0))
    assert both.taken.all()
    np.testing.assert_allclose(both.joints_2d, points() + (5, 0), rtol=1e-6)
    np.testing.assert_allclose(both.scores, 0.6, rtol=1e-6)
    np.testing.assert_allclose(both.in_space, 0.5)


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(seen(10.0, presence=0.4), id="nobody there"),
        pytest.param(seen(25.0), id="disagrees by a quarter of the side"),
        pytest.param(Seen.nothing(1), id="not looked at"),
    ],
)
def test_what_is_not_to_be_believed_is_not_taken(look: Seen) -> None:
    first = np.full((1, 15), 0.4, np.float32)
    first[0, WRIST] = 0
    both = fuse(look, first=first)
    assert not both.taken.any()
    np.testing.assert_array_equal(both.scores, first)
    np.testing.assert_allclose(both.joints_2d[first > 0], points()[first > 0].astype(np.float32))
    assert np.isnan(both.joints_2d[0, WRIST]).all() and (both.in_space == 0).all()


@pytest.mark.parametrize(
    ("shift", "own"), [(6.0, True), (14.0, False)], ids=["the same answer", "two answers"]
)
def test_who_gets_the_answer_of_who_stands_before_them_keeps_their_pose(shift, own) -> None:
    """The landmark network sees the nearer of two people in both crops."""
    first = np.concatenate([points() + (20, 0), points() + (1, 0), points() + (300, 0)])
    answers = np.concatenate([points() + (shift, 0), points(), points() + (300, 0)])
    look = Seen(
        joints_2d=answers, scores=np.full((3, 15), 0.8), poses=np.ones((3, 15, 3)),
        presence=np.ones(3), sides=np.array([150.0, 100.0, 100.0]),
    )  # fmt: skip
    scores = np.full((3, 15), 0.4, np.float32)
    both = together(first.astype(np.float32), first, scores, look, CAMERA, EVEN)
    assert both.taken.tolist() == [not own, True, True]
    moved = both.joints_2d[0] - first[0]
    assert (np.abs(moved) < 1e-4).all() if own else (moved[:, 0] < -2).all()


@pytest.mark.parametrize(
    ("weights", "towards_second"),
    [({"first": 3.0}, True), ({"first": -3.0}, False), ({"second": -2.0}, False),
     ({"apart": 9.0}, True), ({"bias": -2.0}, False)],
)  # fmt: skip
def test_weights_move_joints_towards_one_look(weights, towards_second) -> None:
    spec = SecondLookSpec.model_validate(second_look(in_picture=weights))
    moved = fuse(seen(10.0), spec).joints_2d[0, :, 0] - points()[0, :, 0]
    assert ((moved > 5.5) if towards_second else (moved < 4.5)).all()


@pytest.mark.parametrize(("score", "seen_now"), [(0.9, True), (0.2, False)])
def test_a_joint_that_only_the_second_look_sees(score: float, seen_now: bool) -> None:
    first = np.full((1, 15), 0.4, np.float32)
    first[0, WRIST] = 0
    both = fuse(seen(2.0, score=score), first=first)
    assert both.scores[0, WRIST] == pytest.approx(score / 2 if seen_now else 0)
    assert np.isfinite(both.joints_2d).all()  # where it is believed to be, in either case


def test_beyond_the_picture_nothing_is_seen() -> None:
    look = seen(2.0, score=0.95)
    look.joints_2d[0, WRIST] += (0, 1000)
    wide = SecondLookSpec.model_validate(second_look(max_apart=1.0))
    first = np.full((1, 15), 0.4, np.float32)
    first[0, WRIST] = 0
    assert fuse(look, wide, first).scores[0, WRIST] == 0


def test_poses_are_mixed_about_a_pelvis_that_stays() -> None:
    joints = np.zeros((2, 15, 3), np.float32) + np.array([1, 2, 3], np.float32)
    joints[:, WRIST] = np.nan
    both = Seen.nothing(2)
    both.poses[0] = 0.4
    shares = np.zeros((2, 15))
    shares[0] = 0.25
    out = pose_of_both(joints, both, shares)
    np.testing.assert_allclose(out[:, MPI15.root], [[1, 2, 3]] * 2)
    np.testing.assert_allclose(out[0, 0], [1.1, 2.1, 3.1], rtol=1e-6)
    np.testing.assert_allclose(out[0, WRIST], [1.4, 2.4, 3.4], rtol=1e-6)  # only the second knows
    np.testing.assert_allclose(out[1, 0], [1, 2, 3])
    assert np.isnan(out[1, WRIST]).all()


@pytest.mark.parametrize("pixel", [(319.5, 239.5), (20, 400), (600, 10)])
def test_a_crop_is_seen_along_the_ray_through_its_middle(pixel) -> None:
    turn = towards(CAMERA, np.array(pixel, float))
    ray = CAMERA.back_project(np.array(pixel, float), np.ones(()))
    np.testing.assert_allclose(turn @ [0, 0, 1], ray / np.linalg.norm(ray), atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    if pixel == (319.5, 239.5):
        np.testing.assert_allclose(turn, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("bias", "towards_second"), [(-1e9, 0), (1e9, 1)])
def test_the_largest_weights_make_no_infinities(bias: float, towards_second: float) -> None:
    weights = {"bias": bias, "first": 1e9, "second": -1e9, "apart": bias}
    spec = SecondLookSpec.model_validate(
        second_look(in_picture={"bias": bias}, in_space=weights, max_apart=0.2)
    )
    with np.errstate(over="raise", invalid="raise"):
        both = fuse(seen(10.0), spec)
    np.testing.assert_allclose(both.joints_2d, points() + (10 * towards_second, 0), rtol=1e-6)
    assert np.isfinite(both.in_space).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValidationError, match=r"in_space\.apart"):
        SecondLookSpec.model_validate(second_look(in_space={"apart": value}))
