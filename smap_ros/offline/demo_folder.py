"""Bag and logs of `smap-ros demo` in its output folder: an earlier demo's go, nobody else's do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from smap_ros.errors import InputError
from smap_ros.pictures import printable

BAG, LOGS = "bag", "logs"

# What our recorder makes of an output named bag; `ros2 bag record` numbers its files.
_RECORDED = frozenset((f"{BAG}.mcap", "metadata.yaml"))


def refuse_clip(out: Path, clip: Path) -> None:
    """Refuse a clip that lies where the demo writes.

    Raises:
        InputError: naming the folder.
    """
    for folder in (out / BAG, out / LOGS):
        if clip.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"the clip {printable(str(clip))} lies in {printable(str(folder))}, which the demo "
                "writes anew; move the clip, or choose another --out"
            )


def clear(out: Path, executables: Iterable[str], recorder: str) -> None:
    """Remove bag and logs of an earlier demo.

    Args:
        out: the output folder.
        executables: of the demo's processes, each of which leaves a log.
        recorder: the one of them that makes the bag.

    Raises:
        InputError: if one of the two folders isn't an earlier demo's, before anything is removed,
            or if one can't be removed.
    """
    logs = {f"{name}{suffix}" for name in executables for suffix in (".log", ".failure")}
    # The recorder's log is begun before its bag, so that a bag without it isn't a demo's.
    marked = (out / LOGS / f"{recorder}.log").is_file()
    try:
        bag = _files(out / BAG, _RECORDED if marked else ())
        doomed = [*bag, *_files(out / LOGS, logs)]
        for file in doomed:
            file.unlink()
        for folder in (out / BAG, out / LOGS):
            if folder.is_dir():
                folder.rmdir()
    except OSError as error:
        raise InputError(
            f"can't write to the output folder {printable(str(out))}: {error.strerror}"
        ) from error


def _files(folder: Path, names: Collection[str]) -> list[Path]:
    """The files of a folder, of which a demo leaves no others than these."""
    if not folder.exists() and not folder.is_symlink():
        return []
    plain = folder.is_dir() and not folder.is_symlink()
    found = list(folder.iterdir()) if plain else []
    ours = all(file.name in names and file.is_file() and not file.is_symlink() for file in found)
    if not (plain and ours):
        raise InputError(
            f"{printable(str(folder))} isn't what an earlier demo left, and the demo writes a "
            "folder of that name; move it elsewhere, or choose another --out"
        )
    return found
