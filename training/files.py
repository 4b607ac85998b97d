"""Files that appear whole or not at all, and folders that one process writes to."""

from __future__ import annotations

import fcntl
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.paths import make_folder

LOG = logging.getLogger(__name__)


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


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """A run's folder, made if need be, for this process alone: two runs would mix their states.

    Whoever else asks for it is refused until the end of the block, or of the process.

    Raises:
        InputError: if another process has it, or it can't be made.
    """
    make_folder(folder, "the folder of the run, out =")
    file = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process trains in {folder} at this moment; wait for it, end it, or "
                "state another out="
            ) from None
        except OSError as error:  # some network file systems can't
            LOG.warning("two runs in %s at once would not be noticed: no lock (%s)", folder, error)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)  # of workers that still have the file open as well
        os.close(file)


def read_arrays(path: Path, form: str, what: str, expected: str) -> dict[str, NDArray[Any]]:
    """The arrays of one of our archives (``.npz``), by name.

    Args:
        path: file.
        form: that its ``format`` states.
        what: it holds, for messages.
        expected: likewise, what to give instead.

    Raises:
        InputError: if it can't be read, or is of another form.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}; {expected}") from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is no whole archive of arrays ({error}); {expected}") from error
    if str(data.get("format")) != form:
        raise InputError(f"{path} doesn't hold {what}; {expected}")
    return data
