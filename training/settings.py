"""NAME=VALUE on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from smap_ros.errors import InputError


def parse_settings(texts: Sequence[str] | None) -> dict[str, Any]:
    """Settings by name, the values read as YAML.

    Raises:
        InputError: if a text is not NAME=VALUE.
    """
    settings = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--set {text!r}: expected NAME=VALUE")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {text!r}: {value!r} is no YAML value") from error
    return settings
