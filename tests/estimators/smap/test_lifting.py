"""Lifting: parity with SMAP's post-processing, geometry, and bad values."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smap_ros.association import associate
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.smap.lifting import (
    Lifted,
    LiftingConfig,
    bone_depths,
    chain_depths,
    lift,
    relative_depths,
    root_depths,
)
from smap_ros.estimators.smap.refining import refine_input, refine_output
from smap_ros.geometry.letterbox import Letterbox

GOLDENS = Path(__file__).parents[2] / "goldens" / "smap_post"
CM = 1e-3  # allowed deviation in centimetres


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    data = dict(np.load(GOLDENS / "post.npz"))
    noise = np.random.Generator(np.random.PCG64(11)).standard_normal((14, 128, 208), np.float32)
    data["bone_depth"] = data["det_d16"].astype(np.float32) + np.float32(0.5) * noise
    data["root_depth"] = data["rdepth16"].astype(np.float32)
    return data


@pytest.fixture(scope="module")
def view() -> tuple[Camera, Letterbox]:
    scale = json.loads((GOLDENS / "post_scale.json").read_text())["scale"]
    camera = Camera(1920, 1080, scale["f_x"], scale["f_y"], scale["cx"], scale["cy"])
    letterbox = Letterbox(1920, 1080, 832, 512)
    assert letterbox.scale == pytest.approx(scale["scale"], abs=1e-15)
    return camera, letterbox


@pytest.fixture(scope="module")
def refine_net():
    """RefineNet's forward pass in numpy, its weights filled by the manifest's rule."""
    manifest = json.loads((GOLDENS / "refinenet_manifest.json").read_text())
    weights = {}
    for (name, shape, _), kind in zip(manifest["entries"], manifest["kinds"], strict=True):
        seed = np.random.PCG64(zlib.crc32(name.encode()))
        x = np.random.Generator(seed).standard_normal(tuple(shape), dtype=np.float32)
        if kind == "weight":
            x = x * np.float32(manifest["gain"] * np.sqrt(2 / shape[1]))
        weights[name] = {
            "one": lambda x: 1 + np.float32(0.1) * np.tanh(x),
            "small": lambda x: np.float32(0.05) * x,
        }.get(kind, lambda x: x)(x)

    def forward(x: np.ndarray) -> np.ndarray:
        for layer in range(1, 5):
            w = {k: weights[f"block.layer{layer}.{k}"] for k in ("0.weight", "0.bias", "1.weight",
                 "1.bias", "1.running_mean", "1.running_var")}  # fmt: skip
            x = x @ w["0.weight"].T + w["0.bias"]
            x = (x - w["1.running_mean"]) / np.sqrt(w["1.running_var"] + 1e-5)
            x = np.maximum(x * w["1.weight"] + w["1.bias"], 0)
        return x @ weights["block.layer5.weight"].T + weights["block.layer5.bias"]

    return forward


def in_cells(people: np.ndarray) -> np.ndarray:
    """The goldens' people, given in network pixels, in map cells."""
    return (people * np.array([0.25, 0.25, 0, 1])).astype(np.float32)


def as_reference(lifted: Lifted) -> np.ndarray:
    """As SMAP returns it: X, Y, Z in centimetres and score, zeros where missing."""
    rows = np.concatenate([lifted.joints_3d * 100, lifted.scores[..., None]], axis=-1)
    return np.nan_to_num(rows)


def test_association_of_the_scene_is_the_golden_one(golden) -> None:
    maps = golden["maps16"].astype(np.float32)
    maps[:15] /= 255
    maps[15:] /= 127
    people = associate(maps, golden["root_depth"])
    people[..., :2] *= 4
    np.testing.assert_array_equal(people, golden["pred_bodys_2d_netpx"])


def test_root_depths_match_the_golden(golden, view) -> None:
    camera, letterbox = view
    people = in_cells(golden["registered"])
    depths = root_depths(people, golden["root_depth"], letterbox.scale * camera.fx)
    np.testing.assert_allclose(depths, golden["root_depths"], rtol=0, atol=CM)


