"""The mesh estimator behind a first stage whose people are known, through real networks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.bodies import INFERRED_SCORE, Body
from smap_ros.bundles.bundle import write_bundle
from smap_ros.camera import Camera
from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.persons.crops import Crop
from smap_ros.estimators.persons.mesh import official_crop
from smap_ros.estimators.persons.surface import CropCamera, Surface, read_faces, turn_to
from smap_ros.skeletons import MPI15, SMPL30, convert
from tests.mesh_bundle import FACES, FIGURE, FOCAL, SURFACE, mesh_model, write_mesh_bundle

BRIGHT, GREY, BLACK = 250, 128, 0
CPU = {"engine": "onnxruntime", "threads": 1}


@pytest.fixture
def mesh_bundle(tmp_path, scene, make_bundle):
    """Write the bundle of the measuring network beside the first stage that sees the scene."""
    make_bundle(scene)
    return lambda model=None, **changes: write_mesh_bundle(tmp_path, model, **changes)


def turned(points, root):
    """Points about the root, turned as the optical axis must be to point at the root."""
    ray = root / np.linalg.norm(root)
    axis = np.cross([0, 0, 1], ray)
    angle = np.arcsin(np.linalg.norm(axis)) / np.linalg.norm(axis)
    return points @ cv2.Rodrigues(axis * angle)[0].T + root


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_people_stand_in_metres_with_their_surface(scene, mesh_bundle, engine):
    """The figure is as tall as the scene's people, so it must come out where they stand."""
    estimator = create_estimator(mesh_bundle(), engine, threads=1)
    frame = estimator.estimate(scene.image(BRIGHT), scene.camera, stamp=7.5)
    assert len(frame) == 3 and frame.stamp == 7.5 and not frame.dropped
    assert list(frame.timings_ms)[-3:] == ["crop", "network", "decode"]
    for body, truth in zip(frame, scene.joints, strict=True):
        root = truth[MPI15.root]
        assert body.skeleton is MPI15 and body.present.all()
        assert np.linalg.norm(body.root - root) < 0.01 * root[2]
        expected = turned(convert(FIGURE, SMPL30, MPI15), root)
        assert np.linalg.norm(body.joints_3d - expected, axis=1).max() < 0.01 * root[2]
        assert np.abs(body.mesh.vertices - turned(SURFACE, root)).max() < 0.01 * root[2]
        np.testing.assert_array_equal(body.mesh.faces, FACES)
        # A crop knows no perspective: limbs towards the camera are seen a little off.
        assert np.abs(body.joints_2d - scene.camera.project(body.joints_3d)).max() < 20
        dtypes = {a.dtype for a in (body.joints_3d, body.joints_2d, body.scores)}
        assert dtypes == {np.dtype(np.float32)} == {body.mesh.vertices.dtype}
        assert body.mesh.faces.dtype == np.int32
    estimator.close()
    estimator.close()
    assert "figure 1 after scene 1 on " + engine in estimator.description


def test_more_people_than_fit_at_once_are_the_same(crowd, make_bundle, tmp_path):
    make_bundle(crowd)
    bundle = write_mesh_bundle(tmp_path)
    frames = [
        create_estimator(bundle, **CPU, max_batch=n).estimate(crowd.image(BRIGHT), crowd.camera)
        for n in (64, 7)
    ]
    assert len(frames[0]) == len(frames[1]) > 20
    for one, other in zip(*frames, strict=True):
        np.testing.assert_allclose(one.mesh.vertices, other.mesh.vertices, atol=1e-5)


def test_a_joint_that_only_the_network_gives_has_a_low_score(
    scene, mesh_bundle, make_bundle, scene_onnx
):
    labels = scene.maps()
    wrist = MPI15.index("l_wrist")
    labels["maps"][:, wrist] = 0
    bundle = mesh_bundle()
    make_bundle(scene, scene_onnx(labels))
    frame = create_estimator(bundle, **CPU).estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 3
    for body in frame:
        assert body.scores[wrist] == pytest.approx(INFERRED_SCORE)
        assert body.present.all() and np.delete(body.scores, wrist).min() > INFERRED_SCORE


def test_people_with_few_known_joints_are_left_out(scene, mesh_bundle, make_bundle, scene_onnx):
    labels = scene.maps()
    few = [MPI15.index(name) for name in ("pelvis", "neck", "l_hip", "r_hip")]
    labels["maps"][:, [k for k in range(15) if k not in few]] = 0
    bundle = mesh_bundle()
    make_bundle(scene, scene_onnx(labels))
    image, options = scene.image(BRIGHT), {**CPU, "min_joints": 1}
    assert len(create_estimator(bundle, **options).estimate(image, scene.camera)) == 3
    strict = create_estimator(bundle, **options, min_guides=5)
    frame = strict.estimate(image, scene.camera)
    assert len(frame) == 0 and frame.dropped["few_joints"] == 3


