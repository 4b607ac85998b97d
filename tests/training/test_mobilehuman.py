"""MobileHumanPose against the official networks' outputs."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from smap_ros.errors import InputError
from smap_ros.skeletons import H36M18, MUCO21
from smap_train.export import compare, one_input
from smap_train.models import create
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.layers.soft_argmax import soft_argmax_3d
from smap_train.models.mobilehuman import MobileHuman, coordinate_loss
from tests.training.exporting import official_flip

PARAMETERS = {
    ("LPSKI", 18): 3_500_064,
    ("LPSKI", 21): 3_524_736,
    ("LPRES", 18): 7_253_888,
    ("LPRES", 21): 7_303_232,
    ("LPWO", 18): 4_034_336,
    ("LPWO", 21): 4_083_680,
}
VARIANTS = pytest.mark.parametrize(("backbone", "joints"), list(PARAMETERS))
# Cells. In the 64^3 volumes the official outputs, float32, are 6e-4 beside float64's; so we compare
# with ours in float64: in float32 we would add what a processor's order of sums makes of them.
COORD_TOLERANCE = 1e-3


@cache
def load(backbone: str, joints: int) -> tuple[MobileHuman, Golden]:
    golden = Golden(GOLDENS / "mobilehumanpose", f"manifest_{backbone}_j{joints}.json")
    with torch.device("meta"):
        model = create("mobilehuman", backbone=backbone, joints=joints)
    model.load_state_dict(golden.weights(), strict=True, assign=True)
    return model.eval(), golden


@cache
def run(backbone: str, joints: int) -> dict[str, Tensor]:
    """Outputs for the golden input, in float64: up to 3 s."""
    model, golden = load(backbone, joints)
    with torch.inference_mode():
        return deepcopy(model).double()(golden.inputs().double())


@VARIANTS
def test_state_dict_has_the_official_keys_in_order(backbone, joints):
    model, golden = load(backbone, joints)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == golden.shapes
    assert list(model.state_dict()) == list(golden.shapes)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[backbone, joints]
    total = sum(float(v.double().abs().sum()) for v in model.state_dict().values())
    assert total == pytest.approx(golden.manifest["checksum_abs_sum"], rel=1e-9)


@VARIANTS
def test_volumes_and_coordinates_are_the_official_ones(backbone, joints):
    _, golden = load(backbone, joints)
    outputs, name = run(backbone, joints), f"{backbone}_j{joints}"
    assert golden.difference(f"{name}_heatmap", outputs["heatmap"]).max_abs < 1e-4
    # The official configuration must be told of the 64^3 volumes, ours knows.
    coord = f"{name}_coord" if backbone == "LPSKI" else f"{name}_coord_cfg64"
    assert golden.difference(coord, outputs["coord"]).max_abs < COORD_TOLERANCE


@pytest.mark.parametrize("joints", [18, 21])
@pytest.mark.parametrize("backbone", ["LPRES", "LPWO"])
def test_official_configuration_misreads_64_cubes_as_eight_times_the_people(backbone, joints):
    """What official evaluations of these variants report, unless they change the settings."""
    _, golden = load(backbone, joints)
    outputs = run(backbone, joints)
    misread = soft_argmax_3d(outputs["heatmap"].reshape(-1, joints, 32, 32, 32))
    assert len(misread) == 8 * len(outputs["coord"])
    name = f"{backbone}_j{joints}_coord_shipped_cfg32"
    assert golden.difference(name, misread).max_abs < COORD_TOLERANCE


@pytest.mark.parametrize("joints", [18, 21])
def test_flip_test_is_the_official_one(joints):
    model, golden = load("LPSKI", joints)
    with torch.inference_mode():
        mirrored = deepcopy(model).double()(golden.inputs().double().flip(-1))["coord"]
    coord = official_flip(run("LPSKI", joints)["coord"], mirrored, model.size, model.skeleton)
    error = golden.difference(f"LPSKI_j{joints}_coord_fliptest", coord)
    assert error.max_abs < COORD_TOLERANCE
    assert not torch.allclose(coord, run("LPSKI", joints)["coord"], atol=0.1)


@pytest.mark.parametrize("skeleton", [H36M18, MUCO21], ids=lambda s: s.name)
def test_flip_merge_of_a_perfect_network_changes_nothing(skeleton):
    body = torch.rand(2, len(skeleton), 3, generator=torch.Generator().manual_seed(0)) * 31
    mirrored = body[:, skeleton.flip.tolist()].clone()
    mirrored[..., 0] = 31 - mirrored[..., 0]
    merged = official_flip(body, mirrored, 32, skeleton)
    torch.testing.assert_close(merged[:, :17], body[:, :17])
    # Hands and feet are merged with the other side's, as officially: not to be used.
    assert torch.allclose(merged, body) == (skeleton is H36M18)


@pytest.mark.parametrize("joints", [18, 21])
@pytest.mark.parametrize(("name", "has_depth"), [("loss", 1.0), ("loss_nodepth", 0.0)])
def test_loss_is_the_official_one(joints, name, has_depth):
    _, golden = load("LPSKI", joints)
    coord, target, visible = (
        torch.from_numpy(golden.arrays[f"LPSKI_j{joints}_{part}"])
        for part in ("coord", "tgt_coord", "tgt_vis")
    )
    loss = coordinate_loss(coord, target, visible, torch.full((1, 1), has_depth))
    assert golden.difference(f"LPSKI_j{joints}_{name}", loss).max_abs < 1e-5


def test_soft_argmax_finds_a_sharp_maximum_and_the_middle_of_nothing():
    logits = torch.zeros(1, 2, 6, 8, 10)  # depth, rows, columns
    logits[0, 0, 1, 2, 7] = 1e4
    expected = torch.tensor([[[7.0, 2.0, 1.0], [4.5, 3.5, 2.5]]])
    torch.testing.assert_close(soft_argmax_3d(logits), expected)


def test_soft_argmax_sharpness_moves_the_mean_to_the_maximum():
    logits = torch.zeros(4, 4, 4)
    logits[0, 0, 3] = 3.0
    near = [float(soft_argmax_3d(logits, sharpness)[0]) for sharpness in (1.0, 2.0, 10.0)]
    assert near == sorted(near) and near[-1] == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize("backbone", ["LPSKI", "LPRES", "LPWO"])
def test_every_weight_learns(backbone):
    """Also LPRES, which the released code can't train."""
    torch.manual_seed(0)
    model = create("mobilehuman", backbone=backbone).train()
    image = torch.randn(2, 3, 64, 64)  # smaller than what the volumes are made for
    model.backbone(image).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_exported_network_agrees_with_torch(tmp_path):
    """Export and both runs of LPSKI: about 6 s."""
    model, golden = load("LPSKI", 18)
    path = tmp_path / "model.onnx"
    export = one_input(model, golden.inputs(), ("coord",))
    export.write(path)
    assert compare(export, path) < 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [o.shape for o in session.get_outputs()] == [[1, 18, 3]]
    (coord,) = session.run(["coord"], {"image": golden.inputs().numpy()})
    np.testing.assert_allclose(coord, golden.arrays["LPSKI_j18_coord"], atol=COORD_TOLERANCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "LPFAST"}, "unknown backbone 'LPFAST'; known: LPSKI, LPRES, LPWO"),
        ({"joints": 17}, "no set of 17 joints; known sizes: 15, 18, 21"),
    ],
)
def test_unknown_variant_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        create("mobilehuman", **options)
