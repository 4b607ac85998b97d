"""Protocol coco: our people as COCO's, and the numbers that pycocotools gives by hand."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.cli.app import app
from smap_ros.errors import InputError
from smap_ros.evaluation.coco.measures import (
    LIMBS,
    NAMES,
    OfficialResults,
    detected,
    evaluate,
    measured,
)
from smap_ros.evaluation.coco.report import evaluate as measure
from smap_ros.evaluation.coco.report import report
from smap_ros.evaluation.coco.truth import read_coco
from smap_ros.offline.bodies_file import BodiesFile
from smap_ros.skeletons import COCO17, MPI15

pytest.importorskip("pycocotools", reason="pip install 'smap-ros[evaluate]'")

NAMES17 = [name.replace("l_", "left_").replace("r_", "right_") for name in COCO17.joints]
FACE = [k for k in range(17) if k not in LIMBS]
SIZE = (640, 480)


def person(rng: np.random.Generator) -> np.ndarray:
    """Keypoints [17, 3] of somebody upright, all labelled."""
    height, (x, y) = rng.uniform(60, 220), rng.uniform((150, 120), (480, 240))
    points = np.full((17, 3), 2.0)
    points[:, 0] = x + height * rng.uniform(-0.2, 0.2, 17)
    points[:, 1] = y + height * np.linspace(0, 1, 17)
    return points


def label(points: np.ndarray, photo: int, **fields: Any) -> dict[str, Any]:
    seen = points[points[:, 2] > 0, :2] if (points[:, 2] > 0).any() else points[:, :2]
    low, high = seen.min(0), seen.max(0)
    return {
        "image_id": photo, "category_id": 1, "keypoints": points.ravel().tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()), "iscrowd": 0, "id": 0,
        "bbox": [*low, *(high - low)], "area": float(0.6 * np.prod(high - low)), **fields,
    }  # fmt: skip


def write_set(folder: Path, photos: int = 6) -> Path:
    """Photos with none to three people, some keypoints not labelled, one crowd."""
    rng = np.random.default_rng(4)
    labels = []
    for photo in range(photos):
        for _ in range(photo % 4):
            points = person(rng)
            points[rng.random(17) < 0.2] = 0
            labels.append(label(points, 100 + photo))
    labels.append(label(np.zeros((17, 3)), 101, iscrowd=1))
    faces = person(rng)
    faces[list(LIMBS)] = 0
    labels.append(label(faces, 102))  # none of our joints is labelled: doesn't count for the 12
    images = [
        {"id": 100 + k, "file_name": f"{k:012d}.jpg", "width": SIZE[0], "height": SIZE[1]}
        for k in range(photos)
    ]
    for k, entry in enumerate(labels):
        entry["id"] = 9000 + k
    path = folder / "annotations" / "person_keypoints_val2017.json"
    path.parent.mkdir(parents=True)
    categories = [{"id": 1, "name": "person", "keypoints": NAMES17, "skeleton": []}]
    path.write_text(json.dumps({"images": images, "annotations": labels, "categories": categories}))
    return path


def body(points: np.ndarray, score: float = 0.9) -> Body:
    """Our person of COCO's keypoints [17, 3]; those not labelled are found amidst the others."""
    middle = points[points[:, 2] > 0, :2].mean(axis=0)
    joints, scores = np.full((15, 2), middle, np.float32), np.ones(15, np.float32)
    for k in LIMBS:
        joints[MPI15.index(COCO17.joints[k])] = points[k, :2] if points[k, 2] else middle
    return Body(np.full((15, 3), 2.0, np.float32), joints, scores, score)


def found(path: Path, noise: float, misses: int = 0) -> dict[str, list[Body]]:
    """The labelled people, their joints off at random; so many people at the end are missed."""
    rng = np.random.default_rng(7)
    out: dict[str, list[Body]] = {}
    for photo in read_coco(path):
        people = [entry for entry in photo.people if not entry["iscrowd"]]
        bodies = []
        for k, entry in enumerate(people[: max(len(people) - misses, 0)]):
            points = np.reshape(entry["keypoints"], (17, 3)).copy()
            points[:, :2] += noise * entry["area"] ** 0.5 * rng.normal(size=(17, 2))
            bodies.append(body(points, 0.9 - 0.1 * k))
        out[photo.view.key] = bodies
    return out


def outcome_of(path: Path, people: dict[str, list[Body]]):
    return evaluate(lambda photo: [detected(b) for b in people[photo.view.key]], read_coco(path))


