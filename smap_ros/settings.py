"""One statement of each setting, from which everything else is derived.

A setting is a field of an :class:`Options` model: type, default, limits, unit and help. The ROS
parameter with its descriptor, the launch argument, the option of the command line, the line of
``config/pose3d.yaml`` and that of ``docs/parameters.md`` come from :func:`settings_of`, and all of
them refuse a wrong value through :meth:`Setting.accept`, in the same words.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from smap_ros.errors import InputError, shortened

Value = bool | int | float | str
Own = TypeVar("Own", bound="Options")

# What stands for "not stated" where there is no None: in YAML, on command lines, in ROS.
BUNDLE = "bundle"
# YAML and ROS's command line read the first four as booleans; people write all of them.
_FLAGS = {"true": True, "on": True, "false": False, "off": False}
# They take these bare words for booleans too: what a boolean means among texts.
_BARE = {True: ("yes", "on"), False: ("no", "off")}
_KINDS: dict[type, str] = {
    bool: "a truth value, true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


class Changes(Enum):
    """When a node's setting may change."""

    ANY_TIME = "at any time"
    UNCONFIGURED = "while the node is unconfigured"
    START = "at the start only"


def setting(
    default: Value | None,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    changes: Changes = Changes.UNCONFIGURED,
) -> Any:
    """A field of :class:`Options`.

    Args:
        default: None where the model decides, or where there is none.
        help: what it does, for people; one line.
        unit: of a number.
        low, high: limits of a number, both included.
        choices: allowed texts, where a Literal can't list them; the model itself has to refuse
            others.
        changes: when a node takes another value.
    """
    extra: dict[str, Any] = {"unit": unit, "changes": changes.value, "choices": choices}
    return Field(default, ge=low, le=high, description=help, json_schema_extra=extra)


class Options(BaseModel):
    """Settings that belong together.

    Fields of a plain type (bool, int, float, str, a Literal of texts; or None for "the model's
    own") are what users may set; other fields are for code alone. A field may be another
    ``Options``: its settings count as ours.

    Attributes:
        label: whose they are, for the refusal of unknown ones.

    Raises:
        InputError: in one line, if a value is wrong or unknown.
    """

    label: ClassVar[str] = "it"

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_one_line(
        cls: type[Own], values: Any, handler: ModelWrapValidatorHandler[Own]
    ) -> Own:
        try:
            return handler(values)
        except ValidationError as error:
            raise InputError(_refusal(cls, error)) from None

    def changed(self: Own, **changes: Any) -> Own:
        """A copy with other values, which are checked."""
        return type(self)(**{**dict(self), **changes})


