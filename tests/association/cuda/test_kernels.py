"""The GPU's kernels, run on the CPU, against the numpy code: equal to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.association import (
    AssociationConfig,
    associate,
    associate_both,
    find_peaks,
    limb_scores,
)
from smap_ros.association.config import LIMBS
from smap_ros.association.cuda import layout
from smap_ros.bundles.manifest.common import ImageInput
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.errors import InputError
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.smap.device import people_of
from smap_ros.estimators.smap.lifting import (
    LiftingConfig,
    _at_roots,
    bone_depths,
    chain_depths,
    relative_depths,
    told_poses,
)
from smap_ros.estimators.smap.maps import MapScales
from smap_ros.geometry.letterbox import Letterbox
from tests.conftest import manifest

TOLD = tuple(layout.OUTPUTS)[:4]


def plain(names=TOLD):
    """Units of a network that tells these in the association's own."""
    return layout.MapUnits(np.ones(sum(layout.OUTPUTS[n] for n in names), np.float32), names)


def outputs_of(maps, root_depth, seed=0):
    """What a network would give: maps, bone depths, root depth, poses."""
    rng = np.random.default_rng(seed)
    bones = rng.normal(0, 30, (14, *root_depth.shape)).astype(np.float32)
    poses = rng.normal(0, 50, (45, *root_depth.shape)).astype(np.float32)
    return [np.ascontiguousarray(array) for array in (maps, bones, root_depth, poses)]


def assert_frame_is_numpys(kernels, outputs, root=2, dist_flag=True, config=None):
    config = config or AssociationConfig()
    maps, bones, root_depth, poses = outputs
    size = root_depth.shape
    params = layout.parameters(size, plain(), config, root=root, dist_flag=dist_flag)
    arena, _ = kernels.frame(params, outputs)

    peaks = find_peaks(maps, config, root)
    np.testing.assert_array_equal(arena["counts"], peaks.counts)
    for joint, count in enumerate(peaks.counts):
        np.testing.assert_array_equal(arena["peaks"][joint, :count, :3], peaks.of(joint))
    scores = limb_scores(maps, peaks, config)
    for limb, (a, b) in enumerate(peaks.counts[LIMBS]):
        np.testing.assert_array_equal(arena["scores"][limb, :a, :b], scores.table(limb))

    people = associate(maps, root_depth, root=root, dist_flag=dist_flag, config=config)
    result = arena["result"]
    assert result["people"] == len(people)
    found = result["person"][: len(people)]
    np.testing.assert_array_equal(found["joints"], people[..., [0, 1, 3]])
    lifting = LiftingConfig(root=root, stride=config.stride)
    with np.errstate(invalid="ignore"):  # maps full of NaN and infinities
        depths = chain_depths(bone_depths(people, bones, lifting), root)
        np.testing.assert_array_equal(found["depth_cm"], depths)
        told = told_poses(people, poses, lifting).reshape(len(people), 45)
    np.testing.assert_array_equal(found["pose"] / np.float32(100), told)
    bad = sum(int((~np.isfinite(array)).sum()) for array in outputs)
    assert result["bad"] == bad
    return people


def test_the_layout_is_the_kernels(kernels):
    sizes = [kernels.library.sizes(k) for k in range(3)]
    assert sizes == [d.itemsize for d in (layout.PARAMS, layout.ARENA, layout.RESULT)]


def test_goldens_of_smap(kernels, golden):
    people = assert_frame_is_numpys(
        kernels, outputs_of(golden.maps, golden.root_depth), golden.root, golden.dist_flag
    )
    np.testing.assert_array_equal(people, golden.people)


@pytest.mark.parametrize("root", [0, 2])
@pytest.mark.parametrize(
    ("count", "size", "noise"),
    [(0, (16, 24), 0.0), (1, (64, 112), 0.0), (9, (48, 40), 0.1), (30, (97, 101), 0.05)],
)
def test_scenes(kernels, naive, count, size, noise, root):
    maps, root_depth = naive.synthetic_scene(count, seed=count, size=size, noise=noise)
    people = assert_frame_is_numpys(kernels, outputs_of(maps, root_depth), root)
    assert len(people) >= count * 2 // 3


