"""TensorRT 10 and 11 on an NVIDIA GPU.

A plan only fits the GPU and the TensorRT that built it, and loading one runs what is in it. So
plans are built here, from the bundle's checked ONNX file, by a process of their own (``builder``),
kept in the cache folder (``plans``), and run by ``engine``.
"""

from smap_ros.engines.tensorrt.engine import TensorRtEngine, import_tensorrt, version

__all__ = ["TensorRtEngine", "import_tensorrt", "version"]
