"""A user's YAML file of parameters, checked before anything starts."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_ros.errors import InputError, shortened
from smap_ros.graph.node_types import NodeType
from smap_ros.markup import yaml_value
from smap_ros.settings import Setting

LOG = logging.getLogger(__name__)

# What every ROS node has beside its own; names with a dot belong to ROS as well.
_OF_ROS = ("use_sim_time", "start_type_description_service")

# A file with this share of a node's parameters is a copy of all; later versions have more.
_COPIED = 0.8

_Parameters = dict[str, Any]


@dataclass(frozen=True)
class ParamsFile:
    """A file that was checked.

    Attributes:
        path: of the file.
        namespace: where the nodes run, as the graph's argument; where that isn't stated, a launch
            file around ours may have put them anywhere.
    """

    path: Path
    namespace: str = ""

    def stated(self, node: NodeType) -> dict[str, Any]:
        """The parameters that the file states for a node.

        Raises:
            InputError: if it is missing by now, or no such file any more.
        """
        stated: dict[str, Any] = {}
        for section, parameters in _sections(self.path):
            if _reaches(section, node.name, self.namespace):
                stated |= parameters
        return stated

    def wished(self, node: NodeType) -> dict[str, Any]:
        """The parameters of a node that the file states, and doesn't just hold.

        Of a copy of all parameters (``smap-ros parameters --yaml``) those at their defaults are no
        wish: a graph that sets one by itself would do otherwise with the copy than without.

        Raises:
            InputError: as :meth:`stated`.
        """
        stated = self.stated(node)
        defaults = {one.name: one.default for one in node.parameters}
        if len(defaults.keys() & stated.keys()) < _COPIED * len(defaults):
            return stated
        return {k: v for k, v in stated.items() if k not in defaults or v != defaults[k]}


def checked(
    path: Path, running: Iterable[NodeType], of_graph: Sequence[str], namespace: str
) -> ParamsFile:
    """Refuse a file that says something wrong to a graph's nodes, or nothing.

    Args:
        path: the file.
        running: the nodes that are to run.
        of_graph: names of all nodes that the graph may run.
        namespace: of the nodes, see :class:`ParamsFile`.

    Raises:
        InputError: if a value is refused, a section of a node names what it doesn't have, or all
            sections are of other nodes, or of nodes in other namespaces.
    """
    sections = _sections(path)
    named = [section for section, _ in sections]
    if named and not any(_meant(section, node) for section in named for node in of_graph):
        raise InputError(
            f"params_file {path}: it has sections of {shortened(', '.join(named))} alone; "
            f"expected one of a node that may run, {', '.join(of_graph)}, like /**/{of_graph[0]}"
        )
    _check_namespaces(path, named, of_graph, namespace)
    for node in running:
        for section, parameters in sections:
            if _meant(section, node.name):
                _check_section(node, section, parameters, path)
    return ParamsFile(path, namespace)


def _check_section(node: NodeType, section: str, parameters: _Parameters, path: Path) -> None:
    known = {one.name: one for one in node.parameters}
    own = _last(section) == node.name
    for name, value in parameters.items():
        if name in known:
            _check_value(known[name], value, f"params_file {path}, {node.name}")
        elif own and name not in _OF_ROS and "." not in name:
            raise InputError(
                f"params_file {path}: {node.name} has no parameter {name!r}; it has "
                f"{', '.join(known)}"
            )


def _check_value(one: Setting, value: Any, where: str) -> None:
    try:
        # Like ROS we take 1e-3 for a number, which YAML's own rules do not.
        one.parse(value) if isinstance(value, str) else one.accept(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check_namespaces(
    path: Path, named: Sequence[str], of_graph: Sequence[str], namespace: str
) -> None:
    """Refuse sections of our nodes of which none reaches them where they run.

    A file may be for several robots; a name without a namespace, though, is as a rule one that
    somebody took for a name in any.
    """
    meant = {section: [node for node in of_graph if _meant(section, node)] for section in named}
    ours = {section: nodes for section, nodes in meant.items() if nodes}
    outside = {
        section: nodes[0]
        for section, nodes in ours.items()
        if not any(_may_reach(section, node, namespace) for node in nodes)
    }
    for section, node in outside.items():
        told = (
            f"params_file {path}: section {section} is of a node of that name alone, and this one "
            f"is {_full_name(node, namespace)}; write /**/{node}"
        )
        if len(outside) == len(ours):
            raise InputError(told)
        if section in (f"/{node}", "/*"):
            LOG.warning("%s", told)


def _meant(section: str, node: str) -> bool:
    return _last(section) in (node, "*", "**")


def _full_name(node: str, namespace: str) -> str:
    return f"/{namespace.strip('/')}/{node}" if namespace.strip("/") else f"/{node}"


def _reaches(section: str, node: str, namespace: str) -> bool:
    """Whether ROS gives a section's parameters to a node: by its whole name, as rcl compares it.

    A namespace without a slash before it may be below another that isn't known here.
    """
    if not namespace:
        return _meant(section, node)
    name = _full_name(node, namespace)
    below = not namespace.startswith("/") and section.endswith(name)
    return below or _matches(section, name)


def _may_reach(section: str, node: str, namespace: str) -> bool:
    """As :func:`_reaches`, also where wildcards may stand for a namespace that isn't known here."""
    if _reaches(section, node, namespace):
        return True
    if namespace.startswith("/"):
        return False
    parts = section.strip("/").split("/")
    outer = ["".join(f"/{part.replace('*', 'x')}" for part in parts[:k]) for k in range(len(parts))]
    return any(_matches(section, around + _full_name(node, namespace)) for around in outer)


def _matches(section: str, name: str) -> bool:
    """Whether a section is of a node of that whole name; * is a part of names, ** any number."""
    wild = {"**": r"(/\w+)*", "*": r"/\w+"}
    parts = section.strip("/").split("/")
    pattern = "".join(wild.get(part, f"/{re.escape(part)}") for part in parts)
    return re.fullmatch(pattern, name) is not None


def _last(section: str) -> str:
    return section.rpartition("/")[2]


def _sections(path: Path) -> list[tuple[str, _Parameters]]:
    """The sections of a file: whom each is for, and its parameters."""
    try:
        data = yaml_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"params_file {str(path)!r} can't be read: {' '.join(str(error).split())}; expected a "
            "YAML file of parameters like config/pose3d.yaml"
        ) from None
    return [] if data is None else list(_walk(data, "", path))


def _walk(data: Any, name: str, path: Path) -> Iterator[tuple[str, _Parameters]]:
    """The sections below a name; refuses what isn't one, at which rcl would end every node."""
    if not isinstance(data, Mapping):
        raise _refused(name or "it", data, path)
    for key, value in data.items():
        below = f"{name}/{str(key).strip('/')}"
        if key != "ros__parameters":
            yield from _walk(value, below, path)
        elif name and isinstance(value, Mapping):
            yield name, {str(k): v for k, v in value.items()}
        else:
            raise _refused(below if name else f"{key} of no node", value, path)


def _refused(name: str, value: Any, path: Path) -> InputError:
    got = "empty" if value is None else shortened(str(value))
    return InputError(
        f"params_file {path}: {name} is {got}; expected parameters below ros__parameters of a "
        "node, like /**/pose3d_node: {ros__parameters: {threads: 2}}"
    )
