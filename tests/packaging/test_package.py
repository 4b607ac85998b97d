"""What is installed: manifests that agree, shared files, executables, dependencies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from catkin_pkg.package import parse_package
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import smap_ros

ROOT = Path(__file__).resolve().parents[2]
NODES = ("camera", "pose3d", "smoother", "markers", "composed", "recorder", "view")


@pytest.fixture(scope="module")
def manifest():
    warnings: list[str] = []
    package = parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert not warnings
    return package


def test_all_manifests_state_one_version(manifest):
    assert manifest.version == smap_ros.__version__
    assert distribution("smap-ros").version == smap_ros.__version__
    assert re.search(
        rf"^## {re.escape(smap_ros.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M
    )


@pytest.mark.parametrize(
    "dependency",
    [
        *("rclpy", "sensor_msgs", "geometry_msgs", "visualization_msgs", "diagnostic_msgs"),
        *("std_msgs", "lifecycle_msgs", "tf2_msgs"),
        *("launch", "launch_ros", "rosidl_default_runtime"),
    ],
)
def test_package_xml_names_what_runs_on_a_robot(manifest, dependency):
    assert dependency in {depend.name for depend in manifest.exec_depends}


def test_package_xml_makes_colcon_build_the_messages_with_cmake(manifest):
    assert manifest.get_build_type() == "ament_cmake"
    assert "rosidl_interface_packages" in {group.name for group in manifest.member_of_groups}
    generators = {depend.name for depend in manifest.buildtool_depends}
    assert {"ament_cmake", "ament_cmake_python", "rosidl_default_generators"} <= generators


def test_every_ros_import_of_the_nodes_is_declared(manifest):
    imported = set()
    for path in (ROOT / "smap_ros").rglob("*.py"):
        imported |= set(
            re.findall(r"^\s*(?:from|import) (\w+_msgs|\w+_srvs|rclpy)\b", path.read_text(), re.M)
        )
    declared = {depend.name for depend in manifest.exec_depends}
    # Used where they are installed, by those who know them.
    assert imported - {"hri_msgs", "vision_msgs"} <= declared


def test_share_folder_is_found_through_the_ament_index():
    share = Path(get_package_share_directory("smap_ros"))
    assert (share / "package.xml").is_file()
    assert {path.name for path in (share / "msg").glob("*.msg")} == {
        path.name for path in (ROOT / "msg").glob("*.msg")
    }
    for folder in ("config", "launch", "models"):
        tracked = {path.name for path in (ROOT / folder).iterdir()} - {"__pycache__"}
        assert {path.name for path in (share / folder).iterdir()} >= tracked, folder


def test_beside_a_checkout_the_package_is_found(tmp_path, child_environment):
    """Python takes a folder of the package's name in the working folder for a package."""
    (tmp_path / "smap_ros" / "msg").mkdir(parents=True)
    program = "from smap_ros import Camera; from smap_ros.msg import BodyArray; import smap_train"
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, env=child_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_package_on_the_python_path_wins(tmp_path, child_environment):
    """As colcon's, or that of another checkout, whose tests would else test this one."""
    package = tmp_path / "checkout" / "smap_ros" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.touch()
    command = [sys.executable, "-c", "import smap_ros; print(smap_ros.__file__)"]
    environment = {**child_environment, "PYTHONPATH": str(package.parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(package)


@pytest.mark.parametrize("node", NODES)
def test_node_executables_are_where_ros2_run_looks(node):
    executable = Path(get_package_prefix("smap_ros")) / "lib" / "smap_ros" / f"{node}_node"
    assert os.access(executable, os.X_OK)
    assert f"from smap_ros.nodes.{node} import main" in executable.read_text()


@pytest.mark.parametrize("command", ["smap-ros", "smap-train", *(f"{node}_node" for node in NODES)])
def test_console_commands_load(command):
    commands = {point.name: point for point in distribution("smap-ros").entry_points}
    assert callable(commands[command].load())


def dependencies(name: str, extras: frozenset[str], seen: set[str]) -> Iterator[Distribution]:
    """All distributions that an installation of ``name[extras]`` brings here."""
    key = f"{canonicalize_name(name)}[{sorted(extras)}]"
    if key in seen:
        return
    seen.add(key)
    try:
        found = distribution(name)
    except PackageNotFoundError:  # a nested description inside a wheel, not a distribution
        return
    yield found
    for text in found.requires or []:
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield from dependencies(need.name, frozenset(need.extras), seen)


def test_a_robot_never_needs_torch():
    runtime = {
        canonicalize_name(d.name) for d in dependencies("smap-ros", frozenset({"ros"}), set())
    }
    assert {"numpy", "openvino", "ros-jazzy-rclpy"} <= runtime
    assert not runtime & {"torch", "lightning", "onnx", "opencv-python"}


def test_constraints_pin_every_dependency_to_what_is_installed():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    extras = frozenset({"ros", "view", "train", "dev", "docs"})
    for found in dependencies("smap-ros", extras, set()):
        name = canonicalize_name(found.name)
        if name != "smap-ros":
            assert pinned.get(name) == found.version.split("+")[0], (
                f"{name} {found.version} is installed, constraints.txt pins {pinned.get(name)}: "
                f"`.venv/bin/pip install -c constraints.txt {name}` takes what is pinned, `make "
                "lock` pins what is installed"
            )


def test_every_library_that_the_runtime_imports_is_declared():
    """Optional ones (ROS, TensorRT, CUDA, what extras name) aside."""
    names = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml"}
    optional = {"tensorrt", "cuda", "smap_ros", "rclpy", "launch", "launch_ros"}
    optional |= {
        "pycocotools",
        "ray",
        "scipy",
        "trimesh",
        "viser",
        "ament_index_python",
        "builtin_interfaces",
        "rcl_interfaces",
    }
    pattern = re.compile(r"^\s*(?:from (\w+)[\w.]* import|import (\w+))", re.M)
    imported = {
        first or second
        for path in (ROOT / "smap_ros").rglob("*.py")
        if "msg" not in path.parts
        for first, second in pattern.findall(path.read_text())
    }
    third_party = {
        canonicalize_name(names.get(name, name))
        for name in imported - optional - set(sys.stdlib_module_names)
        if not name.endswith(("_msgs", "_srvs"))
    }
    declared = {
        canonicalize_name(Requirement(text).name)
        for text in distribution("smap-ros").requires or []
        if "extra" not in text
    }
    assert third_party <= declared


def test_the_page_on_installing_names_every_library(manifest):
    """Beside ROS a library comes from the distribution (a rosdep key) or from the page's pip."""
    debian = {"opencv": "opencv-python-headless", "pil": "pillow", "yaml": "pyyaml"}
    keys = {depend.name for depend in manifest.exec_depends if depend.name.startswith("python3-")}
    from_pip = {key for key in keys if key.endswith("-pip")} | {"python3-pydantic"}
    names = {key.removeprefix("python3-").removesuffix("-pip") for key in keys}
    page = (ROOT / "docs" / "install.md").read_text()
    (skipped,) = re.findall(r'--skip-keys "([^"]+)"', page)
    assert set(skipped.split()) == from_pip
    (line,) = re.findall(r"^venv/bin/pip install (.*)$", page, re.M)
    by_pip = {need.name: need for need in map(Requirement, line.replace("'", "").split())}
    needed = {
        need.name: need
        for need in map(Requirement, distribution("smap-ros").requires or [])
        if need.marker is None
    }
    assert {debian.get(name, name) for name in names} | set(by_pip) == set(needed)
    # A bound that matters on the way: what the distribution may have too old.
    for name, need in by_pip.items():
        assert not need.specifier or need.specifier == needed[name].specifier
