"""Manifest of networks that see crops of people whom another bundle finds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import CropManifest, Positive
from smap_ros.skeletons import SKELETONS


class TopdownManifest(CropManifest):
    """A network that sees a crop of one person; another bundle finds the people.

    Its output ``coords`` gives each joint's x, y and z in 0-based cells: x and y span the crop,
    z the depths from ``depth_half_range_m`` before to as far behind the root's. A free first
    axis of input and output lets several crops run at once.

    Attributes:
        cells: along each axis of the cube.
        depth_half_range_m: half of the depth that the cube spans.
        box_margin: side of the crop over the longer side of the box about a person's joints.
        flip_test: look at the mirrored crop too; twice the time.
    """

    kind: Literal["topdown"]
    cells: Annotated[int, Field(ge=2, le=1024)]
    depth_half_range_m: Positive
    box_margin: Annotated[float, Field(ge=1, le=4)]
    flip_test: bool = False

    @model_validator(mode="after")
    def _outputs_fit(self) -> TopdownManifest:
        shape = (1, len(SKELETONS[self.joint_set]), 3)
        if set(self.outputs) != {"coords"}:
            raise ValueError(f"outputs are {sorted(self.outputs)}; kind topdown has ['coords']")
        if self.outputs["coords"].shape != shape:
            raise ValueError(
                f"outputs.coords.shape is {list(self.outputs['coords'].shape)}; expected "
                f"{list(shape)} for joint set {self.joint_set}"
            )
        return self
