"""Graphs that are ready to be written for a robot's runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 18  # read by OpenVINO, ONNX Runtime and TensorRT 10 alike


@dataclass(frozen=True)
class Export:
    """A graph that is ready to be written.

    Attributes:
        graph: in eval mode; answers with a tuple.
        inputs: examples by name, in order.
        outputs: names, in order.
        dynamic: input -> its first axis's name, where its length is free. The exporter takes an
            example of length 1 for a constant.
    """

    graph: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, str] = field(default_factory=dict)

    def run(self, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What torch answers to inputs; to the examples if none are given."""
        inputs = self.inputs if inputs is None else inputs
        with torch.inference_mode():
            return dict(zip(self.outputs, self.graph(*inputs.values()), strict=True))

    def examples(self) -> list[Mapping[str, Tensor]]:
        """The examples; where a length is free, their first rows as well.

        The exporter may take a length for a constant, which shows with another one.
        """
        if not self.dynamic:
            return [self.inputs]
        first = {k: v[:1] if k in self.dynamic else v for k, v in self.inputs.items()}
        return [self.inputs, first]

    def write(self, path: Path) -> None:
        """Write the graph as ONNX, weights embedded, batch norms folded into them.

        The exporter notes the source line of each node, with the path of the file on the machine
        it ran on; these notes are left out.
        """
        axes = {name: torch.export.Dim(name, min=1) for name in set(self.dynamic.values())}
        shapes = tuple(
            {0: axes[self.dynamic[name]]} if name in self.dynamic else None for name in self.inputs
        )
        with _without_chatter():
            program = torch.onnx.export(
                self.graph,
                tuple(self.inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(self.inputs),
                output_names=list(self.outputs),
                dynamic_shapes=shapes if self.dynamic else None,
                external_data=False,
                verbose=False,
            )
        assert program is not None  # the exporter returns None only when it writes a file itself
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()
        program.save(str(path), external_data=False)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Without the exporter's warnings, as of operators of packages that aren't installed.

    What it makes is compared with torch, which finds whatever they could warn of.
    """
    silenced = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silenced)
