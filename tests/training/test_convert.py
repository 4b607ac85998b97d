"""Official checkpoints through ``smap-train convert``: good, unfit, damaged and hostile ones."""

from __future__ import annotations

import json
import os
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_train import cli
from smap_train.convert import convert
from smap_train.models import REGISTRY, create
from smap_train.models.checkpoint import load_checkpoint, load_model, save_checkpoint


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """RefineNet's: the same code as for the others, in milliseconds."""
    torch.manual_seed(0)
    return dict(create("refinenet").state_dict())


def run(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``smap-train ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["smap-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def prefixed(weights):
    return OrderedDict((f"module.{key}", value) for key, value in weights.items())


def with_training_state(weights):
    parameters = [
        torch.nn.Parameter(value) for value in weights.values() if value.is_floating_point()
    ]
    optimizer = torch.optim.Adam(parameters, lr=2e-4)
    return {
        "model": prefixed(weights),
        "optimizer": optimizer.state_dict(),
        "iteration": 192_000,
        "loss": np.float64(1.25),
        "best": np.float32(0.5),
        "step": np.int64(7),
        "done": np.bool_(True),
    }


LAYOUTS = {
    "model": lambda w: {"model": w},
    "model, data parallel": lambda w: {"model": prefixed(w)},
    "state_dict": lambda w: {"state_dict": prefixed(w), "epoch": 3},
    "bare": lambda w: w,
    "bare, data parallel": prefixed,
    "with optimiser and numpy numbers": with_training_state,
    "double precision": lambda w: {"model": {k: v.double() for k, v in w.items()}},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_official_layouts_come_back_unchanged(tmp_path, weights, layout):
    torch.save(layout(weights), tmp_path / "official.pth")
    summary = convert("refinenet", tmp_path / "official.pth", tmp_path / "new" / "ours.pth")
    got = load_checkpoint(tmp_path / "new" / "ours.pth")
    assert (got["model"], got["options"]) == ("refinenet", {})
    assert list(got["state_dict"]) == list(weights)
    for key, value in weights.items():
        torch.testing.assert_close(got["state_dict"][key], value, rtol=0, atol=0)
    assert summary.parameters == 159_469
    assert json.loads((tmp_path / "new" / "ours.pth.json").read_text())["tensors"] == 30
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"ours.pth", "ours.pth.json"}


@pytest.mark.parametrize("spelling", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_numbers_of_old_and_new_numpy_are_read(tmp_path, weights, spelling):
    path = tmp_path / "official.pth"
    torch.save(
        {"model": weights, "loss": np.float64(1.25)}, path, _use_new_zipfile_serialization=False
    )
    pickled = path.read_bytes()
    here = np.float64.__reduce__(np.float64(1))[0].__module__
    assert here.encode() in pickled
    path.write_bytes(pickled.replace(here.encode() + b"\n", spelling.encode() + b"\n"))
    assert convert("refinenet", path, tmp_path / "ours.pth").tensors == 30


def test_full_smap_checkpoint_converts_by_command(tmp_path, monkeypatch, capsys):
    """The real size, 365 MB read and written: about 3 s."""
    with torch.device("meta"):
        shapes = create("smap").state_dict()
    model = {f"module.{k}": torch.zeros(v.shape, dtype=v.dtype) for k, v in shapes.items()}
    torch.save({"model": model}, tmp_path / "SMAP.pth")
    code, out, err = run(
        monkeypatch, capsys, "convert", "smap", tmp_path / "SMAP.pth", tmp_path / "smap.pth"
    )
    assert (code, err) == (0, "")
    assert "91,318,696 parameters in 1876 tensors" in out
    assert set(load_checkpoint(tmp_path / "smap.pth")["state_dict"]) == set(shapes)


# Of the large ones variants that have the same parts.
SMALL = {
    "smap": {"stages": 2, "width": 8},
    "virtualpose_backbone": {"depth": 18},
    "hap_pretraining": {"depth": 2, "decoder_depth": 1},
}


def official_file(path, model, options):
    """A checkpoint as training loops leave it, each tensor filled with a number of its own.

    All numbers of a tensor share one place in memory, so the file is small.
    """
    with torch.device("meta"):
        shapes = create(model, **options).state_dict()
    filled = {
        key: torch.tensor(number % 100).to(value.dtype).expand(value.shape)
        for number, (key, value) in enumerate(shapes.items())
    }
    state = with_training_state({"weight": torch.zeros(2)})
    torch.save({**state, "model": prefixed(filled)}, path)
    return filled


@pytest.mark.parametrize("model", REGISTRY)
def test_every_network_converts_from_the_official_layout(tmp_path, model):
    """Up to 400 MB are written: HAP's variant of 3DCrowdNet takes 2 s."""
    options = SMALL.get(model, {})
    weights = official_file(tmp_path / "official.pth", model, options)
    summary = convert(model, tmp_path / "official.pth", tmp_path / "ours.pth", **options)
    assert summary.tensors == len(weights)
    got = load_checkpoint(tmp_path / "ours.pth")
    assert (got["model"], got["options"]) == (model, options)
    assert list(got["state_dict"]) == list(weights)
    for key, value in got["state_dict"].items():
        assert (value.dtype, value.shape) == (weights[key].dtype, weights[key].shape)
        assert bool((value == weights[key]).all()), key
    (tmp_path / "ours.pth").unlink()  # pytest keeps the folders of its last runs


@pytest.mark.parametrize("model", [name for name in REGISTRY if name != "refinenet"])
def test_every_network_refuses_another_ones_checkpoint_readably(tmp_path, weights, model):
    torch.save({"model": prefixed(weights)}, tmp_path / "official.pth")
    message = rf"is not a checkpoint of '{model}':\n\d+ missing:\n  [\w.]+ \[[\d, ]*\]\n"
    with pytest.raises(InputError, match=message) as refused:
        convert(model, tmp_path / "official.pth", tmp_path / "o.pth")
    assert "30 unexpected:\n  block.layer1.0.weight [160, 75]\n" in str(refused.value)


@pytest.mark.parametrize("model", REGISTRY)
def test_every_network_refuses_pickled_code(tmp_path, model):
    witness = tmp_path / "witness"
    torch.save({"model": {}, "hook": Hostile(f"touch {witness}")}, tmp_path / "official.pth")
    with pytest.raises(InputError, match="refused: it holds pickled Python code"):
        convert(model, tmp_path / "official.pth", tmp_path / "o.pth")
    assert not witness.exists()


def test_missing_unexpected_and_wrongly_shaped_keys_are_named(
    tmp_path, weights, monkeypatch, capsys
):
    unfit = dict(weights)
    del unfit["block.layer2.1.running_mean"]
    unfit["block.layer9.weight"] = torch.zeros(3, 4)
    unfit["block.layer5.bias"] = torch.zeros(51)
    torch.save({"model": prefixed(unfit)}, tmp_path / "official.pth")
    code, out, err = run(
        monkeypatch, capsys, "convert", "refinenet", tmp_path / "official.pth", tmp_path / "o.pth"
    )
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"error: {tmp_path / 'official.pth'} is not a checkpoint of 'refinenet':",
        "1 missing:",
        "  block.layer2.1.running_mean [256]",
        "1 unexpected:",
        "  block.layer9.weight [3, 4]",
        "1 wrong shape:",
        "  block.layer5.bias: got [51], expected [45]",
    ]
    assert not (tmp_path / "o.pth").exists()


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64])
def test_numbers_that_are_no_weights_are_named(tmp_path, weights, kind):
    unfit = {**weights, "block.layer5.bias": torch.zeros(45, dtype=kind)}
    torch.save({"model": unfit}, tmp_path / "official.pth")
    words = rf"1 no weights:\n  block.layer5.bias: got {kind}, expected torch.float32"
    with pytest.raises(InputError, match=words):
        convert("refinenet", tmp_path / "official.pth", tmp_path / "o.pth")
    halves = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    torch.save({"model": halves}, tmp_path / "halves.pth")
    convert("refinenet", tmp_path / "halves.pth", tmp_path / "o.pth")


