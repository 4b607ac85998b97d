"""Raw people in, tracked and smooth people out: what the smoother node runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import SmapError
from smap_ros.temporal.egomotion import Motion
from smap_ros.temporal.learned import Learned
from smap_ros.temporal.options import SmootherConfig
from smap_ros.temporal.smoothers import AUTO, IMAGE_BASED, create_smoother, resolve
from smap_ros.temporal.smoothers.base import LEAST_DEPTH, Certain, Seen, believable
from smap_ros.temporal.tracker import TrackedBody, Tracker

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """The people of one picture.

    Attributes:
        people: by ascending identity.
        time: of the picture, seconds.
        note: what was given with it.
    """

    people: list[TrackedBody]
    time: float
    note: Any = None


class BodySmoother:
    """Identities and smooth joints over a stream of frames of one camera.

    Args:
        config: settings.
        detector: sha256 of the network that finds the people, as of
            :attr:`smap_ros.bundles.bundle.Bundle.model_hash`; ``auto`` takes the learned smoother
            for the people of the detector that it learned from alone. Empty: unknown.

    Raises:
        BundleError: if the learned smoother is asked for, and can't be used.
    """

    def __init__(self, config: SmootherConfig | None = None, detector: str = "") -> None:
        self._config = config or SmootherConfig()
        self._detector = detector
        self._learned = Learned.of(self._config)
        self._tracker = Tracker(self._config.tracker)
        self._run: _Run | None = None
        self._pose: Float | None = None  # of the camera, at the last frame
        self._view: Hashable = None
        self._joints = 0  # of the people, once somebody was seen
        self._refused = ""  # why a filter runs instead of the smoother that was asked for

    @property
    def config(self) -> SmootherConfig:
        """The settings; replacing them keeps the identities.

        Raises:
            SmapError: if its smoother can't smooth the people who come; all stays as it was.
        """
        return self._config

    @config.setter
    def config(self, config: SmootherConfig) -> None:
        learned = Learned.of(config)
        if self._config.changed(tracker=config.tracker) != config:
            if self._run is not None:
                name = _chosen(config, learned, self._detector, self._joints)
                self._run = _Run(config, name, self._run.joints, self._run)
            self._refused = ""
        self._learned, self._config = learned, config
        self._tracker.config = config.tracker

    @property
    def detector(self) -> str:
        """sha256 of the network that finds the people; empty where nobody knows."""
        return self._detector

    @detector.setter
    def detector(self, detector: str) -> None:
        if detector == self._detector:
            return
        before, self._detector, self._refused = self.smoother, detector, ""
        if self.smoother != before:
            self._restart()

    @property
    def smoother(self) -> str:
        """The smoother that runs: what ``auto`` means for this delay and detector.

        The best filter where the one that was asked for can't smooth these people.
        """
        if self._refused:
            return resolve(AUTO, self._config.delay)
        return _chosen(self._config, self._learned, self._detector, self._joints)

    @property
    def problem(self) -> str:
        """Why the smoother may be a bad one for these people; empty when all is well."""
        if self._refused:
            return f"{self._refused} (meanwhile smoother {self.smoother} runs)"
        learned = self.smoother in ("maed", IMAGE_BASED)
        return self._learned.problem(self._detector) if learned else self._learned.unusable

    def _restart(self) -> None:
        """Take another smoother; frames that wait go through it again, and ids stay."""
        if self._run is not None:
            self._run = self._started(self._run.joints, self._run)

    def _started(self, joints: int, before: _Run | None = None) -> _Run:
        """The smoother for people of J joints, or a filter where that one can't be had."""
        try:
            return _Run(self._config, self.smoother, joints, before)
        except SmapError as error:
            self._refused = str(error)
            return _Run(self._config, self.smoother, joints, before)

    @property
    def late(self) -> int:
        """Pictures that were dropped because they came after a later one."""
        return self._tracker.late

    def update(
        self,
        bodies: Sequence[Body],
        time: float,
        note: Any = None,
        pose: Float | None = None,
        view: Hashable = None,
    ) -> list[Answer]:
        """Take the people of a frame; see :meth:`Tracker.update` for times and order.

        Args:
            bodies: the people.
            time: of the frame, seconds.
            note: comes back with the answer, which may be due only after later frames.
            pose: float64 [4, 4], the camera's optical frame to one that stands still; None where
                nobody knows.
            view: tells cameras (and joint sets) apart; where another one's people come, or people
                of other joints, everybody is new.

        Returns:
            What is due: as a rule one frame, and none until ``delay`` frames have come. Only
            measured people pass the smoother: a prediction must not become evidence.
        """
        answers: list[Answer] = []
        joints = len(bodies[0].skeleton) if bodies else self._joints
        others = view != self._view or joints != self._joints
        if others:
            answers = self.flush()
            self.reset()
        elif self._tracker.starts_anew(time) or self._tracker.goes_back(time):
            answers = self.flush()
            self._run = self._pose = None
        self._view, self._joints = view, joints
        moved = None if pose is None or self._pose is None else Motion.between(self._pose, pose)
        tracked = self._tracker.update(bodies, time, moved)
        if tracked is None:
            return answers
        self._pose = pose
        if self._run is None:
            if not joints:  # nobody was ever seen
                return [*answers, Answer([], time, note)]
            self._run = self._started(joints)
        return answers + self._run.update(Answer(tracked, time, note))

    def flush(self) -> list[Answer]:
        """The frames that still wait for later ones, as at the end of a recording."""
        return [] if self._run is None else self._run.flush()

    def reset(self) -> None:
        """Forget everybody, as at the start of a recording; identities go on counting."""
        self._tracker.reset()
        self._run = self._pose = None
        self._refused = ""


