"""What exporters of several kinds do alike: reading a network, examples, facts for the manifest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from smap_train.models.checkpoint import load_model

IMAGENET_RGB = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

Network = TypeVar("Network", bound=nn.Module)


def _unknown() -> dict[str, Any]:
    return {"data": "unknown", "command": "unknown", "commit": "unknown"}


@dataclass(frozen=True)
class ExportOptions:
    """What an exporter is told beside the weights.

    Which of the later ones an exporter takes is in :mod:`smap_train.export.exporters`.

    Attributes:
        half: store weights as fp16.
        half_tolerance: how far outputs may move by that, as a share of their range; by default
            as measured for each network.
        provenance: of the weights, for the manifest.
        licence: of the weights.
        description: a line.
        refine: weights of a RefineNet that goes with a network of kind ``smap``.
        like: bundle whose further networks, and what was measured and chosen for it, go with the
            new weights.
        backbone: weights, or a bundle, of the network that sees the picture.
        smpl: folder of the user's own body files.
        stand_in: without those, put in the stand-in that training without a body uses.
        settings: of the bundle's kind, where they differ from their defaults.
    """

    half: bool = False
    half_tolerance: float | None = None
    provenance: dict[str, Any] = field(default_factory=_unknown)
    licence: str = "unknown"
    description: str = ""
    refine: Path | None = None
    like: str | None = None
    backbone: Path | None = None
    smpl: Path | None = None
    stand_in: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What a manifest says beside what network and settings determine."""
        return {
            "description": self.description,
            "precision": "fp16" if self.half else "fp32",
            "licence": self.licence,
            "provenance": self.provenance,
        }


# Checkpoint, folder to write, options -> the bundle, and the largest relative difference between
# ONNX Runtime and torch.
Exporter: TypeAlias = Callable[[Path, Path, ExportOptions], tuple[Bundle, float]]


def change_bundle(
    bundle: Bundle,
    changes: Mapping[str, Any],
    folder: Path | None = None,
    without: Collection[str] = (),
    **files: Path,
) -> Bundle:
    """Rewrite a bundle where it is, or elsewhere under another name.

    Args:
        bundle: as loaded.
        changes: fields of its manifest.
        folder: where it goes; by default where it is.
        without: roles of networks that it loses.
        files: further networks, or other ones, by role.
    """
    fields = bundle.manifest.model_dump(mode="json", exclude_none=True)
    del fields["files"]
    entries = bundle.manifest.files.entries
    old = {role: bundle.folder / file.path for role, file in entries.items() if role not in without}
    if folder is not None:
        fields["name"] = folder.resolve().name
    return write_bundle(folder or bundle.folder, {**fields, **changes}, **{**old, **files})


def provenance_of(like: Bundle, stated: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Origin of a bundle that is made of another one.

    Args:
        like: the other one.
        stated: what counts instead of its own, where it is known.

    Returns:
        As the manifest has it. Numbers are those stated: the other one's were measured of another
        bundle.
    """
    old = like.manifest.provenance.model_dump(mode="json", exclude_none=True)
    old.pop("metrics", None)
    known = {name: value for name, value in (stated or {}).items() if value not in ("", "unknown")}
    return {**old, **known}


def load_network(checkpoint: Path, kind: type[Network], expected: str = "") -> Network:
    """The network of a checkpoint, in eval mode.

    Args:
        checkpoint: its file.
        kind: of network that an exporter takes.
        expected: what to call those for people; by default by the name of ``kind``.

    Raises:
        InputError: if it holds another network.
    """
    network = load_model(checkpoint)
    if not isinstance(network, kind):
        raise InputError(
            f"{checkpoint} holds a {type(network).__name__}; expected a {expected or kind.__name__}"
        )
    return network


def random_crops(count: int, size: int, pixel_range: int = 1) -> Tensor:
    """Random images, normalised as ImageNet's, float32 [count, 3, size, size].

    ``pixel_range`` as in ``smap_ros.bundles.manifest.common.CropInput``.
    """
    seeded = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 3, size, size, generator=seeded) * pixel_range
    mean, std = (torch.tensor(IMAGENET_RGB[key])[:, None, None] for key in ("mean", "std"))
    return (pixels - mean) / std
