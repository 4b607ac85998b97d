"""CMU Panoptic, 3DPW, MPI-INF-3DHP, MuPoTS-3D, PoseTrack and Penn Action as published."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15, MPI17, SMPL24, SPIN49
from smap_train.data.check import check
from smap_train.data.layouts.clips import ClipData
from smap_train.data.layouts.known import DataSet, recognised
from smap_train.data.layouts.mpi_inf_3dhp import MPI28
from smap_train.data.layouts.panoptic import PANOPTIC19
from smap_train.data.layouts.people import PeopleData
from smap_train.data.layouts.threedpw import OPENPOSE18
from smap_train.data.layouts.tracks import Chunks
from smap_train.data.layouts.world import check_scenes, open_panoptic_world
from smap_train.models.virtualpose.cameras import project

from . import published
from .published import SHIFT_M, SQUARE, STUDIO_TURN, TURN, person, pixels
from .test_tracks import database, opened


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def people(layout: str, path: Path, **settings):
    return PeopleData(layout=layout, annotations=path, images=path, **settings)


def clips(layout: str, path: Path, **settings):
    return ClipData(layout=layout, database=path, images=path, **settings).open()


def test_panoptic_is_brought_before_its_cameras(tmp_path):
    data = people("panoptic", published.panoptic(tmp_path), every=2)
    records = data.open()
    assert len(records) == 4  # frames 100 and 102, two people, the one camera with pictures
    record = records[1]
    assert record.image == tmp_path / "170000_game1/hdImgs/00_16/00_16_00000100.jpg"
    assert record.read().shape == (1080, 1920, 3)
    expected = person(MPI15, 0.7)
    np.testing.assert_allclose(record.joints[:15, 2:5], expected, atol=1e-9)
    assert record.skeleton is PANOPTIC19 and record.has_depth
    assert record.joints[5, 5] == 0  # confidence -1
    seen = record.person(MPI15)
    assert not seen.known[MPI15.index("head_top")]  # it is a nose
    assert seen.known.sum() == 13
    told = record.joints[:15, 5] > 0
    straight, bent = pixels(expected)[told], record.joints[:15, :2][told]
    assert 0.5 < np.abs(bent - straight).max() < 20  # the lens draws towards the middle
    x, y, width, height = record.box
    known = record.joints[record.joints[:, 5] > 0, :2]
    assert ((known > (x, y)) & (known < (x + width, y + height))).all()
    assert len(data.open_pictures()) == 2 and len(data.open_pictures()[0]) == 2
    assert len(data.files()) == 3  # the calibration and two frames
    assert check(DataSet("panoptic", tmp_path, tmp_path)).found == 0


def test_panoptics_older_labels_have_15_joints(tmp_path):
    labels = published.panoptic(tmp_path) / "170000_game1/hdPose3d_stage1_coco19"
    for file in labels.glob("*.json"):
        content = json.loads(file.read_text())
        for one in content["bodies"]:
            one["joints15"] = one.pop("joints19")[:60]
        file.write_text(json.dumps(content))
    labels.rename(labels.with_name("hdPose3d_stage1"))
    records = people("panoptic", tmp_path / "170000_game1").open()
    assert (
        len(records) == 6
        and records[0].joints[:, 5].tolist() == [1.0] * 5 + [0.0] + [1.0] * 9 + [0.0] * 4
    )


def test_people_without_a_pelvis_or_behind_the_camera_are_left_out(tmp_path):
    folder = published.panoptic(tmp_path)
    (file, *_) = sorted(folder.rglob("body3DScene_*.json"))
    content = json.loads(file.read_text())
    rows = np.array(content["bodies"][0]["joints19"]).reshape(19, 4)
    rows[PANOPTIC19.root, 3] = 0.05
    behind = np.array(content["bodies"][1]["joints19"]).reshape(19, 4)
    behind[:, :3] = 100 * ((person(MPI15, 0.7)[:1] * (1, 1, -1)) - SHIFT_M) @ STUDIO_TURN
    for one, numbers in zip(content["bodies"], (rows, behind), strict=True):
        one["joints19"] = numbers.ravel().tolist()
    file.write_text(json.dumps(content))
    records = people("panoptic", folder).open()
    assert len(records) == 4 and list(records.problems()) == []


def test_hmors_list_is_read_without_running_it(tmp_path):
    path = published.hmor(tmp_path)
    records = people("panoptic", path).open()
    assert len(records) == 2 and recognised(path) == "panoptic"
    np.testing.assert_allclose(records[0].joints[:15, 2:5], person(MPI15, -0.6), atol=1e-9)
    np.testing.assert_allclose(records[1].joints[:15, :2], pixels(person(MPI15, 0.7)), atol=1e-6)
    assert records[0].joints[5, 5] == 0 and records[1].joints[5, 5] == 1
    path.write_bytes(pickle.dumps([{"image_name": print}], protocol=2))
    with pytest.raises(InputError, match="refused: it holds pickled Python code"):
        people("panoptic", path).open()


def test_panoptics_scenes_stand_upright_before_their_cameras(tmp_path):
    with pytest.raises(InputError, match="nobody in it whose joints are all known"):
        check_scenes(open_panoptic_world(published.panoptic(tmp_path / "wrists")))
    folder = published.panoptic(tmp_path / "whole")
    for file in folder.rglob("body3DScene_*.json"):  # all joints certain
        file.write_text(file.read_text().replace("-1.0", "0.8"))
    scenes = open_panoptic_world(folder, every=3)
    assert len(scenes) == 2  # one frame, two cameras
    scene = scenes[1]
    points = torch.from_numpy(scene.joints_mm.reshape(1, -1, 3)).float()
    seen = project(scene.camera, points)[0].numpy().reshape(2, 15, 2)
    np.testing.assert_allclose(seen[1], pixels(person(MPI15, 0.7)), atol=0.05)
    top, ankle = (scene.joints_mm[:, MPI15.index(n), 2] for n in ("neck", "l_ankle"))
    assert (top - ankle > 1000).all()
    check_scenes(scenes)


def test_3dpws_sequences_give_joints_and_bodies(tmp_path):
    folder = published.threedpw(tmp_path)
    data = people("3dpw", folder / "sequenceFiles")
    records = data.model_copy(update={"images": folder / "imageFiles"}).open()
    assert len(records) == 2 * published.FRAMES - 1 and recognised(folder) == "3dpw"
    record = records[3]
    assert record.image == folder / "imageFiles/walk_00/image_00001.jpg"
    assert record.read().shape[:2] == (record.height, record.width) == (1080, 1920)
    expected = person(SMPL24, 0.71)
    np.testing.assert_allclose(record.joints[:, 2:5], expected, atol=1e-9)
    np.testing.assert_allclose(record.joints[:, :2], pixels(expected), atol=1e-6)
    pose, _, place, rotation, translation = np.split(record.fit[0], [72, 82, 85, 94])
    assert pose[0] == 0.3 and not place.any()
    np.testing.assert_allclose(rotation.reshape(3, 3), TURN)
    np.testing.assert_allclose(translation, SHIFT_M)
    assert check(DataSet("3dpw", folder, folder / "imageFiles")).found == 0


def test_3dcrowdnets_3dpw(tmp_path):
    path = published.threedpw_json(tmp_path)
    (record,) = people("3dpw", path).open()
    assert recognised(path) == "3dpw" and record.image == path / "walk_00/image_00002.jpg"
    assert record.skeleton is OPENPOSE18 and not record.has_depth
    assert record.joints[:, 5].sum() == 17 and record.joints[5, 5] == 0
    assert record.camera.tolist() == [1400, 1400, 960, 540]
    assert record.fit[0, 84] == 4.0
    assert record.person(MPI15).known[MPI15.root]  # from the hips


def test_mpi_inf_3dhp(tmp_path):
    folder = published.mpi_inf_3dhp(tmp_path)
    records = people("mpi_inf_3dhp", folder).open()
    assert len(records) == 2 * published.FRAMES - 1 and recognised(folder) == "mpi_inf_3dhp"
    record = records[4]
    assert record.image == folder / "S1/Seq1/imageFrames/video_0/frame_000006.jpg"
    np.testing.assert_allclose(record.joints[:, 2:5], person(MPI28, 0.05), atol=1e-9)
    np.testing.assert_allclose(record.joints[:, :2], pixels(person(MPI28, 0.05), SQUARE))
    np.testing.assert_allclose(record.camera, [1500, 1500, 1024, 1024], rtol=0.02)
    assert len(people("mpi_inf_3dhp", folder, every=5).open()) == 4
    assert check(DataSet("mpi_inf_3dhp", folder)).found == 0
    wrong = check(DataSet("mpi_inf_3dhp", published.mpi_inf_3dhp(tmp_path / "metres", 0.001)))
    assert "are they metres? Then multiply by 1000" in str(wrong.content())
    with pytest.raises(InputError, match=r"has no S1/Seq1/annot.mat"):
        people("mpi_inf_3dhp", folder, subjects=[7]).open()


def test_mupots(tmp_path):
    path = published.mupots_json(tmp_path)
    (record,) = people("mupots", path).open()
    assert recognised(path) == "mupots" and record.place.endswith("annotation 0")
    np.testing.assert_allclose(record.joints[:, 2:5], person(MPI17), atol=1e-9)
    assert record.camera.tolist() == [1400, 1400, 960, 540]
    assert check(DataSet("mupots", path)).found == 0


def known(row: np.ndarray) -> set[str]:
    return {SPIN49.joints[k] for k in np.flatnonzero(row[:, -1] > 0)}


LIMBS = {f"{s}_{n}" for s in "lr" for n in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")}


def test_3dpws_people_over_time(tmp_path):
    folder = published.threedpw(tmp_path)
    frames = clips("3dpw", folder / "sequenceFiles")
    assert [(a, b) for _, a, b in Chunks(frames)] == [(0, 10), (10, 14), (14, 19)]
    one = frames[12]
    assert one.image.parts[-2:] == ("walk_00", "image_00002.jpg")
    assert known(one.joints_2d) == known(one.joints_3d) == LIMBS
    knee = SPIN49.index("l_knee")
    np.testing.assert_allclose(one.joints_2d[knee, :2], pixels(person(MPI15, 0.72))[7], atol=1e-6)
    np.testing.assert_allclose(one.joints_3d[knee, :3], person(MPI15, 0.72)[7], atol=1e-9)
    turn = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    angle = np.arccos((np.trace(TURN @ turn) - 1) / 2)
    assert np.linalg.norm(one.fit[0, :3]) == pytest.approx(angle)
    points = pixels(person(OPENPOSE18, 0.72))
    middle, side = (points.min(0) + points.max(0)) / 2, np.linalg.norm(np.ptp(points, axis=0))
    np.testing.assert_allclose(one.box[:2], middle, atol=12)  # smoothed
    np.testing.assert_allclose(one.box[2:], 1.1 * side, rtol=0.01)
    assert check(DataSet("3dpw-clips", folder / "sequenceFiles", folder / "imageFiles")).found == 0


def test_too_few_joints_that_openpose_found_are_no_frame(tmp_path):
    found = [np.array(a) for a in published.threedpw_sequence()["poses2d"]]
    found[0][3, 2, 6:] = 0.2
    frames = clips("3dpw", published.threedpw(tmp_path, poses2d=found))
    assert len(frames) == 18 and len(Chunks(frames)) == 4


def test_mpi_inf_3dhp_over_time(tmp_path):
    frames = clips("mpi_inf_3dhp", published.mpi_inf_3dhp(tmp_path))
    assert [(a, b) for _, a, b in Chunks(frames)] == [(0, 4), (4, 9), (9, 19)]
    one = frames[9]
    trunk = {"neck", "head_top", "pelvis", "spine", "head"}
    assert known(one.joints_2d) == known(one.joints_3d) == LIMBS | trunk
    knee = SPIN49.index("r_knee")
    np.testing.assert_allclose(one.joints_3d[knee, :3], person(MPI15, 0.1)[13], atol=1e-9)
    assert one.box[2] == one.box[3]


def test_posetracks_tracks(tmp_path):
    folder = published.posetrack(tmp_path)
    frames = clips("posetrack", folder)
    assert len(frames) == 10 and len(Chunks(frames)) == 1  # three frames are too few
    one = frames[4]
    assert one.image == folder / "images/train/000001_bonn/000004.jpg"
    assert known(one.joints_2d) == LIMBS | {"nose", "neck", "head_top"}
    assert one.joints_2d[SPIN49.index("neck"), :2].tolist() == [109, 58]
    assert one.joints_2d[SPIN49.index("r_ankle"), :2].tolist() == [184, 178]
    assert one.box.tolist() == [140, 120, 128, 128] and len(one.fit) == 0
    assert clips("posetrack", published.posetrack(tmp_path / "boxless", bbox=None))[4].box[2] > 50


def test_penn_actions_order_is_its_own(tmp_path):
    folder = published.penn_action(tmp_path)
    frames = clips("penn_action", folder)
    assert len(frames) == 5 and recognised(folder) == "penn_action"
    one = frames[2]
    assert one.image == folder / "frames/0001/000003.jpg"
    assert known(one.joints_2d) == LIMBS - {"l_wrist"} | {"head"}
    for k, name in enumerate(("l_shoulder", "r_shoulder", "l_elbow", "r_elbow"), start=1):
        assert one.joints_2d[SPIN49.index(name), :2].tolist() == [102 + 4 * k, 50 + 7 * k]
    assert one.box.tolist() == [125, 92.5, 95, 95]


def test_insta_varietys_people_have_no_box(tmp_path):
    frames = opened(database(tmp_path, bbox=None, pose=None, joints3D=None), tmp_path)
    np.testing.assert_allclose(1.3 * frames[0].box, [145.6, 145.6, 224, 224])


@pytest.mark.parametrize("layout", ["3dpw", "mpi_inf_3dhp", "posetrack", "penn_action"])
def test_a_folder_without_labels_is_refused(layout, tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        clips(layout, tmp_path / "nothing")
