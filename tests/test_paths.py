"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError, SmapError
from smap_ros.paths import user_path
from smap_ros.sources import open_source


def test_the_home_is_found_and_the_rest_stays():
    assert user_path("~/a/b.mp4") == Path.home() / "a/b.mp4"
    assert user_path("no/such/file") == Path("no/such/file")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("~nobody_here/a.mp4", "the home of nobody here"),
        ("a" * 5000, "5000 letters"),
        ("a/" * 4000, "8000 letters"),
        ("a\0b", "null"),
    ],
)
def test_what_no_file_can_be_called_is_refused_in_a_line_wherever_it_is_said(text, reason):
    with pytest.raises(InputError, match=reason) as refused:
        user_path(text)
    assert len(str(refused.value)) < 400
    for reading in (open_source, load_bundle):
        with pytest.raises(SmapError, match=reason):
            reading(text)
