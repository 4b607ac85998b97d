"""Human3.6M: both protocols on files in the layout that MobileHumanPose reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.h36m.measures import PROTOCOLS, errors, with_thorax
from smap_ros.evaluation.h36m.report import evaluate, report
from smap_ros.evaluation.h36m.truth import OfficialResults, read_h36m
from smap_ros.skeletons import H36M17, MPI15, convert
from tests.evaluation.conftest import PERSON

P1, P2 = PROTOCOLS["h36m-p1"], PROTOCOLS["h36m-p2"]
TURN = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # world to camera
SHIFT = np.array([100.0, 50, 4000])  # millimetres
CAMERA = Camera(1000, 1002, 1145.0, 1143.0, 512.0, 515.0)


def truth() -> np.ndarray:
    """17 joints before the camera, millimetres; spine and nose are made up."""
    joints = convert(PERSON.astype(float), MPI15, H36M17) * 1000
    joints[H36M17.index("spine")] = (0, -250, 0)
    joints[H36M17.index("nose")] = (0, -650, -100)
    return joints + [0, 0, 4000]


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Subjects 9 and 11, two actions each; frame 64 counts, frame 65 doesn't."""
    (tmp_path / "annotations").mkdir()
    world = (truth() - SHIFT) @ TURN
    for subject in (9, 11):
        images, labels, joints = [], [], {}
        for action in (2, 16):
            joints[str(action)] = {"1": {str(k): world.tolist() for k in (64, 65)}}
            for frame in (64, 65):
                number = 10000 * subject + 100 * action + frame
                name = f"s_{subject:02d}_act_{action:02d}_subact_01_ca_01"
                images.append(
                    {
                        "id": number,
                        "file_name": f"{name}/{name}_{frame:06d}.jpg",
                        "width": 1000,
                        "height": 1002,
                        "subject": subject,
                        "action_idx": action,
                        "subaction_idx": 1,
                        "cam_idx": 1,
                        "frame_idx": frame,
                    }
                )
                labels.append({"id": number, "image_id": number, "bbox": [0, 0, 9, 9]})
        camera = {
            "R": TURN.tolist(),
            "t": SHIFT.tolist(),
            "f": [CAMERA.fx, CAMERA.fy],
            "c": [CAMERA.cx, CAMERA.cy],
        }
        for name, content in (
            ("data", {"images": images, "annotations": labels}),
            ("camera", {"1": camera}),
            ("joint_3d", joints),
        ):
            file = tmp_path / "annotations" / f"Human36M_subject{subject}_{name}.json"
            file.write_text(json.dumps(content))
    return tmp_path


def results(path: Path, ids: list[int], joints: np.ndarray) -> Path:
    path.write_text(json.dumps([{"image_id": k, "joint_cam": joints.tolist()} for k in ids]))
    return path


