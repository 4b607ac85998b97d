"""Who may import whom: the arrows of the architecture, and a runtime without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "smap_ros"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "msg" not in path.parts)

# Rooms by height; a room imports its own height or below. Rooms not listed stand at MIDDLE.
MIDDLE = 2
HEIGHTS = {
    **dict.fromkeys(
        (
            "errors",
            "skeletons",
            "geometry",
            "camera",
            "bodies",
            "bundles",
            "images",
            "paths",
        ),
        0,
    ),
    **dict.fromkeys(("engines", "association"), 1),
    **dict.fromkeys(("estimators", "temporal", "evaluation", "viz"), MIDDLE),
    **dict.fromkeys(("nodes", "cli", "__main__"), 3),
}


def room(module: str) -> str:
    """``smap_ros.engines.openvino`` -> ``engines``; the package itself is ``""``."""
    return (module.split(".") + [""])[1]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function, as a full name."""
    package = name_of(path).split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from smap_ros import x` may mean the module smap_ros.x.
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards(path):
    here = room(name_of(path))
    for module in imports(path):
        if module.startswith("smap_ros.") and here:
            there = room(module)
            if not (PACKAGE / there).exists() and not (PACKAGE / f"{there}.py").exists():
                continue  # a name of the package itself, such as __version__
            assert HEIGHTS.get(there, MIDDLE) <= HEIGHTS.get(here, MIDDLE), (
                f"{name_of(path)} imports {module}: {there} stands above {here}"
            )


def test_rooms_do_not_import_in_circles():
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        here = room(name_of(path))
        there = {room(module) for module in imports(path) if module.startswith("smap_ros.")}
        graph.setdefault(here, set()).update(there - {here})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_runtime_never_imports_torch_or_training_and_rclpy_only_in_nodes(path):
    roots = {module.split(".")[0] for module in imports(path)}
    assert not roots & {"torch", "torchvision", "lightning", "training", "smap_train"}
    if room(name_of(path)) != "nodes":
        assert "rclpy" not in roots


WITHOUT_TORCH = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "lightning", "training", "smap_train"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import smap_ros
names = [m.name for m in pkgutil.walk_packages(smap_ros.__path__, "smap_ros.")]
for name in names:
    if name.endswith("__main__") or "smap_ros_s__" in name:
        continue
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # ROS's launch isn't on PyPI (our folder of that name is none); only launch files need it.
        if (error.name or "").partition(".")[0] not in {"launch", "launch_ros"}:
            raise
sys.stdout.write(f"{len(names)} modules")
"""


def test_all_of_smap_ros_imports_where_torch_is_not_installed(child_environment, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        capture_output=True,
        text=True,
        env=child_environment,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[0]) >= len(MODULES) - 1
