"""The video estimator behind a first stage whose people are known, through real networks.

The second part of the network says what it was shown: see ``tests.video_bundle``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import Delayed, flush_before
from smap_ros.estimators.persons.crops import crop_around
from smap_ros.estimators.persons.surface import turn_to
from smap_ros.offline.estimate import CameraChoice, estimate_frames
from smap_ros.skeletons import H36M17, MPI15, SPIN49
from smap_ros.sources import Frame
from smap_ros.temporal import TrackerConfig
from tests.video_bundle import (
    CORNERS,
    FACES,
    HEAD,
    SCALE,
    SIZE,
    WINDOW,
    clip_model,
    crop_model,
    write_video_bundle,
)

BRIGHT, GREY, BLACK = 250, 128, 0
CPU = {"engine": "onnxruntime", "threads": 1}
PELVIS, TOP = MPI15.root, MPI15.index("head_top")
PERIOD = 0.1


@pytest.fixture
def sway_bundle(tmp_path, scene, make_bundle, crop_manifest):
    """Write a video bundle beside the first stage that sees the scene."""
    make_bundle(scene)
    return lambda **changes: write_video_bundle(tmp_path, crop_manifest(), **changes)


@pytest.fixture
def people(scene, tmp_path, sway_bundle) -> tuple[Body, ...]:
    """What the first stage finds in every bright image."""
    first = create_estimator(tmp_path / "scene", **CPU)
    return first.estimate(scene.image(BRIGHT), scene.camera).bodies


def brightness(number: int) -> int:
    """Of each image of a film; all are bright enough for everybody to be seen."""
    return 160 + 6 * number


def film(estimator, scene, numbers, start=0.0):
    """The estimator's frames for images of these numbers."""
    return [
        estimator.estimate(scene.image(brightness(n)), scene.camera, start + n * PERIOD)
        for n in numbers
    ]


def crop_of(person, scene):
    size = (scene.camera.width, scene.camera.height)
    return crop_around(person.joints_2d, size, 1.4, SIZE)


def colour(person, scene, number):
    """The token of a person in an image: red, green and blue are alike."""
    return crop_of(person, scene).apply(scene.image(brightness(number))).mean() / 255


def head_moved(body, scene):
    """How far the head of a body was moved, in the network's axes; the same along all three."""
    pixel = body.joints_2d[PELVIS].astype(float)
    turn = turn_to(scene.camera.back_project(pixel, np.array(1.0)))
    moved = turn.T @ (body.joints_3d[TOP] - body.joints_3d[PELVIS]).astype(float) - HEAD
    np.testing.assert_allclose(moved, moved.mean(), atol=1e-4)
    return moved.mean()


def expected_move(person, scene, window, number):
    """By the colour of the image and the mean of those in the window."""
    tokens = {n: colour(person, scene, n) for n in window}
    return tokens[number] + np.mean([tokens[n] for n in window])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_people_stand_where_the_weak_perspective_says(scene, people, sway_bundle, engine):
    estimator = create_estimator(sway_bundle(), engine, threads=1)
    frame = estimator.estimate(scene.image(BRIGHT), scene.camera, stamp=7.5)
    assert len(frame) == 3 and frame.stamp == 7.5 and not frame.dropped and not frame.pending
    assert list(frame.timings_ms)[-3:] == ["crop", "tokens", "network"]
    assert "first_network" in frame.timings_ms
    assert "after scene 1 on " + engine in estimator.description
    assert sorted(body.id for body in frame) == [0, 1, 2]
    by_score = {body.id: body for body in frame}
    for identity, person in enumerate(sorted(people, key=lambda p: p.root[2])):
        body, crop = by_score[identity], crop_of(person, scene)
        depth = 2 * scene.camera.fx / (crop.side * SCALE)
        assert body.root[2] == pytest.approx(depth, rel=1e-4)
        middle = np.array([crop.x, crop.y]) + crop.side / 2
        np.testing.assert_allclose(body.joints_2d[PELVIS], middle, atol=1e-3)
        np.testing.assert_allclose(scene.camera.project(body.root), middle, atol=1e-2)
        assert body.score == person.score and body.skeleton is MPI15 and body.present.all()
        np.testing.assert_array_equal(body.scores, person.scores)
        turn = turn_to(scene.camera.back_project(middle, np.array(1.0)))
        np.testing.assert_array_equal(body.mesh.faces, FACES)
        rest = (body.mesh.vertices - body.root)[1:] @ turn
        np.testing.assert_allclose(rest, CORNERS[1:], atol=1e-4)
        np.testing.assert_allclose(
            (body.mesh.vertices - body.root)[0] @ turn,
            CORNERS[0] + head_moved(body, scene),
            atol=1e-4,
        )
        arrays = (body.joints_3d, body.joints_2d, body.scores, body.mesh.vertices)
        assert all(array.dtype == np.float32 for array in arrays)
    estimator.close()
    estimator.close()


