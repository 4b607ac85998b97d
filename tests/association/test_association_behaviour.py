"""What the association promises beyond parity: bad values, refusals, settings, geometry."""

from __future__ import annotations

import dataclasses
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros import association
from smap_ros.association import AssociationConfig, assign, associate, find_peaks, limb_scores
from smap_ros.errors import InputError

SIZE = (64, 112)
NONSENSE = [np.nan, np.inf, -np.inf, 3e38, -3e38, 2e6]


@pytest.fixture
def scene(naive) -> tuple[np.ndarray, np.ndarray]:
    return naive.synthetic_scene(5, seed=7, size=SIZE)


def gaussian(x: float, y: float, top: float = 1.0) -> np.ndarray:
    """A heatmap with one joint at (x, y) cells."""
    u, v = np.arange(SIZE[1]) - x, np.arange(SIZE[0])[:, None] - y
    return (top * np.exp(-(u * u + v * v) / 8)).astype(np.float32)


def blank() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((43, *SIZE), np.float32), np.ones(SIZE, np.float32)


# -- values that are no numbers -----------------------------------------------------------------


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_heatmaps_counts_as_zero(scene, value) -> None:
    maps, root_depth = scene
    rng = np.random.default_rng(0)
    spoilt, clean = maps.copy(), maps.copy()
    where = rng.random(maps[:15].shape) < 0.03
    spoilt[:15][where], clean[:15][where] = value, 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        people = associate(spoilt, root_depth)
    np.testing.assert_array_equal(people, associate(clean, root_depth))


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_affinity_fields_gives_no_support(scene, value) -> None:
    maps, root_depth = scene
    spoilt, clean = maps.copy(), maps.copy()
    for field in range(14):
        where = np.random.default_rng(field).random(SIZE) < 0.03
        spoilt[15 + 2 * field : 17 + 2 * field, where] = value
        clean[15 + 2 * field : 17 + 2 * field, where] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        people = associate(spoilt, root_depth)
    np.testing.assert_array_equal(people, associate(clean, root_depth))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_maps_of_nothing_but_nonsense_show_nobody(value) -> None:
    maps = np.full((43, *SIZE), value, np.float32)
    assert associate(maps, maps[0]).shape == (0, 15, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_person_of_unknown_depth_comes_last(scene, value) -> None:
    maps, root_depth = scene
    known = associate(maps, root_depth)
    x, y = known[0, 2, :2].astype(int)
    spoilt = root_depth.copy()
    spoilt[y - 3 : y + 4, x - 3 : x + 4] = value
    people = associate(maps, spoilt)
    assert len(people) == len(known)
    np.testing.assert_array_equal(people[-1, 2], known[0, 2])
    np.testing.assert_array_equal(people[:-1, 2], known[1:, 2])


@pytest.mark.parametrize("depth", [0.0, -1.0, 1e-38])
def test_any_finite_depth_is_survived(scene, depth) -> None:
    maps, root_depth = scene
    people = associate(maps, np.full_like(root_depth, depth))
    assert len(people) == 5
    assert np.isfinite(people).all()


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maps", "root_depth", "message"),
    [
        (np.zeros((43, 8, 8)), np.zeros((8, 8), np.float32), "maps are float64"),
        ([[0.0]], np.zeros((8, 8), np.float32), "maps are list"),
        (np.zeros((1, 43, 8, 8), np.float32), np.zeros((8, 8), np.float32), "not a batch"),
        (np.zeros((57, 8, 8), np.float32), np.zeros((8, 8), np.float32), r"\[43, h, w\]"),
        (np.zeros((43, 0, 8), np.float32), np.zeros((0, 8), np.float32), r"\[43, h, w\]"),
        (np.zeros((43, 8, 8), np.float32), np.zeros((1, 8, 8), np.float32), "channel axis"),
        (np.zeros((43, 8, 8), np.float32), np.zeros((8, 9), np.float32), r"expected \(8, 8\)"),
        (np.zeros((43, 8, 8), np.float32), np.zeros((8, 8)), "root_depth is float64"),
    ],
)
def test_wrong_arrays_are_refused(maps, root_depth, message) -> None:
    with pytest.raises(InputError, match=message):
        associate(maps, root_depth)


@pytest.mark.parametrize("root", [-1, 1, 14, 15])
def test_other_roots_are_refused(root) -> None:
    with pytest.raises(InputError, match="pelvis"):
        associate(*blank(), root=root)


@pytest.mark.parametrize(
    "field",
    [
        {"peak_threshold": 0},
        {"peak_threshold": np.nan},
        {"root_share": 0},
        {"root_share": 1.5},
        {"max_peaks": 0},
        {"max_peaks": 2.5},
        {"peak_threshold": "a"},
        {"stride": True},
        {"min_samples": 26},
        {"stride": 0},
        {"bone_length_cm": (1.0,) * 13},
        {"bone_length_cm": (-1.0,) * 14},
        {"bone_length_cm": 5},
        {"bone_length_cm": ("long",) * 14},
    ],
)
def test_senseless_settings_are_refused(field) -> None:
    with pytest.raises(InputError, match=next(iter(field))):
        AssociationConfig(**field)


