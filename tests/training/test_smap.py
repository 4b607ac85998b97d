"""The SMAP network against the official one's outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from smap_train.models import create
from smap_train.models.golden import Golden, load_golden
from smap_train.models.smap import Smap, StageMaps

SMALL = (1, 3, 64, 96)


@pytest.fixture(scope="module")
def network() -> tuple[Smap, Golden]:
    """91 million weights drawn by rule: about 2 s."""
    return load_golden("smap")


@pytest.fixture(scope="module")
def golden_run(network) -> dict[str, Tensor]:
    """All maps of the golden input, 512 x 832: about 4 s on one thread."""
    model, golden = network
    kept: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: kept.__setitem__(name, output)

    for i in (0, 1):
        units = model.stages[i].upsample.units
        for name, layer in (
            ("cross", units[3].cross_conv),
            ("skip1_0", units[3].skip1),
            ("skip2_3", units[0].skip2),
        ):
            layer.register_forward_hook(keep(f"stage{i}_{name}"))
    with torch.inference_mode():
        stages = model.forward_stages(golden.inputs())
    for i, stage in enumerate(stages):
        kept[f"stage{i}_up1_2d"] = stage.heatmap_2d[0]
        kept[f"stage{i}_up4_2d"] = stage.heatmap_2d[3]
        kept[f"stage{i}_up4_det_d"] = stage.det_d[3]
        kept[f"stage{i}_up4_root_d"] = stage.root_d[3]
    last = stages[-1]
    kept["heatmap_2d"] = sum(last.heatmap_2d[1:])
    kept["det_d"], kept["root_d"] = last.det_d[-1], last.root_d[-1]
    return kept


def test_state_dict_has_the_official_keys_in_order(network):
    model, golden = network
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == golden.shapes
    assert list(model.state_dict()) == list(golden.shapes)
    assert sum(p.numel() for p in model.parameters()) == golden.manifest["total_params"]


def test_filled_weights_are_those_of_the_golden_run(network):
    model, golden = network
    total = sum(float(v.double().abs().sum()) for v in model.state_dict().values())
    assert total == pytest.approx(golden.manifest["checksum_abs_sum"], rel=1e-9)


def test_outputs_and_intermediate_maps_are_the_official_ones(network, golden_run):
    _, golden = network
    names = {name.removesuffix("__sub") for name in golden.arrays if name.endswith("__sub")}
    assert set(golden_run) == names
    errors = {name: golden.difference(name, golden_run[name]) for name in names}
    assert {name: e for name, e in errors.items() if not e.within} == {}


def test_eval_forward_gives_the_merged_maps_of_the_last_stage(network):
    model, _ = network
    image = torch.randn(SMALL, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        got, last = model(image), model.forward_stages(image)[-1]
    assert list(got) == ["heatmap_2d", "det_d", "root_d"]
    torch.testing.assert_close(got["heatmap_2d"], sum(last.heatmap_2d[1:]))
    torch.testing.assert_close(got["det_d"], last.det_d[3])
    torch.testing.assert_close(got["root_d"], last.root_d[3])


def test_training_forward_gives_every_stage_and_level():
    with torch.device("meta"):
        stages = create("smap").train()(torch.empty(2, 3, 64, 96))
    assert len(stages) == 3
    for stage in stages:
        assert isinstance(stage, StageMaps)
        for maps, channels in zip(stage, (43, 14, 1), strict=True):
            assert [tuple(x.shape) for x in maps] == [(2, channels, 16, 24)] * 4


def test_every_weight_learns():
    """The loss reaches everything: no layer is built and left unused."""
    torch.manual_seed(0)
    model = create("smap", stages=2, width=16)
    stages = model(torch.randn(1, 3, 64, 64))
    sum(x.square().mean() for stage in stages for kind in stage for x in kind).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert idle == []
