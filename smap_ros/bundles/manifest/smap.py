"""Manifest of networks with SMAP's outputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import (
    FileEntry,
    InputSpec,
    Manifest,
    Networks,
    Positive,
    Strict,
)


class SmapScales(Strict):
    """From the numbers of the network to working units.

    Attributes:
        heatmap_scale: heatmaps are divided by this (255 for the official SMAP).
        paf_scale: part affinity fields are divided by this (127 for the official SMAP).
        bone_depth_unit_m: metres per unit of the bone depths, and of poses if there are any
            (0.01 for centimetres).
        root_depth_unit_m: metres per unit of Z where the root depth is Z / f, f being the
            focal length in network pixels (0.01 for the official SMAP: cm per pixel).
    """

    heatmap_scale: Positive
    paf_scale: Positive
    bone_depth_unit_m: Positive
    root_depth_unit_m: Positive


class SmapFiles(Networks):
    """``refine``: optional network that refines the lifted joints."""

    refine: FileEntry | None = None


class SmapManifest(Manifest):
    """A network with SMAP's outputs, all at ``stride`` of the input.

    15 heatmaps and 28 part affinity channels, 14 bone depths, 1 root depth; optionally ``pose``,
    45 channels: around each pelvis, x, y and z of that person's joints from it, see
    ``lifting.Lifted``.

    Attributes:
        scales: units of the outputs.
        stride: network pixels per map cell.
        centred_pixels: how the training labels counted pixels; see ``LiftingConfig``.
        size_share: how far the refined skeleton's apparent size moves people, 0 to 1; see
            ``estimators.placement``. 0 leaves them at the network's root depth, as SMAP does.
        flip_test: look at the mirrored image too and take the mean; twice the network's time.
        refine_scores: the refining network takes the joints' scores as well, 90 numbers a person.
        refine_poses: it takes the poses that the pelvises tell, 45 numbers more, behind the rest.
        refine_root: its row of the root says how far to move the person, see
            ``refining.refine_output``.
        association: overrides of fields of ``association.AssociationConfig``, by name.
    """

    kind: Literal["smap"]
    input: InputSpec
    files: SmapFiles
    scales: SmapScales
    stride: Annotated[int, Field(ge=1, le=32)]
    centred_pixels: bool = False
    size_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    flip_test: bool = False
    refine_scores: bool = False
    refine_poses: bool = False
    refine_root: bool = False
    association: dict[str, float | int | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _outputs_fit(self) -> SmapManifest:
        if self.joint_set != "mpi15":
            raise ValueError(f"joint_set is {self.joint_set!r}; kind smap works on mpi15")
        if self.input.width % self.stride or self.input.height % self.stride:
            raise ValueError(
                f"input {self.input.width}x{self.input.height} is not a multiple of stride "
                f"{self.stride}"
            )
        grid = (self.input.height // self.stride, self.input.width // self.stride)
        expected = {"maps": 43, "bone_depth": 14, "root_depth": 1}
        if set(self.outputs) - {"pose"} != set(expected):
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; kind smap has {sorted(expected)}, and "
                "maybe pose"
            )
        if "pose" in self.outputs:
            expected["pose"] = 45
        elif self.refine_poses:
            raise ValueError("refine_poses is true, but the network has no output pose")
        for name, channels in expected.items():
            shape = (1, channels, *grid)
            if self.outputs[name].shape != shape:
                raise ValueError(
                    f"outputs.{name}.shape is {list(self.outputs[name].shape)}; "
                    f"expected {list(shape)} for this input and stride"
                )
        return self
