"""`smap-train record`: films of one detector and one --every in a folder, and none twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.bodies import BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError
from smap_ros.evaluation.common.films import read_film
from smap_train.cli import app
from tests.training.data.bodies import body, picture, scene, write_shard

BUNDLES = {"smap_lite": "a" * 64, "other": "b" * 64}


class Blind:
    """A detector that finds nobody, and counts what it is shown."""

    def __init__(self) -> None:
        self.looked = 0

    def estimate(self, image, camera, stamp):
        self.looked += 1
        return BodyFrame((), camera, stamp)


@pytest.fixture
def record(tmp_path, monkeypatch):
    """The command over a film of seven pictures: what it said, and how often it looked."""
    people = np.array([body(), body(0.7, 4.5)])
    labels = [{**scene(people), "sequence": "a", "stamp": k / 10} for k in range(7)]
    write_shard(tmp_path / "films", [(one, picture(people)) for one in labels])
    manifest = load_bundle("smap_lite").manifest

    def bundle(name):
        model = manifest.files.model.model_copy(update={"sha256": BUNDLES[name]})
        files = manifest.files.model_copy(update={"model": model})
        own = manifest.model_copy(update={"files": files, "name": name})
        return replace(load_bundle("smap_lite"), manifest=own)

    eyes = Blind()
    monkeypatch.setattr("smap_train.smoother.record.load_bundle", bundle)
    monkeypatch.setattr("smap_train.smoother.record.create_estimator", lambda *_, **__: eyes)

    def run(*words: object) -> tuple[str, int]:
        before = eyes.looked
        named = ["record", tmp_path / "films", tmp_path / "out", *words]
        done = CliRunner().invoke(app, [str(word) for word in named])
        if isinstance(done.exception, InputError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout, eyes.looked - before

    return run


def test_what_is_recorded_is_said_and_left_alone(record, tmp_path):
    assert record("--every", 3) == ("", 3)
    assert len(read_film(tmp_path / "out/shard-00000.npz")) == 3
    assert record("--every", 3) == (f"{tmp_path / 'out'}: 1 films are recorded already\n", 0)


def test_films_of_another_detector_or_rate_are_not_mixed(record, tmp_path):
    record("--every", 3)
    film = tmp_path / "out/shard-00000.npz"
    whole = film.read_bytes()
    words = r"recorded by the detector aaaaaaaaaaaa\.\.\., bundle other is b.*choose another folder"
    with pytest.raises(InputError, match=words):
        record("--every", 3, "--bundle", "other")
    words = "has 3 pictures; expected 7, .* --every 1.*choose another folder"
    with pytest.raises(InputError, match=words):
        record()
    assert film.read_bytes() == whole
    film.rename(film.with_name("of_another_folder.npz"))  # nor with those of other films
    with pytest.raises(InputError, match=r"of_another_folder\.npz was recorded by the detector"):
        record("--bundle", "other")
    film.write_bytes(whole[:300])
    with pytest.raises(InputError, match=r"shard-00000\.npz is no film of detections"):
        record()


def test_a_damaged_film_is_named(record, tmp_path):
    record()
    film = tmp_path / "out/shard-00000.npz"
    whole = film.read_bytes()
    refusals = []
    for at in range(200, len(whole), max(len(whole) // 60, 1)):
        film.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            record()
        except InputError as error:
            refusals.append(str(error))
    assert refusals and all("shard-00000.npz" in words for words in refusals)
