"""Steps as shares of channels' sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from smap_train.models.layers.relative import RelativeAdamW

RATE = 0.01


def network() -> nn.Conv2d:
    """A layer whose channels differ by a factor of a thousand."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 2, 3)
    with torch.no_grad():
        layer.weight[0] *= 1000
        layer.bias.zero_()
    return layer


def step(layer: nn.Conv2d, optimiser: torch.optim.Optimizer, seed: int = 1) -> None:
    optimiser.zero_grad()
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    layer(x).square().mean().backward()
    optimiser.step()


def test_each_channel_moves_by_a_share_of_its_size():
    layer = network()
    before = layer.weight.detach().clone()
    step(layer, RelativeAdamW(layer.parameters(), RATE))
    moved = (layer.weight.detach() - before).abs()
    size = before.square().mean((1, 2, 3)).sqrt()
    # Adam's first step is the rate in each number.
    for channel in range(2):
        torch.testing.assert_close(
            moved[channel].mean() / size[channel], torch.tensor(RATE), rtol=1e-3, atol=0
        )
    assert size[0] > 500 * size[1]


def test_what_is_nothing_at_first_can_still_become_something():
    layer = network()
    step(layer, RelativeAdamW(layer.parameters(), RATE))
    assert (layer.bias.detach().abs() > 0).all()
    assert (layer.bias.detach().abs() < 1e-4).all()


@pytest.mark.parametrize("rate", [1e-3, 1e-6])
def test_steps_of_large_channels_are_not_lost_in_rounding(rate):
    layer = network()
    with torch.no_grad():
        layer.weight[0] *= 10
    before = layer.weight.detach().double()
    step(layer, RelativeAdamW(layer.parameters(), rate))
    moved = (layer.weight.detach().double() - before)[0].abs().mean()
    size = before[0].square().mean().sqrt()
    assert float(moved / size) == pytest.approx(rate, rel=0.1)


def test_weights_decay_alike_whatever_their_size():
    layer = network()
    before = layer.weight.detach().clone()
    optimiser = RelativeAdamW(layer.parameters(), RATE, weight_decay=0.1)
    layer.weight.grad, layer.bias.grad = torch.zeros_like(layer.weight), None
    optimiser.step()
    torch.testing.assert_close(layer.weight.detach(), before * (1 - RATE * 0.1))


def test_steps_go_on_where_they_stopped():
    whole, stopped = network(), network()
    first = RelativeAdamW(whole.parameters(), RATE, weight_decay=0.1)
    for seed in (1, 2):
        step(whole, first, seed)
    half = RelativeAdamW(stopped.parameters(), RATE, weight_decay=0.1)
    step(stopped, half, 1)
    # As a run resumes: the optimiser is made of the first weights, and then everything is put back.
    resumed = network()
    again = RelativeAdamW(resumed.parameters(), RATE, weight_decay=0.1)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    again.load_state_dict(copy.deepcopy(half.state_dict()))
    step(resumed, again, 2)
    for got, expected in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("closure", [True, False])
def test_a_closure_is_run_once_with_gradients(closure):
    layer, called = network(), []
    optimiser = RelativeAdamW(layer.parameters(), RATE)

    def loss() -> torch.Tensor:
        called.append(torch.is_grad_enabled())
        optimiser.zero_grad()
        value = layer(torch.ones(1, 3, 4, 4)).square().mean()
        value.backward()
        return value

    if closure:
        assert optimiser.step(loss) is not None and called == [True]
    else:
        loss()
        assert optimiser.step() is None


def test_who_goes_on_from_weights_that_moved_steps_by_the_sizes_of_the_first_ones():
    """A trainer gives the network its weights before it makes the optimiser."""
    whole = network()
    first = RelativeAdamW(whole.parameters(), 0.3)
    for seed in (1, 2):
        step(whole, first, seed)
    stored = copy.deepcopy((whole.state_dict(), first.state_dict()))
    step(whole, first, 3)
    resumed = network()
    resumed.load_state_dict(stored[0])
    again = RelativeAdamW(resumed.parameters(), 0.3)
    other = copy.deepcopy(again._sizes[0][0])
    again.load_state_dict(stored[1])
    assert not torch.equal(other, again._sizes[0][0])  # or this would show nothing
    step(resumed, again, 3)
    torch.testing.assert_close(resumed.weight, whole.weight, rtol=0, atol=0)