def test_the_network_is_shown_crop_and_pose_as_officially(scene, mesh_bundle):
    """Against the official steps: boxes, OpenCV's affine by three points, 64 cells, mask."""
    estimator = create_estimator(mesh_bundle(), **CPU)
    rng = np.random.default_rng(0)
    noise = rng.integers(-60, 60, (90, 160, 3)).astype(np.float32)
    size = (scene.camera.width, scene.camera.height)
    image = np.clip(scene.image(BRIGHT) - 40.0 + cv2.resize(noise, size), 0, 255).astype(np.uint8)
    found = estimator._first_stage.estimate(image, scene.camera)
    candidates, dropped = estimator._candidates(found, scene.camera)
    blob = estimator._blob(image, [candidate.crop for candidate in candidates])
    assert len(candidates) == 3 and not dropped
    for person, candidate, pixels in zip(found, candidates, blob, strict=True):
        x, y, width, height = official_box(person.joints_2d, *size)
        source = np.float32(
            [
                [x + width / 2, y + height / 2],
                [x + width / 2, y + height],
                [x + width, y + height / 2],
            ]
        )
        target = np.float32([[128, 128], [128, 256], [256, 128]])
        affine = cv2.getAffineTransform(source, target)
        crop = cv2.warpAffine(image, affine, (256, 256), flags=cv2.INTER_LINEAR)
        expected = crop[..., ::-1].transpose(2, 0, 1) / 255
        assert np.abs(pixels - expected).max() < 2 / 255  # rounding inside of OpenCV
        points = np.column_stack([person.joints_2d, np.ones(15)]) @ affine.T / 256 * 64
        guide = convert(points, MPI15, SMPL30)
        known = np.isfinite(guide).all(axis=1)
        np.testing.assert_array_equal(candidate.mask[:, 0], known)
        np.testing.assert_allclose(candidate.guide, np.where(known[:, None], guide, 0), atol=1e-3)
        assert known.sum() == 15


def official_box(joints, image_width, image_height):
    """x, y, width, height of the square, as 3DCrowdNet's two functions have it."""
    low, high = joints.min(axis=0), joints.max(axis=0)
    (x, y), (width, height) = (low + high) / 2 - (high - low) * 0.6, (high - low) * 1.2
    left, top = max(0, x), max(0, y)
    right = min(image_width - 1, left + max(0, width - 1))
    bottom = min(image_height - 1, top + max(0, height - 1))
    side = max(right - left, bottom - top) * 1.25
    return (left + right) / 2 - side / 2, (top + bottom) / 2 - side / 2, side, side


POINTS = st.lists(st.tuples(st.floats(-50, 700), st.floats(-50, 530)), min_size=2, max_size=15)


@given(POINTS)
def test_crops_are_the_official_ones_also_at_the_border(points):
    joints = np.array(points)
    crop = official_crop(joints, (640, 480), (1.2, 1.25), 256)
    x, y, side, _ = official_box(joints, 640, 480)
    if crop is not None:
        np.testing.assert_allclose((crop.x, crop.y, crop.side), (x, y, side), atol=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        np.full((15, 2), np.nan),
        np.array([[10.0, 10.0], [10.5, 10.5]]),
        np.array([[700.0, 10.0], [800.0, 400.0]]),
    ],
)
def test_points_that_span_no_box_in_the_image_give_no_crop(points):
    assert official_crop(points, (640, 480), (1.2, 1.25), 256) is None


# --- from the crop's camera to ours -------------------------------------------------------------

CAMERAS = [
    Camera(1280, 720, 800.0, 800.0, 639.5, 359.5),
    Camera(1280, 720, 800.0, 800.0, 600.0, 380.0, (-0.2, 0.05, 0.001, -0.001, 0.0)),
]


