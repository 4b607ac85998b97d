"""Declaring settings as the parameters of a node."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from smap_ros.errors import InputError, SmapError, unexpected
from smap_ros.settings import BUNDLE, Changes, Options, Setting, Value, build

log = logging.getLogger(__name__)

Values = Mapping[str, Value | None]
# Takes all values as they would be, and raises a SmapError to refuse them.
Accept = Callable[[Values], None]
Schema = TypeVar("Schema", bound=Options)


class NodeParameters:
    """The parameters of a node: declared with descriptors, refused with a reason when wrong.

    Args:
        node: the node.
        settings: what to declare.
        accept: called with all values when some are about to change while the node runs.
        locked: says why settings that change in unconfigured nodes only can't change now.

    Raises:
        rclpy.exceptions.ParameterException: if a value given at the start is refused.
    """

    def __init__(
        self,
        node: Node,
        settings: tuple[Setting, ...],
        accept: Accept | None = None,
        locked: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._node = node
        self._by_name = {one.name: one for one in settings}
        self._accept = accept
        self._locked = locked
        self._declared = False
        node.add_on_set_parameters_callback(self._check)
        for one in settings:
            # Limits come after: rclpy would refuse by them before we are asked, in other words.
            plain = ParameterDescriptor(name=one.name, dynamic_typing=True)
            node.declare_parameter(one.name, one.written(one.default), plain)
            node.set_descriptor(one.name, descriptor(one))
        self._declared = True

    def __getitem__(self, name: str) -> Value | None:
        return self._by_name[name].accept(self._node.get_parameter(name).value)

    def text(self, name: str) -> str:
        """A text parameter."""
        return str(self[name])

    def number(self, name: str) -> float:
        """A number parameter."""
        value = self[name]
        assert value is not None
        return float(value)

    def whole(self, name: str) -> int:
        """A whole number parameter."""
        value = self[name]
        assert value is not None
        return int(value)

    def flag(self, name: str) -> bool:
        """A truth value parameter."""
        return bool(self[name])

    def values(self) -> dict[str, Value | None]:
        """All values; None for what is left to the model."""
        return {name: self[name] for name in self._by_name}

    def options(self, schema: type[Schema]) -> Schema:
        """The values as the model they belong to."""
        return build(schema, self.values())

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        try:
            ours = {
                change.name: self._accepted(self._by_name[change.name], change.value)
                for change in changes
                if change.name in self._by_name
            }
            if self._declared and self._accept is not None and ours:
                self._accept({**self.values(), **ours})
        except SmapError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # rclpy would end the process, and leave the caller waiting
            log.exception("a parameter can't be set")
            return SetParametersResult(successful=False, reason=unexpected(error))
        return SetParametersResult(successful=True)

    def _accepted(self, one: Setting, value: object) -> Value | None:
        if value is None:  # what deletes a parameter
            raise InputError(one.refusal(value))
        accepted = one.accept(value)
        reason = self._fixed(one)
        if reason is not None:
            raise InputError(f"{one.name} can't change now: {reason}")
        return accepted

    def _fixed(self, one: Setting) -> str | None:
        if not self._declared or one.changes is Changes.ANY_TIME:
            return None
        if one.changes is Changes.START:
            return "it takes effect at the start only; set it there"
        return self._locked()


def descriptor(one: Setting) -> ParameterDescriptor:
    """What ROS shows of a setting.

    Its type is left open, so that whole numbers are taken for floats, on and off for booleans,
    and ``bundle`` for what the model decides; :meth:`Setting.accept` holds the values to it.
    """
    expected = f"{one.expected}, or {BUNDLE}" if one.optional else one.expected
    described = ParameterDescriptor(
        name=one.name,
        description=one.described,
        additional_constraints=f"{expected}; changes {one.changes.value}",
        dynamic_typing=True,
    )
    if math.isfinite(one.low) and math.isfinite(one.high):
        if one.kind is int:
            described.integer_range = [
                IntegerRange(from_value=int(one.low), to_value=int(one.high), step=0)
            ]
        else:
            described.floating_point_range = [
                FloatingPointRange(from_value=float(one.low), to_value=float(one.high), step=0.0)
            ]
    return described