def test_joints_in_space_are_seen_where_the_network_sees_them(
    scene_maker, make_bundle, crop_manifest, tmp_path
):
    """At the edge of a wide view too, where a body that isn't turned is seen elsewhere."""
    scene = scene_maker([[-7.0, 0.2, 9.0], [0.0, 0.1, 9.5], [6.5, 0.3, 10.0]])
    make_bundle(scene)
    bundle = write_video_bundle(tmp_path, crop_manifest(), clip=clip_model(sway=0.0))
    frame = create_estimator(bundle, **CPU).estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 3
    for body in frame:
        about = (body.joints_3d - body.root).astype(float)
        straight = about @ turn_to(body.root.astype(float)) + body.root
        off, off_straight = (
            np.abs(scene.camera.project(points) - body.joints_2d).max()
            for points in (body.joints_3d, straight)
        )
        # What is left is the perspective of a flat sensor, which stretches who is at its edge.
        assert off < 0.07 * body.box[3] and off < 0.85 * off_straight


def padded(first, last):
    """The images of a window: the last ones, mirrored while it isn't full."""
    numbers = np.arange(max(first, last - WINDOW + 1), last + 1)
    return np.pad(numbers, (0, WINDOW - len(numbers)), "reflect").tolist()


def test_the_newest_image_is_answered_with_those_before_it(scene, people, sway_bundle):
    frames = film(create_estimator(sway_bundle(), **CPU), scene, range(7))
    for number, frame in enumerate(frames):
        assert frame.stamp == pytest.approx(number * PERIOD) and len(frame) == 3
        for body, person in zip(frame, people, strict=True):
            expected = expected_move(person, scene, padded(0, number), number)
            assert head_moved(body, scene) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("delay", [1, 3])
def test_delayed_people_are_those_of_the_image_they_are_stamped_with(
    scene, people, sway_bundle, delay
):
    """With the answers of the window that has the image nearest to its middle."""
    estimator = create_estimator(sway_bundle(), **CPU, delay=delay, overlap="centre")
    assert isinstance(estimator, Delayed)
    frames = film(estimator, scene, range(8))
    assert [frame.pending for frame in frames] == [True] * delay + [False] * (8 - delay)
    assert not any(len(frame) for frame in frames[:delay])
    frames = frames[delay:] + estimator.flush()
    assert [frame.stamp for frame in frames] == [n * PERIOD for n in range(8)]
    assert estimator.flush() == [] and estimator.people_remembered == 0
    windows = [(last, padded(0, last)) for last in range(delay, 8)]
    for number, frame in enumerate(frames):
        for body, person in zip(frame, people, strict=True):
            moves = [
                expected_move(person, scene, window, number)
                for last, window in windows
                if number in window and last <= number + delay
            ]
            assert min(abs(head_moved(body, scene) - move) for move in moves) < 2e-4
    assert head_moved(frames[4].bodies[0], scene) == pytest.approx(
        expected_move(people[0], scene, padded(0, {1: 5, 3: 6}[delay]), 4), abs=2e-4
    )


