"""MAED against the official one's outputs.

The golden clip has 16 frames of 224 x 224, and transformers of 3,152 tokens are no small matter:
about 10 s for the parallel mode (one thread), 5 to 10 s for each of the other modes, which
start from the same tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from smap_ros.errors import InputError
from smap_train.convert import convert
from smap_train.export import compare, one_input
from smap_train.export.maed import CLIP_OUTPUTS, TokenGraph
from smap_train.models import create
from smap_train.models.checkpoint import load_model
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.golden_body import (
    maed_constants,
    synthetic_body,
    synthetic_mean_parameters,
    synthetic_regressor,
)
from smap_train.models.layers.smpl import PARENTS
from smap_train.models.maed import Maed
from smap_train.models.maed.body import camera_translation
from smap_train.models.maed.decoder import IterativeDecoder, ancestors
from smap_train.models.maed.graphs import FrameGraph

MANIFESTS = {  # which holds the keys of each mode
    "parallel": "parallel",
    "series": "series",
    "coupling": "series",
    "vanilla": "vanilla",
    "temporal": "vanilla",
}
SMALL = {"image_size": 32, "width": 24, "depth": 2, "heads": 3, "blocks": (1, 1, 1)}


def folder(variant: str) -> Golden:
    return Golden(GOLDENS / "maed", f"manifest_{variant}.json")


def build(mode: str, weights: dict[str, Tensor]) -> Maed:
    """A network of that mode with its share of the parallel mode's weights: keys fill alike."""
    with torch.device("meta"):
        model = create("maed", mode=mode)
    keys = folder(MANIFESTS[mode]).shapes
    model.load_state_dict({key: weights[key] for key in keys}, strict=True, assign=True)
    return model.eval()


def errors(golden: Golden, prefix: str, outputs: dict[str, Tensor]) -> dict[str, float]:
    """Largest error of each output; those out of tolerance are infinite."""
    result = {}
    for name, value in outputs.items():
        error = golden.difference(prefix + name, value)
        result[name] = error.max_abs if error.within else torch.inf
    return result


def stored(golden: Golden, prefix: str) -> set[str]:
    """The names of a case's golden arrays."""
    endings = ("__idx8", "__shape", "__stats")
    names = {name.removesuffix("__sub") for name in golden.arrays if not name.endswith(endings)}
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """72 million numbers drawn by rule: about 2 s."""
    return folder("parallel").weights(maed_constants())


@pytest.fixture(scope="module")
def kept() -> dict[str, Tensor]:
    """Intermediate maps of the last run."""
    return {}


def watch(model: Maed, kept: dict[str, Tensor]) -> None:
    encoder = model.encoder
    layers = {
        "cnn": encoder.patch_embed.backbone,
        "patch": encoder.patch_embed,
        "block0": encoder.blocks[0],
        "block5": encoder.blocks[5],
    }
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *call, name=name: kept.__setitem__(name, call[2]))


@pytest.fixture(scope="module")
def parallel(weights, kept) -> tuple[Maed, dict[str, Tensor]]:
    """The network and all it gives for the golden clip."""
    model = build("parallel", weights)
    model.decoder.smpl.set_joint_regressors(
        synthetic_regressor("J_regressor_extra", 9), synthetic_regressor("J_regressor_h36m", 17)
    )
    watch(model, kept)
    with torch.inference_mode():
        outputs = model(folder("parallel").inputs((1, 16, 3, 224, 224)))
    return model, {**outputs, **kept}


@pytest.mark.parametrize("mode", MANIFESTS)
def test_state_dict_has_the_official_keys_in_order(mode):
    golden = folder(MANIFESTS[mode])
    with torch.device("meta"):
        model = create("maed", mode=mode)
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == golden.shapes
    assert list(model.state_dict()) == list(golden.shapes)
    assert {k: str(v.dtype) for k, v in model.state_dict().items()} == {
        name: f"torch.{dtype}" for name, _, dtype in golden.manifest["entries"]
    }
    assert sum(p.numel() for p in model.parameters()) == golden.manifest["total_params"]


@pytest.mark.parametrize("variant", ["parallel", "series", "vanilla"])
def test_filled_weights_are_those_of_the_golden_run(weights, variant):
    golden = folder(variant)
    drawn = [key for key in golden.shapes if ".smpl." not in key]
    total = sum(float(weights[key].double().abs().sum()) for key in drawn)
    assert total == pytest.approx(golden.manifest["checksum_abs_sum"], rel=1e-9)


@pytest.mark.slow
def test_parallel_mode_is_the_official_one(parallel):
    golden, prefix = folder("parallel"), "parallel_n1t16_"
    got = errors(golden, prefix, parallel[1])
    assert set(got) == stored(golden, prefix)
    assert max(got.values()) < 1e-3
    assert max(got["kp_3d"], got["verts"], got["kp_2d"], got["h36m_kp_3d"]) < 4e-4


