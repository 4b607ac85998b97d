"""NAME=VALUE on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from smap_ros.errors import InputError

Schema = TypeVar("Schema", bound=BaseModel)


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
