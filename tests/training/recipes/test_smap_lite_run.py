"""Training resumes exactly, its weights become a bundle, and both CPU runtimes agree with torch."""

import io
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines import create_engine
from smap_ros.errors import InputError
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_train import curve
from smap_train.cli import app
from smap_train.data.dataset import VirtualScene
from smap_train.engine.trainer import train
from smap_train.export import ExportOptions, export_smap_kind
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, load_model, save_checkpoint
from smap_train.models.finished import finished_lite
from smap_train.recipes.registry import open_recipe

STEPS = 4


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, scene: VirtualScene) -> Path:
    """One shard as `smap-train synth` writes it."""
    folder = tmp_path_factory.mktemp("shards")
    with tarfile.open(folder / "000000.tar", "w") as shard:
        for kind, data in (("jpg", scene.image), ("json", json.dumps(scene.labels).encode())):
            member = tarfile.TarInfo(f"000000.{kind}")
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return folder


def configuration(folder: Path, shards: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(
        f"recipe: smap_lite\nout: {folder / 'run'}\nvirtual: [{shards}]\nvirtual_share: 1.0\n"
        f"steps: {STEPS}\n"
        "width: 96\nheight: 64\nbatch_size: 2\nworkers: 0\ncheckpoint_every: 2\nkeep_every: 2\n"
        "backbone: efficientnet_lite0\n"
    )
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    return train(open_recipe(configuration(tmp_path_factory.mktemp("whole"), shards)))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_stopped_run_goes_on_exactly(
    trained: Path, tmp_path: Path, shards: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    overrides = [f"precision={precision}"]
    recipe = open_recipe(configuration(tmp_path, shards), overrides)
    halfway = load_checkpoint(train(recipe, stop_after=2))["state_dict"]
    capsys.readouterr()
    resumed = load_checkpoint(train(recipe))["state_dict"]
    shown = "".join(capsys.readouterr())
    assert f"{STEPS}/{STEPS}" in shown and f"1/{STEPS}" not in shown
    exact = load_checkpoint(trained)["state_dict"]
    if precision == "32-true":
        whole = exact
    else:
        again = [*overrides, f"out={tmp_path / 'whole'}"]
        whole = load_checkpoint(train(open_recipe(configuration(tmp_path, shards), again)))[
            "state_dict"
        ]
        assert any((whole[key] != exact[key]).any() for key in exact)
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=0, atol=0)
    assert any((halfway[key] != whole[key]).any() for key in whole)


def test_a_run_with_a_teacher_goes_on_exactly_and_keeps_its_statistics(
    trained: Path, tmp_path: Path, shards: Path
) -> None:
    """Its batch norms stay as the teacher's are, also in what is averaged and kept."""
    lessons = [
        f"initial={trained}", f"teacher={trained}", f"ordinary=[{shards}]", "ordinary_share=0.5",
        "frozen_norms=true",
    ]  # fmt: skip
    whole = load_checkpoint(train(open_recipe(configuration(tmp_path / "a", shards), lessons)))
    recipe = open_recipe(configuration(tmp_path / "b", shards), lessons)
    train(recipe, stop_after=2)
    resumed = load_checkpoint(train(recipe))["state_dict"]
    start = load_checkpoint(trained)["state_dict"]
    assert any((resumed[name] != start[name]).any() for name in start)
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(value, start[name], rtol=1e-5, atol=1e-6)


def test_a_run_records_what_determines_it(trained: Path) -> None:
    record = json.loads((trained.parent / "run.json").read_text())
    assert record["config"]["steps"] == STEPS
    assert len(record["data_hash"]) == 64
    assert record["commit"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stpes=3", "stpes: Extra inputs"),
        ("steps=0", "steps: Input should be greater than 0"),
        ("width=100", "width: Input should be a multiple of 32"),
        ("steps", "key=value"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(
    tmp_path: Path, shards: Path, override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_recipe(configuration(tmp_path, shards), [override])


@pytest.fixture(scope="module")
def sharpened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose outputs span useful ranges, so that relative errors mean something."""
    torch.manual_seed(0)
    model = create("smap_lite", backbone="efficientnet_lite0")
    model.load_pretrained()
    for head in (model.keypoints, model.affinities, model.bone_depth):
        torch.nn.init.normal_(head.weight, std=0.3)
    path = tmp_path_factory.mktemp("weights") / "lite.pth"
    save_checkpoint(path, "smap_lite", model.state_dict(), backbone="efficientnet_lite0")
    return path


@pytest.mark.parametrize("half", [False, True])
def test_the_exported_bundle_runs_like_torch_on_every_cpu_runtime(
    sharpened: Path, tmp_path: Path, half: bool
) -> None:
    """Takes some seconds: torch's exporter traces the network."""
    bundle, error = export_smap_kind(
        sharpened, tmp_path / "lite", ExportOptions(half=half, licence="Apache-2.0")
    )
    assert 1e-4 < error < 5e-3 if half else error < 1e-4
    size = (bundle.folder / "model.onnx").stat().st_size
    assert size < 7.5e6 if half else size > 12e6
    network = load_model(sharpened).eval()
    image = np.random.default_rng(0).standard_normal((1, 3, 256, 448)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image))
    tolerance = 2e-2 if half else 1e-3  # of fp16 weights against the fp32 ones
    for runtime in ("onnxruntime", "openvino"):
        engine = create_engine(load_bundle(bundle.folder), runtime, threads=1)
        got = engine.run({"image": image})
        for name, value in got.items():
            reference = expected[name].numpy()
            assert np.abs(value - reference).max() < tolerance * np.abs(reference).max(), runtime
        engine.close()


def test_a_refining_network_that_gives_nan_fails_the_export(
    sharpened: Path, tmp_path: Path
) -> None:
    """Takes some seconds: torch's exporter traces the network."""
    weights = create("refinenet").state_dict()
    for value in weights.values():  # all are numbers, what comes of them isn't
        if value.is_floating_point():
            value *= 1e38
    save_checkpoint(tmp_path / "refine.pth", "refinenet", weights)
    refine = ["--refine", str(tmp_path / "refine.pth")]
    result = CliRunner().invoke(app, ["export", str(sharpened), str(tmp_path / "out"), *refine])
    assert isinstance(result.exception, InputError)
    assert "ONNX Runtime and torch differ by nan" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_export_refuses_a_network_without_such_outputs(tmp_path: Path) -> None:
    path = tmp_path / "pretraining.pth"
    save_checkpoint(path, "hap_pretraining", {"weight": torch.zeros(1)})
    result = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "bundle")])
    assert isinstance(result.exception, InputError)
    assert "bundles can be made of smap, smap_lite" in str(result.exception)
    assert not (tmp_path / "bundle").exists()


