"""What converters are given beside plain checkpoints: other layouts, other files, parts missing."""

from __future__ import annotations

import argparse
import io
import math
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.convert import convert, convert_virtualpose
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, load_model
from smap_train.models.file_kinds import foreign_kind
from smap_train.weights import find_weights

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """RefineNet's, as if trained."""
    torch.manual_seed(0)
    network = create("refinenet")
    network(torch.randn(8, 75))
    return dict(network.state_dict())


def run(*words: object) -> tuple[str, str]:
    """Standard output and error of a command that succeeds."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def named(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def compiled_part(weights: Weights) -> Weights:
    return {key.replace("block.", "block._orig_mod."): value for key, value in weights.items()}


# Layout -> what is said about it; nothing of what is plain.
READ = {
    "Lightning": (lambda w: {"state_dict": named("model.", w)}, "took 'model.' off"),
    "an attribute": (lambda w: {"weights": named("net.", w)}, "took 'net.' off"),
    "compiled": (lambda w: named("_orig_mod.", w), "took '_orig_mod.' off"),
    "compiled part": (compiled_part, "took '_orig_mod.' off"),
    "doubled": (lambda w: {"model": named("module.module.", w)}, "took 'module.module.' off"),
    "many": (lambda w: named("module._orig_mod.model.", w), "took 'module._orig_mod.model.' off"),
    "averages only": (
        lambda w: {"epoch": 3, "model_ema": w},
        "took the averaged weights under 'model_ema'; the file holds no others",
    ),
    "averages deep": (
        lambda w: {"ema": {"decay": 0.99, "shadow": w}},
        "took the averaged weights under 'ema.shadow'",
    ),
    "averages beside": (
        lambda w: {"state_dict_ema": {k: v * 0 for k, v in w.items()}, "state_dict": w},
        "the file also holds averaged weights: --from state_dict_ema takes those",
    ),
    "two that fit": (
        lambda w: {"student": w, "teacher": {k: v * 0 for k, v in w.items()}},
        "took the weights under 'student'; there are others that fit as well: --from teacher takes",
    ),
    "twice the same": (lambda w: {"model": w, "best_model": dict(w)}, ""),
    "twice the same, once wrapped": (
        lambda w: {"model": w, "state_dict": named("module.", w)},
        "",
    ),
    "torch's averages": (
        lambda w: {"swa": {"n_averaged": torch.tensor(3), **named("module.", w)}},
        "took the averaged weights under 'swa'",
    ),
    "beside another network": (lambda w: {"model": {"a": torch.zeros(1)}, "refiner": w}, ""),
    "deep": (lambda w: {"checkpoint": {"model": {"state_dict": w}}}, ""),
    "with arguments": (lambda w: {"model": w, "args": argparse.Namespace(out=Path("a"))}, ""),
    "old batch norms": (
        lambda w: {k: v for k, v in w.items() if "num_batches_tracked" not in k},
        "",
    ),
}


@pytest.mark.parametrize(("layout", "said"), READ.values(), ids=READ.keys())
def test_weights_are_found_and_what_was_done_is_said(tmp_path, weights, layout, said):
    torch.save(layout(weights), tmp_path / "official.pth")
    _, notes = run("convert", "refinenet", tmp_path / "official.pth", tmp_path / "ours.pth")
    assert said in notes and bool(notes) == bool(said)
    assert notes.count("\n") == bool(said)
    got = load_checkpoint(tmp_path / "ours.pth")["state_dict"]
    counted = layout is not READ["old batch norms"][0]
    for key, value in weights.items():
        if counted or "num_batches_tracked" not in key:
            torch.testing.assert_close(got[key], value, rtol=0, atol=0)
        else:
            assert got[key] == 0 and got[key].dtype == torch.int64


def test_a_place_in_the_file_can_be_named(tmp_path, weights):
    doubled = {key: value * 2 for key, value in weights.items()}
    torch.save({"model": weights, "model_ema": doubled}, tmp_path / "official.pth")
    arguments = ("convert", "refinenet", tmp_path / "official.pth", tmp_path / "ours.pth")
    run(*arguments, "--from", "model_ema")
    got = load_checkpoint(tmp_path / "ours.pth")["state_dict"]
    assert all(torch.equal(got[key], value) for key, value in doubled.items())
    with pytest.raises(InputError, match="under 'ema'; there are some in 'model', 'model_ema'"):
        convert("refinenet", tmp_path / "official.pth", tmp_path / "ours.pth", "ema")


def test_safetensors_are_read(tmp_path, weights):
    save_file(weights, tmp_path / "official.bin", {"format": "pt"})
    convert("refinenet", tmp_path / "official.bin", tmp_path / "ours.pth")
    got = load_checkpoint(tmp_path / "ours.pth")["state_dict"]
    assert all(torch.equal(got[key], value) for key, value in weights.items())
    whole = (tmp_path / "official.bin").read_bytes()
    (tmp_path / "official.bin").write_bytes(whole[:-1000])
    with pytest.raises(InputError, match="damaged, cut off"):
        convert("refinenet", tmp_path / "official.bin", tmp_path / "ours.pth")


def test_a_file_that_was_cut_off_is_refused_without_torchs_advice(tmp_path, weights):
    file = tmp_path / "official.pth"
    torch.save(weights, file)
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"torch file \(its end is missing\)\. Fetch it again"):
        convert("refinenet", file, tmp_path / "ours.pth")


def web_page(path: Path) -> None:
    path.write_text("\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan</title></head>")


def pointer(path: Path) -> None:
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 365274784\n"
    )


def onnx_network(path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    onnx.save(helper.make_model(graph), path)


def torch_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/SMAP.pth", b"")
        archive.writestr("README.md", b"")


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("SMAP.pth"), io.BytesIO())


FOREIGN = {
    "web page": (web_page, r"is a web page \('Google Drive - Virus scan'\).*in a browser"),
    "LFS pointer": (pointer, "is a Git LFS pointer to a file of 365,274,784 bytes.*git lfs pull"),
    "ONNX": (onnx_network, "is an ONNX network.*take the torch checkpoint"),
    "TorchScript": (torch_script, r"is a TorchScript program, which is code.*torch\.jit\.load"),
    "zip": (zipped, r"is a zip archive that holds weights/SMAP\.pth: unpack it first"),
    "tar": (tarred, "is a tar archive: unpack it first"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(30)), "is a gzip archive: unpack"),
    "Keras": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(30)), "is an HDF5 file"),
    "arrays": (lambda p: np.savez(p.open("wb"), a=np.zeros(2)), "is an archive of numpy arrays"),
    "text": (lambda p: p.write_text("Error 403: quota exceeded"), "a text, which begins with 'Err"),
    "nothing": (lambda p: p.write_bytes(b""), "is empty"),
}


def test_an_archive_that_python_cannot_list_is_refused(tmp_path, weights):
    path = tmp_path / "official.pth"
    torch.save(weights, path)
    content = bytearray(path.read_bytes())
    content[content.find(b"PK\x01\x02") + 6] = 99  # the version that it takes to unpack it
    path.write_bytes(content)
    assert foreign_kind(path) == ""


@pytest.mark.parametrize(("write", "words"), FOREIGN.values(), ids=FOREIGN.keys())
def test_other_files_are_named_with_what_to_do(tmp_path, write, words):
    write(tmp_path / "official.pth")
    with pytest.raises(InputError, match=words) as refused:
        convert("refinenet", tmp_path / "official.pth", tmp_path / "o.pth")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "o.pth").exists()


@pytest.mark.parametrize("where", ["alone", "beside"])
def test_an_optimisers_state_is_told_from_weights(tmp_path, where):
    optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())
    state = optimizer.state_dict()
    content = state if where == "alone" else {"epoch": 3, "optimizer": state}
    torch.save(content, tmp_path / "official.pth")
    with pytest.raises(InputError, match=r"only an optimiser's state.*in another file of that run"):
        convert("refinenet", tmp_path / "official.pth", tmp_path / "o.pth")


def test_another_networks_checkpoint_is_recognised(tmp_path):
    torch.save(create("mobilehuman", backbone="LPWO", joints=21).state_dict(), tmp_path / "a.pth")
    words = "It fits: smap-train convert mobilehuman FILE OUT --set backbone=LPWO --set joints=21"
    with pytest.raises(InputError, match=words):
        convert("mobilehuman", tmp_path / "a.pth", tmp_path / "o.pth")
    with pytest.raises(InputError, match=words):
        convert("refinenet", tmp_path / "a.pth", tmp_path / "o.pth")


@pytest.mark.parametrize("model", ["smap_lite", "maed"])  # the latter adds a body of its own
def test_what_is_said_to_fit_can_be_converted(tmp_path, model):
    torch.save(create("smap_lite", necks=True).state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match="It fits: smap-train convert smap_lite FILE OUT") as told:
        convert(model, tmp_path / "a.pth", tmp_path / "o.pth")
    words = str(told.value).splitlines()[-1].split()[3:]
    files = {"FILE": tmp_path / "a.pth", "OUT": tmp_path / "o.pth"}
    run(*(files.get(word, word) for word in words))
    assert load_checkpoint(tmp_path / "o.pth")["options"] == {"necks": True}


def test_a_network_with_more_than_its_weights_fits_none(tmp_path):
    weights = {**create("refinenet").state_dict(), "more.weight": torch.zeros(3)}
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"1 unexpected:\n  more.weight \S+$"):
        convert("refinenet", tmp_path / "a.pth", tmp_path / "o.pth")


def test_parts_of_another_network_beside_are_no_surplus(tmp_path):
    """VirtualPose's official files hold a backbone, which its command leaves out."""
    own = create("virtualpose", joints=15).state_dict()
    torch.save({**own, "backbone.bias": torch.zeros(3)}, tmp_path / "a.pth")
    words = "It fits: smap-train convert virtualpose FILE OUT --set joints=15"
    with pytest.raises(InputError, match=words):
        convert("refinenet", tmp_path / "a.pth", tmp_path / "o.pth")