@pytest.mark.parametrize("camera", CAMERAS, ids=["pinhole", "lens"])
@given(
    pixel=st.tuples(st.floats(100, 1180), st.floats(60, 660)),
    side=st.floats(40, 700),
    depth=st.floats(5, 48),
    corner=st.tuples(st.floats(-128, 128), st.floats(-128, 128)),
)
def test_the_root_is_placed_where_it_is_seen_and_the_body_keeps_its_shape(
    camera, pixel, side, depth, corner
):
    crop_camera = CropCamera(FOCAL, 256)
    crop = Crop(pixel[0] - side / 2 - corner[0] * side / 256, pixel[1] - side / 2, side, 256)
    seen = crop.to_crop(np.array(pixel))
    root = np.array([*(seen - 128) * depth / FOCAL, depth])
    placed = crop_camera.place(np.vstack([root, FIGURE + root]), root, crop, camera)
    np.testing.assert_allclose(camera.project(placed[:1])[0], pixel, atol=0.5)
    # A metre at the root is as many image pixels long as in the crop.
    assert placed[0, 2] == pytest.approx(depth * (800 / FOCAL) * (256 / side))
    lengths = np.linalg.norm(placed[1:] - placed[0], axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(FIGURE, axis=1), atol=1e-6)


def test_in_the_middle_of_the_image_nothing_is_turned():
    camera, crop = CAMERAS[0], Crop(639.5 - 128, 359.5 - 128, 256, 256)
    points = FIGURE + (0.0, 0.0, 20.0)
    placed = CropCamera(FOCAL, 256).place(points, points[0], crop, camera)
    np.testing.assert_allclose(placed, FIGURE + (0.0, 0.0, 20 * 800 / FOCAL), atol=1e-9)


def test_what_is_nearer_in_the_crop_is_nearer_along_the_ray():
    """So it does not move in the image, wherever the person stands."""
    camera, crop = CAMERAS[0], Crop(1000.0, 300.0, 200.0, 256)
    root = np.array([0.0, 0.0, 20.0])
    placed = CropCamera(FOCAL, 256).place(np.array([root, root - (0, 0, 0.4)]), root, crop, camera)
    pixels = camera.project(placed)
    np.testing.assert_allclose(pixels[0], (1100, 400), atol=1e-6)
    np.testing.assert_allclose(pixels[1], pixels[0], atol=1e-6)


WIDE = {
    "none": Camera(1280, 720, 700.0, 700.0, 639.5, 359.5),
    "euroc": Camera(1280, 720, 700.0, 700.0, 639.5, 359.5, (-0.2834, 0.0740, 0.0002, 0.0, 0.0)),
    "fisheye": Camera(1280, 720, 700.0, 700.0, 639.5, 359.5, (0.0,) * 4, "equidistant"),
}


@pytest.mark.parametrize("lens", WIDE)
@pytest.mark.parametrize("degrees", [0, 25, 38])
def test_distances_follow_how_large_a_lens_shows_people(lens, degrees):
    """A network that measures a person rightly, who is 3 m away beside the optical axis."""
    camera = WIDE[lens]
    root = 3 * np.array([np.sin(np.radians(degrees)), 0.0, np.cos(np.radians(degrees))])
    pixels = camera.project(FIGURE @ turn_to(root).T + root)
    crop = official_crop(pixels, (camera.width, camera.height), (1.2, 1.25), 256)
    middle = crop.to_crop(camera.project(root))
    seen = (crop.to_crop(pixels) - middle).ravel()
    flat = FIGURE[:, :2].ravel()
    depth = FOCAL * (flat @ flat) / (flat @ seen)
    joints = FIGURE + [*((middle - 128) / FOCAL * depth), depth]
    surface = Surface(SMPL30, FACES, CropCamera(FOCAL, 256))
    person = Body(np.zeros((15, 3)), np.zeros((15, 2)), np.ones(15), 1.0)
    placed = surface.body(person, crop, joints, joints, camera)
    assert np.linalg.norm(placed.root) == pytest.approx(3.0, rel=0.06)
    np.testing.assert_allclose(placed.mesh.vertices[SMPL30.root], placed.root, atol=1e-5)


@pytest.mark.parametrize("root", [[0.0, 0.0, -1.0], [np.nan, 0.0, 5.0]])
def test_a_root_behind_the_crops_camera_places_nobody(root):
    crop = Crop(500.0, 300.0, 200.0, 256)
    placed = CropCamera(FOCAL, 256).place(FIGURE, np.array(root), crop, CAMERAS[0])
    assert np.isnan(placed).all()


