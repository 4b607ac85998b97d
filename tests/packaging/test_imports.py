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

TRAINING = sorted((ROOT / "training").rglob("*.py"))

# Rooms by height; a room imports its own height or below. Rooms not listed stand at MIDDLE.
MIDDLE = 2
HEIGHTS = {
    **dict.fromkeys(
        (
            "errors",
            "skeletons",
            "camera",
            "bodies",
            "geometry",
            "encodings",
            "images",
            "pictures",
            "paths",
            "markup",
            "plain_pickle",
            "privacy",
            "stopping",
            "spread",
            "stamps",
        ),
        0,
    ),
    **dict.fromkeys(("association", "bundles", "calibration", "engines"), 1),
    **dict.fromkeys(
        ("bags", "sources", "offline", "estimators", "temporal", "evaluation", "viz", "view"),
        MIDDLE,
    ),
    **dict.fromkeys(("graph", "doctor", "nodes", "cli", "__main__"), 3),
}


def room(module: str) -> str:
    """``smap_ros.engines.openvino`` -> ``engines``; the package itself is ``""``."""
    return (module.split(".") + [""])[1]


def name_of(path: Path) -> str:
    """The module's name; the folder ``training`` is the package ``smap_train``."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts[0] = {"training": "smap_train"}.get(parts[0], parts[0])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in [*MODULES, *TRAINING]}


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


def files_run_by(module: str, importer: str) -> Iterator[str]:
    """Our files that run when a file imports a module: it, and the packages on the way there.

    A package that the importer itself lies in runs before it anyway.
    """
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        last = length == len(parts) or ".".join(parts[: length + 1]) not in NAMES
        if name in NAMES and name != importer and (last or not importer.startswith(f"{name}.")):
            yield name
        if last:
            return


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


def test_files_do_not_import_in_circles():
    graph = {
        name: {there for module in imports(path) for there in files_run_by(module, name)}
        for name, path in NAMES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports: {' -> '.join(error.args[1])}")


def test_contributing_names_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"msg"}
    rooms |= {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    missing = sorted(room for room in rooms if room not in text)
    assert not missing, f"CONTRIBUTING.md doesn't name {missing}"


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
        # viser and trimesh are an extra, which only the viewer's page needs.
        optional = {"launch", "launch_ros", "viser", "trimesh"}
        if (error.name or "").partition(".")[0] not in optional:
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
