"""Label maps against the official code's, and the cases its scene doesn't hold."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.targets import smap as targets

GRID = (128, 208)
GOLDEN = Path(__file__).parents[2] / "goldens" / "smap_post_repr" / "repr.npz"
IMAGE_SCALE = 832 / 1920


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def plain_labels() -> ModuleType:
    """bench/plain_labels.py, loaded from its file: the bench is no package."""
    path = Path(__file__).parents[3] / "bench" / "plain_labels.py"
    spec = importlib.util.spec_from_file_location("plain_labels", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scene(golden: dict[str, np.ndarray]) -> targets.People:
    bodys = golden["bodys"]
    return targets.People(bodys[..., :2], bodys[..., 2], bodys[..., 3].astype(int))


@pytest.fixture(scope="module")
def labels(scene: targets.People) -> np.ndarray:
    return targets.label_maps(scene, GRID)


def one_person(**joints: tuple[float, float, float]) -> targets.People:
    """A person with only these joints, each (x, y, depth), visible."""
    points, depth, visibility = np.zeros((1, 15, 2)), np.zeros((1, 15)), np.zeros((1, 15), int)
    for name, (x, y, z) in joints.items():
        k = MPI15.index(name)
        points[0, k], depth[0, k], visibility[0, k] = (x, y), z, 2
    return targets.People(points, depth, visibility)


@pytest.mark.parametrize("scale", range(targets.LABEL_SCALES))
def test_heatmaps_are_the_official_ones(golden, labels, scale):
    maps = labels[scale, :15]
    expected = golden[f"hm_scale{scale}_f16"].astype(np.float32)
    np.testing.assert_allclose(maps, expected, rtol=1e-3, atol=1e-6)  # half precision
    np.testing.assert_array_equal(maps > 1e-4, expected > 1e-4)
    np.testing.assert_allclose(maps.sum((1, 2), dtype=float), golden[f"hm_scale{scale}_sum"], 1e-5)
    at, values = golden[f"hm_scale{scale}_nzidx"], golden[f"hm_scale{scale}_nzval"]
    np.testing.assert_allclose(maps.ravel()[at], values, rtol=1e-5)


@pytest.mark.parametrize("scale", range(targets.LABEL_SCALES))
def test_affinity_fields_are_the_official_ones(golden, labels, scale):
    expected = golden[f"paf_scale{min(scale, 2)}"]
    np.testing.assert_allclose(labels[scale, 15:], expected, rtol=1e-6, atol=1e-5)


def test_affinity_fields_of_hidden_limbs_are_drawn_on_request(golden, scene):
    fields = targets.affinity_fields(scene, 3, GRID, visible_only=False)
    np.testing.assert_allclose(
        fields.sum((1, 2), dtype=float), golden["paf_nomds_scale0_sum"], 1e-5
    )
    assert not np.allclose(fields, golden["paf_scale0"])  # the scene has hidden limbs


def test_root_depth_rows_are_the_official_ones(golden, scene):
    rows = targets.root_depth_rows(scene, 1500.0 * IMAGE_SCALE, GRID)
    np.testing.assert_allclose(rows, golden["rdepth"], rtol=1e-6)
    assert np.all(np.diff(rows[:, 2]) <= 0)


def test_no_people_give_zero_labels():
    nobody = targets.People(np.zeros((0, 15, 2)), np.zeros((0, 15)), np.zeros((0, 15), int))
    assert not targets.label_maps(nobody, (8, 12)).any()
    assert not targets.root_depth_rows(nobody, 700.0, (8, 12)).any()


@pytest.mark.parametrize("point", [(-0.5, 10), (48, 10), (10, -3), (10, 32), (np.nan, 10)])
def test_a_visible_joint_outside_the_grid_is_not_drawn(point):
    people = one_person(neck=(*point, 300), pelvis=(*point, 300))
    assert not targets.heatmaps(people, 5, (8, 12)).any()
    assert not targets.root_depth_rows(people, 700.0, (8, 12)).any()


def test_a_joint_in_the_last_cell_is_drawn_there():
    maps = targets.heatmaps(one_person(neck=(47.9, 31.9, 300)), 5, (8, 12))
    assert np.unravel_index(maps[0].argmax(), (8, 12)) == (7, 11)


def test_limb_shorter_than_a_cell_is_left_out():
    people = one_person(neck=(20, 20, 300), head_top=(22, 20, 290))
    assert not targets.affinity_fields(people, 1, (8, 12)).any()


def test_limb_outside_of_the_grid_is_left_out():
    people = one_person(neck=(200, 20, 300), head_top=(200, 4, 290))
    assert not targets.affinity_fields(people, 1, (8, 12)).any()


def test_affinity_points_from_first_to_second_joint_and_carries_the_depth_step():
    people = one_person(neck=(20, 28, 300), head_top=(20, 8, 290))
    x, y, depth = targets.affinity_fields(people, 1, (8, 12))[:3, 4, 5]
    assert (x, y, depth) == (0, -127, -10)


def test_only_the_first_people_fit_into_the_rows():
    crowd = one_person(pelvis=(20, 20, 300))
    many = targets.People(
        np.repeat(crowd.points_px, 25, 0), np.arange(25.0)[:, None] + np.full((25, 15), 100.0),
        np.repeat(crowd.visibility, 25, 0),
    )  # fmt: skip
    rows = targets.root_depth_rows(many, 1.0, GRID)
    np.testing.assert_array_equal(rows[:, 2], np.arange(119, 99, -1))


def test_people_of_unfitting_shapes_are_refused():
    with pytest.raises(InputError, match=r"depth_cm has shape \(2, 14\), expected \(2, 15\)"):
        targets.People(np.zeros((2, 15, 2)), np.zeros((2, 14)), np.zeros((2, 15), int))


@pytest.mark.parametrize("number", range(5))
def test_label_maps_are_those_of_the_plain_rules(plain_labels, number):
    bodies = plain_labels.random_bodies(np.random.default_rng(number), number, (24, 36))
    people = targets.People(bodies[..., :2], bodies[..., 2], bodies[..., 3].astype(int))
    expected = plain_labels.label_maps(bodies, (24, 36))
    np.testing.assert_allclose(targets.label_maps(people, (24, 36)), expected, atol=2e-3)