def test_nonsense_in_the_maps(kernels, naive):
    maps, root_depth = naive.synthetic_scene(6, seed=4, size=(64, 112), noise=0.05)
    rng = np.random.default_rng(1)
    outputs = outputs_of(maps, root_depth)
    for array in outputs:
        flat = array.reshape(-1)
        for value in (np.nan, np.inf, -np.inf, 1e7, -1e30):
            flat[rng.choice(len(flat), len(flat) // 50, replace=False)] = value
    assert_frame_is_numpys(kernels, outputs)


def test_ties_and_more_peaks_than_the_tables_hold(kernels):
    rng = np.random.default_rng(2)
    maps = np.zeros((43, 70, 90), np.float32)
    maps[:15, 1:10:2, 1:10:2] = rng.choice([0.25, 0.5], (15, 5, 5))
    maps[[0, 2], 1:-1:2, 1:-1:2] = rng.choice([0.25, 0.5], (2, 34, 44))  # the torso's two joints
    maps[15:] = rng.normal(0, 1, maps[15:].shape).round(1)
    depth = rng.choice([1.0, 2.0], (70, 90)).astype(np.float32)
    people = assert_frame_is_numpys(kernels, outputs_of(maps, depth))
    assert len(people) == 127


@pytest.mark.parametrize("told", [(), ("depth_spread",)])
@pytest.mark.parametrize(("count", "hidden"), [(0, 1.0), (9, 0.0), (12, 0.5), (8, 1.0)])
def test_people_from_necks(kernels, naive, count, hidden, told):
    """Those in the left part of the picture have no pelvis there."""
    size = (64, 112)
    maps, root_depth = naive.synthetic_scene(count, seed=count, size=size, noise=0.02)
    rng = np.random.default_rng(count)
    maps[2, :, : round(hidden * size[1])] = 0
    outputs = outputs_of(maps, root_depth)
    neck_depth = rng.permuted(root_depth, axis=1)
    outputs += [neck_depth, rng.normal(0, 50, (45, *size)).astype(np.float32)]
    names = (*layout.OUTPUTS,)[:6] + told
    if told:
        outputs.append(rng.random((2, *size), np.float32))
    params = layout.parameters(size, plain(names), necks=True)
    arena, _ = kernels.frame(params, outputs)
    result = arena["result"]
    people, necks = associate_both(maps, root_depth, neck_depth)
    assert (int(result["people"]), int(result["necks"])) == (len(people), len(necks))
    assert (len(necks) > 0) == (count * hidden > 0) and (hidden < 1 or len(people) == 0)
    found = people_of(result, names), people_of(result, names, necks=True)
    depths = (root_depth, outputs[3], 0), (neck_depth, outputs[5], 1)
    for (rows, measured), expected, (depth, poses, k) in zip(
        found, (people, necks), depths, strict=True
    ):
        np.testing.assert_array_equal(rows, expected)
        config = LiftingConfig(root=(2, 0)[k])
        np.testing.assert_array_equal(measured.root_depth, _at_roots(expected, depth, config))
        np.testing.assert_array_equal(
            measured.relative_cm, relative_depths(expected, outputs[1], config)
        )
        np.testing.assert_array_equal(measured.poses, told_poses(expected, poses, config))
        if told:
            spread = _at_roots(expected, outputs[6][k], config)
            np.testing.assert_array_equal(measured.spread, spread)
        else:
            assert measured.spread is None


@pytest.mark.parametrize("seed", range(3))
def test_weak_roots_and_then_necks(kernels, naive, seed):
    maps, root_depth = naive.synthetic_scene(8, seed=seed, size=(64, 112), noise=0.03)
    maps[2] *= np.linspace(0.1, 1, 112, dtype=np.float32)  # some pelvises are weak, others gone
    config = AssociationConfig(root_share=0.4, peak_threshold=0.6)
    neck_depth = np.ascontiguousarray(root_depth[:, ::-1])
    outputs = [*outputs_of(maps, root_depth), neck_depth, np.zeros((45, 64, 112), np.float32)]
    names = tuple(layout.OUTPUTS)[:6]
    params = layout.parameters(root_depth.shape, plain(names), config, necks=True)
    arena, _ = kernels.frame(params, outputs)
    people, necks = associate_both(maps, root_depth, neck_depth, config=config)
    weak = people[:, 2, 3] <= np.float32(0.6)
    assert weak.any() and not weak.all() and len(necks)
    result = arena["result"]
    np.testing.assert_array_equal(people_of(result, names)[0], people)
    np.testing.assert_array_equal(people_of(result, names, necks=True)[0], necks)


def test_peaks_with_one_centre_belong_to_their_owner_both(kernels):
    """Two peaks of equal height have one centroid: who has one has both."""
    maps = np.zeros((43, 20, 20), np.float32)
    maps[0, 8, 7] = maps[0, 8, 9] = 0.9  # necks; the windows about both hold both
    maps[2, 12, 8] = 0.9
    maps[15 + 3] = 1  # from neck to pelvis: down
    depth, poses = np.ones((20, 20), np.float32), np.zeros((45, 20, 20), np.float32)
    outputs = [*outputs_of(maps, depth), depth, poses]
    params = layout.parameters(depth.shape, plain(tuple(layout.OUTPUTS)[:6]), necks=True)
    arena, _ = kernels.frame(params, outputs)
    people, necks = associate_both(maps, depth, depth)
    got = int(arena["result"]["people"]), int(arena["result"]["necks"])
    assert got == (len(people), len(necks)) == (1, 0)
    assert int(arena["counts"][0]) == 2


@pytest.mark.parametrize("size", [0, 1, 511, 513, 70_000])
def test_bad_values_are_counted_and_some_taken(kernels, size):
    rng = np.random.default_rng(size)
    values = rng.random(max(size, 1), np.float32)
    values[rng.random(len(values)) < 0.1] = np.nan
    values[:1] = np.inf
    bad = np.full(8, -1, np.int32)
    places = rng.integers(-3, len(values), 700).astype(np.int32)
    sizes, taken = np.array([size, 650], np.int32), np.full(700, 7, np.float32)
    kernels.launch("count_bad", (8, 1), sizes, values, bad)
    assert bad.sum() == np.sum(~np.isfinite(values[:size]))
    kernels.launch("take", (1, 1), sizes, places, values, taken)
    expected = np.where(places < 0, 0, values[np.maximum(places, 0)])
    np.testing.assert_array_equal(taken[:650], expected[:650])
    assert (taken[650:] == 7).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"centroid_radius": 0, "peak_threshold": 0.4, "max_peaks": 3},
        {"min_samples": 1, "max_samples": 70, "samples_gain": 60.0, "paf_min_share": 0.5},
        {"stride": 8.0, "bone_slack": 0.3, "near_divisor": 3.0},
        {"root_share": 0.1, "peak_threshold": 0.5},
    ],
)
def test_settings(kernels, naive, settings):
    maps, root_depth = naive.synthetic_scene(7, seed=8, size=(64, 112), noise=0.05)
    config = AssociationConfig(**settings)
    assert_frame_is_numpys(kernels, outputs_of(maps, root_depth), config=config)


