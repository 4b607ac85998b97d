"""CMU Panoptic: parity with SMAP's script, the rules, and the files of the data set."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import open_predictions
from smap_ros.evaluation.panoptic.measures import Tally, network_scale, register
from smap_ros.evaluation.panoptic.report import evaluate, report
from smap_ros.evaluation.panoptic.truth import read_panoptic
from smap_ros.skeletons import MPI15
from tests.evaluation.conftest import PERSON

GOLDEN = Path(__file__).resolve().parents[2] / "goldens" / "smap_eval" / "panoptic_eval.npz"
CM, PELVIS = 0.01, MPI15.root


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="module")
def tally(golden) -> Tally:
    tally = Tally()
    for k in range(6):
        true, flat, solid = (golden[f"{name}_{k}"] for name in ("gt", "pred2d", "pred3d"))
        partner = register(flat[:, PELVIS, :2], true[:, PELVIS, :2])
        posed = np.where(solid[..., 3:] != 0, solid[..., :3], np.nan)
        matched = np.where((partner < 0)[:, None, None], np.nan, posed[partner])
        expected = golden[f"registered3d_{k}"]
        np.testing.assert_array_equal(np.isfinite(matched[..., 0]), expected[..., 3] != 0)
        np.testing.assert_array_equal(np.nan_to_num(matched), expected[..., :3])
        tally.add(matched * CM, true[..., 4:7] * CM, true[:, PELVIS, 3] == 2)
    return tally


def test_the_numbers_are_those_of_smaps_script(golden, tally):
    got = tally.results()
    for values, name, unit in (
        (got.mpjpe_mm, "final_real_error", 10),
        (got.mpjpe_relative_mm, "final_root_error", 10),
        (got.pck_percent, "final_real_PCK", 100),
        (got.pck_relative_percent, "final_root_PCK", 100),
        (tally.joints, "final_count_point", 1),
        (tally.found, "final_count_people", 1),
        (tally.people, "final_total_people_gt", 1),
        (tally.near, "final_less_15", 1),
        (tally.reversed_pairs, "final_reverse_pair_count", 1),
    ):
        np.testing.assert_allclose(values, golden[name] * unit, rtol=1e-9, err_msg=name)
    # The script starts this count at 1e-8, so that it can divide by it.
    assert tally.pairs == pytest.approx(float(golden["final_total_pair_count"]), abs=1e-6)


def test_the_closest_pair_is_matched_first_and_nobody_beyond_30_px():
    true = np.array([[0.0, 0], [10, 0], [100, 0]])
    found = np.array([[9.0, 0], [29, 0], [131, 0]])
    assert register(found, true).tolist() == [1, 0, -1]
    assert register(np.array([[np.nan, np.nan]]), true).tolist() == [-1, -1, -1]
    assert register(np.zeros((0, 2)), true).tolist() == [-1, -1, -1]


def test_pixels_are_those_of_the_networks_input():
    assert network_scale(1920, 1080) == pytest.approx(832 / 1920)
    assert network_scale(1000, 1000) == pytest.approx(0.512)


# --- the files ---------------------------------------------------------------------------------

TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
SHIFT = np.array([10.0, -20, 250])  # centimetres
CAMERA = Camera(1920, 1080, 1400.0, 1400.0, 960.0, 540.0)


def world(joints: np.ndarray) -> np.ndarray:
    """Points before the camera in the studio, centimetres."""
    return (joints * 100 - SHIFT) @ TURN


@pytest.fixture
def sequence(tmp_path) -> Path:
    """A sequence of one labelled image, one image without labels, and two people."""
    folder = tmp_path / "data" / "seq1"
    (folder / "hdPose3d_stage1_coco19").mkdir(parents=True)
    (folder / "hdImgs" / "00_16").mkdir(parents=True)
    for frame in (100, 101):
        (folder / "hdImgs" / "00_16" / f"00_16_{frame:08d}.jpg").write_bytes(b"")
    hd = {
        "name": "00_16",
        "type": "hd",
        "resolution": [1920, 1080],
        "K": CAMERA.matrix.tolist(),
        "distCoef": [0.0] * 5,
        "R": TURN.tolist(),
        "t": SHIFT[:, None].tolist(),
    }
    vga = {"name": "01_01", "type": "vga", "resolution": [640, 480]}
    (folder / "calibration_seq1.json").write_text(json.dumps({"cameras": [vga, hd]}))
    bodies = []
    for k, x in enumerate((-1.0, 1.0)):
        rows = np.zeros((19, 4))
        rows[:15, :3], rows[:15, 3] = world(PERSON + np.float32([x, 0, 4])), 0.9
        rows[5, 3] = -1  # left wrist, not seen by enough cameras
        bodies.append({"id": k, "joints19": rows.ravel().tolist()})
    labels = folder / "hdPose3d_stage1_coco19" / "body3DScene_00000100.json"
    labels.write_text(json.dumps({"version": 0.7, "bodies": bodies}))
    return folder


def smap_file(tmp_path: Path) -> Path:
    people = np.zeros((2, 15, 11))
    for k, x in enumerate((-1.0, 1.0)):
        points = PERSON + np.float32([x, 0, 4])
        people[k, :, :2] = CAMERA.project(points)
        people[k, :, 2], people[k, :, 4:7] = points[:, 2] * 100, points * 100
        people[k, :, 3], people[k, :, 7:] = 2, (1400, 1400, 960, 540)
    people[1, 5, 3] = 0
    entry = {"img_paths": "seq1/00_16_00000100.jpg", "img_width": 1920, "img_height": 1080}
    path = tmp_path / "panoptic_test.json"
    entries = [
        {**entry, "isValidation": 1, "bodys": people.tolist()},
        {**entry, "isValidation": 0, "bodys": people.tolist()},
    ]
    path.write_text(json.dumps({"root": entries}))
    return path


def test_the_data_sets_own_files_are_read(sequence):
    for path, key in ((sequence, "00_16_00000100"), (sequence.parent, "00_16_00000100")):
        (image,) = read_panoptic(path)
        assert image.view.key == key
    assert image.view.camera == CAMERA
    true = PERSON + np.float32([-1, 0, 4])
    there = np.isfinite(image.joints_3d[0, :, 0])
    assert [MPI15.joints[k] for k in np.flatnonzero(~there)] == ["head_top", "l_wrist"]
    np.testing.assert_allclose(image.joints_3d[0, there], true[there], atol=1e-6)
    np.testing.assert_allclose(image.roots_2d[0], CAMERA.project(true[PELVIS]), atol=1e-3)
    assert image.visible.all()


def test_smaps_file_is_read(tmp_path):
    (image,) = read_panoptic(smap_file(tmp_path))
    assert (image.view.key, image.view.camera) == ("00_16_00000100", CAMERA)
    assert np.isnan(image.joints_3d[1, 5]).all() and np.isfinite(image.joints_3d[0]).all()
    assert image.joints_3d[0, PELVIS, 2] == pytest.approx(4)


class Given:
    description = "given"

    def __init__(self, *bodies: Body) -> None:
        self._frame = BodyFrame(bodies, CAMERA)

    def of(self, picture):
        return self._frame

    def close(self):
        """Nothing is held."""


def person(x: float, z: float) -> Body:
    points = PERSON + np.float32([x, 0, z])
    pixels = CAMERA.project(PERSON + np.float32([x, 0, 4])).astype(np.float32)
    return Body(points, pixels, np.ones(15, np.float32), 0.9)


def test_errors_are_measured_absolutely_and_aligned(tmp_path):
    outcome = evaluate(Given(person(-1, 4.1), person(3, 4)), read_panoptic(smap_file(tmp_path)))
    numbers = report(outcome).numbers()
    assert (numbers["people"], numbers["people_found"], numbers["people_predicted"]) == (2, 1, 2)
    assert numbers["recall_percent"] == numbers["near_percent"] == 50
    assert numbers["mpjpe_mm"] == pytest.approx(100, abs=0.01)
    assert numbers["mpjpe_relative_mm"] == pytest.approx(0, abs=0.01)
    assert numbers["pck150_percent"] == 100
    assert report(outcome).plots().shape[1] == 1920


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "isn't JSON"),
        ('{"root": [{"bodys": [[1]]}]}', "is malformed"),
        ('{"root": []}', "has no labelled images"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_panoptic(tmp_path / "x.json")


def test_images_and_cameras_that_are_there_twice_are_refused(tmp_path, sequence):
    path = smap_file(tmp_path)
    content = json.loads(path.read_text())
    content["root"].append(content["root"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"two entries are of seq1/00_16_00000100\.jpg"):
        read_panoptic(path)
    path = sequence / "calibration_seq1.json"
    content = json.loads(path.read_text())
    content["cameras"].append(content["cameras"][1])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="two cameras are called 00_16"):
        read_panoptic(sequence)


def test_a_camera_without_calibration_is_named(sequence):
    (sequence / "hdImgs" / "00_16").rename(sequence / "hdImgs" / "00_17")
    with pytest.raises(InputError, match="camera 00_17"):
        read_panoptic(sequence)


def studio_file(tmp_path: Path, *names: str) -> Path:
    """SMAP's file of these images, all of the same two people."""
    path = smap_file(tmp_path)
    entry = json.loads(path.read_text())["root"][0]
    path.write_text(json.dumps({"root": [{**entry, "img_paths": name} for name in names]}))
    return path


