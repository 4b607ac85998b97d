"""The settings as files for people: ``config/pose3d.yaml`` and ``docs/parameters.md``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator

from smap_ros.estimators.options import MODEL_SETTINGS, OPTIONS, ModelOptions
from smap_ros.graph.node_types import NODES, POSE3D_NODE, NodeType
from smap_ros.graph.parameters import GraphOptions
from smap_ros.graph.plan import GRAPHS
from smap_ros.settings import BUNDLE, Setting, settings_of

WIDTH = 98  # characters of a line in YAML

_YAML_HEAD = """\
# Parameters of the smap_ros nodes, with their defaults. Written by `smap-ros parameters --yaml`.
# Copy this file, change what you need, and start with params_file:=/path/to/copy.yaml.
# Arguments given to the launch file win over it. The names match in any namespace.
# "bundle" leaves a value to the model.
"""

_RENAMED = {
    f"`{own}` of {member.type.name} is `{argument}`"
    for graph in GRAPHS.values()
    for member in graph.members
    for own, argument in member.renamed.items()
}

_PAGE_HEAD = f"""\
# Parameters

Written by `smap-ros parameters --markdown` from the code; don't edit it by hand.

Every parameter of a node is also an argument of the launch files that start it (`name:=value`, for
`ros2 launch` and `smap-ros up` alike) and has a line in
[config/pose3d.yaml](../config/pose3d.yaml). What is given on the command line wins over the file.
Those of models are options of `smap-ros estimate`, `evaluate` and `bag` as well, with hyphens
(`--min-joints 6`). A wrong value is refused everywhere in the same words, but for a number beyond
its limits that a running node is told: ROS refuses that itself, in its own. As arguments
{", ".join(sorted(_RENAMED))}:
`smoother:=` switches that node on or off, and `delay:=` is a model's.

Truth values are `true` or `false`; `on` and `off` mean the same. `{BUNDLE}` leaves a value to the
model. "Changes" says when a running node takes another value: any time; unconfigured (the life
cycle of `pose3d_node`: deactivate and clean up first); or at the start only.
"""


def parameters_yaml() -> str:
    """``config/pose3d.yaml``: every parameter of every node with its default."""
    return _YAML_HEAD + "".join(_yaml_of(node) for node in NODES.values())


def parameters_page() -> str:
    """``docs/parameters.md``: what every parameter and argument means."""
    parts = [_PAGE_HEAD]
    for node in NODES.values():
        models = _names(MODEL_SETTINGS) if node is POSE3D_NODE else ()
        own = [one for one in node.parameters if one.name not in models]
        parts.append(f"## {node.name}\n\n{_table(own, changes=True)}")
    parts.append(_models())
    parts.append(
        "## Launch files alone\n\nBeside the parameters of the nodes, `pose3d.launch.py`, "
        "`replay.launch.py` and `smap-ros up` take:\n\n"
        f"{_table(settings_of(GraphOptions), changes=False)}"
    )
    return "\n".join(parts)


def _models() -> str:
    kinds = "\n".join(
        f"**{kind}**\n\n{_table(settings_of(schema), changes=False)}"
        for kind, schema in OPTIONS.items()
    )
    return (
        "## Models\n\nParameters of `pose3d_node` and options of the commands; "
        f"{', '.join(f'`{name}`' for name in ModelOptions.model_fields)} hold for all kinds of "
        f"models, these for one kind each. Unless stated (`{BUNDLE}`, the default everywhere) they "
        "are as the tables say. A model refuses those it has no use for; a model behind another "
        "one hands those that aren't its own to the first. All change while the node is "
        f"unconfigured.\n\n{kinds}"
    )


def _yaml_of(node: NodeType) -> str:
    lines = [f"\n/**/{node.name}:", "  ros__parameters:"]
    for one in node.parameters:
        lines += textwrap.wrap(
            _comment(one), WIDTH, initial_indent="    # ", subsequent_indent="    #   "
        )
        # JSON is YAML, and leaves no text to be taken for something else.
        entry = f"{one.name}: {json.dumps(one.written(one.default))}"
        # A source stated here would take the place of the shipped clip.
        lines.append(f"    # {entry}" if one.name == "source" else f"    {entry}")
    return "\n".join(lines) + "\n"


def _comment(one: Setting) -> str:
    allowed = ", ".join(one.choices) or one.limits
    return f"{one.help} ({allowed})" if allowed else one.help


def _table(settings: Iterable[Setting], *, changes: bool) -> str:
    head = "| name | default | allowed | meaning |" + " changes |" * changes
    rule = "|---|---|---|---|" + "---|" * changes
    return "\n".join([head, rule, *(_row(one, changes) for one in settings)]) + "\n"


def _row(one: Setting, changes: bool) -> str:
    cells = [f"`{one.name}`", _default(one), " ".join(_allowed(one)), one.help.replace("|", "\\|")]
    if changes:
        cells.append(one.changes.value.removeprefix("while the node is "))
    return f"| {' | '.join(cells)} |"


def _default(one: Setting) -> str:
    text = one.text(one.default)
    return f"`{text}`" if text else "empty"


def _allowed(one: Setting) -> Iterator[str]:
    if one.choices:
        yield ", ".join(f"`{choice}`" for choice in one.choices)
    elif one.kind is bool:
        yield "`true`, `false`"
    else:
        yield one.limits or ("text" if one.kind is str else "number")
    if one.optional:
        yield f"or `{BUNDLE}`"


def _names(settings: Iterable[Setting]) -> set[str]:
    return {one.name for one in settings}
