"""`smap-train export`: a checkpoint becomes a bundle that engines load, checked against torch."""

from smap_train.export.command import run
from smap_train.export.common import ExportOptions
from smap_train.export.maed import export_video_kind
from smap_train.export.mesh import export_mesh_kind
from smap_train.export.networks import compare, one_input
from smap_train.export.smap import export_smap_kind
from smap_train.export.topdown import export_topdown_kind
from smap_train.export.virtualpose import export_virtualpose_kind

__all__ = [
    "ExportOptions",
    "compare",
    "export_mesh_kind",
    "export_smap_kind",
    "export_topdown_kind",
    "export_video_kind",
    "export_virtualpose_kind",
    "one_input",
    "run",
]
