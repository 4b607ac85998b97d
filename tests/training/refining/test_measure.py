"""The errors of a bundle, measured on scenes whose people are known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.common.scenes import Scene, make_scene
from smap_ros.geometry.letterbox import Letterbox
from smap_train.refine import NETWORK_SIZE, measure

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
    scene_maker: Callable[..., Any], make_bundle: Callable[..., Any]
) -> None:
    scene = scene_maker(ROOTS)
    bundle = str(make_bundle(scene).folder)
    pairs = measure(bundle, [labelled(scene, 250), labelled(scene, 128)], "onnxruntime")
    assert len(pairs) == 3  # nobody is found in the second
    order = np.argsort(pairs.true[:, 2, 2])
    np.testing.assert_allclose(pairs.true[order], scene.joints, atol=1e-5)
    np.testing.assert_allclose(pairs.found, pairs.true, atol=0.08)
    fit = Letterbox(scene.camera.width, scene.camera.height, *NETWORK_SIZE)
    expected = fit.to_network(scene.camera.project(scene.joints))
    np.testing.assert_allclose(pairs.true_pixels[order], expected, atol=1e-3)
    np.testing.assert_allclose(pairs.pixels, pairs.true_pixels, atol=0.5)


def test_a_bundle_that_finds_nobody_is_told(
    scene_maker: Callable[..., Any], make_bundle: Callable[..., Any]
) -> None:
    scene = scene_maker(ROOTS)
    with pytest.raises(InputError, match="finds nobody in the 1 scenes; train it first"):
        measure(str(make_bundle(scene).folder), [labelled(scene, 128)], "onnxruntime")