@dataclass(frozen=True)
class Setting:
    """What is known of a setting.

    Attributes:
        name: as in code, ROS and launch files; with hyphens on command lines.
        kind: bool, int, float or str.
        default: None where it is left to the model.
        help: what it does.
        unit: of a number.
        low, high: limits of a number, both included.
        choices: allowed texts; empty allows any.
        optional: whether it can be left to the model, which the word ``bundle`` says.
        changes: when a node takes another value.
    """

    name: str
    kind: type
    default: Value | None
    help: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    optional: bool = False
    changes: Changes = Changes.UNCONFIGURED

    def accept(self, value: object) -> Value | None:
        """A value as it is meant, None for "left to the model".

        Args:
            value: of the setting's type; whole numbers stand for floats, and on and off for
                booleans.

        Raises:
            InputError: saying what was got and what is expected.
        """
        if self.optional and (value is None or value == BUNDLE):
            return None
        meant = value
        if self.kind is bool and isinstance(value, str):
            meant = _FLAGS.get(value.strip().lower(), value)
        elif isinstance(value, bool):
            meant = next((word for word in _BARE[value] if word in self.choices), value)
        try:
            accepted: Value = _adapter(self).validate_python(meant, strict=True)
        except ValidationError:
            raise InputError(self.refusal(value)) from None
        return accepted

    def parse(self, text: str) -> Value | None:
        """The value that a text on a command line means.

        Raises:
            InputError: if it is not such a value.
        """
        return self.accept(_number(text) if self.kind in (int, float) else text)

    def refusal(self, value: object) -> str:
        """One line that refuses a value."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and self.limits and (self.kind is float or isinstance(value, int))
        expected = self.limits if fits else self.expected
        left = f", or {BUNDLE}" if self.optional else ""
        got = shortened(value) if isinstance(value, str) else repr(value)
        return f"{self.name} is {got}; expected {expected}{left}"

    @property
    def limits(self) -> str:
        """The limits of a number in words; empty where there are none."""
        unit = f" {self.unit}" if self.unit else ""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"{self.low:g} to {self.high:g}{unit}"
        return f"at least {self.low:g}{unit}" if math.isfinite(self.low) else ""

    @property
    def expected(self) -> str:
        """The allowed values in words, but for ``bundle``."""
        if len(self.choices) == 2:
            return " or ".join(self.choices)
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"{_KINDS[self.kind]}{', ' * bool(self.limits)}{self.limits}"

    @property
    def words(self) -> tuple[str, ...]:
        """The allowed values as words of a command line; empty where there is no list of them."""
        # "True" is what launch files in Python and shells pass on.
        words = self.choices
        if self.kind is bool:
            words = ("true", "false", "True", "False", "on", "off")
        return (*words, BUNDLE) if words and self.optional else words

    @property
    def described(self) -> str:
        """What it does, with the unit."""
        return f"{self.help} [{self.unit}]" if self.unit else self.help

    def written(self, value: Value | None) -> Value:
        """A value where there is no None: in YAML and in ROS."""
        return BUNDLE if value is None else value

    def text(self, value: Value | None) -> str:
        """A value as a word of a command line."""
        written = self.written(value)
        return str(written).lower() if isinstance(written, bool) else str(written)


def settings_of(schema: type[Options]) -> tuple[Setting, ...]:
    """What users may set of an ``Options`` model, those of the models in it included."""
    return tuple(_settings(schema))


def build(schema: type[Own], values: Mapping[str, Value | None]) -> Own:
    """A model from the values of its settings, in whichever of the models in it they belong.

    Args:
        schema: the model.
        values: by name; others than its own are left aside.

    Raises:
        InputError: if a value is wrong, or they contradict each other.
    """
    given: dict[str, Any] = {}
    for name, info in schema.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Options):
            given[name] = build(inner, values)
        elif name in values:
            given[name] = values[name]
    return schema(**given)


def _settings(schema: type[Options]) -> Iterator[Setting]:
    for name, info in schema.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Options):
            yield from _settings(inner)
        elif (found := _setting(name, info)) is not None:
            yield found


def _setting(name: str, info: FieldInfo) -> Setting | None:
    """The setting of a field; None if it isn't of a plain type."""
    kind: Any = info.annotation
    optional = False
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [k for k in get_args(kind) if k is not type(None)]
        kind, optional = (kinds[0], True) if len(kinds) == 1 else (None, False)
    choices: tuple[str, ...] = ()
    if get_origin(kind) is Literal:
        kind, choices = str, get_args(kind)
    if kind not in (bool, int, float, str):
        return None
    limits = {
        name: getattr(limit, name)
        for limit in info.metadata
        for name in ("ge", "le")
        if hasattr(limit, name)
    }
    extra: Any = info.json_schema_extra or {}
    choices = choices or extra.get("choices", ())
    return Setting(
        name=name,
        kind=kind,
        default=info.default,
        help=info.description or "",
        unit=extra.get("unit", ""),
        low=limits.get("ge", -math.inf),
        high=limits.get("le", math.inf),
        choices=choices,
        optional=optional,
        changes=Changes(extra.get("changes", Changes.UNCONFIGURED.value)),
    )


@cache
def _adapter(one: Setting) -> TypeAdapter[Any]:
    kind: Any = one.kind
    if one.choices:
        kind = Literal[one.choices]
    elif kind in (int, float):
        low = one.low if math.isfinite(one.low) else None
        high = one.high if math.isfinite(one.high) else None
        finite = False if kind is float else None
        kind = Annotated[kind, Field(ge=low, le=high, allow_inf_nan=finite)]
    return TypeAdapter(kind)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _refusal(schema: type[Options], error: ValidationError) -> str:
    """One line for the first wrong value, or for all that are unknown."""
    errors = error.errors()
    unknown = sorted(str(e["loc"][0]) for e in errors if e["type"] == "extra_forbidden")
    if unknown:
        known = ", ".join(schema.model_fields)
        return f"unknown options {unknown}; {schema.label} takes {known}"
    first = errors[0]
    name = str(first["loc"][0])
    for one in _settings(schema):
        if one.name == name:
            return one.refusal(first["input"])
    return f"{name} is {first['input']!r}; {first['msg'].lower()}"