@pytest.mark.parametrize(
    ("people", "depths"), [("registered", "after_relZ"), ("case2_in", "case2_relZ")]
)
def test_relative_depths_match_the_golden(golden, people, depths) -> None:
    relative = relative_depths(in_cells(golden[people]), golden["bone_depth"])
    np.testing.assert_allclose(relative, golden[depths][..., 2], rtol=0, atol=CM)


def lift_golden(golden, view, people: str):
    """The golden people of that name in metres."""
    camera, letterbox = view
    depths = golden["bone_depth"], golden["root_depth"]
    return lift(in_cells(golden[people]), *depths, camera=camera, letterbox=letterbox)


@pytest.mark.parametrize(
    ("people", "joints"), [("registered", "pred_3d"), ("case2_in", "case2_3d")]
)
def test_absolute_joints_match_the_golden(golden, view, people, joints) -> None:
    lifted = lift_golden(golden, view, people)
    np.testing.assert_allclose(as_reference(lifted), golden[joints], rtol=0, atol=CM)
    assert not lifted.dropped


@pytest.mark.parametrize(
    ("people", "inputs", "refined"),
    [
        ("registered", "refine_input", "refined"),
        ("case2_in", "case2_refine_input", "case2_refined"),
    ],
)
def test_refinement_matches_the_golden(golden, view, refine_net, people, inputs, refined) -> None:
    lifted = lift_golden(golden, view, people)
    fed = refine_input(lifted)
    np.testing.assert_allclose(fed, golden[inputs], rtol=0, atol=CM)
    joints = refine_output(refine_net(fed), lifted)
    np.testing.assert_allclose(joints * 100, golden[refined][..., :3], rtol=0, atol=CM)


# -- a simple view for the tests of behaviour -------------------------------------------------

CAMERA = Camera(640, 360, 500, 500, 320, 180)
LETTERBOX = Letterbox(640, 360, 448, 256)
SIZE = (64, 112)


