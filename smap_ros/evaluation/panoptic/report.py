"""Protocol ``panoptic``: measuring predictions on CMU Panoptic, and the report."""

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
from smap_ros.evaluation.panoptic.measures import Tally, network_scale, register
from smap_ros.evaluation.panoptic.truth import PanopticImage
from smap_ros.skeletons import MPI15

Float = NDArray[np.float64]


@dataclass(frozen=True)
class PanopticOutcome:
    """The sums over all images.

    Attributes:
        tally: of the people.
        predicted: people predicted in all.
        images: that were predicted.
        skipped: images that the predictions lack; they don't count.
    """

    tally: Tally
    predicted: int
    images: int
    skipped: int


def evaluate(
    predictions: Predictions,
    images: Sequence[PanopticImage],
    on_image: Callable[[], None] = lambda: None,
) -> PanopticOutcome:
    """Compare predictions with the data set.

    Args:
        predictions: who was found.
        images: who is there.
        on_image: called after each image, for progress.

    Raises:
        InputError: if no image was predicted.
        SmapError: if a picture or the predictions can't be used.
    """
    coverage, tally, predicted = Coverage(), Tally(), 0
    for image in images:
        frame = predictions.of(image.view)
        coverage.note(frame, image.view)
        on_image()
        if frame is not None:
            predicted += len(frame)
            tally.add(_registered(frame, image), image.joints_3d, image.visible)
    coverage.finish(predictions.description)
    return PanopticOutcome(tally, predicted, coverage.seen, coverage.missing)


def _registered(frame: BodyFrame, image: PanopticImage) -> Float:
    """The predicted poses in the order of the truth, float64 [P, 15, 3]; NaN where none is."""
    scale = network_scale(image.view.camera.width, image.view.camera.height)
    roots = np.array([body.joints_2d[MPI15.root] for body in frame], np.float64).reshape(-1, 2)
    partner = register(scale * roots, scale * image.roots_2d)
    poses = np.full((len(partner), len(MPI15), 3), np.nan)
    for person, k in enumerate(partner):
        if k >= 0:
            poses[person] = frame.bodies[k].joints_3d
    return poses


def report(outcome: PanopticOutcome) -> MeasuresReport:
    """Tables, numbers and figure of an outcome."""
    tally, results = outcome.tally, outcome.tally.results()
    columns = {
        "MPJPE mm": named(results.mpjpe_mm, MPI15.joints),
        "aligned mm": named(results.mpjpe_relative_mm, MPI15.joints),
        "PCK 150 mm %": named(results.pck_percent, MPI15.joints),
        "aligned %": named(results.pck_relative_percent, MPI15.joints),
        "found %": named(results.joints_percent, MPI15.joints),
    }
    summary = {
        "images": f"{outcome.images}, {outcome.skipped} not in the predictions",
        "people": f"{tally.people}, {tally.found} found ({shown(results.recall_percent)} %)",
        "predicted people": f"{outcome.predicted}",
        "MPJPE, absolute / aligned": (
            f"{shown(mean(results.mpjpe_mm))} / {shown(mean(results.mpjpe_relative_mm))} mm"
        ),
        "PCK at 150 mm, absolute / aligned": (
            f"{shown(mean(results.pck_percent))} / {shown(mean(results.pck_relative_percent))} %"
        ),
        "necks within 150 mm, of all people": f"{shown(results.near_percent)} %",
        "depth order wrong": f"{shown(results.reversed_percent)} % of {tally.pairs} pairs",
    }
    return MeasuresReport(
        title="panoptic",
        note="CMU Panoptic; people whose pelvis is visible, matched by it in the picture",
        summary=summary,
        details=(
            Details(
                "by joint",
                ("joint", *columns),
                {j: [shown(column[j]) for column in columns.values()] for j in MPI15.joints},
            ),
        ),
        values={
            "images": outcome.images,
            "images_skipped": outcome.skipped,
            "people": tally.people,
            "people_found": tally.found,
            "people_predicted": outcome.predicted,
            "mpjpe_mm": mean(results.mpjpe_mm),
            "mpjpe_relative_mm": mean(results.mpjpe_relative_mm),
            "pck150_percent": mean(results.pck_percent),
            "pck150_relative_percent": mean(results.pck_relative_percent),
            "recall_percent": results.recall_percent,
            "near_percent": results.near_percent,
            "pairs": tally.pairs,
            "reversed_percent": results.reversed_percent,
            "by_joint": columns,
        },
        panels=(
            Panel("Error where it is", "mean [mm]", columns["MPJPE mm"]),
            Panel("Error with pelvises aligned", "mean [mm]", columns["aligned mm"]),
            Panel("PCK absolute", "within 150 mm [%]", columns["PCK 150 mm %"]),
        ),
    )
