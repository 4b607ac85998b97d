"""What ``bundle.yaml`` may say: one schema for each kind of model.

Unknown keys are refused: a misspelt threshold must not silently become a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from smap_ros.errors import BundleError
from smap_ros.skeletons import SKELETONS

MANIFEST = "bundle.yaml"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=16, le=8192)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

BOX_SIDES = 4  # channels of a person's box in VirtualPose's maps


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Strict):
    """A file of the bundle: ``path`` relative to its folder, ``sha256`` of the content."""

    path: Text
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        # Lexical on purpose: `colcon build --symlink-install` makes the files themselves links
        # into the source tree, and the sha256 already pins what a link may lead to.
        parts = PurePosixPath(path.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in path:
            raise ValueError("the path must be relative and stay inside the bundle's folder")
        return path


class Networks(_Strict):
    """The ONNX files of a bundle by their role; each kind adds its own.

    Attributes:
        model: the network that sees the image.
    """

    model: FileEntry

    @property
    def entries(self) -> dict[str, FileEntry]:
        """The files that there are, by role."""
        files = {role: getattr(self, role) for role in type(self).model_fields}
        return {role: entry for role, entry in files.items() if entry is not None}


class ImageInput(_Strict):
    """The network's image input, float32 [1, 3, height, width].

    ``mean`` and ``std``, in the order of ``color``, apply to value / 255.
    """

    name: Text
    width: Pixels
    height: Pixels
    color: Literal["bgr", "rgb"]
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Positive, Positive, Positive]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the input tensor."""
        return (1, 3, self.height, self.width)

    @property
    def white(self) -> float:
        """What a pixel of value 255 is before mean and std apply."""
        return 1.0


class InputSpec(ImageInput):
    """Input that is a whole image, fitted isotropically into the middle.

    Other fits don't exist, so ``letterbox`` is always true. The kind decides on the colour of
    the border and on fractions of a pixel.
    """

    letterbox: Literal[True] = True


class CropInput(ImageInput):
    """Input that is a square crop about a person.

    Attributes:
        pixel_range: 1 when ``mean`` and ``std`` apply to value / 255, as usual; 255 when they
            apply to the value itself. The official weights of MobileHumanPose need 255: their
            preprocessing leaves the division out, and they were trained that way.
    """

    pixel_range: Literal[1, 255] = 1

    @property
    def white(self) -> float:
        """What a pixel of value 255 is before mean and std apply."""
        return float(self.pixel_range)

    @model_validator(mode="after")
    def _is_square(self) -> CropInput:
        if self.width != self.height:
            raise ValueError(f"input is {self.width}x{self.height}; crops are square")
        return self


class OutputSpec(_Strict):
    """One output of the network: its name in the ONNX file and its exact shape."""

    name: Text
    shape: tuple[Annotated[int, Field(gt=0)], ...]


class Metric(_Strict):
    """A measured number and the command that measured it."""

    value: Finite
    command: Text


class Provenance(_Strict):
    """Where the weights come from, well enough to make them again.

    Attributes:
        data: what the model was trained on, with sources and licences.
        command: the command that made it.
        commit: version of the code, or ``unknown`` for imported weights.
        seed: seed of the run, if it had one.
        data_hash: hash over the training data, if it was taken.
        metrics: name -> value and the command that measured it.
    """

    data: Text
    command: Text
    commit: Text
    seed: int | None = None
    data_hash: str | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)


class Manifest(_Strict):
    """What every kind of bundle states. See the subclasses for what each kind adds."""

    name: Name
    kind: str
    version: Text
    description: str = ""
    files: Networks
    input: ImageInput
    outputs: dict[str, OutputSpec]
    joint_set: str
    precision: Literal["fp32", "fp16", "int8"]
    licence: Text
    provenance: Provenance

    @field_validator("joint_set")
    @classmethod
    def _known_joint_set(cls, name: str) -> str:
        if name not in SKELETONS:
            raise ValueError(f"expected one of {', '.join(SKELETONS)}")
        return name


class SmapScales(_Strict):
    """From the numbers of the network to working units.

    Attributes:
        heatmap_scale: heatmaps are divided by this (255 for the official SMAP).
        paf_scale: part affinity fields are divided by this (127 for the official SMAP).
        bone_depth_unit_m: metres per unit of the bone depths (0.01 for centimetres).
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

    15 heatmaps and 28 part affinity channels, 14 bone depths, 1 root depth.

    Attributes:
        scales: units of the outputs.
        stride: network pixels per map cell.
        centred_pixels: how the training labels counted pixels; see ``LiftingConfig``.
        association: overrides of fields of ``association.AssociationConfig``, by name.
    """

    kind: Literal["smap"]
    input: InputSpec
    files: SmapFiles
    scales: SmapScales
    stride: Annotated[int, Field(ge=1, le=32)]
    centred_pixels: bool = False
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
        if set(self.outputs) != set(expected):
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; kind smap has {sorted(expected)}"
            )
        for name, channels in expected.items():
            shape = (1, channels, *grid)
            if self.outputs[name].shape != shape:
                raise ValueError(
                    f"outputs.{name}.shape is {list(self.outputs[name].shape)}; "
                    f"expected {list(shape)} for this input and stride"
                )
        return self


