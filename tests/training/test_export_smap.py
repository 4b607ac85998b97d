"""The official SMAP from a checkpoint to a bundle: how it prepares images, half precision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines import create_engine
from smap_train.export import ExportOptions, export_smap_kind
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint

from .exporting import assert_refused

SMALL = {"stages": 1, "width": 16}  # its encoder is that of the whole: 23 million weights


@pytest.mark.slow
def test_the_command_exports_smap_with_half_the_size_and_says_nothing_else(tmp_path):
    """In a process of its own, as a user runs it; torch's exporter takes half a minute."""
    torch.manual_seed(0)
    network = create("smap", **SMALL).eval()
    for layer in network.modules():  # so that what is seen makes a difference everywhere
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.normal_(layer.running_mean, std=0.2)
    save_checkpoint(tmp_path / "smap.pth", "smap", network.state_dict(), **SMALL)
    words = ["export", str(tmp_path / "smap.pth"), str(tmp_path / "smap"), "--half"]
    command = [sys.executable, "-m", "smap_train.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.count("\n") == 1
    assert "ONNX against torch" in done.stdout
    bundle = load_bundle(tmp_path / "smap")
    spec = bundle.manifest.input
    assert (spec.resize, spec.color, spec.width, spec.height) == ("bilinear", "bgr", 832, 512)
    assert bundle.manifest.precision == "fp16"
    weights = sum(p.numel() for p in network.parameters())
    assert (bundle.folder / "model.onnx").stat().st_size < 2.2 * weights
    engine = create_engine(bundle, "onnxruntime", threads=1)
    image = np.random.default_rng(0).standard_normal((1, 3, 512, 832)).astype(np.float32)
    got = engine.run({"image": image})
    with torch.inference_mode():
        expected = network(torch.from_numpy(image))
    for name, value in expected.items():
        assert np.abs(got[name] - value.numpy()).max() < 1e-2 * value.abs().max()
    engine.close()


def changed(change: Callable[[str, Tensor], tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Weights of a fresh smap_lite, each under another name or of other values."""
    return dict(change(name, value) for name, value in create("smap_lite").state_dict().items())


def poisoned(name: str, value: Tensor) -> tuple[str, Tensor]:
    return name, value.fill_(torch.nan) if name.endswith("running_var") else value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda name, value: (f"module.{name}", value),
            r"doesn't fit model 'smap_lite':\n\d+ miss",
        ),
        (poisoned, r"NaN or infinite weights in: .*running_var, .* and \d+ more; take weights"),
    ],
    ids=["prefixed", "diverged"],
)
def test_weights_that_cannot_be_exported_are_refused_by_name(tmp_path, change, words):
    save_checkpoint(tmp_path / "smap_lite.pth", "smap_lite", changed(change))
    assert_refused(tmp_path / "smap_lite.pth", tmp_path / "bundle", [], words)


@pytest.mark.parametrize("necks", [False, True])
def test_how_sure_depths_are_is_not_taken_from_a_bundle_whose_depths_tell_it_otherwise(
    tmp_path, caplog, necks
):
    """Networks with necks tell a spread; what was measured of it is of another unit."""
    shipped, options = load_bundle("smap_lite").manifest, {"necks": necks, "backbone": "movenet"}
    path = tmp_path / "smap_lite.pth"
    save_checkpoint(path, "smap_lite", create("smap_lite", **options).state_dict(), **options)
    got = export_smap_kind(path, tmp_path / "out", ExportOptions(like="smap_lite"))[0].manifest
    assert got.second_look == shipped.second_look
    assert ("depth_error is 0.095 and scores are no probabil" in caplog.text) is not necks
    if necks:
        assert (got.depth_error, got.min_score) == (shipped.depth_error, shipped.min_score)
        assert got.person_score == shipped.person_score
    else:
        assert got.depth_error == 0.095 and got.person_score is None
        assert got.min_score == type(got).model_fields["min_score"].default < shipped.min_score