def results(folder: Path, stem: str, *bodies: Body) -> None:
    folder.mkdir(parents=True)
    frame = BodyFrame(bodies, CAMERA, source=f"{stem}.jpg")
    (folder / "bodies.json").write_text(json.dumps({"frames": [frame.to_json()]}))


ULTIMATUM = "160422_ultimatum1/hdImgs/00_16/00_16_00000100.jpg"
PIZZA = "160906_pizza1/hdImgs/00_16/00_16_00000100.jpg"


def test_pictures_of_one_camera_in_two_sequences_are_told_apart(tmp_path):
    images = read_panoptic(studio_file(tmp_path, ULTIMATUM, PIZZA))
    keys = ["160422_ultimatum1/00_16_00000100", "160906_pizza1/00_16_00000100"]
    assert [image.view.key for image in images] == keys
    results(tmp_path / "found" / "160422_ultimatum1", "00_16_00000100", person(-1, 4))
    results(tmp_path / "found" / "160906_pizza1", "00_16_00000100", person(-1, 4), person(1, 4))
    outcome = evaluate(open_predictions(str(tmp_path / "found")), images)
    assert report(outcome).numbers()["people_found"] == 3
    results(tmp_path / "cameras" / "00_16", "00_16_00000100", person(-1, 4))
    with pytest.raises(InputError, match="none of the 2 pictures"):
        evaluate(open_predictions(str(tmp_path / "cameras")), images)


