"""Manifest of networks that see a person's crops over time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import CropManifest, FileEntry, Networks, Positive


class VideoFiles(Networks):
    """What belongs to ``model``, which turns each crop into tokens.

    Attributes:
        clip: bodies from the tokens of a window of crops.
        faces: the triangles of the surface, an ``.npy`` of integers [F, 3].
    """

    clip: FileEntry
    faces: FileEntry


class VideoManifest(CropManifest):
    """A network in two parts: the first looks at each crop alone, the second at a window.

    The first one's output ``tokens`` has a free first axis, like its input, so that several
    crops run at once. The inputs and outputs of ``clip`` are fixed; see ``estimators.video``.

    Attributes:
        box_margin: side of the crop over the longer side of the box about a person's joints.
        focal_px: focal length of the camera that stands for the weak perspective, crop pixels.
        window: images that ``clip`` looks at.
        vertices: of the surface.
    """

    kind: Literal["video"]
    files: VideoFiles
    box_margin: Annotated[float, Field(ge=1, le=4)]
    focal_px: Positive
    window: Annotated[int, Field(ge=1, le=64)]
    vertices: Annotated[int, Field(ge=3, le=100_000)]

    @model_validator(mode="after")
    def _outputs_fit(self) -> VideoManifest:
        if set(self.outputs) != {"tokens"}:
            raise ValueError(f"outputs are {sorted(self.outputs)}; kind video has ['tokens']")
        shape = self.outputs["tokens"].shape
        if len(shape) != 3 or shape[0] != 1:
            raise ValueError(
                f"outputs.tokens.shape is {list(shape)}; expected [1, tokens, channels] of one crop"
            )
        return self