@given(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.1, 5)))
def test_turning_takes_the_axis_to_the_ray(ray):
    rotation = turn_to(np.array(ray))
    np.testing.assert_allclose(rotation @ (0, 0, 1), ray / np.linalg.norm(ray), atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


# --- what can go wrong --------------------------------------------------------------------------


def test_nobody_in_the_image_is_an_empty_frame(scene, mesh_bundle):
    frame = create_estimator(mesh_bundle(), **CPU).estimate(scene.image(GREY), scene.camera)
    assert len(frame) == 0 and not frame.dropped and "network" in frame.timings_ms


def test_a_blind_first_stage_says_so(scene, mesh_bundle):
    frame = create_estimator(mesh_bundle(), **CPU).estimate(scene.image(BLACK), scene.camera)
    assert len(frame) == 0 and frame.dropped["non_finite_output"] > 0


def test_bad_numbers_of_the_network_cost_the_frame(scene, mesh_bundle):
    bundle = mesh_bundle(mesh_model(broken=True))
    frame = create_estimator(bundle, **CPU).estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 0 and frame.dropped == {"non_finite_output": 3}


def test_a_first_stage_of_its_own_kind_is_refused(mesh_bundle):
    with pytest.raises(BundleError, match="is of kind 'mesh' and needs a first stage too"):
        create_estimator(mesh_bundle(first_stage="figure"), **CPU)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_guides": 0}, "min_guides is 0; expected 1 to 15"),
        ({"max_batch": 65}, "max_batch is 65; expected 1 to 64"),
        ({"min_scroe": 0.5}, "min_scroe"),
    ],
)
def test_wrong_options_are_refused_by_name(mesh_bundle, options, words):
    with pytest.raises(InputError, match=words):
        create_estimator(mesh_bundle(), **CPU, **options)


def test_a_network_of_another_size_is_refused(mesh_bundle):
    with pytest.raises(BundleError, match=r"input is .*; expected image \[1, 3, 256, 256\]"):
        create_estimator(mesh_bundle(mesh_model(size=192)), **CPU)


def test_a_network_without_guide_is_refused(mesh_bundle, spot_onnx):
    with pytest.raises(BundleError, match=r"expected image .*, joints \[1, 30, 2\], mask"):
        create_estimator(mesh_bundle(spot_onnx(30)), **CPU)


@pytest.mark.parametrize(
    ("faces", "words"),
    [
        (FACES + 1, "expected integers .F, 3. from 0 to 119"),
        (FACES - 1, "expected integers"),
        (FACES.astype(float), "are float64.120, 3.; expected integers"),
        (FACES[:, :2], "expected integers"),
        (FACES[:0], "expected integers"),
    ],
)
def test_faces_that_do_not_fit_are_refused(mesh_bundle, faces, words):
    with pytest.raises(BundleError, match=words):
        create_estimator(mesh_bundle(faces=faces), **CPU)


def test_faces_are_no_pickle_and_not_altered(tmp_path, mesh_bundle):
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([[{}, {}, {}]], dtype=object), allow_pickle=True)
    bundle = mesh_bundle()
    facts = bundle.manifest.model_dump(exclude={"files"})
    held = write_bundle(tmp_path / "held", facts, bundle.folder / "model.onnx", faces=objects)
    with pytest.raises(BundleError, match="can't be read as an"):
        read_faces(held, len(SURFACE))
    with (bundle.folder / "faces.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError, match="was altered"):
        read_faces(bundle, len(SURFACE))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cells": 1}, "cells: got 1"),
        ({"focal_px": 0}, "focal_px: got 0"),
        ({"box_enlargement": 0.5}, "box_enlargement: got 0.5"),
        ({"min_joint_score": 1.0}, "min_joint_score: got 1.0"),
        ({"first_stage": "../scene"}, "first_stage: got '../scene'"),
        ({"joint_set": "smpl24"}, r"outputs.joints.shape is \[1, 30, 3\]; expected \[1, 24, 3\]"),
        ({"outputs": {}}, r"outputs are \[\]; kind mesh has \['joints', 'vertices'\]"),
    ],
)
def test_wrong_manifest_is_refused_by_name(mesh_bundle, changes, words):
    with pytest.raises(BundleError, match=words):
        mesh_bundle(**changes)


def test_an_engine_that_takes_one_person_at_a_time_gives_the_same(scene, mesh_bundle):
    """As TensorRT does, whose plans are for one shape."""
    estimator = create_estimator(mesh_bundle(), **CPU)
    expected = estimator.estimate(scene.image(BRIGHT), scene.camera)
    estimator._batch = 1
    one_by_one = estimator.estimate(scene.image(BRIGHT), scene.camera)
    for one, other in zip(expected, one_by_one, strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
    estimator.close()
    with pytest.raises(EngineError, match="closed"):
        estimator.estimate(scene.image(BRIGHT), scene.camera)