def by_hand(path: Path, results: list[dict[str, Any]], drop_face: bool) -> list[float]:
    """pycocotools on files, as its demo does it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content = json.loads(path.read_text())
    if drop_face:
        for entry in content["annotations"]:
            points = np.reshape(entry["keypoints"], (17, 3))
            points[FACE] = 0
            entry["keypoints"] = points.ravel().tolist()
            entry["num_keypoints"] = int((points[:, 2] > 0).sum())
    truth, own = path.with_name("truth.json"), path.with_name("results.json")
    truth.write_text(json.dumps(content))
    own.write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(str(truth))
        run = COCOeval(gt, gt.loadRes(str(own)), "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [100 * value if value >= 0 else float("nan") for value in run.stats]


def as_results(path: Path, people: dict[str, list[Body]]) -> list[dict[str, Any]]:
    """The same people in COCO's form; what we lack is put on a joint, as by who must say all."""
    out = []
    for photo in read_coco(path):
        for one in people[photo.view.key]:
            points = np.ones((17, 3))
            points[list(LIMBS), :2] = [
                one.joints_2d[MPI15.index(COCO17.joints[k])] for k in LIMBS
            ]  # fmt: skip
            points[FACE, :2] = points[LIMBS[0], :2]
            out.append(
                {"image_id": photo.number, "category_id": 1, "score": one.score,
                 "keypoints": points.ravel().tolist()}
            )  # fmt: skip
    return out


def values(summary) -> list[float]:
    return [summary[name] for name in NAMES]


def test_perfect_people_give_an_ap_of_100(tmp_path):
    path = write_set(tmp_path)
    outcome = outcome_of(path, found(path, 0.0))
    assert outcome.limbs.summary["AP"] == pytest.approx(100)
    assert outcome.limbs.summary["AR"] == pytest.approx(100)
    assert outcome.people.oks == pytest.approx(1, abs=1e-6)
    assert outcome.people.people == outcome.people.found == 7
    assert set(outcome.people.joints) == {COCO17.joints[k] for k in LIMBS}
    assert outcome.all.summary["AP"] < 90  # nobody's eyes, ears and nose were found


@pytest.mark.parametrize(("noise", "misses"), [(0.05, 0), (0.1, 0), (0.1, 1)])
def test_the_numbers_are_those_of_pycocotools_by_hand(tmp_path, noise, misses):
    path = write_set(tmp_path)
    people = found(path, noise, misses)
    outcome = outcome_of(path, people)
    expected = by_hand(path, as_results(path, people), drop_face=True)
    assert 5 < expected[0] < 95
    np.testing.assert_allclose(values(outcome.limbs.summary), expected, rtol=1e-9)


def test_results_in_cocos_form_are_measured_on_all_17_as_officially(tmp_path):
    path = write_set(tmp_path)
    results = as_results(path, found(path, 0.05))
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    assert OfficialResults.found(file)
    outcome = evaluate(OfficialResults(file).people, read_coco(path))
    for summary, drop in ((outcome.all.summary, False), (outcome.limbs.summary, True)):
        np.testing.assert_allclose(values(summary), by_hand(path, results, drop), rtol=1e-9)


def test_who_stands_in_a_crowd_is_no_false_alarm(tmp_path):
    path = write_set(tmp_path)
    content = json.loads(path.read_text())
    crowd = next(entry for entry in content["annotations"] if entry["iscrowd"])
    crowd.update(bbox=[0, 0, *SIZE], area=0.5 * SIZE[0] * SIZE[1])
    path.write_text(json.dumps(content))
    people = found(path, 0.0)
    extra = body(person(np.random.default_rng(1)), 0.95)
    extra.scores[4] = 0
    people["000000000001"].append(extra)  # the photo with the crowd
    assert outcome_of(path, people).limbs.summary["AP"] == pytest.approx(100)
    people["000000000004"] = [extra]
    assert outcome_of(path, people).limbs.summary["AP"] < 100


def test_a_missing_joint_is_missed_and_no_point(tmp_path):
    path = write_set(tmp_path)
    people = found(path, 0.0)
    whole = outcome_of(path, people).people
    for bodies in people.values():
        for one in bodies:
            one.scores[MPI15.index("l_wrist")] = 0
            one.joints_2d[MPI15.index("l_wrist")] = np.nan
    less = outcome_of(path, people).people
    assert less.joints["l_wrist"] < 1 and less.joints["r_wrist"] == pytest.approx(100)
    assert less.oks == pytest.approx(whole.oks - less.labelled["l_wrist"] / 12 / 7, abs=0.03)


