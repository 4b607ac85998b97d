"""Official checkpoints to ours.

Whatever stands in the registry can be converted: our networks have the official keys and
shapes, so conversion is finding the weights in the file, checking every key, and writing them
with a summary beside them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smap_ros.errors import InputError
from smap_train.models import create
from smap_train.models.checkpoint import is_state_dict, mismatches, read_untrusted, save_checkpoint

# Where training loops keep the weights, in the order of looking.
_CONTAINERS = ("model", "state_dict", "model_state_dict", "network", "net")
_PREFIX = "module."  # added by DataParallel

# Networks that share official files with others: how their keys begin there, and here.
# VirtualPose's backbone is saved inside the whole model, beside untrained REN and PEN, and may
# lie beside trained ones.
_SHARES: dict[str, dict[str, str]] = {
    "virtualpose_backbone": {"backbone.": ""},
    "virtualpose": {"REN.": "REN.", "PEN.": "PEN."},
}


@dataclass(frozen=True)
class Summary:
    """What was converted; written as json beside the result.

    Attributes:
        model: name in the registry.
        source: file name of the official checkpoint.
        source_sha256: its hash.
        parameters: number of trained values.
        tensors: number of tensors, statistics included.
    """

    model: str
    source: str
    source_sha256: str
    parameters: int
    tensors: int


def convert(model: str, source: Path, out: Path, **options: Any) -> Summary:
    """Convert an official checkpoint.

    Args:
        model: name in the registry.
        source: official file: the weights alone or under ``model`` or ``state_dict``; keys
            may begin with ``module.``; an optimiser's state beside them is left behind.
        out: checkpoint to write; the summary goes to the same name with ``.json`` added.
        options: what ``create`` needs beside the name.

    Returns:
        The summary.

    Raises:
        InputError: if the file can't be read safely, if keys are missing, unexpected or of
            another shape (all are named), if values are not finite, or if ``out`` can't be
            written. Nothing is written then.
    """
    with torch.device("meta"):  # only keys, shapes and dtypes are needed
        network = create(model, **options)
    if out.is_dir() or out.resolve() == source.resolve():
        raise InputError(f"can't write to {out}: expected a new file's name, got {_what(out)}")
    weights = own_share(model, find_weights(read_untrusted(source), source))
    expected = network.state_dict()
    problems = mismatches(weights, expected)
    if problems:
        raise InputError(f"{source} is not a checkpoint of {model!r}:\n{problems}")
    weights = {key: weights[key].to(expected[key].dtype) for key in expected}
    _require_finite(weights, source)
    summary = Summary(
        model=model,
        source=source.name,
        source_sha256=_sha256(source),
        parameters=sum(p.numel() for p in network.parameters()),
        tensors=len(weights),
    )
    save_checkpoint(out, model, weights, **options)
    out.with_name(out.name + ".json").write_text(json.dumps(asdict(summary), indent=2) + "\n")
    return summary


def find_weights(content: object, source: Path) -> dict[str, Tensor]:
    """The state dict inside a loaded checkpoint, without ``module.`` prefixes.

    Raises:
        InputError: if there is none, naming what there is instead.
    """
    candidates: list[object] = [content]
    if isinstance(content, Mapping):
        candidates = [content[key] for key in _CONTAINERS if key in content] + candidates
    found = next((value for value in candidates if is_state_dict(value)), None)
    if found is None:
        inside = ", ".join(map(repr, content)) if isinstance(content, Mapping) else "no mapping"
        raise InputError(
            f"{source} holds no weights: expected a mapping of names to tensors, alone or under "
            f"{' or '.join(map(repr, _CONTAINERS))}; got {inside or 'an empty mapping'}"
        )
    weights = {key.removeprefix(_PREFIX): value for key, value in found.items()}
    if len(weights) < len(found):
        raise InputError(f"{source} holds some weights twice, with and without {_PREFIX!r}")
    return weights


def own_share(model: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that belong to a network, under its own keys.

    Everything, unless the network shares official files with others and some keys say so.
    """
    share = {
        ours + key.removeprefix(theirs): value
        for theirs, ours in _SHARES.get(model, {}).items()
        for key, value in weights.items()
        if key.startswith(theirs)
    }
    return share or weights


def _require_finite(weights: Mapping[str, Tensor], source: Path) -> None:
    broken = [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise InputError(f"{source} holds NaN or infinite weights in: {', '.join(broken)}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "the input itself"
