"""Declaring the parameters of :mod:`smap_ros.graph.parameters` on a node."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from smap_ros.errors import SmapError
from smap_ros.graph.parameters import Parameter, Value

# Takes all values as they would be, and raises a SmapError to refuse them.
Accept = Callable[[Mapping[str, Value]], None]


class NodeParameters:
    """The parameters of a node: declared with descriptors, refused with a reason when wrong.

    Args:
        node: the node.
        parameters: what to declare.
        accept: called with all values when some are about to change while the node runs.
        locked: says whether fixed parameters can't be changed now.

    Raises:
        rclpy.exceptions.ParameterException: if a value given at the start is refused.
    """

    def __init__(
        self,
        node: Node,
        parameters: tuple[Parameter, ...],
        accept: Accept | None = None,
        locked: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._node = node
        self._by_name = {parameter.name: parameter for parameter in parameters}
        self._accept = accept
        self._locked = locked
        self._declared = False
        node.add_on_set_parameters_callback(self._check)
        for parameter in parameters:
            node.declare_parameter(parameter.name, parameter.default, descriptor(parameter))
        self._declared = True

    def __getitem__(self, name: str) -> Value:
        value: Value = self._node.get_parameter(name).value
        return value

    def text(self, name: str) -> str:
        """A text parameter."""
        return str(self[name])

    def number(self, name: str) -> float:
        """A number parameter."""
        return float(self[name])

    def whole(self, name: str) -> int:
        """A whole number parameter."""
        return int(self[name])

    def flag(self, name: str) -> bool:
        """A truth value parameter."""
        return bool(self[name])

    def values(self) -> dict[str, Value]:
        """All values."""
        return {name: self[name] for name in self._by_name}

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        ours = {c.name: c.value for c in changes if c.name in self._by_name}
        for name, value in ours.items():
            problem = self._by_name[name].problem(value) or self._locked_problem(name)
            if problem is not None:
                return SetParametersResult(successful=False, reason=problem)
        if self._declared and self._accept is not None and ours:
            try:
                self._accept({**self.values(), **ours})
            except SmapError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _locked_problem(self, name: str) -> str | None:
        if not (self._declared and self._by_name[name].fixed):
            return None
        reason = self._locked()
        return None if reason is None else f"{name} can't change now: {reason}"


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What ROS shows of a parameter."""
    described = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description,
        additional_constraints=(
            f"one of: {', '.join(parameter.choices)}" if parameter.choices else ""
        ),
    )
    if math.isfinite(parameter.low) and math.isfinite(parameter.high):
        if isinstance(parameter.default, int):
            described.integer_range = [
                IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=0)
            ]
        else:
            described.floating_point_range = [
                FloatingPointRange(from_value=parameter.low, to_value=parameter.high, step=0.0)
            ]
    return described
