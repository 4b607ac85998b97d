"""Manifest of VirtualPose."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import (
    FileEntry,
    Finite,
    ImageManifest,
    InputSpec,
    Networks,
    Positive,
    Strict,
)
from smap_ros.skeletons import SKELETONS

BOX_SIDES = 4  # channels of a person's box in VirtualPose's maps


class VirtualPoseFiles(Networks):
    """The networks behind ``model``, the backbone.

    Attributes:
        root: candidates for people from the backbone's maps and the camera.
        pose: joints of any number of people from the maps, their roots and the camera.
    """

    root: FileEntry
    pose: FileEntry


class SearchedSpace(Strict):
    """The box of the world in which people's roots are searched; z is up, the floor is at 0.

    Attributes:
        size_m: its edges along x, y and z.
        center_m: its middle.
    """

    size_m: tuple[Positive, Positive, Positive]
    center_m: tuple[Finite, Finite, Finite]


class VirtualPoseManifest(ImageManifest):
    """VirtualPose in three networks; the first one's output ``maps`` feeds the others.

    The maps are the joints' heatmaps, those of mpi15 first, then, if ``box_maps``, the distances
    from the root to the four sides of a person's box. The inputs and outputs of ``root`` and
    ``pose`` are fixed; see ``estimators.virtualpose``.

    Attributes:
        stride: network pixels per map cell.
        max_people: candidates that ``root`` gives.
        root_threshold: candidates that score more are people.
        space: where people are searched.
        box_maps: whether the maps end with the sides of boxes.
        centred: whether the backbone is one of kind ``smap`` that counts pixels from their
            middles: the image is letterboxed as there, and cell k is at stride * (k + 0.5).
            Otherwise the image is prepared as officially, bilinearly whatever ``resize`` says, and
            cell k is at stride * k.
        merge_distance: of two people whose joints are nearer than this to each other on average,
            metres, the one with the lower score is left out; 0 keeps all, as officially.
    """

    kind: Literal["virtualpose"]
    input: InputSpec
    files: VirtualPoseFiles
    stride: Annotated[int, Field(ge=1, le=32)]
    max_people: Annotated[int, Field(ge=1, le=1000)]
    root_threshold: Annotated[float, Field(ge=0, le=1)]
    space: SearchedSpace
    box_maps: bool = True
    centred: bool = False
    merge_distance: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _outputs_fit(self) -> VirtualPoseManifest:
        if self.joint_set != "mpi15":
            raise ValueError(f"joint_set is {self.joint_set!r}; kind virtualpose gives mpi15")
        if set(self.outputs) != {"maps"}:
            raise ValueError(f"outputs are {sorted(self.outputs)}; kind virtualpose has ['maps']")
        shape = self.outputs["maps"].shape
        least = len(SKELETONS[self.joint_set]) + self._sides
        grid = (self.input.height // self.stride, self.input.width // self.stride)
        fits = len(shape) == 4 and shape[0] == 1 and shape[1] >= least
        if not fits or shape[2:] != grid:
            raise ValueError(
                f"outputs.maps.shape is {list(shape)}; expected [1, {least} or more, {grid[0]}, "
                f"{grid[1]}] for this input and stride"
            )
        return self

    @property
    def joints(self) -> int:
        """Joints that the networks know, mpi15's first."""
        return self.outputs["maps"].shape[1] - self._sides

    @property
    def _sides(self) -> int:
        return BOX_SIDES if self.box_maps else 0
