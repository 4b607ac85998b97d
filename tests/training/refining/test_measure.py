"""The errors of a bundle, measured on scenes whose people are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError
from smap_ros.evaluation.common.scenes import Scene, make_scene
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.data.layouts.pairs import open_pairs, write_pairs
from smap_train.refining.found import read_found
from smap_train.refining.measure import measure

from .people import shrunken


def run_command(words: list[str]) -> str:
    result = CliRunner().invoke(app, words)
    if result.exception:
        raise result.exception
    return result.stdout


ROOTS = np.array([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]])


def labelled(scene: Any, value: int) -> Scene:
    people = [
        {
            "id": k,
            "joints_3d": joints.tolist(),
            "joints_2d": scene.camera.project(joints).tolist(),
            "visibility": [2] * 15,
            "box": [0, 0, 100, 200],
        }
        for k, joints in enumerate(scene.joints)
    ]
    picture = scene.image(value)
    return make_scene(
        people, scene.camera.to_json(), lambda: picture, key="0", index=0, source="test"
    )


def test_people_are_paired_with_the_true_ones_in_network_pixels(
    scene_maker: Callable[..., Any], make_bundle: Callable[..., Any], tmp_path: Path
) -> None:
    scene = scene_maker(ROOTS)
    bundle = str(make_bundle(scene).folder)
    pairs = measure(bundle, [labelled(scene, 250), labelled(scene, 128)], "onnxruntime")
    assert len(pairs) == 3  # nobody is found in the second
    order = np.argsort(pairs.true[:, 2, 2])
    np.testing.assert_allclose(pairs.true[order], scene.joints, atol=1e-5)
    np.testing.assert_allclose(pairs.found, pairs.true, atol=0.08)
    fit = Letterbox(scene.camera.width, scene.camera.height, *pairs.size)
    expected = fit.to_network(scene.camera.project(scene.joints))
    np.testing.assert_allclose(pairs.true_pixels[order], expected, atol=1e-3)
    np.testing.assert_allclose(pairs.pixels, pairs.true_pixels, atol=0.5)
    pairs.save(tmp_path / "pairs.npz")
    assert read_found(tmp_path / "pairs.npz").found_by == load_bundle(Path(bundle)).model_hash


def test_a_bundle_that_finds_nobody_is_told(
    scene_maker: Callable[..., Any], make_bundle: Callable[..., Any]
) -> None:
    scene = scene_maker(ROOTS)
    with pytest.raises(InputError, match="finds nobody in the 1 pictures; train it first"):
        measure(str(make_bundle(scene).folder), [labelled(scene, 128)], "onnxruntime")


def test_smaps_own_file_holds_what_was_found_in_centimetres_and_network_pixels(
    scene_maker: Callable[..., Any], make_bundle: Callable[..., Any], tmp_path: Path
) -> None:
    """From SMAP's annotations to its file of pairs, by the command."""
    scene = scene_maker(ROOTS)
    camera = scene.camera
    bodies = np.zeros((3, 15, 11))
    bodies[..., :2] = camera.project(scene.joints)
    bodies[..., 2:4] = np.stack([100 * scene.joints[..., 2], np.full((3, 15), 2)], axis=-1)
    bodies[..., 4:7] = 100 * scene.joints
    bodies[..., 7:] = camera.fx, camera.fy, camera.cx, camera.cy
    bodies[1, MPI15.root, 3] = 1  # of hidden pelvises there are no pairs
    records = []
    for k, (dataset, held_out) in enumerate([("MuCo", 0), ("COCO", 0), ("MuCo", 1)]):
        cv2.imwrite(str(tmp_path / f"{k}.png"), scene.image(250))
        records.append(
            {"img_paths": f"{k}.png", "img_width": camera.width, "img_height": camera.height,
             "dataset": dataset, "isValidation": held_out, "bodys": bodies.tolist()}
        )  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps({"root": records}))
    bundle, out = make_bundle(scene).folder, tmp_path / "pairs.json"
    words = ["pairs", str(bundle), str(out), "--annotations", str(tmp_path / "a.json"),
             "--images", str(tmp_path), "--engine", "onnxruntime"]  # fmt: skip
    assert run_command(words).splitlines()[-1] == f"{out}: 2 people of 1 pictures"
    pairs = open_pairs(out)
    assert len(pairs) == len(json.loads(out.read_text())["3d_pairs"]) == 2
    spec = load_bundle(str(bundle)).manifest.input
    fit = Letterbox(camera.width, camera.height, spec.width, spec.height)
    for pair, person in zip(pairs, (0, 2), strict=True):
        np.testing.assert_allclose(pair.gt_3d, bodies[person, :, 4:7], atol=1e-3)
        np.testing.assert_allclose(pair.pred_3d[:, :3], bodies[person, :, 4:7], atol=8)
        expected = fit.to_network(bodies[person, :, :2])
        np.testing.assert_allclose(pair.pred_2d[:, :2], expected, atol=0.5)
        depth = pair.pred_3d[:, 2] - pair.pred_3d[MPI15.root, 2]
        np.testing.assert_allclose(pair.pred_2d[:, 2], depth, atol=1e-3)
        assert (pair.pred_3d[:, 3] > 0).all()
    # The same people for recipe refine_lite.
    words[2] = str(tmp_path / "pairs.npz")
    run_command([*words, "--held-out"])
    people = read_found(tmp_path / "pairs.npz")
    assert len(people) == 2 and people.size == (spec.width, spec.height)


def test_missing_joints_have_rows_of_zeros(tmp_path: Path) -> None:
    people = shrunken(3, 0)
    people.scores[1, 4], people.found[1, 4], people.pixels[1, 4] = 0, np.nan, np.nan
    write_pairs(tmp_path / "pairs.json", people)
    pair = open_pairs(tmp_path / "pairs.json")[1]
    assert not pair.pred_3d[4].any() and not pair.pred_2d[4].any()
    np.testing.assert_allclose(pair.input(), people.inputs()[1, :75], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(
        pair.target().reshape(15, 3)[3:], people.targets()[1].reshape(15, 3)[3:], atol=1e-3
    )


def test_what_gives_no_pairs_is_refused(make_bundle, scene_maker, tmp_path):
    bundle = str(make_bundle(scene_maker(ROOTS)).folder)
    for words, message in (
        (["pairs.txt", "--virtual", "."], "expected NAME.npz or NAME.json"),
        (["pairs.json"], "no pictures: name --virtual or --annotations"),
        (["pairs.json", "--virtual", str(tmp_path / "none")], "doesn't exist"),
        (["pairs.json", "--annotations", str(tmp_path / "none.json")], "none.json"),
    ):
        with pytest.raises(InputError, match=message):
            run_command(["pairs", bundle, *words])
