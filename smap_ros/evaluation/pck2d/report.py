"""The report of protocol ``pck2d``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smap_ros.bodies import Body
from smap_ros.evaluation.common.gallery import Case, gallery, take_turns
from smap_ros.evaluation.common.report import number_table, shown
from smap_ros.evaluation.pck2d.measures import (
    PCK_SHARE,
    THRESHOLDS,
    Compared,
    Outcome,
    by_joint,
    curves,
    total,
    total_projected,
)
from smap_ros.skeletons import MPI15


@dataclass(frozen=True)
class Pck2dReport:
    """Tables, numbers and pictures of an outcome."""

    outcome: Outcome

    def tables(self) -> list[Table]:
        """Summary, by joint."""
        outcome = self.outcome
        nobody = sum(photo.found is None for photo in outcome.photos)
        rows = {
            "photos": (str(len(outcome.photos)),),
            "left out, torso not labelled": (str(outcome.unmeasurable),),
            "photos in which nobody was found": (str(nobody),),
            f"PCK at {PCK_SHARE:g} of the torso, 14 joints": (f"{shown(total(outcome.photos))} %",),
            "the same of poses in metres, projected": (
                f"{shown(total_projected(outcome.photos))} %",
            ),
        }
        if outcome.skipped:
            rows["not in the predictions"] = (str(outcome.skipped),)
        joints = {
            name: (shown(numbers.pck_percent), str(numbers.labelled))
            for name, numbers in by_joint(outcome.photos).items()
        }
        joints["mean of the joints"] = (shown(total(outcome.photos)), "")
        return [
            number_table("pck2d", ("measure", "value"), rows),
            number_table("by joint", ("joint", "PCK %", "labelled"), joints),
        ]

    def numbers(self) -> Mapping[str, Any]:
        """Summary, joints, curves, and every photo."""
        outcome = self.outcome
        return {
            "images": len(outcome.photos),
            "images_skipped": outcome.skipped,
            "images_without_torso": outcome.unmeasurable,
            "nobody_found": sum(photo.found is None for photo in outcome.photos),
            "threshold": PCK_SHARE,
            "pck_percent": total(outcome.photos),
            "projected_pck_percent": total_projected(outcome.photos),
            "by_joint": {name: vars(n) for name, n in by_joint(outcome.photos).items()},
            "thresholds": THRESHOLDS,
            "curves_percent": curves(outcome.photos),
            "photos": [_photo_json(photo) for photo in outcome.photos],
        }

    def plots(self) -> NDArray[np.uint8]:
        """See :func:`smap_ros.evaluation.common.plots.pck2d_figure`."""
        from smap_ros.evaluation.common.plots import pck2d_figure  # matplotlib takes a second

        return pck2d_figure(self.outcome, f"Joints in photos: {total(self.outcome.photos):.1f} %")

    def gallery(self) -> NDArray[np.uint8] | None:
        """Photos with the fewest right joints, and photos in which nobody was found, in turns."""
        cases = worst(self.outcome)
        if not cases:
            return None
        return gallery(cases, f"{len(cases)} worst: fewest joints right, nobody found")


def worst(outcome: Outcome) -> list[Case]:
    """The cases of the gallery: photos with a wrong joint, the most of them first."""
    wrong = [(k, photo) for k, photo in enumerate(outcome.photos) if photo.hits < photo.labelled]
    wrong.sort(key=lambda item: (item[1].hits / item[1].labelled, -_typical(item[1])))
    return take_turns(
        (
            [_case(photo, k) for k, photo in wrong if photo.found is not None],
            [_case(photo, k) for k, photo in wrong if photo.found is None],
        )
    )


def _typical(photo: Compared) -> float:
    """Median error of the labelled joints, as a share of the torso."""
    return float(np.nanmedian(photo.errors))


def _case(photo: Compared, index: int) -> Case:
    right = f"{photo.hits} of {photo.labelled} right"
    if photo.found is None:
        what = "nobody found"
    elif math.isfinite(_typical(photo)):
        what = f"{right}, median {_typical(photo):.2f} torsos"
    else:
        what = f"{right}, most not found"
    source = photo.photo
    return Case(f"{source.key}  {what}", index, source.image, _labelled(photo), photo.found)


def _labelled(photo: Compared) -> Body:
    """The labels as a person to draw."""
    joints = photo.photo.joints_2d
    known = np.asarray(np.isfinite(joints).all(axis=1), np.float32)
    return Body(np.full((len(MPI15), 3), np.nan, np.float32), joints, known, 1.0)


def _photo_json(photo: Compared) -> Mapping[str, Any]:
    return {
        "photo": photo.photo.key,
        "found": photo.found is not None,
        "right": photo.hits,
        "labelled": photo.labelled,
    }