def test_nobody_found_is_0_and_photos_not_looked_at_dont_count(tmp_path):
    path = write_set(tmp_path)
    photos = read_coco(path)
    nobody = evaluate(lambda photo: [], photos)
    assert nobody.limbs.summary["AP"] == 0 and nobody.people.found == 0
    people = found(path, 0.0)
    some = evaluate(
        lambda photo: (
            [detected(b) for b in people[photo.view.key]] if photo.number != 103 else None
        ),
        photos,
    )
    assert (some.photos, some.skipped) == (5, 1)
    assert some.limbs.summary["AP"] == pytest.approx(100)
    assert report(some).numbers()["keypoints_12_percent"]["AP"] == pytest.approx(100)


def bodies_json(folder: Path, path: Path, people: dict[str, list[Body]]) -> Path:
    camera = Camera.from_fov(*SIZE, 1.0)
    frames = [
        BodyFrame(tuple(bodies), camera, 0.0, source=f"{key}.jpg", index=k)
        for k, (key, bodies) in enumerate(people.items())
    ]
    out = folder / "bodies.json"
    with contextlib.closing(BodiesFile(out)) as file:
        for frame in frames:
            file.add(frame)
    return out


def test_the_command_measures_a_bodies_json_and_a_bundle(tmp_path, scene_maker, make_bundle):
    path = write_set(tmp_path)
    file = bodies_json(tmp_path, path, found(path, 0.0))
    words = ["evaluate", "--protocol", "coco", str(file), str(tmp_path), "--report"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "report")])
    assert result.exception is None, result.exception
    assert "without eyes, ears, nose" in result.stdout
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert numbers["keypoints_12_percent"]["AP"] == pytest.approx(100)
    assert numbers["people"] == 7 and numbers["images"] == 6
    assert cv2.imread(str(tmp_path / "report" / "plots.png")) is not None
    # A bundle looks at the photos of the folder that is named as the set.
    scene = scene_maker([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5]])
    camera = scene.camera
    content = json.loads(path.read_text())
    points = np.full((2, 17, 3), 2.0)
    for k in LIMBS:
        points[:, k, :2] = camera.project(scene.joints[:, MPI15.index(COCO17.joints[k])])
    points[:, FACE] = 0
    content["annotations"] = [label(one, 100, id=k) for k, one in enumerate(points)]
    size = {"width": camera.width, "height": camera.height}
    content["images"] = [{"id": 100, "file_name": "000000000000.png", **size}]
    path.write_text(json.dumps(content))
    (tmp_path / "val2017").mkdir()
    cv2.imwrite(str(tmp_path / "val2017" / "000000000000.png"), scene.image(250))
    bundle = str(make_bundle(scene).folder)
    words = ["evaluate", "-p", "coco", bundle, str(path), "--engine", "onnxruntime", "-r"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "second")])
    assert result.exception is None, result.exception
    numbers = json.loads((tmp_path / "second" / "report.json").read_text())
    assert numbers["keypoints_12_percent"]["AP"] > 95 and numbers["people_found"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), r"malformed \('images' is missing\)"),
        (lambda c: c["annotations"][0].update(keypoints=[1, 2, 3]), "annotation 0 has 3 numbers"),
        (lambda c: c["annotations"][1].update(area=float("nan")), "all finite: False"),
        (lambda c: c["annotations"][1].update(image_id=7), "malformed"),
        (lambda c: c["categories"][0].update(keypoints=NAMES17[::-1]), "expected COCO's 17"),
        (lambda c: c["images"][1].update(file_name="000000000000.jpg"), "two images are called"),
        (lambda c: c.update(images=[], annotations=[]), "has no images"),
        (lambda c: c["images"][1].update(id=100), "two images have id 100"),
        (lambda c: c["images"][1].update(id=101.5), "expected a whole number, got 101.5"),
        (lambda c: c["annotations"][1].update(image_id=102.5), "a whole number, got 102.5"),
        (lambda c: c["annotations"][1].update(area=-5.0), "annotation 1 has an area of -5.0 px²"),
        (lambda c: c.update(categories=[]), "malformed"),
        (lambda c: c["images"][1].update(width=float("inf")), "expected a whole number, got inf"),
        (lambda c: c["images"][1].update(height=float("-inf")), "a whole number, got -inf"),
        (lambda c: c["annotations"][1].update(iscrowd=float("inf")), "infinite or too large"),
        (lambda c: c["annotations"][1].update(area=10**400), "infinite or too large"),
    ],
)
def test_a_malformed_truth_is_refused(tmp_path, change, message):
    path = write_set(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_coco(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 7}, "entry 1 is malformed .category_id is 7, that of a person is 1"),
        ({"image_id": 101.7}, "entry 1 is malformed .expected a whole number, got 101.7"),
        ({"image_id": 7}, "of 1 photos that the data set lacks .the first is image_id 7"),
    ],
)
def test_results_of_other_data_are_refused(tmp_path, change, message):
    path = write_set(tmp_path)
    results = as_results(path, found(path, 0.05))
    results[1].update(change)
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    with pytest.raises(InputError, match=message):
        measure(OfficialResults(file), read_coco(path))


