"""What `smap-train fit` says at the end, and the file for SLURM as bash runs it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.engine.checkpoint import LAST, steps_done
from smap_train.export import ExportOptions
from smap_train.recipes.base import Recipe
from smap_train.recipes.registry import RECIPES, recipe_config

from ..recipes.pairs import pair

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "training" / "configs"
SBATCH = ROOT / "training" / "slurm.sbatch"


def configuration(folder: Path, **settings: Any) -> Path:
    (folder / "pairs.json").write_text(json.dumps({"3d_pairs": [pair(k) for k in range(40)]}))
    chosen = {
        "recipe": "refinenet", "out": str(folder / "my run"), "pairs": str(folder / "pairs.json"),
        "steps": 4, "batch_size": 16, "workers": 0, "threads": 1, "checkpoint_every": 1, **settings,
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(chosen))
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_fit_ends_with_the_line_that_exports(tmp_path, monkeypatch):
    config = configuration(tmp_path, bundle="smap_lite")
    half = CliRunner().invoke(app, ["fit", str(config), "--stop-after", "2"])
    assert "the run isn't at its end; the same command goes on" in half.stdout
    whole = CliRunner().invoke(app, ["fit", str(config)])
    assert "the same command goes on" not in whole.stdout
    last = whole.stdout.splitlines()[-1]
    words = shlex.split(last.removeprefix("next: "))
    assert words == ["smap-train", "export", str(tmp_path / "my run"), "models/my_run"]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words[1:])
    if result.exception:
        raise result.exception
    shipped, made = load_bundle("smap_lite"), load_bundle(tmp_path / "models" / "my_run")
    assert made.model_hash == shipped.model_hash and made.read("refine") != shipped.read("refine")
    assert not made.manifest.refine_root and made.manifest.flip_test == shipped.manifest.flip_test


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    words = ["export", str(tmp_path / "run"), str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert "run.json is not the record of a training run" in str(result.exception)
    record = {"commit": "unknown", "config": {"recipe": "smap", "steps": 3, "out": "x"}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert "has no weights yet" in str(CliRunner().invoke(app, words).exception)
    record["config"]["stpes"] = 3
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert "doesn't fit the recipe" in str(CliRunner().invoke(app, words).exception)


def test_a_run_whose_folder_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        result = CliRunner().invoke(app, ["fit", str(configuration(tmp_path, out=str(out)))])
        assert isinstance(result.exception, InputError | OSError)
        assert str(out) in str(result.exception)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_says_what_comes_next(path):
    """A command that works as it stands: no words that are the user's to fill in."""
    recipe, config = recipe_config(path)
    words = shlex.split(recipe.next_step(config, path))
    assert words[0] == "smap-train"
    if words[1] == "export":
        assert words[2:] == [str(config.out), f"models/{config.out.name}"]
        assert recipe.bundle_kind or recipe.model in ("refinenet", "fusing")
        ExportOptions(**recipe.export_options(config))
    elif words[1] == "second-look":
        made = f"models/{config.out.name}"
        assert words[2:] == [str(config.out / "landmarks.pth"), made, "--like", "smap_lite"]
    elif words[1] == "fit":
        recipe_config(Path(words[2]), words[3:])
    else:
        assert words[1] == "recipes" and words[2] in RECIPES


@pytest.mark.parametrize("step", ["0", "-1"])
def test_fit_cannot_stop_before_its_first_step(tmp_path, step):
    """A run without end came of -1, and the whole one of 0."""
    result = CliRunner().invoke(app, ["fit", str(configuration(tmp_path)), "--stop-after", step])
    assert result.exit_code == 2 and "greater than or equal to 1" in result.output
    assert not (tmp_path / "my run").exists()


def test_measuring_without_held_out_records_is_refused_at_the_start(tmp_path):
    result = CliRunner().invoke(app, ["fit", str(configuration(tmp_path, validate_every=2))])
    assert isinstance(result.exception, InputError)
    words = "validate_every is 2, but held_out names nothing; set held_out to records of its own"
    assert words in str(result.exception)
    assert not (tmp_path / "my run").exists()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_that_is_measured_says_on_what(path):
    recipe, config = recipe_config(path)
    if config.validate_every:
        assert recipe.evaluate is not Recipe.evaluate
        assert getattr(config, "held_out", True)


@pytest.mark.slow  # a process of its own, for it forks a worker
def test_a_bad_record_that_a_worker_meets_is_told_in_one_line(tmp_path):
    config = configuration(tmp_path, workers=1)
    bad = [pair(k) for k in range(39)] + [pair(39, gt_3d=[[0, 0, float("nan")]] * 15)]
    (tmp_path / "pairs.json").write_text(json.dumps({"3d_pairs": bad}))
    done = subprocess.run(
        [sys.executable, "-m", "smap_train", "fit", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "record 39: gt_3d[0][2] is nan" in last
    assert last.endswith("on_bad=skip goes on without such records")
    assert "Traceback" not in done.stderr


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow  # torchrun imports torch twice
def test_slurm_ends_a_run_with_its_state_and_queues_it_again(tmp_path):
    """SLURM's commands are stand-ins of a line each; torchrun and the run are real."""
    config = configuration(tmp_path, steps=1_000_000)
    programs = tmp_path / "bin"
    programs.mkdir()
    program(programs, "srun", 'shift; exec "$@"')
    told = tmp_path / "told"
    program(programs, "scontrol", f'[ "$1" = show ] && echo localhost || echo "$@" >> "{told}"')
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    slurm = {"SLURM_JOB_NODELIST": "here", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "17"}
    process = subprocess.Popen(
        ["bash", str(SBATCH), str(config)],
        env={**os.environ, **slurm, "PATH": path, "GPUS": "1", "PORT": "0", "OMP_NUM_THREADS": "1"},
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    last = tmp_path / "my run" / LAST
    try:
        end = time.monotonic() + 240
        while not last.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, "no checkpoint came"
            time.sleep(0.1)
        process.send_signal(signal.SIGUSR1)
        _, complaint = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, complaint
    assert told.read_text().split() == ["requeue", "17"]
    assert f"the run stands at step {steps_done(last)}; the same command goes on" in complaint
    assert (tmp_path / "my run" / "refinenet.pth").is_file()