@pytest.mark.parametrize("root", [0, 2])
def test_weak_roots_come_last(kernels, naive, root):
    maps, root_depth = naive.synthetic_scene(9, seed=3, size=(64, 112), noise=0.03)
    config = AssociationConfig(root_share=0.2, peak_threshold=0.6)
    maps[root] *= np.linspace(0.3, 1, 112, dtype=np.float32)
    people = associate(maps, root_depth, root=root, config=config)
    weak = people[:, root, 3] <= np.float32(0.6)
    assert weak.any() and not weak.all() and (np.diff(weak.astype(int)) >= 0).all()
    assert_frame_is_numpys(kernels, outputs_of(maps, root_depth), root, config=config)


@pytest.mark.parametrize("poses", [True, False])
def test_scales_and_the_mirrored_image(kernels, naive, poses):
    size = (48, 80)
    looks = []
    for seed in (6, 7):
        maps, root_depth = naive.synthetic_scene(5, seed=seed, size=size, noise=0.02)
        looks.append(outputs_of(maps * np.float32(200), root_depth, seed)[: 3 + poses])
    scales = MapScales(_manifest(size, poses))
    straight, mirrored = (scales(_named(outputs)).copy() for outputs in looks)
    expected = straight.mean_with_mirrored(mirrored)
    params = layout.parameters(size, scales.units(flip_test=True))
    arena, got = kernels.frame(params, *looks)
    parts = [expected.maps, expected.bone_depth, expected.root_depth[None]]
    if expected.poses is not None:
        parts.append(expected.poses)
    np.testing.assert_array_equal(got, np.concatenate(parts).reshape(got.shape))
    people = associate(expected.maps, expected.root_depth)
    assert len(people)
    found = arena["result"]["person"][: len(people)]
    np.testing.assert_array_equal(found["joints"], people[..., [0, 1, 3]])


