"""Configuration files, and NAME=VALUE on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from smap_ros.errors import InputError
from smap_ros.markup import yaml_value

Schema = TypeVar("Schema", bound=BaseModel)


def parse_settings(texts: Sequence[str] | None) -> dict[str, Any]:
    """Settings by name, the values read as YAML; ``1,2`` is a list of numbers, as ``[1,2]`` is.

    Raises:
        InputError: if a text is not NAME=VALUE.
    """
    settings = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--set {text!r}: expected NAME=VALUE")
        try:
            settings[name] = _value(value)
        except ValueError as error:
            raise InputError(f"--set {text!r}: {value!r} is no YAML value") from error
    return settings


def _value(text: str) -> Any:
    value = yaml_value(text)
    if not isinstance(value, str) or "," not in value:
        return value
    items = [yaml_value(item) for item in value.split(",")]
    return items if all(isinstance(item, int | float) for item in items) else value


def bundle_settings(schema: type[Schema], settings: Mapping[str, Any], kind: str) -> Schema:
    """Settings of a bundle, checked.

    Raises:
        InputError: naming each that is wrong or unknown, and those that the kind has.
    """
    try:
        return schema(**settings)
    except ValidationError as wrong:
        known = ", ".join(schema.model_fields)
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors())
        raise InputError(f"settings of the bundle: {where}; kind {kind} has {known}") from wrong


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A YAML configuration with ``key=value`` overrides (values are YAML), unchecked.

    ``a.b=value`` sets a key inside ``a``.

    Raises:
        InputError: if the file is unreadable, or an override isn't of that form.
    """
    try:
        data = yaml_value(path.read_text()) or {}
    except (OSError, ValueError) as error:
        raise InputError(f"can't read the configuration {path}: {error}") from error
    if not isinstance(data, dict):
        raise InputError(
            f"configuration {path} is {type(data).__name__}; expected key: value lines"
        )
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise InputError(f"override {override!r} is not of the form key=value")
        *outer, last = key.split(".")
        inner = data
        for name in outer:
            value_now = inner.get(name)
            if value_now is not None and not isinstance(value_now, dict):
                raise InputError(
                    f"override {override!r}: {name} is {value_now!r}, which has no keys"
                )
            inner[name] = dict(value_now or {})
            inner = inner[name]
        try:
            inner[last] = yaml_value(value)
        except ValueError as error:
            raise InputError(f"override {override!r}: {value!r} is no YAML value") from error
    return data


def read_config(schema: type[Schema], path: Path, overrides: Sequence[str] = ()) -> Schema:
    """A YAML configuration with ``key=value`` overrides, checked.

    Raises:
        InputError: if the file is unreadable or a value is refused, naming each.
    """
    try:
        return schema.model_validate(read_yaml(path, overrides))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise InputError(f"configuration {path} is refused: " + "; ".join(lines)) from error
