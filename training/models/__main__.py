"""``python -m smap_train.models``: the networks, their sizes, their error against the goldens."""

from __future__ import annotations

import argparse

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from smap_train.models import REGISTRY, create, entry
from smap_train.models.examples import example, named_outputs
from smap_train.models.golden import Difference, golden_folder, golden_outputs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m smap_train.models", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(REGISTRY), help="models; default all")
    parser.add_argument("--markdown", action="store_true", help="print for a document")
    arguments = parser.parse_args()
    columns = ("model", "parameters", "input", "outputs", "max error against golden")
    table = Table(*columns, box=box.MARKDOWN if arguments.markdown else box.HEAVY_HEAD)
    for name in arguments.names:
        table.add_row(*_row(name))
    Console(width=10_000 if arguments.markdown else 140).print(table)


def _row(name: str) -> tuple[str, str, str, str, str]:
    """One line of the table."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in create(name).parameters())
    if golden_folder(name).is_dir():
        outputs, differences = golden_outputs(name)
        error = _error(differences)
    else:
        model, given = example(name)
        with torch.inference_mode():
            outputs, error = dict(named_outputs(model(*given))), "no golden files"
    maps = ", ".join(f"{key} {_times(value.shape)}" for key, value in outputs.items())
    return name, f"{parameters:,}", _times(entry(name).input_shape), maps, error


def _error(differences: list[Difference]) -> str:
    absolute, relative = (max(getattr(d, k) for d in differences) for k in ("max_abs", "max_rel"))
    text = f"{absolute:.1e} abs, {relative:.1e} rel"
    return text if all(d.within for d in differences) else f"{text}, OUT OF TOLERANCE"


def _times(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    main()
