"""Windows of sightings: what the network is shown, and what becomes of its answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.bodies import Body
from smap_ros.estimators.persons.crops import Crop
from smap_ros.estimators.persons.windows import PersonWindow, Sighting, Windows

NOBODY = Body(
    np.full((15, 3), np.nan, np.float32),
    np.full((15, 2), np.nan, np.float32),
    np.zeros(15, np.float32),
    0.0,
    7,
)


def sighting(number: int, stamp: float | None = None) -> Sighting:
    """Its tokens are its number."""
    tokens = np.full((1, 1), number, np.float32)
    return Sighting(number, number if stamp is None else stamp, NOBODY, Crop(0, 0, 9, 9), tokens)


def filled(count: int, length: int) -> PersonWindow:
    window = PersonWindow(length)
    for number in range(count):
        window.add(sighting(number))
    return window


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [0, 0, 0, 0, 0]),
        (2, [0, 1, 0, 1, 0]),
        (3, [0, 1, 2, 1, 0]),
        (5, [0, 1, 2, 3, 4]),
        (8, [3, 4, 5, 6, 7]),
    ],
)
def test_a_window_that_is_not_full_is_mirrored_at_its_end(count, expected):
    tokens = filled(count, 5).tokens()
    assert tokens.shape == (1, 5, 1, 1) and tokens.dtype == np.float32
    assert tokens.ravel().tolist() == expected


def answers(values: list[float]) -> dict[str, np.ndarray]:
    return {"joints": np.array(values, np.float32).reshape(1, -1, 1)}


def said(window: PersonWindow, number: int) -> float:
    return float(window.at(number).answer["joints"][0])


def test_answers_of_several_windows_are_blended_by_their_place():
    window = filled(3, 3)
    window.learn(answers([0, 10, 20]), "blend")  # weights 1, 2, 1
    assert [said(window, k) for k in range(3)] == [0, 10, 20]
    window.add(sighting(3))
    window.learn(answers([40, 40, 40]), "blend")
    assert said(window, 1) == pytest.approx((2 * 10 + 1 * 40) / 3)
    assert said(window, 2) == pytest.approx((1 * 20 + 2 * 40) / 3)
    assert said(window, 3) == 40


def test_the_answer_nearest_to_the_middle_is_kept():
    window = filled(3, 3)
    window.learn(answers([0, 10, 20]), "centre")
    window.add(sighting(3))
    window.learn(answers([40, 50, 60]), "centre")
    assert [said(window, k) for k in (1, 2, 3)] == [10, 50, 60]


def test_what_the_network_hands_out_may_be_used_again_by_it():
    """Runtimes may give the memory of the next answer."""
    given_array = answers([1, 2, 3])
    for overlap in ("blend", "centre"):
        window = filled(3, 3)
        window.learn(given_array, overlap)
        before = said(window, 1)
        given_array["joints"] += 100
        assert said(window, 1) == before


def test_a_padded_window_answers_for_the_images_it_has():
    window = filled(2, 4)
    window.learn(answers([1, 2, 9, 9]), "blend")
    assert [said(window, k) for k in range(2)] == [1, 2]


def test_a_window_is_due_for_who_has_no_answer_and_after_so_many_sightings():
    window = filled(2, 4)
    assert window.due(window.at(0), stride=3)
    window.learn(answers([1, 2, 0, 0]), "blend")
    due = []
    for number in range(2, 5):
        window.add(sighting(number))
        due.append(window.due(window.at(1), stride=3))
    assert due == [False, False, True]


@given(
    numbers=st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True).map(sorted),
    length=st.integers(1, 16),
)
def test_no_more_than_the_length_is_kept(numbers, length):
    window = PersonWindow(length)
    for number in numbers:
        window.add(sighting(number))
    kept = [number for number in range(41) if window.at(number) is not None]
    assert kept == numbers[-length:] and window.last.number == numbers[-1]


def test_people_are_dropped_when_gone_for_long_and_reported():
    windows = Windows(length=4, memory=1.0)
    windows.add(0, sighting(0, stamp=0.0))
    windows.add(1, sighting(1, stamp=0.9))
    windows.forget(reported=-1, stamp=5.0)  # both are still to be reported
    assert len(windows) == 2
    windows.forget(reported=0, stamp=1.0)
    assert len(windows) == 2  # the first was seen a second ago
    windows.forget(reported=0, stamp=1.1)
    assert [s.number for _, s in windows.seen_in(1)] == [1] and len(windows) == 1
    windows.clear()
    assert len(windows) == 0
