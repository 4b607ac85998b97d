"""Errors a user can cause share one base, so that one `except` catches them."""

from __future__ import annotations

import inspect

import pytest

from smap_ros import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_have_one_base_and_a_meaning(kind):
    assert issubclass(kind, errors.SmapError)
    assert kind.__doc__
    assert not issubclass(kind, (ValueError, OSError)), "must not be caught by accident"
