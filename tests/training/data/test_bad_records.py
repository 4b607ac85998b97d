"""Whatever is wrong with a record of any layout: it is named, and the run stops or goes on."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from smap_train.data.check import check
from smap_train.data.dataset import read_shards
from smap_train.data.layouts.clips import ClipData
from smap_train.data.layouts.known import LAYOUTS, DataSet, Records
from smap_train.data.layouts.people import PeopleData
from smap_train.data.layouts.tracks import open_virtual_frames
from smap_train.data.layouts.virtual import open_virtual_people
from smap_train.data.layouts.world import (
    open_muco_world,
    open_panoptic_world,
    open_virtual_world,
)
from smap_train.engine.sampling import BadRecordError, Mixture, Source, skipped_records
from smap_train.recipes.registry import recipe_class

from ..recipes.pairs import pair
from ..recipes.test_hap_pretraining_run import POINTS, luperson_paths
from ..recipes.tiny import TINY, tiny
from . import published
from .bodies import write_scenes, write_set
from .test_check import muco_people
from .test_people import h36m
from .test_photo_layouts import archive, labels, pseudo
from .test_smap_sources import coco_file, coco_person
from .test_tracks import database

Wrong = Callable[[Any], Any]  # numbers of a record, made wrong


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def nan(numbers: np.ndarray) -> Any:
    return _changed(numbers, np.nan)


def absurd(numbers: np.ndarray) -> Any:
    return _changed(numbers, 1e30)


def too_few(numbers: np.ndarray) -> Any:
    """A joint less; of flat numbers one less."""
    return numbers[:-1]


def all_nan(numbers: np.ndarray) -> Any:
    return np.full_like(numbers, np.nan)


def all_absurd(numbers: np.ndarray) -> Any:
    return np.full_like(numbers, 1e30)


def _changed(numbers: np.ndarray, value: float) -> np.ndarray:
    changed = np.array(numbers, float)
    changed.reshape(-1)[0] = value
    return changed


def edit(path: Path, *keys: Any, wrong: Wrong) -> None:
    """Make numbers in a JSON file wrong."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = np.asarray(wrong(np.array(inner[keys[-1]], float))).tolist()
    path.write_text(json.dumps(content))


def smap(folder: Path, wrong: Wrong) -> DataSet:
    path = write_set(folder, 4)
    edit(path, "root", 1, "bodys", 0, wrong=wrong)
    return DataSet("smap", path, folder)


def pairs(folder: Path, wrong: Wrong) -> DataSet:
    path = folder / "pairs.json"
    path.write_text(json.dumps({"3d_pairs": [pair(k) for k in range(4)]}))
    edit(path, "3d_pairs", 1, "gt_3d", wrong=wrong)
    return DataSet("pairs", path)


def keypoints(layout: str, count: int) -> Callable[[Path, Wrong], DataSet]:
    def made(folder: Path, wrong: Wrong) -> DataSet:
        points = np.array([[100 + 5 * k, 50 + 10 * k, 2] for k in range(count)]).ravel().tolist()
        people = [coco_person(k, 9 + 16 * (k % 2), keypoints=points) for k in range(4)]
        path = coco_file(folder, *people)
        edit(path, "annotations", 1, "keypoints", wrong=wrong)
        return DataSet(layout, path, folder)

    return made


def muco(folder: Path, wrong: Wrong) -> DataSet:
    path = muco_people(folder)
    edit(path, "annotations", 1, "keypoints_cam", wrong=wrong)
    return DataSet("muco", path, folder)


def human36m(folder: Path, wrong: Wrong) -> DataSet:
    path = h36m(folder)
    edit(path / "Human36M_subject1_joint_3d.json", "2", "1", "3", wrong=wrong)
    return DataSet("h36m", path, folder)


def panoptic(folder: Path, wrong: Wrong) -> DataSet:
    path = published.panoptic(folder)
    labels = sorted(path.rglob("body3DScene_*.json"))[1]
    edit(labels, "bodies", 1, "joints19", wrong=wrong)
    return DataSet("panoptic", path, path)


def threedpw(folder: Path, wrong: Wrong) -> DataSet:
    path = published.threedpw(folder) / "sequenceFiles/train/walk_00.pkl"
    content = pickle.loads(path.read_bytes())
    content["jointPositions"][0] = wrong(content["jointPositions"][0])
    (path.with_name("a_second.pkl")).write_bytes(pickle.dumps(content, protocol=2))
    return DataSet("3dpw", folder, folder / "imageFiles")


