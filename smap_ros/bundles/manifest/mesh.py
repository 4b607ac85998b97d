"""Manifest of networks that give the surface of people whom another bundle finds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import CropManifest, FileEntry, Networks, Positive
from smap_ros.skeletons import SKELETONS

# Inputs beside the image: where the person's joints are in the crop, and which are known.
GUIDE_INPUT, MASK_INPUT = "joints", "mask"


class MeshFiles(Networks):
    """``faces``: the triangles of the surface, an ``.npy`` of integers [F, 3]."""

    faces: FileEntry


class MeshManifest(CropManifest):
    """A network that sees a crop and a 2D pose of one person; another bundle finds both.

    Beside the image it takes ``joints`` [1, J, 2], the 2D pose in cells over the crop (0 where
    not known), and ``mask`` [1, J, 1], 1 where a joint is known. Its outputs ``joints`` and
    ``vertices`` are metres before a camera of ``focal_px`` that looks at the middle of the
    crop. A free first axis of inputs and outputs lets several people run at once.

    Attributes:
        cells: along each side of the crop, of the 2D pose.
        focal_px: focal length of the camera before which the network puts people, crop pixels.
        box_enlargement: sides of a person's box over those of the box about the joints; the
            former is cut to the image.
        box_margin: side of the crop over the longer side of the box.
        min_joint_score: joints of the 2D pose that score more are known.
    """

    kind: Literal["mesh"]
    files: MeshFiles
    cells: Annotated[int, Field(ge=2, le=1024)]
    focal_px: Positive
    box_enlargement: Annotated[float, Field(ge=1, le=4)]
    box_margin: Annotated[float, Field(ge=1, le=4)]
    min_joint_score: Annotated[float, Field(ge=0, lt=1)]

    @property
    def network_inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs of ``model`` by name, float32, for one image or person."""
        joints = len(SKELETONS[self.joint_set])
        guide = {GUIDE_INPUT: (1, joints, 2), MASK_INPUT: (1, joints, 1)}
        return {**super().network_inputs, **guide}

    @model_validator(mode="after")
    def _outputs_fit(self) -> MeshManifest:
        if set(self.outputs) != {"joints", "vertices"}:
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; kind mesh has ['joints', 'vertices']"
            )
        joints, vertices = self.outputs["joints"].shape, self.outputs["vertices"].shape
        expected = (1, len(SKELETONS[self.joint_set]), 3)
        if joints != expected:
            raise ValueError(
                f"outputs.joints.shape is {list(joints)}; expected {list(expected)} for joint set "
                f"{self.joint_set}"
            )
        if len(vertices) != 3 or vertices[0] != 1 or vertices[2] != 3:
            raise ValueError(
                f"outputs.vertices.shape is {list(vertices)}; expected [1, V, 3] for V vertices"
            )
        return self
