"""What users may set of the models: one ``Options`` for each kind, one for all.

Adding a field here adds the ROS parameter, the launch argument, the option of ``smap-ros``, the
line of ``config/pose3d.yaml`` and that of ``docs/parameters.md``. Fields of one name in several
kinds mean the same and share their help.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from smap_ros.engines.names import GPU_NUMBER, MAX_THREADS, EngineName, GpuOptions, Precision
from smap_ros.errors import InputError
from smap_ros.settings import Options, Setting, Value, build, setting, settings_of

if TYPE_CHECKING:
    from smap_ros.geometry.mounting import Mounting

JOINTS = 15  # of the working set
MAX_BATCH = 64

# blend: the mean of all answers, those from the middle of a window counting most. centre: the
# one answer that was nearest to the middle.
Association = Literal["auto", "cpu", "cuda"]
Overlap = Literal["blend", "centre"]

# Which side of the image shows what is up; auto: the camera's mounting tells, where it is known.
ImageUp = Literal["auto", "top", "right", "bottom", "left"]

_MIN_JOINTS = "people with fewer joints found in the image are left out"
_MIN_SCORE = "people with a lower score are left out"
_FLIP_TEST = "look at the mirrored image too, for twice the network's time"


NO_FLOOR = (
    "on_floor is true, but where the floor is isn't known: state world_frame where TF tells it, or "
    "camera_height and camera_pitch_deg; or leave on_floor false"
)


class ModelOptions(Options):
    """Which model runs, and on what."""

    label: ClassVar[str] = "every model"

    bundle: str = setting("smap_lite", "name of a shipped model, or path of a model bundle")
    engine: EngineName = setting(
        "auto", "inference runtime; auto measures what is installed and takes the fastest"
    )
    threads: int = setting(
        0, "CPU threads of the network; 0: all cores this process may use", low=0, high=MAX_THREADS
    )
    precision: Precision = setting(
        "f32",
        "f32: the network's own arithmetic; tf32, f16: coarser, on NVIDIA GPUs; auto: what the "
        "runtime thinks best",
    )
    image_up: ImageUp = setting(
        "auto",
        "which side of the image is up, of cameras mounted on their side or upside down: the image "
        "is turned for the network; auto: as the camera's mounting says (world_frame, or "
        "camera_roll_deg), or top",
    )
    gpu: int = setting(0, GPU_NUMBER, low=0, high=63)
    workspace_mb: int = setting(
        1024, "GPU memory that TensorRT may use for one layer", unit="MiB", low=16, high=65536
    )

    @property
    def gpu_options(self) -> GpuOptions:
        """Which GPU, and what TensorRT may take of it."""
        return GpuOptions(self.gpu, self.workspace_mb)


class SmapConfig(Options):
    """Settings of bundles of kind ``smap``.

    SMAP itself filters nobody; ``min_joints=1, min_score=0, duplicate_distance=0`` is that. A
    person's score is the probability that they are there, of bundles that tell it
    (``person_score``); of others, the sum of the joints' scores over the number of joints of the
    set: the mean, lowered by each missing joint. The refining network moves all joints but the
    root, and places those that were not found, with score ``INFERRED_SCORE`` and the image point
    where a second look believes them, or else their position projects to. The pelvis of people
    found from their neck has that score as well.

    Attributes:
        association_settings: overrides of fields of ``AssociationConfig``, over those of the
            bundle.
    """

    label: ClassVar[str] = "kind smap"

    min_joints: int = setting(4, _MIN_JOINTS, low=1, high=JOINTS)
    min_score: float | None = setting(None, _MIN_SCORE, low=0, high=1)
    min_joint_score: float | None = setting(
        None, "people whose joints that were seen score less on average are left out", low=0, high=1
    )
    duplicate_distance: float = setting(
        0.2,
        "of two people whose pelvises are closer than this the less certain one is left out",
        unit="metres",
        low=0,
        high=10,
    )
    refine: bool = setting(
        True,
        "run the bundle's refining network, if it has one, and the network that has learned from "
        "its people",
    )
    necks: bool = setting(
        True, "find people whose pelvis is out of the picture from their neck, if the bundle can"
    )
    size_prior_weight: float | None = setting(
        None,
        "how much the height of people counts in their distance; 0 where children are",
        low=0,
        high=1,
    )
    size_prior_mean: float | None = setting(
        None, "mean height of the people here", unit="metres", low=0.3, high=3
    )
    size_prior_spread: float | None = setting(
        None, "standard deviation of their height as a share of the mean", low=0.001, high=1
    )
    flip_test: bool | None = setting(None, _FLIP_TEST)
    on_floor: bool = setting(
        False,
        "people stand on the floor: their distance is also where their feet are on it, as the "
        "camera's mounting has it (world_frame, or camera_height and its like); off where there "
        "are stairs or platforms",
    )
    second_look: bool | None = setting(
        None, "look at each person again, in a crop of their own, if the bundle can"
    )
    second_look_budget: float | None = setting(
        None,
        "time for second looks at an image, the people who need them most first; 0: no limit",
        unit="milliseconds",
        low=0,
        high=10_000,
    )
    association: Association = setting(
        "auto",
        "where people are put together: cpu; cuda: on the GPU, with engine tensorrt; auto: there "
        "if it can be",
    )
    association_settings: Mapping[str, Any] = Field(default_factory=dict)


class MountingOptions(Options):
    """How cameras are mounted that don't state it themselves."""

    camera_height: float | None = setting(
        None,
        "height of the camera above the floor; with on_floor of kind smap, too",
        unit="metres",
        low=0.01,
        high=100,
    )
    camera_pitch_deg: float = setting(
        0.0, "how far the camera looks down", unit="degrees", low=-89, high=89
    )
    camera_roll_deg: float = setting(
        0.0,
        "how far the right side of the image is turned up, as the camera is mounted",
        unit="degrees",
        low=-180,
        high=180,
    )

    @property
    def mounting(self) -> Mounting | None:
        """The same as a mounting; None without a height."""
        return None if self.camera_height is None else self.mounted(self.camera_height)

    def mounted(self, height: float) -> Mounting:
        """The mounting at a height, metres."""
        from smap_ros.geometry.mounting import Mounting  # numpy comes with it

        pitch, roll = math.radians(self.camera_pitch_deg), math.radians(self.camera_roll_deg)
        return Mounting(height, pitch, roll)