# -- shapes and settings ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (1, 50), (64, 112), (128, 208)])
def test_any_map_size_works(size) -> None:
    maps = np.random.default_rng(0).random((43, *size), np.float32)
    people = associate(maps, np.ones(size, np.float32))
    assert people.shape[1:] == (15, 4)


def test_maps_that_are_not_contiguous_give_the_same(scene) -> None:
    maps, root_depth = scene
    other = np.asfortranarray(maps)
    np.testing.assert_array_equal(associate(other, root_depth), associate(maps, root_depth))


def test_the_inputs_are_left_alone(scene) -> None:
    maps, root_depth = (array.copy() for array in scene)
    maps.flags.writeable = root_depth.flags.writeable = False
    associate(maps, root_depth)
    np.testing.assert_array_equal(maps, scene[0])


def test_peaks_are_strict_inside_and_above_the_threshold() -> None:
    maps, _ = blank()
    maps[3, 20, 20] = maps[3, 20, 21] = 0.9  # a plateau
    maps[3, 0, 50] = maps[3, 30, 0] = maps[3, 63, 9] = maps[3, 9, 111] = 0.9  # the frame
    maps[3, 40, 40] = 0.2  # the threshold itself
    maps[3, 50, 50] = 0.3
    peaks = find_peaks(maps)
    assert peaks.counts.tolist() == [0, 0, 0, 1] + [0] * 11
    np.testing.assert_allclose(peaks.of(3), [(50.5, 50.5, 0.3)])


def test_only_the_first_peaks_of_a_kind_are_kept(naive) -> None:
    maps, root_depth = naive.synthetic_scene(8, seed=2, size=SIZE)
    all_peaks = find_peaks(maps)
    few = find_peaks(maps, AssociationConfig(max_peaks=3))
    assert all_peaks.counts.max() > 3
    assert few.counts.max() == 3
    for joint in range(15):
        np.testing.assert_array_equal(few.of(joint), all_peaks.of(joint)[:3])
    assert len(associate(maps, root_depth, config=AssociationConfig(max_peaks=3))) == 3


def torso_scene(distance: float, support: float) -> tuple[np.ndarray, np.ndarray]:
    """A pelvis and a neck that many cells above it, connected by a field of that strength."""
    maps, root_depth = blank()
    maps[2], maps[0] = gaussian(50, 60), gaussian(50, 60 - distance)
    maps[15 + 2 * 1 + 1] = support  # neck to pelvis points down
    return maps, root_depth


def test_weak_roots_take_what_the_others_leave() -> None:
    """A weak pelvis nearer to the camera, and nearer to the neck, than a clear one."""
    maps, root_depth = torso_scene(distance=20, support=0.5)
    maps[2] = np.maximum(maps[2], 0.16 * gaussian(60, 58))
    root_depth[:, 56:] = root_depth[:, :56].min() / 2
    assert len(associate(maps, root_depth)) == 1
    config = AssociationConfig(root_share=0.75)
    clear, weak = associate(maps, root_depth, config=config)
    np.testing.assert_array_equal(clear, associate(maps, root_depth)[0])
    assert clear[0, 3] > 0 and weak[2, 3] == pytest.approx(0.16, rel=0.01) and weak[0, 3] == 0
    maps[0] = np.maximum(maps[0], gaussian(60, 40))  # a neck that is left over
    assert associate(maps, root_depth, config=config)[1, 0, 3] > 0
    maps[2] = 0.16 * gaussian(60, 58)  # who is alone has what there is
    assert associate(maps, root_depth, config=config)[0, 0, 3] > 0
    assert len(associate(maps, root_depth, config=AssociationConfig(root_share=0.85))) == 0
    maps[3, 20, 20] = 0.16  # other joints count as before
    assert find_peaks(maps, config).counts[3] == 0


def test_a_limb_longer_than_its_bone_at_that_depth_is_not_taken() -> None:
    maps, root_depth = torso_scene(distance=40, support=0.5)
    # 1.2 x 48.4 cm at 0.5 cm per network pixel are 116 px, 29 of the 40 cells: 0.5 - 11 / 40
    # is left. At 20 cm per pixel hardly anything of the 40 cells is bone.
    for cm_per_px, taken in ((0.5, True), (20.0, False)):
        people = associate(maps, root_depth * np.float32(cm_per_px))
        assert (people[0, 0, 3] > 0) == taken
        people = associate(maps, root_depth * np.float32(cm_per_px), dist_flag=False)
        assert people[0, 0, 3] > 0


