"""Plans kept in the cache folder: whose they are, and that they are the ones that were built."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smap_ros.engines.cuda import GpuFacts
from smap_ros.engines.kept import ours, write_atomically
from smap_ros.errors import EngineError
from smap_ros.paths import cache_directory

log = logging.getLogger(__name__)

_WAIT = 1.0  # seconds between looks whether another process has built a plan


@dataclass(frozen=True)
class PlanKey:
    """What a plan is for. Any other value of any of these makes another plan.

    Attributes:
        model: sha256 of the ONNX file.
        tensorrt: version that built it.
        gpu, capability, processors, memory: of the GPU; Jetsons share a name, and slices of one
            card differ in processors and memory.
        driver: major CUDA version of the driver.
        flags: how it was built.
    """

    model: str
    tensorrt: str
    gpu: str
    capability: str
    processors: int
    memory: int
    driver: str
    flags: str

    @classmethod
    def of(cls, model: bytes, tensorrt: str, gpu: GpuFacts, flags: str) -> PlanKey:
        """The key of an ONNX file on this machine."""
        return cls(
            hashlib.sha256(model).hexdigest(),
            tensorrt,
            gpu.name,
            gpu.capability,
            gpu.processors,
            gpu.memory,
            gpu.driver.split(".")[0],
            flags,
        )

    @property
    def path(self) -> Path:
        """Where the plan is kept."""
        return plan_folder() / f"{_digest(asdict(self))}.plan"

    @property
    def timing_path(self) -> Path:
        """Where the builder keeps what it measured, for all networks on this GPU."""
        facts = {k: v for k, v in asdict(self).items() if k not in ("model", "flags")}
        return plan_folder() / f"{_digest(facts)}.timing"


def plan_folder() -> Path:
    """The folder of all plans.

    Raises:
        OSError: if there is no cache folder.
    """
    return cache_directory() / "tensorrt"


def load_plan(key: PlanKey) -> bytes | None:
    """The plan built earlier on this machine, or None when there is none to be trusted."""
    try:
        path = key.path
        with path.open("rb") as file:
            if not ours(file):
                log.warning("ignoring the plan %s: others than you may have written it", path)
                return None
            plan = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("plans can't be read: %s", error)
        return None
    try:
        facts = side_car(key)
        expected = facts["plan_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("ignoring the plan %s, its side-car is unusable (%r)", path, error)
        return None
    if hashlib.sha256(plan).hexdigest() != expected:
        log.warning("ignoring the plan %s: it is not the one that was built here", path)
        return None
    if any(facts.get(name) != value for name, value in asdict(key).items()):
        log.warning("ignoring the plan %s: it was built for something else", path)
        return None
    return plan


def side_car(key: PlanKey) -> dict[str, Any]:
    """What is noted of a plan.

    Raises:
        OSError, ValueError, TypeError: if it is missing or not what was written.
    """
    data = json.loads(key.path.with_suffix(".json").read_text())
    if not isinstance(data, dict):
        raise TypeError(f"the side-car holds {type(data).__name__}")
    return data


def save_plan(plan: bytes, key: PlanKey, **notes: Any) -> Path:
    """Keep a plan with its side-car, either all of it or nothing; returns where.

    Raises:
        OSError: if it can't be kept.
    """
    path = key.path
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"plan_sha256": hashlib.sha256(plan).hexdigest(), **asdict(key), **notes}
    # The side-car first: a plan beside another's side-car is refused, and built anew.
    write_atomically(path.with_suffix(".json"), json.dumps(facts, indent=1).encode())
    write_atomically(path, plan)
    return path


def note(key: PlanKey, **notes: Any) -> None:
    """Add to what is noted of a plan; without one nothing happens."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        facts = {**side_car(key), **notes}
        write_atomically(key.path.with_suffix(".json"), json.dumps(facts, indent=1).encode())


def noted(key: PlanKey, name: str) -> Any:
    """What was noted of a plan; None if nothing was."""
    try:
        return side_car(key).get(name)
    except (OSError, ValueError, TypeError):
        return None


def forget_plan(key: PlanKey) -> None:
    """Delete a plan and its side-car."""
    with contextlib.suppress(OSError):
        for suffix in (".plan", ".json"):
            key.path.with_suffix(suffix).unlink(missing_ok=True)


def clean_plans() -> tuple[int, int]:
    """Delete everything that was kept; how many plans, and how many bytes in all.

    Raises:
        EngineError: if a file can't be deleted.
    """
    plans = size = 0
    try:
        files = sorted(plan_folder().iterdir())
    except OSError:
        return 0, 0
    for path in files:
        try:
            taken = path.lstat().st_size
            path.unlink()
        except (FileNotFoundError, IsADirectoryError):  # another process may be at work here
            continue
        except OSError as error:
            raise EngineError(f"can't delete {path}: {error.strerror or error}") from error
        plans, size = plans + (path.suffix == ".plan"), size + taken
    return plans, size


@contextlib.contextmanager
def only_one(key: PlanKey, progress: Callable[[str], None] | None = None) -> Iterator[None]:
    """Held by one process at a time: two nodes that start together build a plan once.

    The lock goes with the process that holds it, however that ends. Where there can be none (no
    cache folder, a network's file system without locks) nobody waits, and both build.

    Args:
        key: of the plan.
        progress: is told in words, every second, that another process is waited for.
    """
    with contextlib.ExitStack() as held:
        try:
            path = key.path.with_suffix(".lock")
            path.parent.mkdir(parents=True, exist_ok=True)
            _wait_for_lock(held.enter_context(path.open("w")).fileno(), progress)
        except OSError as error:
            log.warning("plans may be built twice, or at every start: no lock (%s)", error)
        yield


def _wait_for_lock(file: int, progress: Callable[[str], None] | None) -> None:
    waited = 0.0
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            words = "another process is building this TensorRT plan"
        if not waited:
            log.warning("%s; it is waited for", words)
        if progress is not None:
            progress(f"{words}, waiting for {waited:.0f} s")
        time.sleep(_WAIT)
        waited += _WAIT


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
