"""What training keeps from itself is what evaluation measures on."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.cli.evaluate import HELD_OUT
from smap_ros.evaluation.pck2d.measures import last
from smap_ros.evaluation.pck2d.truth import read_lspet
from smap_train.data.dataset import VirtualScene
from smap_train.data.people import load_lspet
from smap_train.data.photo_people import PhotoData
from smap_train.recipes.mobilehuman import MobileHumanConfig, MobileHumanRecipe
from smap_train.recipes.smap_lite import SmapLiteConfig, training_set

NAMES = [
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder",
    "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top",
]  # fmt: skip
COUNT = 40


@pytest.fixture(scope="module")
def sports(tmp_path_factory: pytest.TempPathFactory) -> PhotoData:
    """Photos with 4 to 14 labelled joints, each photo of its own brightness."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("lspet")
    images = []
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for k in range(COUNT):
            joints = np.ones((14, 3))
            joints[:, :2] = rng.uniform(10, 90, (14, 2))
            joints[rng.permutation(14)[: rng.integers(11)], 2] = 0
            name = f"images/{k:05d}.jpg"
            images.append({"image": name, "width": 100, "height": 100, "joints": joints.tolist()})
            photo = np.full((100, 100, 3), 5 * k, np.uint8)
            archive.writestr(name, cv2.imencode(".jpg", photo)[1].tobytes())
        labels = {"joint_names": NAMES, "images": images}
        archive.writestr("annotations.json", json.dumps(labels))
    np.savez(
        folder / "pseudo.npz",
        names=[image["image"] for image in images],
        landmarks=rng.uniform(0, 100, (COUNT, 33, 3)),
        world_m=rng.normal(size=(COUNT, 33, 3)),
    )
    return PhotoData(archive=folder / "photos.zip", pseudo=folder / "pseudo.npz")


def test_training_and_evaluation_have_the_same_photos_in_the_same_order(sports: PhotoData) -> None:
    trained, measured = load_lspet(sports.archive, sports.pseudo), read_lspet(sports.archive)
    assert 10 < len(measured) < COUNT  # some have too few joints
    assert [person.photo for person in trained] == [photo.encoded() for photo in measured]
    for person, photo in zip(trained, measured, strict=True):
        np.testing.assert_array_equal(person.joints_2d, photo.joints_2d)
        assert np.isfinite(person.joints_2d[:, 0]).sum() >= 9


@pytest.fixture
def shards(tmp_path: Path, scene: VirtualScene) -> Path:
    """A virtual scene: training wants more than sports photos."""
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for kind, data in (("jpg", scene.image), ("json", json.dumps(scene.labels).encode())):
            member = tarfile.TarInfo(f"0.{kind}")
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return tmp_path


@pytest.mark.parametrize("holdout", [1, 7])
def test_nothing_that_is_measured_was_trained_on(
    sports: PhotoData, shards: Path, holdout: int
) -> None:
    config = SmapLiteConfig(out=shards, sports=sports, virtual=[shards], holdout=holdout, steps=1)
    trained_on = [person.photo for person in training_set(config).photos[0]]
    photos = read_lspet(sports.archive)
    measured = [photo.encoded() for photo in last(photos, holdout)]
    assert len(measured) == holdout
    assert not set(measured) & set(trained_on)
    assert len(measured) + len(trained_on) == len(photos)


@pytest.mark.parametrize("holdout", [1, 7])
def test_nor_by_those_who_look_at_people_one_by_one(sports: PhotoData, holdout: int) -> None:
    config = MobileHumanConfig(out=Path("run"), sports=sports, holdout=holdout, steps=1)
    (source,) = MobileHumanRecipe(config).flat_sources()
    trained_on = [source.records[k] for k in range(len(source.records))]
    kept = read_lspet(sports.archive)[:-holdout]
    assert len(trained_on) == len(kept)
    for record, photo in zip(trained_on, kept, strict=True):
        np.testing.assert_array_equal(record.read(), photo.image())


def test_the_command_measures_what_training_keeps_unless_told() -> None:
    for config in (SmapLiteConfig, MobileHumanConfig):
        assert config.model_fields["holdout"].default == HELD_OUT
