"""Rotations, SMPL, its files, transformer blocks and weight-standardised convolutions."""

from __future__ import annotations

import math
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from smap_ros.errors import InputError
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.layers.resnetv2 import StdConv2d, bake_convolutions, same_pad
from smap_train.models.layers.rotations import (
    IDENTITY_6D,
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    quaternion_to_matrix,
    rot6d_to_matrix,
)
from smap_train.models.layers.smpl import PARENTS, Smpl, SmplBody
from smap_train.models.layers.smpl_files import (
    load_joint_regressor,
    load_mean_parameters,
    load_smpl,
)
from smap_train.models.layers.vit import Attention, Block
from smap_train.models.maed.body import SpinBody

vectors = st.tuples(*[st.floats(-3.0, 3.0, width=32)] * 3)


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(GOLDENS / "maed", "manifest_parallel.json")


@pytest.fixture(scope="module")
def body() -> SmplBody:
    return synthetic_body()


# --- rotations


def test_rotations_are_the_official_ones(golden):
    rotations = rot6d_to_matrix(torch.from_numpy(golden.arrays["geo_rot6d"]))
    angles = matrix_to_axis_angle(rotations)
    back = axis_angle_to_matrix(angles)
    assert golden.difference("geo_rotmat", rotations).max_abs < 1e-6
    assert golden.difference("geo_aa", angles).max_abs < 2e-6
    assert golden.difference("geo_aa_back", back.flatten(1)).max_abs < 2e-6


@given(st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6))
def test_any_six_numbers_make_a_rotation(numbers):
    rot6d = torch.tensor(numbers, dtype=torch.float64)
    pair = rot6d.reshape(3, 2)
    if torch.linalg.matrix_rank(pair, tol=1e-2) < 2:
        return  # two parallel columns span no plane
    matrix = rot6d_to_matrix(rot6d)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(matrix).item() == pytest.approx(1)
    torch.testing.assert_close(rot6d_to_matrix(matrix[:, :2].flatten()), matrix)


@given(vectors)
def test_axis_angle_survives_the_way_through_matrices(vector):
    """Up to a whole turn: the angle that comes back is within (-pi, pi]."""
    matrix = axis_angle_to_matrix(torch.tensor(vector, dtype=torch.float64))
    angle = matrix_to_axis_angle(matrix)
    assert torch.linalg.norm(angle) <= math.pi + 1e-6
    torch.testing.assert_close(axis_angle_to_matrix(angle), matrix, atol=1e-6, rtol=0)
    again = quaternion_to_matrix(matrix_to_quaternion(matrix))
    torch.testing.assert_close(again, matrix, atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
@pytest.mark.parametrize("degrees", [1, 90, 179, 180])
def test_turns_about_each_axis_use_each_of_the_four_cases(axis, degrees):
    vector = math.radians(degrees) * torch.tensor(axis, dtype=torch.float64)
    got = matrix_to_axis_angle(axis_angle_to_matrix(vector))
    torch.testing.assert_close(got.abs(), vector, atol=1e-6, rtol=0)


def test_a_batch_of_three_is_not_crossed_along_the_batch():
    rot6d = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        rot6d_to_matrix(rot6d), torch.stack([rot6d_to_matrix(one) for one in rot6d])
    )


def test_identity_has_finite_gradients():
    rot6d = torch.tensor(IDENTITY_6D, requires_grad=True)
    matrix = rot6d_to_matrix(rot6d)
    angle = matrix_to_axis_angle(matrix)
    assert angle.tolist() == [0, 0, 0]
    (angle.sum() + axis_angle_to_matrix(angle).sum()).backward()
    assert torch.isfinite(rot6d.grad).all()


def test_axis_angle_of_a_broken_rotation_is_zero():
    assert matrix_to_axis_angle(torch.full((2, 3, 3), torch.nan)).tolist() == [[0, 0, 0]] * 2


# --- the body


@pytest.fixture(scope="module")
def spin_body(body) -> SpinBody:
    layer = SpinBody()
    layer.set_body(body)
    layer.set_joint_regressors(synthetic_regressor("J_regressor_extra", 9))
    return layer


def test_synthetic_body_is_that_of_the_goldens(golden, body):
    arrays = (body.v_template, body.shapedirs, body.posedirs, body.joint_regressor, body.weights)
    arrays += (synthetic_regressor("J_regressor_extra", 9),)
    sums = [array.astype(np.float32).sum(dtype=np.float64) for array in arrays]
    np.testing.assert_allclose(sums, golden.arrays["smpl_checks"], rtol=1e-12)


def test_posed_bodies_are_the_official_ones(golden, spin_body):
    betas = torch.from_numpy(golden.arrays["smpl_betas"])
    pose = torch.from_numpy(golden.arrays["smpl_aa"]).unflatten(-1, (24, 3))
    vertices, joints = spin_body(betas, axis_angle_to_matrix(pose))
    assert golden.difference("smpl_verts", vertices).max_abs < 2e-6
    joints49 = spin_body.joints49(vertices, joints)
    assert golden.difference("smpl_joints49", joints49).max_abs < 2e-6


