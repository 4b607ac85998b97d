"""The names by which users choose a runtime and its arithmetic."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["auto", "openvino", "onnxruntime", "tensorrt"]
# f32: the network's own arithmetic. auto: what the runtime thinks best, which on CPUs with
# bfloat16 units (AMX) means 8 bits of mantissa: faster, but not the same numbers.
Precision = Literal["f32", "auto"]
