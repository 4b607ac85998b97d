"""3DCrowdNet and HAP's variant of it against the official networks' outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from smap_ros.errors import InputError
from smap_ros.evaluation.common.metrics import procrustes
from smap_ros.skeletons import CROWD15
from smap_train.models import create
from smap_train.models.crowdnet.body import CrowdBody, camera_translation
from smap_train.models.crowdnet.graphs import OUTPUTS
from smap_train.models.crowdnet.guidance import joint_heatmaps
from smap_train.models.crowdnet.network import PoseGuidedNetwork
from smap_train.models.crowdnet.position import sample_map, sample_volume
from smap_train.models.crowdnet.rotation import joint_graph
from smap_train.models.crowdnet.vit import to_map
from smap_train.models.crowdnet.vposer import VPoser
from smap_train.models.golden import Golden, load_golden
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.layers.rotations import matrix_to_axis_angle, rot6d_to_matrix

PARAMETERS = {"crowdnet": 30_537_575, "hap_crowdnet": 99_912_167}
NOT_OUTPUTS = {
    "in_joints", "in_mask", "graph_adj", "fp64_maxabsdiff_early",
    "rot6d_in", "rot6d_aa", "align_A", "align_B", "rigid_align",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A network with golden weights, and all it computes for the golden input."""

    name: str
    network: PoseGuidedNetwork
    golden: Golden
    kept: dict[str, Tensor]

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        arrays = self.golden.arrays
        joints, mask = (torch.from_numpy(arrays[name]) for name in ("in_joints", "in_mask"))
        return self.golden.inputs(), joints, mask


@pytest.fixture(scope="module", params=list(PARAMETERS))
def run(request) -> Run:
    """Weights by rule and one run: 5 s for the vision transformer."""
    network, golden = load_golden(request.param)
    network.human_model_layer.set_joint_regressor(synthetic_regressor("J_regressor_extra", 9))
    result = Run(request.param, network, golden, {})
    watch(network, result.kept)
    with torch.inference_mode():
        result.kept.update(network(*result.inputs))
    return result


def watch(network: PoseGuidedNetwork, kept: dict[str, Tensor]) -> None:
    """Keep intermediate results under their official names."""

    def hook(module: torch.nn.Module, inputs: str = "", outputs: str = "") -> None:
        def keep(_, given, result) -> None:
            results = result if isinstance(result, tuple) else (result,)
            kept.update(zip(inputs.split(), given, strict=False))
            kept.update(zip(outputs.split(), results, strict=False))

        module.register_forward_hook(keep)

    hook(network.pose2feat, "early_feat joint_heatmap_in", "pose2feat")
    hook(network.position_net.conv, outputs="pos_heatmap")
    hook(network.position_net, outputs="joint_img joint_score")
    hook(network.rotation_net.graph_block, "graph_in", "graph_out")
    hook(network.rotation_net, outputs="root_6d z shape cam")
    hook(network.vposer, outputs="vposer_body_aa")
    if hasattr(network, "vit_conv_layer"):
        hook(network.vit_conv_layer, "vit_conv_in", "vit_conv_out")
        network.backbone.last_norm.register_forward_hook(
            lambda _, given, tokens: kept.update(late_feat=to_map(tokens))
        )
    else:
        hook(network.position_net, "late_feat")


def test_state_dict_has_the_official_keys_in_order(run):
    state = run.network.state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == run.golden.shapes
    assert list(state) == list(run.golden.shapes)
    assert sum(p.numel() for p in run.network.parameters()) == PARAMETERS[run.name]
    drawn = (v for k, v in state.items() if not k.startswith("human_model_layer."))
    total = sum(float(v.double().abs().sum()) for v in drawn)
    assert total == pytest.approx(run.golden.manifest["checksum_abs_sum"], rel=1e-6)


def test_outputs_and_intermediate_results_are_the_official_ones(run):
    names = {name.partition("__")[0] for name in run.golden.arrays} - NOT_OUTPUTS
    assert set(run.kept) == names
    errors = {name: run.golden.difference(name, run.kept[name]) for name in names}
    assert {name: e for name, e in errors.items() if e.max_rel > 1e-5} == {}


def test_joint_graph_is_the_official_one(run):
    np.testing.assert_allclose(joint_graph(CROWD15), run.golden.arrays["graph_adj"], atol=1e-7)


def test_rotations_are_the_official_ones(run):
    arrays = run.golden.arrays
    matrices = rot6d_to_matrix(torch.from_numpy(arrays["rot6d_in"]), 1e-12)
    assert run.golden.difference("rot6d_aa", matrix_to_axis_angle(matrices)).max_abs < 1e-4


def test_alignment_with_scale_is_the_official_one(run):
    points, target = run.golden.arrays["align_A"], run.golden.arrays["align_B"]
    aligned = torch.from_numpy(procrustes(points, target))
    assert run.golden.difference("rigid_align", aligned).max_abs < 1e-9


