"""MuPoTS-3D: parity with the official scripts' numbers, and the rules one by one."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import open_predictions
from smap_ros.evaluation.mupots import measures as mupots
from smap_ros.evaluation.mupots.measures import (
    ORIGINAL_RULES,
    SMAP_RULES,
    Annotated,
    Detected,
    Mode,
    fit_bones,
    match,
    measure_sequence,
)
from smap_ros.evaluation.mupots.report import evaluate, report
from smap_ros.evaluation.mupots.truth import OfficialResults, detections, read_mupots
from smap_ros.skeletons import MPI15, MPI17, convert
from tests.evaluation.conftest import PERSON

GOLDEN = Path(__file__).resolve().parents[2] / "goldens" / "smap_eval" / "mupots_eval.npz"
# SMAP's joints in the order of the data set.
ORDER = [1, 0, 9, 10, 11, 3, 4, 5, 12, 13, 14, 6, 7, 8, 2]
GROUPS = [*mupots.GROUPS, "total"]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="module")
def sequences(golden) -> list[list[tuple[Annotated, Detected]]]:
    """20 sequences of 3 images: people missed, joints missing, people who aren't there."""
    return [[image(golden, f"ts{ts}_f{k}") for k in range(3)] for ts in range(1, 21)]


def image(golden, name: str) -> tuple[Annotated, Detected]:
    valid = golden[f"valid_{name}"] > 0
    pose_3d, pose_2d = (golden[f"gt{k}_{name}"][valid][:, ORDER] for k in (3, 2))
    hidden = golden[f"occ_{name}"][valid] > 0  # these come in the data set's order
    found_3d, found_2d = (golden[f"p{k}_{name}"][:, ORDER] for k in (3, 2))
    return Annotated(pose_3d, pose_2d, hidden), Detected(found_3d[..., :3], found_2d[..., :2])


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("matched_only", [False, True])
def test_numbers_are_those_of_the_official_scripts(golden, sequences, relative, matched_only):
    mode = Mode(relative, matched_only)
    measured = [measure_sequence(images, SMAP_RULES, mode) for images in sequences]
    got = {
        "mpjpe_seq": [mupots.mpjpe(s.errors) for s in measured],
        "pck_seq": [[mupots.pck(s.errors)[name] for name in GROUPS] for s in measured],
        "auc_seq": [[mupots.auc(s.errors)[name] for name in GROUPS] for s in measured],
        "ordinal_rate_seq": [s.ordinal for s in measured],
        "undetected_seq": [s.undetected for s in measured],
        "annotated_seq": [s.annotated for s in measured],
        "PCK15_per_joint": mupots.pck_by_joint(measured),
        "visible_joints_table": table(measured, hidden=False),
        "occluded_joints_table": table(measured, hidden=True),
    }
    for name, values in got.items():
        expected = golden[f"rel{int(relative)}_mode{int(matched_only)}_{name}"]
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9, err_msg=name)


def table(measured, hidden: bool) -> np.ndarray:
    """The official layout: errors of all sequences, then shares of all sequences."""
    rows = [mupots.masked(s.errors, s.occluded == hidden) for s in measured]
    errors = [[*row.mpjpe, 0] for row in rows]
    return np.array(errors + [[*row.pck, row.joints] for row in rows])


def people(*poses: np.ndarray) -> Annotated:
    """True people seen by a camera of focal length 1000 px."""
    joints = np.array(poses)
    pixels = 1000 * joints[..., :2] / joints[..., 2:] + 500
    return Annotated(joints, pixels, np.zeros(joints.shape[:2], np.bool_))


def pose(x: float = 0.0, z: float = 4000.0) -> np.ndarray:
    """An upright person, 15 joints in the data set's order, millimetres."""
    return (PERSON.astype(float) * 1000)[ORDER] + [x, 0, z]


def found(true: Annotated, shift: float = 0.0) -> Detected:
    return Detected(true.joints_3d, true.joints_2d + shift)


@pytest.mark.parametrize(("shift", "partner"), [(0, [0, 1]), (39.9, [0, 1]), (40.0, [-1, -1])])
def test_people_are_matched_by_joints_within_40_px_on_each_axis(shift, partner):
    true = people(pose(-1500), pose(1500))
    assert match(true, found(true, shift)).tolist() == partner


def test_a_joint_at_the_origin_is_not_there_and_each_prediction_is_used_once():
    true = people(pose(0), pose(10))
    nowhere = Detected(true.joints_3d, np.zeros_like(true.joints_2d))
    near_origin = Annotated(true.joints_3d, true.joints_2d - 500, true.occluded)
    assert match(near_origin, nowhere).tolist() == [-1, -1]
    one = Detected(true.joints_3d[:1], true.joints_2d[:1])
    assert match(true, one).tolist() == [0, -1]


