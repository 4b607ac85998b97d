"""Protocol ``3dpw``: measuring predictions on 3DPW, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.evaluation.common.measures_report import Details, MeasuresReport, mean, named
from smap_ros.evaluation.common.metrics import joint_errors, match_by_pelvis
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.predictions import FilmPredictions, Predictions
from smap_ros.evaluation.common.report import percent, shown
from smap_ros.evaluation.common.views import Coverage, View
from smap_ros.evaluation.threedpw import measures as threedpw
from smap_ros.evaluation.threedpw.measures import HIPS, JOINTS
from smap_ros.evaluation.threedpw.smpl import BodyModel
from smap_ros.evaluation.threedpw.truth import Sequence3dpw, labelled, regressed
from smap_ros.skeletons import MPI15

Float = NDArray[np.float64]

FRAME_RATE = 30.0  # images a second of the data set

_NOBODY = np.full((len(JOINTS), 3), np.nan)
_ROWS = [MPI15.index(name) for name in JOINTS]
# What the measures are called in report.json, in the order of the table.
_KEYS = ("mpjpe_mm", "pa_mpjpe_mm", "acceleration_mm", "acceleration_error_mm", "mpvpe_mm")


@dataclass
class Track:
    """One true person over the frames in which the camera is known, metres.

    Attributes:
        sequence: its name.
        true, found: float64 [14, 3] of each frame; ``found`` is NaN where nobody was, and both
            are where the picture wasn't looked at: motion isn't measured across that.
        vertices: of the frames in which a mesh was predicted: mean error of its vertices.
    """

    sequence: str
    true: list[Float] = field(default_factory=list)
    found: list[Float] = field(default_factory=list)
    vertices: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ThreedpwOutcome:
    """All true people over time.

    Attributes:
        tracks: one a person of a sequence.
        regressed: whether joints are those of the official regressor; else SMPL's own.
        images: that were predicted.
        skipped: images that the predictions lack; they don't count.
    """

    tracks: tuple[Track, ...]
    regressed: bool
    images: int
    skipped: int


def evaluate(
    predictions: Predictions,
    sequences: Sequence[Sequence3dpw],
    body: BodyModel | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> ThreedpwOutcome:
    """Compare predictions with the data set.

    Args:
        predictions: who was found.
        sequences: who is there.
        body: for the official joints and for meshes; without it SMPL's own joints are compared.
        on_image: called after each image, for progress.

    Raises:
        InputError: if no image was predicted.
        SmapError: if a picture or the predictions can't be used.
    """
    coverage = Coverage()
    tracks: list[Track] = []
    for sequence in sequences:
        people = [Track(sequence.name) for _ in sequence.actors]
        if isinstance(predictions, FilmPredictions):
            predictions.film(sequence.views, FRAME_RATE)
        for k, view in enumerate(sequence.views):
            frame = predictions.of(view)
            coverage.note(frame, view)
            on_image()
            if frame is None:
                _pass_over(sequence, k, people)
            else:
                _compare(sequence, k, frame, people, body)
        tracks += [track for track in people if np.isfinite(track.true).any()]
    coverage.finish(predictions.description)
    return ThreedpwOutcome(tuple(tracks), body is not None, coverage.seen, coverage.missing)


def _pass_over(sequence: Sequence3dpw, k: int, people: list[Track]) -> None:
    """Leave a gap in the tracks where a picture wasn't looked at."""
    for actor, track in zip(sequence.actors, people, strict=True):
        if actor.valid[k]:
            track.true.append(_NOBODY)
            track.found.append(_NOBODY)


def _compare(
    sequence: Sequence3dpw, k: int, frame: BodyFrame, people: list[Track], body: BodyModel | None
) -> None:
    """Add one frame to the tracks of those people whose camera is known there."""
    there = [n for n, actor in enumerate(sequence.actors) if actor.valid[k]]
    meshes = {n: sequence.vertices(sequence.actors[n], k, body) for n in there if body is not None}
    joints = {
        n: labelled(sequence.actors[n], k) if body is None else regressed(meshes[n], body)
        for n in there
    }
    true = [_body(joints[n], sequence.views[k]) for n in there]
    placed = [person for person in frame if np.isfinite(person.joints_2d[MPI15.root]).all()]
    partner = {there[t]: placed[p] for p, t in match_by_pelvis(placed, true)}
    for n in there:
        found = partner.get(n)
        people[n].true.append(joints[n])
        people[n].found.append(_joints(found, body))
        if found is not None and body is not None and found.mesh is not None:
            vertices = found.mesh.vertices.astype(np.float64)
            if vertices.shape == meshes[n].shape:
                error = joint_errors(
                    vertices - body.pelvis(vertices), meshes[n] - body.pelvis(meshes[n])
                )
                people[n].vertices.append(float(error.mean()))


