"""Data sets of people over time, by the name of their layout, as configurations name them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from smap_train.data.layouts.tracks import CHUNK_STEP, Frames

ClipLayout = Literal["maed", "3dpw", "mpi_inf_3dhp", "posetrack", "penn_action"]

# layout -> module and the function that opens it; a new one adds a line here and a name above.
CLIPS: dict[str, str] = {
    "maed": "smap_train.data.layouts.maed_database:open_clips",
    "3dpw": "smap_train.data.layouts.threedpw_clips:open_clips",
    "mpi_inf_3dhp": "smap_train.data.layouts.mpi_inf_3dhp:open_clips",
    "posetrack": "smap_train.data.layouts.posetrack:open_clips",
    "penn_action": "smap_train.data.layouts.penn_action:open_clips",
}


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
        module = self._module()
        if hasattr(module, "clip_files"):
            found: list[Path] = module.clip_files(self.database)
            return found
        return [self.database]

    def open(self) -> Frames:
        """Its people, those of a track one after the other.

        Raises:
            InputError: if the labels can't be read.
        """
        function = CLIPS[self.layout].partition(":")[2]
        opened: Callable[[ClipData], Frames] = getattr(self._module(), function)
        return opened(self)

    def _module(self) -> object:
        return importlib.import_module(CLIPS[self.layout].partition(":")[0])
