"""Shards as `smap-train synth` writes them, and damaged ones."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.common.shards import read_scenes, read_shards, scenes_of
from tests.evaluation.conftest import CAMERA, jpeg, tar

EMPTY = json.dumps({"camera": CAMERA.to_json(), "people": []}).encode()


def test_scenes_come_in_order_with_their_pictures(shards):
    scenes = read_scenes(shards)
    assert [scene.key for scene in scenes] == ["000000", "000001", "000002", "000003"]
    assert [scene.frame.index for scene in scenes] == [0, 1, 2, 3]
    assert [scene.frame.bodies[0].root[2] for scene in scenes] == [4, 4, 5, 5]
    for k in (2, 0, 3, 1):  # in any order
        assert abs(int(scenes[k].image().mean()) - 60 - k) <= 1
    assert scenes[0].camera == CAMERA


def test_cameras_know_their_mounting_where_the_truth_has_the_floor(tmp_path):
    floor = {"normal": [0.0, -np.cos(0.2), -np.sin(0.2)], "distance": 1.4}
    labels = {"camera": CAMERA.to_json(), "people": [], "floor": floor}
    tar(tmp_path / "a.tar", {"0.jpg": jpeg(), "0.json": json.dumps(labels).encode()})
    camera = read_scenes(tmp_path)[0].camera
    assert camera.mounting is not None
    assert (camera.mounting.height, camera.mounting.pitch) == pytest.approx((1.4, 0.2))
    del floor["normal"]
    tar(tmp_path / "a.tar", {"0.jpg": jpeg(), "0.json": json.dumps(labels).encode()})
    with pytest.raises(InputError, match="incomplete or malformed"):
        read_scenes(tmp_path)


def test_samples_keep_their_bytes(shards):
    sample = next(iter(read_shards(shards)))
    assert sample.encoded() == jpeg(value=60)
    assert list(sample.labels) == ["camera", "people"]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_a_truncated_shard_is_refused_wherever_it_is_cut(shards, share):
    path = shards / "shard-00001.tar"
    data = path.read_bytes()
    content = len(data.rstrip(b"\0"))  # the padding after the end mark may be cut
    path.write_bytes(data[: int(content * share)])
    with pytest.raises(InputError, match=r"shard-00001\.tar is (truncated|damaged).*again"):
        list(read_shards(shards))


def test_a_shard_cut_between_samples_is_refused(tmp_path):
    path = tar(tmp_path / "a.tar", {"0.jpg": jpeg(), "0.json": EMPTY})
    # Whole blocks of both files and nothing after them: tar readers take that for complete.
    blocks = [512 + -(-len(data) // 512) * 512 for data in (jpeg(), EMPTY)]
    path.write_bytes(path.read_bytes()[: sum(blocks)])
    with pytest.raises(InputError, match="truncated: it has no end mark"):
        list(read_shards(tmp_path))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"7.jpg": jpeg()}, "sample 7 has no json"),
        ({"7.json": EMPTY}, "sample 7 has no jpg"),
        ({"7.jpg": jpeg(), "7.json": b"{"}, "is damaged"),
        ({"7.jpg": jpeg(), "7.json": b"[]"}, "labels of 7 have no 'people'"),
        ({"7.jpg": jpeg(), "7.json": b'{"people": []}'}, "labels of 7 have no 'camera'"),
        ({"7.jpg": jpeg(), "7.json": b'{"people": [], "camera": {}}'}, "labels of 7 are incomp"),
    ],
)
def test_incomplete_samples_are_named(tmp_path, files, message):
    tar(tmp_path / "a.tar", files)
    with pytest.raises(InputError, match=message):
        read_scenes(tmp_path)


def labelled(**changes) -> bytes:
    return json.dumps({"camera": CAMERA.to_json(), "people": [], **changes}).encode()


def test_the_same_shard_under_two_names_is_refused(shards):
    shutil.copy(shards / "shard-00001.tar", shards / "shard-00002.tar")
    with pytest.raises(InputError, match=r"two samples 000002.*leave one"):
        read_scenes(shards)


@pytest.mark.parametrize("kind", ["jpg", "json"])
def test_a_file_that_is_twice_in_a_shard_is_refused(tmp_path, kind):
    path = tar(tmp_path / "a.tar", {"7.jpg": jpeg(), "7.json": EMPTY})
    with tarfile.open(path, "a") as shard:
        member = shard.getmember(f"7.{kind}")
        shard.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(InputError, match=rf"a\.tar is damaged: it has two files 7\.{kind}"):
        read_scenes(tmp_path)


@pytest.mark.parametrize("stamps", [(0.2, 0.1), (0.1, 0.1), (0.0, 0.2, 0.1)])
def test_a_film_whose_stamps_do_not_rise_is_refused(tmp_path, stamps):
    files = {}
    for k, stamp in enumerate(stamps):
        files[f"{k}.jpg"], files[f"{k}.json"] = jpeg(), labelled(sequence="walk", stamp=stamp)
    path = tar(tmp_path / "a.tar", files)
    for read, source in ((read_scenes, tmp_path), (scenes_of, path)):
        with pytest.raises(InputError, match=r"in sequence walk, picture .*expected both to rise"):
            read(source)


def test_what_is_no_tar_and_a_folder_without_shards_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no shards; expected the \*\.tar files"):
        list(read_shards(tmp_path))
    (tmp_path / "a.tar").write_text("not a tar")
    with pytest.raises(InputError, match=r"a\.tar is damaged"):
        list(read_shards(tmp_path))


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path):
    tar(tmp_path / "a.tar", {"7.jpg": jpeg()[:200], "7.json": EMPTY})
    (scene,) = read_scenes(tmp_path)
    with pytest.raises(InputError, match=r"a\.tar: sample 7"):
        scene.image()


def test_pictures_are_read_from_their_place(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    import cv2

    data = cv2.imencode(".jpg", noise)[1].tobytes()
    tar(tmp_path / "a.tar", {"1.jpg": jpeg(), "1.json": EMPTY, "2.jpg": data, "2.json": EMPTY})
    image = read_scenes(tmp_path)[1].image()
    np.testing.assert_array_equal(image, cv2.imdecode(np.frombuffer(data, np.uint8), 1))
