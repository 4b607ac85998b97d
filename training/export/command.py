"""The command line of the export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError, reason
from smap_train.convert import TWO_FILES
from smap_train.export.half_graph import add_half_graph
from smap_train.export.maed import export_video_kind
from smap_train.export.mesh import export_mesh_kind
from smap_train.export.smap import export_smap_kind
from smap_train.export.smoother import export_smoother_kind
from smap_train.export.topdown import export_topdown_kind
from smap_train.export.virtualpose import export_virtualpose_kind
from smap_train.models.checkpoint import load_checkpoint
from smap_train.settings import parse_settings

_MESH_MODELS = ("crowdnet", "hap_crowdnet")
_SMPL_MODELS = (*_MESH_MODELS, "maed")


def _provenance(run: Path | None, command: str, data: str, metrics: Path | None) -> dict[str, Any]:
    """Origin of the weights: from the record that ``smap-train fit`` wrote, or as stated."""
    stated: dict[str, Any] = {"data": data, "command": command}
    if metrics is not None:
        try:
            stated["metrics"] = json.loads(metrics.read_text())
        except (OSError, ValueError) as error:
            raise InputError(
                f"can't read the metrics {metrics}: {error}; expected JSON of "
                '{"NAME": {"value": number, "command": what measured it}}'
            ) from error
    if run is None:
        return {**stated, "commit": "unknown"}
    try:
        record = json.loads(run.read_text())
        return {
            **stated,
            "commit": record["commit"],
            "seed": record["config"]["seed"],
            "data_hash": record["data_hash"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{run} is not the record of a training run ({reason(error)}); expected run.json as "
            "written by smap-train fit"
        ) from error


def run(
    checkpoint: Annotated[Path, typer.Argument(help="From smap-train fit or convert.")],
    bundle: Annotated[Path, typer.Argument(help="Folder to write; its name names the bundle.")],
    half: Annotated[bool, typer.Option(help="Store weights as fp16 (half the size).")] = False,
    gpu_half: Annotated[
        bool,
        typer.Option(help="Also write model.fp16.onnx, which NVIDIA GPUs run with precision f16."),
    ] = False,
    half_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="How far --half may move the outputs, as a share of their range, e.g. 0.02; by "
            "default as measured for each network, see docs/models.md.",
        ),
    ] = None,
    refine: Annotated[
        Path | None, typer.Option(help="refinenet.pth from recipe refine_lite or refinenet.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="Bundle that the weights were trained on from: its RefineNet and thresholds go "
            "with them. For smap and smap_lite."
        ),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option(help="virtualpose_backbone that belongs to a virtualpose.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="NAME=VALUE for the bundle of a mobilehuman, crowdnet, maed or smoother, e.g. "
            "first_stage=smap.",
        ),
    ] = None,
    smpl: Annotated[
        Path | None, typer.Option(help="Folder of your own SMPL files, for a crowdnet or maed.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="run.json of the training run.")] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="JSON of measured numbers: name -> value and command.")
    ] = None,
    data: Annotated[str, typer.Option(help="What it was trained on, with licences.")] = "unknown",
    command: Annotated[str, typer.Option(help="Command that made the weights.")] = "unknown",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    description: Annotated[str, typer.Option(help="One line about the model.")] = "",
) -> None:
    """Export a checkpoint to a bundle; ONNX is compared with torch before anything is written."""
    facts: dict[str, Any] = {
        "half": half,
        "half_tolerance": half_tolerance,
        "provenance": _provenance(record, command, data, metrics),
        "licence": licence,
        "description": description,
    }
    if half_tolerance is not None and not half:
        raise InputError("--half-tolerance is of no use without --half; leave it out")
    content = load_checkpoint(checkpoint)
    model = content["model"]
    if model not in ("mobilehuman", "smoother", *_SMPL_MODELS):
        _refuse("--set", setting, "anything but a mobilehuman, crowdnet, maed or smoother")
    if model not in ("smap", "smap_lite"):
        _refuse("--like", like, f"a {model}")
    if model not in _SMPL_MODELS:
        _refuse("--smpl", smpl, "anything but a crowdnet or maed")
    if model in ("virtualpose", "virtualpose_lite"):
        _refuse("--refine", refine, "a virtualpose")
        if backbone is None:
            raise InputError(
                f"{checkpoint} holds VirtualPose without its backbone; name the checkpoint of its "
                "virtualpose_backbone (the lite one's smap_lite) with --backbone"
            )
        source = content.get("source_sha256")
        if source and source == load_checkpoint(backbone).get("source_sha256"):
            both = f"{checkpoint} and {backbone} were converted from one file"
            typer.echo(f"warning: {both}, and {TWO_FILES}", err=True)
        made, error = export_virtualpose_kind(checkpoint, backbone, bundle, **facts)
    elif model in ("mobilehuman", "smoother"):
        _refuse("--refine", refine, f"a {model}")
        _refuse("--backbone", backbone, f"a {model}")
        settings = parse_settings(setting)
        export_kind = export_topdown_kind if model == "mobilehuman" else export_smoother_kind
        made, error = export_kind(checkpoint, bundle, settings=settings, **facts)
    elif model in _SMPL_MODELS:
        _refuse("--refine", refine, f"a {model}")
        _refuse("--backbone", backbone, f"a {model}")
        export = export_mesh_kind if model in _MESH_MODELS else export_video_kind
        settings = parse_settings(setting)
        made, error = export(checkpoint, bundle, smpl=smpl, settings=settings, **facts)
    else:
        _refuse("--backbone", backbone, "anything but a virtualpose")
        chosen = None if like is None else load_bundle(like)
        made, error = export_smap_kind(checkpoint, bundle, refine=refine, like=chosen, **facts)
    if gpu_half:
        made, moved = add_half_graph(made)
        typer.echo(f"model.fp16.onnx answers a picture within {moved:.1e} of the outputs' range")
    files = made.manifest.files.entries.values()
    size = sum((made.folder / entry.path).stat().st_size for entry in files) / 1e6
    typer.echo(f"{made.folder}: {size:.1f} MB, ONNX against torch {error:.1e} relative")


def _refuse(option: str, value: Path | str | list[str] | None, what: str) -> None:
    if value:
        raise InputError(f"{option} is of no use for {what}; leave it out")
