"""The top-down estimator behind a first stage whose people are known, through real networks."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.bodies import INFERRED_SCORE
from smap_ros.bundles.bundle import write_bundle
from smap_ros.bundles.manifest.common import CropInput
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.persons.crops import Crop
from smap_ros.estimators.persons.topdown import Cube
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.skeletons import H36M18, MPI15, MUCO21, SKELETONS

BRIGHT, GREY, BLACK = 250, 128, 0
RED = (0, 0, 250)
CPU = {"engine": "onnxruntime", "threads": 1}
DEPTH_CELL = 20.0
BEHIND = 2 * DEPTH_CELL / 32 - 1  # metres from the pelvis to everything the spot network sees

COORDINATES = st.floats(0, 63)


@pytest.fixture
def spot_bundle(tmp_path, scene, make_bundle, spot_onnx, crop_manifest):
    """Write a bundle that sees red spots beside the first stage that sees the scene."""
    make_bundle(scene)

    def make(model=None, joint_set="h36m18", **changes):
        source = tmp_path / "spot.onnx"
        source.write_bytes(spot_onnx(len(SKELETONS[joint_set])) if model is None else model)
        return write_bundle(tmp_path / "spot", crop_manifest(joint_set, **changes), source)

    return make


@pytest.fixture(scope="module")
def spots(scene):
    """A red spot on each person's left thigh, outside of the others' crops; pixels [3, 2]."""
    hip, knee = scene.joints[:, MPI15.index("l_hip")], scene.joints[:, MPI15.index("l_knee")]
    return np.round(scene.camera.project((hip + knee) / 2))


@pytest.fixture(scope="module")
def picture(scene, spots):
    image = scene.image(BRIGHT)
    for u, v in spots.astype(int):
        image[v - 4 : v + 5, u - 4 : u + 5] = RED
    return image


@pytest.mark.parametrize("joint_set", ["h36m18", "muco21"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_joints_lie_where_the_network_sees_them(
    scene, spots, picture, spot_bundle, engine, joint_set
):
    estimator = create_estimator(spot_bundle(joint_set=joint_set), engine, threads=1)
    frame = estimator.estimate(picture, scene.camera, stamp=7.5)
    assert len(frame) == 3 and frame.stamp == 7.5 and not frame.dropped
    assert list(frame.timings_ms)[-3:] == ["crop", "network", "decode"]
    assert "first_network" in frame.timings_ms
    for body, spot, truth in zip(frame, spots, scene.joints, strict=True):
        assert body.skeleton is MPI15 and body.present.all()
        assert np.abs(body.joints_2d - spot).max() < 0.5
        depth = truth[MPI15.root, 2] + BEHIND
        np.testing.assert_allclose(body.joints_3d[:, 2], depth, atol=0.01)
        expected = scene.camera.back_project(spot, np.array(depth))
        assert np.linalg.norm(body.joints_3d - expected, axis=1).max() < 0.015
        assert body.joints_3d.dtype == body.joints_2d.dtype == body.scores.dtype == np.float32
    estimator.close()
    estimator.close()
    assert "after scene 1 on " + engine in estimator.description


def test_scores_are_the_first_stages(scene, picture, spot_bundle, make_bundle):
    frame = create_estimator(spot_bundle(), **CPU).estimate(picture, scene.camera)
    first = create_estimator(make_bundle(scene), **CPU).estimate(picture, scene.camera)
    for body, person in zip(frame, first, strict=True):
        assert body.score == person.score
        np.testing.assert_array_equal(body.scores, person.scores)


def test_a_joint_that_only_the_network_sees_has_a_low_score(
    scene, picture, spot_bundle, scene_onnx
):
    labels = scene.maps()
    wrist = MPI15.index("l_wrist")
    labels["maps"][:, wrist] = 0
    bundle = spot_bundle()
    (bundle.folder.parent / "blind.onnx").write_bytes(scene_onnx(labels))
    first = bundle.folder.parent / "scene"
    manifest = create_estimator(first, **CPU)._manifest.model_dump(exclude={"files"})
    write_bundle(first, manifest, bundle.folder.parent / "blind.onnx")
    frame = create_estimator(bundle, **CPU).estimate(picture, scene.camera)
    assert len(frame) == 3
    for body in frame:
        assert body.scores[wrist] == pytest.approx(INFERRED_SCORE)
        assert body.present.all() and np.delete(body.scores, wrist).min() > INFERRED_SCORE


def without_free_batch(model: bytes) -> bytes:
    """The network for exactly one crop at a time, as TensorRT runs it."""
    network = onnx.load_from_string(model)
    for value in (*network.graph.input, *network.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return bytes(network.SerializeToString())


def test_any_number_of_crops_at_once_gives_the_same_people(scene, picture, spot_bundle, spot_onnx):
    bundle = spot_bundle()
    expected = create_estimator(bundle, **CPU).estimate(picture, scene.camera)
    frames = [
        create_estimator(bundle, **CPU, max_batch=batch).estimate(picture, scene.camera)
        for batch in (1, 2)
    ]
    single = spot_bundle(without_free_batch(spot_onnx(len(H36M18))))
    frames.append(create_estimator(single, **CPU).estimate(picture, scene.camera))
    for frame in frames:
        for body, same in zip(frame, expected, strict=True):
            np.testing.assert_allclose(body.joints_3d, same.joints_3d, atol=1e-5)


def test_flip_test_takes_a_bias_to_one_side_away(scene, spots, picture, spot_bundle, spot_onnx):
    bundle = spot_bundle(spot_onnx(len(H36M18), bias_cells=2.0), flip_test=True)
    flipped = create_estimator(bundle, **CPU).estimate(picture, scene.camera)
    plain = create_estimator(bundle, **CPU, flip_test=False).estimate(picture, scene.camera)
    for body, biased, spot in zip(flipped, plain, spots, strict=True):
        assert np.abs(body.joints_2d - spot).max() < 0.5
        assert (biased.joints_2d[:, 0] - spot[0]).min() > 10


def test_nobody_in_the_image_is_an_empty_frame(scene, spot_bundle):
    estimator = create_estimator(spot_bundle(), **CPU)
    frame = estimator.estimate(scene.image(GREY), scene.camera)
    assert len(frame) == 0 and not frame.dropped and "network" in frame.timings_ms


def test_a_blind_first_stage_says_so(scene, spot_bundle):
    frame = create_estimator(spot_bundle(), **CPU).estimate(scene.image(BLACK), scene.camera)
    assert len(frame) == 0 and frame.dropped["non_finite_output"] > 0


def test_bad_numbers_of_the_network_cost_the_frame(scene, picture, spot_bundle, spot_onnx):
    model = spot_onnx(len(H36M18), depth_cell=math.nan)
    frame = create_estimator(spot_bundle(model), **CPU).estimate(picture, scene.camera)
    assert len(frame) == 0
    assert frame.dropped == {"non_finite_output": 3 * len(H36M18)}


def test_people_placed_behind_the_camera_are_dropped(scene, picture, spot_bundle, spot_onnx):
    """Cell 0 lies 4 m before the pelvis: the person at 3 m would be behind the camera."""
    model = spot_onnx(len(H36M18), depth_cell=0.0)
    bundle = spot_bundle(model, depth_half_range_m=4.0)
    frame = create_estimator(bundle, **CPU).estimate(picture, scene.camera)
    assert frame.dropped == {"no_root": 1}
    assert [round(float(body.root[2]), 1) for body in frame] == [0.5, 2.0]


def test_options_of_the_first_stage_reach_it(scene, picture, spot_bundle):
    bundle = spot_bundle()
    frame = create_estimator(bundle, **CPU, min_score=1.0).estimate(picture, scene.camera)
    assert len(frame) == 0 and frame.dropped == {"low_score": 3}
    with pytest.raises(InputError, match="min_scroe"):
        create_estimator(bundle, **CPU, min_scroe=1.0)
    with pytest.raises(InputError, match="max_batch is 0; expected 1 to 64"):
        create_estimator(bundle, **CPU, max_batch=0)


def test_the_first_stage_is_the_bundle_beside_or_the_one_stated(
    scene, picture, spot_bundle, tmp_path
):
    bundle = spot_bundle(first_stage="smap_lite")
    with pytest.raises(BundleError, match="no bundle 'nothing'"):
        create_estimator(spot_bundle(first_stage="nothing"), **CPU)
    stated = create_estimator(bundle, **CPU, first_stage=str(tmp_path / "scene"))
    assert len(stated.estimate(picture, scene.camera)) == 3


def test_a_top_down_model_can_not_be_the_first_stage(spot_bundle):
    with pytest.raises(BundleError, match="is of kind 'topdown' and needs a first stage too"):
        create_estimator(spot_bundle(first_stage="spot"), **CPU)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cells": 1}, "cells: got 1"),
        ({"box_margin": 0.5}, "box_margin: got 0.5"),
        ({"first_stage": "../scene"}, "first_stage: got '../scene'"),
        ({"depth_half_range_m": 0}, "depth_half_range_m: got 0"),
        ({"outputs": {"coords": {"name": "coord", "shape": [1, 17, 3]}}}, "expected .1, 18, 3."),
        ({"outputs": {}}, r"outputs are \[\]; kind topdown has \['coords'\]"),
    ],
)
def test_wrong_manifest_is_refused_by_name(spot_bundle, changes, words):
    with pytest.raises(BundleError, match=words):
        spot_bundle(**changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"pixel_range": 100}, "input.pixel_range: got 100"), ({"width": 320}, "crops are square")],
)
def test_wrong_input_is_refused_by_name(spot_bundle, crop_manifest, change, words):
    with pytest.raises(BundleError, match=words):
        spot_bundle(input={**crop_manifest()["input"], **change})


@pytest.mark.parametrize("pixel_range", [1, 255])
def test_pixels_are_normalised_in_the_stated_range(pixel_range):
    """255 is the official preprocessing of MobileHumanPose: ImageNet's numbers on 0 to 255."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    names = {"name": "image", "width": 256, "height": 256, "color": "rgb"}
    spec = CropInput(**names, mean=mean, std=std, pixel_range=pixel_range)
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    values = image[..., ::-1].astype(np.float64) * (pixel_range / 255)
    expected = np.moveaxis((values - mean) / std, -1, 0)
    np.testing.assert_allclose(Normaliser(spec)(image)[0], expected, rtol=1e-6, atol=1e-6)


