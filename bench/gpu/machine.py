"""What the machine is, and its ceilings: nothing can be faster than these."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np

from bench.gpu.asking import Asked, event_times_us
from smap_ros.engines.cuda import Gpu


def ask(asked: Asked) -> None:
    """``nvidia-smi``, copies between host and device, copies on the device, products in bf16."""
    command = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,clocks.sm,power.limit,mig.mode.current",
    ]
    if shutil.which(command[0]):
        done = subprocess.run(
            [*command, "--format=csv"], capture_output=True, text=True, check=False
        )
        asked.tell(nvidia_smi=done.stdout.strip().splitlines())
    gpu = Gpu(asked.device)
    try:
        _copies(asked, gpu)
    finally:
        gpu.close()
    _torch_ceilings(asked)


def _copies(asked: Asked, gpu: Gpu) -> None:
    """GB/s between host and device, with pinned and with pageable memory."""
    stream, size = gpu.stream(), 1 << (20 if asked.dry else 28)
    address = gpu.memory(size)
    for kind, host in (
        ("pinned", gpu.pinned((size,), np.uint8)),
        ("pageable", np.ones(size, np.uint8)),
    ):
        for way, copy in (
            ("up", lambda host=host: gpu.upload(address, host, stream)),
            ("down", lambda host=host: gpu.download(host, address, stream)),
        ):
            spent = event_times_us(gpu, stream, copy, asked.count(10))["median"]
            asked.tell(copies_gb_s={f"{kind} {way}": size / 1e3 / max(spent, 1e-3)})


def _torch_ceilings(asked: Asked) -> None:
    """GB/s of a copy of 4 GB on the device (read and written), TFLOP/s of 8192^3 in bf16."""
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        return
    from bench.gpu.networks import cuda_times_us

    a = torch.empty(1 << (20 if asked.dry else 31), dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    spent = cuda_times_us(lambda: b.copy_(a), asked.count(10))["median"]
    asked.tell(device_copy_gb_s=2 * a.numel() / 1e3 / spent)
    n = 8192
    x = torch.randn(n, n, dtype=torch.bfloat16, device="cuda")
    y = torch.randn(n, n, dtype=torch.bfloat16, device="cuda")
    spent = cuda_times_us(lambda: x @ y, asked.count(20))["median"]
    asked.tell(bf16_tflop_s=2 * n**3 / 1e6 / spent)
