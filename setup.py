"""Builds the ROS messages for pip; everything declarative is in pyproject.toml.

``CMakeLists.txt`` is the one build of this package. colcon runs it and ignores this file; pip
comes through here: the same CMake project is built and installed into a staging folder, and the
parts that a Python environment needs are handed to setuptools.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from setuptools import Distribution, Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
# Of editable installs, a module that Python imports as it starts: setuptools' finder is asked last,
# so where somebody stands beside a checkout that is called smap_ros, the checkout itself would be
# taken for it, an empty package.
FOUND_FIRST = """\
import sys
from importlib.machinery import PathFinder


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        found = PathFinder.find_spec(name, path) if name == "smap_ros" else None
        if found is None or found.origin is not None:
            return None  # there is a package, such as colcon's or another checkout's on PYTHONPATH
        for finder in sys.meta_path:
            if "__editable___smap_ros_" in str(getattr(finder, "__module__", "")):
                return finder.find_spec(name, path, target)
        return None


sys.meta_path.insert(0, Finder)
"""
# Of use only to C++ packages and shell set-up scripts, which a pip environment doesn't serve.
UNUSED_SHARE = ("cmake", "environment", "hook", "local_setup.*", "package.*sh", "package.dsv")


class BuildMessages(build_ext):
    """Runs CMake and collects the generated Python package, libraries and shared files."""

    def run(self) -> None:
        staging = self._install_with_cmake()
        package = ROOT if self.editable_mode else Path(self.build_lib)
        self._copy_generated_package(staging, package / "smap_ros")
        self._add_data_files(staging)

    def get_outputs(self) -> list[str]:
        return [] if self.editable_mode else [str(path) for path in self._generated]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return ["CMakeLists.txt", "package.xml", *map(str, Path("msg").glob("*.msg"))]

    def _install_with_cmake(self) -> Path:
        """Builds in setuptools' own build folder and returns the staging folder."""
        adapter = find_spec("rosidl_adapter")
        if adapter is None or adapter.origin is None:
            raise SystemExit(
                "smap_ros: the ROS message generators are not installed in the environment that "
                "builds the package. pip installs them by itself; with --no-build-isolation "
                'install the [build-system] "requires" of pyproject.toml first. Beside a ROS '
                "installation build with colcon instead."
            )
        prefix = Path(adapter.origin).parents[4]
        # The wheels carry no set-up script; without AMENT_PREFIX_PATH no typesupport is found.
        environment = dict(os.environ, AMENT_PREFIX_PATH=str(prefix), CMAKE_PREFIX_PATH=str(prefix))
        build = Path(self.build_temp).resolve() / "cmake"
        staging = build.with_name("staging")
        shutil.rmtree(build, ignore_errors=True)
        shutil.rmtree(staging, ignore_errors=True)
        build.mkdir(parents=True)
        configure = [
            *("cmake", "-G", "Ninja", "-S", ROOT, "-B", build),
            f"-DCMAKE_INSTALL_PREFIX={staging}",
            f"-DPython3_EXECUTABLE={sys.executable}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_SKIP_RPATH=ON",  # no path of the build machine in the libraries
            "-DBUILD_TESTING=OFF",
        ]
        for command in (configure, ["cmake", "--build", build, "--target", "install"]):
            subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        return staging

    def _copy_generated_package(self, staging: Path, package: Path) -> None:
        """Copies ``smap_ros.msg`` and its extension modules into the Python package."""
        generated = next(staging.glob("**/smap_ros/msg/__init__.py")).parent
        shutil.rmtree(package / "msg", ignore_errors=True)
        shutil.copytree(
            generated, package / "msg", ignore=shutil.ignore_patterns("*.c", "__pycache__")
        )
        self._generated = [path for path in (package / "msg").rglob("*") if path.is_file()]
        for stale in package.glob("smap_ros_s__*.so"):
            stale.unlink()
        for module in generated.parent.glob("smap_ros_s__*.so"):
            self._generated.append(Path(shutil.copy2(module, package)))

    def _add_data_files(self, staging: Path) -> None:
        """Registers ``lib`` and ``share`` of the staging folder for the environment's prefix."""
        share = staging / "share" / "smap_ros"
        for pattern in UNUSED_SHARE:
            for path in share.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        # It lists where the build machine's ROS is.
        shutil.rmtree(staging / "share/ament_index/resource_index/parent_prefix_path")
        files = [*staging.glob("lib/lib*.so"), *staging.glob("lib/smap_ros/*")]
        if self.editable_mode:
            site_packages = staging / sysconfig.get_path("purelib", vars={"base": "."})
            site_packages.mkdir(parents=True, exist_ok=True)
            first = site_packages / "smap_ros_found_first.py"
            first.write_text(FOUND_FIRST)
            first.with_suffix(".pth").write_text(f"import {first.stem}\n")
            files += [first, first.with_suffix(".pth")]
        files += [path for path in (staging / "share").rglob("*") if path.is_file()]
        for path in files:
            folder = str(path.parent.relative_to(staging))
            self.distribution.data_files.append((folder, [str(path)]))


class EditableWithDataFiles(Distribution):
    """Makes editable installs install the data files too; setuptools skips them otherwise."""

    def has_data(self) -> bool:
        return bool(self.has_data_files())


def packages() -> list[str]:
    """Those of the runtime, and the folder ``training`` under a name fit for site-packages."""
    runtime = find_packages(include=["smap_ros*"], exclude=["smap_ros.msg*"])  # generated below
    training = find_packages(include=["training*"])
    return [*runtime, *(name.replace("training", "smap_train", 1) for name in training)]


setup(
    packages=packages(),
    package_dir={"smap_train": "training"},
    distclass=EditableWithDataFiles,
    cmdclass={"build_ext": BuildMessages},
    # Without sources: its presence makes setuptools run build_ext and tag the wheel by platform.
    ext_modules=[Extension("smap_ros.msg", sources=[])],
    data_files=[],  # extended in place by BuildMessages
)