def test_a_network_that_never_saw_data_is_doubted(tmp_path):
    torch.save(create("refinenet").state_dict(), tmp_path / "official.pth")
    _, said = run("convert", "refinenet", tmp_path / "official.pth", tmp_path / "ours.pth")
    assert said.startswith("warning: refinenet in ") and "were never trained" in said


# --- checkpoints without the user's own body ----------------------------------------------------

BODIES = {
    "maed": ("decoder.smpl.", 9, {"image_size": 32, "width": 24, "depth": 1, "heads": 3}),
    "crowdnet": ("human_model_layer.", 7, {}),
}


@pytest.mark.parametrize("lacking", ["all", "one"])
@pytest.mark.parametrize("model", BODIES)
def test_a_checkpoint_without_the_body_waits_for_the_users(tmp_path, model, lacking):
    """A part of a body is as good as none: the user's file takes the place of all of it."""
    body, count, options = BODIES[model]
    if model == "maed":
        options = {**options, "blocks": [1, 1, 1]}
    state = create(model, **options).state_dict()
    own = [key for key in state if key.startswith(body)]
    assert len(own) == count
    for key in own if lacking == "all" else own[:1]:
        del state[key]
    torch.save({"state_dict": named("module.", state)}, tmp_path / "official.pth")
    summary = convert(model, tmp_path / "official.pth", tmp_path / "ours.pth", **options)
    assert f"no whole body model ({count} tensors" in summary.notes[0]
    assert "--smpl" in summary.notes[0]
    layer = load_model(tmp_path / "ours.pth").get_submodule(body.rstrip("."))
    floats = [b for b in layer.buffers() if b.is_floating_point() and b.numel() > 10]
    assert floats and all(bool(buffer.isnan().all()) for buffer in floats)


