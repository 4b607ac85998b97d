"""LiteRT export: what is run is what torch runs, and without the converter there is advice."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.mobilehuman import MobileHuman

HERE = importlib.util.find_spec("litert_torch") is not None


@pytest.fixture(params=[256, 128])
def checkpoint(request, tmp_path):
    torch.manual_seed(0)
    network = MobileHuman(input_size=request.param)
    torch.nn.init.normal_(network.backbone.final_layer.weight, std=1.0)  # peaks, not plains
    path = tmp_path / "mobilehuman.pth"
    save_checkpoint(path, "mobilehuman", network.state_dict(), input_size=request.param)
    return path


@pytest.mark.skipif(not HERE, reason="litert-torch lives in an environment of its own")
def test_litert_runs_like_torch(checkpoint, tmp_path):
    """Takes half a minute: the converter goes through JAX and MLIR."""
    out = tmp_path / "models" / "mobilehuman.tflite"
    result = CliRunner().invoke(app, ["litert", str(checkpoint), str(out)])
    assert result.exit_code == 0, result.output
    assert "LiteRT against torch" in result.output
    assert out.read_bytes()[4:8] == b"TFL3"


@pytest.mark.skipif(HERE, reason="litert-torch is here")
def test_without_the_converter_the_way_to_it_is_said(checkpoint, tmp_path):
    out = tmp_path / "mobilehuman.tflite"
    result = CliRunner().invoke(app, ["litert", str(checkpoint), str(out)])
    assert isinstance(result.exception, InputError)
    assert "pip install '.[train]' litert-torch" in str(result.exception)
    assert not out.exists()


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "refinenet.pth"
    save_checkpoint(path, "refinenet", create("refinenet").state_dict())
    result = CliRunner().invoke(app, ["litert", str(path), str(tmp_path / "out.tflite")])
    assert isinstance(result.exception, InputError)
    assert "expected a MobileHuman" in str(result.exception)
