"""Prints the exact versions of everything installed in this environment, as pip constraints.

The ROS wheels carry a second, nested description of each message package (``sensor_msgs`` beside
``ros-sensor-msgs``), which pip doesn't install by itself: only what pip has installed is listed.
What isn't installed here (Ray, or what PyPI's torch brings for GPUs) keeps the pin that it has.
"""

import sys
from importlib.metadata import distributions
from pathlib import Path

HEADER = """\
# Exact versions that the package is tested with; `make lock` writes this file from .venv.
# Local version labels (2.13.0+cpu) are left out: they name a build, not a version.
"""
LOCAL = {"smap-ros"}


def main() -> None:
    """Write the constraints to standard output."""
    installed = {
        distribution.name: distribution.version.split("+")[0]
        for distribution in distributions()
        if distribution.read_text("INSTALLER") and distribution.name not in LOCAL
    }
    before = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in before if line and not line.startswith("#"))
    known = {name.lower() for name in installed}
    pins = {name: version for name, version in pins.items() if name.lower() not in known}
    pins |= installed
    lines = [f"{name}=={pins[name]}" for name in sorted(pins, key=str.lower)]
    sys.stdout.write(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
