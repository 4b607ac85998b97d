"""The learned smoother picture by picture against the whole network over whole tracks."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import load_bundle, write_bundle
from smap_ros.errors import BundleError, InputError
from smap_ros.temporal import BodySmoother, SmootherConfig, create_smoother
from smap_ros.temporal.smoothers import maed
from smap_ros.temporal.smoothers.base import Seen
from smap_ros.temporal.smoothers.maed import MaedSmoother
from smap_ros.temporal.smoothers.rts import RtsConfig, RtsSmoother
from smap_train.export.common import ExportOptions
from smap_train.export.smoother import (
    OUTPUTS,
    SmootherSettings,
    bundle_manifest,
    export_smoother_kind,
)
from smap_train.models import create
from smap_train.models.checkpoint import load_model, save_checkpoint
from smap_train.models.smoother.decoder import DELAYS
from tests.temporal.people import person
from tests.training.test_smoother import film_of_two

# Metres: fp32 of two runtimes; and after a gap, lengths that didn't fade while nobody was seen.
TOLERANCE, AFTER_A_GAP = 1e-4, 1e-3
INPUTS = ("joints", "scores", "age", "back", "memory", "past", "sums")
PROVENANCE = {"data": "none", "command": "a test", "commit": "unknown"}


class TorchEngine:
    """The network's step in torch, behind the interface of the engines."""

    def __init__(self, network):
        self.network = network

    def run(self, inputs):
        tensors = (torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in INPUTS)
        with torch.no_grad():
            return dict(zip(OUTPUTS, (x.numpy() for x in self.network.step(*tensors)), strict=True))


def weights(folder):
    """A checkpoint of random weights, so large that every part shows."""
    torch.manual_seed(3)
    network = create("smoother", kind="maed")
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    save_checkpoint(folder / "smoother.pth", "smoother", network.state_dict(), kind="maed")
    return folder / "smoother.pth"


def films(folder, detector):
    folder.mkdir()
    replace(film_of_two(), detector=detector).save(folder / "a.npz")
    return folder


@pytest.fixture
def network(tmp_path):
    return load_model(weights(tmp_path)).eval()


@pytest.fixture
def bundle(tmp_path, network, monkeypatch):
    """A bundle that learned from smap_lite; torch runs it, as writing it takes half a minute."""
    monkeypatch.setattr(maed, "_engine", lambda *_: TorchEngine(network))
    (tmp_path / "any.onnx").write_bytes(b"see TorchEngine")
    known = load_bundle("smap_lite").model_hash
    settings = SmootherSettings(films=tmp_path, wins=(0, 2))
    facts = {"precision": "fp32", "licence": "none", "provenance": PROVENANCE}
    manifest = {**bundle_manifest("random", network, settings, known), **facts}
    return write_bundle(tmp_path / "random", manifest, tmp_path / "any.onnx")