def threedpw_json(folder: Path, wrong: Wrong) -> DataSet:
    path = published.threedpw_json(folder)
    content = json.loads(path.read_text())
    content["annotations"] += [{**content["annotations"][0], "id": 9}]
    path.write_text(json.dumps(content))
    edit(path, "annotations", 1, "openpose_result", wrong=wrong)
    return DataSet("3dpw", path, folder)


def mpi_inf_3dhp(folder: Path, wrong: Wrong) -> DataSet:
    path = published.mpi_inf_3dhp(folder)
    _edit_mat(path / "S1/Seq1/annot.mat", "annot3", wrong)
    return DataSet("mpi_inf_3dhp", path, path)


def _edit_mat(path: Path, name: str, wrong: Wrong) -> None:
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    values = content[name]
    if values.dtype == object:
        values[1, 0] = wrong(values[1, 0].T).T  # frames, or numbers of each frame
    else:
        content[name] = wrong(values.T).T
    savemat(path, content)


def mupots(folder: Path, wrong: Wrong) -> DataSet:
    path = published.mupots_json(folder)
    content = json.loads(path.read_text())
    content["annotations"][1]["is_valid"] = 1
    path.write_text(json.dumps(content))
    edit(path, "annotations", 1, "keypoints_cam", wrong=wrong)
    return DataSet("mupots", path, folder)


def posetrack(folder: Path, wrong: Wrong) -> DataSet:
    path = published.posetrack(folder)
    (file,) = path.rglob("*.json")
    edit(file, "annotations", 1, "keypoints", wrong=wrong)
    return DataSet("posetrack", path, folder)


def penn_action(folder: Path, wrong: Wrong) -> DataSet:
    path = published.penn_action(folder)
    good = path / "labels/0001.mat"
    (path / "labels/0002.mat").write_bytes(good.read_bytes())
    _edit_mat(good, "x", wrong)
    return DataSet("penn_action", path, path)


def maed(folder: Path, wrong: Wrong) -> DataSet:
    flat = np.ones((6, 49, 3))
    flat[1] = flat[1] if wrong is too_few else wrong(flat[1])
    return DataSet("maed", database(folder, joints2D=flat), folder)


def luperson(folder: Path, wrong: Wrong) -> DataSet:
    names = [f"a/{k:03d}.jpg" for k in range(4)]
    (folder / "cfs_list.pkl").write_bytes(pickle.dumps(names))
    for name, points in zip(names, [POINTS, wrong(POINTS), POINTS, POINTS], strict=True):
        pose = (folder / "LUPerson-pose" / name).with_suffix(".npy")
        pose.parent.mkdir(parents=True, exist_ok=True)
        held = np.empty((1, 1), object)
        held[0, 0] = {"keypoints": points}
        np.save(pose, held, allow_pickle=True)
    return DataSet("luperson", luperson_paths(folder)["names"], folder)


def photos(folder: Path, wrong: Wrong) -> DataSet:
    entries = [labels(number) for number in range(3)]
    entries[1]["joints"] = np.asarray(wrong(np.array(entries[1]["joints"], float))).tolist()
    return DataSet("lspet", archive(folder / "lspet.zip", entries))


def pseudo_labels(folder: Path, wrong: Wrong) -> DataSet:
    archive(folder / "photos.zip", [labels(number) for number in range(3)])
    path = pseudo(folder / "pseudo.npz", [labels(number)["image"] for number in range(3)])
    arrays = dict(np.load(path))
    arrays["world_m"][1] = wrong(arrays["world_m"][1])
    np.savez(path, **arrays)
    return DataSet("pseudo", path)


def shards(folder: Path, wrong: Wrong) -> DataSet:
    path = write_scenes(folder / "shards", 4) / "shard-00000.tar"
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    labels = json.loads(files["000001.json"])
    one = labels["people"][0]
    one["joints_3d"] = np.asarray(wrong(np.array(one["joints_3d"]))).tolist()
    files["000001.json"] = json.dumps(labels).encode()
    write_tar(path, files)
    return DataSet("shards", path)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


