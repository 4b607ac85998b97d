"""Protocol ``virtual``: people in metres against the exact truth of rendered pictures.

People count when they are over 60 px in the picture and less than 60 % hidden
(:class:`~smap_ros.evaluation.common.scenes.Scene`). The others are excused: missing them is no
miss, and who was found in their place is no false alarm.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.clips import warn_of_another_film
from smap_ros.evaluation.common.identities import (
    OWN,
    IdentityCollector,
    IdentityNumbers,
    Pairing,
    has_trackeval,
    identity_numbers,
)
from smap_ros.evaluation.common.metrics import joint_errors, mpjpe, pa_mpjpe
from smap_ros.evaluation.common.predictions import FilmPredictions, Predictions, beyond_the_truth
from smap_ros.evaluation.common.report import label
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.virtual.reliability import Told
from smap_ros.skeletons import MPI15
from smap_ros.temporal import BodySmoother

LOG = logging.getLogger(__name__)

Float = NDArray[np.float64]
_Film = Sequence[tuple[Scene, BodyFrame]]  # pictures, and who was found in them

PCK_LIMIT = 0.25  # metres, absolute
# Focal lengths that differ by more than this share make distances differ visibly.
_SAME_FOCAL = 0.01

DISTANCES = (0.0, 2.0, 4.0, 6.0, 8.0, math.inf)  # metres from the camera to the pelvis
HIDDEN = (0.0, 0.1, 0.25, 0.4, 0.6)  # share of the joints
FIELDS_OF_VIEW = (0.0, 60.0, 75.0, 90.0, 180.0)  # degrees, horizontal


@dataclass(frozen=True)
class Person:
    """A true person who counts, and what was found of them.

    Attributes:
        scene: the picture.
        true: the person.
        found: the prediction matched with them, or None when they were missed.
        hidden: share of their joints that can't be seen.
        pelvis_inside: whether their pelvis is in the picture.
        relative: error of each joint with the pelvises aligned, float64 [15], metres; NaN where
            missing.
        absolute: error of each joint where it is, float64 [15], metres; NaN where missing.
        mpjpe, pa_mpjpe: see :mod:`smap_ros.evaluation.common.metrics`, metres; NaN when missed.
        depth_share: error of the pelvis' depth, as a share of it, with its sign; NaN when missed.
    """

    scene: Scene
    true: Body
    found: Body | None
    hidden: float
    pelvis_inside: bool
    relative: Float
    absolute: Float
    mpjpe: float
    pa_mpjpe: float
    depth_share: float

    @property
    def distance(self) -> float:
        """From the camera to the true pelvis, metres."""
        return float(np.linalg.norm(self.true.root))

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Joints closer to the truth than :data:`PCK_LIMIT`, bool [15]; a missing joint isn't."""
        return np.asarray(np.nan_to_num(self.absolute, nan=math.inf) < PCK_LIMIT, np.bool_)


@dataclass(frozen=True)
class Ghost:
    """A prediction that is nobody."""

    scene: Scene
    found: Body


@dataclass(frozen=True)
class Outcome:
    """Predictions against the truth, person by person.

    Attributes:
        people: who counts.
        ghosts: predictions that match nobody.
        scenes: pictures that were looked at.
        skipped: pictures that the predictions lack; they don't count.
        excused: people too small or hidden to count.
        excused_found: predictions that match one of them.
        told: all predictions, by score.
        tracked: the same pictures with the people who have identities, where they are sequences:
            those of the predictions as they are, or else as tracker and filter as shipped give
            them; the identities are in ``people``. None for stills.
        identities: of ``tracked``, where trackeval is installed.
        smoother: the one that made ``tracked``; :data:`~.identities.OWN` where nothing did.
        not_asked_for: frames of the predictions that are of no picture of the truth.
    """

    people: tuple[Person, ...]
    ghosts: tuple[Ghost, ...]
    scenes: int
    skipped: int
    excused: int
    excused_found: int
    told: tuple[Told, ...] = ()
    tracked: Outcome | None = None
    identities: IdentityNumbers | None = None
    smoother: str = ""
    not_asked_for: int = 0


@dataclass(frozen=True)
class Numbers:
    """The measures of a group of people; NaN where nobody gives one.

    Attributes:
        people: who counts.
        found: of them.
        ghosts: predictions that match nobody; None where they belong to no group.
        mpjpe_mm, pa_mpjpe_mm: mean over the found.
        root_depth_percent: median of |error of the pelvis' depth| / depth over the found.
        pck250_percent: of all joints of all people, those within 250 mm of the truth.
        joints_percent: of all joints of the found, those that were found.
    """

    people: int
    found: int
    ghosts: int | None
    mpjpe_mm: float
    pa_mpjpe_mm: float
    root_depth_percent: float
    pck250_percent: float
    joints_percent: float

    @property
    def recall_percent(self) -> float:
        """Share of the people that were found."""
        return 100 * self.found / self.people if self.people else math.nan

    @property
    def precision_percent(self) -> float:
        """Share of the predictions that are people; NaN where ghosts belong to no group."""
        if self.ghosts is None or not self.found + self.ghosts:
            return math.nan
        return 100 * self.found / (self.found + self.ghosts)


