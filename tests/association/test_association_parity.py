"""Every step of the association against SMAP's own code, and against plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.association import associate, find_peaks, limb_scores
from smap_ros.association.config import LIMBS


def test_peaks_are_the_golden_ones(golden) -> None:
    peaks = find_peaks(golden.maps)
    np.testing.assert_array_equal(peaks.counts, golden.counts)
    np.testing.assert_array_equal(peaks.table, golden.peaks)


def test_limb_scores_are_the_golden_ones(golden) -> None:
    scores = limb_scores(golden.maps, find_peaks(golden.maps))
    np.testing.assert_array_equal(scores.values, golden.scores)


def test_people_are_the_golden_ones(golden) -> None:
    people = associate(golden.maps, golden.root_depth, root=golden.root, dist_flag=golden.dist_flag)
    assert people.dtype == np.float32
    np.testing.assert_array_equal(people, golden.people)


@pytest.mark.parametrize("root", [0, 2])
@pytest.mark.parametrize("dist_flag", [False, True])
@pytest.mark.parametrize(
    ("count", "size", "noise"),
    [(1, (64, 112), 0.0), (5, (64, 112), 0.05), (9, (48, 40), 0.1), (12, (96, 96), 0.02)],
)
def test_plain_python_agrees_to_the_last_bit(naive, count, size, noise, root, dist_flag) -> None:
    maps, root_depth = naive.synthetic_scene(count, seed=count, size=size, noise=noise)
    people = associate(maps, root_depth, root=root, dist_flag=dist_flag)
    expected = naive.naive_associate(maps, root_depth, np.sqrt, root, dist_flag)
    assert (people[..., 3] > 0).sum() > 3 * count  # the scene is no trivial one
    np.testing.assert_array_equal(people, expected)


def test_tables_are_the_plain_ones_in_rows_of_the_first_joint(naive) -> None:
    maps, _ = naive.synthetic_scene(6, seed=3, size=(64, 112))
    peaks = find_peaks(maps)
    scores = limb_scores(maps, peaks)
    expected = naive.naive_limb_scores(maps, naive.naive_peaks(maps), np.sqrt)
    for limb in range(14):
        np.testing.assert_array_equal(
            scores.table(limb), np.array(expected[limb], np.float32).reshape(scores.shapes[limb])
        )


def test_a_large_crowd_is_scored_block_by_block_as_one(naive, monkeypatch) -> None:
    maps, _ = naive.synthetic_scene(8, seed=1, size=(64, 112))
    peaks = find_peaks(maps)
    whole = limb_scores(maps, peaks)
    monkeypatch.setattr("smap_ros.association.limbs._BLOCK", 7)
    np.testing.assert_array_equal(limb_scores(maps, peaks).values, whole.values)


@pytest.mark.parametrize("few", [0, 10**9])
def test_pairs_that_are_ruled_out_beforehand_change_no_score(naive, monkeypatch, few) -> None:
    maps, _ = naive.synthetic_scene(6, seed=5, size=(64, 112), noise=0.05)
    monkeypatch.setattr("smap_ros.association.limbs._FEW", few)
    scores = limb_scores(maps, find_peaks(maps))
    expected = naive.naive_limb_scores(maps, naive.naive_peaks(maps), np.sqrt)
    flat = np.concatenate([np.array(table, np.float32).reshape(-1) for table in expected])
    np.testing.assert_array_equal(scores.values, flat)


def test_lengths_are_those_of_the_pairs_in_the_order_of_the_scores(naive) -> None:
    maps, _ = naive.synthetic_scene(4, seed=2, size=(64, 112))
    peaks = find_peaks(maps)
    scores = limb_scores(maps, peaks)
    for limb, (first, second) in enumerate(LIMBS):
        apart = peaks.of(first)[:, None, :2] - peaks.of(second)[None, :, :2]
        expected = np.hypot(*np.moveaxis(apart.astype(np.float64), -1, 0))
        np.testing.assert_allclose(scores.length(limb), expected, rtol=1e-6)
