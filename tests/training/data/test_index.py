"""Indexes: what is written is read, whole or not at all, and anew when its source changes."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train.data.index import TEXT, Index, fixed, open_index, ragged

SCHEMA = {"name": TEXT, "size": fixed("<i4", 2), "points": ragged("<f8", 3)}


def rows(count: int = 3):
    for k in range(count):
        yield {"name": "ä" * k, "size": [k, -k], "points": np.full((k, 3), k + 0.1)}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.json"
    path.write_text("1")
    return path


def build(source, made=rows, version=1, schema=SCHEMA) -> Index:
    return open_index("test", version, [source], schema, made, source.parent / "cache")


def test_records_come_back_as_they_were(source):
    index = build(source)
    assert len(index) == 3
    for number, expected in enumerate(rows()):
        record = index[number]
        assert record["name"] == expected["name"]
        np.testing.assert_array_equal(record["size"], expected["size"])
        np.testing.assert_array_equal(record["points"], expected["points"])
    np.testing.assert_array_equal(index.column("points")[:, 0], [1.1, 2.1, 2.1])
    for number in (3, -1):
        with pytest.raises(IndexError):
            index[number]


def test_a_source_without_records_is_an_empty_index(source):
    assert len(build(source, lambda: rows(0))) == 0


def test_it_is_built_once_until_source_or_version_change(source):
    built = []

    def counted():
        built.append(1)
        yield from rows()

    build(source, counted), build(source, counted)
    assert len(built) == 1
    build(source, counted, version=2)
    assert len(built) == 2
    source.write_text("12")
    build(source, counted)
    assert len(built) == 3


def test_one_that_fails_leaves_nothing(source):
    def failing():
        yield from rows()
        raise InputError("record 3 ends early")

    with pytest.raises(InputError, match="ends early"):
        build(source, failing)
    assert list((source.parent / "cache").iterdir()) == []
    assert len(build(source)) == 3


def test_a_damaged_one_is_built_anew(source):
    folder = build(source).folder
    values = folder / "points.values"
    values.write_bytes(values.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"damaged \(points.values has 64 bytes, expected 72\)"):
        Index(folder)
    assert len(build(source)) == 3


def test_a_missing_source_is_named(source):
    source.unlink()
    with pytest.raises(InputError, match=r"source.json: No such file"):
        build(source)


def test_other_processes_get_the_folder_not_the_data(source):
    index = build(source, lambda: rows(200))
    data = pickle.dumps(index)
    assert len(data) < 400
    np.testing.assert_array_equal(pickle.loads(data)[150]["points"], index[150]["points"])


def test_many_records_take_no_memory(source):
    schema = {"bodies": ragged("<f8", 15, 11)}
    one = {"bodies": np.zeros((1, 15, 11))}
    tracemalloc.start()
    index = build(source, lambda: (one for _ in range(20_000)), schema=schema)  # 26 MB
    assert index[19_999]["bodies"].shape == (1, 15, 11)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6


def test_any_number_of_records_is_read_in_any_order(source):
    """Beyond what stays mapped, while others hold a column."""
    index = build(source, lambda: rows(300))
    sizes = index.column("size")
    for number in np.random.default_rng(0).permutation(np.repeat(np.arange(300), 3)):
        record = index[int(number)]
        assert record["size"].tolist() == [number, -number] == sizes[number].tolist()
        assert len(record["points"]) == number and (record["points"] == number + 0.1).all()
    assert index.some(7, ["name"]) == {"name": "ä" * 7}
    assert index.sizes("points").tolist() == list(range(300))
    some, owners = index.rows("points", 2, 5)
    assert owners.tolist() == [2] * 2 + [3] * 3 + [4] * 4
    np.testing.assert_array_equal(some[:, 0], owners + 0.1)


def test_what_does_not_fit_a_column_is_the_records_problem(source):
    schema = {**SCHEMA, "place": TEXT, "problem": TEXT}
    good = {"name": "a", "size": [1, 2], "points": np.zeros((1, 3)), "place": "", "problem": ""}

    def made():
        yield good
        yield {**good, "size": [1, 2, 3]}
        yield {**good, "size": 10**30, "problem": "told before"}
        yield {**good, "points": [["x", 1, 2]]}
        yield {**good, "name": "\ud800"}

    problems = [record["problem"] for record in build(source, made, schema=schema)]
    assert problems[0] == "" and problems[2] == "told before"
    for problem, name in zip(problems[1:], ("size", "told", "points", "name"), strict=True):
        assert problem.startswith(name)
    with pytest.raises(ValueError, match=r"doesn't fit the column"):  # of our own making
        build(source, lambda: [{**good, "size": [1]}])