def test_three_people_get_the_rotations_that_each_alone_gets(run):
    """Officially a batch of three is turned wrongly: the cross product takes the batch axis."""
    latent = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = run.network.vposer(latent), [run.network.vposer(x[None]) for x in latent]
    torch.testing.assert_close(together, torch.cat(alone))


def test_unknown_joints_leave_no_trace(run):
    """Wherever a masked joint is said to be, and whatever its score: the result is the same."""
    _, joints, mask = run.inputs
    moved = torch.where(mask > 0, joints, torch.full_like(joints, 33.0))
    known = torch.cat([joints[..., :2], torch.zeros_like(mask)], dim=-1)
    maps = joint_heatmaps(joints, mask)
    assert torch.equal(joint_heatmaps(moved, mask), maps)
    assert torch.equal(joint_heatmaps(known, mask), maps)
    assert maps[mask[..., 0] == 0].abs().max() == 0


def test_samples_are_those_of_grid_sample():
    """What the official code calls, and ONNX lacks for volumes."""
    generator = torch.Generator().manual_seed(0)
    volumes = torch.rand(2, 5, 8, 8, 8, generator=generator)
    features = torch.rand(2, 7, 8, 8, generator=generator)
    positions = 7 * torch.rand(2, 5, 3, generator=generator)
    grid = positions / 7 * 2 - 1
    expected = torch.nn.functional.grid_sample(
        volumes.flatten(0, 1)[:, None], grid.view(10, 1, 1, 1, 3), align_corners=True
    )
    torch.testing.assert_close(sample_volume(volumes, positions), expected.view(2, 5, 1))
    expected = torch.nn.functional.grid_sample(features, grid[:, :, None, :2], align_corners=True)
    torch.testing.assert_close(sample_map(features, positions), expected[..., 0].transpose(1, 2))


def test_every_weight_learns_but_those_of_vposer_and_positions_not_through_the_body():
    torch.manual_seed(0)
    network = create("crowdnet").train()
    joints, mask = 64 * torch.rand(2, 30, 2), torch.ones(2, 30, 1)
    outputs = network.regress(torch.rand(2, 3, 256, 256), joints, mask)
    body = sum(outputs[f"out_{name}"].sum() for name in ("smpl_pose", "smpl_shape", "cam_param"))
    body.backward(retain_graph=True)
    assert network.position_net.conv[0].weight.grad is None
    outputs["out_joint_img"].square().mean().backward()
    idle = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert idle == {"vposer"}


def test_without_a_body_the_mesh_is_nan_and_the_joints_are_there():
    network = create("crowdnet").eval()
    with torch.inference_mode():
        outputs = network(torch.rand(1, 3, 256, 256), torch.zeros(1, 30, 2), torch.zeros(1, 30, 1))
    finite = {name for name, value in outputs.items() if bool(value.isfinite().all())}
    assert finite == {f"out_{name}" for name in OUTPUTS}
    assert bool(outputs["out_mesh_cam"].isnan().all())


def test_head_top_is_nan_until_its_regressor_is_set():
    body = CrowdBody()
    body.set_body(synthetic_body())
    people = torch.zeros(1, 72), torch.zeros(1, 10), torch.zeros(1, 3)
    joints = body.pose(*people).joints
    assert joints.isnan().any(-1).nonzero().tolist() == [[0, 29]]
    body.set_joint_regressor(synthetic_regressor("J_regressor_extra", 9))
    assert bool(body.pose(*people).joints.isfinite().all())
    with pytest.raises(InputError, match=r"got \(9, 100\), expected \(9, 6890\)"):
        body.set_joint_regressor(np.zeros((9, 100)))


def test_camera_puts_a_body_two_and_a_half_metres_wide_into_the_crop_at_most():
    translation = camera_translation(torch.tensor([[0.1, -0.2, 50.0], [0.0, 0.0, 0.0]]))
    expected = torch.tensor([[0.1, -0.2, 48.828125], [0.0, 0.0, 24.4140625]])
    torch.testing.assert_close(translation, expected)
    assert 256 * float(translation[0, 2]) / 5000 == pytest.approx(2.5)


def test_vposer_takes_the_users_file_and_refuses_another(tmp_path):
    torch.manual_seed(0)
    source, target = VPoser(), VPoser()
    torch.save({f"module.{k}": v for k, v in source.vposer.state_dict().items()}, tmp_path / "v.pt")
    target.load(tmp_path / "v.pt")
    latent = torch.randn(2, 32)
    assert torch.equal(source(latent), target(latent))
    assert source(latent).shape == (2, 69) and not source(latent)[:, 63:].any()
    torch.save({"decoder.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="is not VPoser v1:\n24 missing"):
        target.load(tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="is no VPoser: expected a mapping"):
        target.load(tmp_path / "list.pt")
