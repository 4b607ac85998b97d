"""Bodies, kinematics, poses and motion: no rendering."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.virtual.bodies import SEGMENT_INDEX, BodyPool
from smap_train.virtual.geometry import about, aligning, rotation_from_vector, vector_from_rotation
from smap_train.virtual.motion import HELD_OUT_MOTIONS, MotionLibrary
from smap_train.virtual.people import lowest
from smap_train.virtual.poses import POSTURES, random_pose
from smap_train.virtual.posing import mirrored, mpi15_joints, neutral_pose, posed

from .conftest import JOINTS

J = MPI15.index


def joints_of(pool: BodyPool, pose: np.ndarray, body: int = 0, heading: float = 0.0) -> np.ndarray:
    person = posed(pool[body], pool.model, pose, about("z", heading))
    return mpi15_joints(pool[body], pool.model, person)


def test_bodies_have_human_measures(pool):
    for k in range(len(pool)):
        assert 1.0 < pool[k].height < 2.15
        assert pool[k].age >= 6
        left, right = (pool[k].joints[SEGMENT_INDEX[f"{s}_upperarm"]] for s in "lr")
        assert left[0] > 0.08
        assert right[0] == pytest.approx(-left[0], abs=0.005)
    np.testing.assert_allclose(pool.model.weights.sum(1), 1, atol=1e-5)


@pytest.mark.slow  # builds the bodies anew with torch
def test_pool_is_the_same_when_built_again(pool, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    again = BodyPool(len(pool), 5)
    assert list((tmp_path / "smap_ros" / "virtual").glob("bodies-*-8-5.npz"))
    np.testing.assert_array_equal(again[3].vertices, pool[3].vertices)
    np.testing.assert_array_equal(again.female, pool.female)
    for path in (tmp_path / "smap_ros" / "virtual").iterdir():  # damaged, both are made anew
        path.write_bytes(path.read_bytes()[:1000])
    anew = BodyPool(len(pool), 5)
    np.testing.assert_array_equal(anew[3].vertices, pool[3].vertices)
    np.testing.assert_array_equal(anew.model.weights, pool.model.weights)


def test_neutral_pose_is_upright_with_hanging_limbs(pool):
    joints = joints_of(pool, neutral_pose())
    for side in "lr":
        for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee")):
            step = joints[J(f"{side}_{lower}")] - joints[J(f"{side}_{upper}")]
            assert step[2] < 0
            np.testing.assert_allclose(step[:2], 0, atol=1e-6)
    assert joints[J("head_top"), 2] > joints[J("neck"), 2] > joints[J("pelvis"), 2]
    # Facing -y, the left side is at +x.
    assert joints[J("l_shoulder"), 0] > 0.1 > -0.1 > joints[J("r_shoulder"), 0]


def test_neck_and_pelvis_are_midpoints(pool):
    pose = random_pose(np.random.default_rng(0), "stand")
    joints = joints_of(pool, pose)
    middle = (joints[J("l_shoulder")] + joints[J("r_shoulder")]) / 2
    np.testing.assert_allclose(joints[J("neck")], middle)
    middle = (joints[J("l_hip")] + joints[J("r_hip")]) / 2
    np.testing.assert_allclose(joints[J("pelvis")], middle)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), posture=st.sampled_from(sorted(POSTURES.keys() - {"lie"})))
def test_random_poses_keep_bones_rigid_and_knees_human(pool, seed, posture):
    rng = np.random.default_rng(seed)
    pose = random_pose(rng, posture)
    np.testing.assert_allclose(
        pose @ np.swapaxes(pose, -1, -2), np.tile(np.eye(3), (len(pose), 1, 1)), atol=1e-9
    )
    rest, now = joints_of(pool, neutral_pose()), joints_of(pool, pose)
    for side in "lr":
        for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            length = np.linalg.norm(rest[J(f"{side}_{a}")] - rest[J(f"{side}_{b}")])
            assert np.linalg.norm(now[J(f"{side}_{a}")] - now[J(f"{side}_{b}")]) == pytest.approx(
                length
            )
        # Shin relative to thigh: a hinge that bends backwards by at most 145 degrees.
        thigh, shin = (pose[SEGMENT_INDEX[f"{side}_{s}"]] for s in ("thigh", "shin"))
        bend = vector_from_rotation(thigh.T @ shin)
        assert -1e-6 <= bend[0] <= np.radians(145) + 1e-6
        np.testing.assert_allclose(bend[1:], 0, atol=1e-6)


def test_mirrored_pose_exchanges_left_and_right(pool):
    pose = random_pose(np.random.default_rng(4), "reach")
    here, there = joints_of(pool, pose), joints_of(pool, mirrored(pose))
    flipped = here[MPI15.flip] * (-1, 1, 1)
    # Bodies are symmetric to some millimetres.
    np.testing.assert_allclose(there, flipped, atol=0.012)
    np.testing.assert_allclose(mirrored(mirrored(pose)), pose, atol=1e-12)


def test_skinned_surface_follows_its_joint(pool):
    body, model = pool[1], pool.model
    pose = random_pose(np.random.default_rng(9), "sit")
    person = posed(body, model, pose, about("z", 1.0))
    hand = np.flatnonzero(model.weights[:, SEGMENT_INDEX["l_hand"]] > 0.99)
    points = person.skin(body.vertices[hand], model.weights[hand])
    wrist = mpi15_joints(body, model, person)[J("l_wrist")]
    assert np.linalg.norm(points - wrist, axis=1).max() < 0.26
    assert lowest(model, body, person) < wrist[2]


@given(st.lists(st.floats(-1.7, 1.7), min_size=3, max_size=3))
def test_rotation_vectors_round_trip(vector):
    rotation = rotation_from_vector(np.array(vector))
    np.testing.assert_allclose(vector_from_rotation(rotation), vector, atol=1e-6)


def test_aligning_turns_one_direction_into_the_other():
    a, b = np.array([0.3, -2, 0.5]), np.array([-1.0, 0.2, 0.7])
    np.testing.assert_allclose(aligning(a, b) @ a / np.linalg.norm(a), b / np.linalg.norm(b))


class TestMotion:
    def test_t_pose_of_the_capture_gives_horizontal_arms(self, pool, write_motion):
        still = np.zeros((4, len(JOINTS), 3))
        library = MotionLibrary(write_motion({"walking_2": (np.zeros((4, 3)), still)}))
        joints = joints_of(pool, library["walking_2"].poses[0].astype(float))
        left = joints[J("l_wrist")] - joints[J("l_shoulder")]
        assert left[0] > 0.4
        np.testing.assert_allclose(left[1:], 0, atol=1e-5)
        right = joints[J("r_wrist")] - joints[J("r_shoulder")]
        np.testing.assert_allclose(right, left * (-1, 1, 1), atol=0.01)

    def test_forward_bend_of_the_capture_bends_forward(self, pool, write_motion):
        # Capture: y up, facing z; a positive turn about x in row-vector convention bends the
        # thigh back, so that the knee comes forward for a negative one.
        turned = np.zeros((1, len(JOINTS), 3))
        turned[0, JOINTS.index("l_hip")] = (-np.pi / 2, 0, 0)
        # Row vectors: x' = x @ R, so the file holds transposed rotations.
        library = MotionLibrary(write_motion({"a": (np.zeros((1, 3)), -turned)}))
        knee = joints_of(pool, library["a"].poses[0].astype(float))
        step = knee[J("l_knee")] - knee[J("l_hip")]
        assert step[1] < -0.3, "the left knee goes to -y, where the body faces"
        other = knee[J("r_knee")] - knee[J("r_hip")]
        assert other[2] < -0.3

    def test_a_recording_begins_as_it_goes_on_not_in_the_pose_it_was_fitted_in(self, write_motion):
        turns = np.zeros((5, len(JOINTS), 3))
        turns[1:, 0], turns[1:, JOINTS.index("l_shoulder")] = (0, 2.0, 0), (0, 0, 1.3)
        root = np.arange(15.0).reshape(5, 3)
        motion = MotionLibrary(write_motion({"a": (root, turns)}))["a"]
        np.testing.assert_array_equal(motion.poses[0], motion.poses[1])
        np.testing.assert_array_equal(motion.path[0], motion.path[1])
        assert len(motion) == 5

    def test_who_would_be_thrown_to_the_floor_for_some_frames_is_not_played_there(
        self, write_motion
    ):
        turns = np.zeros((100, len(JOINTS), 3))
        turns[:, 0, 1] = 0.2 * np.arange(100)  # 690 degrees a second, as a dancer
        turns[40:43, 0] = (1.4, 0, 0)
        root = np.stack([np.arange(100.0), np.ones(100), np.zeros(100)], axis=1)
        motion = MotionLibrary(write_motion({"a": (root, turns)}))["a"]
        upright = motion.poses[:, SEGMENT_INDEX["pelvis"], 2, 2]
        assert (upright > 0.999).all() and len(motion) == 100 - 53
        assert motion.path[0, 0] == 53

    def test_who_slowly_comes_to_lie_in_the_air_is_not_played_there(self, write_motion):
        turns = np.zeros((120, len(JOINTS), 3))
        lean = np.interp(np.arange(120), [70, 90, 100], [0, 1.6, 0.0])
        turns[:, 0, 0] = lean
        high, low = (np.tile([0, height, 0], (120, 1)) for height in (1.0, 0.15))
        motion = MotionLibrary(write_motion({"a": (high, turns)}))["a"]
        upright = motion.poses[:, SEGMENT_INDEX["pelvis"], 2, 2]
        assert 60 < len(motion) < 75 and (upright > 0.85).all()
        # Who lies down on the floor as slowly does so.
        assert len(MotionLibrary(write_motion({"a": (low, turns)}))["a"]) == 120

    def test_noise_at_a_high_rate_is_no_turn(self, write_motion):
        rng = np.random.default_rng(0)
        turns = np.zeros((600, len(JOINTS), 3))
        turns[:, 0] = np.radians(rng.normal(0, 0.5, (600, 3)))
        turns[:, 0, 1] += 15 / 240 * np.arange(600)  # a fast dancer at 240 frames a second
        path = write_motion({"a": (np.ones((600, 3)), turns)})
        arrays = dict(np.load(path)) | {"fps": np.array(240.0)}
        np.savez(path, **arrays)
        assert len(MotionLibrary(path)["a"]) == 600

    def test_splits_are_disjoint_and_complete(self, write_motion):
        names = ["walking_1", "walking_2", "soccer_2", "running_1"]
        data = {n: (np.zeros((1, 3)), np.zeros((1, len(JOINTS), 3))) for n in names}
        path = write_motion(data)
        train, held = (MotionLibrary(path, split).names for split in ("train", "held_out"))
        assert not set(train) & set(held)
        assert sorted(train + held) == sorted(MotionLibrary(path, "all").names) == sorted(names)
        assert set(held) <= HELD_OUT_MOTIONS

    def test_unreadable_file_is_refused(self, tmp_path):
        path = tmp_path / "motion.npz"
        path.write_bytes(b"not a zip")
        with pytest.raises(InputError, match=r"expected an \.npz with joint_names"):
            MotionLibrary(path)