# layout -> a data set with one bad record, and words of the message: its file, its record.
MADE: dict[str, tuple[Callable[[Path, Wrong], DataSet], str]] = {
    "smap": (smap, r"annotations.json, record 1: bodys"),
    "pairs": (pairs, r"pairs.json, record 1: gt_3d"),
    "coco": (keypoints("coco", 17), r"json, annotation 1: .*(keypoints|joint 0)"),
    "mpii": (keypoints("mpii", 16), r"json, annotation 1: .*(keypoints|joint 0)"),
    "crowdpose": (keypoints("crowdpose", 14), r"json, annotation 1: .*(keypoints|joint 0)"),
    "muco": (muco, r"MuCo-3DHP.json,.* annotation 1: .*(keypoints_cam|joint 0)"),
    "lspet": (photos, r"lspet.zip, annotations.json, image 1"),
    "pseudo": (pseudo_labels, r"pseudo.npz, row 1 \(images/00001.jpg\): world_m has 1e\+30"),
    "h36m": (human36m, r"subject1_data.json, image 13: .*joint"),
    "panoptic": (panoptic, r"body3DScene_00000101.json.*(joints19|body 1.*joint 0)"),
    "3dpw": (threedpw, r"a_second.pkl.*(jointPositions|frame 0, person 0: joint)"),
    "3dpw json": (threedpw_json, r"3DPW_latest_train.json, .*annotation 9: .*(openpose|joint 0)"),
    "mpi_inf_3dhp": (mpi_inf_3dhp, r"annot.mat, camera 1.*(malformed|frame 0: joint 0)"),
    "mupots": (mupots, r"MuPoTS-3D.json, .*annotation 1: .*(keypoints_cam|joint 0)"),
    "posetrack": (posetrack, r"bonn_train.json, annotation 1: .*(keypoints|joints2D)"),
    "penn_action": (penn_action, r"0001.mat.*(visibility|frame 0: joints2D)"),
    "maed": (maed, r"3dpw_train_db.npz, record 1: joints2D"),
    "luperson": (luperson, r"a/001.npy: holds no 17 keypoints"),
    "shards": (shards, r"shard-00000.tar, sample 000001.*(bodys|labels)"),
}
CASES = [
    pytest.param(layout, wrong, id=f"{layout}-{wrong.__name__}")
    for layout in MADE
    for wrong in (nan, absurd, too_few)
    # Their arrays are of one shape, or the file is refused; pseudo labels are NaN where unknown.
    if (layout, wrong) not in {("maed", too_few), ("pseudo", too_few), ("pseudo", nan)}
]


def mixture(records: Any, **settings: Any) -> Mixture:
    source = Source("set", records, lambda record, rng: record)
    return Mixture([source], 2 * len(records), 0, **settings)


def everything(samples: Mixture) -> None:
    for number in range(len(samples)):
        assert samples[number] is not None


def looked_at(records: Any, words: str, folder: Path) -> None:
    """A run over all records stops at the bad one, or lists it once and goes on."""
    with pytest.raises(BadRecordError, match=words) as caught:
        everything(mixture(records))
    assert "on_bad=skip goes on" in str(caught.value)
    listed = folder / "skipped.jsonl"
    going_on = mixture(records, on_bad="skip", skipped=listed)
    everything(going_on)
    errors = [line["error"] for line in skipped_records(listed)]
    assert len(errors) == len(set(errors)) == len(records.bad())
    assert sorted(errors) == sorted(records.problems())


def test_every_layout_is_tried():
    assert {name.partition(" ")[0] for name in MADE} >= {
        name for name in LAYOUTS if not name.endswith("-clips")
    }


@pytest.mark.parametrize(("layout", "wrong"), CASES)
def test_a_bad_record_is_named_and_left_out(layout, wrong, tmp_path):
    make, words = MADE[layout]
    data = make(tmp_path, wrong)
    records: Records = data.open()
    assert 0 < len(records.bad()) < len(records)
    looked_at(records, words, tmp_path)
    report = check(data)
    assert {group.kind for group in report.groups.values()} >= {"record"}


@pytest.mark.parametrize("wrong", [all_nan, all_absurd, too_few])
@pytest.mark.parametrize("layout", ["3dpw-clips", "mpi_inf_3dhp-clips"])
def test_so_it_is_over_time(layout, wrong, tmp_path):
    make, _ = MADE[layout.removesuffix("-clips")]
    data = make(tmp_path, wrong)
    records = DataSet(layout, data.path, data.images).open()
    looked_at(records, r"a_second.pkl|annot.mat, camera 1", tmp_path)


@pytest.mark.parametrize("wrong", [nan, absurd, too_few])
def test_so_it_is_with_other_readers_of_the_same_files(wrong, tmp_path):
    folder = tmp_path / "v"
    path = shards(folder, wrong).path
    for k, opened in enumerate((open_virtual_people, open_virtual_frames, open_virtual_world)):
        own = tmp_path / str(k)
        own.mkdir()
        looked_at(opened([path]), "shard-00000.tar, sample 000001", own)
    with pytest.raises(BadRecordError, match="sample 000001"):
        read_shards(folder / "shards")
    listed = tmp_path / "lite" / "skipped.jsonl"
    assert len(read_shards(folder / "shards", "skip", listed)) == 3
    assert len(skipped_records(listed)) == 1