@dataclass(frozen=True)
class JointNumbers:
    """The measures of one joint: mean error with pelvises aligned, and absolute PCK."""

    mpjpe_mm: float
    pck250_percent: float
    found_percent: float


def evaluate(
    predictions: Predictions, scenes: Sequence[Scene], on_scene: Callable[[], None] = lambda: None
) -> Outcome:
    """Compare predictions with the truth.

    Args:
        predictions: who was found.
        scenes: who is there.
        on_scene: called after each scene, for progress.

    Raises:
        InputError: if the predictions have none of the pictures.
        SmapError: if a picture or the predictions can't be used.
    """
    compared: list[Outcome] = []
    films: dict[str, list[tuple[Scene, BodyFrame]]] = defaultdict(list)
    other_focal = 0
    for scene in scenes:
        frame = predictions.of(scene)
        on_scene()
        if frame is None:
            continue
        other_focal += abs(frame.camera.fx / scene.camera.fx - 1) > _SAME_FOCAL
        compared.append(compare_scene(scene, frame.bodies))
        if scene.sequence is not None:
            films[scene.sequence].append((scene, frame))
    if not compared:
        raise InputError(
            f"{predictions.description} has none of the {len(scenes)} pictures of the truth (the "
            f"first is {scenes[0].key}); are they of the same data?"
        )
    if other_focal:
        LOG.warning(
            "%d of %d pictures were estimated with another focal length than they were made with: "
            "their distances can't agree", other_focal, len(compared),
        )  # fmt: skip
    for film, pictures in films.items():
        warn_of_another_film((frame for _, frame in pictures), pictures[0][0].clip, film)
    return replace(
        _together(compared, len(scenes) - len(compared)),
        tracked=_over_time(list(films.values()), not isinstance(predictions, FilmPredictions)),
        not_asked_for=beyond_the_truth(predictions),
    )


def _over_time(films: Sequence[_Film], stored: bool) -> Outcome | None:
    """People who have identities (their own where ``stored``) by the truth; None without films."""
    if not films:
        return None
    tracked: list[Outcome] = []
    collectors, names = [], set()
    for pictures in films:
        people, name = _named(pictures, stored)
        pairing, identities = Pairing(), IdentityCollector()
        for scene, found in people:
            tracked.append(compare_scene(scene, found, pairing))
            identities.add(found, scene.frame.bodies, scene.counted)
        collectors.append(identities)
        names.add(name)
    return replace(
        _together(tracked, 0),
        identities=identity_numbers(collectors) if has_trackeval() else None,
        smoother=", ".join(sorted(names)),
    )


def _named(pictures: _Film, stored: bool) -> tuple[list[tuple[Scene, Sequence[Body]]], str]:
    """A film's people with identities, and who gave them these.

    Those that stored predictions have stay as they are; a model is shown each picture by itself, so
    that its own go no further. Who is only predicted was not found.
    """
    if stored and any(body.id is not None for _, frame in pictures for body in frame):
        return [(scene, frame.bodies) for scene, frame in pictures], OWN
    smoother = BodySmoother(detector=pictures[0][1].detector)
    answers = [
        answer
        for scene, frame in pictures
        for answer in smoother.update(frame.bodies, scene.frame.stamp, scene)
    ]
    people: list[tuple[Scene, Sequence[Body]]] = [
        (answer.note, [person.body for person in answer.people if not person.predicted])
        for answer in [*answers, *smoother.flush()]
    ]
    return people, smoother.smoother


def _together(outcomes: Sequence[Outcome], skipped: int) -> Outcome:
    return Outcome(
        people=tuple(person for outcome in outcomes for person in outcome.people),
        ghosts=tuple(ghost for outcome in outcomes for ghost in outcome.ghosts),
        scenes=sum(outcome.scenes for outcome in outcomes),
        skipped=skipped,
        excused=sum(outcome.excused for outcome in outcomes),
        excused_found=sum(outcome.excused_found for outcome in outcomes),
        told=tuple(one for outcome in outcomes for one in outcome.told),
    )


