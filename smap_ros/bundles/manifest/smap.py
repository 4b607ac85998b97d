"""Manifest of networks with SMAP's outputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import (
    FileEntry,
    ImageManifest,
    InputSpec,
    Networks,
    Positive,
    Strict,
    Weight,
)
from smap_ros.bundles.manifest.second_look import SecondLookSpec

_NEEDED = ("maps", "bone_depth", "root_depth")
# Channels of each output.
_OUTPUTS = {
    "maps": 43,
    "bone_depth": 14,
    "root_depth": 1,
    "pose": 45,
    "neck_depth": 1,
    "neck_pose": 45,
    "depth_spread": 2,
}


class SizePrior(Strict):
    """How large people are, as evidence of how far away they are.

    In one picture size and distance can't be told apart; a prior on the size of adults helps
    most far away. Where children are, ``weight`` 0 turns it off.

    Attributes:
        weight: how much of it counts, 0 to 1.
        mean: height of people, metres.
        spread: standard deviation of the height, as a share of the mean.
    """

    weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    mean: Annotated[float, Field(ge=0.3, le=3)] = 1.7
    spread: Annotated[float, Field(ge=0.001, le=1)] = 0.07


class FarPeople(Strict):
    """By how much the network tells people too near who are far away or appear small; measured.

    Networks tend to answer what they saw most of. The logarithm of the depth is raised by ``power``
    times that of the depth over ``beyond``, and by ``small_power`` times that of ``below`` over the
    pixels that a metre is shown with there; either only where it is more than 1. See
    ``estimators.smap.placement.placed_farther``.

    Attributes:
        beyond: depth in metres up to which nothing is done.
        power: exponent of the depth over ``beyond``.
        below: network pixels per metre from which on nothing is done.
        small_power: exponent of ``below`` over the network pixels per metre.
    """

    beyond: Positive = 8.0
    power: Annotated[float, Field(ge=0, le=1)] = 0.0
    below: Positive = 30.0
    small_power: Annotated[float, Field(ge=0, le=1)] = 0.0


class PersonScore(Strict):
    """Weights of evidence that somebody is there: a logistic regression, measured.

    Every person's score is then a probability; see ``estimators.smap.certainty`` for the evidence.

    Attributes:
        bias: where all evidence is 0.
        joint_score: of the mean score of the joints seen.
        share_seen: of the share of the joints that are seen.
        depth_doubt: of the logarithm of the distance's deviation over the distance.
        size: of the logarithm of the apparent height over the picture's width.
        presence: of the logarithm of the second look's presence.
    """

    bias: Weight
    joint_score: Weight
    share_seen: Weight
    depth_doubt: Weight = 0.0
    size: Weight = 0.0
    presence: Annotated[Weight, Field(ge=0)] = 0.0


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
    """Optional networks beside the one that sees the image.

    Attributes:
        refine: refines the lifted joints.
        second: looks at each person again, see ``SecondLookSpec``.
        fuse: makes one person of both looks, see ``estimators.second_look.learned``.
    """

    refine: FileEntry | None = None
    second: FileEntry | None = None
    fuse: FileEntry | None = None


class SmapManifest(ImageManifest):
    """A network with SMAP's outputs, all at ``stride`` of the input.

    15 heatmaps and 28 part affinity channels, 14 bone depths, 1 root depth; optionally ``pose``,
    45 channels: around each pelvis, x, y and z of that person's joints from it, see
    ``lifting.Lifted``; ``neck_depth`` and ``neck_pose``, the same of necks, for people whose
    pelvis is out of the picture; ``depth_spread``, 2 channels: the error to expect of the
    logarithm of pelvises' and necks' depths.

    Attributes:
        scales: units of the outputs.
        stride: network pixels per map cell.
        centred_pixels: how the training labels counted pixels; see ``LiftingConfig``.
        depth_by_size: distances are told by how large people look, so that lenses count; see
            ``LiftingConfig``.
        size_share: how far the refined skeleton's apparent size moves people, 0 to 1; see
            ``estimators.placement``. 0 leaves them at the network's root depth, as SMAP does.
        depth_error: standard deviation of the logarithm of the depth: of 1 in ``depth_spread``, or,
            of networks without that output, of every depth. Measured; 0 is unknown.
        far_people: how much farther than told people are who are far away or appear small; none of
            networks that nobody measured.
        size_prior: how large people are, see :class:`SizePrior`.
        min_joint_score: people whose joints that were seen score less on average are nobody.
        person_score: makes people's scores probabilities; without it, a score is the sum of the
            joints' scores over the number of joints of the set.
        min_score: people with a lower score are left out.
        flip_test: look at the mirrored image too and take the mean; twice the network's time.
        refine_scores: the refining network takes the joints' scores as well, 90 numbers a person.
        refine_poses: it takes the poses that the pelvises tell, 45 numbers more, behind the rest.
        refine_root: its row of the root says how far to move the person, see
            ``refining.refine_output``.
        association: overrides of fields of ``association.AssociationConfig``, by name.
        second_look: what the network ``second`` of the files sees and tells.
    """

    kind: Literal["smap"]
    input: InputSpec
    files: SmapFiles
    scales: SmapScales
    stride: Annotated[int, Field(ge=1, le=32)]
    centred_pixels: bool = False
    depth_by_size: bool = False
    size_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    depth_error: Annotated[float, Field(ge=0, le=10)] = 0.0
    far_people: FarPeople = FarPeople()
    size_prior: SizePrior = SizePrior()
    min_joint_score: Annotated[float, Field(ge=0, le=1)] = 0.0
    person_score: PersonScore | None = None
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.1
    flip_test: bool = False
    refine_scores: bool = False
    refine_poses: bool = False
    refine_root: bool = False
    association: dict[str, float | int | bool] = Field(default_factory=dict)
    second_look: SecondLookSpec | None = None

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
        unknown = sorted(set(self.outputs) - set(_OUTPUTS))
        missing = sorted(set(_NEEDED) - set(self.outputs))
        if unknown or missing:
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; kind smap has {sorted(_NEEDED)}, and maybe "
                f"{', '.join(sorted(set(_OUTPUTS) - set(_NEEDED)))}"
            )
        if ("neck_depth" in self.outputs) != ("neck_pose" in self.outputs):
            raise ValueError("outputs neck_depth and neck_pose go together; one of them is missing")
        if "neck_pose" in self.outputs and "pose" not in self.outputs:
            raise ValueError("outputs has neck_pose but no pose: necks tell what pelvises tell")
        doubtless = not self.depth_error and "depth_spread" not in self.outputs
        if self.person_score is not None and self.person_score.depth_doubt and doubtless:
            raise ValueError(
                "person_score.depth_doubt is stated, but the bundle says nothing of how wrong its "
                "distances are (depth_error, output depth_spread)"
            )
        if self.person_score is not None and self.person_score.presence and not self.second_look:
            raise ValueError(
                "person_score.presence is stated, but the bundle has no second look that tells it"
            )
        if (self.second_look is None) != (self.files.second is None):
            raise ValueError("second_look and files.second go together; one of them is missing")
        if self.refine_poses and "pose" not in self.outputs:
            raise ValueError("refine_poses is true, but the network has no output pose")
        expected = {name: _OUTPUTS[name] for name in self.outputs}
        for name, channels in expected.items():
            shape = (1, channels, *grid)
            if self.outputs[name].shape != shape:
                raise ValueError(
                    f"outputs.{name}.shape is {list(self.outputs[name].shape)}; "
                    f"expected {list(shape)} for this input and stride"
                )
        return self

    @model_validator(mode="after")
    def _fusing_is_fed(self) -> SmapManifest:
        needed = {
            "files.second": self.files.second is not None,
            "output pose": "pose" in self.outputs,
            "output depth_spread": "depth_spread" in self.outputs,
        }
        lacking = [name for name, there in needed.items() if not there]
        if self.files.fuse is not None and lacking:
            raise ValueError(
                f"files.fuse is stated without {', '.join(lacking)}, which its network is fed with"
            )
        return self