@pytest.mark.slow
def test_clips_of_a_batch_are_the_official_ones(parallel):
    """Two clips of four: the golden images are the first eight of the longer clip."""
    model, outputs = parallel
    golden, prefix = folder("parallel"), "parallel_n2t4_"
    tokens = outputs["patch"][:8].unflatten(0, (2, 4))
    with torch.inference_mode():
        clips = model.from_tokens(tokens)
    got = errors(golden, prefix, {name: clips[name] for name in stored(golden, prefix)})
    assert max(got.values()) < 4e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "cases"),
    [
        ("series", [(1, 16), (2, 4)]),
        ("coupling", [(1, 16), (2, 4)]),
        ("vanilla", [(1, 2)]),
        ("temporal", [(1, 4)]),
    ],
)
def test_features_of_the_other_modes_are_the_official_ones(parallel, weights, mode, cases):
    tokens, golden, kept = parallel[1]["patch"], folder(MANIFESTS[mode]), {}
    model = build(mode, weights)
    watch(model, kept)
    for clips, length in cases:
        prefix = f"{mode}_n{clips}t{length}_"
        with torch.inference_mode():
            feature = model.encoder(tokens[: clips * length].unflatten(0, (clips, length)))
        outputs = {**kept, "feat": feature}
        names = stored(golden, prefix)
        assert names == ({"feat", "block0", "block5"} if length == 16 else {"feat"})
        got = errors(golden, prefix, {name: outputs[name] for name in names})
        assert max(got.values()) < 1e-3 and got["feat"] < 1e-4


def test_iterative_decoder_is_the_official_one():
    golden = folder("iterative")
    decoder = IterativeDecoder(2048).eval()
    assert list(decoder.state_dict()) == list(golden.shapes)
    body = {name.removeprefix("decoder."): value for name, value in maed_constants().items()}
    filled = golden.weights({**body, **synthetic_mean_parameters()})
    total = sum(float(v.double().abs().sum()) for k, v in filled.items() if "smpl." not in k)
    started = sum(float(v.double().abs().sum()) for v in synthetic_mean_parameters().values())
    assert total - started == pytest.approx(golden.manifest["checksum_abs_sum"], rel=1e-9)
    decoder.load_state_dict(filled, strict=True)
    decoder.smpl.set_joint_regressors(
        synthetic_regressor("J_regressor_extra", 9), synthetic_regressor("J_regressor_h36m", 17)
    )
    with torch.inference_mode():
        outputs = decoder(golden.inputs((4, 2048)))
    got = errors(golden, "iter_", {name: outputs[name] for name in stored(golden, "iter_")})
    assert max(got.values()) < 2e-5


def small(**options) -> Maed:
    """A network of a few thousand weights, beside the body."""
    torch.manual_seed(0)
    model = create("maed", **{**SMALL, **options}).eval()
    body = model.decoder.smpl
    body.set_body(synthetic_body())
    body.set_joint_regressors(synthetic_regressor("J_regressor_extra", 9))
    if isinstance(model.decoder, IterativeDecoder):
        model.decoder.set_mean(*synthetic_mean_parameters().values())
    return model


