"""Words that several commands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class EngineName(str, Enum):
    """Inference runtimes by name."""

    auto = "auto"
    openvino = "openvino"
    onnxruntime = "onnxruntime"
    tensorrt = "tensorrt"


Bundle = Annotated[
    str, typer.Option("--bundle", "-b", help="Model bundle: a name in models/ or a folder.")
]
Engine = Annotated[
    EngineName,
    typer.Option("--engine", "-e", help="Inference runtime; auto takes the fastest here."),
]


class Rectified(str, Enum):
    """Whether images were rectified."""

    auto = "auto"
    yes = "yes"
    no = "no"


RectifiedImages = Annotated[
    Rectified,
    typer.Option(
        "--rectified",
        help="Whether the images were rectified, so that their pixels belong to P of the "
        "calibration, without its distortion. auto: by the names of a bag's topics.",
    ),
]
Threads = Annotated[
    int, typer.Option("--threads", min=0, max=256, help="CPU threads of the engine; 0: all cores.")
]
