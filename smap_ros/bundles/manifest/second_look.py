"""What a bundle states of its second look at each person."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from smap_ros.bundles.manifest.common import CropInput, OutputSpec, Strict, Weight, distinct

_JOINTS = 15  # mpi15
_SHAPES = {"joints": (1, _JOINTS, 3), "pose": (1, _JOINTS, 3), "presence": (1, 1)}


class ShareWeights(Strict):
    """How much of a joint is the second look's: the logistic function of a weighted sum.

    Attributes:
        bias: what the sum begins with.
        first, second: per unit of the joint's score in each look.
        apart: per unit of how far apart the two see it, as a share of the crop's side.
    """

    bias: Weight = 0.0
    first: Weight = 0.0
    second: Weight = 0.0
    apart: Weight = 0.0


class SecondLookSpec(Strict):
    """A network that sees a turned crop of one person; ``files.second`` is its file.

    Its outputs, of mpi15: ``joints``, x and y in crop pixels from the corner of the crop and a
    score, the probability that the joint is seen; ``pose``, metres from the pelvis, x to the right
    of the crop, y down, z away; ``presence``, the probability that somebody is there.

    Attributes:
        margin: half side of the crop over the distance from the pelvis to the farthest joint.
        min_presence: people whose presence is lower keep the first look's pose.
        max_apart: so do those whose joints are farther apart on average, as a share of the crop's
            side.
        min_score: joints that only the second look sees are seen from this score on.
        in_picture: the second look's share in where joints are in the picture.
        in_space: its share in the pose in metres.
        budget_ms: time for second looks at an image while a camera runs; 0 is no limit.
    """

    input: CropInput
    outputs: dict[str, OutputSpec]
    margin: Annotated[float, Field(ge=1, le=4)] = 1.25
    min_presence: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_apart: Annotated[float, Field(gt=0, le=1)] = 0.25
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.3
    in_picture: ShareWeights = ShareWeights()
    in_space: ShareWeights = ShareWeights()
    budget_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0

    _distinct_outputs = field_validator("outputs")(distinct)

    @model_validator(mode="after")
    def _outputs_fit(self) -> SecondLookSpec:
        if set(self.outputs) != set(_SHAPES):
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; a second look has {sorted(_SHAPES)}"
            )
        for name, shape in _SHAPES.items():
            if self.outputs[name].shape != shape:
                raise ValueError(
                    f"outputs.{name}.shape is {list(self.outputs[name].shape)}; expected "
                    f"{list(shape)}"
                )
        return self
