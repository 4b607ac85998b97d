"""Texts that people hand us: whatever is wrong with one is one kind of error, in one line."""

from __future__ import annotations

import math

import pytest

from smap_ros.markup import json_value, whole_number, yaml_documents, yaml_value

BAD_YAML = ["a: [", "\x00", "[" * 50_000, "a: 2020-13-40", "!!bool maybe", "!!timestamp x",
            "!!int ''", "{[1]: 2}", "!!python/object:os.system []", "a: &a [*a"]  # fmt: skip


@pytest.mark.parametrize("text", BAD_YAML, ids=range(len(BAD_YAML)))
def test_bad_yaml_is_one_kind_of_error(text):
    for read in (yaml_value, yaml_documents):
        with pytest.raises(ValueError, match=r"it is no YAML: .") as error:
            read(text)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, '{"a": 1} x'])
def test_bad_json_is_one_kind_of_error(text):
    with pytest.raises(ValueError, match=r"it is no JSON: ."):
        json_value(text)


def test_good_texts_are_read():
    assert yaml_value("a: [1, 2.5]") == {"a": [1, 2.5]}
    assert yaml_documents("---\na: 1\n---\n") == [{"a": 1}]
    assert json_value('{"a": null}') == {"a": None}


def test_a_size_is_a_whole_number():
    assert whole_number(640) == whole_number(640.0) == whole_number("640") == 640
    for value in (640.5, math.inf, math.nan, True, "wide"):
        with pytest.raises(ValueError, match=r"whole number|could not convert"):
            whole_number(value)


def test_a_key_that_is_stated_twice_is_told_where_it_is(caplog):
    text = "a: 1\nb: {score: 0.1, other: 2,\n  score: 0.9}\n"
    assert yaml_value(text) == {"a": 1, "b": {"score": 0.9, "other": 2}}
    assert "'score' is stated twice, again in line 3" in caplog.text
    assert yaml_documents("a: 1\na: 2\n---\nb: 2\n") == [{"a": 2}, {"b": 2}]
    assert "'a' is stated twice, again in line 2" in caplog.text


def test_keys_that_only_look_stated_twice_are_not_told_of(caplog):
    merged = yaml_value("base: &base {x: 1, y: 2}\nmine: {<<: *base, x: 3}\n")
    assert merged["mine"] == {"x": 3, "y": 2}
    # An anchored mapping that merges one itself, and is merged before it is made.
    text = "x: &x {a: 1}\nouter:\n  A: &A {<<: *x, a: 2}\nB: {<<: *A, b: 1}\n"
    assert yaml_value(text) == {"x": {"a": 1}, "outer": {"A": {"a": 2}}, "B": {"a": 2, "b": 1}}
    assert yaml_value("1: a\n'1': b\n") == {1: "a", "1": "b"}
    assert not caplog.text


@pytest.mark.parametrize("number", [2**53 + 1, 10**17 + 1, 2**63 - 1])
def test_ids_of_64_bits_stay_what_they_are(number):
    assert whole_number(number) == number
