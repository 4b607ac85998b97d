"""Which samples a run sees, on any number of devices."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.errors import InputError
from smap_train.engine.sampling import (
    BadRecordError,
    Mixture,
    RunOrder,
    Share,
    Source,
    skipped_records,
)


def source(name, count, weight=None):
    return Source(name, [(name, k) for k in range(count)], lambda record, rng: record, weight)


@given(
    steps=st.integers(1, 6), start=st.integers(0, 6), parts=st.integers(1, 3),
    world=st.integers(1, 4), size=st.integers(1, 4),
)  # fmt: skip
def test_devices_share_every_step_among_them(steps, start, parts, world, size):
    start = min(start, steps)
    batch = size * world * parts
    shares = [Share(batch, rank, world, parts) for rank in range(world)]
    assert {share.size for share in shares} == {size}
    orders = [list(RunOrder(share, steps, start)) for share in shares]
    per_step = size * parts
    for step in range(start, steps):
        at = (step - start) * per_step
        taken = sorted(k for order in orders for k in order[at : at + per_step])
        assert taken == list(range(step * batch, (step + 1) * batch))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(InputError, match=r"batch_size is 10.*multiple of 4: 2 devices.* 2"):
        Share(10, 0, 2, 2)


def test_sources_without_weights_are_one_shuffled_list():
    mixture = Mixture([source("a", 30), source("b", 10)], 80, seed=3)
    drawn = [mixture[k] for k in range(80)]
    assert Counter(drawn[:40]) == Counter(drawn[40:])  # two passes, each record once in each
    assert len(set(drawn[:40])) == 40
    assert drawn[:40] != drawn[40:] != sorted(drawn[40:])


def test_weights_share_out_the_samples_and_a_source_repeats_only_when_it_is_through():
    mixture = Mixture([source("a", 500, 3.0), source("b", 40, 1.0)], 8192, seed=0)
    drawn = [mixture[k] for k in range(8192)]
    by_name = {name: [r for r in drawn if r[0] == name] for name in "ab"}
    assert [len(by_name[name]) for name in "ab"] == [6144, 2048]
    for name, size in (("a", 500), ("b", 40)):
        for first in range(0, len(by_name[name]) - size, size):
            assert len(set(by_name[name][first : first + size])) == size


def test_a_sample_follows_from_seed_and_index_alone():
    def numbers(seed):
        made = Source("n", range(7), lambda record, rng: (record, rng.random()), 1.0)
        return Mixture([made], 100, seed)

    forwards = [numbers(1)[k] for k in range(100)]
    again = numbers(1)
    assert [again[k] for k in reversed(range(100))] == forwards[::-1]
    assert [numbers(2)[k] for k in range(100)] != forwards


def bad_third(record, rng):
    if record % 3 == 0:
        raise BadRecordError(f"people.json, record {record}: keypoints is nan")
    return record


def test_a_bad_record_stops_the_run_and_is_named():
    mixture = Mixture([Source("people", [3], bad_third)], 1, 0)
    with pytest.raises(BadRecordError, match=r"record 3: keypoints is nan; on_bad=skip"):
        mixture[0]


def test_skipped_records_are_listed_and_others_take_their_place(tmp_path):
    path = tmp_path / "skipped.jsonl"
    mixture = Mixture([Source("people", range(12), bad_third)], 12, 0, "skip", path)
    drawn = [mixture[k] for k in range(12)]
    assert all(record % 3 for record in drawn)
    assert {line["record"] for line in skipped_records(path)} >= {0, 3, 6, 9}
    first = json.loads(path.read_text().splitlines()[0])
    assert first["source"] == "people" and "keypoints is nan" in first["error"]
    assert drawn == [mixture[k] for k in range(12)]


def test_data_that_are_bad_throughout_end_the_run(tmp_path):
    mixture = Mixture([Source("people", [0], bad_third)], 1, 0, "skip", tmp_path / "skipped.jsonl")
    with pytest.raises(InputError, match="100 bad records in a row, the last in people"):
        mixture[0]


@pytest.mark.parametrize("weights", [(0.0, 1.0), (float("nan"), 1.0), (-1.0, 2.0)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InputError, match="expected positive numbers"):
        Mixture([source(str(k), 3, w) for k, w in enumerate(weights)], 1, 0)


def test_sources_and_runs_without_data_are_refused():
    with pytest.raises(InputError, match="source empty has no records"):
        source("empty", 0)
    with pytest.raises(InputError, match="names no source"):
        Mixture([], 1, 0)


def test_a_tiny_share_still_gets_its_samples():
    mixture = Mixture([source("a", 5, 1e6), source("b", 5, 1.0)], 4096, seed=0)
    names = Counter(mixture[k][0] for k in range(4096))
    assert names["b"] == 1 and names["a"] == 4095
    assert np.isclose(sum(names.values()), 4096)
