"""How wrong a bundle's distances are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import FarPeople, PersonScore
from smap_ros.errors import InputError
from smap_ros.estimators.smap.certainty import EVIDENCE, certainty
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_train.export import distances
from smap_train.export.common import change_bundle
from smap_train.export.distances import changes, doubt, fitted, measured, run

DEMO = Path(__file__).parents[2] / "config/demo/truth.json"


def told_too_near(count: int, far: FarPeople) -> np.ndarray:
    """People told as much too near as ``far`` says, and a little wrong besides."""
    rng = np.random.default_rng(0)
    told, shown = rng.uniform(1, 35, count), np.exp(rng.uniform(np.log(150), np.log(1500), count))
    rise = far.power * np.maximum(np.log(told / far.beyond), 0)
    rise += far.small_power * np.maximum(np.log(told * far.below / shown), 0)
    spread = rng.uniform(0.05, 0.12, count)
    true = told * np.exp(rise + 1.3 * spread * rng.normal(0, 1, count))
    return np.stack([told, true, shown, spread], axis=1)


def test_the_powers_that_made_it_are_found_again() -> None:
    true = FarPeople(beyond=8, power=0.06, below=30, small_power=0.15)
    found = fitted(told_too_near(20_000, true), true.beyond, true.below)
    assert found.power == pytest.approx(true.power, abs=0.01)
    assert found.small_power == pytest.approx(true.small_power, abs=0.01)
    assert (found.beyond, found.below) == (8, 30)


def test_people_told_too_far_are_left() -> None:
    people = told_too_near(5_000, FarPeople())
    people[:, 1] *= 0.9
    assert fitted(people, 8, 30) == FarPeople(beyond=8, below=30)


def test_few_people_say_nothing() -> None:
    people = told_too_near(1_000, FarPeople())
    people[:, 0] = 3
    people[:, 2] = 500
    with pytest.raises(InputError, match=r"0 of 1000 people found .* at least 200 .*far away"):
        fitted(people, 8, 30)


def test_two_thirds_are_within_what_is_told() -> None:
    true = FarPeople(beyond=8, power=0.06, below=30, small_power=0.15)
    people = told_too_near(20_000, true)
    assert doubt(people, true) == pytest.approx(1.3, abs=0.03)
    assert doubt(people, FarPeople()) > 1.4  # the bias comes on top


def test_scores_stay_what_they_are() -> None:
    manifest = load_bundle("smap_lite").manifest
    before = manifest.person_score
    said = changes(manifest, told_too_near(5_000, FarPeople()), 8, 30)
    found = np.random.default_rng(0).normal(-1, 1, (50, len(EVIDENCE)))
    found[:, 0] = 1
    moved = found.copy()
    moved[:, EVIDENCE.index("depth_doubt")] += np.log(said["depth_error"] / manifest.depth_error)
    after = certainty(PersonScore(**said["person_score"]), moved)
    np.testing.assert_allclose(after, certainty(before, found), atol=1e-4)


def test_a_bundle_is_measured_without_what_was_measured_before(tmp_path: Path) -> None:
    scenes = open_scenes(DEMO)[::30]
    before = measured(load_bundle("smap_lite"), scenes, "onnxruntime")
    count = sum(len(scene.frame.bodies) for scene in scenes)
    assert before.shape == (count, 4)  # all are seen well
    assert (np.abs(np.log(before[:, 0] / before[:, 1])) < 0.3).all()
    camera = scenes[0].camera
    assert before[0, 2] == pytest.approx(camera.fx * min(448 / camera.width, 256 / camera.height))
    strong = FarPeople(beyond=1, power=0.5, below=900, small_power=0.5).model_dump()
    said = {"far_people": strong, "size_prior": {"weight": 1.0, "mean": 3.0}}
    other = change_bundle(load_bundle("smap_lite"), said, tmp_path / "other")
    np.testing.assert_array_equal(measured(other, scenes, "onnxruntime"), before)


def test_what_was_measured_is_stated_and_older_numbers_do_not_stay(tmp_path, monkeypatch) -> None:
    mine = change_bundle(load_bundle("smap_lite"), {}, tmp_path / "mine")
    true = FarPeople(beyond=8, power=0.06, below=30, small_power=0.15)
    monkeypatch.setattr(distances, "measured", lambda *given: told_too_near(5_000, true))
    run(mine.folder, [])
    made = load_bundle(mine.folder).manifest
    assert made.far_people.small_power == pytest.approx(0.15, abs=0.02)
    assert made.depth_error == pytest.approx(1.3, abs=0.05)
    assert made.provenance.data == mine.manifest.provenance.data and not made.provenance.metrics
