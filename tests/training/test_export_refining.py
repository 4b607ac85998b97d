"""A refining network for a bundle: what the new bundle says of where it is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_train.cli import app
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint

OPTIONS = {"residual": True, "scores": True, "poses": True, "moves_root": True}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "refinenet.pth"
    save_checkpoint(path, "refinenet", create("refinenet", **OPTIONS).state_dict(), **OPTIONS)
    return path


def exported(checkpoint: Path, bundle: Path, *words: str):
    words = ("export", str(checkpoint), str(bundle), "--like", "smap_lite", *words)
    result = CliRunner().invoke(app, words)
    if result.exception:
        raise result.exception
    return load_bundle(bundle).manifest.provenance


def test_numbers_measured_with_the_old_network_do_not_stay(checkpoint, tmp_path):
    old = load_bundle("smap_lite").manifest.provenance
    made = exported(checkpoint, tmp_path / "mine")
    assert old.metrics and not made.metrics
    assert (made.data, made.command, made.commit) == (old.data, old.command, old.commit)


def test_what_is_stated_of_the_new_network_counts(checkpoint, tmp_path):
    metrics = {"recall_percent": {"value": 91.5, "command": "smap-ros evaluate mine"}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    record = {"commit": "0123abc", "config": {"seed": 5}, "data_hash": "ff" * 32}
    (tmp_path / "run.json").write_text(json.dumps(record))
    made = exported(
        checkpoint, tmp_path / "mine", "--data", "pairs of mine", "--command", "smap-train fit",
        "--metrics", str(tmp_path / "metrics.json"), "--record", str(tmp_path / "run.json"),
    )  # fmt: skip
    assert (made.data, made.command, made.commit) == ("pairs of mine", "smap-train fit", "0123abc")
    assert (made.seed, made.data_hash) == (5, "ff" * 32)
    assert {name: metric.value for name, metric in made.metrics.items()} == {"recall_percent": 91.5}
