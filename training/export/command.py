"""The command line of the export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from smap_ros.errors import InputError
from smap_train.convert import TWO_FILES
from smap_train.export.common import ExportOptions
from smap_train.export.exporters import export
from smap_train.export.half_graph import add_half_graph
from smap_train.export.runs import open_run, read_record
from smap_train.models.checkpoint import load_checkpoint
from smap_train.settings import parse_settings


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
    record = read_record(run)
    return {
        **stated,
        "commit": str(record["commit"]),
        "seed": record["config"].get("seed"),
        "data_hash": record.get("data_hash"),
    }


def run(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run of smap-train fit, whose best weights are taken with all that "
            "its configuration names; or a file of weights, of fit or convert."
        ),
    ],
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
            "with them. For smap and smap_lite; of a refinenet or fusing, the bundle that gets it."
        ),
    ] = None,
    backbone: Annotated[
        Path | None,
        typer.Option(help="virtualpose_backbone of a virtualpose; smap_lite of the lite one."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="NAME=VALUE for the bundle of a mobilehuman, crowdnet, maed or smoother, e.g. "
            "first_stage=smap_lite.",
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
    if half_tolerance is not None and not half:
        raise InputError("--half-tolerance is of no use without --half; leave it out")
    named: dict[str, Any] = {}
    if checkpoint.is_dir():
        found = open_run(checkpoint)
        typer.echo(f"weights: {found.weights}")
        checkpoint, record, named = found.weights, record or found.record, dict(found.options)
    given = {"refine": refine, "like": like, "backbone": backbone, "smpl": smpl}
    named |= {name: value for name, value in given.items() if value is not None}
    named["settings"] = {**named.get("settings", {}), **parse_settings(setting)}
    options = ExportOptions(
        half=half,
        half_tolerance=half_tolerance,
        provenance=_provenance(record, command, data, metrics),
        licence=licence,
        description=description,
        **named,
    )
    if backbone is not None and backbone.is_file():
        source = load_checkpoint(checkpoint).get("source_sha256")
        if source and source == load_checkpoint(backbone).get("source_sha256"):
            both = f"{checkpoint} and {backbone} were converted from one file"
            typer.echo(f"warning: {both}, and {TWO_FILES}", err=True)
    if options.stand_in and options.smpl is None:
        typer.echo(
            "warning: no SMPL: the bundle has a stand-in, whose surface is no body", err=True
        )
    made, error = export(checkpoint, bundle, options)
    if gpu_half:
        made, moved = add_half_graph(made)
        typer.echo(f"model.fp16.onnx answers a picture within {moved:.1e} of the outputs' range")
    files = made.manifest.files.entries.values()
    size = sum((made.folder / entry.path).stat().st_size for entry in files) / 1e6
    typer.echo(f"{made.folder}: {size:.1f} MB, ONNX against torch {error:.1e} relative")