def test_a_window_for_every_second_image_answers_for_both(scene, people, sway_bundle):
    """Windows end with images 3, 5 and 7; between them the answers are blended."""
    estimator = create_estimator(sway_bundle(), **CPU, delay=3, stride=2)
    frames = film(estimator, scene, range(8))[3:] + estimator.flush()
    assert [round(frame.stamp / PERIOD) for frame in frames] == [*range(8)]
    for number in (2, 3, 4):
        windows = [padded(0, last) for last in (3, 5, 7)]
        seen = [window for window in windows if number in window]
        moves = [expected_move(people[0], scene, window, number) for window in seen]
        weights = [(1, 2, 2, 1)[window.index(number)] for window in seen]
        assert len(seen) == 2
        assert head_moved(frames[number].bodies[0], scene) == pytest.approx(
            np.average(moves, weights=weights), abs=2e-4
        )


def test_what_happened_before_a_jump_back_in_time_is_forgotten(scene, people, sway_bundle):
    estimator = create_estimator(sway_bundle(), **CPU, delay=1)
    film(estimator, scene, range(3), start=100.0)
    frames = film(estimator, scene, range(2))
    assert [frame.pending for frame in frames] == [True, False]
    assert {body.id for body in frames[1]} == {3, 4, 5}
    expected = expected_move(people[0], scene, padded(0, 1), 0)
    assert head_moved(frames[1].bodies[0], scene) == pytest.approx(expected, abs=2e-4)


def test_one_image_stamped_slightly_earlier_changes_nothing(scene, sway_bundle):
    estimator = create_estimator(sway_bundle(), **CPU)
    ids = [{body.id for body in frame} for frame in film(estimator, scene, (0, 1, 3))]
    late = estimator.estimate(scene.image(brightness(2)), scene.camera, 2 * PERIOD)
    assert late.pending and len(late) == 0
    ids += [{body.id for body in frame} for frame in film(estimator, scene, (4,))]
    assert ids == [{0, 1, 2}] * 4


def test_images_without_a_time_of_their_own_are_videos_of_their_own(scene, sway_bundle, caplog):
    estimator = create_estimator(sway_bundle(), **CPU)
    for _ in range(2):
        frame = estimator.estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 3 and estimator.people_remembered == 3
    assert "two images have the stamp 0.000000" in caplog.text


@pytest.mark.parametrize("delay", [0, 2])
def test_who_has_left_is_forgotten(scene, sway_bundle, delay):
    estimator = create_estimator(sway_bundle(), **CPU, delay=delay)
    film(estimator, scene, range(3))
    assert estimator.people_remembered == 3
    empty = scene.image(GREY)
    gone = TrackerConfig().death_time  # seconds in which somebody may come back
    stamps = np.linspace(3 * PERIOD, 2 * PERIOD + 1.5 * gone, 11)
    frames = [estimator.estimate(empty, scene.camera, stamp) for stamp in stamps]
    assert [len(frame) for frame in frames] == [3] * delay + [0] * (11 - delay)
    assert estimator.people_remembered == 0


def test_who_is_missed_for_a_moment_keeps_identity_and_window(scene, people, sway_bundle):
    estimator = create_estimator(sway_bundle(), **CPU)
    film(estimator, scene, [0])
    missed = estimator.estimate(scene.image(GREY), scene.camera, 1 * PERIOD)
    (frame,) = film(estimator, scene, [2])
    assert len(missed) == 0 and {body.id for body in frame} == {0, 1, 2}
    expected = expected_move(people[0], scene, [0, 2, 0, 2], 2)
    assert head_moved(frame.bodies[0], scene) == pytest.approx(expected, abs=2e-4)


def test_nobody_in_the_image_is_an_empty_frame(scene, sway_bundle):
    frame = create_estimator(sway_bundle(), **CPU).estimate(scene.image(GREY), scene.camera)
    assert len(frame) == 0 and not frame.dropped and not frame.pending


def test_a_blind_first_stage_says_so(scene, sway_bundle):
    frame = create_estimator(sway_bundle(), **CPU).estimate(scene.image(BLACK), scene.camera)
    assert len(frame) == 0 and frame.dropped["non_finite_output"] > 0