@pytest.mark.parametrize("rules", [SMAP_RULES, ORIGINAL_RULES])
def test_bones_take_the_true_lengths_and_keep_their_directions(rules):
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(size=(2, len(rules.joints), 3))
    fitted = fit_bones(predicted, true, rules)
    np.testing.assert_array_equal(fitted[rules.root], predicted[rules.root])
    assert sorted((*rules.order, rules.root)) == list(range(len(rules.joints)))
    for joint in rules.order:
        bone, wanted, before = (
            p[joint] - p[rules.parents[joint]] for p in (fitted, true, predicted)
        )
        assert np.linalg.norm(bone) == pytest.approx(np.linalg.norm(wanted))
        assert bone @ before == pytest.approx(np.linalg.norm(bone) * np.linalg.norm(before))


def test_a_bone_without_direction_counts_as_a_miss():
    true = people(pose())
    bad = true.joints_3d.copy()
    wrist = SMAP_RULES.joints.index("l_wrist")
    bad[0, wrist] = bad[0, SMAP_RULES.joints.index("l_elbow")]
    result = measure_sequence(
        [(true, Detected(bad, true.joints_2d))], SMAP_RULES, Mode(True, False)
    )
    assert np.isnan(result.errors[0, wrist])
    assert mupots.pck(result.errors)["wrists"] == 50
    assert mupots.pck(result.errors)["total"] == pytest.approx(100 * 13 / 14)


# --- the files of the data set -----------------------------------------------------------------


CAMERA = Camera(1920, 1080, 1500.0, 1480.0, 950.0, 530.0)


def write_sequence(folder: Path, frames: list[list[Body | None]]) -> Path:
    """A ``TSn`` folder with the annotation of people, None for one whose frame isn't valid."""
    scipy_io = pytest.importorskip("scipy.io")
    folder.mkdir(parents=True)
    cells = np.empty((len(frames), len(frames[0])), object)
    labels = np.empty(cells.shape, object)
    for row, bodies in enumerate(frames):
        for column, body in enumerate(bodies):
            joints = np.zeros((3, 17)) if body is None else all_joints(body.joints_3d).T * 1000
            pixels = np.zeros((2, 17)) if body is None else all_joints(body.joints_2d).T
            cells[row, column] = {
                "annot2": pixels,
                "annot3": joints,
                "univ_annot3": joints,
                "isValidFrame": float(body is not None),
            }
            labels[row, column] = np.zeros((1, 17))
    scipy_io.savemat(folder / "annot.mat", {"annotations": cells})
    scipy_io.savemat(folder / "occlusion.mat", {"occlusion_labels": labels})
    return folder


def all_joints(rows: np.ndarray) -> np.ndarray:
    """mpi15 in the data set's 17 joints; spine and head are in between."""
    joints = convert(rows.astype(float), MPI15, MPI17)
    joints[15], joints[16] = (joints[14] + joints[1]) / 2, (joints[0] + joints[1]) / 2
    return joints


def body(x: float, z: float) -> Body:
    points = PERSON + np.float32([x, 0, z])
    return Body(points, CAMERA.project(points).astype(np.float32), np.ones(15, np.float32), 0.9)


class Given:
    """People by key."""

    description = "given"

    def __init__(self, bodies: dict[str, tuple[Body, ...]]) -> None:
        self._bodies = bodies

    def of(self, picture):
        bodies = self._bodies.get(picture.key)
        return None if bodies is None else BodyFrame(bodies, CAMERA)

    def close(self):
        """Nothing is held."""


@pytest.fixture
def data_set(tmp_path) -> Path:
    """Two sequences of two images and two people, one of whom isn't valid in one image."""
    for name in ("TS7", "TS10"):
        frames = [[body(-1, 4), body(1, 5)], [body(-1, 4), None]]
        write_sequence(tmp_path / "data" / name, frames)
    return tmp_path / "data"


def test_the_files_are_read_with_the_camera_that_they_imply(data_set):
    first, second = read_mupots(data_set)
    assert (first.name, second.name) == ("TS7", "TS10")
    assert [len(image.annotated.joints_3d) for image in first.images] == [2, 1]
    view = first.images[1].view
    assert view.key == "TS7/img_000001"
    got, wanted = vars(view.camera), vars(CAMERA)
    for name in ("fx", "fy", "cx", "cy"):
        assert got[name] == pytest.approx(wanted[name], rel=1e-3)
    assert (got["width"], got["height"]) == (1920, 1080)
    (alone,) = read_mupots(data_set / "TS7")
    assert alone.images[0].view.key == "img_000000"


