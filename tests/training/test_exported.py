"""A bundle's folded weights as the start of a run."""

from pathlib import Path

import pytest
import torch

from smap_ros.errors import InputError
from smap_ros.paths import models_directory
from smap_train.export.networks import one_input, store_half
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.exported import load_exported, read_exported, settle_batch_norms
from smap_train.recipes.smap_lite import load_initial

OUTPUTS = ("heatmap_2d", "det_d", "root_d", "pose")
BACKBONE = {"backbone": "efficientnet_lite0"}


def seeded(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def trained() -> torch.nn.Module:
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    network = create("smap_lite", **BACKBONE).train()
    for seed in range(3):
        network(seeded((2, 3, 64, 96), seed))
    return network.eval()


@pytest.fixture(scope="module")
def exported(trained: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    one_input(trained, seeded((1, 3, 64, 96), 0), OUTPUTS).write(path)
    return path


def outputs(network: torch.nn.Module, seed: int = 9) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return network.eval()(seeded((1, 3, 64, 96), seed))


@pytest.mark.parametrize("settled", [False, True])
def test_the_network_computes_what_the_bundle_does(
    trained: torch.nn.Module, exported: Path, settled: bool
) -> None:
    network = create("smap_lite", **BACKBONE, necks=True)
    load_initial(network, exported)
    if settled:
        settle_batch_norms(network, [seeded((2, 3, 64, 96), seed) for seed in range(3)])
    got, expected = outputs(network), outputs(trained)
    for name in OUTPUTS:
        scale = expected[name].abs().max()
        assert (got[name] - expected[name]).abs().max() < 1e-4 * scale, name
    # The new heads begin as the old ones.
    torch.testing.assert_close(got["neck_d"], got["root_d"])
    torch.testing.assert_close(got["neck_pose"], got["pose"])
    torch.testing.assert_close(got["depth_spread"], torch.full_like(got["depth_spread"], 0.1002588))


def test_weights_stored_as_fp16_are_read_too(exported: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.onnx"
    half.write_bytes(exported.read_bytes())
    store_half(half)
    whole, rounded = read_exported(exported), read_exported(half)
    assert whole.keys() == rounded.keys()
    for name, weights in whole.items():
        torch.testing.assert_close(rounded[name], weights, atol=1e-6, rtol=1e-3)


def test_the_shipped_bundle_can_be_trained_on() -> None:
    network = create("smap_lite", necks=True)
    load_initial(network, models_directory() / "smap_lite" / "model.onnx")
    assert torch.isfinite(outputs(network)["neck_pose"]).all()


def test_settled_batch_norms_make_training_mode_compute_the_same(exported: Path) -> None:
    network = create("smap_lite", **BACKBONE)
    load_exported(network, read_exported(exported))
    batch = seeded((4, 3, 64, 96), 5)
    with torch.no_grad():
        network.eval()
        expected = network(batch)["pose"]
        unsettled = (network.train()(batch)["pose"] - expected).abs().mean()
    network = create("smap_lite", **BACKBONE)
    load_exported(network, read_exported(exported))
    settle_batch_norms(network, [batch])
    with torch.no_grad():
        settled = (network.train()(batch)["pose"] - expected).abs().mean()
    assert settled < 1e-4 < unsettled


def test_other_files_and_networks_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stem.weight have shape \[32, 3, 3, 3\]; expected"):
        load_initial(create("smap_lite"), exported)
    left = {**read_exported(exported), "more.weight": torch.zeros(1)}
    with pytest.raises(InputError, match=r"more\.weight have no place"):
        load_exported(create("smap_lite", **BACKBONE), left)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:5000])
    with pytest.raises(InputError, match="can't read"):
        read_exported(damaged)
    with pytest.raises(InputError, match="can't read"):
        read_exported(tmp_path / "absent.onnx")


def test_a_checkpoint_without_necks_starts_a_run_with_them(
    trained: torch.nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    save_checkpoint(path, "smap_lite", trained.state_dict(), **BACKBONE)
    network = create("smap_lite", **BACKBONE, necks=True)
    load_initial(network, path)
    got = outputs(network)
    torch.testing.assert_close(got["neck_pose"], outputs(trained)["pose"])
    with pytest.raises(InputError, match="doesn't fit this network"):
        load_initial(create("smap_lite", backbone="movenet"), path)
    save_checkpoint(path, "smap_lite", {"pose.bias": torch.zeros(45)}, **BACKBONE)
    with pytest.raises(InputError, match="lacks weights"):
        load_initial(network, path)
