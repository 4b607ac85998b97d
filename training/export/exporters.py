"""Who makes a bundle of which network, and what may be asked for; a new exporter adds a line."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from smap_ros.bundles.bundle import Bundle
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators.persons.second_stage import first_stage_bundle
from smap_train.export.common import Exporter, ExportOptions
from smap_train.export.fusing import export_fusing
from smap_train.export.maed import export_video_kind
from smap_train.export.mesh import export_mesh_kind
from smap_train.export.refining import export_refined_kind
from smap_train.export.smap import export_smap_kind
from smap_train.export.smoother import export_smoother_kind
from smap_train.export.topdown import export_topdown_kind
from smap_train.export.virtualpose import export_virtualpose_kind
from smap_train.models.checkpoint import load_checkpoint

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """An exporter, and which of the options that not all have it takes."""

    export: Exporter
    takes: tuple[str, ...] = ()


EXPORTERS: dict[str, Entry] = {
    "smap": Entry(export_smap_kind, ("refine", "like")),
    "smap_lite": Entry(export_smap_kind, ("refine", "like")),
    "refinenet": Entry(export_refined_kind, ("like",)),
    "fusing": Entry(export_fusing, ("like",)),
    "virtualpose": Entry(export_virtualpose_kind, ("backbone",)),
    "virtualpose_lite": Entry(export_virtualpose_kind, ("backbone",)),
    "mobilehuman": Entry(export_topdown_kind, ("settings",)),
    "smoother": Entry(export_smoother_kind, ("settings",)),
    "crowdnet": Entry(export_mesh_kind, ("smpl", "settings")),
    "hap_crowdnet": Entry(export_mesh_kind, ("smpl", "settings")),
    "maed": Entry(export_video_kind, ("smpl", "settings")),
}
# As the command line has them.
_WORDS = {
    "refine": "--refine", "like": "--like", "backbone": "--backbone", "settings": "--set",
    "smpl": "--smpl",
}  # fmt: skip


def export(checkpoint: Path, bundle: Path, options: ExportOptions) -> tuple[Bundle, float]:
    """Make a bundle of a checkpoint; ONNX is compared with torch before anything is written.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the network is a part of bundles alone, an option is of no use for it, or
            as its exporter says.
    """
    model = load_checkpoint(checkpoint)["model"]
    if model not in EXPORTERS:
        raise InputError(
            f"{checkpoint} holds {model!r}; bundles can be made of {', '.join(EXPORTERS)}"
        )
    chosen = EXPORTERS[model]
    for name, word in _WORDS.items():
        if getattr(options, name) and name not in chosen.takes:
            takers = ", ".join(known for known, entry in EXPORTERS.items() if name in entry.takes)
            raise InputError(f"{word} is of no use for a {model}; leave it out (for: {takers})")
    made, error = chosen.export(checkpoint, bundle, options)
    _tell_of_first_stage(made)
    return made, error


def _tell_of_first_stage(bundle: Bundle) -> None:
    """Warn of a bundle that needs another one to find the people, where there is none yet."""
    name = getattr(bundle.manifest, "first_stage", None)
    if name is None:
        return
    try:
        first_stage_bundle(bundle, name, None)
    except BundleError as error:
        LOG.warning(
            "%s finds nobody until bundle %s, its first_stage, lies beside it: %s",
            bundle.folder, name, error,
        )  # fmt: skip