def test_people_found_where_they_are_have_no_error(data_set):
    frames = {0: (body(-1, 4), body(1, 5)), 1: (body(-1, 4),)}
    given = {f"{ts}/img_00000{k}": f for ts in ("TS7", "TS10") for k, f in frames.items()}
    outcome = evaluate(Given(given), read_mupots(data_set))
    assert all(s.errors.max() < 10 for s in outcome.modes["absolute"])  # one focal length for both
    numbers = report(outcome).numbers()
    for mode in numbers["modes"].values():
        assert mode["pck"]["total"] == 100
        assert mode["ordinal"] in (1.0, pytest.approx(float("nan"), nan_ok=True))
    assert (numbers["people"], numbers["people_found"]) == (6, 6)
    assert report(outcome).plots().shape[1] == 1920


def test_missed_people_and_absent_sequences_are_told(data_set):
    given = Given({"TS7/img_000000": (body(-1, 4.1),)})
    outcome = evaluate(given, read_mupots(data_set))
    numbers = report(outcome).numbers()
    assert (numbers["sequences_absent"], numbers["images_skipped"]) == (("TS10",), 1)
    assert (numbers["people"], numbers["people_found"]) == (3, 1)
    assert numbers["modes"]["relative"]["pck"]["total"] == pytest.approx(100 / 3)
    assert numbers["modes"]["relative, matched"]["pck"]["total"] == 100
    with pytest.raises(InputError, match="none of the 4 pictures"):
        evaluate(Given({}), read_mupots(data_set))


def test_depth_stays_and_the_rest_follows_from_the_picture():
    person = body(0.5, 4)
    joints = person.joints_3d.copy()
    joints[0, 2] *= 1.1
    frame = BodyFrame((Body(joints, person.joints_2d, person.scores, 0.9),), CAMERA)
    camera = Camera(1920, 1080, 1500.0, 1500.0, 950.0, 530.0)
    neck = detections(frame, camera).joints_3d[0, MPI17.index("neck")]
    np.testing.assert_allclose(neck[0], 1100 * person.joints_3d[0, 0], rtol=1e-5)
    assert neck[2] == pytest.approx(4400)


@pytest.mark.parametrize("kind", ["smap", "original"])
def test_official_results_are_read(tmp_path, data_set, kind):
    scipy_io = pytest.importorskip("scipy.io")
    out = tmp_path / "results"
    out.mkdir()
    two = [body(-1, 4), body(1, 5)]
    for dimensions in (2, 3):
        rows = [np.array(b.joints_2d if dimensions == 2 else b.joints_3d * 1000) for b in two]
        if kind == "smap":
            people = [np.hstack([r, np.ones((15, 4 - dimensions))]) for r in rows]
            struct = {f"{ts}/img_000000.jpg": people[:1] for ts in ("TS7", "TS10")}
            content = {f"preds_{dimensions}d_kpt": struct}
            name = f"pose{dimensions}d.mat"
        else:
            content = {"TS7_img_000000": [all_joints(r) for r in rows]}
            name = f"preds_{dimensions}d_kpt_mupots.mat"
        scipy_io.savemat(out / name, content)
    assert OfficialResults.found(out) and not OfficialResults.found(tmp_path)
    outcome = evaluate(OfficialResults(out), read_mupots(data_set))
    assert len(outcome.rules.joints) == (15 if kind == "smap" else 17)
    assert outcome.images == (2 if kind == "smap" else 1)
    exact = outcome.modes["absolute, matched"][0].errors[:, :14]
    assert len(exact) == (1 if kind == "smap" else 2)
    assert exact.max() < 0.01


def official(folder: Path, kind: str, poses: int, pixels: int) -> OfficialResults:
    """What an official implementation saved of one image, with so many people in 3D and 2D."""
    scipy_io = pytest.importorskip("scipy.io")
    for dimensions, count in ((2, pixels), (3, poses)):
        joints = {"smap": (15, 4), "original": (17, dimensions)}[kind]
        people = np.ones((count, *joints)) if count else np.array([])
        if kind == "smap":
            name = f"pose{dimensions}d.mat"
            content = {f"preds_{dimensions}d_kpt": {"TS7/img_000000.jpg": people}}
        else:
            name, content = f"preds_{dimensions}d_kpt_mupots.mat", {"TS7_img_000000": people}
        scipy_io.savemat(folder / name, content)
    return OfficialResults(folder)


