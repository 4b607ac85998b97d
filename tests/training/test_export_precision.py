"""Weights as fp16: batch norms are folded before, the effect is judged, and there is a way out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_train.export.networks import one_input
from smap_train.export.precision import HALF_TOLERANCES, Part, require_half, write_parts
from smap_train.export.registry import GRAPHS
from smap_train.models import create


class Residual(nn.Module):
    """Batch norms behind every kind of layer, none of them in an ``nn.Sequential``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.up, self.up_bn = nn.ConvTranspose2d(8, 8, 2, 2), nn.BatchNorm2d(8)
        self.deep, self.deep_bn = nn.Conv3d(8, 8, 3, padding=1), nn.BatchNorm3d(8)
        self.linear, self.linear_bn = nn.Linear(8, 64), nn.BatchNorm1d(64)
        for norm in (self.bn, self.up_bn, self.deep_bn, self.linear_bn):
            nn.init.uniform_(norm.running_var, 0.2, 3.0)
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.running_mean)
            nn.init.normal_(norm.bias)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = F.relu(image + self.bn(self.conv(image)))
        features = F.relu(self.up_bn(self.up(features)))
        features = F.relu(self.deep_bn(self.deep(features[:, :, None])))
        return {"out": self.linear_bn(self.linear(features.mean(dim=(2, 3, 4))))}


@pytest.fixture
def network() -> Residual:
    torch.manual_seed(0)
    return Residual().eval()


def part(network: nn.Module, path, model: str = "smap") -> Part:
    example = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(0))
    return Part(model, one_input(network, example, ("out",), free_batch=True), path)


def constants(path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_batch_norms_are_folded_before_weights_are_rounded(network, tmp_path):
    path = tmp_path / "model.onnx"
    assert 1e-6 < write_parts([part(network, path)], half=True) < 5e-3
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "BatchNormalization" not in operators and "Cast" in operators
    halves = [array for array in constants(path).values() if array.dtype == np.float16]
    assert len(halves) == 4
    gain = (network.bn.weight / (network.bn.running_var + network.bn.eps).sqrt()).detach()
    folded = (network.conv.weight * gain[:, None, None, None]).detach().numpy()
    (got,) = [array for array in halves if array.shape == folded.shape]
    np.testing.assert_allclose(got, folded.astype(np.float16), rtol=2e-3, atol=1e-7)


def test_weights_beyond_fp16_and_vectors_stay_exact(network, tmp_path):
    with torch.no_grad():
        network.linear.weight *= 1e6
    path = tmp_path / "model.onnx"
    assert write_parts([part(network, path)], half=True) < 5e-3
    kept = constants(path).values()
    assert {a.ndim for a in kept if a.dtype == np.float32 and a.size > 1} == {1, 2}
    assert sum(array.dtype == np.float16 for array in kept) == 3


def test_half_precision_that_moves_too_much_is_refused_with_the_ways_out(network, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match="outputs of this smap move by") as refused:
        write_parts([part(network, path)], half=True, tolerance=1e-6)
    said = str(refused.value)
    assert "at most 1e-06 is expected" in said and "Export without --half" in said
    enough = float(said.split("--half-tolerance ")[1].split(maxsplit=1)[0])
    assert 1e-6 < write_parts([part(network, path)], half=True, tolerance=enough) <= enough


@pytest.mark.parametrize(
    ("error", "enough"), [(1.34e-3, "2e-03"), (9.99e-3, "1e-02"), (0.1, "2e-01"), (0.0119, "2e-02")]
)
def test_the_tolerance_named_is_a_little_above_the_error(error, enough):
    with pytest.raises(InputError, match=f"with --half-tolerance {enough} if that"):
        require_half(error, error / 2, "smap")


def test_numbers_beyond_fp16_have_no_tolerance():
    with pytest.raises(InputError, match="without --half, its numbers are beyond fp16"):
        require_half(float("nan"), 1.0, "smap")


def test_a_network_without_a_tolerance_wants_one_stated(network, tmp_path):
    with pytest.raises(InputError, match=r"'other' by .* state --half-tolerance"):
        write_parts([part(network, tmp_path / "a.onnx", "other")], half=True, tolerance=None)
    write_parts([part(network, tmp_path / "b.onnx", "other")], half=True, tolerance=0.5)


def test_every_network_that_is_stored_as_fp16_has_a_tolerance():
    kept = {"virtualpose"}  # small beside its backbone, and full of coordinates
    assert {name.removesuffix("'s roots") for name in HALF_TOLERANCES} == set(GRAPHS) - kept


@pytest.mark.parametrize("seed", range(4))
def test_refinenets_tolerance_is_some_times_what_random_weights_give(tmp_path, seed):
    torch.manual_seed(seed)
    model = create("refinenet").eval()
    example = torch.randn(4, 75) * 50
    export = one_input(model, example, ("out",), free_batch=True)
    error = write_parts([Part("refinenet", export, tmp_path / "a.onnx")], half=True)
    assert 1e-5 < error < HALF_TOLERANCES["refinenet"] / 3


EXPORT = """
import sys
from pathlib import Path
import torch
from smap_train.export.networks import one_input
from smap_train.models import create
model = create("refinenet").eval()
one_input(model, torch.randn(4, 75), ("out",), free_batch=True).write(Path(sys.argv[1]))
"""


def test_the_exporter_says_nothing_of_its_own(tmp_path):
    """In a process of its own, as its warnings come once a process: takes some seconds."""
    command = [sys.executable, "-c", EXPORT, str(tmp_path / "a.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
