"""The protocol all inference runtimes meet, and the checks they share."""

from __future__ import annotations

import importlib
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from smap_ros.engines.names import MAX_THREADS
from smap_ros.errors import EngineError, InputError
from smap_ros.stopping import held

Array = NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a network.

    Attributes:
        name: name in the ONNX file.
        shape: sizes; None where the network takes any.
        dtype: numpy name of the type of its elements, ``float32`` for example.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether an array of that shape fits."""
        return len(shape) == len(self.shape) and all(
            want in (None, got) for want, got in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{sizes}]"


class Engine(Protocol):
    """A network loaded by a runtime, warm and ready.

    Not thread-safe: one caller at a time.

    Attributes:
        notes: engines that would have been taken before, and why each can't be.
    """

    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the runtime, as ``create_engine`` takes it."""

    @property
    def device(self) -> str:
        """What it runs on, for people to read."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The network's inputs."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The network's outputs."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network.

        Args:
            inputs: name -> array, exactly the network's inputs.

        Returns:
            name -> array. They may be the runtime's own memory: valid until the next ``run``.

        Raises:
            InputError: if an input is missing, unknown, or of a wrong shape or type.
            EngineError: if the runtime fails or the engine is closed.
        """

    def close(self) -> None:
        """Release the network and its device memory; harmless when done twice."""


class CpuEngine(ABC):
    """What the engines on a CPU have in common; see ``Engine``.

    A subclass loads the network into ``handle``, sets ``device``, ``inputs`` and ``outputs``,
    and runs it once.
    """

    name: ClassVar[str]
    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    handle: Any  # the runtime's own object; None when closed
    notes: tuple[str, ...] = ()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See :meth:`Engine.run`."""
        if self.handle is None:
            raise EngineError("the engine is closed; create a new one")
        check_inputs(self.inputs, inputs)
        try:
            return self._infer(dict(inputs))
        except Exception as error:  # runtimes raise classes of their own
            raise EngineError(f"{self.name} failed to run the network: {error}") from error

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        self.handle = None

    def _warm_up(self) -> None:
        """Run once: the first run allocates and packs weights.

        Not where sizes of pictures are free: what any size is, only the manifest knows, and
        networks of convolutions refuse pictures of one pixel.
        """
        if all(None not in spec.shape[1:] for spec in self.inputs):
            self.run(zeros(self.inputs))

    @abstractmethod
    def _infer(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Run the network on inputs that fit."""


def import_runtime(name: str) -> Any:
    """The Python module of a runtime.

    Raises:
        EngineError: if it isn't installed, saying how to get it.
    """
    try:
        return load_runtime(name)
    except (ImportError, OSError) as error:
        raise EngineError(f"{name} is not importable ({error}); pip install {name}") from error


def runtime_version(name: str) -> str | None:
    """Version of a runtime's Python module, or None where it isn't installed."""
    try:
        return str(load_runtime(name).__version__)
    except (ImportError, OSError):
        return None


def load_runtime(name: str) -> Any:
    """Import a runtime's Python module.

    Raises:
        ImportError: if it isn't installed. A folder of that name, such as pip leaves behind or
            somebody's sources, can be imported as well, but is nothing.
        OSError: if a library that it needs is missing.
    """
    with held():  # a signal would make it look as if it weren't there
        module = importlib.import_module(name)
    if not hasattr(module, "__version__"):
        places = ", ".join(getattr(module, "__path__", ()))
        raise ImportError(f"there is only a folder of that name, {places}, with nothing in it")
    return module


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> None:
    """Refuse inputs that don't fit a network, before a runtime fails on them obscurely.

    Raises:
        InputError: saying what was got and what is expected.
    """
    expected = "; ".join(str(spec) for spec in specs)
    if set(inputs) != {spec.name for spec in specs}:
        raise InputError(f"network inputs are {sorted(inputs)}; expected {expected}")
    for spec in specs:
        array = inputs[spec.name]
        if array.dtype != np.dtype(spec.dtype) or not spec.accepts(array.shape):
            raise InputError(
                f"network input {spec.name!r} is {array.dtype}{list(array.shape)}; expected {spec}"
            )


def zeros(
    specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Array]:
    """All-zero inputs for a network.

    Args:
        specs: of its inputs.
        shapes: of the inputs, where known; else any size counts as 1.

    Raises:
        EngineError: if there is no memory for them.
    """
    known = shapes or {}
    sizes = {s.name: known.get(s.name, [1 if n is None else n for n in s.shape]) for s in specs}
    try:
        return {spec.name: np.zeros(sizes[spec.name], spec.dtype) for spec in specs}
    except (MemoryError, ValueError) as error:  # ValueError: more than could be counted
        named = "; ".join(map(str, specs))
        raise EngineError(f"the network's inputs ({named}) are too large: {error}") from error


def tensor_type(name: str, kind: str, types: Mapping[str, str]) -> str:
    """The type of an input or output, by numpy's name.

    Args:
        name: of the input or output.
        kind: its type in the runtime's words.
        types: numpy's names by the runtime's.

    Raises:
        EngineError: if numpy has no such type.
    """
    if kind not in types:
        raise EngineError(
            f"the network's {name!r} is {kind}, which numpy doesn't have; export the network with "
            "float32 inputs and outputs"
        )
    return types[kind]


def thread_count(threads: int) -> int:
    """Number of threads to use: as asked, or all cores this process may run on when 0.

    Raises:
        EngineError: if it is no number of threads.
    """
    try:
        count = -1 if isinstance(threads, bool) else operator.index(threads)
    except TypeError:
        count = -1
    if not 0 <= count <= MAX_THREADS:
        raise EngineError(
            f"threads is {threads!r}; expected 0 (all cores) or a whole number up to {MAX_THREADS}"
        )
    # The affinity, unlike the number of cores, respects taskset and cpusets of containers.
    return count or len(os.sched_getaffinity(0))


def cpu_device(threads: int) -> str:
    """How an engine on the CPU describes its device."""
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"
