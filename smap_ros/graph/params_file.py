"""A user's YAML file of parameters, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smap_ros.errors import InputError
from smap_ros.markup import yaml_value
from smap_ros.settings import Setting

# What every ROS node has beside its own; names with a dot belong to ROS as well.
_OF_ROS = ("use_sim_time", "start_type_description_service")


def stated_in(path: Path, node: str) -> dict[str, Any]:
    """The parameters that a file states for a node, in whatever namespace it may run.

    Raises:
        InputError: if it is missing, or not such a file.
    """
    stated: dict[str, Any] = {}
    for _, parameters in _sections(path, node):
        stated |= parameters
    return stated


def check(path: Path, node: str, settings: tuple[Setting, ...]) -> None:
    """Refuse what a file states wrongly of a node.

    Raises:
        InputError: if a value is refused, or a section of that node names what it doesn't have.
    """
    known = {one.name: one for one in settings}
    for own, parameters in _sections(path, node):
        for name, value in parameters.items():
            if name in known:
                _check_value(known[name], value, f"params_file {path}, {node}")
            elif own and name not in _OF_ROS and "." not in name:
                raise InputError(
                    f"params_file {path}: {node} has no parameter {name!r}; it has "
                    f"{', '.join(known)}"
                )


def _check_value(one: Setting, value: Any, where: str) -> None:
    try:
        # Like ROS we take 1e-3 for a number, which YAML's own rules do not.
        one.parse(value) if isinstance(value, str) else one.accept(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _sections(path: Path, node: str) -> Iterator[tuple[bool, dict[str, Any]]]:
    """The parameters of each section that matches a node, and whether it names the node."""
    try:
        data = yaml_value(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"params_file {str(path)!r} can't be read: {' '.join(str(error).split())}; expected a "
            "YAML file of parameters like config/pose3d.yaml"
        ) from None
    for name, parameters in _walk(data, ""):
        last = name.rpartition("/")[2]
        if last in (node, "*", "**"):
            yield last == node, parameters


def _walk(data: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(data, Mapping):
        return
    for key, value in data.items():
        if key == "ros__parameters":
            if isinstance(value, Mapping):
                yield name, {str(k): v for k, v in value.items()}
        else:
            yield from _walk(value, f"{name}/{str(key).strip('/')}")