def _manifest(size, poses):
    """A bundle of SMAP's scales, at stride 4."""
    height, width = size
    channels = {"maps": 43, "bone_depth": 14, "root_depth": 1, **({"pose": 45} if poses else {})}
    return SmapManifest.model_validate(
        manifest(
            input={
                "name": "image", "width": 4 * width, "height": 4 * height, "color": "rgb",
                "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25],
            },
            outputs={k: {"name": k, "shape": [1, n, *size]} for k, n in channels.items()},
            scales={
                "heatmap_scale": 255, "paf_scale": 127, "bone_depth_unit_m": 0.01,
                "root_depth_unit_m": 0.02,
            },
            files={"model": {"path": "model.onnx", "sha256": "0" * 64}},
        )
    )  # fmt: skip


def _named(outputs):
    names = ("maps", "bone_depth", "root_depth", "pose")
    shaped = [array if array.ndim == 3 else array[None] for array in outputs]
    return {name: array[None] for name, array in zip(names, shaped, strict=False)}


@pytest.mark.parametrize(
    ("image", "network"),
    [
        ((640, 360), (448, 256)),
        ((1280, 720), (832, 512)),
        ((1280, 720), (448, 256)),
        ((1920, 1080), (448, 256)),
        ((400, 300), (448, 256)),
        ((448, 256), (448, 256)),
        ((334, 518), (448, 256)),
        ((64, 640), (448, 256)),
        ((2240, 1280), (448, 256)),
        ((896, 512), (448, 256)),
        ((320, 240), (448, 256)),  # enlarged
        ((37, 22), (64, 48)),
        ((1, 1), (32, 16)),
    ],
)
@pytest.mark.parametrize("resize", ["area", "bilinear"])
@pytest.mark.parametrize("colour", ["bgr", "rgb"])
def test_the_letterbox_is_opencvs(kernels, image, network, colour, resize):
    rng = np.random.default_rng(3)
    letterbox = Letterbox(*image, *network, resize)
    picture = rng.integers(0, 256, (image[1], image[0], 3), dtype=np.uint8)
    normaliser = Normaliser(
        ImageInput(
            name="image", width=network[0], height=network[1], color=colour,
            mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25),
        )
    )  # fmt: skip
    params = layout.parameters((8, 8), plain())
    layout.set_image(params, letterbox, normaliser.tables, normaliser.source)
    blob = np.full((3, network[1], network[0]), np.nan, np.float32)
    kernels.launch("letterbox", (64, 1), params, picture, blob)
    np.testing.assert_array_equal(blob, normaliser(letterbox.apply(picture))[0])


def test_the_mirrored_input(kernels):
    blob = np.random.default_rng(0).random((3, 30, 44), np.float32)
    params = layout.parameters((8, 8), plain())
    params["input_height"], params["input_width"] = blob.shape[1:]
    turned = np.full_like(blob, np.nan)
    kernels.launch("mirror", (2, 1), params, blob, turned)
    np.testing.assert_array_equal(turned, blob[..., ::-1])


def test_an_image_that_leaves_a_rest_is_refused():
    with pytest.raises(InputError, match="1281x721"):
        layout.set_image(
            layout.parameters((8, 8), plain()), Letterbox(1281, 721, 448, 256),
            np.zeros((3, 256), np.float32), (0, 1, 2),
        )  # fmt: skip
