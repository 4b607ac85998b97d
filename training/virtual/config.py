"""Settings of a virtual data set, read from YAML; unknown keys are refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from smap_ros.errors import InputError
from smap_ros.markup import yaml_value

Range = tuple[float, float]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
_NotNegative, _Angle = Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0, lt=180)]
_Pitch = Annotated[float, Field(ge=-90, le=90)]
_Quality = Annotated[int, Field(ge=0, le=100)]
# Pictures of labels have 8 bits, and 0 is the surroundings.
_MOST_PEOPLE = 255
_Count = Annotated[int, Field(ge=0, le=_MOST_PEOPLE)]
# As configs/test.yaml has them; training sets have smaller seeds and the splits "train".
_HELD_OUT_SEED, _HELD_OUT_BODIES = 1000, 128


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> _Strict:
        for name, value in self:
            pair = isinstance(value, tuple) and len(value) == 2 and name != "waypoints"
            if pair and not isinstance(value[0], BaseModel) and value[0] > value[1]:
                raise ValueError(f"{name} is {value}; expected the smaller number first")
        return self


class CameraSettings(_Strict):
    """Where cameras are and how they see.

    Attributes:
        height: metres above the floor; pitch_deg: up is positive; roll_deg: standard deviation.
        fov_deg: horizontal field of view; distance: of people from the camera, metres.
        first: distance of the first person; None: as of the others. The picture is about them.
        aim: height of the point of them that the camera looks at, metres.
        turned_share: of pictures, stills only, from a camera rolled by any angle.
    """

    height: tuple[Positive, Positive] = (0.3, 3.0)
    pitch_deg: tuple[_Pitch, _Pitch] = (-30.0, 30.0)
    roll_deg: Annotated[float, Field(ge=0, le=20)] = 1.5
    fov_deg: tuple[_Angle, _Angle] = (45.0, 110.0)
    distance: tuple[Positive, Positive] = (0.8, 12.0)
    first: tuple[Positive, Positive] | None = None
    aim: Range = (0.3, 1.5)
    turned_share: Share = 0.0


class SensorSettings(_Strict):
    """Imaging faults, each drawn between none and its limit.

    Attributes:
        blur: sigma of the lens blur in pixels, 0 for none; motion_blur: longest streak in pixels,
            applied to a share ``motion_blur_share`` of the pictures.
        noise: standard deviation of read noise in grey levels.
        exposure: factor range; cast: largest relative shift of a colour channel.
        gamma_share, grey_share: of pictures with another tone curve, and without colour.
        jpeg_quality: range of the encoder's quality.
    """

    blur: tuple[_NotNegative, _NotNegative] = (0.35, 0.9)
    motion_blur: Annotated[float, Field(ge=0)] = 6.0
    motion_blur_share: Share = 0.12
    noise: tuple[_NotNegative, _NotNegative] = (0.3, 5.0)
    exposure: tuple[Positive, Positive] = (0.7, 1.35)
    cast: Share = 0.1
    gamma_share: Share = 0.3
    grey_share: Share = 0.06
    jpeg_quality: tuple[_Quality, _Quality] = (55, 96)


class SourceSettings(_Strict):
    """What scenes are made of; shared by all kinds.

    Attributes:
        seed: with the sample's index, determines the sample.
        width, height: of the pictures in pixels.
        bodies, body_seed: size and seed of the pool of body shapes.
        motion: mocap file (see ``smap_train.virtual.motion``); None for procedural poses only.
        motion_split: ``train`` leaves out the held-out sequences, ``held_out`` uses only these.
        assets: MakeHuman data folder; None for clothes from helper geometry.
        asset_split: as ``motion_split``, for clothes, hair and skins of the assets.
        texture_seed: of procedural textures and skies.
        backgrounds: folder of pictures without people.
        backend: of the OpenGL context.
    """

    seed: Seed = 0
    width: Annotated[int, Field(ge=32, le=4096)] = 448
    height: Annotated[int, Field(ge=32, le=4096)] = 256
    bodies: Annotated[int, Field(ge=1, le=4096)] = 256
    body_seed: Seed = 0
    motion: Path | None = None
    motion_split: Literal["train", "held_out", "all"] = "train"
    assets: Path | None = None
    asset_split: Literal["train", "held_out", "all"] = "train"
    texture_seed: Seed = 0
    backgrounds: Path | None = None
    backend: Literal["egl"] = "egl"
    camera: CameraSettings = CameraSettings()
    sensor: SensorSettings = SensorSettings()


class SceneSettings(SourceSettings):
    """Scenes drawn at random and written as shards; shared by stills and sequences.

    Attributes:
        out: folder of the shards.
        workers: processes.
        people: fewest and most people placed in a scene.
        mocap_share: of people in a mocap pose, when there is a mocap file.
        photo_share: of scenes in front of a picture from ``backgrounds``, when given.
        outdoor_share: of the other scenes that are outdoors.
        masks: also write the label picture (0 surroundings, k + 1 the person at list place k).
    """

    out: Path = Path("runs/virtual")
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    people: tuple[_Count, _Count] = (1, 6)
    mocap_share: Share = 0.55
    photo_share: Share = 0.2
    outdoor_share: Share = 0.3
    masks: bool = True


class StillsConfig(SceneSettings):
    """Independent pictures.

    Attributes:
        samples: number of pictures; shard_size: pictures in a shard.
        empty_share: of pictures without anybody.
        statue_share: of people who are made of one material, and are nobody.
        lookalikes: fewest and most slim things in a picture that are mistaken for people: high
            tables, tripods, lamps, coats.
    """

    kind: Literal["stills"] = "stills"
    samples: Annotated[int, Field(ge=1)] = 1000
    empty_share: Share = 0.0
    statue_share: Share = 0.0
    lookalikes: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    shard_size: Annotated[int, Field(ge=1, le=100_000)] = 250


class SequencesConfig(SceneSettings):
    """Short films as pictures, a shard each, of people who walk, move, sit and lie.

    ``mocap_share`` is of those who don't move.

    Attributes:
        sequences: their number; seconds: length of each; fps: pictures a second.
        walking_share, still_share: of people who walk along a route and who keep a pose; the
            others play a mocap sequence.
        carrying_share: of the walking who carry something.
        moving_share: of sequences whose camera drives; speed: of it, metres a second;
            turn_deg: fastest turn of it, degrees a second.
    """

    kind: Literal["sequences"]
    sequences: Annotated[int, Field(ge=1)] = 8
    seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    fps: Annotated[int, Field(ge=1, le=60)] = 10
    people: tuple[_Count, _Count] = (1, 5)
    walking_share: Share = 0.55
    still_share: Share = 0.2
    carrying_share: Share = 0.15
    moving_share: Share = 0.5
    speed: Range = (0.1, 0.5)
    turn_deg: Annotated[float, Field(ge=0, le=90)] = 8.0

    @model_validator(mode="after")
    def _shares(self) -> SequencesConfig:
        total = self.walking_share + self.still_share
        if total > 1:
            raise ValueError(f"walking_share + still_share is {total:g}; expected at most 1")
        return self

    @property
    def shard_size(self) -> int:
        """Pictures in a sequence."""
        return max(round(self.seconds * self.fps), 1)

    @property
    def samples(self) -> int:
        """Pictures in all."""
        return self.sequences * self.shard_size


class ClipPerson(_Strict):
    """One person of a clip.

    Attributes:
        motion: name of the sequence.
        start: seconds into what can be played of it (into its gait cycle for walkers).
        waypoints: x, y on the floor in metres (camera above the origin, y ahead). Two or more:
            the sequence's gait carries the person along the curve through them, at the speed
            it was captured with. One: the sequence is played as it is, starting there.
        heading_deg: for one waypoint, turn about the vertical of the captured sequence.
        body: index in the pool; look: seed of the clothes.
    """

    motion: str
    start: Annotated[float, Field(ge=0)] = 0.0
    waypoints: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)]
    heading_deg: float = 0.0
    body: Annotated[int, Field(ge=0)] = 0
    look: Seed = 0

    @model_validator(mode="after")
    def _apart(self) -> ClipPerson:
        for here, there in pairwise(self.waypoints):
            if here == there:
                raise ValueError(f"waypoint {there} comes twice in a row; expected another place")
        return self


class ClipConfig(SourceSettings):
    """One film with a fixed or slowly moving camera and its truth.

    Attributes:
        out: folder of ``clip.mp4``, ``camera.yaml`` and ``truth.json``.
        fps: must divide the mocap's 60 Hz; seconds: length of the film.
        crf: H.264 quality (lower is better and larger); supersample: pictures are drawn this
            many times larger and reduced.
        camera_height, camera_pitch_deg, camera_fov_deg: the camera's pose and lens.
        camera_sway: amplitude of its slow sideways movement, metres.
        camera_speed: of a robot that drives ahead with it, metres a second; camera_turn_deg: how
            far it turns to both sides, and camera_turn_period: seconds from side to side and back.
        room: x from, x to, y to, ceiling height in metres; room_seed: its look.
        pillars: x, y and width in metres of what hides people, from the floor to the ceiling.
        people: who walks where.
        bag: also write the film as a ROS bag, as the robot would have recorded it, with TF.
    """

    kind: Literal["clip"] = "clip"
    out: Path = Path("runs/clip")
    fps: Annotated[int, Field(ge=1, le=60)] = 15
    seconds: Annotated[float, Field(gt=0, le=600)] = 6.0
    crf: Annotated[int, Field(ge=0, le=51)] = 24
    supersample: Annotated[int, Field(ge=1, le=4)] = 2
    camera_height: Annotated[float, Field(gt=0)] = 1.6
    camera_pitch_deg: Annotated[float, Field(ge=-60, le=60)] = -8.0
    camera_fov_deg: Annotated[float, Field(gt=10, lt=150)] = 65.0
    camera_sway: float = 0.0
    camera_speed: float = 0.0
    camera_turn_deg: Annotated[float, Field(ge=0, le=90)] = 0.0
    camera_turn_period: Annotated[float, Field(gt=0)] = 4.0
    room: tuple[float, float, float, float] = (-3.5, 3.5, 7.5, 2.8)
    room_seed: Seed = 0
    pillars: tuple[tuple[float, float, float], ...] = ()
    people: Annotated[tuple[ClipPerson, ...], Field(max_length=_MOST_PEOPLE)]
    bag: bool = False

    @model_validator(mode="after")
    def _filmed(self) -> ClipConfig:
        if self.width % 2 or self.height % 2:
            raise ValueError(
                f"the film would have {self.width} x {self.height} pixels; expected even numbers: "
                "films have a colour for each 2 x 2 of them"
            )
        if round(self.seconds * self.fps) < 1:
            raise ValueError(
                f"{self.seconds:g} s at {self.fps} pictures a second are none; expected seconds of "
                f"{1 / self.fps:g} or more"
            )
        return self


def held_out(config: StillsConfig) -> StillsConfig:
    """The same scenes with bodies, motions, clothes and surfaces that no training set has."""
    return config.model_copy(
        update={
            "seed": _HELD_OUT_SEED + config.seed,
            "body_seed": _HELD_OUT_SEED,
            "texture_seed": _HELD_OUT_SEED,
            "motion_split": "held_out",
            "asset_split": "held_out",
            "bodies": _HELD_OUT_BODIES,
            "backgrounds": None,
        }
    )


_KINDS: dict[str, type[StillsConfig | SequencesConfig | ClipConfig]] = {
    "stills": StillsConfig,
    "sequences": SequencesConfig,
    "clip": ClipConfig,
}


def load_config(path: Path, **overrides: object) -> StillsConfig | SequencesConfig | ClipConfig:
    """The settings of a YAML file, ``kind: stills`` (default), ``sequences`` or ``clip``.

    Args:
        overrides: values that replace the file's where they are not None.

    Raises:
        InputError: if the file is unreadable or a setting is unknown or out of range.
    """
    try:
        data = yaml_value(Path(path).read_text()) or {}
    except (OSError, ValueError) as error:
        raise InputError(f"can't read the configuration {path}: {error}") from error
    try:
        if not isinstance(data, dict):
            raise ValueError("expected a mapping of settings")
        data.update({k: v for k, v in overrides.items() if v is not None})
        kind = str(data.get("kind", "stills"))
        if kind not in _KINDS:
            raise ValueError(f"kind is {kind!r}; expected {', '.join(_KINDS)}")
        return _KINDS[kind].model_validate(data)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()
        )
        raise InputError(f"configuration {path} is wrong: {found}") from error
    except ValueError as error:
        raise InputError(f"configuration {path} is wrong: {error}") from error
