"""Where the files that ship with the package are: models, configuration, launch files."""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from pathlib import Path

from smap_ros.errors import InputError, shortened


@cache
def share_directory() -> Path:
    """Folder that holds ``models``, ``config`` and ``launch``.

    In a source checkout (and an editable install) it is the checkout itself; in a
    colcon or pip installation it is ``<prefix>/share/smap_ros``.

    Raises:
        InputError: if none of the candidate folders exists, naming them.
    """
    package = Path(__file__).resolve().parent
    candidates = [package.parent]
    candidates += [parent / "share" / "smap_ros" for parent in package.parents]
    candidates.append(Path(sys.prefix) / "share" / "smap_ros")
    for candidate in candidates:
        if (candidate / "package.xml").is_file() and (candidate / "config").is_dir():
            return candidate
    raise InputError(
        "the files shipped with smap_ros (models, config) were not found; looked in "
        + ", ".join(str(candidate) for candidate in candidates)
        + "; reinstall the package with pip or colcon"
    )


def python_of(module: str) -> list[str]:
    """Words that run a module of ours in a process.

    From Python 3.11 on, the working folder's files are none of its modules.
    """
    apart = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *apart, "-m", module]


def user_path(text: str | Path) -> Path:
    """A path as a user writes it, with ``~``.

    Raises:
        InputError: if no file can have that name.
    """
    written = shortened(str(text))
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except RuntimeError as error:  # of expanduser
        raise InputError(
            f"{written} names the home of nobody here; write the folder in full"
        ) from error
    except ValueError as error:  # a letter that no name can have
        raise InputError(f"{written} is no path: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{written} is no path: {len(str(text))} letters") from error
    return path


def make_folder(path: Path, what: str) -> None:
    """Make a folder to write to, unless it is there; to be called before any work is done.

    Args:
        path: the folder.
        what: it is, for the message, such as "the output folder".

    Raises:
        InputError: if it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't write to {what} {path}: {error.strerror or error}") from error


def models_directory() -> Path:
    """Folder of the shipped model bundles."""
    return share_directory() / "models"


def config_directory() -> Path:
    """Folder of the shipped configuration (node parameters, RViz, demo clip)."""
    return share_directory() / "config"


def cache_directory() -> Path:
    """Folder for engines built on this machine; created on first use.

    Raises:
        OSError: if it can't be made, or the user has no home; everything works without it, but
            is built and measured again at each start.
    """
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:  # neither HOME nor an entry in the list of users
        message = "there is no home folder; set XDG_CACHE_HOME to a folder for what is kept"
        raise PermissionError(errno.EACCES, message, "~/.cache") from error
    folder = base / "smap_ros"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
