"""Every command of the README and the pages: it parses, and names what there is."""

from __future__ import annotations

import importlib
import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from smap_ros.cli.app import app as smap_ros_app
from smap_ros.graph.node_types import NODES
from smap_ros.graph.plan import GRAPHS
from tests.docs.pages import PAGES, ROOT, Command, blocks, commands, spans

COMMANDS = commands()
OURS = ("smap-ros", "smap-train")
# Programs of others, which these tests don't look into; a page that needs a further one adds it.
OTHERS = {
    *("apt", "cd", "colcon", "export", "git", "mkdir", "npm", "pip", "pre-commit", "python3"),
    *("ros2", "rosdep", "rviz2", "source", "sudo", "touch"),
}
# First folders of paths of the repository; `models/` and `out/` also name what a command writes.
TRACKED = ("bench", "config", "docs", "launch", "scripts", "training")


def select(*programs: str) -> list[Command]:
    found = {command.words: command for command in COMMANDS if command.program in programs}
    return list(found.values())


class ParsedError(Exception):
    """The command line was understood; nothing was run."""


@pytest.fixture
def parse_only(monkeypatch):
    """Commands of typer stop where they would begin their work.

    ``smap-train`` hands most of its commands on to others, whose arguments it doesn't look at
    (``ignore_unknown_options``): these are run, and stop one step further.
    """
    plain = typer.core.TyperCommand.invoke

    def invoke(self, context):
        if self.context_settings.get("ignore_unknown_options"):
            return plain(self, context)
        raise ParsedError

    monkeypatch.setattr(typer.core.TyperCommand, "invoke", invoke)


def app_of(program: str) -> typer.Typer:
    if program == "smap-ros":
        return smap_ros_app
    return pytest.importorskip("smap_train.cli", reason="the extra train is not installed").app


@pytest.mark.parametrize("command", select(*OURS), ids=str)
def test_our_commands_parse(command, parse_only, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = [word for word in command.words[1:] if word != "..."]
    result = CliRunner().invoke(app_of(command.program), words)
    if command.whole:
        assert isinstance(result.exception, ParsedError), f"{result.output}{result.exception!r}"
    elif not isinstance(result.exception, ParsedError):
        # One inside a sentence may leave arguments out, but names nothing that there isn't.
        assert "Missing" in result.output or result.exit_code == 0, result.output


@pytest.mark.parametrize("command", select("make"), ids=str)
def test_make_has_the_target(command):
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert command.words[1] in targets


@pytest.mark.parametrize("command", select("python", "taskset"), ids=str)
def test_scripts_and_modules_exist_and_have_the_options(command):
    words = command.words[command.words.index("python") + 1 :]
    if words[0] == "-m":
        spec = find_spec(words[1])
        assert spec is not None and spec.origin is not None
        script, words = Path(spec.origin), words[1:]
        if script.name == "__init__.py":
            script = script.with_name("__main__.py")
    else:
        script = ROOT / words[0]
    text = script.read_text()
    # `python -m smap_train.virtual` hands its arguments to a sibling.
    text += "".join(path.read_text() for path in script.parent.glob("cli.py"))
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    missing = [option for option in options if not re.search(rf'"{option}"|\b{option[2:]}:', text)]
    assert not missing, f"{script} has no {missing}"


@pytest.mark.parametrize("command", select("ros2"), ids=str)
def test_launch_files_exist_and_take_the_arguments(command):
    if command.words[1:3] != ("launch", "smap_ros"):
        assert command.words[1] in ("topic", "bag", "param", "lifecycle", "run", "pkg", "service")
        return
    file, given = command.words[3], command.words[4:]
    assert (ROOT / "launch" / file).is_file()
    graph = GRAPHS[file.removesuffix(".launch.py")]
    for name, _, value in (word.partition(":=") for word in given if ":=" in word):
        argument = graph.argument(name)
        if not value.startswith(("$", "/path")):
            argument.value.parse(value)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_programs_are_known(command):
    assert command.program in {*OURS, *OTHERS, "make", "python", "taskset"}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_files_of_the_repository_exist(command):
    words = [word for word in command.words if word.partition("/")[0] in TRACKED and "/" in word]
    written = {command.words[i + 1] for i, w in enumerate(command.words[:-1]) if w == "--out"}
    missing = [word for word in words if not (ROOT / word).exists() and word not in written]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_arguments_of_launch_and_nodes_exist(page):
    """What pages write as ``name:=value`` is an argument of a graph or a node's parameter."""
    known = {argument.name for graph in GRAPHS.values() for argument in graph.arguments}
    known |= {parameter.name for node in NODES.values() for parameter in node.parameters}
    text = "\n".join([*blocks(page), *spans(page)])
    named = set(re.findall(r"\b([a-z_0-9]+):=", text))
    assert named <= known | {"name"}, f"no such argument: {sorted(named - known)}"


def resolve(name: str) -> object:
    """A dotted name of ours: a module, or what is in it."""
    module, rest = name, []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
    for part in rest:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_and_files_in_sentences_exist(page):
    messages = {f"smap_ros/{path.stem}" for path in (ROOT / "msg").glob("*.msg")}
    for span in spans(page):
        if re.fullmatch(r"(smap_ros|smap_train)(\.\w+)+", span):
            resolve(span)
        elif re.fullmatch(r"(bench|config|launch|smap_ros|training|scripts|tests)/[\w./-]+", span):
            assert span in messages or (ROOT / span).exists(), span


CHEAP = {
    ("smap-ros", "estimate", "video.mp4", "--fov", "60", "--out", "out"): "bodies.json",
}


@pytest.mark.parametrize("words", CHEAP, ids=" ".join)
def test_cheap_commands_run_as_they_are_written(words, short_clip, tmp_path, monkeypatch):
    assert words in {(c.program, *c.words[1:]) for c in COMMANDS}, "no page says this any more"
    os.symlink(short_clip, tmp_path / "video.mp4")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app_of(words[0]), list(words[1:]))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / CHEAP[words]).is_file()