# --- VirtualPose's two files --------------------------------------------------------------------

SMALL = {
    "image_size": (128, 64),
    "map_size": (32, 16),
    "space_bins": (8, 8, 4),
    "person_bins": 4,
    "v2v_width": 2,
    "depth_stem_width": 4,
    "depth_head_width": 4,
}
SETTINGS = [f"{k}={v if isinstance(v, int) else ','.join(map(str, v))}" for k, v in SMALL.items()]


def official_virtualpose(path: Path, *, trained: str, joints: int = 17) -> None:
    """As the training code saves it: all parts, of which only some have seen data."""
    torch.manual_seed(len(trained))
    parts = {"": create("virtualpose", **SMALL, joints=joints)}
    parts["backbone."] = create("virtualpose_backbone", joints=joints)
    state = {f"{where}{k}": v for where, m in parts.items() for k, v in m.state_dict().items()}
    for key, value in state.items():
        if key.endswith("running_var") and key.split(".")[0] in trained.split():
            value.fill_(2.0)
    torch.save({"epoch": 40, "state_dict": state}, path)


@pytest.fixture(scope="module")
def two_files(tmp_path_factory) -> tuple[Path, Path]:
    """Both official files; the backbone's own size is 270 MB."""
    folder = tmp_path_factory.mktemp("official")
    official_virtualpose(folder / "behind.pth.tar", trained="REN PEN")
    official_virtualpose(folder / "backbone.pth.tar", trained="backbone")
    return folder / "behind.pth.tar", folder / "backbone.pth.tar"