def test_the_stride_scales_the_distance_constraint() -> None:
    # A score of 0.5 is lost when the limb is more than twice its reach.
    maps, root_depth = torso_scene(distance=40, support=0.5)
    for stride, taken in ((4.0, False), (1.0, True)):
        config = AssociationConfig(stride=stride)
        people = associate(maps, root_depth, config=config)
        assert (people[0, 0, 3] > 0) == taken


def test_the_nearer_person_chooses_first() -> None:
    maps, root_depth = blank()
    maps[2] = np.maximum(gaussian(40, 50), gaussian(60, 50))
    maps[0] = gaussian(50, 20)
    maps[15 + 3] = 1
    for near, x in ((40, 40.5), (60, 60.5)):
        depth = root_depth.copy()
        depth[:, near - 5 : near + 6] = 0.5
        people = associate(maps, depth)
        assert people[0, 2, 0] == pytest.approx(x, abs=0.1)
        assert people[:, 0, 3].tolist() == [1, 0]


# -- properties ---------------------------------------------------------------------------------


@given(dy=st.integers(0, 20), dx=st.integers(0, 20))
@settings(max_examples=25)
def test_moving_the_scene_moves_the_people(naive, dy, dx) -> None:
    maps, root_depth = naive.synthetic_scene(3, seed=4, size=(50, 80), noise=0)

    def placed(y: int, x: int) -> np.ndarray:
        pads = ((4 + y, 24 - y), (4 + x, 24 - x))
        return associate(np.pad(maps, ((0, 0), *pads)), np.pad(root_depth, pads, mode="edge"))

    here, there = placed(0, 0), placed(dy, dx)
    found = here[..., 3] > 0
    assert found.sum() > 30
    np.testing.assert_array_equal(there[..., 3], here[..., 3])
    np.testing.assert_allclose(there[found][:, :2] - here[found][:, :2], [(dx, dy)] * found.sum(),
                               atol=1e-4)  # fmt: skip


@given(seed=st.integers(0, 2**16), count=st.integers(1, 8))
@settings(max_examples=25)
def test_no_peak_belongs_to_two_people_along_one_limb(naive, seed, count) -> None:
    maps, root_depth = naive.synthetic_scene(count, seed=seed, size=SIZE, noise=0.05)
    people = associate(maps, root_depth)
    for joint in range(15):
        own = people[people[:, joint, 3] > 0, joint, :2]
        assert len(np.unique(own, axis=0)) == len(own)


@given(seed=st.integers(0, 2**16))
@settings(max_examples=15)
def test_people_come_nearest_first(naive, seed) -> None:
    maps, root_depth = naive.synthetic_scene(6, seed=seed, size=SIZE)
    x, y = associate(maps, root_depth)[:, 2, :2].astype(int).T
    assert (np.diff(root_depth[y, x]) >= 0).all()


@given(rows=st.data())
@settings(max_examples=25)
def test_pruning_never_changes_a_score(naive, rows) -> None:
    """Limbs with holes in their field: as many misses as are allowed, and one more."""
    maps, _ = blank()
    length = rows.draw(st.integers(8, 100))
    maps[2], maps[6] = gaussian(5, 30), gaussian(5 + length, 30)
    maps[15 + 2 * 11] = 1  # pelvis to left hip points right
    holes = rows.draw(st.lists(st.integers(0, 111), max_size=4))
    maps[15 + 2 * 11, :, holes] = 0
    peaks = find_peaks(maps)
    expected = naive.naive_limb_scores(maps, naive.naive_peaks(maps), np.sqrt)[11]
    got = limb_scores(maps, peaks).table(11)
    np.testing.assert_array_equal(got, np.array(expected, np.float32).reshape(got.shape))


def test_settings_reach_every_step(scene) -> None:
    maps, root_depth = scene
    strict = dataclasses.replace(AssociationConfig(), paf_threshold=10.0)
    peaks = find_peaks(maps, strict)
    scores = limb_scores(maps, peaks, strict)
    assert scores.values.max() <= 0.11  # only pairs that are very near
    people = assign(peaks, scores, root_depth, config=strict)
    assert (people[..., 3] > 0).sum() < 15


def test_memory_is_bounded_and_flat(naive) -> None:
    maps, root_depth = naive.synthetic_scene(40, seed=1)
    associate(maps, root_depth)
    # Only what the association itself holds: pytest-xdist's thread allocates beside it.
    ours = tracemalloc.Filter(True, str(Path(association.__file__).parent / "*"))

    def held() -> int:
        traces = tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename")
        return sum(trace.size for trace in traces)

    tracemalloc.start()
    try:
        associate(maps, root_depth)
        first, (_, peak) = held(), tracemalloc.get_traced_memory()
        for _ in range(20):
            associate(maps, root_depth)
        last = held()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20
    assert last - first < 16 * 2**10
