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

from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.engine.checkpoint import LAST, steps_done
from smap_train.recipes.registry import RECIPES, recipe_class

from ..recipes.pairs import pair

ROOT = Path(__file__).parents[3]
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


def test_fit_ends_with_the_line_that_exports(tmp_path):
    config = configuration(tmp_path)
    half = CliRunner().invoke(app, ["fit", str(config), "--stop-after", "2"])
    assert "the run isn't at its end; the same command goes on" in half.stdout
    whole = CliRunner().invoke(app, ["fit", str(config)])
    assert "the same command goes on" not in whole.stdout
    last = whole.stdout.splitlines()[-1]
    words = shlex.split(last.removeprefix("next: "))
    assert words[:2] == ["smap-train", "export"]
    assert words[-1] == str(tmp_path / "my run" / "refinenet.pth") and Path(words[-1]).is_file()


def test_a_run_whose_folder_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        result = CliRunner().invoke(app, ["fit", str(configuration(tmp_path, out=str(out)))])
        assert isinstance(result.exception, InputError | OSError)
        assert str(out) in str(result.exception)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_says_what_comes_next(name):
    words = recipe_class(name).next_step.format(weights="w.pth", run="r", record="run.json").split()
    assert words[:2] in (["smap-train", "export"], ["smap-train", "fit"])
    given = [word for word in words if word.startswith("--")]
    result = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"})
    for option in given:
        assert option in result.output, option
    kind = recipe_class(name).bundle_kind
    assert (words[2] == "w.pth") == bool(kind), "a part of a bundle is named by an option"


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
