"""How far weights as fp16 move the outputs of each network: ``python bench/half.py --seeds 3``.

Weights are random, drawn as He et al. do, with batch norms that have seen something. Each graph of
a network is written, stored as fp16 and compared with torch as ``smap-train export --half`` does.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from smap_train.export.mesh import EXTRA_ROWS, difference_about_pelvis
from smap_train.export.precision import HALF_TOLERANCES, Part, write_parts
from smap_train.export.registry import deployed_graphs
from smap_train.export.virtualpose import candidates_error, maps_error
from smap_train.models import REGISTRY, create
from smap_train.models.golden_body import synthetic_body, synthetic_regressor

VARIANTS = {
    "mobilehuman": ({}, {"backbone": "LPWO", "joints": 21}, {"backbone": "LPRES"}),
}
_KERNELS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
_GAIN = 0.7  # keeps deep networks within bounds


def drawn(name: str, options: Mapping[str, Any], seed: int) -> nn.Module:
    """A network with random weights, in eval mode."""
    torch.manual_seed(seed)
    network = create(name, **options).eval()
    if name == "maed":  # normalises itself; only its body and its decoder are filled
        return with_body(network)
    for layer in network.modules():
        if isinstance(layer, _KERNELS):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data *= _GAIN
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.05)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(layer.running_var, 0.2, 3.0)
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.2)
    return network


def with_body(network: Any) -> nn.Module:
    """A MAED that answers to what it sees."""
    decoder = network.decoder
    decoder.smpl.set_body(synthetic_body())
    decoder.smpl.set_joint_regressors(synthetic_regressor("J_regressor_extra", EXTRA_ROWS))
    for layer in (*decoder.joint_regs, decoder.deccam):
        nn.init.normal_(layer.weight, std=0.05)
    nn.init.constant_(decoder.deccam.bias, 0.1)
    return network


def compared(network: Any, part: Part) -> Part:
    """A part as the network's exporter compares it."""
    difference: Callable[..., float] = part.difference
    if part.model in ("crowdnet", "hap_crowdnet"):
        difference = difference_about_pelvis
    elif part.model == "virtualpose_backbone":
        difference = partial(maps_error, network.final_layer.out_channels)
    elif part.model.endswith("roots"):
        difference = partial(candidates_error, network.config.root_threshold)
    axes = 4 if part.model.startswith("virtualpose_lite") else part.least_axes
    return replace(part, difference=difference, least_axes=axes)


def moved(name: str, seed: int) -> dict[str, float]:
    """By which share of its range any output of any variant moves, for each tolerance."""
    errors: dict[str, float] = {}
    for options in VARIANTS.get(name, ({},)):
        network = drawn(name, options, seed)
        with tempfile.TemporaryDirectory() as folder:
            for export in deployed_graphs(name, network).values():
                model = f"{name}'s roots" if "roots" in export.outputs else name
                part = compared(network, Part(model, export, Path(folder) / "model.onnx"))
                error = write_parts([part], half=True, tolerance=math.inf)
                errors[model] = max(error, errors.get(model, 0.0))
    return errors


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [name for name in REGISTRY if name in HALF_TOLERANCES]
    parser.add_argument("names", nargs="*", default=known, help="default all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="print for a document")
    options = parser.parse_args()
    table = Table(box=box.MARKDOWN if options.markdown else box.SIMPLE_HEAD)
    for column in ("network", "least", "most", "tolerance"):
        table.add_column(column)
    for name in options.names:
        found = [moved(name, seed) for seed in range(options.seeds)]
        for model in found[0]:
            errors = [one[model] for one in found]
            limit = f"{HALF_TOLERANCES[model]:g}"
            table.add_row(model, f"{min(errors):.1e}", f"{max(errors):.1e}", limit)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
