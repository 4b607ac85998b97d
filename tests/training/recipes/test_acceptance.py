"""What every recipe must do: learn, stop and go on, become a bundle that runs, stay as it is.

One test a row of the table in docs/training.md, for each recipe on its tiny settings.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils._pytree import tree_map
from typer.testing import CliRunner

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.camera import Camera
from smap_ros.estimators import create_estimator
from smap_ros.temporal import BodySmoother, SmootherConfig
from smap_train.cli import app
from smap_train.engine.checkpoint import LAST, steps_done
from smap_train.engine.trainer import train
from smap_train.models.checkpoint import load_checkpoint
from smap_train.recipes.base import Recipe
from smap_train.recipes.registry import recipe_class
from tests.conftest import BRIGHT
from tests.training.test_smoother import shaky_film

from .tiny import STEPS, TINY, tiny

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
GOLDEN = Path(__file__).with_name("steps.json")
RECIPES = pytest.mark.parametrize("name", list(TINY))
# What 30 steps leave of the loss on samples that the run saw, at most.
LEARNT = {"refinenet": 0.5, "virtualpose_synthetic": 0.9}
# Terms that count for that, where it isn't all: PEN learns from candidates that REN finds, so its
# loss begins with nothing.
TERMS = {"virtualpose_synthetic": ("loss_depth", "loss_3d")}
# Whose numbers are taken in double precision: in single, after a step, they are a processor's own.
# Adam makes a whole step of a gradient that is nothing but rounding.
DOUBLE = {"crowdnet"}
FIRST_FEW = 3  # steps at which a run is stopped


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Callable[[str], Path]:
    """A recipe's own folder, with its data and its whole run."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        return made.setdefault(name, tmp_path_factory.mktemp(name))

    return of


@pytest.fixture(scope="module")
def trained(folder) -> Callable[[str], Path]:
    """Weights of a recipe's whole run; made once, however many tests look at them."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = train(tiny(name, folder(name)))
        return made[name]

    return of


def batch_of(recipe: Recipe[Any], count: int) -> Any:
    samples = recipe.dataset()
    collate = recipe.collate() or torch.utils.data.default_collate
    return collate([samples[k] for k in range(count)])


def losses(
    recipe: Recipe[Any], network: nn.Module, batch: Any
) -> tuple[dict[str, float], torch.Tensor]:
    """The terms of a batch's loss, and their weighted sum."""
    torch.manual_seed(0)  # of networks that draw
    terms = recipe.losses(network, batch, 0)
    weights = recipe.loss_weights()
    assert terms.keys() == weights.keys()
    loss = torch.stack([weights[key] * value for key, value in terms.items()]).sum()
    return {name: float(value.detach()) for name, value in terms.items()}, loss


@RECIPES
def test_thirty_steps_lower_the_loss(name, folder, trained):
    recipe = tiny(name, folder(name))
    batch = batch_of(recipe, 8)
    torch.manual_seed(0)
    first = recipe.network().train()
    last = load_trained(recipe, trained(name)).train()
    weights = recipe.loss_weights()
    before, after = (
        sum(weights[key] * terms[key] for key in TERMS.get(name, terms))
        for terms in (losses(recipe, network, batch)[0] for network in (first, last))
    )
    assert after < LEARNT.get(name, 0.85) * before, (before, after)
    assert steps_done(folder(name) / "run" / LAST) == STEPS


def load_trained(recipe: Recipe[Any], weights: Path) -> nn.Module:
    """The recipe's network with the weights of its run."""
    network = recipe.network()
    network.load_state_dict(load_checkpoint(weights)["state_dict"])
    return network


@RECIPES
def test_a_stopped_run_goes_on_to_the_bit(name, folder, tmp_path):
    data = folder(name)
    first = tiny(name, data, out=tmp_path / "whole")
    whole = load_checkpoint(train(first, stop_after=FIRST_FEW))["state_dict"]
    stopped = tiny(name, data, out=tmp_path / "stopped")
    train(stopped, stop_after=FIRST_FEW - 1)
    resumed = load_checkpoint(train(stopped, stop_after=FIRST_FEW))["state_dict"]
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0, msg=key)


def fixed_weights(network: nn.Module) -> None:
    """Numbers that no version of torch changes, of a size that signals survive."""
    random = np.random.default_rng(3)
    for key, value in network.named_parameters():
        drawn = random.standard_normal(value.shape).astype(np.float32)
        if value.ndim > 1:
            drawn *= (2 / np.prod(value.shape[1:])) ** 0.5
        else:
            drawn = 0.02 * drawn + np.float32(not key.endswith("bias"))
        value.data = torch.from_numpy(drawn).to(value.dtype)


def in_double(value: Any) -> Any:
    """Floating-point tensors with twice the bits; all else as it is."""
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.double() if floating else value


def step_numbers(name: str, folder: Path) -> dict[str, float]:
    """Losses of a fixed batch before and after one step, and the gradient's norm."""
    recipe = tiny(name, folder, learning_rate=1e-3)
    network = recipe.network().train()
    fixed_weights(network)
    batch = batch_of(recipe, 4)
    if name in DOUBLE:
        network.double()
        batch = tree_map(in_double, batch)
    optimizer = recipe.optimizer(recipe.parameter_groups(network))
    before, loss = losses(recipe, network, batch)
    loss.backward()
    gradients = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    optimizer.step()
    after, _ = losses(recipe, network, batch)
    return {
        **{f"before_{key}": value for key, value in before.items()},
        "gradient": float(torch.stack(gradients).norm()),
        **{f"after_{key}": value for key, value in after.items()},
    }


