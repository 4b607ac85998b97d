"""The commands `smap-ros engine`: their words and help."""

from __future__ import annotations

from typing import Annotated

import typer

from smap_ros.cli.model_options import takes_model
from smap_ros.estimators.options import ModelChoice

engine_app = typer.Typer(
    rich_markup_mode="rich", no_args_is_help=False, help="Build and inspect engines of a bundle."
)


@engine_app.command()
@takes_model("engine", "threads", "precision", "gpu", "workspace_mb", kinds=False)
def build(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or folder of a bundle.")],
    model: ModelChoice,
    force: Annotated[bool, typer.Option(help="Build anew what TensorRT built before.")] = False,
) -> None:
    """Prepare a bundle's network for a runtime on this machine, and keep it for later starts.

    [bold]Examples[/bold]

    [cyan]smap-ros engine build smap_lite --engine openvino[/cyan]
    """
    from smap_ros.cli.engine import build as run

    run(bundle, model, force)


@engine_app.command()
def clean() -> None:
    """Delete the plans that TensorRT built on this machine; they are built again when needed."""
    from smap_ros.cli.engine import clean as run

    run()


@engine_app.command()
def inspect(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or folder of a bundle.")],
) -> None:
    """Check a bundle and show its network, inputs, outputs, licence and where it comes from.

    [bold]Examples[/bold]

    [cyan]smap-ros engine inspect smap_lite[/cyan]
    """
    from smap_ros.cli.engine import inspect as run

    run(bundle)
