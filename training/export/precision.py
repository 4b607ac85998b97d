"""How exact a written network must be: as torch has it, and with its weights as fp16."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_ros.errors import InputError
from smap_train.export.networks import (
    MIN_AXES,
    Array,
    answers,
    arrays,
    open_session,
    range_error,
    store_half,
    worst,
)
from smap_train.models.deployment import Export

MAX_RELATIVE_ERROR = 1e-3

# How far outputs may move, over their largest value, when a network's weights are rounded to fp16:
# some times what random weights give (docs/models.md has the measured numbers). Random MAED is
# badly conditioned: float32 alone moves it by 1e-4. Roots lie on voxels, and may move by one.
HALF_TOLERANCES = {
    "smap": 1e-2,
    "smap_lite": 1e-2,
    "refinenet": 1e-2,
    "fusing": 1e-2,
    "virtualpose_backbone": 1e-2,
    "virtualpose_lite": 2e-2,
    "virtualpose_lite's roots": 2e-1,
    "mobilehuman": 2e-2,
    "crowdnet": 2e-2,
    "hap_crowdnet": 2e-2,
    "maed": 1e-1,
}


@dataclass(frozen=True)
class Part:
    """One of a bundle's networks.

    Attributes:
        model: name in ``HALF_TOLERANCES``, whose tolerance holds.
        export: the graph.
        path: file to write.
        difference: between what ONNX Runtime and torch answer, relative to the outputs' range.
        least_axes: of the weights that ``--half`` stores as fp16; with none all stay as they are.
    """

    model: str
    export: Export
    path: Path
    difference: Callable[[Mapping[str, Array], Mapping[str, Array]], float] = range_error
    least_axes: int | None = MIN_AXES


def write_parts(parts: Sequence[Part], half: bool, tolerance: float | None = None) -> float:
    """Write a bundle's networks, compare them with torch, and store weights as fp16 if wished.

    Args:
        parts: the networks.
        half: store weights as fp16.
        tolerance: how far outputs may move then; by default each network's own.

    Returns:
        The largest relative difference between what is in the files and the network in torch.

    Raises:
        InputError: if ONNX Runtime and torch disagree, or half precision moves outputs too far.
    """
    return worst(_write(part, half and part.least_axes is not None, tolerance) for part in parts)


def _write(part: Part, half: bool, tolerance: float | None) -> float:
    part.export.write(part.path)
    examples = part.export.examples()
    expected = [arrays(part.export.run(inputs)) for inputs in examples]

    def error() -> float:
        session = open_session(part.path)
        found = [answers(session, part.export, inputs) for inputs in examples]
        return worst(part.difference(*pair) for pair in zip(found, expected, strict=True))

    exact = error()
    require_agreement(exact)
    if not half or part.least_axes is None:
        return exact
    store_half(part.path, part.least_axes)
    rounded = error()
    limit = HALF_TOLERANCES.get(part.model) if tolerance is None else tolerance
    if limit is None:
        raise InputError(
            f"--half moves the outputs of {part.model!r} by {rounded:.1e} of their range; nobody "
            "has said how much is too much for it: state --half-tolerance"
        )
    require_half(rounded, limit, part.model)
    return rounded


def require_agreement(error: float, limit: float = MAX_RELATIVE_ERROR) -> None:
    """Refuse to make a bundle of a network that ONNX Runtime runs differently.

    Raises:
        InputError: if the relative difference is too large, or NaN.
    """
    if not error <= limit:
        raise InputError(
            f"ONNX Runtime and torch differ by {error:.2e} of the outputs' range; expected at "
            f"most {limit:.0e}. Nothing was written; please report this"
        )


def require_half(error: float, limit: float, model: str) -> None:
    """Refuse to store weights as fp16 that move the outputs too far.

    Raises:
        InputError: if the relative difference is too large, or NaN; it names the ways out.
    """
    if not error <= limit:
        way = "its numbers are beyond fp16"
        if math.isfinite(error):
            way = f"or with --half-tolerance {_above(error)} if that is enough for you"
        raise InputError(
            f"with weights as fp16 the outputs of this {model} move by {error:.2e} of their range; "
            f"at most {limit:.1g} is expected. Nothing was written. Export without --half, {way}"
        )


def _above(error: float) -> str:
    """A round number a little above an error."""
    digit = 10.0 ** math.floor(math.log10(error))
    return f"{math.ceil(error / digit * 1.1) * digit:.0e}"
