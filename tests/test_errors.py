"""Errors a user can cause share one base, so that one `except` catches them."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

from smap_ros import errors

ROOT = Path(__file__).resolve().parents[1]
KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_have_one_base_and_a_meaning(kind):
    assert issubclass(kind, errors.SmapError)
    assert kind.__doc__
    assert not issubclass(kind, (ValueError, OSError)), "must not be caught by accident"


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda: {}["images"], "'images' is missing"),
        (lambda: list("abc")[3], "a part of it is of another form"),
        (lambda: None["id"], "a part of it is of another form"),
        (lambda: float("abc"), "could not convert string to float: 'abc'"),
        (lambda: int(float("inf")), "a number of it is infinite or too large"),
        (lambda: np.array([[1], [1, 2]]), "its lists are of different lengths"),
        (lambda: json.loads("{"), "Expecting property name enclosed in double quotes: line 1"),
        (lambda: Path("no", "such", "file").read_text(), "No such file or directory"),
    ],
)
def test_what_is_wrong_with_data_is_said_in_words(read, told):
    with pytest.raises(Exception) as caught:  # noqa: PT011  of any kind, that is the point
        read()
    assert errors.reason(caught.value).startswith(told)


def test_no_message_shows_what_python_calls_an_error():
    files = [*(ROOT / "smap_ros").rglob("*.py"), *(ROOT / "training").rglob("*.py")]
    assert len(files) > 200
    shown = re.compile(r"\{(error|exception|exc|e)!r\}")
    assert [str(f) for f in files if shown.search(f.read_text(encoding="utf-8"))] == []
