"""The output folder of a run: an earlier run's files go, nobody else's do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from smap_ros.errors import InputError, SmapError
from smap_ros.offline.bodies_file import read_bodies
from smap_ros.pictures import printable

BODIES = "bodies.json"
SHEET = "contact_sheet.png"
PLOT = "poses_3d.png"
VIDEO = "annotated"
PICTURES = "annotated"


def claim(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Make an output folder, and remove the files that an earlier run left there.

    Which these are is told by its ``bodies.json``; whatever else lies there stays.

    Args:
        out: the folder.
        inputs: files and folders that are about to be read.

    Raises:
        InputError: if the folder can't be written to, or an input is among what would be removed.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        earlier = list(_earlier(out))
        _refuse_inputs(out, earlier, inputs)
        for file in earlier:
            file.unlink()
    except OSError as error:
        raise InputError(
            f"can't write to the output folder {printable(str(out))}: {error.strerror}"
        ) from error


def picture_name(source: str) -> str:
    """Name of an image's annotated picture, without suffix."""
    return Path(source).stem or "image"


def video_name(source: str) -> str:
    """Name of a source's annotated video where there are several, without suffix."""
    return f"{VIDEO}_{Path(source.partition(':')[0]).stem}"


def _earlier(out: Path) -> Iterable[Path]:
    """The files that an earlier run, whole or stopped, wrote."""
    sources: set[str] = set()
    documents = [file for name in (BODIES, f"{BODIES}.part") if (file := out / name).is_file()]
    for document in documents:
        try:
            sources |= {frame.source for frame in read_bodies(document)}
        except SmapError:
            return  # somebody else's, or damaged; it is written anew all the same
    if not documents:
        return
    yield from documents
    pictures = {picture_name(source) for source in sources}
    videos = {VIDEO, *(video_name(source) for source in sources)}
    yield from (file for name in (SHEET, PLOT) if (file := out / name).is_file())
    yield from _numbered(out / PICTURES, ".jpg", pictures)
    yield from _numbered(out, ".mp4", videos)


def _numbered(folder: Path, suffix: str, names: set[str]) -> list[Path]:
    """Files of these names, or of these and a number, as equal ones are told apart."""
    if not folder.is_dir():
        return []
    files = [file for file in folder.iterdir() if file.suffix == suffix and file.is_file()]
    return [f for f in files if {f.stem, re.sub(r"_\d+$", "", f.stem)} & names]


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
