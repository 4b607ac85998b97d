"""The learned smoother: what it may see, and what comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.films import film_paths, make_film, read_film
from smap_train.smoother.data import Example, examples, mirrored
from smap_train.smoother.fit import total_loss
from smap_train.smoother.network import BONES, DELAYS, WINDOW, LearnedSmoother, encode, ray_frames
from smap_train.smoother.record import mean_colours
from tests.temporal.people import CAMERA, person

T = 24


def walkers(seed=0, people=2):
    """Noisy people [N, T, 15, 3], scores, times."""
    rng = np.random.default_rng(seed)
    base = np.stack([person((k - 0.5, 0.2, 3.5 + k)).joints_3d for k in range(people)])
    way = np.linspace(0, 0.8, T)[None, :, None, None] * np.array([1.0, 0, 0.3])
    true = base[:, None] + way
    found = true + rng.normal(0, 0.03, true.shape)
    found[0, 5, 7] = np.nan
    found[1, 9] = np.nan
    scores = np.isfinite(found).all(-1) * 0.8
    times = np.cumsum(rng.uniform(0.05, 0.2, (people, T)), axis=1)
    return [torch.tensor(a, dtype=torch.float32) for a in (found, scores, true, times)]


@pytest.fixture(params=["maed", "mlp"])
def network(request):
    torch.manual_seed(0)
    return LearnedSmoother(request.param).eval()


@torch.no_grad()
def test_answers_depend_on_nothing_later_nor_older_than_they_may(network):
    found, scores, _, times = walkers()
    before = network(encode(found, scores, times))
    changed = found.clone()
    changed[:, 20:] += 0.1 * torch.randn(changed[:, 20:].shape)
    after = network(encode(changed, scores, times))
    for (about, root, _), (about_b, root_b, _) in zip(before, after, strict=True):
        torch.testing.assert_close(about[:, :20], about_b[:, :20])
        torch.testing.assert_close(root[:, :20], root_b[:, :20])
        assert not torch.allclose(about[:, 20:], about_b[:, 20:], atol=1e-4)


@torch.no_grad()
def test_people_do_not_touch_one_another(network):
    found, scores, _, times = walkers()
    together = network(encode(found, scores, times))
    alone = network(encode(found[1:], scores[1:], times[1:]))
    for a, b in zip(together, alone, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x[1:], y, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_untrained_it_is_a_sane_smoother(network):
    """Weighted means of raw bones: the truth to within the noise and the lag, bones that settle."""
    found, scores, true, times = walkers()
    for delay, (about, root, _) in zip(DELAYS, network(encode(found, scores, times)), strict=True):
        want = true[:, : T - delay]
        pose = want - want[..., 2:3, :]
        off = (about[:, delay:] - pose).norm(dim=-1)[:, WINDOW:]
        assert off.mean() < 0.25
        assert (root[:, delay:] - want[..., 2, :]).norm(dim=-1)[:, WINDOW:].mean() < 0.4
        lengths = torch.stack(
            [(about[..., a, :] - about[..., b, :]).norm(dim=-1) for a, b in BONES], -1
        )
        spread = lengths[:, WINDOW:].std(1) / lengths[:, WINDOW:].mean(1)
        assert spread.mean() < 0.02


def test_ray_frames_are_rotations_whose_z_is_the_ray():
    position = torch.tensor([[1.0, 0.5, 3.0], [-2.0, 0.1, 1.0]])
    frames = ray_frames(position)
    torch.testing.assert_close(
        frames.transpose(1, 2) @ frames, torch.eye(3).expand(2, 3, 3), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(torch.linalg.det(frames), torch.ones(2))
    torch.testing.assert_close(frames[..., 2], torch.nn.functional.normalize(position, dim=-1))


def test_a_step_of_training_lowers_the_loss(network):
    found, scores, true, times = walkers()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = total_loss(network, found, scores, true, times)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def film_of_two():
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
    found = [BodyFrame(tuple(bodies[::-1]), CAMERA, stamp) for bodies, stamp in frames]
    return make_film(found, true, [np.ones(2, np.bool_)] * 20, "ab" * 32)


def test_a_film_survives_its_file_and_gives_a_track_a_person(tmp_path):
    film = film_of_two()
    film.save(tmp_path / "shard-00000.npz")
    (path,) = film_paths(tmp_path)
    again = read_film(path)
    for name, value in vars(film).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert isinstance(again.view, Camera) and again.view.fx == pytest.approx(CAMERA.fx)
    tracks = examples([again])
    assert [len(track) for track in tracks] == [20, 20]
    for track in tracks:
        np.testing.assert_array_equal(track.found, track.true)


def test_what_is_no_film_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no films"):
        film_paths(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(InputError, match="no film of detections"):
        read_film(tmp_path / "x.npz")


def test_crops_are_of_the_length_asked_for_and_mirror_whole_people():
    found, scores, true, times = (a.numpy()[0] for a in walkers())
    example = Example(found, scores, true, times)
    for length in (8, 40):
        crop = example.crop(length, np.random.default_rng(length))
        assert len(crop) == length and (np.diff(crop.times) > 0).all()
    np.testing.assert_array_equal(mirrored(mirrored(true)), true)
    assert mirrored(true)[0, 3, 0] == -true[0, 9, 0]  # the left shoulder was the right one


def test_mean_colours_are_those_of_torso_and_thighs():
    body = person((0, 0, 4))
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:] = (10, 20, 30)
    np.testing.assert_allclose(mean_colours(image, body), [[10, 20, 30]] * 2)
    missing = person((0, 0, 4), missing=range(15))
    assert np.isnan(mean_colours(image, missing)).all()
