"""The SMAP estimator on scenes whose people are known, through real ONNX networks."""

from __future__ import annotations

import json
import logging
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bodies import INFERRED_SCORE
from smap_ros.bundles.manifest.common import InputSpec
from smap_ros.camera import Camera
from smap_ros.errors import BundleError, CameraError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.smap.selection import Limits, select_people

GOLDENS = Path(__file__).parents[2] / "goldens" / "smap_post"
BRIGHT, GREY, BLACK = 250, 128, 0
OFFICIAL = {
    "heatmap_scale": 255,
    "paf_scale": 127,
    "bone_depth_unit_m": 0.01,
    "root_depth_unit_m": 0.01,
}


def in_official_units(labels):
    """Label maps as the official SMAP gives them: peaks of 255 and 127, centimetres."""
    factors = np.full((43, 1, 1), 127, np.float32)
    factors[:15] = 255
    return {
        "maps": labels["maps"] * factors,
        "bone_depth": labels["bone_depth"] * 100,
        "root_depth": labels["root_depth"] * 100,
    }


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_known_people_are_found_to_centimetres(scene, make_bundle, engine):
    estimator = create_estimator(make_bundle(scene), engine, threads=1)
    frame = estimator.estimate(scene.image(BRIGHT), scene.camera, stamp=12.5)
    assert len(frame) == 3
    assert frame.stamp == 12.5 and frame.camera == scene.camera and not frame.dropped
    assert list(frame.timings_ms) == ["preprocess", "network", "association", "lifting"]
    for body, truth in zip(frame, scene.joints, strict=True):
        assert body.present.all()
        assert np.linalg.norm(body.joints_3d - truth, axis=-1).max() < 0.04
        assert abs(body.root[2] - truth[2, 2]) < 0.005
        assert np.abs(body.joints_2d - scene.camera.project(truth)).max() < 2.5
        assert 0.6 < body.score <= 1 and (body.scores <= 1).all()
        assert body.joints_3d.dtype == body.joints_2d.dtype == body.scores.dtype == np.float32
    estimator.close()
    assert "openvino" in estimator.description or "onnxruntime" in estimator.description


def test_official_units_give_the_same_people(scene, make_bundle, scene_onnx):
    lite = create_estimator(make_bundle(scene), "onnxruntime", threads=1)
    expected = lite.estimate(scene.image(BRIGHT), scene.camera)
    model = scene_onnx(in_official_units(scene.maps()))
    official = create_estimator(make_bundle(scene, model, scales=OFFICIAL), "onnxruntime")
    got = official.estimate(scene.image(BRIGHT), scene.camera)
    assert len(got) == len(expected) == 3
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.joints_3d, b.joints_3d, atol=1e-4)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_lens_distortion_is_undone(scene_maker, make_bundle):
    lens = (-0.25, 0.07, 0.001, -0.0005, 0.0)
    camera = replace(Camera.from_fov(1280, 720, np.deg2rad(80)), distortion=lens)
    scene = scene_maker([[-1.2, 0.2, 3.0], [1.9, 0.1, 4.0]], camera)
    estimator = create_estimator(make_bundle(scene), "onnxruntime", threads=1)
    frame = estimator.estimate(scene.image(BRIGHT), camera)
    assert len(frame) == 2
    for body, truth in zip(frame, scene.joints, strict=True):
        assert np.linalg.norm(body.joints_3d - truth, axis=-1).max() < 0.04
    ideal = replace(camera, distortion=())
    ignored = estimator.estimate(scene.image(BRIGHT), ideal)
    assert np.linalg.norm(ignored.bodies[0].joints_3d - scene.joints[0], axis=-1).max() > 0.1


def test_portrait_image_is_letterboxed(scene_maker, make_bundle, scene_manifest):
    camera = Camera.from_fov(720, 1280, np.deg2rad(50))
    scene = scene_maker([[0.1, 0.1, 4.0]], camera)
    # Grey pads fill two thirds of the input; a lower mean lifts its brightness over the gate.
    spec = {**scene_manifest()["input"], "mean": [-0.2] * 3}
    estimator = create_estimator(make_bundle(scene, input=spec), "onnxruntime", threads=1)
    frame = estimator.estimate(scene.image(255), camera)
    assert len(frame) == 1
    assert np.linalg.norm(frame.bodies[0].joints_3d - scene.joints[0], axis=-1).max() < 0.05


