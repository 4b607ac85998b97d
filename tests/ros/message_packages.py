"""Message packages of ROS that PyPI has no wheels of, for processes of the tests.

Where no distribution brings them, what the nodes use of them is generated from its definition by
the same generators that make ours.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

KEPT = Path(__file__).parents[2] / ".pytest_cache" / "messages"


@dataclass(frozen=True)
class MessagePackage:
    """Messages of a package: their fields by name, and the packages that they are made of."""

    name: str
    needs: tuple[str, ...]
    messages: dict[str, str]


TF2 = MessagePackage(
    "tf2_msgs",
    ("geometry_msgs",),
    {"TFMessage": "geometry_msgs/TransformStamped[] transforms"},
)
# Of hri_msgs 2.3.
HRI = MessagePackage(
    "hri_msgs",
    ("std_msgs",),
    {
        "IdsList": "std_msgs/Header header\nstring[] ids",
        "NormalizedPointOfInterest2D": "float32 x\nfloat32 y\nfloat32 c",
        "NormalizedRegionOfInterest2D": (
            "std_msgs/Header header\nfloat32 xmin\nfloat32 ymin\nfloat32 xmax\nfloat32 ymax\n"
            "float32 c"
        ),
        "Skeleton2D": "\n".join(
            [
                "std_msgs/Header header",
                *("uint8 NOSE=0", "uint8 NECK=1"),
                *("uint8 RIGHT_SHOULDER=2", "uint8 RIGHT_ELBOW=3", "uint8 RIGHT_WRIST=4"),
                *("uint8 LEFT_SHOULDER=5", "uint8 LEFT_ELBOW=6", "uint8 LEFT_WRIST=7"),
                *("uint8 RIGHT_HIP=8", "uint8 RIGHT_KNEE=9", "uint8 RIGHT_ANKLE=10"),
                *("uint8 LEFT_HIP=11", "uint8 LEFT_KNEE=12", "uint8 LEFT_ANKLE=13"),
                *("uint8 LEFT_EYE=14", "uint8 RIGHT_EYE=15"),
                *("uint8 LEFT_EAR=16", "uint8 RIGHT_EAR=17"),
                "NormalizedPointOfInterest2D[18] skeleton",
            ]
        ),
    },
)
# Of vision_msgs 4.
VISION = MessagePackage(
    "vision_msgs",
    ("std_msgs", "geometry_msgs"),
    {
        "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
        "ObjectHypothesis": "string class_id\nfloat64 score",
        "ObjectHypothesisWithPose": (
            "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
        ),
        "Detection3D": (
            "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\n"
            "string id"
        ),
        "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
    },
)

PACKAGE = """<package format="3"><name>{name}</name><version>0.0.0</version>
<description>test</description><maintainer email="a@b.cd">test</maintainer><license>BSD</license>
<buildtool_depend>ament_cmake</buildtool_depend>{depends}
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""
BUILD = """cmake_minimum_required(VERSION 3.22)
project({name} LANGUAGES C CXX)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
foreach(package builtin_interfaces std_msgs geometry_msgs)
  find_package(${{package}} REQUIRED)
  set(target ${{package}}::${{package}}__rosidl_generator_py)
  get_target_property(folders ${{target}} INTERFACE_INCLUDE_DIRECTORIES)
  list(FILTER folders EXCLUDE REGEX "^/opt/python/")
  set_target_properties(${{target}} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${{folders}}")
endforeach()
rosidl_generate_interfaces({name} {files} DEPENDENCIES {needs})
ament_package()
"""


def messages(package: MessagePackage) -> dict[str, str]:
    """What processes that need a package have to have in front of variables of paths.

    Built by the first who needs it, kept for the others and for later runs.
    """
    adapter = find_spec("rosidl_adapter")
    assert adapter is not None and adapter.origin is not None
    generators = Path(adapter.origin)
    made_of = (package, PACKAGE, BUILD, sys.version, generators, generators.stat().st_mtime_ns)
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]
    install = KEPT / f"{package.name}-{key}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not install.is_dir():
            with tempfile.TemporaryDirectory(dir=KEPT) as folder:
                _build(package, Path(folder), generators.parents[4])
                (Path(folder) / "install").rename(install)
    python = next(install.glob(f"**/{package.name}/msg/__init__.py")).parents[2]
    return {"PYTHONPATH": str(python), "LD_LIBRARY_PATH": str(install / "lib")}


def _build(package: MessagePackage, folder: Path, ros: Path) -> None:
    """Generate and compile a package; 15 s of a processor."""
    source, build = folder / "source", folder / "build"
    (source / "msg").mkdir(parents=True)
    for name, fields in package.messages.items():
        (source / "msg" / f"{name}.msg").write_text(f"{fields}\n")
    words = {
        "name": package.name,
        "depends": "".join(f"<depend>{name}</depend>" for name in package.needs),
        "needs": " ".join(package.needs),
        "files": " ".join(f"msg/{name}.msg" for name in package.messages),
    }
    (source / "package.xml").write_text(PACKAGE.format(**words))
    (source / "CMakeLists.txt").write_text(BUILD.format(**words))
    configure = [
        *("cmake", "-G", "Ninja", "-S", source, "-B", build),
        f"-DCMAKE_INSTALL_PREFIX={folder / 'install'}",
        f"-DPython3_EXECUTABLE={sys.executable}",
        "-DBUILD_TESTING=OFF",
    ]
    environment = {**os.environ, "AMENT_PREFIX_PATH": str(ros), "CMAKE_PREFIX_PATH": str(ros)}
    for command in (configure, ["cmake", "--build", build, "--target", "install"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that a test needed beside it; what it does at its end is not what is tested."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
