"""`smap-train average`: weights between a run's start and its end.

Where a run goes on from finished weights at a low rate, the weights on the line between both may
keep what the start could do and the run's data lack (Wortsman et al., Robust fine-tuning of
zero-shot models, CVPR 2022). Whether they do, and how far to go, is for measurements to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.export.second_look import opened
from smap_train.models.checkpoint import load_checkpoint, load_model, save_checkpoint
from smap_train.models.finished import finished_lite
from smap_train.models.landmarks import Landmarks
from smap_train.models.smap_lite import SmapLite

_STATISTICS = (".running_mean", ".running_var")  # of batch norms


def between(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights at ``share`` of the way from ``start`` to ``end``.

    Raises:
        InputError: if they are not of one network, or their batch norms have other statistics:
            those of weights between would be neither's.
    """
    shapes = [{name: tuple(value.shape) for name, value in one.items()} for one in (start, end)]
    if shapes[0] != shapes[1]:
        others = sorted(name for name, _ in set(shapes[0].items()) ^ set(shapes[1].items()))
        raise InputError(
            f"the weights are not of one network: {', '.join(others[:5])} differ in name or shape"
        )
    moved = [n for n in end if n.endswith(_STATISTICS) and not torch.equal(start[n], end[n])]
    if moved:
        raise InputError(
            f"the statistics of {len(moved)} batch norm buffers differ, like {moved[0]}; expected "
            "a run with frozen_norms: true"
        )
    return {
        name: torch.lerp(start[name], value, share) if value.is_floating_point() else value
        for name, value in end.items()
    }


def _first(start: Path, finished: nn.Module, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of ``start``, which is what ``finished`` is.

    Raises:
        InputError: if it is another network, or ``finished`` is none that can be averaged.
        BundleError: if it should be a bundle and is none.
    """
    if isinstance(finished, Landmarks):
        return opened(start).state_dict()
    if not isinstance(finished, SmapLite):
        raise InputError(
            f"a {type(finished).__name__} can't be averaged; expected the end of a run of recipe "
            "smap_lite or second_look"
        )
    if start.suffix in (".whl", ".tflite"):
        raise InputError(
            f"{start} is MediaPipe's landmark network, and the run's is a SmapLite; expected what "
            "that run started from"
        )
    return finished_lite(start, options.get("backbone", "movenet")).state_dict()


def run(
    start: Annotated[
        Path,
        typer.Argument(
            help="What it started from: weights or a bundle; of second_look MediaPipe's wheel, too."
        ),
    ],
    end: Annotated[
        Path, typer.Argument(help="NAME.pth of a run of recipe smap_lite or second_look.")
    ],
    out: Annotated[Path, typer.Argument(help="Checkpoint to write.")],
    share: Annotated[
        float, typer.Option(help="How far to go; 0 is the start.", min=0.0, max=1.0)
    ] = 0.5,
) -> None:
    """Write the weights between a run's start and its end.

    Examples: smap-train average models/smap_lite runs/my_camera/best.pth between.pth

    smap-train average WHEEL runs/second_look/landmarks.pth between.pth --share 0.3
    """
    if out.is_dir() or out.resolve() in (start.resolve(), end.resolve()):
        what = "a folder" if out.is_dir() else "what is read"
        raise InputError(f"can't write to {out}: expected a new file's name, got {what}")
    checkpoint, finished = load_checkpoint(end), load_model(end)
    options = checkpoint["options"]
    weights = between(_first(start, finished, options), finished.state_dict(), share)
    size = checkpoint.get("input_size")
    save_checkpoint(out, checkpoint["model"], weights, "", size, **options)
    typer.echo(f"{out}: {share:.0%} of the way from {start} to {end}")