def smooth_frames(
    frames: Iterable[BodyFrame],
    config: SmootherConfig | None = None,
    pose: Callable[[BodyFrame], Float | None] = lambda _: None,
) -> Iterator[tuple[BodyFrame, list[TrackedBody]]]:
    """Recorded frames of one camera as the smoother node answers them, each with its people.

    Args:
        frames: in order; each says which network found its people.
        config: settings.
        pose: of the camera at a frame, see :meth:`BodySmoother.update`.

    Yields:
        Frames in order, and everybody in them by ascending identity; frames that came too late
        are left out.
    """
    smoother = BodySmoother(config)
    for frame in frames:
        smoother.detector = frame.detector
        for answer in smoother.update(
            frame.bodies, frame.stamp, frame, pose(frame), frame.frame_id
        ):
            yield answer.note, answer.people
    for answer in smoother.flush():
        yield answer.note, answer.people


def _chosen(config: SmootherConfig, learned: Learned, detector: str, joints: int) -> str:
    """The smoother that settings mean for a detector's people of J joints (0: unknown)."""
    return resolve(config.smoother, config.delay, learned.wins(detector, joints))


class _Run:
    """A smoother at work on tracked people of J joints.

    ``before`` is the one that it replaces: whose answers are due, and whose frames wait.
    """

    def __init__(
        self, config: SmootherConfig, smoother: str, joints: int, before: _Run | None = None
    ) -> None:
        self.joints = joints
        settings: dict[str, dict[str, Any]] = {
            "one_euro": {"config": config.filter},
            "maed": {"bundle": config.smoother_bundle},
        }
        self._smoother = create_smoother(
            smoother, joints, config.delay, **settings.get(smoother, {})
        )
        self._waiting: deque[Answer] = deque()
        # Identity -> how far the smooth joints were from where the tracker had them when the person
        # was last seen, [J, 3]: a prediction, the tracker's, is moved as far, or the person would
        # jump at the start of a gap.
        self._moved: dict[int, Float] = {}
        self._due: list[Answer] = []
        if before is not None:
            waiting = [answer for frame in before._waiting for answer in self.update(frame)]
            self._due = [*before._due, *waiting]

    def update(self, frame: Answer) -> list[Answer]:
        due, self._due = self._due, []
        self._waiting.append(frame)
        if self._smoother is None:
            return [*due, self._waiting.popleft()]
        joints = self._smoother.update(_seen(frame, self.joints))
        return due if joints is None else [*due, self._answered(joints)]

    def flush(self) -> list[Answer]:
        due, self._due = self._due, []
        joints = [] if self._smoother is None else self._smoother.flush()
        return due + [self._answered(points) for points in joints]

    def _answered(self, joints: Float) -> Answer:
        frame = self._waiting.popleft()
        again = {p.body.id for later in self._waiting for p in later.people if not p.predicted}
        people = [
            self._moved_body(person, smooth, person.body.id in again)
            for person, smooth in zip(frame.people, joints, strict=True)
        ]
        smoother: object = self._smoother
        if isinstance(smoother, Certain):
            spreads = smoother.take_spread()
            people = [_with_spread(*pair) for pair in zip(people, spreads, strict=True)]
        ids = {person.body.id for person in people}
        self._moved = {k: v for k, v in self._moved.items() if k in ids}
        return replace(frame, people=people)

    def _moved_body(self, person: TrackedBody, smooth: Float, again: bool) -> TrackedBody:
        """The person with smooth joints; ``again``: seen in a later picture that is known."""
        raw, identity = person.body.joints_3d, person.body.id
        assert identity is not None
        if not (person.predicted or _in_front(person.body)):
            return person
        if not person.predicted:
            moved = smooth - _as_tracked(person)
            self._moved[identity] = np.where(np.isfinite(moved), moved, 0.0)
        # Between two sightings the smoother knows best; after the last one the tracker, which knows
        # how the camera moves.
        if person.predicted and not (again and np.isfinite(smooth).any()):
            smooth = _as_tracked(person) + self._moved.get(identity, np.zeros(3))
        # What was not measured stays missing, what was measured is never lost.
        smooth = np.where(np.isfinite(raw) & np.isfinite(smooth), smooth, raw)
        return replace(person, body=replace(person.body, joints_3d=smooth.astype(np.float32)))


def _as_tracked(person: TrackedBody) -> Float:
    """The joints, [J, 3], about where the tracker has the pelvis."""
    joints = person.body.joints_3d.astype(np.float64)
    return joints if person.place is None else joints + (person.place - person.body.root)


def _seen(frame: Answer, joints: int) -> Seen:
    people = frame.people
    points = np.full((len(people), joints, 3), np.nan)
    scores = np.zeros((len(people), joints))
    for k, person in enumerate(people):
        if not person.predicted and _in_front(person.body):
            points[k], scores[k] = person.body.joints_3d, person.body.scores
    ids = np.array([person.body.id for person in people], np.int64)
    root = people[0].body.skeleton.root if people else 0
    return Seen(ids, believable(points), np.nan_to_num(scores), frame.time, root)


def _with_spread(person: TrackedBody, spread: Float) -> TrackedBody:
    known = person.body.present & np.isfinite(spread)
    if person.predicted or not known.any():
        return person
    return replace(person, spread=np.where(known, spread, np.nan))


def _in_front(body: Body) -> bool:
    """Whether a person is before the camera: what is known of others is no motion of theirs."""
    return bool(body.root[2] > LEAST_DEPTH)
