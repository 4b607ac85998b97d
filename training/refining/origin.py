"""Whose people a file holds: networks learn how one bundle errs, and fit no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError, SmapError

_SHOWN = 12  # letters of a hash


def who_found(data: Mapping[str, NDArray[Any]]) -> str:
    """Hash that a file of people states; empty in files of before it was stated."""
    return "".join(np.atleast_1d(data.get("found_by", "")).astype(str).tolist())


def require_one_bundle(files: Mapping[Path, str], bundle: str | None) -> None:
    """Refuse people of several bundles, or of another one than the network is for.

    Args:
        files: by path, the :attr:`~smap_ros.bundles.bundle.Bundle.model_hash` of who found the
            people; empty where a file doesn't say.
        bundle: the one that gets the network; None where that isn't stated yet. One that can't be
            read here isn't asked: it is needed for the export alone.

    Raises:
        InputError: naming the file that doesn't fit.
    """
    stated = {path: known for path, known in files.items() if known}
    if not stated:
        return
    first, expected = next(iter(stated.items()))
    for path, other in stated.items():
        if other != expected:
            raise InputError(
                f"{path} holds people as a network {other[:_SHOWN]}... finds them, {first} as "
                f"{expected[:_SHOWN]}... does; a network learns how one bundle errs: write both "
                "with the same one"
            )
    try:
        known = load_bundle(bundle).model_hash if bundle else expected
    except SmapError:
        return
    if known != expected:
        raise InputError(
            f"{first} holds people as a network {expected[:_SHOWN]}... finds them, that of bundle "
            f"{bundle} is {known[:_SHOWN]}...; write the file anew with that bundle, or set bundle "
            "to the one that found them"
        )
