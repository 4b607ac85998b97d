"""A bundle whose pictures several workers look at is measured as by one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.cli.app import app
from smap_ros.errors import InputError
from smap_ros.evaluation.pck2d.truth import PhotoFiles

from ..conftest import label_of, person_at, tar

ROOT = Path(__file__).parents[3]
PEOPLE = np.array([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]])
NEEDS_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="pip install 'smap-ros[ray]'"
)


@pytest.fixture
def data(tmp_path, scene_maker, make_bundle) -> tuple[Path, Path]:
    """A bundle, and a shard of 40 pictures in every third of which it sees three people."""
    scene = scene_maker(PEOPLE)
    truth = [
        {**label_of(person_at(0, 4)), "joints_3d": joints.tolist(), "id": k, "box": [0, 0, 99, 200],
         "joints_2d": scene.camera.project(joints).tolist()}
        for k, joints in enumerate(scene.joints)
    ]  # fmt: skip
    files: dict[str, bytes] = {}
    for k in range(40):
        picture = cv2.imencode(".jpg", scene.image(250 if k % 3 == 0 else 90))[1].tobytes()
        labels = {"camera": scene.camera.to_json(), "people": truth}
        files |= {f"{k:06d}.jpg": picture, f"{k:06d}.json": json.dumps(labels).encode()}
    folder = tmp_path / "shards"
    folder.mkdir()
    tar(folder / "shard-00000.tar", files)
    return Path(make_bundle(scene).folder), folder


def measured(words: list[str], report: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*words, "--report", str(report)])
    if result.exception:
        raise result.exception
    numbers = json.loads((report / "report.json").read_text())
    assert numbers.pop("command").startswith("smap-ros evaluate")
    return numbers


def words(data: tuple[Path, Path]) -> list[str]:
    start = ["evaluate", "-p", "virtual", *map(str, data)]
    return [*start, "--engine", "onnxruntime", "--threads", "1"]


def test_two_processes_report_what_one_does(data, tmp_path):
    one = measured(words(data), tmp_path / "one")
    two = measured([*words(data), "--jobs", "2"], tmp_path / "two")
    assert one == two
    assert one["images"] == 40 and one["images_skipped"] == 0
    assert "scene" in one["predictions"]  # what the workers loaded


@pytest.mark.slow  # a cluster starts in seconds
@NEEDS_RAY
def test_a_cluster_reports_what_one_process_does(data, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    one = measured(words(data), tmp_path / "one")
    ray = measured([*words(data), "--ray", "local", "--jobs", "2"], tmp_path / "ray")
    assert one == ray


def test_what_cannot_be_shared_out_is_refused(data, tmp_path):
    bundle, folder = data
    (tmp_path / "bodies.json").write_text('{"frames": []}')
    for given in (
        [str(tmp_path / "bodies.json"), str(folder), "-p", "virtual"],
        [str(bundle), str(folder), "-p", "views"],
    ):
        with pytest.raises(InputError, match="--jobs and --ray"):
            measured(["evaluate", *given, "--jobs", "2"], tmp_path / "report")


def test_photos_of_an_archive_travel_by_its_name(tmp_path):
    import pickle
    import zipfile

    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("images/a.jpg", b"a photo")
    files = pickle.loads(pickle.dumps(PhotoFiles(tmp_path / "photos.zip")))
    assert files.read("images/a.jpg") == b"a photo"