def compare_scene(scene: Scene, found: Sequence[Body], pairing: Pairing | None = None) -> Outcome:
    """Compare the predictions for one picture, mpi15, with its truth.

    Args:
        scene: who is there.
        found: who was found.
        pairing: of the film so far; without, the picture is one by itself.
    """
    true, counted = scene.frame.bodies, scene.counted
    partner = {t: found[p] for p, t in (pairing or Pairing()).bodies(found, true)}
    matched = {id(body) for body in partner.values()}
    return Outcome(
        people=tuple(_person(scene, k, partner.get(k)) for k in range(len(true)) if counted[k]),
        ghosts=tuple(Ghost(scene, body) for body in found if id(body) not in matched),
        scenes=1,
        skipped=0,
        excused=int((~counted).sum()),
        excused_found=sum(not counted[k] for k in partner),
        told=tuple(Told(body.score, id(body) in matched) for body in found),
    )


def _person(scene: Scene, k: int, found: Body | None) -> Person:
    true = scene.frame.bodies[k]
    points = np.full_like(true.joints_3d, np.nan) if found is None else found.joints_3d
    root = MPI15.root
    return Person(
        scene=scene,
        true=true,
        found=found,
        hidden=float(scene.hidden[k]),
        pelvis_inside=bool(scene.visibility[k, root] > 0),
        relative=joint_errors(points - points[root], true.joints_3d - true.root),
        absolute=joint_errors(points, true.joints_3d),
        mpjpe=mpjpe(points, true.joints_3d, root),
        pa_mpjpe=pa_mpjpe(points, true.joints_3d),
        depth_share=float((points[root, 2] - true.root[2]) / true.root[2]),
    )


def summarise(people: Sequence[Person], ghosts: int | None = None) -> Numbers:
    """The measures of a group of people."""
    found = [person for person in people if person.found is not None]
    present = [np.isfinite(person.absolute).mean() for person in found]
    return Numbers(
        people=len(people),
        found=len(found),
        ghosts=ghosts,
        mpjpe_mm=1000 * _over(np.mean, (person.mpjpe for person in found)),
        pa_mpjpe_mm=1000 * _over(np.mean, (person.pa_mpjpe for person in found)),
        root_depth_percent=100 * _over(np.median, (abs(person.depth_share) for person in found)),
        pck250_percent=100 * _over(np.mean, (person.hits.mean() for person in people)),
        joints_percent=100 * _over(np.mean, present),
    )


def by_joint(people: Sequence[Person]) -> dict[str, JointNumbers]:
    """The measures of each joint of mpi15, by name."""
    numbers = {}
    for k, joint in enumerate(MPI15.joints):
        there = [np.isfinite(p.absolute[k]) for p in people if p.found is not None]
        numbers[joint] = JointNumbers(
            mpjpe_mm=1000 * _over(np.mean, (p.relative[k] for p in people)),
            pck250_percent=100 * _over(np.mean, (p.hits[k] for p in people)),
            found_percent=100 * _over(np.mean, there),
        )
    return numbers


def by_group(outcome: Outcome) -> dict[str, dict[str, Numbers]]:
    """The measures by distance, occlusion, field of view and framing: title -> group -> numbers."""
    people = outcome.people

    def degrees(scene: Scene) -> float:
        return math.degrees(scene.camera.fov)

    def ghosts(low: float, high: float) -> int:
        return sum(low <= degrees(ghost.scene) < high for ghost in outcome.ghosts)

    inside = {
        "pelvis in the picture": [p for p in people if p.pelvis_inside],
        "pelvis outside": [p for p in people if not p.pelvis_inside],
    }
    return {
        "distance": {
            label(low, high, "m"): summarise([p for p in people if low <= p.distance < high])
            for low, high in _bins(DISTANCES)
        },
        "joints hidden": {
            label(100 * low, 100 * high, "%"): summarise(
                [p for p in people if low <= p.hidden < high]
            )
            for low, high in _bins(HIDDEN)
        },
        "field of view": {
            label(low, high if high < 180 else math.inf, "deg"): summarise(
                [p for p in people if low <= degrees(p.scene) < high], ghosts(low, high)
            )
            for low, high in _bins(FIELDS_OF_VIEW)
        },
        "framing": {name: summarise(group) for name, group in inside.items()},
    }


def _bins(edges: tuple[float, ...]) -> Iterable[tuple[float, float]]:
    return itertools.pairwise(edges)


def _over(measure: Callable[[list[float]], float], values: Iterable[float]) -> float:
    """A measure over the values that are there; NaN without any."""
    finite = [float(value) for value in values if math.isfinite(value)]
    return float(measure(finite)) if finite else math.nan


def numbers_json(numbers: Numbers) -> Mapping[str, float | int | None]:
    """The numbers by name, with recall and precision."""
    return {
        **vars(numbers),
        "recall_percent": numbers.recall_percent,
        "precision_percent": numbers.precision_percent,
    }
