"""Official checkpoints to ours.

Whatever stands in the registry can be converted: our networks have the official keys and
shapes, so conversion is finding the weights in the file, checking every key, and writing them
with a summary beside them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.files import whole_file
from smap_train.models import REGISTRY, create, entry
from smap_train.models.checkpoint import (
    mismatches,
    read_untrusted,
    require_finite,
    save_checkpoint,
)
from smap_train.weights import find_weights, never_trained

# Networks that share official files with others: how their keys begin there, and here.
# VirtualPose's training code writes all parts into each of its files, and trains only some:
# the backbone's file has untrained REN and PEN, theirs an untrained backbone.
_SHARES: dict[str, dict[str, str]] = {
    "virtualpose_backbone": {"backbone.": ""},
    "virtualpose": {"REN.": "REN.", "PEN.": "PEN."},
}
TWO_FILES = (
    "official VirtualPose comes as two: one with a trained backbone, one with trained REN and PEN. "
    "Each holds the other half too, untrained"
)
_MEAN = ".running_mean"
_COUNTER = ".num_batches_tracked"  # of batch norms; files from before torch 0.4.1 have none

# Options under which files exist, besides the defaults; to tell whose a file is.
_VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "mobilehuman": tuple(
        {"backbone": backbone, "joints": joints}
        for backbone in ("LPSKI", "LPRES", "LPWO")
        for joints in (18, 21)
    ),
    "maed": ({"mode": "series"}, {"mode": "vanilla"}, {"decoder": "iterative"}),
    "virtualpose": ({"joints": 15},),
    "virtualpose_backbone": ({"joints": 15},),
    "smap_lite": (
        {"necks": True},
        {"backbone": "efficientnet_lite0"},
        {"backbone": "efficientnet_lite0", "necks": True},
    ),
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
        notes: what was done beside copying.
        warnings: what makes the result doubtful.
    """

    model: str
    source: str
    source_sha256: str
    parameters: int
    tensors: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def convert(
    model: str, source: Path, out: Path, place: str | None = None, /, **options: Any
) -> Summary:
    """Convert an official checkpoint.

    Args:
        model: name in the registry.
        source: official file: the weights alone or inside what a training loop saved; names may
            begin with what wrappers add (``module.``, ``_orig_mod.``, ``model.``). What is missing
            of the user's own body model, or of batch norms' counters, is accepted.
        out: checkpoint to write; the summary goes to the same name with ``.json`` added.
        place: where in the file the weights are, if not where they are expected.
        options: what ``create`` needs beside the name.

    Returns:
        The summary.

    Raises:
        InputError: if the file can't be read safely, if keys are missing, unexpected or of
            another shape (all are named), if values are not finite, or if ``out`` can't be
            written. Nothing is written then.
    """
    _require_new(out, source)
    weights, summary = _converted(model, source, place, options)
    return _written(out, weights, summary, options)


def _require_new(out: Path, *sources: Path) -> None:
    """Refuse to write over a folder or what is read."""
    if out.is_dir() or out.resolve() in [source.resolve() for source in sources]:
        raise InputError(f"can't write to {out}: expected a new file's name, got {_what(out)}")


def _converted(
    model: str, source: Path, place: str | None, options: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Summary]:
    """The weights of an official file by the network's own keys, and what is said of them."""
    with torch.device("meta"):  # only keys, shapes and dtypes are needed
        network = create(model, **options)
    expected = network.state_dict()
    found = find_weights(read_untrusted(source), source, _official_names(model, expected), place)
    weights = own_share(model, found.weights)
    blank = _missing_body(network, entry(model).body, weights)
    norms = [key.removesuffix(_MEAN) for key in weights if key.endswith(_MEAN)]
    counters = {f"{norm}{_COUNTER}": torch.zeros((), dtype=torch.int64) for norm in norms}
    weights = {**{key: value for key, value in counters.items() if key in expected}, **weights}
    weights |= blank
    problems = mismatches(weights, expected)
    if problems:
        whose = _whose({key: value for key, value in weights.items() if key not in blank}, blank)
        raise InputError(f"{source} is not a checkpoint of {model!r}:\n{problems}{whose}")
    weights = {key: weights[key].to(expected[key].dtype) for key in expected}
    own = {key: value for key, value in weights.items() if key not in blank}
    require_finite(own, source, "fetch it again, or take a copy that is whole")
    summary = Summary(
        model=model,
        source=source.name,
        source_sha256=_sha256(source),
        parameters=sum(p.numel() for p in network.parameters()),
        tensors=len(weights),
        notes=(*found.notes, *_of_body(entry(model).body, blank)),
        warnings=tuple(_doubts(model, source, weights)),
    )
    return weights, summary


