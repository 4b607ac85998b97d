"""Protocols ``h36m-p1`` and ``h36m-p2``: measuring predictions on Human3.6M, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.evaluation.common.measures_report import Details, MeasuresReport, mean, named
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.predictions import Predictions
from smap_ros.evaluation.common.report import shown
from smap_ros.evaluation.common.views import Coverage
from smap_ros.evaluation.h36m.measures import ACTIONS, Protocol, errors, with_thorax
from smap_ros.evaluation.h36m.truth import H36mImage, OfficialResults
from smap_ros.skeletons import H36M17, H36M18, MPI15, convert

Float = NDArray[np.float64]


@dataclass(frozen=True)
class H36mOutcome:
    """Errors of all people who were found.

    Attributes:
        protocol: that they were measured by.
        errors: float64 [n, 17], metres; NaN where a joint is missing.
        actions: intp [n], indices into ``ACTIONS``.
        missed: people who were not found in a picture that was looked at; they have no error.
        skipped: pictures that the predictions lack; they don't count.
    """

    protocol: Protocol
    errors: Float
    actions: NDArray[np.intp]
    missed: int
    skipped: int


def evaluate(
    predictions: Predictions | OfficialResults,
    images: Sequence[H36mImage],
    protocol: Protocol,
    on_image: Callable[[], None] = lambda: None,
) -> H36mOutcome:
    """Compare predictions with the data set.

    Args:
        predictions: our people, of whom the one at the true pelvis is taken; or official results.
        images: who is there.
        protocol: how errors are measured.
        on_image: called after each image, for progress.

    Raises:
        InputError: if no image was predicted, or nobody was found in any.
        SmapError: if a picture or the predictions can't be used.
    """
    coverage, measured, actions, missed = Coverage(), [], [], 0
    for image in images:
        if isinstance(predictions, OfficialResults):
            pose = predictions.of(image)
            coverage.count(pose is not None)
        else:
            frame = predictions.of(image.view)
            coverage.note(frame, image.view)
            pose = None if frame is None else nearest_pose(frame, image)
            missed += frame is not None and pose is None
        on_image()
        if pose is not None:
            measured.append(errors(pose, image.joints_3d, protocol))
            actions.append(image.action)
    coverage.finish(predictions.description)
    return H36mOutcome(
        protocol,
        np.array(measured, np.float64).reshape(-1, len(H36M17)),
        np.array(actions, np.intp),
        missed,
        coverage.missing,
    )


def nearest_pose(frame: BodyFrame, image: H36mImage) -> Float | None:
    """The person nearest to the true pelvis in the picture, float64 [18, 3]; None without any.

    Our mpi15 has 15 of the 17 joints: spine and nose are NaN.
    """
    true = image.view.camera.project(image.joints_3d[H36M18.root])
    placed = [body for body in frame if np.isfinite(body.root).all()]
    if not placed:
        return None
    away = [np.linalg.norm(body.joints_2d[MPI15.root] - true) for body in placed]
    nearest = placed[int(np.argmin(np.nan_to_num(away, nan=np.inf)))]
    joints = convert(nearest.joints_3d, MPI15, H36M17)
    return with_thorax(joints.astype(np.float64))


def report(outcome: H36mOutcome) -> MeasuresReport:
    """Tables, numbers and figure of an outcome."""
    millimetres = 1000 * outcome.errors
    there = np.isfinite(millimetres)
    by_joint = named([mean(column) for column in millimetres.T], H36M17.joints)
    by_action = {
        name: mean(millimetres[outcome.actions == k])
        for k, name in enumerate(ACTIONS)
        if (outcome.actions == k).any()
    }
    people = len(millimetres) + outcome.missed
    total, of_actions = mean(millimetres), mean(list(by_action.values()))
    missing = [name for name, value in by_joint.items() if not np.isfinite(value)]
    summary = {
        "images": f"{people}, {outcome.skipped} more not in the predictions",
        "people": f"{people}, {len(millimetres)} found",
        "joints": f"{len(H36M17) - len(missing)} of {len(H36M17)}"
        + (f", without {', '.join(missing)}: not the official mean" if missing else ""),
        outcome.protocol.name: f"{shown(total)} mm",
        "mean of the actions": f"{shown(of_actions)} mm",
        "joints of the found": f"{shown(100 * mean(there))} %",
    }
    return MeasuresReport(
        title="Human3.6M",
        note=f"{outcome.protocol.name}, every 64th frame, pelvises aligned",
        summary=summary,
        details=(
            Details("by action", ("action", "mm"), _shown(by_action)),
            Details("by joint", ("joint", "mm"), _shown(by_joint)),
        ),
        values={
            "people": people,
            "people_found": len(millimetres),
            "images_skipped": outcome.skipped,
            "error_mm": total,
            "mean_of_actions_mm": of_actions,
            "joints": [name for name in by_joint if name not in missing],
            "joints_percent": 100 * mean(there),
            "by_action_mm": by_action,
            "by_joint_mm": by_joint,
        },
        panels=(
            Panel("Error by joint", "mean [mm]", by_joint),
            Panel("Error by action", "mean [mm]", by_action),
        ),
    )


def _shown(values: dict[str, float]) -> dict[str, tuple[str]]:
    return {name: (shown(value),) for name, value in values.items()}