@pytest.mark.parametrize("resize", ["area", "bilinear"])
def test_manifest_says_how_images_are_shrunk(scene_maker, make_bundle, scene_manifest, resize):
    """At five to one, bilinear pixels see every fifth column: here the bright ones alone."""
    camera = Camera.from_fov(2240, 1280, np.deg2rad(60))
    scene = scene_maker([[0.1, 0.1, 4.0]], camera)
    spec = {**scene_manifest()["input"], "resize": resize}
    estimator = create_estimator(make_bundle(scene, input=spec), "onnxruntime", threads=1)
    image = np.zeros_like(scene.image(BRIGHT))
    image[:, 2::5] = BRIGHT
    found = len(estimator.estimate(image, camera))
    assert found == (1 if resize == "bilinear" else 0)


def test_manifest_says_how_pixels_are_counted(scene, make_bundle):
    points = []
    for centred in (False, True):
        bundle = make_bundle(scene, centred_pixels=centred)
        estimator = create_estimator(bundle, "onnxruntime", threads=1)
        points.append(estimator.estimate(scene.image(BRIGHT), scene.camera).bodies[0].joints_2d)
    half_pixel = 0.5 / scene.scale - 0.5
    np.testing.assert_allclose(points[1] - points[0], half_pixel, atol=1e-3)


def test_forty_people(crowd, make_bundle):
    estimator = create_estimator(make_bundle(crowd), "onnxruntime", threads=1)
    frame = estimator.estimate(crowd.image(BRIGHT), crowd.camera)
    assert len(frame) == 40
    roots = np.array([body.root for body in frame])
    assert np.linalg.norm(roots - crowd.joints[:, 2], axis=-1).max() < 0.05
    assert (np.diff(roots[:, 2]) >= 0).all(), "nearest first"


def test_nobody(scene, make_bundle):
    estimator = create_estimator(make_bundle(scene), "onnxruntime", threads=1)
    frame = estimator.estimate(scene.image(GREY), scene.camera)
    assert len(frame) == 0 and not frame.dropped
    assert len(estimator.estimate(scene.image(BRIGHT), scene.camera)) == 3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_nan_outputs_empty_the_frame_and_the_next_one_works(scene, make_bundle, engine, caplog):
    estimator = create_estimator(make_bundle(scene), engine, threads=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            frame = estimator.estimate(scene.image(BLACK), scene.camera)
            assert len(frame) == 0
            assert frame.dropped == {"non_finite_output": 58 * 64 * 112}
    assert len(caplog.records) == 1, "repeated warnings are throttled"
    assert "NaN" in caplog.text
    assert len(estimator.estimate(scene.image(BRIGHT), scene.camera)) == 3


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.zeros((0, 0, 3), np.uint8), InputError, "0x0"),
        (np.zeros((720, 1280), np.uint8), InputError, "expected"),
        (np.zeros((720, 1280, 4), np.uint8), InputError, "4"),
        (np.zeros((720, 1280, 3), np.float32), InputError, "float32"),
        (np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (20000, 20000, 3), (0, 0, 1)),
         InputError, "20000x20000"),
        (np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (100, 17000, 3), (0, 0, 1)),
         InputError, "17000x100"),
        (None, InputError, "NoneType"),
        (np.zeros((480, 640, 3), np.uint8), CameraError, "1280x720"),
    ],
)  # fmt: skip
def test_bad_images_are_refused(scene, make_bundle, image, error, words):
    estimator = create_estimator(make_bundle(scene), "onnxruntime", threads=1)
    with pytest.raises(error, match=words):
        estimator.estimate(image, scene.camera)


def test_flipped_view_of_an_image_is_accepted(scene, make_bundle):
    estimator = create_estimator(make_bundle(scene), "onnxruntime", threads=1)
    image = scene.image(BRIGHT)[::-1, ::-1, ::-1]
    assert len(estimator.estimate(image, scene.camera)) == 3


def test_people_below_the_limits_are_dropped_with_the_reason(scene, make_bundle):
    bundle = make_bundle(scene)
    strict = create_estimator(bundle, "onnxruntime", threads=1, min_score=0.99)
    frame = strict.estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 0 and frame.dropped == {"low_score": 3}


