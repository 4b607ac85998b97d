"""The report of protocol ``views``."""

from __future__ import annotations

from collections.abc import Mapping

from smap_ros.evaluation.common.measures_report import Details, MeasuresReport, mean
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.report import shown
from smap_ros.evaluation.views.measures import FOUND, MIN_INSIDE, PCK_SHARE, Tally

_COLUMNS = (
    "view", "people", "too few joints", "recall %", "PCK %", "similarity", "others", "seen outside",
)  # fmt: skip


def report(tallies: Mapping[str, Tally], not_upright: int = 0) -> MeasuresReport:
    """Tables, numbers and figure.

    Args:
        tallies: by view.
        not_upright: photos that no views are made of, as ``measures.left_out`` counts them.
    """
    recall = {name: tally.recall_percent for name, tally in tallies.items()}
    pck = {name: tally.pck_percent for name, tally in tallies.items()}
    photos = max(tally.people for tally in tallies.values())
    few = tallies["whole"].few if "whole" in tallies else 0
    means = mean(list(recall.values())), mean(list(pck.values()))
    rows = {
        name: (
            str(tally.people),
            str(tally.few),
            shown(tally.recall_percent),
            shown(tally.pck_percent),
            shown(mean(tally.similarities), 2),
            str(tally.others),
            str(tally.measured_outside),
        )
        for name, tally in tallies.items()
    }
    values = {
        name: {
            "recall_percent": tally.recall_percent,
            "pck_percent": tally.pck_percent,
            "similarity": mean(tally.similarities),
            "people": tally.people,
            "people_with_too_few_joints": tally.few,
            "others": tally.others,
            "seen_outside": tally.measured_outside,
        }
        for name, tally in tallies.items()
    }
    return MeasuresReport(
        title="views",
        note=f"found: similarity of at least {FOUND:g}; PCK at {PCK_SHARE:g} of the torso",
        summary={
            "photos": str(photos),
            "left out, nobody upright and labelled from head to ankles": str(not_upright),
            f"left out, fewer than {MIN_INSIDE} labelled joints in the photo": str(few),
            "recall, mean of the views": f"{shown(means[0])} %",
            "PCK, mean of the views": f"{shown(means[1])} %",
        },
        details=(Details("by view", _COLUMNS, rows),),
        values={
            "images": photos,
            "images_not_upright": not_upright,
            "images_with_too_few_joints": few,
            "recall_percent": means[0],
            "pck_percent": means[1],
            "views": values,
        },
        panels=(Panel("Recall", "%", recall), Panel("PCK", "%", pck)),
    )
