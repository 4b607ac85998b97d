"""The parameters of the nodes as plain data: types, defaults, limits and what they mean.

The nodes declare them from here, launch arguments take their defaults and choices from here,
and ``config/pose3d.yaml`` is checked against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from smap_ros.engines.factory import ENGINES
from smap_ros.errors import InputError
from smap_ros.temporal import OneEuroConfig, TrackerConfig
from smap_ros.temporal.smoothers import AUTO, MAX_DELAY, SMOOTHERS

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Attributes:
        name: as in ROS.
        default: its type is the parameter's type.
        description: what it does, with the unit.
        low, high: limits of a number, both included.
        choices: allowed values of a text; empty allows any.
        fixed: True when it only takes effect at the start (camera) or at configure (pose3d).
    """

    name: str
    default: Value
    description: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    fixed: bool = False

    def problem(self, value: object) -> str | None:
        """Why a value is refused, or None when it is fine."""
        kind = type(self.default)
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits:
            return f"{self.name} is {value!r}; expected a {_KINDS[kind]}"
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}; expected one of {', '.join(self.choices)}"
        if not isinstance(value, bool | int | float) or self._within(value):
            return None
        return f"{self.name} is {value!r}; expected {self.low:g} to {self.high:g}"

    def _within(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high

    def parse(self, text: str) -> Value:
        """The value that a launch argument or command line means.

        Raises:
            InputError: if it is not such a value.
        """
        kind = type(self.default)
        value: object = text
        if kind is bool:
            value = {"true": True, "false": False}.get(text.strip().lower(), text)
        elif kind in (int, float):
            try:
                value = kind(text)
            except ValueError:
                value = text
        problem = self.problem(value)
        if problem is not None:
            raise InputError(problem)
        assert isinstance(value, bool | int | float | str)
        return value


_KINDS: dict[type, str] = {bool: "truth value", int: "whole number", float: "number", str: "text"}

COMPRESSED = Parameter(
    "compressed",
    False,
    "use sensor_msgs/CompressedImage on image/compressed instead of sensor_msgs/Image on image",
    fixed=True,
)

CAMERA = (
    Parameter(
        "source",
        "",
        "image file, folder of images, video file, ROS bag, camera index, /dev/videoN or URL",
        fixed=True,
    ),
    Parameter(
        "calibration",
        "",
        "calibration file as camera_calibration writes it; empty: use fov_deg",
        fixed=True,
    ),
    Parameter(
        "fov_deg",
        0.0,
        "horizontal field of view in degrees, when there is no calibration; 0: not stated",
        low=0.0,
        high=179.0,
        fixed=True,
    ),
    Parameter(
        "frame_id", "camera_optical_frame", "frame of the images (optical frame)", fixed=True
    ),
    Parameter(
        "rate",
        0.0,
        "images per second; 0: as the source says, or 10",
        low=0.0,
        high=1000.0,
        fixed=True,
    ),
    Parameter(
        "pacing",
        "real_time",
        "real_time: at the source's pace; as_consumed: each image once the people of the one "
        "before have arrived, so that none is left out",
        choices=("real_time", "as_consumed"),
        fixed=True,
    ),
    Parameter(
        "consume_timeout",
        5.0,
        "with as_consumed, longest wait for the people of an image, seconds",
        low=0.1,
        high=600.0,
        fixed=True,
    ),
    Parameter("loop", False, "start again at the end of a file", fixed=True),
    Parameter("exit_at_end", True, "end the process after the last image", fixed=True),
    COMPRESSED,
    Parameter("jpeg_quality", 90, "quality of compressed images", low=1, high=100, fixed=True),
)

POSE3D = (
    Parameter(
        "bundle", "smap_lite", "name of a shipped model, or path of a model bundle", fixed=True
    ),
    Parameter(
        "engine",
        "auto",
        "inference runtime; auto measures what is installed and takes the fastest",
        choices=ENGINES,
        fixed=True,
    ),
    Parameter(
        "threads",
        0,
        "CPU threads of the network; 0: all cores this process may use",
        low=0,
        high=256,
        fixed=True,
    ),
    Parameter(
        "precision",
        "f32",
        "f32: the network's own arithmetic; auto: what the runtime thinks best",
        choices=("f32", "auto"),
        fixed=True,
    ),
    Parameter(
        "flip_test",
        "bundle",
        "look at the mirrored image too, for twice the network's time; bundle: as it says",
        choices=("bundle", "on", "off"),
        fixed=True,
    ),
    Parameter(
        "min_score",
        -1.0,
        "people with a lower score are left out; negative: the model's own limit",
        low=-1.0,
        high=1.0,
        fixed=True,
    ),
    Parameter(
        "min_joints",
        0,
        "people with fewer joints found are left out; 0: the model's own limit",
        low=0,
        high=64,
        fixed=True,
    ),
    Parameter(
        "camera_height",
        0.0,
        "height of the camera above the floor, metres, for models that search people in space "
        "(kind virtualpose); 0: not stated",
        low=0.0,
        high=100.0,
        fixed=True,
    ),
    Parameter(
        "camera_pitch_deg",
        0.0,
        "how far the camera looks down, degrees, for the same models",
        low=-89.0,
        high=89.0,
        fixed=True,
    ),
    Parameter(
        "world_frame",
        "",
        "TF frame with z up and 0 on the floor, like base_footprint or map; for the same models "
        "the camera's height and tilt come from TF then; empty: from the two parameters above",
        fixed=True,
    ),
    Parameter(
        "delay",
        0,
        "for models that see people over time (kind video): report the people of the image so "
        "many images back, with its stamp; 0: those of the newest",
        low=0,
        high=63,
        fixed=True,
    ),
    Parameter(
        "stride",
        0,
        "for the same models: run on every so-manieth image only, at most delay + 1; 0: the "
        "model's own, which is every image",
        low=0,
        high=64,
        fixed=True,
    ),
    Parameter(
        "fov_deg",
        0.0,
        "state the horizontal field of view in degrees and do without CameraInfo; 0: use "
        "CameraInfo",
        low=0.0,
        high=179.0,
    ),
    Parameter(
        "mesh_rate",
        2.0,
        "how often people's surfaces are published on meshes while somebody subscribes, hertz, "
        "with models that give them (kinds mesh and video); 0: never",
        low=0.0,
        high=30.0,
    ),
    COMPRESSED,
    Parameter(
        "autostart",
        True,
        "configure and activate at the start; false leaves that to a lifecycle manager",
        fixed=True,
    ),
)

_TRACKER = TrackerConfig()
_FILTER = OneEuroConfig()

SMOOTHER = (
    Parameter(
        "smoother",
        AUTO,
        "what smooths the joints; auto: the best that was measured for the delay; none: only track",
        choices=SMOOTHERS,
    ),
    Parameter(
        "delay",
        0,
        "report the people of the image so many back, with its stamp, who are known better by then",
        low=0,
        high=MAX_DELAY,
    ),
    Parameter(
        "min_cutoff",
        _FILTER.min_cutoff,
        "of one_euro: cut-off frequency of a joint at rest, hertz; lower is smoother",
        low=0.001,
        high=1000.0,
    ),
    Parameter(
        "beta",
        _FILTER.beta,
        "of one_euro: increase of the cut-off with speed, hertz per metre/second; higher lags less",
        low=0.0,
        high=1000.0,
    ),
    Parameter(
        "derivative_cutoff",
        _FILTER.derivative_cutoff,
        "of one_euro: cut-off frequency of the speed, hertz",
        low=0.001,
        high=1000.0,
    ),
    Parameter(
        "max_gap",
        _FILTER.max_gap,
        "of one_euro: a joint not seen for longer, seconds, starts anew",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "max_lateral",
        _TRACKER.max_lateral,
        "farthest a person may be from the prediction across the view, metres",
        low=0.0,
        high=100.0,
    ),
    Parameter(
        "max_depth",
        _TRACKER.max_depth,
        "the same along the view, as a share of the distance",
        low=0.0,
        high=10.0,
    ),
    Parameter(
        "max_speed",
        _TRACKER.max_speed,
        "added to both limits per second since last seen, metres/second",
        low=0.0,
        high=100.0,
    ),
    Parameter(
        "image_weight",
        _TRACKER.image_weight,
        "weight of the agreement in the image against the distance in space",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "birth_score",
        _TRACKER.birth_score,
        "a person with at least this score gets an id at once",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "birth_time",
        _TRACKER.birth_time,
        "others get an id when seen for this long, seconds",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "death_time",
        _TRACKER.death_time,
        "a person not seen for this long is forgotten, seconds",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "fill_time",
        _TRACKER.fill_time,
        "a person not seen is reported as predicted for this long, seconds; 0: never",
        low=0.0,
        high=60.0,
    ),
)

MARKERS = (
    Parameter("joint_diameter", 0.07, "size of the joints in RViz, metres", low=0.001, high=1.0),
    Parameter("limb_width", 0.03, "width of the limbs in RViz, metres", low=0.001, high=1.0),
    Parameter("labels", True, "show id and distance above each person"),
    Parameter(
        "lifetime",
        2.0,
        "markers vanish when nothing came for this long, seconds; 0: never",
        low=0.0,
        high=3600.0,
    ),
    Parameter("tf", False, "publish a TF frame body_<id> for each tracked person", fixed=True),
    COMPRESSED,
)
