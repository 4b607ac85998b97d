"""Data sets of people with labels, by the name of their layout, as configurations name them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from smap_train.data.layouts.persons import PersonRecords, PictureRecords

Layout = Literal[
    "h36m",
    "muco",
    "mpii",
    "coco",
    "crowdpose",
    "panoptic",
    "3dpw",
    "mpi_inf_3dhp",
    "mupots",
    "lspet",
    "pseudo",
]

# layout -> module and the function that opens it; a new one adds a line here and a name above.
LAYOUTS: dict[str, str] = {
    "h36m": "smap_train.data.layouts.h36m:open_people",
    "muco": "smap_train.data.layouts.muco:open_people",
    "muco:all": "smap_train.data.layouts.muco:open_everybody",  # where whole pictures are seen
    "mpii": "smap_train.data.layouts.keypoints:open_people",
    "coco": "smap_train.data.layouts.keypoints:open_people",
    "crowdpose": "smap_train.data.layouts.keypoints:open_people",
    "panoptic": "smap_train.data.layouts.panoptic:open_people",
    "3dpw": "smap_train.data.layouts.threedpw:open_people",
    "mpi_inf_3dhp": "smap_train.data.layouts.mpi_inf_3dhp:open_people",
    "mupots": "smap_train.data.layouts.mupots:open_people",
    "lspet": "smap_train.data.layouts.photos:open_people",
    "pseudo": "smap_train.data.layouts.photos:open_people",
}


class PeopleData(BaseModel):
    """A data set of people in the layout of its publishers.

    Attributes:
        layout: whose.
        annotations: the JSON file, or of photos the archive or .npz; of Human3.6M the folder of a
            subject's files, of CMU Panoptic that of the sequences, of MPI-INF-3DHP that of the
            subjects, of 3DPW ``sequenceFiles`` or a folder in it.
        images: folder that the names of pictures are relative to.
        every: take every n-th person; of Human3.6M the frames whose number is a multiple, of films
            every n-th frame.
        subjects: of Human3.6M; none: all that are there.
        fits: SMPL bodies that were fitted to the people: the JSON file, or Human3.6M's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Layout
    annotations: Path
    images: Path
    every: int = Field(1, gt=0)
    subjects: tuple[int, ...] = ()
    fits: Path | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.layout} {self.annotations}"

    def files(self) -> list[Path]:
        """What the labels are read from."""
        module = importlib.import_module(LAYOUTS[self.layout].partition(":")[0])
        if hasattr(module, "source_files"):
            found: list[Path] = module.source_files(self)
            return found + ([self.fits] if self.fits else [])
        places = [self.annotations, *([self.fits] if self.fits else [])]
        return [path for place in places for path in (sorted(place.glob("*.json")) or [place])]

    def open_pictures(self) -> PictureRecords:
        """Its pictures, each with all of its people; every n-th of them.

        Raises:
            InputError: if the labels can't be read.
        """
        layout = f"{self.layout}:all" if f"{self.layout}:all" in LAYOUTS else self.layout
        people = self.opened(layout)
        thinned = len(people) < len(people.index)  # else only every n-th frame was indexed
        return PictureRecords(people, self.every if thinned else 1)

    def open(self) -> PersonRecords:
        """Its people, in the order of the files.

        Raises:
            InputError: if the labels can't be read.
        """
        return self.opened(self.layout)

    def opened(self, layout: str) -> PersonRecords:
        """Its people as one of :data:`LAYOUTS` takes them."""
        module, _, function = LAYOUTS[layout].partition(":")
        opened: Callable[[PeopleData], PersonRecords] = getattr(
            importlib.import_module(module), function
        )
        return opened(self)
