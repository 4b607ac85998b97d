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
Threads = Annotated[
    int, typer.Option("--threads", min=0, max=256, help="CPU threads of the engine; 0: all cores.")
]
