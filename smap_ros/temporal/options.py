"""What users may set of the filter and the tracker.

A field here is a ROS parameter of the smoother node, a launch argument, a line of
``config/pose3d.yaml`` and one of ``docs/parameters.md``.
"""

from __future__ import annotations

from pydantic import model_validator

from smap_ros.errors import InputError
from smap_ros.settings import Changes, Options, setting
from smap_ros.temporal.smoothers import AUTO, MAX_DELAY, SMOOTHERS, check_delay


class OneEuroConfig(Options):
    """Settings of the one-euro filter, in the paper's names."""

    min_cutoff: float = setting(
        1.5,
        "of one_euro: cut-off frequency of a joint at rest; lower is smoother",
        unit="hertz",
        low=1e-3,
        high=1000,
        changes=Changes.ANY_TIME,
    )
    beta: float = setting(
        1.0,
        "of one_euro: increase of the cut-off with speed; higher lags less",
        unit="hertz per metre/second",
        low=0,
        high=1000,
        changes=Changes.ANY_TIME,
    )
    derivative_cutoff: float = setting(
        1.0,
        "of one_euro: cut-off frequency of the speed itself",
        unit="hertz",
        low=1e-3,
        high=1000,
        changes=Changes.ANY_TIME,
    )
    max_gap: float = setting(
        0.5,
        "of one_euro: a joint not seen for longer starts anew where it reappears, instead of "
        "being drawn towards where it was",
        unit="seconds",
        low=0,
        high=60,
        changes=Changes.ANY_TIME,
    )


class TrackerConfig(Options):
    """Rules of the tracker."""

    max_lateral: float = setting(
        0.5,
        "farthest a pelvis may be from its prediction across the view",
        unit="metres",
        low=0,
        high=100,
        changes=Changes.ANY_TIME,
    )
    max_depth: float = setting(
        0.25,
        "the same along the view, as a share of the distance (plus max_lateral)",
        low=0,
        high=10,
        changes=Changes.ANY_TIME,
    )
    max_speed: float = setting(
        1.5,
        "added to both for each second since the person was last seen, up to one second; who is "
        "seen again farther away is somebody new",
        unit="metres/second",
        low=0,
        high=100,
        changes=Changes.ANY_TIME,
    )
    image_weight: float = setting(
        0.5,
        "weight of the agreement in the image in the cost; the rest is the distance in space",
        low=0,
        high=1,
        changes=Changes.ANY_TIME,
    )
    birth_score: float = setting(
        0.8,
        "a person with at least this score gets an identity at once",
        low=0,
        high=1,
        changes=Changes.ANY_TIME,
    )
    birth_time: float = setting(
        0.15,
        "others get an identity when they have been seen for this long",
        unit="seconds",
        low=0,
        high=60,
        changes=Changes.ANY_TIME,
    )
    death_time: float = setting(
        3.0,
        "a person not seen for this long is forgotten",
        unit="seconds",
        low=0,
        high=60,
        changes=Changes.ANY_TIME,
    )
    fill_time: float = setting(
        3.0,
        "a person not seen is reported as predicted for this long; 0: never",
        unit="seconds",
        low=0,
        high=60,
        changes=Changes.ANY_TIME,
    )

    estimate_turn: bool = setting(
        True,
        "take what all people have in common for the camera's turning, where TF doesn't tell it",
        changes=Changes.ANY_TIME,
    )

    @model_validator(mode="after")
    def _filled_while_remembered(self) -> TrackerConfig:
        if self.fill_time > self.death_time:
            raise InputError(
                f"fill_time is {self.fill_time:g} s, death_time {self.death_time:g} s; a person "
                "can't be reported after being forgotten: expected fill_time <= death_time"
            )
        return self


class SmootherConfig(Options):
    """Settings of smoother and tracker.

    Attributes:
        filter: settings of ``one_euro``.
        tracker: rules of identity.
    """

    smoother: str = setting(
        AUTO,
        "what smooths the joints; auto: the best that was measured for the delay and the model; "
        "none: only track; maed_video: the pose node's model, of kind video",
        choices=SMOOTHERS,
        changes=Changes.ANY_TIME,
    )
    delay: int = setting(
        0,
        "report the people of the image so many back, with its stamp, who are known better by then",
        unit="images",
        low=0,
        high=MAX_DELAY,
        changes=Changes.ANY_TIME,
    )
    smoother_bundle: str = setting(
        "maed_smoother",
        "of maed: the bundle of its network, by name or path; of maed_video: the model's",
        changes=Changes.ANY_TIME,
    )
    filter: OneEuroConfig = OneEuroConfig()
    tracker: TrackerConfig = TrackerConfig()

    @model_validator(mode="after")
    def _delay_of_use(self) -> SmootherConfig:
        check_delay(self.smoother, self.delay)
        return self
