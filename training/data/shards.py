"""Shards of virtual scenes, as training takes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def shard_files(folders: Iterable[Path]) -> list[Path]:
    """The shards of folders written by ``smap-train synth``, in order; a shard is its own."""
    return [
        path
        for folder in folders
        for path in ([folder] if folder.is_file() else sorted(folder.glob("*.tar")))
    ]