def test_weights_kept_along_the_way_become_a_learning_curve(
    trained: Path, tmp_path: Path, shards: Path
) -> None:
    steps = curve.kept(trained.parent)
    assert list(steps) == [2, STEPS]
    first, last = (load_checkpoint(path)["state_dict"] for path in steps.values())
    final = load_checkpoint(trained)["state_dict"]
    assert all((last[key] == final[key]).all() for key in final)
    assert any((first[key] != last[key]).any() for key in final)
    point = curve.measure(steps[STEPS], STEPS, open_scenes(shards), [], engine="onnxruntime")
    assert point.step == STEPS and math.isnan(point.pck2d_percent)
    assert 0 <= point.recall_percent <= 100


def test_the_shipped_bundle_is_trained_on_and_keeps_what_goes_with_it(
    tmp_path: Path, shards: Path
) -> None:
    """As docs/first_training.md has it. Takes seconds: the network is exported three times."""
    settings = [
        "backbone=movenet", "initial=smap_lite", "necks=true", "frozen_norms=true",
        f"held_out=[{shards}]", "validate_every=3", "learning_rate=1e-12",
    ]  # fmt: skip
    weights = train(open_recipe(configuration(tmp_path, shards), settings), stop_after=3)
    lines = (weights.parent / "measures.jsonl").read_text().splitlines()
    first, last = map(json.loads, lines)
    assert (first.pop("step"), last.pop("step")) == (0, 3)
    assert first == pytest.approx(last, nan_ok=True) and "wrong_joints_percent" in first
    assert (weights.parent / "best.pth").exists()
    shipped = load_bundle("smap_lite")
    result = CliRunner().invoke(app, ["export", str(weights.parent), str(tmp_path / "mine")])
    assert result.exception is None
    mine = load_bundle(tmp_path / "mine")
    assert mine.read("refine") == shipped.read("refine")
    assert mine.model_hash != shipped.model_hash
    own = {"name", "description", "files", "input", "outputs", "precision", "licence", "provenance"}
    facts = [bundle.manifest.model_dump(exclude=own) for bundle in (mine, shipped)]
    assert {**facts[0], "version": ""} == {**facts[1], "version": ""}
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    with torch.no_grad():
        expected = load_model(weights)(torch.from_numpy(image))
        start = finished_lite(Path("smap_lite"))(torch.from_numpy(image))
    for name, value in start.items():
        torch.testing.assert_close(expected[name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("like", "message"),
    [("maed_smoother", "is of kind smoother"), ("nobody", "no bundle 'nobody'")],
)
def test_a_bundle_that_has_nothing_to_give_is_refused(
    sharpened: Path, tmp_path: Path, like: str, message: str
) -> None:
    words = ["export", str(sharpened), str(tmp_path / "out"), "--like", like]
    assert message in str(CliRunner().invoke(app, words).exception)


CONFIGS = Path(curve.__file__).parent / "configs"


@pytest.mark.parametrize(
    "path",
    [*sorted(CONFIGS.glob("smap_lite*.yaml")), CONFIGS / "my_camera.yaml"],
    ids=lambda p: p.stem,
)
def test_configurations_of_the_repository_are_accepted(path: Path) -> None:
    recipe = open_recipe(path)
    assert str(path.name) in path.read_text()  # it says how to run it
    assert recipe.config.steps > 0
