"""YAML and JSON that people hand us: what is wrong with a text is one kind of error."""

from __future__ import annotations

import json
import logging
from typing import Any

import yaml

LOG = logging.getLogger(__name__)

_MERGE = "tag:yaml.org,2002:merge"
# What PyYAML's own constructors raise beside YAMLError: a date of month 13, `!!bool maybe`, a
# hundred thousand brackets.
_YAML_ERRORS = (
    yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError,
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Tells of a key that is stated twice, of which YAML's last one counts."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """See PyYAML. Here what is merged from elsewhere (``<<``) isn't in the mapping yet."""
        node = super().compose_mapping_node(anchor)
        stated: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in stated:
                LOG.warning(
                    "%r is stated twice, again in line %d of a YAML text; the last one counts",
                    key.value, key.start_mark.line + 1,
                )  # fmt: skip
            if name is not None and key.tag != _MERGE:
                stated.add(name)
        return node


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
    if isinstance(value, int) and not isinstance(value, bool):
        return value  # floats hold no ids of 64 bits
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
