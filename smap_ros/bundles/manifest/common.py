"""What every kind of bundle states, and the parts that the kinds share."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from smap_ros.geometry.letterbox import Resize
from smap_ros.skeletons import SKELETONS

# Far beyond what can be meant, and nothing computed from them in float32 overflows.
Positive = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
# Of a weighted sum.
Weight = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=16, le=8192)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Strict(BaseModel):
    """Unknown keys are refused, truth values are no numbers, nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's ``yes`` would count as 1."""
        values = value if isinstance(value, list | tuple) else [value]
        field = cls.model_fields[info.field_name or ""]
        if any(isinstance(one, bool) for one in values) and not _takes_truth(field.annotation):
            raise ValueError("expected a number or text, not a truth value")
        return value


def _takes_truth(annotation: Any) -> bool:
    """Whether a type may be a truth value."""
    if annotation is bool or annotation is Any or isinstance(annotation, bool):
        return True
    return any(map(_takes_truth, get_args(annotation)))


def distinct(outputs: dict[str, OutputSpec]) -> dict[str, OutputSpec]:
    """The outputs of a network, if each is another one.

    Raises:
        ValueError: if two of them are the same tensor.
    """
    roles: dict[str, str] = {}
    for role, output in outputs.items():
        if other := roles.get(output.name):
            raise ValueError(
                f"outputs {other} and {role} are both {output.name!r} of the network; expected a "
                "tensor each"
            )
        roles[output.name] = role
    return outputs


class FileEntry(Strict):
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


class Networks(Strict):
    """The ONNX files of a bundle by their role; each kind adds its own.

    Attributes:
        model: the network that sees the image.
        model_fp16: the same computed in half precision, with float32 inputs and outputs, for GPUs.
    """

    model: FileEntry
    model_fp16: FileEntry | None = None

    @property
    def entries(self) -> dict[str, FileEntry]:
        """The files that there are, by role."""
        files = {role: getattr(self, role) for role in type(self).model_fields}
        return {role: entry for role, entry in files.items() if entry is not None}


class ImageInput(Strict):
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

    Attributes:
        resize: ``area`` averages whole factors away when an image shrinks by two or more, so that
            far people stay whole; ``bilinear`` never does, as official preprocessing.
    """

    letterbox: Literal[True] = True
    resize: Resize = "area"


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


class OutputSpec(Strict):
    """One output of the network: its name in the ONNX file and its exact shape."""

    name: Text
    shape: tuple[Annotated[int, Field(gt=0)], ...]


class Metric(Strict):
    """A measured number and the command that measured it."""

    value: Annotated[float, Field(allow_inf_nan=False)]
    command: Text


class Provenance(Strict):
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


class Manifest(Strict):
    """What every kind of bundle states. See the subclasses for what each kind adds."""

    name: Name
    kind: str
    version: Text
    description: str = ""
    files: Networks
    outputs: dict[str, OutputSpec]
    joint_set: str
    precision: Literal["fp32", "fp16", "int8"]
    licence: Text
    provenance: Provenance

    @property
    @abstractmethod
    def network_inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs of ``model`` by name, float32, for one image or person."""

    _distinct_outputs = field_validator("outputs")(distinct)

    @field_validator("joint_set")
    @classmethod
    def _known_joint_set(cls, name: str) -> str:
        if name not in SKELETONS:
            raise ValueError(f"expected one of {', '.join(SKELETONS)}")
        return name


class ImageManifest(Manifest):
    """What kinds state whose network looks at an image."""

    input: ImageInput

    @property
    def network_inputs(self) -> dict[str, tuple[int, ...]]:
        """See :class:`Manifest`."""
        return {self.input.name: self.input.shape}


class CropManifest(ImageManifest):
    """What kinds state whose network looks at people that another bundle finds.

    Attributes:
        first_stage: name of the bundle that finds the people, beside this one or shipped.
    """

    input: CropInput
    first_stage: Name