def test_association_overrides_reach_the_association(scene, make_bundle):
    bundle = make_bundle(scene, association={"peak_threshold": 5.0})
    blind = create_estimator(bundle, "onnxruntime", threads=1)
    assert len(blind.estimate(scene.image(BRIGHT), scene.camera)) == 0
    seeing = create_estimator(
        bundle, "onnxruntime", threads=1, association_settings={"peak_threshold": 0.2}
    )
    assert len(seeing.estimate(scene.image(BRIGHT), scene.camera)) == 3


@pytest.mark.parametrize("association", [{"peak_treshold": 0.1}, {"peak_threshold": -1}])
def test_wrong_association_overrides_are_refused(scene, make_bundle, association):
    with pytest.raises(BundleError, match=next(iter(association))):
        create_estimator(make_bundle(scene, association=association), "onnxruntime")


@pytest.mark.parametrize(
    "options", [{"min_joint": 3}, {"min_joints": 0}, {"min_score": 2}, {"duplicate_distance": -1}]
)
def test_wrong_options_are_refused(scene, make_bundle, options):
    with pytest.raises(InputError, match=next(iter(options))):
        create_estimator(make_bundle(scene), "onnxruntime", **options)


ROOTS = np.array([[0, 0, 3], [0.05, 0, 3.05], [1, 0, 3]], np.float32)
FOUND = np.ones((3, 15), bool)
LIMITS = Limits(4, 0.1, 0.0, 0.2, 0.1)  # the defaults of a bundle that says nothing


@pytest.mark.parametrize(
    ("scores", "changes", "kept", "dropped"),
    [
        ([0.5, 0.6, 0.7], {}, [1, 2], {"duplicate": 1}),
        ([0.6, 0.5, 0.7], {}, [0, 2], {"duplicate": 1}),
        ([0.5, 0.6, 0.7], {"duplicate_distance": 0.0}, [0, 1, 2], {}),
        ([0.05, 0.6, 0.7], {}, [1, 2], {"low_score": 1}),
        ([0.1, 0.6, 0.7], {"min_plain_score": 0.2}, [1, 2], {"low_score": 1}),
    ],
)
def test_selection_of_people(scores, changes, kept, dropped):
    limits = replace(LIMITS, **changes)
    got = select_people(ROOTS, FOUND, np.array(scores, np.float32), limits)
    assert got == (kept, dropped)


def test_selection_counts_joints_and_needs_a_root():
    found = FOUND.copy()
    found[2, 3:] = False
    roots = ROOTS.copy()
    roots[0] = np.nan
    scores = np.full(3, 0.5, np.float32)
    assert select_people(roots, found, scores, LIMITS) == (
        [1],
        {"few_joints": 1, "no_root": 1},
    )


def _refine_onnx(offset_cm, weights=None):
    """A refining network: constant root-relative positions, cm, and a weighted sum of the input."""
    weights = np.zeros((75, 45)) if weights is None else weights
    inputs = len(weights)
    weights = [
        numpy_helper.from_array(weights.astype(np.float32), "w"),
        numpy_helper.from_array(offset_cm.reshape(45).astype(np.float32), "b"),
    ]
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "w", "b"], ["out"])],
        "refine",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["people", inputs])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["people", 45])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_refining_network_moves_joints_and_places_the_missing(
    scene, make_bundle, scene_onnx, tmp_path, engine
):
    labels = scene.maps()
    labels["maps"][0, 5] = 0  # nobody's left wrist is seen
    offsets = (scene.joints[0] - scene.joints[0, 2]) * 100
    path = tmp_path / "refine.onnx"
    path.write_bytes(_refine_onnx(offsets).SerializeToString())
    bundle = make_bundle(scene, scene_onnx(labels), refine=path)
    frame = create_estimator(bundle, engine, threads=1).estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 3
    for body, truth in zip(frame, scene.joints, strict=True):
        np.testing.assert_allclose(body.joints_3d - body.root, offsets / 100, atol=1e-4)
        assert body.scores[5] == np.float32(INFERRED_SCORE) and body.present.all()
        assert np.abs(body.joints_2d[5] - scene.camera.project(truth[5])).max() < 6
    plain = create_estimator(bundle, engine, threads=1, refine=False)
    body = plain.estimate(scene.image(BRIGHT), scene.camera).bodies[0]
    assert body.scores[5] == 0 and np.isnan(body.joints_3d[5]).all()
    assert np.isnan(body.joints_2d[5]).all()


