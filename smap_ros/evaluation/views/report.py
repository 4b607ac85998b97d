"""The report of protocol ``views``."""

from __future__ import annotations

from collections.abc import Mapping

from smap_ros.evaluation.common.measures_report import Details, MeasuresReport, mean
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.report import shown
from smap_ros.evaluation.views.measures import FOUND, PCK_SHARE, Tally

_COLUMNS = ("view", "recall %", "PCK %", "similarity", "others", "seen outside")


def report(tallies: Mapping[str, Tally], not_upright: int = 0) -> MeasuresReport:
    """Tables, numbers and figure.

    Args:
        tallies: by view.
        not_upright: photos that no views are made of, as ``measures.left_out`` counts them.
    """
    recall = {name: tally.recall_percent for name, tally in tallies.items()}
    pck = {name: tally.pck_percent for name, tally in tallies.items()}
    rows = {
        name: (
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
            "others": tally.others,
            "seen_outside": tally.measured_outside,
        }
        for name, tally in tallies.items()
    }
    return MeasuresReport(
        title="views",
        note=f"found: similarity of at least {FOUND:g}; PCK at {PCK_SHARE:g} of the torso",
        summary={
            "photos": str(max(tally.people for tally in tallies.values())),
            "left out, nobody upright and labelled from head to ankles": str(not_upright),
            "recall, mean of the views": f"{shown(mean(list(recall.values())))} %",
            "PCK, mean of the views": f"{shown(mean(list(pck.values())))} %",
        },
        details=(Details("by view", _COLUMNS, rows),),
        values={"views": values, "images_not_upright": not_upright},
        panels=(Panel("Recall", "%", recall), Panel("PCK", "%", pck)),
    )
