"""One statement per setting: what is derived from a field, and how wrong values are refused."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest

from smap_ros.engines.factory import _RUNTIMES as RUNTIMES
from smap_ros.engines.factory import ENGINES
from smap_ros.errors import InputError
from smap_ros.estimators.options import (
    MODEL_SETTINGS,
    OPTIONS,
    ModelChoice,
    SmapConfig,
    VideoConfig,
)
from smap_ros.settings import BUNDLE, Changes, Options, Setting, build, setting, settings_of


class Inner(Options):
    share: float = setting(0.5, "a share", low=0, high=1, changes=Changes.ANY_TIME)


class Outer(Options):
    label: ClassVar[str] = "the example"

    count: int | None = setting(None, "how many", unit="people", low=1, high=9)
    flag: bool = setting(True, "whether")
    way: Literal["left", "right", "both"] = setting("left", "where to")
    inner: Inner = Inner()
    names: tuple[str, ...] = ()  # for code alone


SETTINGS = {one.name: one for one in settings_of(Outer)}


def test_everything_is_known_from_the_fields():
    assert list(SETTINGS) == ["count", "flag", "way", "share"]
    assert SETTINGS["count"] == Setting(
        "count", int, None, "how many", "people", 1, 9, optional=True
    )
    assert SETTINGS["way"].choices == ("left", "right", "both")
    assert SETTINGS["share"].changes is Changes.ANY_TIME


@pytest.mark.parametrize(
    ("name", "value", "refusal"),
    [
        ("count", 2.5, "count is 2.5; expected a whole number, 1 to 9 people, or bundle"),
        ("count", 10, "count is 10; expected 1 to 9 people, or bundle"),
        ("count", True, "count is True; expected a whole number, 1 to 9 people, or bundle"),
        ("count", "two", "count is 'two'; expected a whole number, 1 to 9 people, or bundle"),
        ("share", float("nan"), "share is nan; expected 0 to 1"),
        ("share", float("inf"), "share is inf; expected 0 to 1"),
        ("share", "a", "share is 'a'; expected a number, 0 to 1"),
        ("flag", 1, "flag is 1; expected a truth value, true or false"),
        ("flag", "maybe", "flag is 'maybe'; expected a truth value, true or false"),
        ("way", "up", "way is 'up'; expected one of left, right, both"),
        ("way", None, "way is None; expected one of left, right, both"),
    ],
)
def test_a_wrong_value_is_refused_everywhere_in_the_same_words(name, value, refusal):
    with pytest.raises(InputError) as of_setting:
        SETTINGS[name].accept(value)
    with pytest.raises(InputError) as of_model:
        build(Outer, {name: value})
    assert str(of_setting.value) == str(of_model.value) == refusal
    if not isinstance(value, bool | int) and value is not None:
        with pytest.raises(InputError) as of_text:
            SETTINGS[name].parse(str(value))
        assert str(of_text.value) == refusal


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "3", 3), ("count", BUNDLE, None), ("share", "1", 1.0), ("share", "1e-3", 1e-3),
        ("flag", "on", True), ("flag", "off", False), ("flag", "True", True),
        ("way", "both", "both"),
    ],
)  # fmt: skip
def test_texts_are_read_as_they_are_meant(name, text, value):
    read = SETTINGS[name].parse(text)
    assert read == value and type(read) is type(value)
    assert SETTINGS[name].parse(SETTINGS[name].text(value)) == value


def test_yes_and_no_are_words_where_they_are_choices_although_yaml_has_booleans_for_them():
    one = Setting("rectified", str, "auto", "whether", choices=("auto", "yes", "no"))
    assert (one.accept(True), one.accept(False), one.parse("no")) == ("yes", "no", "no")
    with pytest.raises(InputError, match="way is False; expected one of left"):
        SETTINGS["way"].accept(False)


def test_models_are_built_from_flat_values_and_hold_changes_to_their_limits():
    built = build(Outer, {"count": 2, "share": 0.25, "of_another": 3})
    assert (built.count, built.inner.share, built.way) == (2, 0.25, "left")
    assert built.changed(count=4).count == 4 and built.count == 2
    with pytest.raises(InputError, match="count is 0"):
        built.changed(count=0)


def test_unknown_options_are_refused_by_name():
    with pytest.raises(InputError, match=r"unknown options \['cuont'\]; the example takes count"):
        Outer(cuont=3)


def test_options_of_several_kinds_of_models_mean_the_same():
    by_name = {}
    for schema in OPTIONS.values():
        for one in settings_of(schema):
            first = by_name.setdefault(one.name, one)
            assert (one.kind, one.unit, one.help) == (first.kind, first.unit, first.help)
    assert [one.name for one in MODEL_SETTINGS] == list(by_name)
    for one in MODEL_SETTINGS:
        assert one.optional and one.default is None and one.accept(BUNDLE) is None


def test_only_what_is_stated_reaches_a_model():
    values = {"bundle": "mine", "threads": 2, "min_joints": 4, "flip_test": False, "delay": None}
    choice = ModelChoice.of({**values, "fov_deg": 60.0})
    assert (choice.model.bundle, choice.model.threads, choice.model.engine) == ("mine", 2, "auto")
    assert choice.options == {"min_joints": 4, "flip_test": False}


@pytest.mark.parametrize(
    ("schema", "values", "reason"),
    [
        (SmapConfig, {"min_joints": 2.5}, "min_joints is 2.5; expected a whole number, 1 to 15"),
        (SmapConfig, {"min_score": "a"}, "min_score is 'a'; expected a number, 0 to 1"),
        (SmapConfig, {"min_score": float("nan")}, "min_score is nan; expected 0 to 1"),
        (VideoConfig, {"stride": 2}, "stride is 2; expected 1 to 1, one more than the delay"),
    ],
)
def test_options_of_models_are_refused_in_one_line(schema, values, reason):
    with pytest.raises(InputError, match=reason):
        schema(**values)


def test_every_runtime_can_be_chosen():
    assert ("auto", *RUNTIMES) == ENGINES