@RECIPES
def test_one_step_on_a_fixed_batch_is_the_recorded_one(name, folder):
    """After a change that is meant, run this file as a program: it writes the numbers anew."""
    recorded = json.loads(GOLDEN.read_text())[name]
    assert step_numbers(name, folder(name)) == pytest.approx(recorded, rel=5e-3, abs=1e-6)


def run(words: list[str]) -> str:
    """What a command of smap-train says."""
    result = CliRunner().invoke(app, words)
    if result.exception:
        raise result.exception
    return result.stdout


def exported(weights: Path, bundle: Path, *options: str) -> Bundle:
    run(["export", str(weights), str(bundle), *options])
    return load_bundle(bundle)


AFTER_ANOTHER = ("topdown", "mesh", "video")  # kinds that look at people whom another bundle finds
# virtualpose's bundle needs both of its stages: test_virtualpose_runs.py.
WITH_BUNDLE = [name for name in TINY if recipe_class(name).bundle_kind not in ("", "virtualpose")]


def smooths_the_people_of_a_film(bundle: Bundle) -> None:
    """With every delay, through the engine; wherever somebody was found, they are told."""
    film = shaky_film(0)
    for delay in bundle.manifest.delays:
        config = SmootherConfig(smoother="maed", delay=delay, smoother_bundle=str(bundle.folder))
        smoother, answers = BodySmoother(config), []
        for k, stamp in enumerate(film.stamps):
            answers += smoother.update(film.detections(k), float(stamp), k)
        answers += smoother.flush()
        assert [answer.note for answer in answers] == list(range(len(film)))
        for answer in answers:
            told = {person.body.joints_2d[0, 0]: person.body for person in answer.people}
            for body in film.detections(answer.note):
                mine = told[body.joints_2d[0, 0]].joints_3d
                assert not np.array_equal(mine, body.joints_3d)
                np.testing.assert_allclose(mine, body.joints_3d, atol=1.0)


@pytest.mark.parametrize("name", WITH_BUNDLE)
def test_its_bundle_runs_in_an_estimator(name, folder, trained, tmp_path, scene_maker, make_bundle):
    """On a picture in which the first stage, where there is one, finds three people.

    The exporter itself compares ONNX with torch.
    """
    scene = scene_maker([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]])
    recipe, run_folder = recipe_class(name), trained(name).parent
    kind = recipe.bundle_kind
    words = shlex.split(recipe.next_step(tiny(name, folder(name)).config, CONFIGS / "any.yaml"))
    assert words == ["smap-train", "export", str(run_folder), f"models/{run_folder.name}"]
    bundle = exported(run_folder, tmp_path / name)  # as it stands
    assert bundle.manifest.kind == kind
    if kind == "smoother":
        smooths_the_people_of_a_film(bundle)
        return
    options = {}
    if kind in AFTER_ANOTHER:
        options["first_stage"] = str(make_bundle(scene).folder)
    estimator = create_estimator(bundle, "onnxruntime", threads=1, **options)
    frame = estimator.estimate(scene.image(BRIGHT), scene.camera)
    estimator.close()
    assert frame.timings_ms["network"] > 0
    if kind in AFTER_ANOTHER:
        assert len(frame) == 3
        assert all(np.isfinite(body.joints_3d).any() for body in frame)


def test_smap_its_pairs_and_refinenet_become_one_bundle(trained, folder, tmp_path):
    """The whole paper: what 30 steps find (nothing is too faint) is what RefineNet learns from."""
    bundle = exported(trained("smap"), tmp_path / "smap").folder
    facts = yaml.safe_load((bundle / "bundle.yaml").read_text())
    assert (facts["input"]["width"], facts["input"]["height"]) == (160, 128)  # as it was trained
    facts["association"] = {"peak_threshold": 0.001, "paf_threshold": 0.0, "paf_min_share": 0.0}
    (bundle / "bundle.yaml").write_text(yaml.safe_dump(facts, sort_keys=False))
    data, pairs = folder("smap") / "smap", tmp_path / "pairs.json"
    words = ["--annotations", str(data / "annotations.json"), "--images", str(data)]
    run(["pairs", str(bundle), str(pairs), *words, "--engine", "onnxruntime"])
    config = CONFIGS / "refinenet.yaml"
    settings = [f"pairs={pairs}", "steps=3", "batch_size=4", "workers=0"]
    settings += ["held_out=null", "validate_every=0"]
    run(["fit", str(config), *settings, f"out={tmp_path / 'run'}"])
    refine = ("--refine", str(tmp_path / "run" / "refinenet.pth"))
    both = exported(trained("smap"), tmp_path / "both", *refine)
    assert both.manifest.files.refine is not None
    estimator = create_estimator(both, "onnxruntime", threads=1)
    image = cv2.imread(str(data / "images" / "000000.png"))
    frame = estimator.estimate(image, Camera(*image.shape[1::-1], 180, 180, 80, 60))
    estimator.close()
    assert frame.timings_ms["network"] > 0


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        numbers = {}
        for chosen in TINY:
            (own := Path(place) / chosen).mkdir()
            numbers[chosen] = step_numbers(chosen, own)
    GOLDEN.write_text(json.dumps(numbers, indent=1) + "\n")
