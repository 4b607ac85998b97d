"""A bundle whose two looks a network makes one person of."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.errors import InputError
from smap_ros.estimators.checks import manifest_of
from smap_train.export.common import ExportOptions, change_bundle, load_network, provenance_of
from smap_train.export.networks import one_input
from smap_train.export.precision import Part, write_parts
from smap_train.models import entry
from smap_train.models.fusing import Fusing


def export_fusing(checkpoint: Path, bundle: Path, options: ExportOptions) -> tuple[Bundle, float]:
    """Copy a bundle with a second look, with a fusing network behind that.

    Args:
        checkpoint: of model ``fusing``.
        bundle: folder to write.
        options: ``like`` is the bundle whose looks it has learned from; what isn't stated is as
            its manifest says.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if no bundle is named, the checkpoint holds another network, or ONNX and torch
            disagree.
        BundleError: if the bundle is of another kind, or has no second look.
    """
    if options.like is None:
        raise InputError(f"{checkpoint} makes one of a bundle's two looks: name that with --like")
    like = load_bundle(options.like)
    manifest_of(like, SmapManifest)  # or it is refused
    network = load_network(checkpoint, Fusing, "fusing network")
    example = torch.randn(entry("fusing").input_shape, generator=torch.Generator().manual_seed(0))
    stated = {"licence": options.licence, "description": options.description}
    changes: dict[str, Any] = {
        name: text for name, text in stated.items() if text not in ("", "unknown")
    }
    changes["provenance"] = provenance_of(like, options.provenance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuse.onnx"
        part = Part("fusing", one_input(network, example, ("output",), free_batch=True), path)
        error = write_parts([part], options.half, options.half_tolerance)
        return change_bundle(like, changes, bundle, fuse=path), error
