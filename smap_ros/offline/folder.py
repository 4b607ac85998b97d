"""The output folder of a run: one run at a time; an earlier run's files go, nobody else's do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from smap_ros.errors import InputError, SmapError
from smap_ros.locks import FolderLock
from smap_ros.offline.bodies_file import read_bodies
from smap_ros.offline.earlier import written
from smap_ros.offline.names import BODIES, OWN_PICTURES, PICTURES, WRITTEN
from smap_ros.pictures import printable


class OutputFolder:
    """A folder that this run alone writes to, until it is closed or the process ends.

    Nothing is removed before :meth:`clear`: a run that comes to nothing costs no earlier results.

    Args:
        out: the folder; made if needed.
        inputs: files and folders that are about to be read.

    Raises:
        InputError: if the folder can't be written to, another run writes to it, or an input is
            among what would be removed or replaced.
    """

    def __init__(self, out: Path, inputs: Iterable[Path] = ()) -> None:
        self.out = out
        self._lock: FolderLock | None = None
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        if not os.access(out, os.W_OK | os.X_OK):
            raise self._refusal("no permission; change it, or choose another --out")
        try:
            self._lock = self._take()
            self._earlier = _earlier(out)
            _refuse_inputs(out, self._earlier, inputs)
        except BaseException:
            self.close()
            raise

    def clear(self) -> None:
        """Remove the files that an earlier run left; to be called when there is something new.

        Which these are is told by its ``bodies.json``; whatever else lies there stays.

        Raises:
            InputError: if one can't be removed.
        """
        try:
            for file in self._earlier:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error

    @property
    def used(self) -> bool:
        """Whether results lie there, of whomever."""
        return any((self.out / name).exists() for name in (BODIES, f"{BODIES}.part"))

    def close(self) -> None:
        """Let others write; harmless when done twice."""
        if self._lock is not None:
            self._lock.release()

    def _take(self) -> FolderLock:
        return FolderLock(
            self.out,
            f"another run writes to the output folder {printable(str(self.out))} at this moment; "
            "wait for it, end it, or choose another --out",
        )

    def _refusal(self, why: str) -> InputError:
        return InputError(f"can't write to the output folder {printable(str(self.out))}: {why}")


def _earlier(out: Path) -> list[Path]:
    """The files that an earlier run, whole or stopped, wrote; those that tell of them last."""
    documents = [file for name in (BODIES, f"{BODIES}.part") if (file := out / name).is_file()]
    names: dict[str, None] = {}
    for document in documents:
        try:
            files = written(read_bodies(document))
        except SmapError:
            continue  # somebody else's, or damaged; it is written anew all the same
        names.update(dict.fromkeys(files))
    return [*(file for name in names if _is_ours(file := out / name)), *documents]


def _is_ours(file: Path) -> bool:
    """Whether there is such a file in the folder itself, and not behind a link."""
    try:
        return file.is_file() and not file.parent.is_symlink()
    except OSError:  # a name that no file can have
        return False


def _refuse_inputs(out: Path, earlier: list[Path], inputs: Iterable[Path]) -> None:
    doomed = {file.resolve() for file in earlier}
    # Of a folder, the files directly in it are read.
    doomed |= {file.parent for file in doomed if file.parent != out.resolve()}
    for given in inputs:
        if given.resolve() in doomed:
            raise InputError(
                f"input {printable(str(given))} was written by an earlier run to the output folder "
                f"{printable(str(out))}, which this run replaces; choose another --out"
            )
        if replaced := _would_replace(out, given):
            raise InputError(
                f"input {printable(str(given))} has the place of {replaced}, which this run writes "
                f"to the output folder {printable(str(out))}; choose another --out"
            )


def _would_replace(out: Path, given: Path) -> str:
    """What this run writes, or may write, in the place of an input; empty if nothing."""
    folder, pictures = out.resolve(), (out / PICTURES).resolve()
    # A link in the folder is replaced, whatever it leads to.
    for file in (given.resolve(), given.parent.resolve() / given.name):
        if file == pictures or (file.parent == pictures and file.suffix == ".jpg"):
            return f"the annotated pictures ({PICTURES}/)"
        if file.parent == folder and any(map(file.match, WRITTEN)):
            return printable(file.name)
        # Beside a bodies.json they aren't read, see FolderSource.
        if file == folder and not (out / BODIES).is_file():
            return next((name for name in OWN_PICTURES if (out / name).exists()), "")
    return ""
