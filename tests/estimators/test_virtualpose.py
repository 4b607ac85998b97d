"""VirtualPose from image to metres, through networks that were exported for real."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

from smap_ros.bodies import INFERRED_SCORE
from smap_ros.bundles.bundle import load_bundle, parse_manifest
from smap_ros.camera import Camera
from smap_ros.engines.factory import open_model
from smap_ros.errors import BundleError, CameraError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.virtualpose import (
    camera_inputs,
    first_of_each,
    heat_places,
    network_fit,
)
from smap_ros.estimators.virtualpose_networks import Candidates
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MPI15

BRIGHT, GREY, BLACK = 250, 128, 0
PITCH = math.radians(12.0)
MOUNTED = {"camera_height": 1.3, "camera_pitch_deg": 12.0}
VOXEL_M = 0.11


def plain(camera: Camera, value: int) -> np.ndarray:
    return np.full((camera.height, camera.width, 3), value, np.uint8)


@pytest.fixture(scope="module")
def estimator(level_bundle):
    made = create_estimator(level_bundle, "onnxruntime", threads=1, **MOUNTED)
    yield made
    made.close()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_people_are_where_they_stand(level_scene, level_bundle, engine):
    estimator = create_estimator(level_bundle, engine, threads=1, **MOUNTED)
    camera = level_scene.camera
    frame = estimator.estimate(plain(camera, BRIGHT), camera, stamp=3.5)
    estimator.close()
    assert (len(frame), frame.stamp, dict(frame.dropped)) == (3, 3.5, {})
    depths = [body.root[2] for body in frame]
    assert depths == sorted(depths)
    for body, truth in zip(sorted(frame, key=lambda b: b.root[0]), level_scene.joints, strict=True):
        # Networks that only hand through can't tell how deep a joint lies in the person's cube,
        # but everything must lie on its ray. A cell of the maps is 11 pixels of the image.
        off = np.linalg.norm(body.joints_2d - camera.project(truth), axis=1)
        assert off.mean() < 5 and off.max() < 10
        assert np.linalg.norm(body.root - truth[MPI15.root]) < 0.4
        np.testing.assert_allclose(body.joints_2d, camera.project(body.joints_3d), atol=0.01)
        assert body.scores.min() > 0.7 and 0.3 < body.score <= 1


def test_roots_are_found_in_the_right_voxel_of_the_world(level_scene, level_bundle):
    """Camera, maps and depths lead back to the place on the floor: 0.1 m voxels."""
    from tests.virtualpose_scene import ROOTS, mounting

    root = open_model(level_bundle.read("root"), "onnxruntime", 1)
    rotation, position = (value[None].astype(np.float32) for value in mounting())
    view = {"rotation": rotation, "position": position, **camera_inputs(level_scene.camera)}
    found = root.run({"maps": level_scene.maps, **view})
    believed = found["roots"][found["scores"] > 0.3]
    assert len(believed) == 3
    believed = believed[np.argsort(believed[:, 1])]
    assert np.abs(believed - ROOTS).max() < VOXEL_M / 2 + 0.01


def test_nobody_is_found_above_the_searched_space(level_scene, level_bundle):
    """From 4 m up the same maps mean people in the air."""
    high = {"camera_height": 4.0, "camera_pitch_deg": 12.0}
    estimator = create_estimator(level_bundle, "onnxruntime", threads=1, **high)
    frame = estimator.estimate(plain(level_scene.camera, BRIGHT), level_scene.camera)
    assert len(frame) == 0 and not frame.dropped and "joints" not in frame.timings_ms


def test_an_empty_image_has_nobody_and_a_broken_network_is_reported(estimator, level_scene, caplog):
    camera = level_scene.camera
    assert len(estimator.estimate(plain(camera, GREY), camera)) == 0
    with caplog.at_level(logging.WARNING):
        broken = [estimator.estimate(plain(camera, BLACK), camera) for _ in range(2)]
    assert all(len(f) == 0 and f.dropped["non_finite_output"] > 0 for f in broken)
    assert len(caplog.records) == 1 and "NaN" in caplog.text
    assert len(estimator.estimate(plain(camera, BRIGHT), camera)) == 3


def test_both_runtimes_find_the_same_in_noise_with_random_weights(virtualpose_bundle):
    """The whole way with the backbone too; what random weights see is anywhere, but the same."""
    camera = Camera(640, 480, 500.0, 500.0, 319.5, 239.5, (-0.1, 0.01, 0.001, 0.0, 0.0))
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    frames = []
    for engine in ("onnxruntime", "openvino"):
        made = create_estimator(virtualpose_bundle, engine, threads=1, **MOUNTED)
        frames.append(made.estimate(image, camera))
        assert list(frames[-1].timings_ms) == ["preprocess", "network", "roots", "joints", "bodies"]
        assert f"on {engine}" in made.description
        made.close()
    assert 0 < len(frames[0]) == len(frames[1]) <= 5
    for one, other in zip(*frames, strict=True):
        np.testing.assert_allclose(one.joints_3d, other.joints_3d, atol=5e-3)
        assert (one.scores >= np.float32(INFERRED_SCORE)).all()


def test_limits_leave_people_out(level_scene, level_bundle, virtualpose_bundle):
    camera = level_scene.camera
    strict = create_estimator(level_bundle, "onnxruntime", threads=1, min_score=0.65, **MOUNTED)
    assert len(strict.estimate(plain(camera, BRIGHT), camera)) == 2
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3)).astype(np.uint8)
    counts = {}
    for joints in (0, 8):
        made = create_estimator(virtualpose_bundle, "onnxruntime", 1, min_joints=joints, **MOUNTED)
        frame = made.estimate(noise, camera)
        assert all((body.scores > INFERRED_SCORE).sum() >= joints for body in frame)
        counts[joints] = (len(frame), frame.dropped.get("few_joints", 0))
    assert counts[0][1] == 0 and counts[8][1] > 0
    assert sum(counts[0]) == sum(counts[8])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera_height": 0.0}, "camera_height is 0.0; expected 0.01 to 100"),
        ({"camera_pitch_deg": 90.0}, "camera_pitch_deg is 90.0; expected -89 to 89"),
        ({"min_joints": 16}, "min_joints is 16"),
        ({"height": 1.0}, r"unknown options \['height'\]; kind virtualpose takes camera_height"),
    ],
)
def test_wrong_options_are_refused_by_name(level_bundle, options, message):
    with pytest.raises(InputError, match=message):
        create_estimator(level_bundle, "onnxruntime", threads=1, **options)


def test_a_height_that_nobody_stated_is_assumed_aloud_once(level_bundle, level_scene, caplog):
    estimator = create_estimator(level_bundle, "onnxruntime", threads=1)
    camera = level_scene.camera
    with caplog.at_level(logging.WARNING):
        estimator.estimate(plain(camera, BRIGHT), replace(camera, mounting=Mounting(1.3, PITCH)))
        assert not caplog.records
        for _ in range(2):
            estimator.estimate(plain(camera, BRIGHT), camera)
    assert caplog.text.count("assuming a camera 1 m above the floor") == 1


def test_a_camera_that_knows_its_mounting_needs_no_settings(level_bundle, level_scene):
    """The settings would put everybody into the air."""
    high = {"camera_height": 4.0, "camera_pitch_deg": 12.0}
    estimator = create_estimator(level_bundle, "onnxruntime", threads=1, **high)
    camera = replace(level_scene.camera, mounting=Mounting(1.3, PITCH))
    frame = estimator.estimate(plain(camera, BRIGHT), camera)
    roots = np.array(sorted(body.root.tolist() for body in frame))
    np.testing.assert_allclose(roots, sorted(level_scene.joints[:, 2].tolist()), atol=0.4)


def test_nobody_is_where_the_lens_does_not_reach(estimator, level_scene, monkeypatch):
    """Beyond where a lens model turns back its polynomial shows places inside the picture."""
    camera = level_scene.camera
    lens = replace(camera, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))  # turns back at 46.5 degrees
    seen, beyond = np.array([0.3, 0.1, 1.0]) * 3, np.array([1.56, 0.52, 1.0]) * 1.2
    polynomial = [p[:2] / p[2] * (1 - 0.3 * ((p[:2] / p[2]) ** 2).sum()) for p in (seen, beyond)]
    assert np.abs(polynomial[0] - polynomial[1]).max() < 0.01  # one place
    person = (level_scene.joints[0] - level_scene.joints[0, MPI15.root]) * 0.5
    people = np.array([seen, beyond])[:, None] + person
    asked = []

    def candidates(blob, view, timer):
        optical = people[:, MPI15.root]
        roots = optical @ view["rotation"][0] + view["position"][0]
        return Candidates(0, roots.astype(np.float32), np.array([0.8, 0.9], np.float32))

    def joints(roots, view):
        asked.append(len(roots))
        return people[: len(roots)].astype(np.float32)

    monkeypatch.setattr(estimator._networks, "candidates", candidates)
    monkeypatch.setattr(estimator._networks, "joints", joints)
    monkeypatch.setattr(
        estimator._networks, "heat", lambda places: np.ones(places.shape, np.float32)
    )
    assert len(estimator.estimate(plain(camera, BRIGHT), camera)) == 2
    frame = estimator.estimate(plain(lens, BRIGHT), lens)
    assert asked == [2, 1] and len(frame) == 1 and not frame.dropped
    np.testing.assert_allclose(frame.bodies[0].root, seen, atol=1e-5)


@pytest.mark.parametrize(
    ("coefficients", "model"),
    [
        ((0.1, 0.0, 0.0, 0.0), "equidistant"),
        ((0.1, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0), "rational_polynomial"),
    ],
)
def test_lenses_that_the_networks_do_not_know_are_refused(
    estimator, level_scene, coefficients, model
):
    camera = replace(level_scene.camera, distortion=coefficients, distortion_model=model)
    with pytest.raises(CameraError, match=rf"{model}.*Rectify the images"):
        estimator.estimate(plain(camera, BRIGHT), camera)


def test_a_rational_lens_of_five_numbers_is_a_plumb_bob():
    lens = (0.1, -0.02, 0.001, 0.002, 0.003, 0.0, 0.0, 0.0)
    camera = Camera(640, 480, 500.0, 510.0, 320.0, 240.0, lens, "rational_polynomial")
    inputs = camera_inputs(camera)
    np.testing.assert_allclose(inputs["distortion"], [lens[:5]], rtol=1e-6)
    assert inputs["intrinsics"].tolist() == [[500.0, 510.0, 320.0, 240.0]]
    assert inputs["image_size"].tolist() == [[640.0, 480.0]]


def test_images_are_fitted_as_officially():
    """Without a half-pixel shift: the middle of the image is the middle of the input."""
    fit = network_fit(Camera.from_fov(1920, 1080, math.radians(60)), 960, 512)
    zoom = 512 / 1080
    np.testing.assert_allclose(fit, [[zoom, 0, 480 - zoom * 960], [0, zoom, 0]], atol=1e-12)
    assert (fit @ [960, 540, 1]).tolist() == pytest.approx([480, 256])


def test_heat_is_read_at_the_nearest_cell_and_nowhere_outside():
    heat = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    cells = np.array([[[1.4, 0.6], [3.4, 2.4]], [[-0.6, 0.0], [np.nan, 1.0]]])
    places = heat_places(cells, (3, 4))
    assert np.where(places < 0, 0, heat.reshape(-1)[places]).tolist() == [[5, 23], [0, 0]]


# bundles


def changed(bundle, **changes):
    data = bundle.manifest.model_dump(mode="json", exclude_none=True)
    return {**data, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_set": "coco17"}, "kind virtualpose gives mpi15"),
        ({"stride": 8}, r"expected \[1, 19 or more, 32, 56\]"),
        ({"outputs": {"heat": {"name": "maps", "shape": [1, 21, 64, 112]}}}, "has \\['maps'\\]"),
        ({"root_threshold": 1.5}, "root_threshold"),
        ({"space": {"size_m": [1, 1, 0], "center_m": [0, 0, 0]}}, "space.size_m.2"),
    ],
)
def test_manifests_that_contradict_themselves_are_refused(level_bundle, changes, message):
    with pytest.raises(BundleError, match=message):
        parse_manifest(changed(level_bundle, **changes))


def test_each_network_is_named_by_its_hash(level_bundle, tmp_path):
    files = level_bundle.manifest.files.entries
    assert list(files) == ["model", "root", "pose"]
    without = {role: entry.model_dump() for role, entry in files.items() if role != "pose"}
    with pytest.raises(BundleError, match=r"files\.pose: missing"):
        parse_manifest(changed(level_bundle, files=without))
    for entry in files.values():
        (tmp_path / entry.path).write_bytes((level_bundle.folder / entry.path).read_bytes())
    (tmp_path / "bundle.yaml").write_text(yaml.safe_dump(changed(level_bundle)))
    load_bundle(tmp_path)
    with (tmp_path / "pose.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"pose\.onnx was altered"):
        load_bundle(tmp_path)


def test_networks_that_do_not_belong_together_are_refused(level_bundle, tmp_path):
    manifest = parse_manifest(changed(level_bundle, max_people=6))
    with pytest.raises(BundleError, match=r"root network.*roots \[1, 6, 3\].*export the bundle"):
        create_estimator(replace(level_bundle, manifest=manifest), "onnxruntime", threads=1)


def test_of_people_at_the_same_place_the_surest_is_kept():
    person = np.random.default_rng(0).normal(size=(15, 3)).astype(np.float32)
    joints = np.stack([person, person + 0.1, person + 2.0, person - 0.1])
    joints[1, 3] = np.nan
    scores = np.array([0.5, 0.9, 0.4, 0.6], np.float32)
    # The first is 0.17 m from the second, the last 0.35 m.
    assert first_of_each(joints, scores, 0.4).tolist() == [1, 2]
    assert first_of_each(joints, scores, 0.3).tolist() == [1, 3, 2]
    assert first_of_each(joints, scores, 0.0).tolist() == [1, 3, 0, 2]
    assert first_of_each(joints[:0], scores[:0], 0.3).tolist() == []
