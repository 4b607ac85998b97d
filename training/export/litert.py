"""`smap-train litert`: MobileHumanPose for phones and boards that run LiteRT (TensorFlow Lite).

The converter, litert-torch, demands versions of common packages that contradict those this
project is tested with, so it is no dependency: it belongs in an environment of its own.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_ros.paths import make_folder
from smap_train.export.networks import relative_error
from smap_train.export.precision import require_agreement
from smap_train.export.topdown import example_crops
from smap_train.models.checkpoint import load_model
from smap_train.models.mobilehuman import MobileHuman


class _Coordinates(nn.Module):
    """The network with its coordinates as the only output."""

    def __init__(self, network: MobileHuman):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        coordinates: Tensor = self.network(image)["coord"]
        return coordinates


def export_litert(checkpoint: Path, out: Path, pixel_range: int = 255) -> float:
    """Write a MobileHumanPose network, soft-argmax included, for one crop at a time.

    Args:
        checkpoint: of model ``mobilehuman``.
        out: ``.tflite`` file to write. Its input is float32 [1, 3, S, S] of the network's
            ``input_size``, normalised as a top-down bundle's; its output float32 [1, J, 3], cells.
        pixel_range: of the pixels that the weights were trained on, for the comparison.

    Returns:
        The largest difference between LiteRT's CPU runtime and torch over the largest output.

    Raises:
        InputError: if the checkpoint holds another network, the converter is missing, or LiteRT
            and torch disagree.
    """
    network = load_model(checkpoint)
    if not isinstance(network, MobileHuman):
        raise InputError(f"{checkpoint} holds a {type(network).__name__}; expected a MobileHuman")
    converter = _converter()
    make_folder(out.parent, "the folder")
    example = example_crops(pixel_range, network.input_size)[:1]
    graph = _Coordinates(network).eval()
    converted = converter.convert(graph, (example,))
    with torch.inference_mode():
        expected = graph(example).numpy()
    error = relative_error(np.asarray(converted(example)), expected)
    require_agreement(error)
    converted.export(str(out))
    return error


def _converter() -> Any:
    try:
        return importlib.import_module("litert_torch")
    except ImportError as error:
        raise InputError(
            f"the converter is missing ({error}); make an environment of its own for it: "
            "python3.11 -m venv litert && litert/bin/pip install '.[train]' litert-torch, then "
            "litert/bin/smap-train litert ..."
        ) from error


def run(
    checkpoint: Annotated[Path, typer.Argument(help="A mobilehuman, from smap-train convert.")],
    out: Annotated[Path, typer.Argument(help="File to write, e.g. mobilehuman.tflite.")],
    pixel_range: Annotated[int, typer.Option(help="255 for official weights, else 1.")] = 255,
) -> None:
    """Export a MobileHumanPose to LiteRT; compared with torch before anything is written."""
    error = export_litert(checkpoint, out, pixel_range)
    size = out.stat().st_size / 1e6
    typer.echo(f"{out}: {size:.1f} MB, LiteRT against torch {error:.1e} relative")
