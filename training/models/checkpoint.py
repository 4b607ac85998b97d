"""Checkpoint files: reading anybody's safely, writing and reading our own.

Ours is a ``torch.save`` file with ``{"model": name, "options": {...}, "state_dict": {...}}``;
it loads with ``weights_only=True``. Files from elsewhere are never unpickled freely: a pickle
can run any code.
"""

from __future__ import annotations

import argparse
import io
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path, PosixPath
from typing import Any, NotRequired, TypedDict, TypeGuard

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.files import whole_file
from smap_train.models import create, entry
from smap_train.models.file_kinds import foreign_kind, is_safetensors


class Checkpoint(TypedDict):
    """A network's name, the options it was built with, and its weights on the CPU.

    ``source_sha256`` is the hash of the official file that the weights were converted from,
    ``input_size`` width and height of the pictures that they learnt from, where it isn't fixed.
    """

    model: str
    options: dict[str, Any]
    state_dict: dict[str, Tensor]
    source_sha256: NotRequired[str]
    input_size: NotRequired[tuple[int, int]]


def save_checkpoint(
    path: Path,
    model: str,
    state_dict: Mapping[str, Tensor],
    source_sha256: str = "",
    input_size: tuple[int, int] | None = None,
    /,
    **options: Any,
) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Args:
        path: file to write; its folder is made if need be.
        model: name in the registry.
        state_dict: weights, moved to the CPU.
        source_sha256: hash of the official file that they were converted from.
        input_size: width and height of what they learnt from, where the network takes any.
        options: what ``create`` needs beside the name.

    Raises:
        InputError: if the name is unknown or the file can't be written.
    """
    entry(model)
    weights = {key: value.detach().cpu().clone() for key, value in state_dict.items()}
    content: dict[str, Any] = {"model": model, "options": options, "state_dict": weights}
    if source_sha256:
        content["source_sha256"] = source_sha256
    if input_size is not None:
        content["input_size"] = input_size
    whole = io.BytesIO()  # torch's own words for a full disk aren't those of the system
    torch.save(content, whole)
    with whole_file(path, "checkpoint") as file:
        file.write(whole.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that ``save_checkpoint`` wrote.

    Raises:
        InputError: if the file is missing, damaged, or not one of ours.
    """
    content = read_untrusted(path)
    if not isinstance(content, dict) or not isinstance(content.get("model"), str):
        raise InputError(
            f"{path} is not a smap_ros checkpoint: expected keys 'model' (a name), 'options' and "
            "'state_dict'. Convert official files first: smap-train convert MODEL FILE OUT"
        )
    entry(content["model"])
    weights, options = content.get("state_dict"), content.get("options", {})
    if not is_state_dict(weights) or not isinstance(options, dict):
        raise InputError(f"{path}: 'state_dict' is not a mapping of names to tensors")
    read = Checkpoint(model=content["model"], options=options, state_dict=dict(weights))
    if isinstance(content.get("source_sha256"), str):
        read["source_sha256"] = content["source_sha256"]
    if "input_size" in content:
        read["input_size"] = _size(path, content["input_size"])
    return read


def _size(path: Path, value: object) -> tuple[int, int]:
    if isinstance(value, tuple | list) and len(value) == 2:
        width, height = value
        if type(width) is type(height) is int and min(width, height) > 0:
            return width, height
    raise InputError(f"{path}: 'input_size' is {value!r}; expected width and height in pixels")


def load_model(path: Path) -> nn.Module:
    """Build the network of a checkpoint with its weights, in eval mode, on the CPU.

    Raises:
        InputError: as ``load_checkpoint``, or if the weights don't fit the network or some are no
            numbers.
    """
    checkpoint = load_checkpoint(path)
    name, weights = checkpoint["model"], checkpoint["state_dict"]
    model = create(name, **checkpoint["options"])
    if problems := mismatches(weights, model.state_dict()):
        raise InputError(f"{path} doesn't fit model {name!r}:\n{problems}")
    body = entry(name).body  # whose tensors are no numbers until the user's own files are read
    own = {key: v for key, v in weights.items() if not (body and key.startswith(f"{body}."))}
    require_finite(own, path, "take weights from before the run diverged")
    model.load_state_dict(weights, strict=True)
    return model.eval()


