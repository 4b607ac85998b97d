"""RefineNet against the official one's outputs."""

from __future__ import annotations

import pytest
import torch

from smap_ros.errors import InputError
from smap_train.models import create
from smap_train.models.golden import Golden, load_golden
from smap_train.models.refinenet import RefineNet


@pytest.fixture(scope="module")
def network() -> tuple[RefineNet, Golden]:
    return load_golden("refinenet")


def test_state_dict_has_the_official_keys_in_order(network):
    model, golden = network
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == golden.shapes
    assert list(model.state_dict()) == list(golden.shapes)
    assert sum(p.numel() for p in model.parameters()) == 159_469


def test_output_is_the_official_one(network):
    model, golden = network
    with torch.inference_mode():
        outputs = model(golden.inputs())
    assert list(outputs) == ["out"]
    assert golden.difference("out", outputs["out"]).max_abs < 1e-5


def test_output_on_pixels_and_centimetres_is_the_official_one(network):
    model, golden = network
    with torch.inference_mode():
        out = model(torch.from_numpy(golden.arrays["real_like_in"]))["out"]
    error = golden.difference("real_like_out", out)
    assert error.within and error.max_rel < 1e-5


def test_output_off_by_more_than_the_tolerance_is_noticed(network):
    model, golden = network
    with torch.inference_mode():
        out = model(golden.inputs())["out"]
    out = out.clone()
    out[2, 7] += 0.01
    assert not golden.difference("out", out).within
    with pytest.raises(InputError, match="got shape"):
        golden.difference("out", out[:2])


def test_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="unknown model 'resnet'; known models: smap, refinenet"):
        create("resnet")


def test_unknown_option_is_refused():
    with pytest.raises(InputError, match="'refinenet' can't be built with options"):
        create("refinenet", depth=9)
