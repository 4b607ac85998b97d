"""3DPW: parity with MAED's numbers, its files, and people with and without meshes."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame, Mesh
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import open_predictions
from smap_ros.evaluation.threedpw import measures as threedpw
from smap_ros.evaluation.threedpw import smpl
from smap_ros.evaluation.threedpw.report import evaluate, report
from smap_ros.evaluation.threedpw.truth import labelled, read_threedpw, regressed
from smap_ros.skeletons import MPI15, SMPL24

GOLDEN = Path(__file__).resolve().parents[2] / "goldens" / "maed_eval" / "golden.npz"
BODY_GOLDEN = Path(__file__).resolve().parents[2] / "goldens" / "maed" / "golden.npz"
CAMERA = Camera(1080, 1920, 1960.0, 1970.0, 540.0, 960.0)
FRAMES = 5


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_numbers_are_those_of_maed(golden):
    found, true = 1000 * golden["pred_j3d"], 1000 * golden["target_j3d"]
    for values, name in (
        (threedpw.mpjpe(found, true), "mpjpe"),
        (threedpw.pa_mpjpe(found, true), "pa-mpjpe"),
        (threedpw.acceleration(found), "accel"),
        (threedpw.acceleration_error(found, true), "accel_err"),
    ):
        assert values.mean() == pytest.approx(float(golden[f"metric_{name}"]), rel=2e-7), name
    fitted = threedpw.aligned(golden["pred_j3d"], golden["target_j3d"])
    np.testing.assert_allclose(fitted, golden["pa_aligned"], atol=1e-6)


def test_missing_joints_and_frames_leave_the_rest_as_it_is(golden):
    found, true = golden["pred_j3d"].copy(), golden["target_j3d"]
    whole = threedpw.mpjpe(found, true)
    found[3], found[5, 0] = np.nan, np.nan
    less = threedpw.mpjpe(found, true)
    assert np.isnan(less[3])
    assert less[5] != whole[5] and np.isfinite(less[5])
    np.testing.assert_array_equal(np.delete(less, [3, 5]), np.delete(whole, [3, 5]))
    assert np.isnan(threedpw.acceleration(found)[1:4]).all()


@pytest.fixture(scope="module")
def body_folder(tmp_path_factory) -> Path:
    """SMPL files in their true shapes, of the synthetic body that the goldens were made with."""
    pytest.importorskip("torch")
    from smap_train.models.golden_body import synthetic_body, synthetic_regressor

    arrays = synthetic_body()
    folder = tmp_path_factory.mktemp("smpl")
    np.savez(
        folder / smpl.BODY,
        v_template=arrays.v_template,
        shapedirs=arrays.shapedirs,
        posedirs=arrays.posedirs,
        J_regressor=arrays.joint_regressor,
        weights=arrays.weights,
    )
    np.save(folder / smpl.H36M, synthetic_regressor("J_regressor_h36m", 17))
    return folder


def test_the_mesh_is_that_of_the_official_body(body_folder):
    body = smpl.read_body_model(body_folder)
    with np.load(BODY_GOLDEN) as archive:
        poses, shapes = archive["smpl_aa"].astype(float), archive["smpl_betas"].astype(float)
        expected = archive["smpl_verts__sub"]
    vertices = np.stack([body.vertices(p, s) for p, s in zip(poses, shapes, strict=True)])
    places = np.random.Generator(np.random.PCG64(1)).integers(0, vertices.size, size=4096)
    np.testing.assert_allclose(vertices.reshape(-1)[places], expected, atol=5e-6)


# --- the files ---------------------------------------------------------------------------------


def sequence(name: str = "walk_00", **changes) -> dict:
    """Two people, the second of whom has no camera in the last frame."""
    rng = np.random.default_rng(0)
    turn = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])  # the world is y up
    extrinsics = np.tile(np.eye(4), (FRAMES, 1, 1))
    extrinsics[:, :3, :3] = turn
    extrinsics[:, 2, 3] = np.linspace(4, 5, FRAMES)
    valid = np.ones((2, FRAMES), np.int64)
    valid[1, -1] = 0
    poses = 0.2 * rng.normal(size=(2, FRAMES, 72))
    poses[..., :3] = 0
    joints = 0.4 * rng.normal(size=(2, FRAMES, 24, 3)) + np.array(
        [[[[-0.9, 0, 0]]], [[[0.9, 0, 0]]]]
    )
    return {
        "sequence": name,
        "cam_intrinsics": CAMERA.matrix,
        "cam_poses": extrinsics,
        "jointPositions": list(joints.reshape(2, FRAMES, 72)),
        "poses": list(poses),
        "betas": [np.zeros(10), np.zeros(300)],
        "trans": [np.tile([x, 0.0, 0.0], (FRAMES, 1)) for x in (-0.9, 0.9)],
        "campose_valid": list(valid),
        "genders": ["m", "f"],
        **changes,
    }


@pytest.fixture
def data_set(tmp_path) -> Path:
    folder = tmp_path / "3DPW" / "sequenceFiles" / "test"
    folder.mkdir(parents=True)
    for name in ("walk_00", "hug_01"):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(sequence(name), protocol=2))
    return tmp_path / "3DPW"


def test_the_files_are_read_into_the_cameras_frame(data_set):
    first, second = read_threedpw(data_set)
    assert (first.name, second.name) == ("hug_01", "walk_00")
    assert first.views[3].key == "hug_01/image_00003"
    assert first.views[3].path == data_set / "imageFiles" / "hug_01" / "image_00003.jpg"
    assert first.views[3].camera == CAMERA
    world = sequence()["jointPositions"][0].reshape(FRAMES, 24, 3)
    np.testing.assert_allclose(
        first.actors[0].joints[2], world[2] * [1, -1, -1] + [0, 0, 4.5], atol=1e-12
    )
    joints = labelled(first.actors[0], 2)
    assert np.isnan(joints[-1]).all() and np.isfinite(joints[:-1]).all()
    np.testing.assert_array_equal(joints[0], first.actors[0].joints[2, SMPL24.index("r_ankle")])
    assert first.actors[1].valid.tolist() == [True] * 4 + [False]
    (alone,) = read_threedpw(data_set / "sequenceFiles" / "test" / "walk_00.pkl")
    assert alone.views[0].key == "image_00000"


def predicted(joints: np.ndarray, mesh: Mesh | None = None) -> Body:
    """Somebody with these 14 joints, the middle of the hips as pelvis."""
    points = np.full((15, 3), np.nan, np.float32)
    points[[MPI15.index(name) for name in threedpw.JOINTS]] = joints
    points[MPI15.root] = joints[threedpw.HIPS].mean(axis=0)
    scores = np.isfinite(points[:, 0]).astype(np.float32)
    return Body(points, CAMERA.project(points).astype(np.float32), scores, 0.9, mesh=mesh)


class Given:
    description = "given"

    def __init__(self, people) -> None:
        self._people = people

    def of(self, picture):
        people = self._people.get(picture.key)
        return None if people is None else BodyFrame(tuple(people), CAMERA)

    def close(self):
        """Nothing is held."""


def test_without_a_body_model_smpls_own_joints_are_compared(data_set):
    found, given = read_threedpw(data_set), {}
    for k in range(FRAMES - 1):  # the last image is not in the predictions
        people = [predicted(labelled(actor, k) + [0.1, 0, 0]) for actor in found[0].actors]
        people[0].joints_3d[MPI15.index("l_wrist")] += np.float32([0, 0.13, 0])
        given[f"hug_01/image_{k:05d}"] = people if k else people[:1]
    outcome = evaluate(Given(given), found)
    numbers = report(outcome).numbers()
    assert not numbers["official_joints"]
    assert (numbers["people"], numbers["people_found"], numbers["images_skipped"]) == (8, 7, 6)
    assert numbers["mpjpe_mm"] == pytest.approx(4 / 7 * 10, rel=1e-3)
    assert numbers["pa_mpjpe_mm"] < 15
    assert np.isnan(numbers["mpvpe_mm"])
    assert report(outcome).plots().shape[1] == 1920


def test_joints_that_were_not_found_and_people_who_were_not_measured_are_told(data_set):
    """The first has no wrists in one picture, the second no hip, so no origin, in another."""
    (walk,) = read_threedpw(data_set / "sequenceFiles" / "test" / "walk_00.pkl")
    given = {}
    for k in range(FRAMES):
        poses = [labelled(actor, k) for actor in walk.actors]
        if k == 1:
            poses[0][[threedpw.JOINTS.index(name) for name in ("l_wrist", "r_wrist")]] = np.nan
        people = [predicted(pose) for pose in poses]
        if k == 2:
            people[1].joints_3d[MPI15.index("l_hip")] = np.nan
        given[f"image_{k:05d}"] = people
    made = report(evaluate(Given(given), [walk]))
    numbers = made.numbers()
    assert numbers["people_found"] == 9
    assert numbers["joints_percent"] == pytest.approx(100 * (9 * 13 - 3) / (9 * 13))
    assert made.summary["joints of the found"] == "97.4 %"
    assert numbers["people_measured"] == {
        "mpjpe_mm": 8, "pa_mpjpe_mm": 9, "acceleration_mm": 5, "acceleration_error_mm": 5,
        "mpvpe_mm": 0,
    }  # fmt: skip
    (table,) = (d for d in made.details if d.title == "people measured, of those found")
    assert table.rows["MPJPE mm"] == ("8",) and table.rows["PA-MPJPE mm"] == ("9",)


def test_with_a_body_model_meshes_are_compared(data_set, body_folder):
    body = smpl.read_body_model(body_folder)
    (walk,) = read_threedpw(data_set / "sequenceFiles" / "test" / "walk_00.pkl")
    given, faces = {}, np.array([[0, 1, 2]], np.int32)
    for k in range(FRAMES):
        people = []
        for actor in walk.actors:
            vertices = walk.vertices(actor, k, body) + [0, 0, 0.2]
            larger = vertices.mean(axis=0) + 1.02 * (vertices - vertices.mean(axis=0))
            mesh = Mesh(larger.astype(np.float32), faces)
            people.append(predicted(regressed(vertices, body), mesh))
        given[f"image_{k:05d}"] = people
    numbers = report(evaluate(Given(given), [walk], body)).numbers()
    assert numbers["official_joints"]
    assert (numbers["people"], numbers["people_found"]) == (9, 9)
    # The mesh is 2 % too large: so are its joints, and nothing else is wrong.
    assert 1 < numbers["mpjpe_mm"] < 20
    assert 1 < numbers["mpvpe_mm"] < 20
    assert numbers["pa_mpjpe_mm"] < 1e-2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cam_poses": np.eye(3)}, "is malformed"),
        ({"jointPositions": []}, "is malformed"),
        ({"genders": [print]}, "refused: it holds pickled Python code .*print"),
    ],
)
def test_bad_sequences_are_refused(tmp_path, changes, message):
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(sequence(**changes), protocol=2))
    with pytest.raises(InputError, match=message):
        read_threedpw(path)


def test_a_sequence_that_is_there_twice_is_refused(data_set):
    folder = data_set / "sequenceFiles" / "test"
    (folder / "copy.pkl").write_bytes((folder / "walk_00.pkl").read_bytes())
    with pytest.raises(InputError, match="two files of the sequence walk_00"):
        read_threedpw(data_set)


def test_missing_smpl_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"SMPL_NEUTRAL.npz is missing: put your SMPL body"):
        smpl.read_body_model(tmp_path)


def test_of_a_folder_of_results_one_sequence_takes_its_own(data_set, tmp_path):
    found = read_threedpw(data_set / "sequenceFiles" / "test" / "walk_00.pkl")
    for name, count in (("walk_00", 1), ("hug_01", 2)):
        frames = [
            BodyFrame(
                tuple(predicted(labelled(actor, k)) for actor in found[0].actors[:count]),
                CAMERA, source=f"image_{k:05d}.jpg", index=k,
            ).to_json()
            for k in range(FRAMES)
        ]  # fmt: skip
        (tmp_path / "found" / name).mkdir(parents=True)
        (tmp_path / "found" / name / "bodies.json").write_text(json.dumps({"frames": frames}))
    outcome = evaluate(open_predictions(str(tmp_path / "found")), found)
    assert report(outcome).numbers()["people_found"] == FRAMES
    (tmp_path / "found" / "walk_00" / "bodies.json").unlink()
    with pytest.raises(InputError, match="none of the 5 pictures"):
        evaluate(open_predictions(str(tmp_path / "found")), found)
    file = tmp_path / "found" / "hug_01" / "bodies.json"
    assert report(evaluate(open_predictions(str(file)), found)).numbers()["people_found"] == 9


def test_motion_is_not_measured_across_pictures_that_are_missing(tmp_path):
    """Everybody stands, but for a wrist that goes to and fro in every second picture."""
    data = sequence()
    joints = np.array(data["jointPositions"]).reshape(2, FRAMES, 24, 3)
    joints[:] = joints[:, :1]
    joints[:, 1::2, SMPL24.index("l_wrist")] += [0, 0.1, 0]
    path = tmp_path / "walk_00.pkl"
    path.write_bytes(
        pickle.dumps(
            sequence(
                jointPositions=list(joints.reshape(2, FRAMES, 72)),
                cam_poses=np.tile(data["cam_poses"][0], (FRAMES, 1, 1)),
                campose_valid=list(np.ones((2, FRAMES))),
            ),
            protocol=2,
        )
    )
    found = read_threedpw(path)
    given = {
        f"image_{k:05d}": [predicted(labelled(actor, k)) for actor in found[0].actors]
        for k in range(FRAMES)
    }
    whole = report(evaluate(Given(given), found)).numbers()
    assert whole["acceleration_mm"] > 10
    for missing in (4, 1):  # of the five pictures, four in a row are left, then no three
        del given[f"image_{missing:05d}"]
        numbers = report(evaluate(Given(given), found)).numbers()
        assert numbers["people"] == numbers["people_found"] == 2 * len(given)
        assert numbers["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
        if missing == 4:
            assert numbers["acceleration_mm"] == pytest.approx(2 * 100 / 13, rel=1e-3)
    assert np.isnan([numbers["acceleration_mm"], numbers["acceleration_error_mm"]]).all()
