"""YAML and JSON that people hand us: what is wrong with a text is one kind of error."""

from __future__ import annotations

import json
from typing import Any

import yaml

# What PyYAML's own constructors raise beside YAMLError: a date of month 13, `!!bool maybe`, a
# hundred thousand brackets.
_YAML_ERRORS = (
    yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError,
)  # fmt: skip


def yaml_documents(text: str) -> list[Any]:
    """The documents of a YAML text, without those that are empty.

    Raises:
        ValueError: if it is no YAML; the message is one line.
    """
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except _YAML_ERRORS as error:
        raise ValueError(f"it is no YAML: {_reason(error)}") from error


def yaml_value(text: str) -> Any:
    """The only document of a YAML text; None where it is empty.

    Raises:
        ValueError: if it is no YAML, or more than one document; the message is one line.
    """
    try:
        return yaml.safe_load(text)
    except _YAML_ERRORS as error:
        raise ValueError(f"it is no YAML: {_reason(error)}") from error


def json_value(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: if it is no JSON; the message is one line.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {_reason(error)}") from error


def whole_number(value: Any) -> int:
    """A number without a fraction, as a size in pixels is.

    Raises:
        ValueError, TypeError: if it is something else: a truth value, words, 2.5, infinity.
    """
    number = float(value)
    if isinstance(value, bool) or not number.is_integer():
        raise ValueError(f"expected a whole number, got {value!r}")
    return int(number)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.YAMLError | ValueError):
        return " ".join(str(error).split())
    return f"a value that its tag does not allow ({error})"
