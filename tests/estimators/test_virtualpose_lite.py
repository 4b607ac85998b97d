"""The shipped virtualpose_lite on the shipped clip, whose camera is 1.55 m high and looks down."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.upright import turned
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.geometry.mounting import Mounting

CLIP = Path(__file__).parents[2] / "config" / "demo" / "truth.json"
FRAMES = slice(0, None, 15)


def found_people(mounting: Mounting) -> tuple[int, int, list[float]]:
    """True people, predictions, and how far the matched ones are off in depth, metres."""
    estimator = create_estimator("virtualpose_lite", "onnxruntime", threads=1)
    true = predicted = 0
    off = []
    try:
        for scene in read_clip(CLIP)[FRAMES]:
            camera = replace(scene.camera, mounting=mounting)
            bodies = estimator.estimate(scene.image(), camera).bodies
            true, predicted = true + len(scene.frame.bodies), predicted + len(bodies)
            for p, t in match_by_pelvis(bodies, scene.frame.bodies):
                off.append(abs(float(bodies[p].root[2] - scene.frame.bodies[t].root[2])))
    finally:
        estimator.close()
    return true, predicted, off


def test_most_people_of_the_clip_are_found_where_they_are():
    true, predicted, off = found_people(Mounting(1.55, math.radians(8.5)))
    assert len(off) >= 0.8 * true and len(off) >= 0.8 * predicted
    assert np.median(off) < 0.3


@pytest.mark.parametrize("mounting", [Mounting(1.55, math.radians(-20)), Mounting(4.0)])
def test_a_wrong_mounting_costs_people(mounting):
    true, _, off = found_people(mounting)
    assert len(off) < 0.5 * true


@pytest.mark.parametrize(
    ("side", "roll"), [("right", 90), ("right", np.float32(90)), ("bottom", 180), ("left", -90)]
)
def test_a_stated_side_and_a_stated_roll_are_one_turn(side, roll):
    """Both are true of a camera on its side; its image is turned once, and its people are found."""
    scene = read_clip(CLIP)[0]
    turns = int(roll) // 90 % 4
    laid = np.ascontiguousarray(np.rot90(scene.image(), -turns))
    stated = {"camera_height": 1.55, "camera_pitch_deg": 8.5}
    people = []
    for image, camera, options in (
        (scene.image(), scene.camera, stated),
        (laid, turned(scene.camera, -turns), {**stated, "image_up": side, "camera_roll_deg": roll}),
        (laid, turned(scene.camera, -turns), {**stated, "camera_roll_deg": roll}),
    ):
        estimator = create_estimator("virtualpose_lite", "onnxruntime", threads=1, **options)
        bodies = estimator.estimate(image, replace(camera, mounting=None)).bodies
        estimator.close()
        people.append([body.root[2] for body in bodies])
    assert len(people[0]) >= 2
    for laid_people in people[1:]:
        np.testing.assert_allclose(laid_people, people[0], atol=1e-4)


def test_a_side_and_a_roll_that_contradict_each_other_are_refused():
    for roll in (2.0, -90, 180):
        with pytest.raises(InputError, match=r"contradict each other.*expected about 90"):
            create_estimator("virtualpose_lite", image_up="right", camera_roll_deg=roll)
    with pytest.raises(InputError, match=r"contradict each other.*expected about 0"):
        create_estimator("virtualpose_lite", image_up="top", camera_roll_deg=90)


def test_a_roll_that_no_camera_has_is_refused_beside_a_side_too():
    for roll in (400.0, math.nan, True):
        with pytest.raises(InputError, match="camera_roll_deg"):
            create_estimator("virtualpose_lite", image_up="right", camera_roll_deg=roll)
