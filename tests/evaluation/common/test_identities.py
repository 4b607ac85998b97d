"""HOTA and its kin through the reference code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.common import identities
from smap_ros.evaluation.common.identities import IdentityCollector, identity_numbers
from tests.temporal.people import person

PLACES = [(-1.0, 0, 4), (1.0, 0, 4)]
BOTH = np.ones(2, np.bool_)


def named(ids, places=PLACES):
    return [replace(person(place), id=k) for k, place in zip(ids, places, strict=True)]


def collected(frames, counted=BOTH):
    collector = IdentityCollector()
    for found in frames:
        collector.add(found, named((0, 1)), counted)
    return collector


@pytest.fixture
def reference():
    pytest.importorskip("trackeval", reason="pip install --no-deps trackeval tabulate")


@pytest.mark.usefixtures("reference")
def test_everybody_found_under_one_name_is_perfect():
    numbers = identity_numbers([collected([named((5, 9))] * 10)] * 2)
    assert (numbers.switches, numbers.fragments) == (0, 0)
    for share in (numbers.hota, numbers.deta, numbers.assa, numbers.mota, numbers.idf1):
        assert share == pytest.approx(100)


@pytest.mark.usefixtures("reference")
def test_a_swap_costs_association_and_not_detection():
    numbers = identity_numbers([collected([named((5, 9))] * 5 + [named((9, 5))] * 5)])
    assert numbers.switches == 2 and numbers.deta == pytest.approx(100)
    assert numbers.assa == pytest.approx(100 / 3, abs=0.1)  # 5 of 15 for each pair
    assert numbers.idf1 == pytest.approx(50)
    assert numbers.mota == pytest.approx(90)


@pytest.mark.usefixtures("reference")
def test_misses_ghosts_and_people_who_do_not_count():
    missed = identity_numbers([collected([named((5, 9))] * 5 + [named((5,), PLACES[:1])] * 5)])
    assert missed.mota == pytest.approx(75) and missed.switches == 0
    ghost = [*named((5, 9)), *named((6,), [(0.0, 0.0, 2.5)])]
    assert identity_numbers([collected([ghost] * 10)]).mota == pytest.approx(50)
    excused = identity_numbers([collected([named((5, 9))] * 10, np.array([True, False]))])
    assert excused.mota == pytest.approx(100) and excused.hota == pytest.approx(100)


def test_without_the_reference_code_it_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(identities.importlib, "import_module", missing)
    with pytest.raises(InputError, match="pip install --no-deps trackeval"):
        identity_numbers([collected([named((5, 9))])])


def test_without_true_identities_nobody_can_say_who_kept_theirs():
    collector = IdentityCollector()
    for _ in range(3):
        collector.add(named((5, 9)), named((None, None)), BOTH)
    assert identity_numbers([collector]) is None
    assert identity_numbers([collected([named((5, 9))]), collector]) is None
    one = IdentityCollector()
    one.add(named((5, 9)), named((3, None)), np.array([True, False]))
    assert one.named and one.data()["num_gt_ids"] == 1  # who need not be found needs no name