def clip(*shape: int) -> Tensor:
    return torch.randn(*shape, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("decoder", ["ktd", "iterative"])
def test_results_have_the_shapes_that_are_promised(decoder):
    model = small(decoder=decoder)
    with torch.inference_mode():
        got = {name: tuple(value.shape) for name, value in model(clip(2, 3)).items()}
    assert got == {
        "feat": (6, 24), "pose6d": (6, 144), "shape": (6, 10), "cam": (6, 3),
        "theta": (2, 3, 85), "kp_2d": (2, 3, 49, 2), "kp_3d": (2, 3, 49, 3),
        "verts": (2, 3, 6890, 3), "rotmat": (2, 3, 24, 3, 3),
    }  # fmt: skip


@pytest.mark.parametrize("mode", MANIFESTS)
def test_only_vanilla_mode_is_blind_to_other_frames_and_none_sees_other_clips(mode):
    model, images = small(mode=mode), clip(2, 3)
    with torch.inference_mode():
        before = model(images)["feat"]
        images[0, 2] = images[1, 0]
        changed = (model(images)["feat"] - before).abs().amax(dim=1) > 1e-6
    same_clip = mode != "vanilla"
    assert changed.tolist() == [same_clip, same_clip, True, False, False, False]


def test_projection_agrees_with_a_camera_of_5000_pixels():
    model = small()
    with torch.inference_mode():
        got = model(clip(1, 1))
    placed = got["kp_3d"][0, 0] + camera_translation(got["cam"])
    pixels = 5000 * placed[:, :2] / placed[:, 2:]
    torch.testing.assert_close(got["kp_2d"][0, 0] * 112, pixels, atol=1e-3, rtol=1e-5)


def test_ancestors_run_from_the_root_to_the_parent():
    assert ancestors(0) == []
    assert ancestors(20) == [0, 3, 6, 9, 13, 16, 18]
    assert ancestors(8) == [0, 2, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "serial"}, "mode 'serial' is unknown; expected parallel or series"),
        ({"decoder": "hmr"}, "decoder 'hmr' is unknown; expected ktd or iterative"),
        ({"image_size": 220}, "image size 220 must be a multiple of 16"),
        ({"width": 100}, "width 100"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(InputError, match=message), torch.device("meta"):
        create("maed", **options)


def test_wrong_clips_are_refused():
    model = small()
    with pytest.raises(InputError, match="17 frames; this encoder has learned positions of 16"):
        model(clip(1, 17))
    with pytest.raises(InputError, match=r"expected \(clips, frames, 3, height, width\)"):
        model(clip(2))
    with pytest.raises(InputError, match=r"expected \(frames, \(3, 32, 32\)\)"):
        model(clip(1, 2)[..., :16])
    with torch.inference_mode():
        assert small(mode="vanilla")(clip(1, 17))["theta"].shape == (1, 17, 85)


@pytest.mark.parametrize("mode", MANIFESTS)
@pytest.mark.parametrize("decoder", ["ktd", "iterative"])
def test_every_weight_learns(mode, decoder):
    model = small(mode=mode, decoder=decoder).train()
    outputs = model(clip(1, 3))
    sum(outputs[name].square().mean() for name in ("theta", "kp_2d", "kp_3d", "verts")).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The gradient at a joint that moves no other is in its own rotation, which theta has.
    assert idle == []
    broken = [name for name, p in model.named_parameters() if not p.grad.isfinite().all()]
    assert broken == []


@pytest.mark.parametrize("decoder", ["ktd", "iterative"])
def test_body_comes_from_a_folder_of_the_users_files(tmp_path, decoder):
    expected = small(decoder=decoder)
    torch.manual_seed(0)
    model = create("maed", **SMALL, decoder=decoder).eval()
    body = synthetic_body()
    np.savez(
        tmp_path / "SMPL_NEUTRAL.npz",
        J_regressor=body.joint_regressor,
        f=body.faces,
        kintree_table=np.array([PARENTS, range(24)]),
        **{k: v for k, v in vars(body).items() if k not in ("joint_regressor", "faces")},
    )
    with pytest.raises(InputError, match=r"J_regressor_extra\.npy is missing"):
        model.load_body(tmp_path)
    for name, rows in (("J_regressor_extra", 9), ("J_regressor_h36m", 17)):
        np.save(tmp_path / f"{name}.npy", synthetic_regressor(name, rows))
    mean = {k.removeprefix("init_"): v[0].numpy() for k, v in synthetic_mean_parameters().items()}
    np.savez(tmp_path / "smpl_mean_params.npz", **mean)
    model.load_body(tmp_path)
    with torch.inference_mode():
        got, reference = model(clip(1, 2)), expected(clip(1, 2))
    assert set(got) - set(reference) == {"h36m_kp_3d", "h36m_kp_2d"}
    for name, value in reference.items():
        assert torch.equal(got[name], value)


def official_file(path: Path, model: Maed) -> Path:
    """What MAED's trainer writes."""
    content = {
        "epoch": 3,
        "state_dict": {f"module.{key}": value for key, value in model.state_dict().items()},
        "performance": np.float64(78.5),
        "optimizer": torch.optim.Adam(model.parameters()).state_dict(),
    }
    torch.save(content, path)
    return path


def test_official_checkpoint_converts_and_gives_the_same_results(tmp_path):
    model = small()
    convert("maed", official_file(tmp_path / "official.pth", model), tmp_path / "ours.pt", **SMALL)
    images = clip(1, 2)
    with torch.inference_mode():
        got, expected = load_model(tmp_path / "ours.pt")(images), model(images)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert torch.equal(got[name], value)


@pytest.mark.slow
def test_onnx_graphs_agree_with_torch(tmp_path):
    """Exported in two parts, as in a video; about 15 s for both."""
    model = small(depth=1)
    model.decoder.smpl.set_joint_regressors(
        synthetic_regressor("J_regressor_extra", 9), synthetic_regressor("J_regressor_h36m", 17)
    )
    # Give the initial, nearly constant decoder something to say.
    for layer in model.decoder.joint_regs:
        torch.nn.init.normal_(layer.weight, std=0.1)
    frames = clip(4)
    graph, path = FrameGraph(model), tmp_path / "frame.onnx"
    export = one_input(graph, frames, ("tokens",))
    export.write(path)
    assert compare(export, path) < 1e-4
    with torch.inference_mode():
        tokens = graph(frames)["tokens"]
        torch.testing.assert_close(tokens, model.frame_tokens(frames), atol=1e-4, rtol=1e-4)
    clips, path = TokenGraph(model, "h36m17"), tmp_path / "clip.onnx"
    tokens = tokens.clone().unflatten(0, (1, 4))
    export = one_input(clips, tokens, CLIP_OUTPUTS, input_name="tokens")
    export.write(path)
    assert compare(export, path) < 1e-4