def test_results_may_leave_the_category_and_photos_out(tmp_path):
    path = write_set(tmp_path)
    results = as_results(path, found(path, 0.05))[1:]
    for entry in results:
        del entry["category_id"]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    assert measure(OfficialResults(file), read_coco(path)).predicted == len(results)


def test_malformed_results_and_a_folder_without_annotations_are_refused(tmp_path):
    file = tmp_path / "results.json"
    for entries, message in (
        ([{"image_id": 1, "keypoints": [0.0] * 50, "score": 1}], "entry 0 is malformed"),
        ([{"image_id": 1, "keypoints": [0.0] * 51}], "entry 0 is malformed"),
        ([{"image_id": 1, "keypoints": [float("nan")] * 51, "score": 1}], "entry 0 is malformed"),
        ([{"image_id": 1, "keypoints": [[]], "score": 1}], "entry 0 is malformed"),
        ([{"image_id": 1, "keypoints": [0.0] * 51, "score": 10**400}], "entry 0 is malformed"),
    ):
        file.write_text(json.dumps(entries))
        with pytest.raises(InputError, match=message):
            OfficialResults(file)
    with pytest.raises(InputError, match="has no annotations/person_keypoints_val2017"):
        read_coco(tmp_path)


def test_without_pycocotools_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    path = write_set(tmp_path)
    file = bodies_json(tmp_path, path, found(path, 0.0))
    result = CliRunner().invoke(app, ["evaluate", "-p", "coco", str(file), str(path)])
    assert isinstance(result.exception, InputError)
    assert "pip install 'smap-ros[evaluate]'" in str(result.exception)


# Somebody from the side who swims to the upper left: the head is where their box begins.
SWIMMER = {
    "nose": (104, 116), "l_eye": (106, 111), "r_eye": (107, 110), "l_ear": (113, 108),
    "r_ear": (114, 107), "l_shoulder": (122, 116), "r_shoulder": (128, 112), "l_elbow": (115, 160),
    "r_elbow": (130, 165), "l_wrist": (110, 205), "r_wrist": (135, 210), "l_hip": (220, 150),
    "r_hip": (224, 146), "l_knee": (290, 190), "r_knee": (295, 180), "l_ankle": (360, 230),
    "r_ankle": (365, 220),
}  # fmt: skip


@pytest.mark.parametrize("lost", [(), ("l_shoulder",), ("l_shoulder", "r_shoulder")])
@pytest.mark.parametrize("mirrored", [(1, 1), (-1, 1), (1, -1)])
def test_a_head_is_missed_wherever_it_is(tmp_path, lost, mirrored):
    points = np.array([(*SWIMMER[name], 2.0) for name in COCO17.joints])
    points[:, :2] = points[:, :2] * mirrored + np.array([400, 300]) * (np.array(mirrored) < 0)
    one = body(points)
    for name in lost:
        one.scores[MPI15.index(name)] = 0
    path = tmp_path / "person_keypoints_val2017.json"
    image = {"id": 1, "file_name": "1.jpg", "width": SIZE[0], "height": SIZE[1]}
    labels = [label(points, 1, area=18000.0)]
    kinds = [{"id": 1, "name": "person", "keypoints": NAMES17}]
    path.write_text(json.dumps({"images": [image], "annotations": labels, "categories": kinds}))
    photos = read_coco(path)
    _, similarity = measured(photos, photos[0].people, [{**detected(one), "image_id": 1}])
    assert similarity.oks == pytest.approx((12 - len(lost)) / 17, abs=0.005)


def test_what_is_missing_lies_within_the_box():
    points = np.array([(*SWIMMER[name], 2.0) for name in COCO17.joints])
    made = detected(body(points))
    face = np.reshape(made["keypoints"], (17, 3))[FACE]
    left, top, width, height = made["bbox"]
    assert {tuple(row) for row in face} == {(left + width, top + height, 0)}