def test_a_refining_network_may_read_scores_and_move_the_person(
    scene, make_bundle, scene_onnx, tmp_path
):
    weights = np.zeros((90, 45))
    weights[75 + 5, 3 * 2 + 2] = 10.0  # 10 cm away for a score of 1 of joint 5; the root is row 2
    path = tmp_path / "refine.onnx"
    offsets = (scene.joints[0] - scene.joints[0, 2]) * 100
    path.write_bytes(_refine_onnx(offsets, weights).SerializeToString())
    facts = {"refine_scores": True, "refine_root": True, "refine": path}
    bundle = make_bundle(scene, scene_onnx(scene.maps()), **facts)
    moved, plain = (
        create_estimator(bundle, "onnxruntime", refine=refine)
        .estimate(scene.image(BRIGHT), scene.camera)
        .bodies
        for refine in (True, False)
    )
    for body, before in zip(moved, plain, strict=True):
        away = np.array([0, 0, 0.1 * before.scores[5]])
        np.testing.assert_allclose(body.root - before.root, away, atol=1e-5)
        np.testing.assert_allclose(body.joints_3d - body.root, offsets / 100, atol=1e-4)
    bundle = make_bundle(scene, scene_onnx(scene.maps()), **{**facts, "refine_scores": False})
    with pytest.raises(BundleError, match=r"expected float32\[any, 75\]"):
        create_estimator(bundle, "onnxruntime")


def test_a_refining_network_may_read_the_poses_that_pelvises_tell(
    scene, make_bundle, scene_onnx, scene_manifest, tmp_path
):
    labels = {**scene.maps(), "pose": scene.poses()}
    labels["maps"][0, 5] = 0  # nobody's left wrist is seen
    outputs = {**scene_manifest()["outputs"], "pose": {"name": "pose", "shape": [1, 45, 64, 112]}}
    weights = np.zeros((120, 45))
    weights[75:] = np.eye(45)  # the poses as they are told
    path = tmp_path / "refine.onnx"
    path.write_bytes(_refine_onnx(np.zeros(45), weights).SerializeToString())
    facts = {"outputs": outputs, "refine_poses": True, "refine": path}
    bundle = make_bundle(scene, scene_onnx(labels), **facts)
    for engine in ("onnxruntime", "openvino"):
        estimator = create_estimator(bundle, engine, threads=1)
        frame = estimator.estimate(scene.image(BRIGHT), scene.camera)
        assert len(frame) == 3
        for body, truth in zip(frame, scene.joints, strict=True):
            relative = truth - truth[2]
            np.testing.assert_allclose(
                (body.joints_3d - body.root)[:, 2], relative[:, 2], atol=1e-4
            )
            pixels = scene.camera.project(truth)
            plane = (pixels - pixels[2]) * truth[2, 2] / scene.camera.fx
            np.testing.assert_allclose((body.joints_3d - body.root)[:, :2], plane, atol=1e-4)
        estimator.close()
    with pytest.raises(BundleError, match="refine_poses is true, but the network has no output"):
        make_bundle(scene, refine=path, refine_poses=True)


