"""Whose turn it is."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.estimators.second_look.turns import FULL_WAIT, Turns, most_needed_first

NEW = np.inf


@pytest.mark.parametrize(
    ("depths", "scores", "waited", "first"),
    [
        pytest.param([6, 2], [0.5, 0.5], [1, 1], 1, id="the nearer"),
        pytest.param([3, 3], [0.9, 0.3], [1, 1], 1, id="the less certain"),
        pytest.param([3, 3], [0.5, 0.5], [1, NEW], 1, id="the new one"),
        pytest.param([3, 3], [0.5, 0.5], [1, 7], 1, id="who waits longest"),
        pytest.param([1, 9], [0.4, 0.6], [0, FULL_WAIT], 1, id="nobody waits for ever"),
    ],
)
def test_who_needs_a_look_most(depths, scores, waited, first) -> None:
    order = most_needed_first(*(np.array(v, float) for v in (depths, scores, waited)))
    assert order[0] == first and sorted(order) == [0, 1]


def test_waiting_is_remembered_by_place_and_newcomers_are_new() -> None:
    turns = Turns()
    roots = np.array([[0, 0, 3.0], [2, 0, 3.0]])
    waited = turns.waited(roots)
    assert np.isinf(waited).all()
    turns.note(roots, waited, np.array([True, False]))
    # The two change places in the list, both have moved a little, and somebody has come.
    later = np.array([[2.1, 0, 3.0], [0.1, 0, 3.0], [5, 0, 3.0]])
    waited = turns.waited(later)
    np.testing.assert_array_equal(waited, [FULL_WAIT + 1, 1, NEW])
    turns.note(later, waited, np.array([True, False, False]))
    np.testing.assert_array_equal(turns.waited(later), [1, 2, FULL_WAIT + 1])


def test_one_memory_is_of_one_person() -> None:
    turns = Turns()
    turns.note(np.array([[0, 0, 3.0]]), np.array([NEW]), np.array([True]))
    waited = turns.waited(np.array([[0.3, 0, 3.0], [0.1, 0, 3.0]]))
    np.testing.assert_array_equal(waited, [NEW, 1])
    assert turns.waited(np.zeros((0, 3))).shape == (0,)


def test_with_time_for_one_everybody_gets_a_turn() -> None:
    turns, looked_at = Turns(), []
    roots = np.array([[0, 0, 1.0], [2, 0, 4.0], [4, 0, 8.0]])
    for _ in range(40):
        waited = turns.waited(roots)
        first = most_needed_first(roots[:, 2], np.array([0.5, 0.6, 0.7]), waited)[0]
        looked_at.append(int(first))
        turns.note(roots, waited, np.arange(3) == first)
    counts = np.bincount(looked_at, minlength=3)
    assert counts.min() >= 3 and counts[0] == counts.max()
