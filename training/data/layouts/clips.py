"""Data sets of people over time, by the name of their layout, as configurations name them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field

from smap_train.data.layouts.tracks import CHUNK_STEP, Frames, open_frames

ClipLayout = Literal["maed", "3dpw", "mpi_inf_3dhp", "posetrack", "penn_action"]

# layout -> its module; a new one adds a line here and a name above. See :class:`ClipModule`.
CLIPS: dict[str, str] = {
    "maed": "smap_train.data.layouts.maed_database",
    "3dpw": "smap_train.data.layouts.threedpw_clips",
    "mpi_inf_3dhp": "smap_train.data.layouts.mpi_inf_3dhp",
    "posetrack": "smap_train.data.layouts.posetrack",
    "penn_action": "smap_train.data.layouts.penn_action",
}


class ClipModule(Protocol):
    """What the module of a layout has.

    Attributes:
        CLIP_VERSION: raised when its rows change, so that indexes are built anew.
    """

    CLIP_VERSION: int

    def clip_files(self, path: Path) -> list[Path]:
        """The files of the labels that a data set or one of its parts has.

        Raises:
            InputError: if there are none.
        """

    def clip_rows(self, files: list[Path]) -> Iterator[dict[str, Any]]:
        """Their people, those of a track one after the other; see :func:`tracks.frame_row`."""


class ClipData(BaseModel):
    """A data set of people over time.

    Attributes:
        layout: ``maed`` for its authors' databases, their arrays as .npz; or that of the
            data set's publishers.
        database: the .npz; or the folder of the data set's labels.
        images: folder that the names of pictures begin in.
        every: take every n-th person, of pictures; clips take their own.
        stride: frames from one piece of a video that clips are drawn from to the next.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: ClipLayout = "maed"
    database: Path
    images: Path = Path()
    every: int = Field(1, gt=0)
    stride: int = Field(CHUNK_STEP, gt=0)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.layout} {self.database}"

    def files(self) -> list[Path]:
        """What the labels are read from.

        Raises:
            InputError: if there are none.
        """
        return self._module().clip_files(self.database)

    def open(self) -> Frames:
        """Its people, those of a track one after the other.

        Raises:
            InputError: if the labels can't be read.
        """
        module, files = self._module(), self.files()
        rows = partial(module.clip_rows, files)
        version = module.CLIP_VERSION
        return open_frames(self.layout, version, files, rows, self.images, self.every)

    def _module(self) -> ClipModule:
        return cast(ClipModule, importlib.import_module(CLIPS[self.layout]))