def flat_maps(depth_cm: float = 400.0, bone_cm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    focal = CAMERA.fx * LETTERBOX.scale
    return (
        np.full((14, *SIZE), bone_cm, np.float32),
        np.full(SIZE, depth_cm / focal, np.float32),
    )


def full_people(count: int = 1, seed: int = 0) -> np.ndarray:
    people = np.zeros((count, 15, 4), np.float32)
    people[..., :2] = np.random.default_rng(seed).uniform((1, 1), (110, 62), (count, 15, 2))
    people[..., 3] = 0.9
    return people


def lifted_from(people, bones, depth, **config) -> Lifted:
    return lift(
        people, bones, depth, camera=CAMERA, letterbox=LETTERBOX, config=LiftingConfig(**config)
    )


def test_nobody_gives_nobody() -> None:
    lifted = lifted_from(np.zeros((0, 15, 4), np.float32), *flat_maps())
    assert len(lifted) == 0
    assert lifted.joints_3d.shape == (0, 15, 3)
    assert lifted.dropped == {}
    assert refine_input(lifted).shape == (0, 75)
    assert refine_output(np.zeros((0, 45), np.float32), lifted).shape == (0, 15, 3)


def test_a_moved_root_takes_everybody_along_unless_it_would_leave_the_view() -> None:
    lifted = lifted_from(full_people(3), *flat_maps(depth_cm=400))
    output = np.ones((3, 15, 3), np.float32) * 10
    output[:, 2] = [(5, 0, 20), (0, 0, -500), (0, np.nan, 0)]
    joints = refine_output(output.reshape(3, 45), lifted, moves_root=True)
    roots = lifted.joints_3d[:, 2]
    np.testing.assert_allclose(joints[0, 2], roots[0] + [0.05, 0, 0.2], atol=1e-6)
    np.testing.assert_allclose(joints[1:, 2], roots[1:], atol=1e-6)  # behind the camera, and NaN
    np.testing.assert_allclose(joints[:2, 7] - joints[:2, 2], 0.1, atol=1e-6)


@pytest.mark.parametrize("depth", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_a_person_without_a_usable_root_depth_is_dropped_and_counted(depth) -> None:
    people = full_people(3)
    people[1, 2, :2] = (50, 30)
    bones, root_depth = flat_maps()
    root_depth[30, 50] = depth
    lifted = lifted_from(people, bones, root_depth)
    assert lifted.index.tolist() == [0, 2]
    assert lifted.dropped == {"bad_root_depth": 1}


def test_a_person_without_root_is_dropped_and_counted() -> None:
    people = full_people(2)
    people[0, 2] = 0
    lifted = lifted_from(people, *flat_maps())
    assert lifted.index.tolist() == [1]
    assert lifted.dropped == {"no_root": 1}
    assert lifted_from(people, *flat_maps(), root=0).index.tolist() == [0, 1]


def test_missing_joints_are_nan_with_score_zero() -> None:
    people = full_people()
    people[0, 5] = 0
    lifted = lifted_from(people, *flat_maps())
    missing = np.arange(15) == 5
    np.testing.assert_array_equal(np.isnan(lifted.joints_3d).all(-1)[0], missing)
    np.testing.assert_array_equal(np.isnan(lifted.joints_2d).all(-1)[0], missing)
    np.testing.assert_array_equal(lifted.scores[0] == 0, missing)


def test_a_joint_behind_the_camera_is_missing() -> None:
    bones, root_depth = flat_maps(depth_cm=100)
    bones[7] = -150  # left wrist 1.5 m nearer than the elbow
    lifted = lifted_from(full_people(), bones, root_depth)
    assert np.flatnonzero(lifted.scores[0] == 0).tolist() == [5]
    assert np.isnan(lifted.joints_3d[0, 5]).all()


def test_senseless_bone_depths_are_left_out() -> None:
    people = full_people()
    people[0, 0, :2], people[0, 1, :2] = (10.5, 10.5), (10.5, 40.5)
    bones, _ = flat_maps(bone_cm=7)
    bones[0, 10:25] = np.nan
    bones[0, 30] = np.inf
    assert bone_depths(people, bones)[0, 0] == pytest.approx(7)
    bones[0] = np.nan
    assert bone_depths(people, bones)[0, 0] == 0
    assert np.isfinite(lifted_from(people, bones, flat_maps()[1]).joints_3d).all()


def test_bone_depth_equals_numpys_percentile_clipping() -> None:
    bones = np.random.default_rng(3).normal(0, 20, (14, *SIZE)).astype(np.float32)
    people = full_people(4, seed=5)
    got = bone_depths(people, bones)
    for person, limb, (a, b) in ((0, 0, (0, 1)), (1, 6, (3, 4)), (3, 13, (7, 8))):
        x, y = (np.linspace(people[person, a, i] * 4, people[person, b, i] * 4, 10) for i in (0, 1))
        values = bones[limb, np.round(y).astype(int) // 4, np.round(x).astype(int) // 4]
        expected = values.clip(*np.percentile(values, [10, 90])).mean()
        assert got[person, limb] == pytest.approx(expected, abs=1e-4)


def test_a_senseless_sample_changes_no_other_bone_by_a_bit() -> None:
    bones = np.random.default_rng(4).normal(0, 20, (14, *SIZE)).astype(np.float32)
    people = full_people(4, seed=6)
    clean = bone_depths(people, bones)
    bones[3] = np.nan
    got = bone_depths(people, bones)
    assert (got[:, 3] == 0).all()
    np.testing.assert_array_equal(np.delete(got, 3, axis=1), np.delete(clean, 3, axis=1))


def test_depths_chain_from_either_root() -> None:
    bones = np.arange(1.0, 15.0)[None]
    pelvis, neck = chain_depths(bones, root=2), chain_depths(bones, root=0)
    assert pelvis[0, 2] == 0
    assert neck[0, 0] == 0
    np.testing.assert_allclose(pelvis - pelvis[:, :1], neck)  # same person, other origin


def test_refined_joints_that_are_not_finite_keep_the_lifted_place() -> None:
    people = full_people()
    people[0, 5] = 0
    lifted = lifted_from(people, *flat_maps())
    output = np.full((1, 45), 10, np.float32)
    output[0, 3 * 4] = np.nan
    refined = refine_output(output, lifted)
    np.testing.assert_array_equal(refined[0, 4], lifted.joints_3d[0, 4])
    np.testing.assert_array_equal(refined[0, 2], lifted.joints_3d[0, 2])
    np.testing.assert_allclose(refined[0, 5], lifted.joints_3d[0, 2] + 0.1, atol=1e-6)


@pytest.mark.parametrize("centred", [False, True])
@given(
    seed=st.integers(0, 2**16),
    depth_cm=st.floats(50, 3000),
    bones=arrays(np.float32, 14, elements=st.floats(-20, 20, width=32)),
)
@settings(max_examples=40)
def test_lifted_joints_project_onto_their_pixels(centred, seed, depth_cm, bones) -> None:
    bone_depth, root_depth = flat_maps(depth_cm)
    bone_depth += bones[:, None, None]
    lifted = lifted_from(full_people(2, seed), bone_depth, root_depth, centred_pixels=centred)
    seen = lifted.scores > 0
    projected = CAMERA.project(lifted.joints_3d.astype(np.float64))
    np.testing.assert_allclose(projected[seen], lifted.joints_2d[seen], rtol=0, atol=0.05)
    np.testing.assert_allclose(lifted.joints_3d[:, 2, 2], depth_cm / 100, rtol=1e-5)


@given(seed=st.integers(0, 2**16), factor=st.floats(0.2, 5))
@settings(max_examples=40)
def test_scaling_all_depths_scales_the_scene(seed, factor) -> None:
    rng = np.random.default_rng(seed)
    bones, root_depth = flat_maps()
    bones += rng.normal(0, 5, bones.shape).astype(np.float32)
    people = full_people(3, seed)
    once = lifted_from(people, bones, root_depth)
    scaled = lifted_from(people, bones * np.float32(factor), root_depth * np.float32(factor))
    np.testing.assert_allclose(scaled.joints_3d, once.joints_3d * factor, rtol=1e-3, atol=1e-3)


@given(order=st.permutations(range(5)), seed=st.integers(0, 2**16))
@settings(max_examples=40)
def test_people_are_lifted_independently_of_their_order(order, seed) -> None:
    rng = np.random.default_rng(seed)
    bones, root_depth = flat_maps()
    bones += rng.normal(0, 5, bones.shape).astype(np.float32)
    root_depth *= rng.uniform(0.5, 2, root_depth.shape).astype(np.float32)
    people = full_people(5, seed)
    once, again = (
        lifted_from(people, bones, root_depth),
        lifted_from(people[order], bones, root_depth),
    )
    np.testing.assert_array_equal(again.joints_3d, once.joints_3d[order])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 14, 4), (14, 8, 8), (8, 8)), "people have shape"),
        (((1, 15, 4), (14, 8, 9), (8, 8)), "bone_depth has shape"),
        (((1, 15, 4), (14, 8, 8), (1, 8, 8)), "root_depth has shape"),
    ],
)
def test_wrong_shapes_are_refused(shapes, message) -> None:
    with pytest.raises(InputError, match=message):
        lifted_from(*(np.zeros(shape, np.float32) for shape in shapes))


def test_a_camera_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="camera is for 1280x720"):
        lift(full_people(), *flat_maps(), camera=Camera(1280, 720, 9, 9, 0, 0), letterbox=LETTERBOX)


def test_a_wrong_refinenet_output_is_refused() -> None:
    with pytest.raises(InputError, match="expected \\(1, 45\\)"):
        refine_output(np.zeros((2, 45), np.float32), lifted_from(full_people(), *flat_maps()))


@pytest.mark.parametrize(
    "field",
    [{"root": 1}, {"stride": 0}, {"samples": 1}, {"samples": 2.5}, {"percentiles": (90, 10)}],
)
def test_senseless_settings_are_refused(field) -> None:
    with pytest.raises(InputError, match=next(iter(field))):
        LiftingConfig(**field)