def stream(seed=0, pictures=60, mean_step=1 / 15):
    """Three people at uneven times: one comes late, one is hidden for a while, one loses joints."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.3, 1.7, pictures)) * mean_step + 100
    base = np.stack([person((k - 1.0, 0.1 * k, 3.0 + k)).joints_3d for k in range(3)])
    walk = np.outer(times - times[0], [0.2, 0, 0.1])[:, None, None]
    found = base[None] + walk + rng.normal(0, 0.03, (pictures, 3, 15, 3))
    scores = rng.uniform(0.2, 1, (pictures, 3, 15))
    scores[:10, 0] = scores[20:26, 1] = 0
    scores[30:34, 2, [5, 8]] = 0
    return times, np.where(scores[..., None] > 0, found, np.nan), scores


def played(smoother, times, found, scores, ids=(4, 7, 9), start=10):
    """Answers of a smoother; the first of the people comes at picture ``start``."""
    answers = []
    for k, time in enumerate(times):
        rows = slice(1 if k < start else 0, None)
        seen = Seen(np.array(ids)[rows], found[k, rows], scores[k, rows], time, 2)
        answers.append(smoother.update(seen))
    return [a for a in answers if a is not None] + smoother.flush()


def expect_the_network(network, answers, delay, times, found, scores):
    """Answers are the network's, which sees each person's whole track at once."""
    assert len(answers) == len(times)
    for who, first in ((0, 10), (1, 0), (2, 0)):
        with torch.no_grad():
            told = network(
                torch.tensor(np.nan_to_num(found[None, first:, who]), dtype=torch.float32),
                torch.tensor(scores[None, first:, who], dtype=torch.float32),
                torch.tensor((times - times[0])[None, first:], dtype=torch.float32),
                [DELAYS.index(delay)],
            )[0]
        expected = (told.about + told.root[..., None, :]).numpy()[0]
        for k in range(first, len(times) - delay):
            got = answers[k][who - (k < 10)]
            if scores[k, who, 2] > 0:
                seen_all_along = (scores[first : k + 1, who, 2] > 0).all()
                tolerance = TOLERANCE if seen_all_along else AFTER_A_GAP
                np.testing.assert_allclose(got, expected[k - first + delay], atol=tolerance)
            else:
                assert np.isnan(got).all()


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("mean_step", [1 / 30, 1 / 15, 1 / 5])
def test_online_it_is_the_network_over_the_whole_track(bundle, network, delay, mean_step):
    times, found, scores = stream(mean_step=mean_step)
    answers = played(MaedSmoother(15, delay, bundle), times, found, scores)
    expect_the_network(network, answers, delay, times, found, scores)


def test_who_is_predicted_for_long_costs_nothing(bundle, network, monkeypatch):
    engine, asked = TorchEngine(network), []

    class Counting:
        def run(self, inputs):
            asked.append(len(inputs["joints"]))
            return engine.run(inputs)

    monkeypatch.setattr(maed, "_engine", lambda *_: Counting())
    times, found, scores = stream()
    for delay in (0, 2):
        asked.clear()
        smoother = MaedSmoother(15, delay, bundle)
        for k in range(20, 30):  # the second of the three isn't seen from 20 to 25
            smoother.update(Seen(np.array([1, 2, 3]), found[k], scores[k], times[k], 2))
        assert asked == [2] * 6 + [3] * 4
        for k in range(15, 26):
            smoother.update(Seen(np.array([1, 2, 3]), found[k], scores[k], times[30 + k], 2))
        assert asked[10:] == [3] * (5 + delay) + [2] * (6 - delay)


def shared_with_a_filter(bundle, **settings):
    """Picture by picture: who was told by the network, by the filter, and by both; [N, 15, 3]."""
    times, found, scores = stream()
    manifest = bundle.manifest.model_copy(update={"direction": 0.2, **settings})
    both = MaedSmoother(15, 2, replace(bundle, manifest=manifest))
    config = RtsConfig(acceleration=(0.2, 0.1, 2.5))
    rows = (MaedSmoother(15, 2, bundle), RtsSmoother(15, 2, config), both)
    for answers in zip(*(played(s, times, found, scores) for s in rows), strict=True):
        there = np.isfinite(answers[0][:, 2, 2])
        own, filtered, both = (answer[there] for answer in answers)
        np.testing.assert_allclose(both - both[:, 2:3], own - own[:, 2:3], atol=1e-9)
        yield own, filtered, both


def test_direction_is_the_filters_where_the_bundle_says_so(bundle):
    for own, filtered, both in shared_with_a_filter(bundle):
        np.testing.assert_allclose(both[:, 2, 2], own[:, 2, 2])
        seen_from = both[:, 2, :2] / both[:, 2, 2:]
        np.testing.assert_allclose(seen_from, filtered[:, 2, :2] / filtered[:, 2, 2:], atol=1e-9)


def test_depth_is_both_the_networks_and_the_filters_where_the_bundle_says_so(bundle):
    for own, filtered, both in shared_with_a_filter(bundle, depth_share=0.25):
        expected = own[:, 2, 2] ** 0.75 * filtered[:, 2, 2] ** 0.25
        np.testing.assert_allclose(both[:, 2, 2], expected)


def test_the_last_pictures_have_the_answers_of_shorter_delays(bundle):
    times, found, scores = stream()
    at = {d: played(MaedSmoother(15, d, bundle), times, found, scores) for d in DELAYS}
    np.testing.assert_allclose(at[4][-1], at[0][-1], atol=TOLERANCE)
    np.testing.assert_allclose(at[4][-3], at[2][-3], atol=TOLERANCE)
    assert not np.allclose(at[4][-5], at[2][-5], atol=TOLERANCE)


def test_people_are_smoothed_alone_and_forgotten_when_they_go(bundle):
    times, found, scores = stream()
    both = MaedSmoother(15, 0, bundle)
    alone = MaedSmoother(15, 0, bundle)
    for k in range(20, 40):
        two = both.update(Seen(np.array([1, 2]), found[k, 1:], scores[k, 1:], times[k], 2))
        one = alone.update(Seen(np.array([2]), found[k, 2:], scores[k, 2:], times[k], 2))
        np.testing.assert_allclose(two[1], one[0], atol=TOLERANCE)
    both.update(Seen(np.zeros(0, int), found[40, :0], scores[40, :0], times[40], 2))
    anew = MaedSmoother(15, 0, bundle)
    seen = Seen(np.array([2]), found[41, 2:], scores[41, 2:], times[41], 2)
    np.testing.assert_allclose(both.update(seen), anew.update(seen), atol=TOLERANCE)


def test_who_goes_within_the_delay_is_still_answered(bundle):
    times, found, scores = stream()
    smoother = MaedSmoother(15, 4, bundle)
    early = MaedSmoother(15, 0, bundle)
    said = [early.update(Seen(np.array([1]), found[0, 2:], scores[0, 2:], times[0], 2))]
    smoother.update(Seen(np.array([1]), found[0, 2:], scores[0, 2:], times[0], 2))
    for k in range(1, 5):
        nobody = Seen(np.zeros(0, int), found[k, :0], scores[k, :0], times[k], 2)
        answer = smoother.update(nobody)
    np.testing.assert_array_equal(answer, said[0])


def test_auto_takes_it_for_its_own_detector_where_it_wins(bundle):
    own, path = bundle.manifest.detector_sha256, str(bundle.folder)

    def chosen(delay, detector, smoother="auto"):
        config = SmootherConfig(smoother=smoother, delay=delay, smoother_bundle=path)
        return BodySmoother(config, detector)

    assert [chosen(delay, own).smoother for delay in (0, 2, 4, 3)] == ["maed", "maed", "rts", "rts"]
    assert chosen(0, "").smoother == chosen(0, "0" * 64).smoother == "split"
    assert chosen(0, own, "maed").problem == "" == chosen(0, "0" * 64).problem
    assert "learned how smap_lite" in chosen(0, "0" * 64, "maed").problem


def test_auto_takes_it_for_networks_that_it_was_measured_on(bundle, tmp_path):
    folder, other = tmp_path / "smoother", "1" * 64
    shutil.copytree(bundle.folder, folder)
    with (folder / "bundle.yaml").open("a") as file:
        file.write(f"also_sha256: ['{other}']\n")
    chosen = [
        BodySmoother(SmootherConfig(delay=2, smoother_bundle=str(path)), other).smoother
        for path in (bundle.folder, folder)
    ]
    assert chosen == ["rts", "maed"]


def test_a_detector_that_shows_later_changes_the_smoother_and_keeps_ids(bundle):
    config = SmootherConfig(delay=2, smoother_bundle=str(bundle.folder))
    smoother = BodySmoother(config)
    answers = []
    for k in range(20):
        if k == 9:
            smoother.detector = bundle.manifest.detector_sha256
        answers += smoother.update([person((0.02 * k, 0, 4))], k / 15, k)
    answers += smoother.flush()
    assert smoother.smoother == "maed"
    assert [answer.note for answer in answers] == list(range(20))
    assert {p.body.id for answer in answers for p in answer.people} == {
        answers[0].people[0].body.id
    }
    assert all(np.isfinite(p.body.joints_3d).all() for answer in answers for p in answer.people)


def test_each_answer_comes_with_how_far_it_errs_at_its_delay(bundle, network):
    times, found, scores = stream()
    for delay in (0, 4):
        smoother = MaedSmoother(15, delay, bundle)
        answers = played(smoother, times, found, scores)
        spreads = [smoother.take_spread() for _ in answers]
        with torch.no_grad():
            told = network(
                torch.tensor(np.nan_to_num(found[None, :, 2]), dtype=torch.float32),
                torch.tensor(scores[None, :, 2], dtype=torch.float32),
                torch.tensor((times - times[0])[None], dtype=torch.float32),
                [DELAYS.index(delay)],
            )[0]
        want = (0.5 * told.variance[0]).exp().numpy()
        for k in range(30 - delay):  # the third person is seen all along
            np.testing.assert_allclose(spreads[k][-1], want[k + delay], rtol=1e-3)
        for answer, spread in zip(answers, spreads, strict=True):
            np.testing.assert_array_equal(np.isnan(answer[..., 0]), np.isnan(spread))


def test_missing_joints_stay_missing(bundle):
    config = SmootherConfig(smoother="maed", smoother_bundle=str(bundle.folder))
    smoother = BodySmoother(config)
    for k in range(6):
        (answer,) = smoother.update([person((0, 0, 4), missing=(5,) if k > 2 else ())], k / 15)
        body: Body = answer.people[0].body
        assert np.isfinite(body.joints_3d).all(axis=1).sum() == (14 if k > 2 else 15)


def test_what_cannot_be_used_is_refused(bundle):
    with pytest.raises(InputError, match="looks 0, 2, 4 pictures ahead, not 3"):
        MaedSmoother(15, 3, bundle)
    with pytest.raises(InputError, match="looks 0 or 2 or 4 ahead"):
        create_smoother("maed", 15, 3)
    with pytest.raises(BundleError, match="17 joints"):
        MaedSmoother(17, 0, bundle)
    with pytest.raises(BundleError, match="kind 'smap'"):
        BodySmoother(SmootherConfig(smoother="maed", smoother_bundle="smap_lite"))
    with pytest.raises(BundleError, match="no bundle 'nothing'"):
        BodySmoother(SmootherConfig(smoother="maed", smoother_bundle="nothing"))
    assert BodySmoother(SmootherConfig(smoother_bundle="nothing")).smoother == "split"


def test_films_of_another_detector_are_refused(tmp_path):
    settings = {"films": str(films(tmp_path / "films", "ab" * 32))}
    with pytest.raises(InputError, match="recorded by a detector abababababab"):
        export_smoother_kind(weights(tmp_path), tmp_path / "b", ExportOptions(settings=settings))