@pytest.mark.parametrize(("protocol", "subjects"), [(P1, {11}), (P2, {9, 11})])
def test_every_64th_frame_of_the_test_subjects_counts(folder, protocol, subjects):
    images = read_h36m(folder, protocol)
    assert {image.image_id // 10000 for image in images} == subjects
    assert len(images) == 2 * len(subjects)
    assert [image.action for image in images[:2]] == [0, 14]
    assert images[0].view.camera == CAMERA
    np.testing.assert_allclose(images[0].joints_3d[:17] * 1000, truth(), atol=1e-9)
    assert read_h36m(folder / "annotations", protocol)[0].view.path == images[0].view.path


def test_protocol_1_turns_and_moves_but_does_not_scale():
    true = with_thorax(truth() / 1000)
    turned = true @ rotation(40).T + [1, 2, 3]
    assert errors(turned, true, P1).max() < 1e-12
    assert errors(turned, true, P2).max() > 0.1
    larger = errors(1.1 * turned, true, P1)
    centre = true.mean(axis=0)
    np.testing.assert_allclose(larger, 0.1 * np.linalg.norm(true - centre, axis=1)[:17], rtol=1e-9)
    mirrored = turned * [-1, 1, 1]
    mirrored[:, 2] += 0.3 * true[:, 1] ** 2
    assert errors(mirrored, true, P1).max() > 0.01


def test_protocol_2_aligns_the_pelvises():
    true = with_thorax(truth() / 1000)
    moved = true + [1, 2, 3]
    moved[3] += [0, 0.17, 0]
    got = errors(moved, true, P2)
    assert got[3] == pytest.approx(0.17)
    assert got.mean() == pytest.approx(0.01)


def test_official_results_give_the_mean_by_action(folder, tmp_path):
    images = read_h36m(folder, P2)
    wrong = truth() - truth()[0]
    wrong[5] += [0, 34, 0]
    ids = [image.image_id for image in images[:3]]
    path = results(tmp_path / "official.json", ids, wrong)
    assert OfficialResults.found(path)
    outcome = evaluate(OfficialResults(path), images, P2)
    numbers = report(outcome).numbers()
    assert numbers["error_mm"] == pytest.approx(2)
    assert numbers["by_action_mm"] == {
        "Directions": pytest.approx(2),
        "WalkTogether": pytest.approx(2),
    }
    assert (numbers["people"], numbers["images_skipped"]) == (3, 1)
    assert report(outcome).plots().shape[1] == 1920


class Given:
    description = "given"

    def __init__(self, *bodies: Body) -> None:
        self._frame = BodyFrame(bodies, CAMERA)

    def of(self, picture):
        return self._frame

    def close(self):
        """Nothing is held."""


def body(x: float, z: float) -> Body:
    points = PERSON + np.float32([x, 0, z])
    return Body(points, CAMERA.project(points).astype(np.float32), np.ones(15, np.float32), 0.9)


def test_of_our_people_the_one_at_the_pelvis_is_compared_by_15_joints(folder):
    outcome = evaluate(Given(body(1, 3), body(0, 5)), read_h36m(folder, P2), P2)
    numbers = report(outcome).numbers()
    assert numbers["error_mm"] == pytest.approx(0, abs=1e-3)
    assert len(numbers["joints"]) == 15
    assert "without spine, nose" in report(outcome).summary["joints"]


def test_the_report_has_the_mean_of_the_actions(folder):
    images = read_h36m(folder, P2)[:3]  # two of one action, one of the other

    class Shifted(Given):
        """A wrist is 150 mm off, in the first image alone."""

        def of(self, picture):
            moved = body(0, 5)
            if picture.key == images[0].view.key:
                moved.joints_3d[MPI15.index("l_wrist")] += np.float32([0, 0.15, 0])
            return BodyFrame((moved,), CAMERA)

    made = report(evaluate(Shifted(), images, P2))
    numbers = made.numbers()
    means = list(numbers["by_action_mm"].values())
    assert len(means) == 2 and max(means) > 4
    assert numbers["mean_of_actions_mm"] == pytest.approx(np.mean(means))
    assert numbers["mean_of_actions_mm"] != pytest.approx(numbers["error_mm"], rel=0.1)
    assert made.summary["mean of the actions"] == f"{numbers['mean_of_actions_mm']:.1f} mm"


def test_nobody_found_is_told(folder):
    outcome = evaluate(Given(), read_h36m(folder, P1), P1)
    numbers = report(outcome).numbers()
    assert (numbers["people"], numbers["people_found"]) == (2, 0)
    assert np.isnan(numbers["error_mm"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("camera", "{}", "labels of subject 9"),
        ("joint_3d", "[", "isn't JSON"),
        ("data", '{"images": [], "annotations": [{"image_id": 4}]}', "labels of subject 9"),
    ],
)
def test_bad_labels_are_refused(folder, name, content, message):
    (folder / "annotations" / f"Human36M_subject9_{name}.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_h36m(folder, P2)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([1, 2, 1], "two entries have image_id 1"), ([1.7, 2], "a whole number, got 1.7")],
)
def test_results_of_no_image_and_of_one_image_twice_are_refused(tmp_path, ids, message):
    path = results(tmp_path / "results.json", ids, truth())
    with pytest.raises(InputError, match=message):
        OfficialResults(path)


@pytest.mark.parametrize(
    ("field", "message"),
    [("images", "two entries have id"), ("annotations", "two entries have image_id")],
)
def test_labels_that_are_there_twice_are_refused(folder, field, message):
    path = folder / "annotations" / "Human36M_subject11_data.json"
    content = json.loads(path.read_text())
    content[field].append(content[field][0])
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_h36m(folder, P1)


def test_missing_labels_and_bad_results_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"Human36M_subject9_data\.json"):
        read_h36m(tmp_path / "nowhere", P2)
    path = results(tmp_path / "short.json", [1], np.zeros((16, 3)))
    with pytest.raises(InputError, match="is malformed"):
        OfficialResults(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e308])
@pytest.mark.parametrize("of", ["joint_3d", "camera"])
def test_labels_that_are_no_places_are_refused(folder, of, value):
    path = folder / "annotations" / f"Human36M_subject11_{of}.json"
    content = json.loads(path.read_text())
    if of == "camera":
        content["1"]["t"][2] = value
    else:
        content["2"]["1"]["64"][4][1] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="joints of image 110264 aren't numbers below 1e9 mm"):
        read_h36m(folder, P1)


@pytest.mark.parametrize("field", ["width", "height", "frame_idx"])
def test_infinite_numbers_are_refused(folder, field):
    path = folder / "annotations" / "Human36M_subject11_data.json"
    content = json.loads(path.read_text())
    content["images"][0][field] = float("inf")
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"malformed .expected a whole number, got inf"):
        read_h36m(folder, P1)
