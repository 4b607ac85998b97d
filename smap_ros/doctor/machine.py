"""What this machine has of all that smap_ros can use, and how to get the rest.

Each finding stands alone: nothing here raises, whatever is broken on the machine.
"""

from __future__ import annotations

import glob
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smap_ros import __version__
from smap_ros.bundles.bundle import list_bundles, load_bundle
from smap_ros.bundles.manifest.common import ImageManifest
from smap_ros.engines import tensorrt
from smap_ros.engines.cuda import Gpu
from smap_ros.engines.cuda_layers import installed_layer
from smap_ros.engines.factory import available_engines, cpu_name
from smap_ros.errors import SmapError, unexpected
from smap_ros.graph.middleware import fast_dds, middleware_environment, ros_distro

ROS_TIMEOUT = 20.0  # seconds; discovery is not involved, importing is

# Instructions that the runtimes are built around, as the kernel names them.
_CPU_FEATURES = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16",
    "amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve",
)  # fmt: skip

# Run in a process of its own: importing ROS may replace the process, or bring it down.
_ROS_PROBE = """
import importlib, json, os, sys
found = {}
def probe(name, module, detail=lambda module: ""):
    try:
        found[name] = [True, str(detail(importlib.import_module(module)))]
    except BaseException as error:
        found[name] = [False, f"{type(error).__name__}: {error}"]
probe("rclpy", "rclpy")
probe("rmw", "rclpy.utilities", lambda m: m.get_rmw_implementation_identifier())
probe("messages", "smap_ros.msg", lambda m: m.BodyArray.__name__)
for name in sys.argv[1:]:
    probe(name, name + ".msg" if name.endswith("_msgs") else name)
print(json.dumps(found))
"""

