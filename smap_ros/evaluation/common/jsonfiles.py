"""JSON files of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smap_ros.errors import InputError
from smap_ros.markup import json_value


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: if it is missing or isn't JSON.
    """
    try:
        return json_value(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} isn't JSON: {error}") from error
