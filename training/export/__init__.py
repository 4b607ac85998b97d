"""`smap-train export`: a checkpoint becomes a bundle that engines load, checked against torch."""

from training.export.command import run
from training.export.maed import export_video_kind
from training.export.mesh import export_mesh_kind
from training.export.networks import compare, to_onnx
from training.export.smap import export_smap_kind
from training.export.topdown import export_topdown_kind
from training.export.virtualpose import export_virtualpose_kind

__all__ = [
    "compare",
    "export_mesh_kind",
    "export_smap_kind",
    "export_topdown_kind",
    "export_video_kind",
    "export_virtualpose_kind",
    "run",
    "to_onnx",
]