# Packages that are used when they are there: for what, and what is missing otherwise.
_OPTIONAL_ROS = {
    "tf2_msgs": ("TF with tf:=true", "no TF is published"),
    "hri_msgs": ("REP-155's /humans/bodies are published", "no REP-155 topics are published"),
    "vision_msgs": ("detections are published", "no detections are published"),
}


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked for.
        ok: whether it is there and usable.
        detail: version, path, or what is wrong.
        hint: how to get it, or what happens without it; empty when there is nothing to do.
        optional: everything works without it.
    """

    name: str
    ok: bool
    detail: str = ""
    hint: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Section:
    """Findings about one subject.

    Attributes:
        title: the subject.
        checks: what was found.
        bad: what a finding is called that isn't ok.
    """

    title: str
    checks: tuple[Check, ...]
    bad: str = "missing"


def report() -> list[Section]:
    """Look at everything; takes about a second. Never raises."""
    subjects: dict[str, Callable[[], list[Check]]] = {
        "Machine": _machine,
        "ROS 2": _ros,
        "Runtimes on the CPU": _runtimes,
        "NVIDIA": _nvidia,
        "Cameras": _cameras,
        "Models": _models,
    }
    return [Section(title, tuple(_guarded(look))) for title, look in subjects.items()]


def render(sections: list[Section]) -> Group:
    """The report for a terminal."""
    parts: list[Table | Text] = []
    for section in sections:
        table = Table(box=None, show_header=False, padding=(0, 1))
        table.add_column(width=7)
        table.add_column(style="bold", min_width=16)
        table.add_column(overflow="fold")
        for check in section.checks:
            if check.ok:
                mark = Text("ok", style="green")
            else:
                mark = Text("-" if check.optional else section.bad, style="yellow")
            hint = (
                "" if check.ok or not check.hint else f"{'; ' if check.detail else ''}{check.hint}"
            )
            table.add_row(mark, check.name, Text(check.detail + hint))
        parts += [Text(section.title, style="bold cyan"), table, Text("")]
    return Group(*parts)


def _guarded(look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except Exception as error:  # a diagnosis must survive whatever it meets
        return [Check(look.__name__.strip("_"), False, f"can't be examined: {unexpected(error)}")]


def _machine() -> list[Check]:
    usable, all_cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    cores = f"{usable} cores" if usable == all_cores else f"{usable} of {all_cores} cores"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [
        Check("smap_ros", True, __version__),
        Check("Python", sys.version_info >= (3, 10), python, "3.10 or newer is needed"),
        Check("CPU", True, f"{cpu_name()}, {cores}, {memory:.0f} GiB memory"),
        Check("CPU features", True, " ".join(cpu_features()) or "none of note"),
        _viewer(),
    ]


def _viewer() -> Check:
    try:
        return Check("viewer", True, f"viser {importlib.metadata.version('viser')}", optional=True)
    except importlib.metadata.PackageNotFoundError:
        hint = "`smap-ros view` needs it: pip install 'smap-ros[view]'"
        return Check("viewer", False, "viser is not installed", hint, optional=True)


def cpu_features() -> tuple[str, ...]:
    """Instructions of this CPU that matter to the runtimes."""
    flags: set[str] = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags |= set(value.split())
    return tuple(name for name in _CPU_FEATURES if name in flags)


def _ros() -> list[Check]:
    found = _probe_ros()
    missing = (False, "not found")
    ok, detail = found.get("rclpy", missing)
    distro = ros_distro(os.environ)
    get_ros = "source /opt/ros/<distro>/setup.bash, or pip install the extra ros (docs/install.md)"
    checks = [
        Check("rclpy", ok, f"ROS 2 {distro or 'of unknown distro'}" if ok else detail, get_ros)
    ]
    for name, hint in {
        "rmw": "install an RMW, ros-jazzy-rmw-fastrtps-cpp for example",
        "messages": "build the package: colcon build, or pip install",
    }.items():
        ok, detail = found.get(name, missing)
        label = "smap_ros messages" if name == "messages" else name
        checks.append(Check(label, ok, "built" if ok and name == "messages" else detail, hint))
    checks.append(_dds_profile())
    for name, (use, otherwise) in _OPTIONAL_ROS.items():
        ok, _ = found.get(name, missing)
        checks.append(Check(name, ok, use if ok else "not installed", otherwise, optional=True))
    return checks


def _probe_ros() -> dict[str, tuple[bool, str]]:
    command = [sys.executable, "-c", _ROS_PROBE, *_OPTIONAL_ROS]
    # The wheels' guard would keep the child from setting up its own library path.
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ROS_TIMEOUT, env=environment,
            check=False,
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        data: Any = json.loads(lines[-1]) if lines else {}
        if data:
            return {name: (bool(ok), str(detail)) for name, (ok, detail) in data.items()}
        return {"rclpy": (False, f"importing it ended Python: {done.stderr.strip()[-200:]}")}
    except subprocess.TimeoutExpired:
        return {"rclpy": (False, f"importing it takes over {ROS_TIMEOUT:.0f} s")}


def _dds_profile() -> Check:
    added = middleware_environment(os.environ)
    variables = [one.variable for one in fast_dds(ros_distro(os.environ))]
    profile = added.get(variables[0])
    if profile is None:
        return Check("DDS profile", True, "your own transport settings are used")
    detail = f"launch files and smap-ros set {' and '.join(variables)} to {profile}"
    return Check("DDS profile", Path(profile).is_file(), detail, "reinstall smap_ros")


def _runtimes() -> list[Check]:
    versions = available_engines()
    checks = []
    for name, describe in (("openvino", _openvino_devices), ("onnxruntime", _ort_providers)):
        if name in versions:
            checks.append(Check(name, True, f"{versions[name]}, {describe()}"))
        else:
            checks.append(Check(name, False, "not installed", f"pip install {name}"))
    return checks


def _openvino_devices() -> str:
    openvino: Any = importlib.import_module("openvino")
    core = openvino.Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    arithmetic = " ".join(c for c in capabilities if c in ("FP32", "BF16", "FP16", "INT8"))
    return f"devices {' '.join(core.available_devices)}, arithmetic {arithmetic}"


def _ort_providers() -> str:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    providers = onnxruntime.get_available_providers()
    return "providers " + " ".join(p.removesuffix("ExecutionProvider") for p in providers)


def _nvidia() -> list[Check]:
    # The first is there on a PC, the second on a Jetson.
    files = [Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release")]
    drivers = [file.read_text().splitlines()[0].strip() for file in files if file.is_file()]
    version = tensorrt.version()
    get_driver = "only needed for engine tensorrt"
    get_tensorrt = "part of JetPack, or pip install tensorrt"
    checks = [
        Check("GPU driver", bool(drivers), drivers[0] if drivers else "none", get_driver, True),
        Check("TensorRT", bool(version), version or "not installed", get_tensorrt, True),
        _cuda_layer(bool(drivers)),
    ]
    try:
        tensorrt.import_tensorrt()
        gpu = Gpu()
        gpu.close()
        facts = gpu.facts
        detail = f"can use {facts.name}, {facts.capability}, {facts.memory / 2**30:.0f} GiB"
        usable = True
    except SmapError as error:
        detail, usable = str(error), False
    checks.append(Check("engine tensorrt", usable, detail, optional=True))
    return checks


def _cuda_layer(driver: bool) -> Check:
    try:
        found = installed_layer().name
        detail = f"{found} talks to the driver" + ("" if driver else " once there is one")
        return Check("CUDA package", True, detail, optional=True)
    except SmapError as error:
        return Check("CUDA package", False, str(error), optional=True)


def _cameras() -> list[Check]:
    checks = []
    for device in sorted(glob.glob("/dev/video*")):
        label = Path("/sys/class/video4linux") / Path(device).name / "name"
        name = label.read_text().strip() if label.is_file() else "unknown device"
        readable = os.access(device, os.R_OK | os.W_OK)
        hint = "no permission: sudo usermod -aG video $USER, then log in again"
        checks.append(Check(device, readable, name, hint))
    if not checks:
        hint = "a video file, a folder of images, a URL or a camera driver's topic work as well"
        checks.append(Check("/dev/video*", False, "no camera is connected", hint, optional=True))
    return checks


def _models() -> list[Check]:
    checks = [_model(name) for name in list_bundles()]
    return checks or [Check("models", False, "none is shipped", "reinstall smap_ros")]


def _model(name: str) -> Check:
    try:
        bundle = load_bundle(name)
    except SmapError as error:
        return Check(name, False, str(error))
    manifest, kind = bundle.manifest, f"{bundle.kind} {bundle.manifest.version}"
    hash_ok = f"sha256 {bundle.model_hash[:12]} as stated"
    if not isinstance(manifest, ImageManifest):
        return Check(name, True, f"{kind}, {hash_ok}")
    spec = manifest.input
    return Check(name, True, f"{kind}, {spec.width}x{spec.height}, {hash_ok}")
