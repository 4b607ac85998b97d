"""The learned smoother: what it may see, and what comes out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.films import film_paths, make_film, read_film
from smap_train.losses.smoother import smoother_losses
from smap_train.models import create
from smap_train.models.smoother.decoder import DELAYS
from smap_train.models.smoother.encoders import WINDOW
from smap_train.models.smoother.tracks import BONES, ROOT, look, ray_frames, split_past
from smap_train.smoother.data import Example, examples
from smap_train.smoother.record import mean_colours
from tests.temporal.people import CAMERA, person

T = 24


def walkers(seed=0, people=2):
    """Noisy people [N, T, 15, 3], 0 where missing; scores, times, truth."""
    rng = np.random.default_rng(seed)
    base = np.stack([person((k - 0.5, 0.2, 3.5 + k)).joints_3d for k in range(people)])
    way = np.linspace(0, 0.8, T)[None, :, None, None] * np.array([1.0, 0, 0.3])
    true = base[:, None] + way
    scores = np.full((people, T, 15), 0.8)
    scores[0, 5, 7] = scores[1, 9] = 0
    found = (true + rng.normal(0, 0.03, true.shape)) * (scores > 0)[..., None]
    times = np.cumsum(rng.uniform(0.05, 0.2, (people, T)), axis=1)
    return [torch.tensor(a, dtype=torch.float32) for a in (found, scores, times, true)]


@pytest.fixture(params=["maed", "mlp"])
def network(request):
    torch.manual_seed(0)
    made = create("smoother", kind=request.param).eval()
    assert sum(p.numel() for p in made.parameters()) < 1_000_000
    return made


@torch.no_grad()
def test_answers_depend_on_nothing_later(network):
    found, scores, times, _ = walkers()
    before = network(found, scores, times)
    changed = found.clone()
    changed[:, 20:] += 0.1 * torch.randn(changed[:, 20:].shape)
    for a, b in zip(before, network(changed, scores, times), strict=True):
        for x, y in ((a.about, b.about), (a.root, b.root), (a.variance, b.variance)):
            torch.testing.assert_close(x[:, :20], y[:, :20])
        assert not torch.allclose(a.about[:, 20:], b.about[:, 20:], atol=1e-4)


@torch.no_grad()
def test_people_do_not_touch_one_another(network):
    found, scores, times, _ = walkers()
    together = network(found, scores, times)
    alone = network(found[1:], scores[1:], times[1:])
    for a, b in zip(together, alone, strict=True):
        for x, y in ((a.about, b.about), (a.root, b.root), (a.variance, b.variance)):
            torch.testing.assert_close(x[1:], y, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_what_is_missing_is_not_looked_at(network):
    """Whatever stands where nothing was found changes nothing."""
    found, scores, times, _ = walkers()
    other = torch.where(scores[..., None] > 0, found, torch.full_like(found, 7.0))
    for a, b in zip(network(found, scores, times), network(other, scores, times), strict=True):
        torch.testing.assert_close(a.about, b.about)
        torch.testing.assert_close(a.root, b.root)


@torch.no_grad()
def test_untrained_it_is_a_sane_smoother(network):
    """Weighted means of raw bones: the truth to within noise and lag, bones that settle."""
    found, scores, times, true = walkers()
    for delay, answer in zip(DELAYS, network(found, scores, times), strict=True):
        want = true[:, : T - delay]
        off = (answer.about[:, delay:] - (want - want[..., ROOT : ROOT + 1, :])).norm(dim=-1)
        assert off[:, WINDOW:].mean() < 0.25
        root = (answer.root[:, delay:] - want[..., ROOT, :]).norm(dim=-1)
        assert root[:, WINDOW:].mean() < 0.4
        lengths = torch.stack(
            [(answer.about[..., a, :] - answer.about[..., b, :]).norm(dim=-1) for a, b in BONES], -1
        )[:, WINDOW:]
        assert (lengths.std(1) / lengths.mean(1)).mean() < 0.02


def test_a_look_tells_bones_and_place():
    found, scores, _, _ = walkers()
    looks = look(found, scores)
    past = split_past(looks.past)
    for k, (parent, child) in enumerate(BONES):
        there = (scores[..., parent] > 0) & (scores[..., child] > 0)
        bone = found[..., child, :] - found[..., parent, :]
        expected = torch.nn.functional.normalize(bone, dim=-1) * there[..., None]
        torch.testing.assert_close(past.bones[..., k, :], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(past.present[..., k], there.float())
    seen = scores[..., ROOT] > 0
    torch.testing.assert_close(past.seen, seen.float())
    torch.testing.assert_close(past.root[seen][:, 2].exp(), found[..., ROOT, 2][seen])
    assert (looks.features[~seen] == 0).all()


def test_ray_frames_are_rotations_whose_z_is_the_ray():
    position = torch.tensor([[1.0, 0.5, 3.0], [-2.0, 0.1, 1.0]])
    frames = ray_frames(position)
    torch.testing.assert_close(
        frames.transpose(1, 2) @ frames, torch.eye(3).expand(2, 3, 3), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(2))
    torch.testing.assert_close(frames[..., 2], torch.nn.functional.normalize(position, dim=-1))


def test_losses_are_nought_for_the_truth_and_count_who_was_seen_alone():
    _, scores, _, true = walkers()
    true[0, 3] = float("nan")

    class Told:
        about, root = true - true[..., ROOT : ROOT + 1, :], true[..., ROOT, :]
        variance = torch.zeros(2, T, 15)

    Told.about, Told.root = torch.nan_to_num(Told.about), torch.nan_to_num(Told.root)
    perfect = smoother_losses([Told], [0], true, scores)
    assert all(float(value) < 1e-4 for value in perfect.values())
    Told.about = Told.about.clone()
    Told.about[1, 9] += 1.0  # not seen there
    Told.about[0, 3] += 1.0  # and nobody there
    assert all(float(value) < 1e-4 for value in smoother_losses([Told], [0], true, scores).values())
    late = Told()
    late.about, late.root = (torch.roll(x, 2, 1) for x in (Told.about, Told.root))
    shifted = smoother_losses([late], [2], torch.nan_to_num(true, nan=0.0), scores)
    assert float(shifted["root_acceleration"]) < 1e-4
    assert float(smoother_losses([late], [0], true, scores)["root"]) > 0.01


def film_of_two(hidden=()):
    """Two people who walk; the first isn't found in some pictures."""
    frames = []
    for k in range(20):
        bodies = [person((-1 + 0.05 * k, 0, 4)), person((1, 0, 5 + 0.05 * k))]
        frames.append((bodies, k / 15))
    true = [
        BodyFrame(
            tuple(Body(b.joints_3d, b.joints_2d, b.scores, 1.0, i) for i, b in enumerate(bodies)),
            CAMERA,
            stamp,
        )
        for bodies, stamp in frames
    ]
    found = [
        BodyFrame(tuple(bodies[::-1][: 1 if k in hidden else 2]), CAMERA, stamp)
        for k, (bodies, stamp) in enumerate(frames)
    ]
    return make_film(found, true, [np.ones(2, np.bool_)] * 20, "ab" * 32)


