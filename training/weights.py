"""Finding a network's weights in whatever training loops leave in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smap_ros.errors import InputError
from smap_train.models.checkpoint import is_state_dict

# Where training loops keep the weights, in the order of looking; then anywhere.
_CONTAINERS = ("model", "state_dict", "model_state_dict", "network", "net")
_AVERAGED = frozenset(("ema", "averaged", "average", "avg", "shadow", "swa"))  # words in names
_NO_WEIGHTS = ("optim", "scheduler", "scaler")  # in names of places that never hold them
_DEPTH = 3  # of mappings within mappings

# Wrappers put these before names. No network of ours has a part called so.
_WRAPPERS = ("module.", "_orig_mod.")
# These may be a network's own parts, so they go only where the rest is a name that is expected.
_ATTRIBUTES = ("model.", "net.", "network.")
_COUNTERS = ("n_averaged",)  # beside the weights in torch's AveragedModel


@dataclass(frozen=True)
class Found:
    """Weights from a file.

    Attributes:
        weights: by name, without the prefixes of wrappers.
        notes: what was done to find them that isn't plain.
    """

    weights: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def find_weights(
    content: object, source: Path, expected: Iterable[str], place: str | None = None
) -> Found:
    """The weights inside a loaded file.

    Args:
        content: what was loaded.
        source: the file, for messages.
        expected: names of a network's weights in official files.
        place: where in the file they are, e.g. ``model_ema``; by default where most of the expected
            names are, and averages of the weights only if there are no others.

    Raises:
        InputError: if there are none, naming what there is instead.
    """
    names = frozenset(expected)
    places = dict(_state_dicts(content))
    if not places:
        raise InputError(f"{source} holds no weights: {_instead(content)}")
    if place is not None and place not in places:
        known = ", ".join(repr(name) for name in places if name) or "the file itself"
        raise InputError(f"{source} holds no weights under {place!r}; there are some in {known}")
    chosen = place if place is not None else _best(places, names)
    weights, stripped = _plain_names(places[chosen], names, source)
    notes = []
    if stripped:
        notes.append(f"took {', '.join(map(repr, sorted(stripped)))} off the weights' names")
    if place is None and _is_average(chosen):
        notes.append(f"took the averaged weights under {chosen!r}; the file holds no others")
    rivals = _rivals(places, names, chosen) if place is None else []
    if rivals:
        notes.append(
            f"took the weights under {chosen!r}; there are others that fit as well: --from "
            f"{' or '.join(rivals)} takes those"
        )
    others = [name for name in places if _is_average(name)]
    if place is None and others and not _is_average(chosen):
        notes.append(f"the file also holds averaged weights: --from {others[0]} takes those")
    return Found(weights, tuple(notes))


def never_trained(weights: Mapping[str, Tensor]) -> bool:
    """Whether there are batch norms and none of them has ever seen data."""
    means = [value for key, value in weights.items() if key.endswith(".running_mean")]
    variances = [value for key, value in weights.items() if key.endswith(".running_var")]
    return bool(means) and all(
        torch.equal(value, torch.full_like(value, start))
        for values, start in ((means, 0.0), (variances, 1.0))
        for value in values
    )


def _state_dicts(content: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Places with weights, by their keys joined with dots; known ones first."""
    if not isinstance(content, Mapping):
        return
    if is_state_dict(content):
        yield path, content
        return
    if depth == _DEPTH:
        return
    keys = [key for key in content if isinstance(key, str)]
    rank = {name: number for number, name in enumerate(_CONTAINERS)}
    for key in sorted(keys, key=lambda k: (rank.get(k, len(rank)), _is_average(k))):
        if not any(word in key.lower() for word in _NO_WEIGHTS):
            yield from _state_dicts(content[key], f"{path}.{key}" if path else key, depth + 1)


def _best(places: Mapping[str, Mapping[str, Tensor]], expected: frozenset[str]) -> str:
    """The place with most of the expected names, averages behind others, else the first."""
    hits = _hits(places, expected)
    ranked = [(hits[name] > 0, not _is_average(name), hits[name]) for name in places]
    return list(places)[ranked.index(max(ranked))]


def _rivals(
    places: Mapping[str, Mapping[str, Tensor]], expected: frozenset[str], chosen: str
) -> list[str]:
    """Other places, of no averages, with as many of the expected names and other weights."""
    hits = _hits(places, expected)
    return [
        name
        for name, weights in places.items()
        if name != chosen and not _is_average(name) and hits[name] == hits[chosen] > 0
        if not _same(_named(weights, expected), _named(places[chosen], expected))
    ]


def _hits(places: Mapping[str, Mapping[str, Tensor]], expected: frozenset[str]) -> dict[str, int]:
    """How many of the expected names are in each place."""
    return {name: len(expected & {_plain(k, expected)[0] for k in places[name]}) for name in places}


def _named(weights: Mapping[str, Tensor], expected: frozenset[str]) -> dict[str, Tensor]:
    """Weights by the names that they have without the prefixes of wrappers."""
    return {_plain(key, expected)[0]: value for key, value in weights.items()}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether weights are the same to the last bit, NaN alike."""
    return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    # As bytes: torch compares no float8, and NaN is never equal to itself.
    first, second = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(first, second)


def _plain_names(
    found: Mapping[str, Tensor], expected: frozenset[str], source: Path
) -> tuple[dict[str, Tensor], set[str]]:
    """Weights without wrappers' prefixes, and the unusual ones of these prefixes."""
    weights: dict[str, Tensor] = {}
    stripped: set[str] = set()
    for key, value in found.items():
        if key in _COUNTERS and key not in expected:
            continue
        name, prefixes = _plain(key, expected)
        if name in weights:
            raise InputError(
                f"{source} holds some weights twice, with and without {key.removesuffix(name)!r}: "
                f"{name}"
            )
        weights[name] = value
        stripped |= {prefixes} - {"", "module."}  # DataParallel's is nothing to speak of
    return weights, stripped


def _plain(key: str, expected: frozenset[str]) -> tuple[str, str]:
    """A name without the prefixes of wrappers, and what was taken off."""
    rest = key.replace("._orig_mod.", ".")  # of a part that was compiled
    compiled = "" if rest == key else "_orig_mod."
    while rest not in expected:
        prefix = next((p for p in (*_WRAPPERS, *_ATTRIBUTES) if rest.startswith(p)), None)
        if prefix is None:
            break
        rest = rest.removeprefix(prefix)
    if rest in expected:
        return rest, key.removesuffix(rest) if key.endswith(rest) else compiled
    rest = key  # a name that isn't known keeps what may be its own
    while prefix := next((p for p in _WRAPPERS if rest.startswith(p)), ""):
        rest = rest.removeprefix(prefix)
    return rest, ""


def _is_average(place: str) -> bool:
    return not _AVERAGED.isdisjoint(re.split(r"[^a-z]+", place.lower()))


def _instead(content: object) -> str:
    """What a file holds that has no weights."""
    if not isinstance(content, Mapping):
        return "expected a mapping of names to tensors, got no mapping"
    inside = ", ".join(map(repr, content)) or "an empty mapping"
    known = " or ".join(map(repr, _CONTAINERS))
    if {"state", "param_groups"} <= set(content) or any("optim" in str(key) for key in content):
        return f"only an optimiser's state ({inside}). The weights are in another file of that run"
    return f"expected a mapping of names to tensors, alone or under {known}; got {inside}"