@given(
    points=st.lists(st.tuples(COORDINATES, COORDINATES, COORDINATES), min_size=1, max_size=4),
    cells=st.sampled_from([32, 64]),
    root=st.floats(0.5, 50),
    side=st.floats(4, 2000),
)
def test_decoded_joints_encode_to_the_same_cells(points, cells, root, side):
    """The other way as the official labels are made: over the box, and (z - root) in +-1 m."""
    coords, crop = np.array(points), Crop(-31.0, 77.5, side, 256)
    pixels, depth = Cube(cells, 1.0).decode(coords, crop, root)
    again = np.column_stack(
        [(pixels - (crop.x, crop.y)) / side * cells, ((depth - root) / 1.0 + 1) / 2 * cells]
    )
    assert np.abs(again - coords).max() < 1e-9


@given(st.integers(0, 2**32 - 1), st.sampled_from([H36M18, MUCO21]), st.sampled_from([32, 64]))
def test_mirror_images_of_the_same_joints_merge_to_them(seed, skeleton, cells):
    size = 256
    pixels = np.random.default_rng(seed).uniform(0, size - 1, (2, len(skeleton), 3))
    seen = pixels.copy()
    seen[..., 0] = size - 1 - seen[..., 0]
    coords, mirrored = (p.astype(np.float32) * cells / size for p in (pixels, seen))
    merged = Cube(cells, 1.0).merge_mirrored(coords, mirrored[:, skeleton.flip], skeleton, size)
    np.testing.assert_allclose(merged, coords, atol=1e-4)
