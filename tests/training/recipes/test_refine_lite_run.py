"""The refining network of a bundle learns to undo its errors, and exports for any crowd."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.engine.trainer import train
from smap_train.export.common import load_network
from smap_train.export.precision import Part, write_parts
from smap_train.export.smap import refine_export
from smap_train.models.refinenet import RefineNet
from smap_train.recipes.registry import open_recipe

from ..refining.people import shrunken

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def settings(folder: Path) -> list[str]:
    shrunken(600, 0).save(folder / "pairs.npz")
    return [
        f"pairs={folder / 'pairs.npz'}", f"out={folder / 'run'}", "poses=500", "workers=0",
        "steps=200", "warmup=30", "validate_every=100", "batch_size=8", "threads=1",
        "learning_rate=0.005", "hidden=[128, 128]",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Trained for over a hundred steps; takes some seconds, the least that shows learning."""
    folder = tmp_path_factory.mktemp("refine_lite")
    train(open_recipe(CONFIGS / "refine_lite.yaml", settings(folder)))
    return folder / "run"


def test_training_undoes_the_errors(run):
    lines = [json.loads(line) for line in (run / "measures.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [100, 200]
    last = lines[-1]
    assert last["lifted_mm"] > 40  # the shrunken depth alone
    assert last["refined_mm"] < 0.7 * last["lifted_mm"]
    # Everybody was seen a tenth too far.
    assert last["lifted_distance_percent"] > 9
    assert last["refined_distance_percent"] < 0.5 * last["lifted_distance_percent"]


@pytest.mark.parametrize("half", [False, True])
def test_it_exports_for_any_number_of_people(run, tmp_path, half):
    import onnxruntime

    network = load_network(run / "refinenet.pth", RefineNet, "refinenet")
    part = Part("refinenet", refine_export(network), tmp_path / "refine.onnx")
    assert write_parts([part], half) < (1e-3 if half else 1e-4)
    session = onnxruntime.InferenceSession(tmp_path / "refine.onnx")
    name = session.get_inputs()[0].name
    for people in (1, 7):
        (out,) = session.run(None, {name: np.zeros((people, 135), np.float32)})
        assert out.shape == (people, 45)


def test_a_sample_mixes_simulated_and_measured_people_and_follows_from_its_place(tmp_path):
    recipe = open_recipe(CONFIGS / "refine_lite.yaml", settings(tmp_path))
    samples = recipe.dataset()
    inputs, targets = samples[5]
    assert inputs.shape == (64, 135) and targets.shape == (64, 45)
    torch.testing.assert_close(samples[5], (inputs, targets), rtol=0, atol=0, equal_nan=True)
    measured = {tuple(row) for row in recipe.measured.targets()[:, 3:9].round(3)}
    own = [tuple(row) in measured for row in targets.numpy()[42:, 3:9].round(3)]
    assert 3 < sum(own) < 22  # the others are seen in a mirror
    assert len(recipe.held_out) == 60 and len(recipe.measured) == 540
    held = {tuple(row) for row in recipe.held_out.targets()[:, 3:9].round(3)}
    assert not held & {tuple(row) for row in targets.numpy()[:, 3:9].round(3)}


def test_what_is_no_file_of_pairs_is_refused(tmp_path):
    def opened(name: str):
        return open_recipe(CONFIGS / "refine_lite.yaml", [f"pairs={tmp_path / name}"])

    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    whole = shrunken(5, 0)
    whole.save(tmp_path / "whole.npz")
    cut = (tmp_path / "whole.npz").read_bytes()[:-200]
    (tmp_path / "cut.npz").write_bytes(cut)
    whole.true[3, 2, 1] = np.nan
    whole.save(tmp_path / "nan.npz")
    shrunken(1, 0).save(tmp_path / "one.npz")
    shrunken(5, 0).save(tmp_path / "good.npz")
    good = dict(np.load(tmp_path / "good.npz"))
    np.savez(tmp_path / "size.npz", **{**good, "size": np.array([448])})
    np.savez(tmp_path / "none_wide.npz", **{**good, "size": np.array([0, -3])})
    np.savez(tmp_path / "scores.npz", **{**good, "scores": good["scores"] * np.float32(np.nan)})
    np.savez(tmp_path / "focal.npz", **{**good, "focal": good["focal"] * 0})
    np.savez(tmp_path / "mm.npz", **{**good, "true": good["true"] * 1000})
    for name, message in {
        "none.npz": "can't read .*none.npz: No such file",
        "text.npz": "is no whole archive",
        "other.npz": "doesn't hold people",
        "cut.npz": "is no whole archive",
        "nan.npz": "true of person 3 is no number",
        "one.npz": "holds one person",
        "size.npz": r"size is \[448\], expected width and height",
        "none_wide.npz": r"size is \[0, -3\], expected width and height",
        "scores.npz": "scores of person 0 is nan; expected 0 to 1",
        "focal.npz": "focal of person 0 is 0; expected 1 to 100000",
        "mm.npz": "true of person 0 is .*; expected -1000 to 1000",
    }.items():
        with pytest.raises(InputError, match=message):
            opened(name)
    with pytest.raises(InputError, match="set pairs to"):
        open_recipe(CONFIGS / "refine_lite.yaml", ["pairs=null"])


@pytest.mark.parametrize("kind", ["checkpoint", "bundle"])
def test_it_goes_on_from_a_finished_network(run: Path, tmp_path: Path, kind: str) -> None:
    start = run / "refinenet.pth"
    network = load_network(start, RefineNet, "refinenet").eval()
    if kind == "bundle":
        part = Part("refinenet", refine_export(network), tmp_path / "refine.onnx")
        write_parts([part], False)
        start = part.path
    recipe = open_recipe(CONFIGS / "refine_lite.yaml", [*settings(tmp_path), f"initial={start}"])
    began = recipe.network()
    people = torch.randn(6, 135)
    assert began.training
    with torch.no_grad():
        torch.testing.assert_close(began(people)["out"], network(people)["out"])


def test_a_network_of_other_widths_is_refused(run: Path, tmp_path: Path) -> None:
    other = [*settings(tmp_path), f"initial={run / 'refinenet.pth'}", "hidden=[64]"]
    with pytest.raises(InputError, match=r"doesn't fit this RefineNet of 135 inputs"):
        open_recipe(CONFIGS / "refine_lite.yaml", other).network()


def test_people_of_another_bundle_are_refused_before_training(tmp_path):
    replace(shrunken(60, 0), found_by="ab" * 32).save(tmp_path / "pairs.npz")
    words = [f"pairs={tmp_path / 'pairs.npz'}", "poses=50"]
    with pytest.raises(InputError, match=r"pairs.npz.* network abababababab.*smap_lite is "):
        open_recipe(CONFIGS / "refine_lite.yaml", [*words, "bundle=smap_lite"])
    assert len(open_recipe(CONFIGS / "refine_lite.yaml", [*words, "bundle=null"]).people) == 60
