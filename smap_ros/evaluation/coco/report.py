"""Protocol ``coco``: measuring predictions on COCO's person keypoints, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smap_ros.evaluation.coco.measures import (
    NAMES,
    CocoOutcome,
    OfficialResults,
    detected,
)
from smap_ros.evaluation.coco.measures import evaluate as compared
from smap_ros.evaluation.coco.truth import CocoPhoto, Json
from smap_ros.evaluation.common.measures_report import Details, MeasuresReport
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.predictions import Predictions
from smap_ros.evaluation.common.report import shown
from smap_ros.evaluation.common.views import Coverage


def evaluate(
    predictions: Predictions | OfficialResults,
    photos: Sequence[CocoPhoto],
    on_photo: Callable[[], None] = lambda: None,
) -> CocoOutcome:
    """Compare predictions with the data set; see :func:`.measures.evaluate`.

    Raises:
        InputError: as there.
        SmapError: as there.
    """
    if isinstance(predictions, OfficialResults):
        predictions.check(photos)
        return compared(predictions.people, photos, on_photo)
    coverage = Coverage()

    def detect(photo: CocoPhoto) -> Sequence[Json] | None:
        frame = predictions.of(photo.view)
        coverage.count(frame is not None)
        if photo is photos[-1]:
            coverage.finish(predictions.description)
        return None if frame is None else [detected(body) for body in frame]

    return compared(detect, photos, on_photo)


def report(outcome: CocoOutcome) -> MeasuresReport:
    """Tables, numbers and figure of an outcome."""
    people, limbs, whole = outcome.people, outcome.limbs.summary, outcome.all.summary
    share = 100 * people.found / people.people if people.people else float("nan")
    return MeasuresReport(
        title="coco",
        note="COCO keypoints by pycocotools; 12 of 17: eyes, ears and nose are taken as unlabelled",
        summary={
            "photos": f"{outcome.photos}, {outcome.skipped} not in the predictions",
            "predicted people": f"{outcome.predicted}",
            "AP, 12 keypoints (without eyes, ears, nose)": f"{shown(limbs['AP'])} %",
            "AP, all 17 (those five count as missed)": f"{shown(whole['AP'])} %",
            "people with one of the 12 labelled": (
                f"{people.people}, {people.found} found ({shown(share)} %) at OKS 0.5"
            ),
            "mean OKS of these people": shown(people.oks, 3),
        },
        details=(
            Details(
                "average precision and recall",
                ("measure", "12 keypoints %", "all 17 %"),
                {n: [shown(limbs[n]), shown(whole[n])] for n in NAMES},
            ),
            Details(
                "by keypoint of the people found",
                ("keypoint", "similarity %", "labelled"),
                {n: [shown(v), str(people.labelled[n])] for n, v in people.joints.items()},
            ),
        ),
        values={
            "images": outcome.photos,
            "images_skipped": outcome.skipped,
            "people": people.people,
            "people_found": people.found,
            "people_predicted": outcome.predicted,
            "mean_oks": people.oks,
            "keypoints_12_percent": limbs,
            "keypoints_17_percent": whole,
            "by_keypoint": {"similarity_percent": people.joints, "labelled": people.labelled},
        },
        panels=(
            Panel(
                "Precision, 12 keypoints", "[%]",
                {name: curve.tolist() for name, curve in outcome.limbs.curves.items()},
                x=(100 * outcome.limbs.recall).tolist(), x_label="recall [%]",
            ),
            Panel("Average precision, 12 keypoints", "[%]",
                  {n: limbs[n] for n in NAMES[:5]}),
            Panel("Keypoints of the people found", "similarity [%]", people.joints),
        ),
    )  # fmt: skip
