"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from smap_ros.errors import InputError


@contextmanager
def whole_file(path: Path, what: str = "file") -> Iterator[IO[bytes]]:
    """A file that takes its place when everything is written; nothing is left of one that isn't.

    Args:
        path: file to write; its folder is made if need be.
        what: it is, for messages.

    Raises:
        InputError: if it can't be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"can't write {what} {path}: {error.strerror or error}") from error
