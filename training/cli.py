"""``smap-train``: make the models that robots run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from smap_ros.cli.ending import run_command
from smap_ros.errors import InputError
from smap_train.settings import parse_settings


def add_lazily(app: typer.Typer, name: str, target: str, summary: str) -> None:
    """Offer a command whose function is imported when it is called.

    The arguments pass through unseen, ``--help`` included, so the function's own signature
    is the only description of them.

    Args:
        target: ``module:function``, or a ``Typer`` in place of the function; nothing is offered
            where the module isn't installed.
        summary: help in the list of commands.
    """
    module, _, function = target.partition(":")
    if not _exists(module):
        return

    def command(context: typer.Context) -> object:
        with _needed_packages():
            found = getattr(importlib.import_module(module), function)
        if isinstance(found, typer.Typer):
            inner = found
        else:
            inner = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            inner.command()(found)
        return inner(args=context.args, prog_name=f"smap-train {name}", standalone_mode=False)

    app.command(
        name,
        help=summary,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(command)


def _exists(module: str) -> bool:
    """Whether a module of this package is there, without importing what it needs."""
    folder = Path(__file__).parent.joinpath(*module.split(".")[1:])
    return folder.is_dir() or folder.with_suffix(".py").is_file()


@contextmanager
def _needed_packages() -> Iterator[None]:
    """Says what to install where a package is missing that training needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "smap_ros", "smap_train"):
            raise
        raise InputError(
            f"this needs the package {package!r}, which isn't installed: "
            "pip install 'smap-ros[train]' (in a checkout: pip install -e '.[train]')"
        ) from error


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, convert and export the networks of smap_ros.",
)

# Commands that live with their subject: name -> (module:function, help). They are imported
# when called, and offered only where their module is installed.
_COMMANDS: dict[str, tuple[str, str]] = {
    "fit": ("smap_train.engine.commands:fit", "Train the recipe of a configuration."),
    "recipes": ("smap_train.engine.commands:recipes", "List the recipes, or one recipe's keys."),
    "curve": ("smap_train.curve:run", "Draw accuracy over the steps of a run."),
    "average": ("smap_train.averaging:run", "Write weights between a run's start and its end."),
    "pairs": (
        "smap_train.refining.measure:run",
        "Write people as a bundle finds them beside the truth, for its refining network.",
    ),
    "looks": (
        "smap_train.refining.both:run",
        "Write people as a bundle's two looks have them, for its fusing network.",
    ),
    "record": ("smap_train.smoother.record:run", "Record a detector's people over films."),
    "export": ("smap_train.export:run", "Export a checkpoint to a bundle that engines load."),
    "litert": ("smap_train.export.litert:run", "Export a MobileHumanPose to LiteRT."),
    "second-look": (
        "smap_train.export.second_look:run",
        "Add a landmark network that looks at each person to a bundle.",
    ),
    "person-score": (
        "smap_train.export.person_score:run",
        "Measure how certain a bundle's people are, so that scores are probabilities.",
    ),
    "distances": (
        "smap_train.export.distances:run",
        "Measure how wrong a bundle's distances are, so that it says so, and less.",
    ),
    "data": ("smap_train.data.command:app", "Check, look at and convert data sets."),
    "synth": ("smap_train.virtual.cli:run", "Render virtual people with exact 3D labels."),
}


@app.callback()
def _commands() -> None:
    """Train, convert and export the networks of smap_ros."""


@app.command()
def convert(
    model: Annotated[str, typer.Argument(help="Network, e.g. smap or refinenet.")],
    checkpoint: Annotated[Path, typer.Argument(help="Official checkpoint (.pth).")],
    out: Annotated[Path, typer.Argument(help="Checkpoint to write.")],
    backbone: Annotated[
        Path | None,
        typer.Option(
            help="For virtualpose: its other official file, with the trained backbone; written "
            "beside OUT as NAME_backbone.",
        ),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option("--from", help="Where in the file the weights are, e.g. model_ema."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of the network, e.g. backbone=LPWO."),
    ] = None,
) -> None:
    """Convert an official checkpoint; every key and shape is checked, no code in it is run.

    Example: smap-train convert smap SMAP.pth smap.pth
    """
    with _needed_packages():
        from smap_train import convert as conversion  # torch takes a second to import

    options = parse_settings(setting)
    if backbone is None:
        written = {out: conversion.convert(model, checkpoint, out, place, **options)}
    elif model != "virtualpose" or place is not None:
        raise InputError("--backbone is for virtualpose alone, without --from; leave one out")
    else:
        written = conversion.convert_virtualpose(checkpoint, backbone, out, **options)
    for path, summary in written.items():
        typer.echo(
            f"{path}: {summary.model}, {summary.parameters:,} parameters in {summary.tensors} "
            f"tensors, from {summary.source} (sha256 {summary.source_sha256[:12]})"
        )
        for kind, texts in (("note", summary.notes), ("warning", summary.warnings)):
            for text in texts:
                typer.echo(f"{kind}: {text}", err=True)


def main() -> None:
    """Run the command line; exit statuses as of :func:`smap_ros.cli.ending.run_command`."""
    words = sys.argv[1:] or ["--help"]

    def command() -> object:
        return app(args=words, prog_name="smap-train", standalone_mode=False)

    sys.exit(run_command("smap-train", command, prefix="error", keep_lines=True))


for _name, (_target, _summary) in _COMMANDS.items():
    add_lazily(app, _name, _target, _summary)


if __name__ == "__main__":
    main()