def _written(
    out: Path, weights: Mapping[str, Tensor], summary: Summary, options: Mapping[str, Any]
) -> Summary:
    save_checkpoint(out, summary.model, weights, summary.source_sha256, **options)
    with whole_file(out.with_name(out.name + ".json"), "summary") as file:
        file.write((json.dumps(asdict(summary), indent=2) + "\n").encode())
    return summary


def convert_virtualpose(
    behind: Path, backbone: Path, out: Path, /, **options: Any
) -> dict[Path, Summary]:
    """Convert VirtualPose from its two official files.

    Args:
        behind: the file with trained REN and PEN.
        backbone: the file with a trained backbone.
        out: checkpoint of REN and PEN; the backbone's gets its name with ``_backbone`` added.
        options: of ``virtualpose``; the number of joints is the backbone's too.

    Returns:
        The summary of each file written. If both official files are one, the second has a warning.

    Raises:
        InputError: as ``convert``.
    """
    beside = out.with_name(f"{out.stem}_backbone{out.suffix}")
    for path in (out, beside):  # one part's file could be the other's source
        _require_new(path, behind, backbone)
    shared = {key: value for key, value in options.items() if key == "joints"}
    weights, first = _converted("virtualpose", behind, None, options)
    weights_beside, second = _converted("virtualpose_backbone", backbone, None, shared)
    _written(out, weights, first, options)
    _written(beside, weights_beside, second, shared)
    if first.source_sha256 == second.source_sha256:
        doubt = f"{behind} and {backbone} are one file, and {TWO_FILES}"
        second = Summary(**{**asdict(second), "warnings": (*second.warnings, doubt)})
    return {out: first, beside: second}


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
    return share or dict(weights)


def _official_names(model: str, expected: Mapping[str, Tensor]) -> Iterator[str]:
    """Names that a network's weights have in official files."""
    yield from expected
    for theirs, ours in _SHARES.get(model, {}).items():
        yield from (theirs + key.removeprefix(ours) for key in expected if key.startswith(ours))


def _missing_body(network: nn.Module, body: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """An unset body for weights that lack theirs, or a part of it; the parts are dropped.

    Args:
        network: on any device.
        body: name of its module; empty if it has none.
        weights: by key; changed.

    Returns:
        State of the body by the network's keys; nothing if it isn't missing.
    """
    if not body:
        return {}
    layer = type(network.get_submodule(body))()
    unset = {f"{body}.{key}": value for key, value in layer.state_dict().items()}
    if unset.keys() <= weights.keys():
        return {}
    for key in unset.keys() & weights.keys():
        del weights[key]
    return unset


def _of_body(body: str, blank: Mapping[str, Tensor]) -> tuple[str, ...]:
    if not blank:
        return ()
    return (
        f"the file holds no whole body model ({len(blank)} tensors of {body}): name a folder with "
        "yours at export, with --smpl",
    )


def _doubts(model: str, source: Path, weights: Mapping[str, Tensor]) -> Iterator[str]:
    if model == "virtualpose":
        parts = {p: {k: v for k, v in weights.items() if k.startswith(p)} for p in ("REN.", "PEN.")}
        names = [part.rstrip(".") for part, own in parts.items() if never_trained(own)]
    else:
        names = [model] if never_trained(weights) else []
    if names:
        two = f"; {TWO_FILES}" if model in _SHARES else ""
        yield f"{' and '.join(names)} in {source} were never trained: no batch norm saw data{two}"


def _whose(weights: Mapping[str, Tensor], blank: Mapping[str, Tensor]) -> str:
    """A line that says which network's checkpoint it is, if it is known.

    Args:
        weights: of the file.
        blank: an unset body, which stands in for one that the file lacks.
    """
    at_hand = {**weights, **blank}
    for model in REGISTRY:
        shares = [theirs for share in _SHARES.values() for theirs in share]
        others = tuple(shares) if model in _SHARES else ()  # parts that its command leaves out
        for options in ({}, *_VARIANTS.get(model, ())):
            with torch.device("meta"):
                expected = create(model, **options).state_dict()
            needed = [key for key in expected if not key.endswith(_COUNTER)]
            surplus = [
                key
                for key in weights.keys() - expected.keys()
                if not key.endswith(_COUNTER) and not key.startswith(others)
            ]
            fits = all(k in at_hand and at_hand[k].shape == expected[k].shape for k in needed)
            if fits and not surplus:
                words = "".join(f" --set {key}={value}" for key, value in options.items())
                return f"\nIt fits: smap-train convert {model} FILE OUT{words}"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "the input itself"
