"""YAML and JSON that people hand us: what is wrong with a text is one kind of error."""

from __future__ import annotations

import json
from typing import Any

import yaml

# What PyYAML's own constructors raise beside YAMLError: a date of month 13, `!!bool maybe`, a
# hundred thousand brackets.
_MERGE = "tag:yaml.org,2002:merge"
_YAML_ERRORS = (
    yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError,
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Refuses a key that is stated twice, of which YAML's last one would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See PyYAML; what is merged from elsewhere (``<<``) may be stated again."""
        stated = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for tag, key in stated:
            if tag != _MERGE and stated.count((tag, key)) > 1:
                line = node.start_mark.line + 1
                raise ValueError(f"{key!r} is stated twice, in the mapping of line {line}")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def yaml_documents(text: str) -> list[Any]:
    """The documents of a YAML text, without those that are empty.

    Raises:
        ValueError: if it is no YAML; the message is one line.
    """
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except _YAML_ERRORS as error:
        raise ValueError(f"it is no YAML: {_reason(error)}") from error


def yaml_value(text: str) -> Any:
    """The only document of a YAML text; None where it is empty.

    Raises:
        ValueError: if it is no YAML, or more than one document; the message is one line.
    """
    try:
        return yaml.load(text, _Loader)
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
