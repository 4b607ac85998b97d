"""Compares what our engine uses of TensorRT with NVIDIA's own Python bindings, several versions.

    python .ci/bindings.py [VERSION ...]

The bindings (1.2 MB each, from PyPI) are imported over libraries that are empty but for nine
functions: classes, enums and methods are the real ones then, without a GPU and without TensorRT.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ("10.0.1", "10.3.0", "10.13.0.35", "10.16.1.11", "11.0.0.114", "11.4.0.106")
STAND_IN = Path(__file__).parents[1] / "tests/engines/cuda/stand_in/tensorrt.py"
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL", "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getPluginRegistry",
    "getBuilderPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins",
)  # fmt: skip
OURS = {"session", "model", "error", "flags", "profile", "workspace", "cache", "taken", "shapes"}

# Runs in a process of its own: what the stand-in has, and whether the bindings have it too.
COMPARE = """
import ast, sys, tensorrt_bindings as real
ours = set(sys.argv[2].split(","))
missing = []
for node in ast.parse(open(sys.argv[1]).read()).body:
    name = getattr(node, "name", "_")
    if name.startswith("_"):
        continue
    if name == "Severity":
        continue
    if not hasattr(real, name):
        missing.append(name)
        continue
    for part in getattr(node, "body", ()) if isinstance(node, ast.ClassDef) else ():
        names = [part.name] if isinstance(part, ast.FunctionDef) else []
        if isinstance(part, ast.Assign):
            for target in part.targets:
                names += [t.id for t in getattr(target, "elts", [target])]
        for method in names:
            if not method.startswith("_") and method not in ours:
                if not hasattr(getattr(real, name), method):
                    missing.append(f"{name}.{method}")
print(real.__version__, "lacks " + ", ".join(missing) if missing else "has everything")
sys.exit(bool(missing))
"""


def compare(version: str, folder: Path) -> bool:
    """Get one version's bindings and compare; whether they have everything."""
    major = version.split(".", maxsplit=1)[0]
    cuda = "cu12" if tuple(map(int, version.split(".")[:2])) < (10, 16) else "cu13"
    package = f"tensorrt-{cuda}-bindings=={version}"
    target = folder / version
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target]
    subprocess.run([*pip, package], check=True, stderr=subprocess.DEVNULL)
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for library in LIBRARIES:
        name = f"{library}.so.{major}"
        flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}"]
        subprocess.run(["gcc", *flags, source, "-o", target / name], check=True)
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, STAND_IN, ",".join(OURS)],
        env={"PYTHONPATH": str(target), "LD_LIBRARY_PATH": str(target), "PATH": "/usr/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    words = done.stdout.strip() or re.sub(r"\s+", " ", done.stderr)[-300:]
    sys.stdout.write(f"{package}: {words}\n")
    return done.returncode == 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = [compare(version, Path(name)) for version in sys.argv[1:] or VERSIONS]
    sys.exit(not all(found))