@pytest.mark.parametrize(
    ("parts", "reason", "count"),
    [
        ({"model": crop_model(factor=math.nan)}, "non_finite_output", 3 * 3),
        ({"clip": clip_model(sway=math.nan)}, "non_finite_output", 3 * WINDOW * 3 * (49 + 6)),
        ({"clip": clip_model(camera=(-0.7, 0.0, 0.0))}, "no_root", 3),
        ({"clip": clip_model(camera=(0.0, 0.0, 0.0))}, "no_root", 3),
    ],
)
def test_bad_numbers_cost_the_people_and_are_counted(scene, sway_bundle, parts, reason, count):
    estimator = create_estimator(sway_bundle(**parts), **CPU)
    for number in range(2):
        frame = estimator.estimate(scene.image(BRIGHT), scene.camera, float(number))
        assert len(frame) == 0 and frame.dropped == {reason: count}


@pytest.mark.parametrize("max_batch", [1, 2])
def test_any_number_of_crops_at_once_gives_the_same_people(scene, sway_bundle, max_batch):
    bundle = sway_bundle()
    (expected,) = film(create_estimator(bundle, **CPU), scene, [0])
    (frame,) = film(create_estimator(bundle, **CPU, max_batch=max_batch), scene, [0])
    for body, same in zip(frame, expected, strict=True):
        np.testing.assert_allclose(body.joints_3d, same.joints_3d, atol=1e-5)


@pytest.mark.parametrize("joints", [SPIN49, H36M17])
def test_both_joint_sets_become_the_working_set(scene, sway_bundle, joints):
    bundle = sway_bundle(joint_set=joints.name, clip=clip_model(joints.name))
    (frame,) = film(create_estimator(bundle, **CPU), scene, [0])
    assert all(body.present.all() for body in frame)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joint_set": "h36m17"}, r"clip network.*expected float32 joints \[1, 4, 17, 3\]"),
        ({"window": 5}, r"expected float32 tokens \[1, 5, 1, 3\], camera \[1, 5, 3\]"),
        ({"vertices": 7}, r"expected float32 vertices \[1, 4, 7, 3\]"),
        ({"faces": FACES.astype(np.float32)}, "expected integers"),
        ({"faces": FACES + 1}, "from 0 to 5"),
        ({"first_stage": "nothing"}, "no bundle 'nothing'"),
        ({"first_stage": "sway"}, "of kind 'video' and needs a first stage too"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(sway_bundle, changes, words):
    with pytest.raises(BundleError, match=words):
        create_estimator(sway_bundle(**changes), **CPU)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joint_set": "spin48"}, "joint_set: got 'spin48'; expected one of mpi15"),
        ({"window": 0}, "window: got 0"),
        ({"focal_px": 0}, "focal_px: got 0"),
        ({"box_margin": 0.5}, "box_margin: got 0.5"),
        ({"outputs": {}}, r"outputs are \[\]; kind video has \['tokens'\]"),
        ({"outputs": {"tokens": {"name": "tokens", "shape": [2, 1, 3]}}}, "of one crop"),
    ],
)
def test_wrong_manifest_is_refused_by_name(sway_bundle, changes, words):
    with pytest.raises(BundleError, match=words):
        sway_bundle(**changes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delay": -1}, "delay is -1"),
        ({"delay": 4}, "delay is 4; bundle 'sway' looks at 4 images, expected 0 to 3"),
        ({"stride": 2}, "stride is 2; expected 1 to 1, one more than the delay"),
        ({"delay": 3, "stride": 5}, "stride is 5; expected 1 to 4"),
        ({"overlap": "mean"}, "overlap is 'mean'; expected blend or centre"),
        ({"max_batch": 0}, "max_batch is 0; expected 1 to 64"),
        ({"dealy": 1}, "dealy"),
    ],
)
def test_wrong_options_are_refused_by_name(sway_bundle, options, words):
    with pytest.raises(InputError, match=words):
        create_estimator(sway_bundle(), **CPU, **options)


