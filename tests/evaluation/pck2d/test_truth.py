"""LSPET: its joints brought to mpi15, and which photos count."""

import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.pck2d.truth import mpi15_joints, read_lspet
from smap_ros.evaluation.views.truth import read_labelled
from smap_ros.skeletons import MPI15
from tests.evaluation.conftest import UPRIGHT


def without(*joints: str) -> dict[str, tuple[float, float]]:
    return {name: place for name, place in UPRIGHT.items() if name not in joints}


def test_neck_and_pelvis_are_midpoints_and_the_rest_is_by_name(lspet):
    (photo,) = read_lspet(lspet([UPRIGHT]))
    expected = {**UPRIGHT, "neck": (60, 50), "pelvis": (60, 110)}
    for k, joint in enumerate(MPI15.joints):
        np.testing.assert_allclose(photo.joints_2d[k], expected[joint])
    assert (photo.name, photo.key) == ("images/00000.jpg", "00000")
    assert photo.image().shape == (200, 120, 3)
    assert (photo.camera.width, photo.camera.height) == (120, 200)


def test_unlabelled_joints_are_unknown_and_the_labelled_neck_stands_in():
    names = ["r_hip", "l_hip", "neck", "head_top"]
    points = np.array([[10, 10, 1], [20, 10, 1], [15, 0, 1], [0, -20, 0]], np.float32)
    joints = mpi15_joints(points, names)
    np.testing.assert_allclose(joints[MPI15.root], [15, 10])
    np.testing.assert_allclose(joints[MPI15.index("neck")], [15, 0])
    assert np.isnan(joints[MPI15.index("head_top")]).all()


def test_photos_with_fewer_than_nine_of_15_joints_are_left_out(lspet):
    arms = ("l_elbow", "l_wrist", "r_elbow", "r_wrist")
    nine = without(*arms, "l_ankle", "r_ankle")  # 8 labels and the pelvis between the hips
    eight = without(*arms, "l_ankle", "r_ankle", "r_knee")
    photos = read_lspet(lspet([eight, nine, UPRIGHT]))
    assert [photo.key for photo in photos] == ["00001", "00002"]


def test_a_folder_is_read_as_its_zip(lspet, tmp_path):
    archive = lspet([UPRIGHT, without("l_hip")])
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path / "folder")
    zipped, unpacked = read_lspet(archive), read_lspet(tmp_path / "folder")
    for a, b in zip(zipped, unpacked, strict=True):
        np.testing.assert_array_equal(a.joints_2d, b.joints_2d)
        assert (a.name, a.encoded()) == (b.name, b.encoded())


def test_what_is_no_archive_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a zip file or a folder"):
        read_lspet(tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(InputError, match="expected a zip file or a folder"):
        read_lspet(tmp_path / "text.zip")
    with pytest.raises(InputError, match=r"can't read annotations\.json"):
        read_lspet(tmp_path)


def relisted(archive: Path, change: Callable[[list[Any]], None]) -> Path:
    """The folder of an archive, with other entries."""
    folder = archive.with_suffix("")
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    annotations = json.loads((folder / "annotations.json").read_text())
    change(annotations["images"])
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return folder


@pytest.mark.parametrize("name", ["images/00000.jpg", "more/00000.png"])
def test_two_photos_of_one_name_are_refused(lspet, name):
    folder = relisted(lspet([UPRIGHT] * 2), lambda images: images[1].update(image=name))
    with pytest.raises(InputError, match="two photos are called 00000; people are found by"):
        read_lspet(folder)


def test_labels_of_nobody_are_refused(lspet):
    head = {name: UPRIGHT[name] for name in ("neck", "head_top")}
    with pytest.raises(InputError, match=r"nobody well enough: of 2 photos, .* 9 labelled joints"):
        read_lspet(lspet([head, head]))
    with pytest.raises(InputError, match="nobody well enough: of 0 photos"):
        read_lspet(lspet([]))


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"joint_names": [], "images": [{}]}', '{"joint_names": ["neck"], "images": 3}',
        '{"joint_names": ["neck"], "images": [{"joints": [[1, 2, 1]], "width": Infinity}]}',
    ],
)  # fmt: skip
def test_malformed_annotations_are_refused(tmp_path, content):
    (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(InputError, match=r"annotations\.json of .* is malformed"):
        read_lspet(tmp_path)


def listed_as(archive: Path, place: int, value: int) -> None:
    """Set a byte of what the list of the archive says of its first file, the labels."""
    content = bytearray(archive.read_bytes())
    content[content.find(b"PK\x01\x02") + place] = value
    archive.write_bytes(content)


ENCRYPTED = partial(listed_as, place=8, value=1)
PACKED_ANEW = partial(listed_as, place=10, value=99)
MADE_FOR_LATER = partial(listed_as, place=6, value=99)


def damaged_lzma(archive: Path) -> None:
    pytest.importorskip("lzma", exc_type=ImportError)
    with zipfile.ZipFile(archive) as files:
        content = files.read("annotations.json")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as files:
        files.writestr("annotations.json", content)
    stored = bytearray(archive.read_bytes())
    stored[70:110] = b"\xff" * 40
    archive.write_bytes(stored)


def too_short(archive: Path) -> None:
    """Its list says that more is packed than there is."""
    content = bytearray(archive.read_bytes())
    place = content.find(b"PK\x01\x02") + 20
    content[place : place + 8] = 2 * (10**6).to_bytes(4, "little")
    archive.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (ENCRYPTED, "can't read annotations.json .* is encrypted, .*without a password"),
        (PACKED_ANEW, "can't read annotations.json .*not supported; expected a whole"),
        (damaged_lzma, "can't read annotations.json .*Corrupt input data; expected a whole"),
        (too_short, "can't read annotations.json .*(ends too early|Overlap).*; expected a whole"),
        (MADE_FOR_LATER, "can't open .*9.9; expected a zip file or a folder"),
    ],
)
def test_archives_that_can_not_be_unpacked_are_refused(lspet, damage, message):
    archive = lspet([UPRIGHT])
    damage(archive)
    for read in (read_lspet, read_labelled):
        with pytest.raises(InputError, match=message):
            read(archive)


def test_missing_damaged_and_resized_photos_are_named_when_read(lspet, tmp_path):
    archive = lspet([UPRIGHT] * 3)
    folder = tmp_path / "folder"
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    photos = read_lspet(folder)
    (folder / "images/00000.jpg").unlink()
    (folder / "images/00001.jpg").write_bytes(b"no image")
    annotations = json.loads((folder / "annotations.json").read_text())
    annotations["images"][2]["width"] = 121
    (folder / "annotations.json").write_text(json.dumps(annotations))
    with pytest.raises(InputError, match=r"can't read images/00000\.jpg"):
        photos[0].image()
    with pytest.raises(InputError, match=r"photo images/00001\.jpg: "):
        photos[1].image()
    with pytest.raises(InputError, match="is 120x200 px, but its labels say 121x200"):
        read_lspet(folder)[2].image()
