"""Compressed parts of bags: whole files, chunks of MCAP, single messages.

None, or less than all, is what comes back from damage; an unknown kind counts as such.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ZSTD = b"\x28\xb5\x2f\xfd"  # how its data begin; messages begin with a zero or a small number
_PART = 2**16  # bytes that are decompressed at a time, each of which may be the last whole ones


def decompress_file(path: Path, out: Path) -> bool:
    """Decompress a file as far as it goes; whether that is to its end."""
    with path.open("rb") as compressed, out.open("wb") as file:
        try:
            with _zstd_library().open(compressed, "rb") as parts:
                while part := parts.read1(_PART):
                    file.write(part)
        except OSError:  # of the disk, no damage of the data
            raise
        except Exception:  # as of chunks, see chunk
            return False
    return True


def chunk(data: bytes, compression: str) -> bytes | None:
    """The records of a chunk that was compressed as MCAP names it; None if they can't be had."""
    try:
        return _DECOMPRESSORS[compression](data)
    except Exception:  # damaged or unknown, each library in its own way
        return None


def message(data: bytes) -> bytes | None:
    """A message of a bag whose messages are compressed one by one, or not; None if damaged."""
    return chunk(data, "zstd") if data.startswith(_ZSTD) else data


def _zstd_library() -> Any:
    # Part of Python since 3.14; before, rosbags brings it.
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return importlib.import_module(name)


def _zstd(data: bytes) -> bytes:
    return bytes(_zstd_library().decompress(data))


def _lz4(data: bytes) -> bytes:
    return bytes(importlib.import_module("lz4.frame").decompress(data))


_DECOMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"": bytes, "zstd": _zstd, "lz4": _lz4}