def test_both_layouts_pose_alike(golden, body, spin_body):
    other = Smpl("smplpytorch")
    other.set_body(body)
    assert list(other.state_dict()) == [
        f"th_{name}"
        for name in ("betas", "shapedirs", "posedirs", "v_template", "J_regressor", "weights",
                     "faces")
    ]  # fmt: skip
    betas = torch.from_numpy(golden.arrays["smpl_betas"])
    pose = torch.from_numpy(golden.arrays["smpl_aa"]).unflatten(-1, (24, 3))
    for a, b in zip(
        other(betas, axis_angle_to_matrix(pose)),
        spin_body(betas, axis_angle_to_matrix(pose)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    torch.testing.assert_close(other.faces, spin_body.faces)


def test_at_rest_the_body_is_its_template_and_a_turned_root_turns_all(body, spin_body):
    rest = torch.eye(3).repeat(2, 24, 1, 1)
    rest[1, 0] = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.5]))
    vertices, joints = spin_body(torch.zeros(2, 10), rest)
    template = torch.from_numpy(body.v_template).float()
    torch.testing.assert_close(vertices[0], template, atol=1e-5, rtol=0)
    root = joints[0, 0]
    turned = (template - root) @ rest[1, 0].T + root  # about the root joint, not the origin
    torch.testing.assert_close(vertices[1], turned, atol=1e-5, rtol=0)


def test_a_layer_without_a_body_gives_nan():
    vertices, _ = Smpl()(torch.zeros(1, 10), torch.eye(3).repeat(1, 24, 1, 1))
    assert torch.isnan(vertices).all()


def test_wrong_arrays_are_refused(body, spin_body):
    arrays = {**vars(body), "weights": body.weights[:, :20]}
    with pytest.raises(InputError, match=r"weights has shape \(6890, 20\), expected \(6890, 24\)"):
        SmplBody(**arrays)
    with pytest.raises(InputError, match=r"J_regressor_h36m: got \(9, 6890\)"):
        spin_body.set_joint_regressors(
            synthetic_regressor("J_regressor_extra", 9), synthetic_regressor("x", 9)
        )
    with pytest.raises(InputError, match="layout 'smplh'"):
        Smpl("smplh")


# --- its files


def smpl_dict(body: SmplBody) -> dict[str, object]:
    """The content of an official file, as plain arrays."""
    return {
        "v_template": body.v_template,
        "shapedirs": body.shapedirs,
        "posedirs": body.posedirs,
        "J_regressor": body.joint_regressor,
        "weights": body.weights,
        "f": body.faces.astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(24)]),
        "bs_type": "lrotmin",
    }


def assert_same_body(got: SmplBody, expected: SmplBody) -> None:
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(got, name), array, err_msg=name)


def test_body_is_read_from_an_archive_in_a_folder(tmp_path, body):
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **smpl_dict(body))
    assert_same_body(load_smpl(tmp_path), body)


@pytest.mark.parametrize("protocol", [1, 2, 4])
def test_body_is_read_from_the_official_pickle(tmp_path, body, monkeypatch, protocol):
    """Chumpy arrays and scipy matrices inside, neither of which is loaded as such."""
    chumpy = types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x

    Ch.__module__, Ch.__qualname__, chumpy.Ch = "chumpy.ch", "Ch", Ch
    content = smpl_dict(body)
    content["shapedirs"] = Ch(np.concatenate([body.shapedirs, body.shapedirs], axis=2))
    content["J_regressor"] = scipy.sparse.csc_matrix(body.joint_regressor)
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
        patch.setitem(sys.modules, "chumpy.ch", chumpy)
        file.write_bytes(pickle.dumps(content, protocol))
    assert_same_body(load_smpl(file), body)


