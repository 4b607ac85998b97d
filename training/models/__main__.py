"""``python -m training.models``: the networks, their sizes and their error against the goldens."""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from training.models import REGISTRY, create, entry
from training.models.golden import GOLDENS, load_golden


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m training.models", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(REGISTRY), help="models; default all")
    parser.add_argument("--no-check", action="store_true", help="don't run the golden check")
    arguments = parser.parse_args()
    table = Table("model", "parameters", "input", "outputs", "max error against golden")
    for name in arguments.names:
        table.add_row(*_row(name, check=not arguments.no_check))
    Console(width=140).print(table)


def _row(name: str, *, check: bool) -> tuple[str, str, str, str, str]:
    """One line of the table; shapes come from a run without arithmetic, on the meta device."""
    shape = entry(name).input_shape
    with torch.device("meta"):
        model = create(name).eval()
        outputs: dict[str, Tensor] = model(torch.empty(shape))
    parameters = sum(p.numel() for p in model.parameters())
    maps = ", ".join(f"{key} {_times(value.shape)}" for key, value in outputs.items())
    return name, f"{parameters:,}", _times(shape), maps, _error(name) if check else "not checked"


def _error(name: str) -> str:
    if not (GOLDENS / name).is_dir():
        return "no golden files"
    model, golden = load_golden(name)
    with torch.inference_mode():
        shape = None if "input_shape" in golden.manifest else entry(name).input_shape
        outputs: dict[str, Tensor] = model(golden.inputs(shape))
    worst = [golden.difference(key, value) for key, value in outputs.items()]
    text = f"{max(d.max_abs for d in worst):.1e} abs, {max(d.max_rel for d in worst):.1e} rel"
    return text if all(d.within for d in worst) else f"{text}, OUT OF TOLERANCE"


def _times(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    main()
