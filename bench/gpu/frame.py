"""A whole frame: picture on the host, letterbox, network, association, people on the host.

The network is TensorRT's where that is there, else torch's CUDA graph of the shipped smap_lite.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.gpu.asking import Asked, Missing, summary
from smap_ros.association import AssociationConfig
from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.camera import Camera
from smap_ros.engines import available_engines
from smap_ros.engines.cuda import Gpu
from smap_ros.engines.factory import open_model
from smap_ros.engines.names import GpuOptions
from smap_ros.estimators.options import SmapConfig
from smap_ros.estimators.smap.device import device_frame
from smap_ros.estimators.smap.lifting import LiftingConfig
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.sources import open_source


class TorchNetwork:
    """The bundle's network in torch, as :class:`smap_ros.association.cuda.frame.GpuNetwork`."""

    name, notes = "tensorrt", ()  # it takes the place of TensorRT's

    def __init__(self, bundle: Bundle, device: int) -> None:
        import torch

        from bench.gpu.networks import OnnxInTorch, captured

        if not torch.cuda.is_available():
            raise Missing("neither TensorRT nor a torch that sees a GPU is there")
        self.gpu = Gpu(device)
        self.stream = self.gpu.stream()
        self._torch_stream = torch.cuda.ExternalStream(int(self.stream))
        spec = bundle.manifest.input  # type: ignore[attr-defined]
        network = OnnxInTorch(bundle.read()).cuda(device)
        image = torch.zeros(spec.shape, device=f"cuda:{device}")
        with torch.inference_mode():
            self._replay, outputs = captured(_Contiguous(network), image)
        torch.cuda.synchronize()
        self._at = {spec.name: image, **dict(zip(network.outputs, outputs, strict=True))}

    def address(self, name: str) -> int:
        """Where an input or output lies."""
        return int(self._at[name].data_ptr())

    def enqueue(self, elsewhere: Mapping[str, int] | None = None) -> None:
        """Start torch's graph in the frame's stream."""
        import torch

        assert not elsewhere
        with torch.cuda.stream(self._torch_stream):
            self._replay()

    def close(self) -> None:
        """Give everything back."""
        self.gpu.close()


class _Contiguous:
    """A network whose outputs lie as the kernels read them."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def __call__(self, image: Any) -> list[Any]:
        return [output.contiguous() for output in self.network(image)]


def ask(asked: Asked) -> None:
    """Milliseconds of a frame as the host sees them, and the bytes of its way."""
    bundle = load_bundle("smap_lite")
    options = GpuOptions(asked.device)
    if "tensorrt" in available_engines():
        network: Any = open_model(bundle.read(), "tensorrt", precision="tf32", gpu=options)
        asked.tell(network="TensorRT, tf32")
    else:
        network = TorchNetwork(bundle, asked.device)
        asked.tell(network="torch, a CUDA graph, float32")
    try:
        _time(asked, bundle, network)
    finally:
        network.close()


def _time(asked: Asked, bundle: Bundle, network: Any) -> None:
    traffic = _counted(network.gpu)
    association = AssociationConfig(stride=bundle.manifest.stride)  # type: ignore[attr-defined]
    config = SmapConfig(association="cuda", necks=False)
    frame = device_frame(
        bundle.manifest, network, config, association, LiftingConfig(stride=association.stride),  # type: ignore[arg-type]
        False,
    )  # fmt: skip
    assert frame is not None
    shown = next(iter(open_source("config/demo/clip.mp4")))
    image = shown.image
    camera = Camera.for_image(image, fov_deg=60, pixel_aspect=shown.pixel_aspect)
    spec = bundle.manifest.input  # type: ignore[attr-defined]
    letterbox = Letterbox(camera.width, camera.height, spec.width, spec.height, spec.resize)
    for name in traffic:
        traffic[name] = 0
    block = frame.run(image, letterbox)  # with one plain frame, and one that is captured
    people, copies = int(block["people"]), 1 if network.notes else 2
    asked.tell(people=people, notes=list(network.notes))
    asked.tell(bytes_down=traffic["down"] // copies)
    spent = []
    for _ in range(asked.count(1000)):
        began = time.perf_counter()
        frame.run(image, letterbox)
        spent.append((time.perf_counter() - began) * 1e3)
    asked.tell(ms=summary(spent), image=[camera.width, camera.height])


def _counted(gpu: Gpu) -> dict[str, int]:
    """Counts the bytes of copies from now on, also of those that are captured."""
    traffic = {"up": 0, "down": 0}
    upload, download = gpu.upload, gpu.download

    def up(address: int, array: np.ndarray, stream: Any) -> None:
        traffic["up"] += array.nbytes
        upload(address, array, stream)

    def down(array: np.ndarray, address: int, stream: Any) -> None:
        traffic["down"] += array.nbytes
        download(array, address, stream)

    gpu.upload, gpu.download = up, down  # type: ignore[method-assign]
    return traffic