def test_a_long_list_of_keys_is_cut_and_counted(tmp_path, weights):
    torch.save({"model": weights}, tmp_path / "official.pth")
    with pytest.raises(InputError, match=r"1876 missing:\n(.*\n){40}  \.\.\. and 1836 more") as got:
        convert("smap", tmp_path / "official.pth", tmp_path / "o.pth")
    assert "30 unexpected:" in str(got.value)


class Hostile:
    """Runs a shell command when unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_not_run(tmp_path, weights, monkeypatch, capsys, zipped):
    path, witness = tmp_path / "official.pth", tmp_path / "witness"
    content = {"model": weights, "hook": Hostile(f"touch {witness}")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    code, out, err = run(monkeypatch, capsys, "convert", "refinenet", path, tmp_path / "o.pth")
    assert (code, out) == (2, "")
    assert "refused: it holds pickled Python code" in err and "system" in err
    assert err.count("\n") == 1
    assert not witness.exists() and not (tmp_path / "o.pth").exists()


def whole_module(weights):
    """A network pickled as an object, as ``torch.save(model)`` does."""
    return create("refinenet")


UNUSABLE = {
    "whole module": (whole_module, "refused: it holds pickled Python code"),
    "no weights": (lambda w: {"epoch": 3, "loss": 0.5}, "holds no weights.*got 'epoch', 'loss'"),
    "list": (lambda w: [1, 2], "holds no weights.*got no mapping"),
    "empty": (lambda w: {}, "holds no weights.*got an empty mapping"),
    "twice": (lambda w: {**w, **prefixed(w)}, "holds some weights twice"),
    "meta": (lambda w: {k: v.to("meta") for k, v in w.items()}, "holds no weights"),
    "nan": (
        lambda w: {**w, "block.layer5.bias": torch.full((45,), torch.nan)},
        "NaN or infinite weights in: block.layer5.bias",
    ),
}


@pytest.mark.parametrize(("content", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_content_is_refused(tmp_path, weights, content, message):
    torch.save(content(weights), tmp_path / "official.pth")
    with pytest.raises(InputError, match=message):
        convert("refinenet", tmp_path / "official.pth", tmp_path / "o.pth")
    assert [p.name for p in tmp_path.iterdir()] == ["official.pth"]


@pytest.mark.parametrize("zipped", [True, False])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_off_and_altered_files_are_refused_or_read_never_crash(tmp_path, weights, zipped, data):
    path = tmp_path / "official.pth"
    torch.save({"model": weights}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(InputError, match=r"damaged|empty|refused|no weights|can't read"):
            convert("refinenet", path, tmp_path / "o.pth")
        return
    altered = bytearray(whole)
    near = st.integers(0, min(4000, len(whole)) - 1)  # where the pickle is
    for _ in range(data.draw(st.integers(1, 8))):
        altered[data.draw(near)] = data.draw(st.integers(0, 255))
    path.write_bytes(altered)
    try:
        convert("refinenet", path, tmp_path / "o.pth")
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017 - harmless changes may convert


def test_wrong_paths_are_refused(tmp_path, weights):
    source = tmp_path / "official.pth"
    with pytest.raises(InputError, match="doesn't exist"):
        convert("refinenet", source, tmp_path / "o.pth")
    torch.save(weights, source)
    with pytest.raises(InputError, match="got a folder"):
        convert("refinenet", source, tmp_path)
    with pytest.raises(InputError, match="got the input itself"):
        convert("refinenet", source, source)
    with pytest.raises(InputError, match="can't write checkpoint"):
        convert("refinenet", source, source / "inside_a_file.pth")


def test_unknown_model_is_named_by_the_command(tmp_path, monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, "convert", "smpa", tmp_path / "a", tmp_path / "b")
    assert code == 2
    assert err.startswith("error: unknown model 'smpa'; known models: smap, refinenet")


def test_model_options_are_kept(tmp_path):
    """A one-stage network loads back as such; 23 million weights."""
    torch.manual_seed(0)
    weights = create("smap", stages=1, width=8).state_dict()
    save_checkpoint(tmp_path / "small.pth", "smap", weights, stages=1, width=8)
    model = load_model(tmp_path / "small.pth")
    assert not model.training
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_official_files_must_be_converted_before_loading(tmp_path, weights):
    torch.save({"model": weights}, tmp_path / "official.pth")
    with pytest.raises(InputError, match="Convert official files first: smap-train convert"):
        load_checkpoint(tmp_path / "official.pth")


def test_weights_of_another_network_are_not_loaded(tmp_path, weights):
    save_checkpoint(tmp_path / "a.pth", "refinenet", {**weights, "extra": torch.zeros(1)})
    with pytest.raises(InputError, match="1 unexpected:\n  extra"):
        load_model(tmp_path / "a.pth")


def test_lazy_commands_run_with_their_own_arguments(monkeypatch):
    module = types.ModuleType("made_for_this_test")

    def train(config: str, steps: int = 1) -> None:
        """Train something."""
        typer.echo(f"{config} {steps}")

    module.run = train
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    app = typer.Typer()
    app.command("other")(lambda: None)
    cli.add_lazily(app, "fit", "made_for_this_test:run", "Train.")
    cli.add_lazily(app, "absent", "no_such_package.module:run", "Not here.")
    runner = CliRunner()
    assert runner.invoke(app, ["fit", "a.yaml", "--steps", "3"]).output == "a.yaml 3\n"
    assert "--steps" in runner.invoke(app, ["fit", "--help"]).output
    assert runner.invoke(app, ["fit", "--wrong"]).exit_code == 2
    listed = runner.invoke(app, ["--help"]).output
    assert "fit" in listed and "absent" not in listed