def shaky_film(seed, detector="ab" * 32):
    """A film of two whose detector pulls everybody's left arm to the body, and trembles."""
    rng = np.random.default_rng(seed)
    film = film_of_two()
    joints = film.joints_3d.copy()
    joints[:, 4:6] = 0.7 * joints[:, 4:6] + 0.3 * joints[:, 3:4]
    joints += rng.normal(0, 0.01, joints.shape).astype(np.float32)
    return replace(film, joints_3d=joints, detector=detector)


def test_a_film_survives_its_file_and_gives_a_track_a_person(tmp_path):
    film = film_of_two()
    film.save(tmp_path / "shard-00000.npz")
    (path,) = film_paths(tmp_path)
    again = read_film(path)
    for name, value in vars(film).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert isinstance(again.view, Camera) and again.view.fx == pytest.approx(CAMERA.fx)
    tracks = examples([again])
    assert [len(one) for one in tracks] == [20, 20]
    for one in tracks:
        np.testing.assert_array_equal(one.found, one.true)


def test_a_hidden_person_is_a_gap_with_a_truth():
    film = film_of_two(hidden=range(8, 11))
    tracks = sorted(examples([film]), key=lambda one: one.scores.sum())
    assert [len(one) for one in tracks] == [20, 20]
    assert (tracks[0].scores[8:11] == 0).all() and (tracks[0].scores[11] > 0).all()
    assert np.isfinite(tracks[0].true).all()


def test_what_is_no_film_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no films"):
        film_paths(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="no film of detections"):
        read_film(tmp_path / "x.npz")


def track():
    found, scores, times, true = (a.numpy()[0] for a in walkers())
    return Example(found, scores, true, times)


def test_crops_are_of_the_length_asked_for_at_any_rate():
    for seed in range(40):
        crop = track().crop(30 if seed % 2 else 8, np.random.default_rng(seed))
        assert len(crop) == (30 if seed % 2 else 8) and (np.diff(crop.times) > 0).all()
        assert (crop.found[crop.scores == 0] == 0).all() and np.isfinite(crop.found).all()
        there = (crop.scores > 0) & np.isfinite(crop.true).all(axis=2)
        off = np.linalg.norm(crop.found - crop.true, axis=2)[there]
        assert off.mean() < 0.08  # still the person's own truth


def test_mirrored_people_are_whole_and_twice_the_rate_lies_between():
    example = track()
    again = example.mirrored().mirrored()
    np.testing.assert_array_equal(again.true, example.true)
    assert example.mirrored().true[0, 3, 0] == -example.true[0, 9, 0]  # the shoulders changed sides
    twice = example.doubled(np.random.default_rng(0))
    np.testing.assert_array_equal(twice.rows(np.arange(0, len(twice), 2)).found, example.found)
    between = (example.true[:-1] + example.true[1:]) / 2
    np.testing.assert_allclose(twice.true[1::2], between, atol=1e-6)
    assert (twice.scores[2 * 5 + 1, 7], twice.scores[2 * 5 - 1, 7]) == (0, 0)


def test_mean_colours_are_those_of_torso_and_thighs():
    body = person((0, 0, 4))
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:] = (10, 20, 30)
    np.testing.assert_allclose(mean_colours(image, body), [[10, 20, 30]] * 2)
    missing = person((0, 0, 4), missing=range(15))
    assert np.isnan(mean_colours(image, missing)).all()
