"""The messages of TF for processes of the tests.

PyPI has no wheel of tf2_msgs; where no distribution brings it, its one message is generated from
its definition by the same generators that make ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGE = """<package format="3"><name>tf2_msgs</name><version>0.0.0</version>
<description>test</description><maintainer email="a@b.cd">test</maintainer><license>BSD</license>
<buildtool_depend>ament_cmake</buildtool_depend><depend>geometry_msgs</depend>
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""
BUILD = """cmake_minimum_required(VERSION 3.22)
project(tf2_msgs LANGUAGES C CXX)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
foreach(package builtin_interfaces std_msgs geometry_msgs)
  find_package(${package} REQUIRED)
  set(target ${package}::${package}__rosidl_generator_py)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  list(FILTER folders EXCLUDE REGEX "^/opt/python/")
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
endforeach()
rosidl_generate_interfaces(tf2_msgs msg/TFMessage.msg DEPENDENCIES geometry_msgs)
ament_package()
"""


def build_tf2_msgs(folder: Path) -> dict[str, str]:
    """What the environment of processes that need tf2_msgs must hold; takes ten seconds."""
    source, build, install = folder / "source", folder / "build", folder / "install"
    (source / "msg").mkdir(parents=True)
    (source / "package.xml").write_text(PACKAGE)
    (source / "CMakeLists.txt").write_text(BUILD)
    (source / "msg" / "TFMessage.msg").write_text("geometry_msgs/TransformStamped[] transforms\n")
    adapter = find_spec("rosidl_adapter")
    assert adapter is not None and adapter.origin is not None
    prefix = str(Path(adapter.origin).parents[4])
    configure = [
        *("cmake", "-G", "Ninja", "-S", source, "-B", build),
        f"-DCMAKE_INSTALL_PREFIX={install}",
        f"-DPython3_EXECUTABLE={sys.executable}",
        "-DBUILD_TESTING=OFF",
    ]
    environment = {**os.environ, "AMENT_PREFIX_PATH": prefix, "CMAKE_PREFIX_PATH": prefix}
    for command in (configure, ["cmake", "--build", build, "--target", "install"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    python = next(install.glob("**/tf2_msgs/msg/__init__.py")).parents[2]
    return {
        "PYTHONPATH": os.pathsep.join([str(python), os.environ["PYTHONPATH"]]),
        "LD_LIBRARY_PATH": os.pathsep.join(
            [str(install / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        ),
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that a test needed beside it; what it does at its end is not what is tested."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