def _official_refine_onnx():
    """RefineNet with the goldens' weights: four times linear, batch norm, ReLU; then linear."""
    content = json.loads((GOLDENS / "refinenet_manifest.json").read_text())
    weights = {}
    for (name, shape, _), kind in zip(content["entries"], content["kinds"], strict=True):
        seed = np.random.PCG64(zlib.crc32(name.encode()))
        x = np.random.Generator(seed).standard_normal(tuple(shape), dtype=np.float32)
        gain = content["gain"] * np.sqrt(2 / shape[-1]) if kind == "weight" else 1
        fills = {"one": lambda x: 1 + np.float32(0.1) * np.tanh(x), "small": lambda x: 0.05 * x}
        weights[name] = (fills.get(kind, lambda x: x)(x) * np.float32(gain)).astype(np.float32)
    nodes, source = [], "input"
    for k in range(1, 5):
        linear, norm = f"block.layer{k}.0", f"block.layer{k}.1"
        names = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        terms = [source, f"{linear}.weight", f"{linear}.bias"]
        nodes += [
            helper.make_node("Gemm", terms, [linear], transB=1),
            helper.make_node("BatchNormalization", [linear, *names], [norm], epsilon=1e-5),
            helper.make_node("Relu", [norm], [f"out{k}"]),
        ]
        source = f"out{k}"
    terms = [source, "block.layer5.weight", "block.layer5.bias"]
    nodes.append(helper.make_node("Gemm", terms, ["out"], transB=1))
    graph = helper.make_graph(
        nodes,
        "refine",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["people", 75])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["people", 45])],
        [numpy_helper.from_array(v, k) for k, v in weights.items() if v.ndim],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_whole_way_gives_smap_s_own_results(
    scene, make_bundle, scene_onnx, scene_manifest, tmp_path, engine
):
    """Official output maps, through scaling, association, lifting and RefineNet, to 1e-3 cm."""
    golden = np.load(GOLDENS / "post.npz")
    noise = np.random.Generator(np.random.PCG64(11)).standard_normal((14, 128, 208), np.float32)
    labels = {
        "maps": golden["maps16"].astype(np.float32)[None],
        "bone_depth": (golden["det_d16"].astype(np.float32) + np.float32(0.5) * noise)[None],
        "root_depth": golden["rdepth16"].astype(np.float32)[None, None],
    }
    lens = json.loads((GOLDENS / "post_scale.json").read_text())["scale"]
    camera = Camera(1920, 1080, lens["f_x"], lens["f_y"], lens["cx"], lens["cy"])
    refine = tmp_path / "refine.onnx"
    refine.write_bytes(_official_refine_onnx().SerializeToString())
    bundle = make_bundle(
        scene,
        scene_onnx(labels),
        refine=refine,
        scales=OFFICIAL,
        input={**scene_manifest()["input"], "width": 832, "height": 512},
        outputs={
            key: {"name": scene_manifest()["outputs"][key]["name"], "shape": value.shape}
            for key, value in labels.items()
        },
    )
    image = np.full((1080, 1920, 3), BRIGHT, np.uint8)
    official = {"min_joints": 1, "min_score": 0, "duplicate_distance": 0}
    # The goldens keep the annotated people, in the annotations' order.
    rows = [
        int(np.flatnonzero((golden["pred_bodys_2d_netpx"] == person).all(axis=(1, 2)))[0])
        for person in golden["registered"]
    ]
    for with_refine, key in ((False, "pred_3d"), (True, "refined")):
        estimator = create_estimator(bundle, engine, threads=1, refine=with_refine, **official)
        frame = estimator.estimate(image, camera)
        for row, expected in zip(rows, golden[key], strict=True):
            got = np.nan_to_num(frame.bodies[row].joints_3d) * 100
            np.testing.assert_allclose(got, expected[:, :3], rtol=0, atol=1e-3)


def test_refining_network_of_other_sizes_is_refused(scene, make_bundle, network_onnx, tmp_path):
    path = tmp_path / "refine.onnx"
    path.write_bytes(network_onnx)
    with pytest.raises(BundleError, match="75"):
        create_estimator(make_bundle(scene, refine=path), "onnxruntime")


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_normalisation_is_exact(color):
    image = np.random.default_rng(0).integers(0, 256, (256, 448, 3), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = InputSpec(name="image", width=448, height=256, color=color, mean=mean, std=std)
    ordered = image if color == "bgr" else image[..., ::-1]
    expected = ((ordered / 255 - mean) / std).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(Normaliser(spec)(image), expected.astype(np.float32))


def test_people_whose_joints_are_doubtful_are_left_out() -> None:
    """The mean of what was seen counts: few sure joints are somebody, many doubtful ones nobody."""
    roots = np.array([[0, 0, 2], [2, 0, 4]], np.float32)
    found = np.zeros((2, 15), bool)
    found[0, :5], found[1] = True, True  # five joints of 0.6, fifteen of 0.25
    scores = np.array([5 * 0.6 / 15, 0.25], np.float32)
    doubtless = replace(LIMITS, min_joint_score=0.3)
    assert select_people(roots, found, scores, LIMITS) == ([0, 1], {})
    assert select_people(roots, found, scores, doubtless) == ([0], {"low_score": 1})


def test_the_bundle_says_how_doubtful_joints_may_be(scene, make_bundle):
    image, camera = scene.image(BRIGHT), scene.camera

    def count(manifest: dict, **options) -> int:
        estimator = create_estimator(
            make_bundle(scene, **manifest), "onnxruntime", threads=1, **options
        )
        return len(estimator.estimate(image, camera))

    assert count({}) == 3
    assert count({"min_joint_score": 0.999}) == 0
    assert count({"min_joint_score": 0.999}, min_joint_score=0.0) == 3