def require_finite(weights: Mapping[str, Tensor], path: Path, advice: str) -> None:
    """Refuse weights of which nothing but NaN can come.

    Args:
        weights: by name.
        path: where they are from.
        advice: what to do.

    Raises:
        InputError: naming the first that hold NaN or infinite values.
    """
    broken = [key for key, value in weights.items() if not _finite(value)]
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise InputError(
            f"{path} holds NaN or infinite weights in: {', '.join(broken[:5])}{more}; {advice}"
        )


def _finite(value: Tensor) -> bool:
    small = value.is_floating_point() and value.itemsize == 1  # torch has no isfinite for float8
    return bool(torch.isfinite(value.float() if small else value).all())


def read_untrusted(path: Path) -> Any:
    """Load a torch or safetensors file that may come from anywhere, without running code in it.

    Besides what ``weights_only`` admits, what training loops leave beside the weights is: numpy
    scalars (losses, learning rates), command-line arguments and paths.

    Raises:
        InputError: if the file is missing, empty, cut off, damaged, holds pickled code, or is
            another kind of file, saying which.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} doesn't exist or is not a file")
    if path.stat().st_size == 0:
        raise InputError(f"checkpoint {path} is empty")
    try:
        if foreign := foreign_kind(path):
            raise InputError(f"{path} is {foreign}")
        if is_safetensors(path):
            return load_file(path)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol of damaged files
            return torch.load(path, map_location="cpu", weights_only=True)
    except (InputError, MemoryError):
        raise
    except OSError as error:
        raise InputError(f"can't read checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(_explain(path, error)) from error


def is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    """Whether a value is a non-empty mapping of names to plain tensors in memory."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(key, str) and _is_plain(tensor) for key, tensor in value.items())
    )


def mismatches(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], limit: int = 40) -> str:
    """What keeps weights from fitting a network, readably; empty if nothing does.

    Args:
        got: weights at hand.
        expected: the network's own, of which keys, shapes and what numbers they are are used.
        limit: keys shown of each kind; the others are counted.

    Returns:
        Lines that name missing, unexpected and wrongly shaped keys, and whole or complex numbers
        where weights should be.
    """
    missing = [f"{key} {_shape(value)}" for key, value in expected.items() if key not in got]
    unexpected = [f"{key} {_shape(value)}" for key, value in got.items() if key not in expected]
    wrong = [
        f"{key}: got {_shape(got[key])}, expected {_shape(value)}"
        for key, value in expected.items()
        if key in got and got[key].shape != value.shape
    ]
    others = [
        f"{key}: got {got[key].dtype}, expected {value.dtype}"
        for key, value in expected.items()
        if key in got and value.is_floating_point() and not got[key].is_floating_point()
    ]
    lines = []
    titles = ("missing", "unexpected", "wrong shape", "no weights")
    for title, keys in zip(titles, (missing, unexpected, wrong, others), strict=True):
        if keys:
            lines.append(f"{len(keys)} {title}:")
            lines += [f"  {key}" for key in keys[:limit]]
        if len(keys) > limit:
            lines.append(f"  ... and {len(keys) - limit} more")
    return "\n".join(lines)


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and not value.is_quantized
    )


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def _numpy_scalars() -> list[Any]:
    """What a pickled numpy number is made of, under numpy's old and new module names."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "efd?"}
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, *kinds]


_HARMLESS = [*_numpy_scalars(), argparse.Namespace, PosixPath]


def _explain(path: Path, error: Exception) -> str:
    """Why a file can't be loaded, in one line."""
    forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
    if forbidden:
        return (
            f"checkpoint {path} refused: it holds pickled Python code ({forbidden[1]}), which "
            "would run on loading. Expected only tensors, numbers and text; if you trust its "
            "source, load it there and save its state_dict() alone"
        )
    if isinstance(error, pickle.UnpicklingError):  # torch's text advises to switch safety off
        detail = "its content is not a pickle of tensors, numbers and text"
    else:
        # torch's first sentence says what, the others what may have been the cause.
        text = next(iter(str(error).splitlines()), "").partition(". ")[0] or type(error).__name__
        detail = "its end is missing" if "central directory" in text else text
    return (
        f"checkpoint {path} is damaged, cut off or not a torch file ({detail}). Fetch it again "
        "and compare its size"
    )