def test_a_box_of_no_numbers_is_a_bad_record_and_not_left_out_unsaid(tmp_path):
    path = shards(tmp_path, lambda joints: joints).path
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    labels = json.loads(files["000001.json"])
    people = len(open_virtual_people([path]))
    labels["people"][0]["box"] = [float("nan")] * 4
    files["000001.json"] = json.dumps(labels).encode()
    write_tar(path, files)
    records = open_virtual_people([path])
    assert (len(records), len(records.bad())) == (people, 1)
    looked_at(records, "sample 000001, person 0: bbox is .nan", tmp_path)


@pytest.mark.parametrize("wrong", [nan, absurd])
def test_so_it_is_in_the_world(wrong, tmp_path):
    folder = tmp_path / "studio"
    folder.mkdir()
    published.panoptic(folder)
    for file in folder.rglob("body3DScene_*.json"):
        file.write_text(file.read_text().replace("-1.0", "0.8"))
    labels = sorted(folder.rglob("body3DScene_*.json"))[1]
    edit(labels, "bodies", 1, "joints19", wrong=wrong)
    looked_at(open_panoptic_world(folder), "body3DScene_00000101.json", tmp_path)
    path = muco_people(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"][1]["image_id"] = 0
    path.write_text(json.dumps(content))
    edit(path, "annotations", 1, "keypoints_cam", wrong=wrong)
    own = tmp_path / "muco"
    own.mkdir()
    looked_at(open_muco_world(path), "MuCo-3DHP.json, image 0: joints", own)


PICTURES = [name for name in MADE if name not in ("pairs", "shards", "3dpw json")]


@pytest.mark.parametrize("layout", PICTURES)
@pytest.mark.parametrize("damage", ["missing", "cut off", "no picture"])
def test_a_damaged_picture_is_a_bad_record(layout, damage, tmp_path):
    make, _ = MADE[layout]
    data = make(tmp_path, lambda numbers: numbers)
    records = data.open()
    record = records[0]
    path = record.image
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", np.full((300, 400, 3), 90, np.uint8))[1].tobytes()
    if damage == "missing":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(encoded[: len(encoded) // 2] if damage == "cut off" else b"none")
    with pytest.raises(BadRecordError) as caught:
        record.read()
    assert record.place in str(caught.value) and str(path) in str(caught.value)


def test_a_damaged_picture_in_a_shard_is_a_bad_record(tmp_path):
    path = shards(tmp_path, lambda numbers: numbers).path
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    files["000002.jpg"] = files["000002.jpg"][:900]
    write_tar(path, files)
    records = DataSet("shards", path).open()
    with pytest.raises(BadRecordError, match=r"sample 000002: img_paths: .*is damaged.*truncated"):
        records[2].read()
    with pytest.raises(BadRecordError, match="sample 000002: its picture is damaged"):
        read_shards(path)


def test_configurations_open_what_is_checked(tmp_path):
    """The same records by way of the models that configurations are made of."""
    data = panoptic(tmp_path / "studio", nan)
    people = PeopleData(layout="panoptic", annotations=data.path, images=data.path)
    assert list(people.open().problems()) == list(data.open().problems())
    videos = posetrack(tmp_path, nan)
    clips = ClipData(layout="posetrack", database=videos.path, images=tmp_path)
    assert list(clips.open().problems()) == list(videos.open().problems())


VIRTUAL = [
    name
    for name in TINY
    if name != "smap" and "virtual" in recipe_class(name).config_type.model_fields
]


@pytest.mark.parametrize("name", [*VIRTUAL, "smap", "refinenet"])
def test_every_recipe_stops_at_a_bad_record_or_leaves_it_out(name, tmp_path):
    (tmp_path / "bad").mkdir()
    if name == "smap":
        data = smap(tmp_path / "bad", nan)
        given = {"data": [{"annotations": data.path, "images": data.images}]}
    elif name == "refinenet":
        given = {"pairs": pairs(tmp_path / "bad", nan).path}
    else:
        given = {"virtual": [shards(tmp_path / "bad", nan).path]}
    settings = {"steps": 8, "batch_size": 4, "out": tmp_path / "run", **given}
    with pytest.raises(BadRecordError, match=r"on_bad=skip goes on"):
        everything(tiny(name, tmp_path, **settings).dataset())
    everything(tiny(name, tmp_path, **settings, on_bad="skip").dataset())
    (line,) = skipped_records(tmp_path / "run/skipped.jsonl")
    assert "000001" in line["error"] or "record 1" in line["error"]