class VirtualPoseConfig(MountingOptions):
    """Settings of bundles of kind ``virtualpose``.

    The mounting is that of cameras that don't state their own. Without a height 1 m is assumed,
    with a warning. ``min_score`` is that of a person's root; None takes the bundle's threshold.
    """

    label: ClassVar[str] = "kind virtualpose"

    ahead: float | None = setting(
        None,
        "horizontal distance from the camera to the middle of the searched space",
        unit="metres",
        low=-100,
        high=100,
    )
    min_score: float | None = setting(None, _MIN_SCORE, low=0, high=1)
    min_joints: int = setting(0, _MIN_JOINTS, low=0, high=JOINTS)


class StageOptions(Options):
    """Settings of all models behind another model. None leaves a setting to the bundle."""

    first_stage: str | None = setting(None, "name or path of the bundle that finds the people")
    max_batch: int = setting(
        8,
        "people who go through the network at once; bounds the memory",
        low=1,
        high=MAX_BATCH,
    )


class TopdownConfig(StageOptions):
    """Settings of bundles of kind ``topdown``."""

    label: ClassVar[str] = "kind topdown"

    flip_test: bool | None = setting(None, _FLIP_TEST)


class MeshConfig(StageOptions):
    """Settings of bundles of kind ``mesh``."""

    label: ClassVar[str] = "kind mesh"

    min_guides: int = setting(
        4, "people of whom the first stage sees fewer joints are left out", low=1, high=JOINTS
    )


class VideoConfig(StageOptions):
    """Settings of bundles of kind ``video``.

    Each window of images answers for all its images, so ``stride`` divides the time of the
    network's second part. ``overlap`` is what to make of the answers of several windows.
    """

    label: ClassVar[str] = "kind video"

    delay: int = setting(
        0,
        "report the people of the image so many images back, seen with those after it, with its "
        "stamp; less than the bundle's window",
        unit="images",
        low=0,
        high=1023,
    )
    stride: int = setting(
        1,
        "run on every image of a person (1), every second (2), ...; at most delay + 1",
        unit="images",
        low=1,
        high=1024,
    )
    overlap: Overlap = setting("blend", "what becomes of the answers of several windows")

    @model_validator(mode="after")
    def _stride_within_the_delay(self) -> VideoConfig:
        if self.stride > self.delay + 1:
            raise InputError(
                f"stride is {self.stride!r}; expected 1 to {self.delay + 1}, one more than the "
                "delay: a later window would come too late"
            )
        return self


OPTIONS: dict[str, type[Options]] = {
    "smap": SmapConfig,
    "virtualpose": VirtualPoseConfig,
    "topdown": TopdownConfig,
    "mesh": MeshConfig,
    "video": VideoConfig,
}


@dataclass(frozen=True)
class ModelChoice:
    """A model as a user states it.

    Attributes:
        model: which, and on what.
        options: of its kind (and of the first stage's), as far as they are stated.
    """

    model: ModelOptions
    options: Mapping[str, Value]

    @classmethod
    def of(cls, values: Mapping[str, Value | None]) -> ModelChoice:
        """From the values of settings by name; others than those of models are left aside."""
        stated = ((one.name, values.get(one.name)) for one in MODEL_SETTINGS)
        options = {name: value for name, value in stated if value is not None}
        return cls(build(ModelOptions, values), options)


def crops_at_once(kind: str, stated: Mapping[str, Value]) -> int:
    """How many crops the first network of a bundle of that kind is sent at once."""
    schema = OPTIONS.get(kind)
    if schema is None or "max_batch" not in schema.model_fields:
        return 1
    return int(str(stated.get("max_batch", schema.model_fields["max_batch"].default)))


def _settings_of_models() -> tuple[Setting, ...]:
    """The settings of all kinds by name; what a user doesn't state is the model's own.

    Limits are the widest: each kind holds to its own.
    """
    found: defaultdict[str, dict[str, Setting]] = defaultdict(dict)
    for kind, schema in OPTIONS.items():
        for one in settings_of(schema):
            found[one.name][kind] = one
    return tuple(_common(kinds) for kinds in found.values())


def _common(kinds: Mapping[str, Setting]) -> Setting:
    all_of_them = list(kinds.values())
    own = {kind: one.text(one.default) for kind, one in kinds.items() if one.default is not None}
    of = f"kind{'s' if len(kinds) > 1 else ''} {', '.join(kinds)}"
    left = ""
    if own and len(own) == len(kinds) and len(set(own.values())) == 1:
        left = f"; bundle: {next(iter(own.values()))}"
    elif own:
        left = f"; bundle: {', '.join(f'{value} ({kind})' for kind, value in own.items())}"
    first = all_of_them[0]
    return replace(
        first,
        default=None,
        optional=True,
        low=min(one.low for one in all_of_them),
        high=max(one.high for one in all_of_them),
        help=f"{first.help} ({of}{left})",
    )


MODEL_SETTINGS = _settings_of_models()