@pytest.mark.parametrize("kind", ["smap", "original"])
@pytest.mark.parametrize(("poses", "pixels"), [(1, 3), (3, 1), (2, 0), (0, 2)])
def test_other_people_in_3d_than_in_2d_are_refused(tmp_path, kind, poses, pixels):
    results = official(tmp_path, kind, poses, pixels)
    message = rf"has {poses} people in image TS7_img_000000, the 2D file beside it {pixels}; exp"
    with pytest.raises(InputError, match=message):
        results.of("TS7", "img_000000")


@pytest.mark.parametrize(("kind", "joints"), [("smap", 15), ("original", 17)])
def test_an_image_without_anybody_is_looked_at(tmp_path, kind, joints):
    found = official(tmp_path, kind, 0, 0).of("TS7", "img_000000")
    assert found.joints_3d.shape == (0, joints, 3) and found.joints_2d.shape == (0, joints, 2)


def test_people_of_no_numbers_are_malformed(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    for dimensions in (2, 3):
        content = {"TS7_img_000000": np.zeros((3, 17, 0))}
        scipy_io.savemat(tmp_path / f"preds_{dimensions}d_kpt_mupots.mat", content)
    with pytest.raises(InputError, match="are malformed"):
        OfficialResults(tmp_path).of("TS7", "img_000000")


def test_two_results_of_one_image_are_refused(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    rows = np.ones((1, 15, 4))
    struct = {f"TS7/img_000000.{kind}": rows for kind in ("jpg", "png")}
    for dimensions in (2, 3):
        scipy_io.savemat(tmp_path / f"pose{dimensions}d.mat", {f"preds_{dimensions}d_kpt": struct})
    with pytest.raises(InputError, match="two results of image TS7_img_000000"):
        OfficialResults(tmp_path)


def test_two_variables_of_one_name_are_refused(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    with (tmp_path / "preds_3d_kpt_mupots.mat").open("wb") as file:
        scipy_io.savemat(file, {"TS7_img_000000": np.ones((1, 17, 3))})
        again = io.BytesIO()
        scipy_io.savemat(again, {"TS7_img_000000": np.zeros((1, 17, 3))})
        file.write(again.getvalue()[128:])  # without the header
    (tmp_path / "preds_2d_kpt_mupots.mat").write_bytes(
        (tmp_path / "preds_3d_kpt_mupots.mat").read_bytes()
    )
    with pytest.raises(InputError, match=r"Duplicate variable name .*TS7_img_000000"):
        OfficialResults(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda ts: (ts / "occlusion.mat").unlink(), "occlusion.mat is missing"),
        (lambda ts: (ts / "annot.mat").write_bytes(b"MATLAB"), "can't be read as a MATLAB file"),
        (lambda ts: (ts / "annot.mat").rename(ts / "else.mat"), "isn't MuPoTS-3D"),
    ],
)
def test_damaged_data_is_refused(data_set, damage, message):
    damage(data_set / "TS7")
    with pytest.raises(InputError, match=message):
        read_mupots(data_set / "TS7")


def results(folder: Path, *people: Body) -> Path:
    """A bodies.json of the two images there."""
    folder.mkdir(parents=True)
    frames = [
        BodyFrame(people, CAMERA, source=f"img_{k:06d}.jpg", index=k).to_json() for k in range(2)
    ]
    (folder / "bodies.json").write_text(json.dumps({"frames": frames}))
    return folder / "bodies.json"


@pytest.mark.parametrize("place", ["TS7", "."])
def test_of_a_folder_of_results_one_sequence_takes_its_own(tmp_path, data_set, monkeypatch, place):
    if place == ".":
        monkeypatch.chdir(data_set / "TS7")
    sequences = read_mupots(Path(".") if place == "." else data_set / place)
    results(tmp_path / "found" / "TS7", body(-1, 4))
    other = results(tmp_path / "found" / "TS10", body(-1, 4), body(1, 5))
    outcome = evaluate(open_predictions(str(tmp_path / "found")), sequences)
    assert report(outcome).numbers()["people_found"] == 2
    (tmp_path / "found" / "TS7" / "bodies.json").unlink()
    with pytest.raises(InputError, match=r"none of the 2 pictures.*in a folder of its name"):
        evaluate(open_predictions(str(tmp_path / "found")), sequences)
    # A file that is named by itself is meant, wherever it lies.
    assert report(evaluate(open_predictions(str(other)), sequences)).numbers()["people_found"] == 3


def test_of_nobody_found_the_matched_have_no_numbers_and_nothing_is_warned_of(data_set):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = evaluate(Given({"TS7/img_000000": ()}), read_mupots(data_set))
        numbers = report(outcome).numbers()
    by_joint = numbers["modes"]["relative, matched"]["pck_by_joint"]
    assert len(by_joint) == 15 and np.isnan(list(by_joint.values())).all()