def test_results_of_another_sequence_are_not_those_of_the_only_one(tmp_path, sequence):
    smap = studio_file(tmp_path, "seq1/hdImgs/00_16/00_16_00000100.jpg")
    for path in (sequence, sequence.parent, smap):
        images = read_panoptic(path)
        for name, people in (("seq1", [person(-1, 4)]), ("seq2", [])):
            results(tmp_path / f"of {path.stem}" / name / name, "00_16_00000100", *people)
        own, other = (
            open_predictions(str(tmp_path / f"of {path.stem}" / k)) for k in ("seq1", "seq2")
        )
        assert report(evaluate(own, images)).numbers()["people_found"] == 1
        with pytest.raises(InputError, match="none of the 1 pictures"):
            evaluate(other, images)
        file = open_predictions(str(tmp_path / f"of {path.stem}" / "seq2" / "seq2" / "bodies.json"))
        assert report(evaluate(file, images)).numbers()["people_found"] == 0  # named by itself


def test_two_images_that_are_called_the_same_are_refused(tmp_path, sequence):
    with pytest.raises(InputError, match="two images are called x/1; people are found by that"):
        read_panoptic(studio_file(tmp_path, "a/x/1.jpg", "b/x/1.jpg"))
    (sequence / "hdImgs" / "00_17").mkdir()
    (sequence / "hdImgs" / "00_17" / "00_16_00000100.jpg").write_bytes(b"")
    path = sequence / "calibration_seq1.json"
    content = json.loads(path.read_text())
    content["cameras"].append({**content["cameras"][1], "name": "00_17"})
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="two images are called 00_16_00000100"):
        read_panoptic(sequence)


def test_infinite_sizes_are_refused(tmp_path, sequence):
    path = smap_file(tmp_path)
    content = json.loads(path.read_text())
    content["root"][0]["img_width"] = math.inf
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"malformed .expected a whole number, got inf"):
        read_panoptic(path)
    content["root"][0].update(img_width=1920, isValidation=math.inf)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"malformed .a number of it is infinite"):
        read_panoptic(path)
    path = sequence / "calibration_seq1.json"
    content = json.loads(path.read_text())
    content["cameras"][1]["resolution"] = [1920, math.inf]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"malformed .expected a whole number, got inf"):
        read_panoptic(sequence)
