"""What runtimes made of networks, kept in files: whose these are, and that they are whole."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def ours(file: BinaryIO) -> bool:
    """Whether nobody but this user, and root, can have written an open file.

    Loading a plan runs what is in it, and a cache folder may be anywhere, such as in /tmp.
    """
    status = os.fstat(file.fileno())
    return status.st_uid in (os.geteuid(), _ROOT) and not status.st_mode & _OTHERS_WRITE


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