@dataclass
class Film:
    """A source in memory."""

    frames: list[Frame]
    moving: bool = True
    name: str = "film"
    rate: float | None = None
    live: bool = False
    calibrated: bool = True
    closed: bool = False

    @property
    def count(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def close(self) -> None:
        self.closed = True


def shown(scene, numbers) -> list[Frame]:
    camera: Camera = scene.camera
    return [Frame(scene.image(brightness(n)), camera, n * PERIOD, n, f"{n}.png") for n in numbers]


@pytest.mark.parametrize("moving", [True, False])
@pytest.mark.parametrize("delay", [0, 3])
def test_recorded_images_get_their_own_people(scene, people, sway_bundle, moving, delay):
    estimator = create_estimator(sway_bundle(), **CPU, delay=delay)
    source = Film(shown(scene, range(6)), moving)
    answers = [*estimate_frames(source, estimator, CameraChoice())]
    assert source.closed and len(answers) == 6
    for number, (image, frame) in enumerate(answers):
        assert image is source.frames[number].image
        assert (frame.stamp, frame.index, frame.source) == (
            number * PERIOD,
            number,
            f"{number}.png",
        )
        assert len(frame) == 3
        if not moving:  # nothing is learnt from other scenes
            expected = expected_move(people[0], scene, [number] * WINDOW, number)
            assert head_moved(frame.bodies[0], scene) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize(
    "stamps",
    [
        [0.0, 0.1, 0.2, 0.4, 0.3, 0.5, 0.6],  # two changed places
        [0.0, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5],
        [0.0, 0.1, 0.2, -9.0, -8.9, -8.8, -8.7, -8.6],
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, -0.3, -0.2, -0.1, 0.0],
        [0.0, 0.0, 0.0],
    ],
)
def test_no_image_is_lost_where_stamps_go_back_or_repeat(scene, people, sway_bundle, stamps, delay):
    estimator = create_estimator(sway_bundle(), **CPU, delay=delay)
    numbered = shown(scene, range(len(stamps)))
    images = [replace(f, stamp=t) for f, t in zip(numbered, stamps, strict=True)]
    source = Film(images)
    answers = [*estimate_frames(source, estimator, CameraChoice())]
    assert [frame.index for _, frame in answers] == [*range(len(images))]
    assert [frame.stamp for _, frame in answers] == stamps
    for image, frame in zip(images, answers, strict=True):
        assert frame[0] is image.image and len(frame[1]) == 3
        # Its own people: the network adds the colour of the image and that of the window.
        own = colour(people[0], scene, image.index)
        around = [colour(people[0], scene, number) for number in (0, len(images) - 1)]
        moved = head_moved(frame[1].bodies[0], scene) - own
        assert around[0] - 1e-3 <= moved <= around[1] + 1e-3


def test_what_is_owed_of_a_video_can_be_had_before_another_begins(scene, sway_bundle, caplog):
    estimator = create_estimator(sway_bundle(), **CPU, delay=2)
    film(estimator, scene, range(4), start=10.0)
    late, next_one = 10.0 + 2.5 * PERIOD, 10.0 + 4 * PERIOD
    assert flush_before(estimator, late) == flush_before(estimator, next_one) == []
    assert [f.stamp for f in flush_before(estimator, 0.0)] == [10.0 + n * PERIOD for n in (2, 3)]
    assert flush_before(estimator, 0.0) == [] and not caplog.messages
    film(estimator, scene, range(2))
    assert [f.stamp for f in flush_before(estimator, PERIOD)] == [0.0, PERIOD]
    assert "two images have the stamp 0.100000" in caplog.text


def test_every_and_max_frames_count_images_not_answers(scene, sway_bundle):
    estimator = create_estimator(sway_bundle(), **CPU, delay=1)
    source = Film(shown(scene, range(8)))
    frames = estimate_frames(source, estimator, CameraChoice(), every=2, max_frames=3)
    assert [frame.index for _, frame in frames] == [0, 2, 4]


def test_a_source_that_was_left_early_does_not_spoil_the_next(scene, sway_bundle):
    estimator = create_estimator(sway_bundle(), **CPU, delay=2)
    for _ in range(2):
        frames = estimate_frames(Film(shown(scene, range(5))), estimator, CameraChoice())
        assert next(frames)[1].index == 0
        frames.close()