def _joints(found: Body | None, body: BodyModel | None) -> Float:
    """The 14 joints of a prediction: of its mesh where it has one, as officially."""
    if found is None:
        return _NOBODY
    if body is not None and found.mesh is not None:
        vertices = found.mesh.vertices.astype(np.float64)
        if len(vertices) == len(body.v_template):
            return regressed(vertices, body)
    return found.joints_3d[_ROWS].astype(np.float64)


def _body(joints: Float, view: View) -> Body:
    """A true person to match with; the middle of the hips is the pelvis."""
    points = np.full((len(MPI15), 3), np.nan, np.float32)
    points[_ROWS] = joints
    points[MPI15.root] = joints[HIPS].mean(axis=0)
    pixels = view.camera.project(points).astype(np.float32)
    return Body(points, pixels, np.ones(len(MPI15), np.float32), 1.0)


def report(outcome: ThreedpwOutcome) -> MeasuresReport:
    """Tables, numbers and figure of an outcome."""
    true = 1000 * np.array([pose for track in outcome.tracks for pose in track.true])
    found = 1000 * np.array([pose for track in outcome.tracks for pose in track.found])
    true, found = true.reshape(-1, len(JOINTS), 3), found.reshape(-1, len(JOINTS), 3)
    people, seen = (int(np.isfinite(poses).any(axis=(1, 2)).sum()) for poses in (true, found))
    vertices = 1000 * np.array([v for track in outcome.tracks for v in track.vertices])
    measured = _measured(found, true, vertices)
    measures = {name: mean(values) for name, values in measured.items()}
    counts = {name: int(np.isfinite(values).sum()) for name, values in measured.items()}
    share = _joints_percent(found, true)
    errors = joint_errors(threedpw.centred(found), threedpw.centred(true))
    by_joint = named([mean(column) for column in errors.T], JOINTS)
    by_sequence = _by_sequence(outcome)
    joints = "14 of the Human3.6M regressor"
    if not outcome.regressed:
        joints = "13 of SMPL, without the head top: not comparable with published numbers"
    return MeasuresReport(
        title="3dpw",
        note="3DPW; people matched by their pelvises in the picture, hips at the origin",
        summary={
            "images": f"{outcome.images}, {outcome.skipped} not in the predictions",
            "people": f"{people} over all images, {seen} found",
            "joints": joints,
            "joints of the found": f"{shown(share)} %",
            **{name: shown(value) for name, value in measures.items()},
        },
        details=(
            Details(
                "people measured, of those found",
                ("measure", "people"),
                {name: (str(count),) for name, count in counts.items()},
            ),
            Details("by joint", ("joint", "MPJPE mm"), _rows(by_joint)),
            Details("by sequence", ("sequence", "MPJPE mm"), _rows(by_sequence)),
        ),
        values={
            "images": outcome.images,
            "images_skipped": outcome.skipped,
            "people": people,
            "people_found": seen,
            "official_joints": outcome.regressed,
            **dict(zip(_KEYS, measures.values(), strict=True)),
            "joints_percent": share,
            "people_measured": dict(zip(_KEYS, counts.values(), strict=True)),
            "by_joint_mm": by_joint,
            "by_sequence_mm": by_sequence,
        },
        panels=(
            Panel("Error by joint", "mean [mm]", by_joint),
            Panel("Error by sequence", "mean [mm]", by_sequence),
        ),
    )


def _measured(found: Float, true: Float, vertices: Float) -> dict[str, Float]:
    """What is measured of each person, joints [P, 14, 3] in millimetres; NaN where it can't be."""
    return {
        "MPJPE mm": threedpw.mpjpe(found, true),
        "PA-MPJPE mm": threedpw.pa_mpjpe(found, true),
        "acceleration mm/frame^2": threedpw.acceleration(found),
        "acceleration error mm/frame^2": threedpw.acceleration_error(found, true),
        "MPVPE mm, pelvises aligned": vertices,
    }


def _joints_percent(found: Float, true: Float) -> float:
    """Of the true joints [P, 14, 3] of the people found, those that were; no error has others."""
    seen = np.isfinite(found).any(axis=(1, 2))
    there = np.isfinite(true[seen]).all(axis=2)
    both = np.isfinite(found[seen]).all(axis=2) & there
    return percent(int(both.sum()), int(there.sum()))


def _by_sequence(outcome: ThreedpwOutcome) -> dict[str, float]:
    names = dict.fromkeys(track.sequence for track in outcome.tracks)
    return {
        name: 1000
        * mean(
            np.concatenate(
                [
                    threedpw.mpjpe(np.array(track.found), np.array(track.true))
                    for track in outcome.tracks
                    if track.sequence == name
                ]
            )
        )
        for name in names
    }


def _rows(values: dict[str, float]) -> dict[str, tuple[str]]:
    return {name: (shown(value),) for name, value in values.items()}
