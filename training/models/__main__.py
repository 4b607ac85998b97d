"""``python -m training.models``: the networks, their sizes and their error against the goldens."""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from training.models import REGISTRY, create, entry
from training.models.golden import Difference, golden_folder, golden_outputs, takes_one_tensor


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
    """One line of the table."""
    shape = entry(name).input_shape
    with torch.device("meta"):
        model = create(name).eval()
    parameters = sum(p.numel() for p in model.parameters())
    if check and golden_folder(name).is_dir():
        outputs, differences = golden_outputs(name)
        error = _error(differences)
    else:
        outputs = _outputs_on_meta(name, model)
        error = "no golden files" if check else "not checked"
    maps = ", ".join(f"{key} {_times(value.shape)}" for key, value in outputs.items())
    return name, f"{parameters:,}", _times(shape), maps, error


def _outputs_on_meta(name: str, model: nn.Module) -> dict[str, Tensor]:
    """The outputs' shapes from a run without arithmetic, where one tensor is all it takes."""
    if not takes_one_tensor(name):
        return {}
    outputs: dict[str, Tensor] = model(torch.empty(entry(name).input_shape, device="meta"))
    return outputs


def _error(differences: list[Difference]) -> str:
    absolute, relative = (max(getattr(d, k) for d in differences) for k in ("max_abs", "max_rel"))
    text = f"{absolute:.1e} abs, {relative:.1e} rel"
    return text if all(d.within for d in differences) else f"{text}, OUT OF TOLERANCE"


def _times(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    main()
