"""The quick form of held blocks: equal to them, and without channels that don't count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from smap_train.models.layers.held import HeldFront
from smap_train.models.layers.prelu import PReLU
from smap_train.models.mobilehuman import Lpres, Lpski, Lpwo


def settled(network: nn.Module) -> nn.Module:
    """With norms and slopes as of a trained one."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.uniform_(-0.5, 0.5)
        if isinstance(module, PReLU):
            module.weight.data.uniform_(0, 0.5)
    return network


def quiet(backbone: nn.Module, blocks: range, given: int) -> None:
    """Nothing comes out of these blocks but in their first channels."""
    for k in blocks:
        *_, project, norm = backbone.inv_residual[k].conv
        for tensor in (project.weight, norm.bias, norm.running_mean):
            tensor.data[given:] = 0


@pytest.mark.parametrize(("variant", "blocks", "groups"), [(Lpski, 7, 3), (Lpwo, 17, 7)])
def test_training_computes_what_eval_mode_does(variant, blocks, groups):
    """Up to the last whole group that is held; of LPSKI to the first skip at most."""
    backbone = settled(variant(15, 0.25, 64))
    backbone.frozen_norms = True
    backbone.freeze(blocks)
    image = torch.rand(2, 3, 64, 64)
    got, begun = backbone.train()._begun(image)
    assert begun == groups
    expected = backbone.first_conv.eval()(image)
    for k in range(backbone.end_of_front().stop):
        expected = backbone.inv_residual[k].eval()(expected)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert not got.requires_grad


def test_channels_that_reach_nothing_are_left_out():
    backbone = settled(Lpski(15, 0.25, 64)).eval()
    quiet(backbone, range(3, 6), 5)
    blocks = backbone.inv_residual[:6]
    for block in blocks[1:]:  # as weights of a narrow network are put into a wide one
        block.conv[0][0].weight.data[:, 5:] = 0
    front = HeldFront.of(backbone.first_conv, blocks)
    widths = [len(layers[-1].bias) for layers, _ in front._units[1:]]
    assert widths == [5] * 6  # of 16 and 12
    image = torch.rand(1, 3, 64, 64)
    expected = backbone.first_conv(image)
    for block in blocks:
        expected = block(expected)
    got = front(image)
    assert got.shape[1] == 12 and not got[:, 5:].any()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("variant", "blocks", "norms"), [(Lpski, 2, True), (Lpski, 6, False), (Lpres, 17, True)]
)
def test_what_is_not_fixed_or_asked_for_elsewhere_is_computed_anew(variant, blocks, norms):
    """Parts of groups, norms that go on measuring, outputs that are skips as well."""
    backbone = variant(15, 0.25, 64)
    backbone.frozen_norms = norms
    backbone.freeze(blocks)
    assert backbone.train().end_of_front() == (range(1) if blocks == 2 else range(0))
