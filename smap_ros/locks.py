"""Folders that one process at a time writes to."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from smap_ros.errors import InputError
from smap_ros.pictures import printable

LOG = logging.getLogger(__name__)


class FolderLock:
    """Has a folder for this process alone, until it is released or the process ends.

    The folder itself is locked: no file is left of it, whatever ends the process. Where a file
    system can't lock, a warning says so.

    Args:
        folder: that exists.
        taken: what to say if another process has it.

    Raises:
        InputError: if another process has it, or the folder can't be opened.
    """

    def __init__(self, folder: Path, taken: str) -> None:
        self._file: int | None = None
        try:
            self._file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            name = printable(str(folder))
            raise InputError(f"can't open the folder {name}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise InputError(taken) from None
        except OSError as error:  # some network file systems
            LOG.warning(
                "two runs in %s at once would not be noticed: no lock (%s)",
                printable(str(folder)), error.strerror,
            )  # fmt: skip

    def release(self) -> None:
        """Let others have it; harmless when done twice."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            fcntl.flock(file, fcntl.LOCK_UN)  # of workers that still have the file open as well
        except OSError:
            pass
        finally:
            os.close(file)