def settings() -> list[str]:
    return [word for text in SETTINGS for word in ("--set", text)]


def test_virtualpose_is_converted_from_both_of_its_files(two_files, tmp_path):
    behind, backbone = two_files
    out = tmp_path / "virtualpose.pth"
    told, said = run("convert", "virtualpose", behind, out, "--backbone", backbone, *settings())
    assert said == ""
    assert f"{tmp_path / 'virtualpose_backbone.pth'}: virtualpose_backbone" in told
    official = torch.load(behind)["state_dict"], torch.load(backbone)["state_dict"]
    got = load_checkpoint(out), load_checkpoint(tmp_path / "virtualpose_backbone.pth")
    assert got[0]["options"]["map_size"] == [32, 16]
    for key, value in got[0]["state_dict"].items():
        assert torch.equal(value, official[0][key])
    for key, value in got[1]["state_dict"].items():
        assert torch.equal(value, official[1][f"backbone.{key}"])
    for written in tmp_path.iterdir():
        written.unlink()  # pytest keeps the folders of its last runs


def test_files_of_virtualpose_are_not_written_over(two_files, tmp_path):
    """One half's result would have taken the place of the other half's source."""
    behind, backbone = (tmp_path / name for name in ("all_backbone.pth", "other.pth"))
    behind.symlink_to(two_files[0])
    backbone.symlink_to(two_files[1])
    before = [path.read_bytes() for path in two_files]
    for out in (backbone, tmp_path / "all.pth"):
        with pytest.raises(InputError, match="got the input itself"):
            convert_virtualpose(behind, backbone, out, **SMALL)
    backbone.unlink()
    backbone.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="is a text"):
        convert_virtualpose(behind, backbone, tmp_path / "new.pth", **SMALL)
    assert [path.read_bytes() for path in two_files] == before
    assert {path.name for path in tmp_path.iterdir()} == {"all_backbone.pth", "other.pth"}


def test_one_file_for_both_halves_is_doubted(two_files, tmp_path):
    """By convert, by whichever commands."""
    behind, backbone = two_files
    out = tmp_path / "virtualpose.pth"
    _, said = run("convert", "virtualpose", backbone, out, "--backbone", backbone, *settings())
    assert "warning: REN and PEN in" in said and "are one file" in said
    _, said = run("convert", "virtualpose_backbone", behind, tmp_path / "backbone.pth")
    assert "warning: virtualpose_backbone in" in said and "comes as two" in said
    for written in tmp_path.iterdir():
        written.unlink()


def test_panoptics_settings_are_taken(tmp_path):
    """Its 15 joints and its cube of the world, as docs/models.md has them."""
    official_virtualpose(tmp_path / "a.pth", trained="REN PEN backbone", joints=15)
    panoptic = ["--set", "joints=15", "--set", "space_center_mm=0,-500,800"]
    words = ["convert", "virtualpose", tmp_path / "a.pth", tmp_path / "vp.pth", *settings()]
    run(*words, "--backbone", tmp_path / "a.pth", *panoptic)
    got = load_model(tmp_path / "vp.pth")
    assert (got.config.joints, got.config.space_center_mm) == (15, (0, -500, 800))
    backbone = load_checkpoint(tmp_path / "vp_backbone.pth")
    assert backbone["options"] == {"joints": 15}
    assert backbone["state_dict"]["final_layer.weight"].shape[0] == 15
    for written in tmp_path.iterdir():
        written.unlink()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.float8_e4m3fn])
def test_the_same_weights_in_two_places_are_no_others(kind):
    """Of any type, and also where some of them are no numbers."""
    one = {"a": torch.tensor([1.0, math.nan]).to(kind), "b": torch.ones((), dtype=kind)}
    twin = {"module." + key: value.clone() for key, value in one.items()}
    other = {**one, "b": torch.zeros((), dtype=kind)}
    for second, told in ((twin, False), (other, True), ({**one, "b": torch.ones(1)}, True)):
        notes = find_weights({"model": one, "state_dict": second}, Path("x.pth"), one).notes
        assert any("others that fit as well" in note for note in notes) is told
