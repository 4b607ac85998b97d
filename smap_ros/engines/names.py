"""The names by which users choose a runtime and its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

MAX_THREADS = 256  # of a network on the CPU

EngineName = Literal["auto", "openvino", "onnxruntime", "tensorrt"]
# How coarse a runtime may compute; one that hasn't an arithmetic takes the next finer one.
# f32: the network's own. tf32: float32 with 10 bits of mantissa where numbers are multiplied, on
# NVIDIA GPUs. f16: the bundle's graph of half precision, there. auto: what the runtime thinks best,
# which on CPUs with bfloat16 units (AMX) means 8 bits of mantissa.
Precision = Literal["f32", "tf32", "f16", "auto"]

# Without that variable CUDA's numbers aren't nvidia-smi's, which go by the PCI bus.
GPU_NUMBER = (
    "number of the GPU as CUDA counts, the fastest first; as nvidia-smi counts where "
    "CUDA_DEVICE_ORDER=PCI_BUS_ID is in the environment"
)


@dataclass(frozen=True)
class GpuOptions:
    """Which GPU, and what TensorRT may take of it.

    Attributes:
        device: its number, see ``GPU_NUMBER``.
        workspace_mb: MiB that a layer may take beside its inputs and outputs.
        progress: is told in words, every second, how far a plan's builder is; by default the log
            is, now and then.
    """

    device: int = 0
    workspace_mb: int = 1024
    progress: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