class VirtualPoseFiles(Networks):
    """The networks behind ``model``, the backbone.

    Attributes:
        root: candidates for people from the backbone's maps and the camera.
        pose: joints of any number of people from the maps, their roots and the camera.
    """

    root: FileEntry
    pose: FileEntry


class SearchedSpace(_Strict):
    """The box of the world in which people's roots are searched; z is up, the floor is at 0.

    Attributes:
        size_m: its edges along x, y and z.
        center_m: its middle.
    """

    size_m: tuple[Positive, Positive, Positive]
    center_m: tuple[Finite, Finite, Finite]


class VirtualPoseManifest(Manifest):
    """VirtualPose in three networks; the first one's output ``maps`` feeds the others.

    The maps are the joints' heatmaps, those of mpi15 first, then the distances from the root
    to the four sides of a person's box. The inputs and outputs of ``root`` and ``pose`` are
    fixed; see ``estimators.virtualpose``.

    Attributes:
        stride: network pixels per map cell.
        max_people: candidates that ``root`` gives.
        root_threshold: candidates that score more are people.
        space: where people are searched.
    """

    kind: Literal["virtualpose"]
    input: InputSpec
    files: VirtualPoseFiles
    stride: Annotated[int, Field(ge=1, le=32)]
    max_people: Annotated[int, Field(ge=1, le=1000)]
    root_threshold: Annotated[float, Field(ge=0, le=1)]
    space: SearchedSpace

    @model_validator(mode="after")
    def _outputs_fit(self) -> VirtualPoseManifest:
        if self.joint_set != "mpi15":
            raise ValueError(f"joint_set is {self.joint_set!r}; kind virtualpose gives mpi15")
        if set(self.outputs) != {"maps"}:
            raise ValueError(f"outputs are {sorted(self.outputs)}; kind virtualpose has ['maps']")
        shape = self.outputs["maps"].shape
        joints = len(SKELETONS[self.joint_set])
        grid = (self.input.height // self.stride, self.input.width // self.stride)
        fits = len(shape) == 4 and shape[0] == 1 and shape[1] >= joints + BOX_SIDES
        if not fits or shape[2:] != grid:
            raise ValueError(
                f"outputs.maps.shape is {list(shape)}; expected [1, {joints + BOX_SIDES} or more, "
                f"{grid[0]}, {grid[1]}] for this input and stride"
            )
        return self

    @property
    def joints(self) -> int:
        """Joints that the networks know, mpi15's first."""
        return self.outputs["maps"].shape[1] - BOX_SIDES


class TopdownManifest(Manifest):
    """A network that sees a crop of one person; another bundle finds the people.

    Its output ``coords`` gives each joint's x, y and z in 0-based cells: x and y span the crop,
    z the depths from ``depth_half_range_m`` before to as far behind the root's. A free first
    axis of input and output lets several crops run at once.

    Attributes:
        first_stage: name of the bundle that finds the people, beside this one or shipped.
        cells: along each axis of the cube.
        depth_half_range_m: half of the depth that the cube spans.
        box_margin: side of the crop over the longer side of the box about a person's joints.
        flip_test: look at the mirrored crop too; twice the time.
    """

    kind: Literal["topdown"]
    input: CropInput
    first_stage: Name
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


# kind -> its manifest; a new kind of model adds a line here and one in estimators/factory.py.
MANIFESTS: dict[str, type[Manifest]] = {
    "smap": SmapManifest,
    "virtualpose": VirtualPoseManifest,
    "topdown": TopdownManifest,
}


def parse_manifest(data: Mapping[str, Any], source: str = MANIFEST) -> Manifest:
    """Validate the content of a manifest.

    Raises:
        BundleError: naming each wrong field, what it holds and what is expected.
    """
    kind = data.get("kind")
    model = MANIFESTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise BundleError(f"{source}: kind is {kind!r}; expected one of {', '.join(MANIFESTS)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BundleError(f"{source} is not valid: {_describe(error)}") from error


def _describe(error: ValidationError) -> str:
    """Pydantic's findings in our words: field, what was got, what to do."""
    findings = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "bundle"
        if item["type"] == "extra_forbidden":
            findings.append(f"{where}: unknown key; remove it or correct its spelling")
        elif item["type"] == "missing":
            findings.append(f"{where}: missing; add it")
        else:
            got = "" if isinstance(item["input"], dict) else f"got {item['input']!r:.80}; "
            findings.append(f"{where}: {got}{item['msg'].removeprefix('Value error, ')}")
    return "; ".join(findings)
