"""Weights of a person's score, from evidence and from a bundle over pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import PersonScore
from smap_ros.errors import InputError
from smap_ros.estimators.smap.certainty import EVIDENCE, certainty
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_train.export import person_score
from smap_train.export.common import change_bundle
from smap_train.export.person_score import fitted, measured, run


def drawn(weights: PersonScore, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evidence, and who is there as often as the weights say."""
    rng = np.random.default_rng(0)
    found = np.stack(
        [
            np.ones(count), rng.uniform(0.1, 0.8, count), rng.uniform(0.2, 1, count),
            rng.normal(-2.5, 0.6, count), rng.normal(-1.5, 0.7, count),
            np.log(rng.uniform(0.01, 1, count)),
        ],
        axis=1,
    )  # fmt: skip
    return found, rng.uniform(0, 1, count) < certainty(weights, found)


def test_the_weights_that_made_it_are_found_again():
    true = PersonScore(bias=-4.0, joint_score=6.0, share_seen=1.0, depth_doubt=-0.8, size=0.7)
    found, there = drawn(true, 40_000)
    weights = fitted(found, there)
    for name in EVIDENCE:
        assert getattr(weights, name) == pytest.approx(getattr(true, name), abs=0.25), name
    told = certainty(weights, found)
    for low in np.arange(0.1, 0.95, 0.1):
        rows = (told >= low) & (told < low + 0.1)
        assert rows.sum() > 200 and there[rows].mean() == pytest.approx(told[rows].mean(), abs=0.04)


def test_presence_counts_as_given_and_scores_are_right_on_average():
    true = PersonScore(bias=-4, joint_score=6, share_seen=1, depth_doubt=-0.8, size=0.7, presence=1)
    found, there = drawn(true, 20_000)
    plain, weights = fitted(found, there), fitted(found, there, presence=0.3)
    assert (plain.presence, weights.presence) == (0, 0.3) and weights.bias > plain.bias + 0.1
    for name in set(EVIDENCE) - {"bias", "presence"}:
        assert getattr(weights, name) == getattr(plain, name)
    for fit in (plain, weights):
        assert certainty(fit, found).mean() == pytest.approx(there.mean(), abs=1e-3)


def test_evidence_that_is_the_same_for_all_has_no_weight():
    found, there = drawn(PersonScore(bias=-2, joint_score=6, share_seen=1), 5_000)
    found[:, EVIDENCE.index("depth_doubt")] = 0  # of a bundle that doesn't tell it
    assert fitted(found, there).depth_doubt == 0


def test_too_few_people_say_nothing():
    found, there = drawn(PersonScore(bias=0, joint_score=1, share_seen=1), 60)
    with pytest.raises(InputError, match=r"0 found where nobody is; at least 50 and 10"):
        fitted(found, np.ones_like(there))
    with pytest.raises(InputError, match="0 people found"):
        fitted(found[:0], there[:0])


def test_a_bundle_is_measured_with_everybody_whom_it_finds():
    scenes = open_scenes(Path(__file__).parents[2] / "config/demo/truth.json")[::18]
    found, there = measured(load_bundle("smap_lite"), scenes, "onnxruntime")
    assert found.shape == (len(there), len(EVIDENCE)) and np.isfinite(found).all()
    assert there.sum() == sum(len(scene.frame.bodies) for scene in scenes)  # all are seen well
    assert (certainty(load_bundle("smap_lite").manifest.person_score, found)[there] > 0.5).all()


def test_presence_is_told_by_second_looks_only(make_bundle, crowd):
    with pytest.raises(InputError, match=r"presence is 0\.3, but .* has no second look"):
        run(make_bundle(crowd).folder, [], presence=0.3)


def test_numbers_measured_with_other_scores_do_not_stay(tmp_path, monkeypatch):
    """Scores decide who is told at all."""
    mine = change_bundle(load_bundle("smap_lite"), {}, tmp_path / "mine")
    assert mine.manifest.provenance.metrics
    true = PersonScore(bias=-4.0, joint_score=6.0, share_seen=1.0, depth_doubt=-0.8, size=0.7)
    monkeypatch.setattr(person_score, "measured", lambda *given: drawn(true, 2000))
    run(mine.folder, [])
    made = load_bundle(mine.folder).manifest
    assert made.person_score != mine.manifest.person_score and not made.provenance.metrics
    assert made.provenance.data == mine.manifest.provenance.data


def test_the_weight_of_presence_that_a_bundle_has_stays(tmp_path, monkeypatch):
    mine = change_bundle(load_bundle("smap_lite"), {}, tmp_path / "mine")
    true = PersonScore(bias=-4.0, joint_score=6.0, share_seen=1.0, depth_doubt=-0.8, size=0.7)
    monkeypatch.setattr(person_score, "measured", lambda *given: drawn(true, 2000))
    run(mine.folder, [])
    assert load_bundle(mine.folder).manifest.person_score.presence == 0.3
    run(mine.folder, [], presence=0.0)
    assert load_bundle(mine.folder).manifest.person_score.presence == 0
