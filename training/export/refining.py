"""A bundle with another refining network than it has, or its first one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from smap_ros.bundles.bundle import Bundle, load_bundle, write_bundle
from smap_ros.errors import InputError
from smap_train.export.common import ExportOptions, load_network, provenance_of
from smap_train.export.precision import Part, write_parts
from smap_train.export.smap import further_networks, refine_export, refine_facts
from smap_train.models.refinenet import RefineNet


def export_refined_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Copy a bundle of kind ``smap``, with a new refining network and without a fusing one.

    Args:
        checkpoint: of model ``refinenet``.
        bundle: folder to write.
        options: ``like`` is the bundle whose people the network refines; what isn't stated is as
            its manifest says, but for its measured numbers.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if no bundle is named or it is of another kind, the checkpoint holds another
            network, or ONNX and torch disagree.
    """
    if options.like is None:
        raise InputError(
            f"{checkpoint} refines the people of a bundle: name that with --like, or export the "
            f"weights of its network with --refine {checkpoint}"
        )
    like = load_bundle(options.like)
    if like.kind != "smap":
        raise InputError(f"bundle {like.name} is of kind {like.kind}; expected one of kind smap")
    network = load_network(checkpoint, RefineNet, "refinenet")
    manifest = like.manifest.model_dump(mode="json", exclude_none=True)
    del manifest["files"]
    manifest |= {"name": bundle.name, **refine_facts(network)}
    stated = {"licence": options.licence, "description": options.description}
    manifest |= {name: text for name, text in stated.items() if text not in ("", "unknown")}
    manifest["provenance"] = provenance_of(like, options.provenance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "refine.onnx"
        error = write_parts(
            [Part("refinenet", refine_export(network), path)], options.half, options.half_tolerance
        )
        # A fusing network has learned from what the old one made of people.
        kept = [role for role in like.manifest.files.entries if role != "fuse"]
        others = further_networks(like, Path(folder), kept)
        return write_bundle(bundle, manifest, **{**others, "refine": path}), error
