"""What a smoother is told of itself after it has learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smap_train.models import create
from smap_train.models.smoother.decoder import DELAYS
from smap_train.models.smoother.tracks import BONES, ROOT
from smap_train.smoother.calibration import PRIOR_PICTURES, WITHIN, calibrate
from smap_train.smoother.data import Example, split
from tests.temporal.people import SHAPE


def tracks(count: int = 6, pictures: int = 40) -> list[Example]:
    """People who walk; the detector sees them a tenth too near, and trembles."""
    made = []
    for k in range(count):
        rng = np.random.default_rng(k)
        times = np.arange(pictures, dtype=np.float32) / 15
        walk = np.outer(times, [0.3, 0, 0.2]) + [k / 5 - 0.5, 0, 4]
        true = (SHAPE * (0.9 + 0.04 * k) + walk[:, None]).astype(np.float32)
        found = 0.9 * true + rng.normal(0, 0.03, true.shape).astype(np.float32)
        made.append(Example(found, np.full((pictures, 15), 0.8, np.float32), true, times))
    return made


@pytest.fixture
def network():
    torch.manual_seed(1)
    return create("smoother", kind="maed").eval()


def answers(network, track, delay):
    batch = [torch.from_numpy(v)[None] for v in (track.found, track.scores, track.times)]
    with torch.inference_mode():
        answer = network(*batch, [DELAYS.index(delay)])[0]
    rows = slice(delay, None)
    return answer.about[0, rows], answer.root[0, rows], answer.variance[0, rows]


@pytest.mark.parametrize("delay", DELAYS)
def test_depths_are_right_in_the_middle_and_spreads_hold_what_they_say(network, delay):
    people = tracks()
    before = torch.cat([answers(network, t, delay)[1][:, 2] for t in people])
    true = torch.cat([torch.from_numpy(t.true)[: len(t) - delay, ROOT, 2] for t in people])
    assert abs((before / true).log().median().item()) > 0.05
    calibrate(network, people)
    depth, within = [], []
    for track in people:
        about, root, variance = answers(network, track, delay)
        want = torch.from_numpy(track.true)[: len(track) - delay]
        depth.append((root[:, 2] / want[:, ROOT, 2]).log())
        off = (about - (want - want[:, ROOT : ROOT + 1])).norm(dim=-1)
        within.append(off <= (0.5 * variance).exp() * 1.0001)
    assert torch.cat(depth).median().item() == pytest.approx(0, abs=1e-5)
    share = torch.cat(within).float().mean(0)
    joints = [k for k in range(15) if k != ROOT]
    np.testing.assert_allclose(share[joints], WITHIN, atol=0.02)


def test_bones_begin_as_anybodys_and_calibrating_twice_is_once(network):
    people = tracks()
    calibrate(network, people)
    prior = network.decoder.prior.clone()
    assert (prior[len(BONES) :] == 0).all() and (prior[: len(BONES), 0] > 0).all()
    terms = torch.cat(
        [
            network.length_terms(*(torch.from_numpy(v)[None] for v in (t.found, t.scores, t.times)))
            for t in people
        ],
        1,
    )[0].detach()
    np.testing.assert_allclose(
        prior[: len(BONES)], PRIOR_PICTURES * terms.mean(0)[: len(BONES)], rtol=1e-4
    )
    bias = network.decoder.depth_bias.clone()
    calibrate(network, people)
    torch.testing.assert_close(network.decoder.prior, prior)
    torch.testing.assert_close(network.decoder.depth_bias, bias)


def test_nothing_of_it_is_among_the_weights(network):
    names = set(network.state_dict())
    calibrate(network, tracks(2))
    assert set(network.state_dict()) == names
    assert not [name for name in names if "bias" in name and name.startswith("decoder.depth")]


def test_films_are_split_by_their_names(tmp_path):
    paths = [tmp_path / f"shard-{k:05d}.npz" for k in range(200)]
    held, learned = (split(paths, 10, held=kept) for kept in (True, False))
    assert sorted([*held, *learned]) == paths and 8 < len(held) < 35