class Code:
    """Runs a command when it is unpickled freely."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_pickle_with_code_is_refused_and_not_run(tmp_path):
    file, trace = tmp_path / "SMPL_NEUTRAL.pkl", tmp_path / "trace"
    file.write_bytes(pickle.dumps({"v_template": Code(f"touch {trace}")}))
    with pytest.raises(InputError, match=r"refused: it holds pickled Python code \(posix.system"):
        load_smpl(file)
    assert not trace.exists()


@pytest.mark.parametrize("gadget", [b"cbuiltins\neval\n(V1\ntR.", b"cnumpy\nload\n(V/x\ntR."])
def test_code_by_other_names_is_refused(tmp_path, gadget):
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    file.write_bytes(gadget)
    with pytest.raises(InputError, match="refused"):
        load_smpl(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as a pickle"),
        (b"not a pickle", "can't be read as a pickle"),
        (pickle.dumps([1, 2]), "got list, expected a dict"),
        (pickle.dumps({"f": 1}), "lacks v_template"),
    ],
)
def test_damaged_or_foreign_pickles_are_refused(tmp_path, content, message):
    file = tmp_path / "SMPL_NEUTRAL.pkl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_smpl(file)


def test_a_damaged_archive_is_refused(tmp_path):
    (tmp_path / "SMPL_NEUTRAL.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="can't be read as an SMPL body"):
        load_smpl(tmp_path)


def test_body_with_other_joints_is_refused(tmp_path, body):
    content = {**smpl_dict(body), "kintree_table": np.zeros((2, 52), int)}
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **content)
    with pytest.raises(InputError, match="has 52 joints"):
        load_smpl(tmp_path)


def test_missing_files_are_named_with_their_source(tmp_path):
    with pytest.raises(InputError, match=r"put SMPL_NEUTRAL.npz or SMPL_NEUTRAL.pkl there.*smpl"):
        load_smpl(tmp_path)
    with pytest.raises(InputError, match=r"put J_regressor_extra.npy there.*SPIN"):
        load_joint_regressor(tmp_path / "J_regressor_extra.npy", 9)
    with pytest.raises(InputError, match=r"put smpl_mean_params.npz there.*SPIN"):
        load_mean_parameters(tmp_path / "smpl_mean_params.npz")


def test_regressors_and_mean_parameters_are_read_and_checked(tmp_path):
    file = tmp_path / "J_regressor_h36m.npy"
    np.save(file, synthetic_regressor("J_regressor_h36m", 17))
    assert load_joint_regressor(file, 17).shape == (17, 6890)
    with pytest.raises(InputError, match=r"got \(17, 6890\), expected .* \(9, 6890\)"):
        load_joint_regressor(file, 9)
    np.save(file, np.array([{}]), allow_pickle=True)
    with pytest.raises(InputError, match="can't be read"):
        load_joint_regressor(file, 17)

    mean = tmp_path / "smpl_mean_params.npz"
    np.savez(mean, pose=np.ones(144), shape=np.zeros(10), cam=np.arange(3))
    pose, shape, camera = load_mean_parameters(mean)
    assert (pose.shape, shape.shape, camera.tolist()) == ((144,), (10,), [0, 1, 2])
    np.savez(mean, pose=np.ones(144))
    with pytest.raises(InputError, match="expected arrays of"):
        load_mean_parameters(mean)
    np.savez_compressed(mean, pose=np.random.default_rng(0).random(144))
    data = bytearray(mean.read_bytes())
    data[60:160] = bytes(100)
    mean.write_bytes(data)
    with pytest.raises(InputError, match="can't be read"):
        load_mean_parameters(mean)
    file.write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(InputError, match="can't be read"):
        load_joint_regressor(file, 17)
    Path(mean).write_bytes(b"PK")
    with pytest.raises(InputError, match="can't be read"):
        load_mean_parameters(mean)


# --- blocks and convolutions


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    attention, x = Attention(12, 3), torch.randn(2, 5, 12)
    q, k, v = attention.qkv(x).reshape(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(4)).softmax(-1)
    expected = attention.proj((weights @ v).transpose(1, 2).reshape(2, 5, 12))
    torch.testing.assert_close(attention(x), expected)


def test_dropped_paths_leave_samples_as_they_were_and_keep_the_mean():
    torch.manual_seed(0)
    block = Block(Attention(8, 2), 8, drop_path=0.4).train()
    torch.nn.init.zeros_(block.mlp.fc2.weight)
    torch.nn.init.zeros_(block.mlp.fc2.bias)
    x = torch.randn(1, 3, 8).expand(4000, -1, -1)
    change = (block(x) - x).detach()
    whole = (block.eval()(x) - x).detach()[0]
    kept = change.abs().amax(dim=(1, 2)) > 0
    assert kept.float().mean().item() == pytest.approx(0.6, abs=0.03)
    torch.testing.assert_close(change[kept][0], whole / 0.6)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(224, 7, 2, 2, 3), (112, 3, 2, 0, 1), (56, 3, 1, 1, 1), (55, 3, 2, 1, 1), (56, 1, 2, 0, 0)],
)
def test_same_padding_puts_the_odd_pixel_last(size, kernel, stride, before, after):
    column = torch.arange(1.0, size + 1).reshape(1, 1, size, 1).expand(-1, -1, -1, size)
    padded = same_pad(column, kernel, stride)[0, 0]
    assert padded.shape == (size + before + after,) * 2
    rows = padded[:, before]
    assert rows.tolist() == [0] * before + column[0, 0, :, 0].tolist() + [0] * after


def test_convolution_ignores_the_scale_and_mean_of_its_weights():
    torch.manual_seed(0)
    conv, x = StdConv2d(3, 8, 3, 2), torch.randn(1, 3, 9, 9)
    before = conv(x)
    with torch.no_grad():
        conv.weight.mul_(50).add_(3)
    torch.testing.assert_close(conv(x), before, atol=1e-3, rtol=1e-3)
    network: Tensor = torch.nn.Sequential(conv)
    expected = network(x)
    bake_convolutions(network)
    torch.testing.assert_close(network(x), expected)
    assert type(network[0]) is not StdConv2d
