"""Who is found in each view, and where their joints are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import Predictions
from smap_ros.evaluation.views.making import View, upright, views_of
from smap_ros.evaluation.views.truth import Labelled
from smap_ros.skeletons import MPI15

FOUND = 0.5  # similarity from which on somebody is found
SPREAD, PCK_SHARE = 0.3, 0.2  # of the torso
MIN_INSIDE = 3  # known joints in a view, for it to say something


@dataclass
class Tally:
    """Counts over the pictures of one view.

    Attributes:
        people: labelled people with joints in it; found: those that were found.
        few: people with fewer than :data:`MIN_INSIDE` joints in it, who count nowhere else.
        joints, right: their joints in it, and those closer than 0.2 of the torso.
        others: people found beside them: bystanders, or nobody.
        measured_outside: joints said to be seen of the people found, that are out of the picture.
    """

    people: int = 0
    few: int = 0
    found: int = 0
    joints: int = 0
    right: int = 0
    others: int = 0
    measured_outside: int = 0
    similarities: list[float] = field(default_factory=list)

    @property
    def recall_percent(self) -> float:
        """People found, percent."""
        return 100 * self.found / self.people if self.people else float("nan")

    @property
    def pck_percent(self) -> float:
        """Joints in the picture that are right, of all people, percent."""
        return 100 * self.right / self.joints if self.joints else float("nan")

    def add(self, view: View, bodies: Iterable[Body], torso: float) -> None:
        """Count one picture."""
        inside = view.inside
        inside[MPI15.root] = False  # the middle of two joints, which count themselves
        if inside.sum() < MIN_INSIDE:
            self.few += 1
            return
        people = list(bodies)
        likeness = [similarity(body, view.joints_2d, inside, torso) for body in people]
        best = int(np.argmax(likeness)) if people else -1
        self.people += 1
        self.joints += int(inside.sum())
        self.similarities.append(likeness[best] if people else 0.0)
        found = best >= 0 and likeness[best] >= FOUND
        self.found += found
        self.others += len(people) - found
        if best >= 0:
            away = np.linalg.norm(people[best].joints_2d - view.joints_2d, axis=1)
            self.right += int((away[inside] < PCK_SHARE * torso).sum())
        if found:
            self.measured_outside += _seen_outside(people[best], view)


def similarity(
    body: Body, true: NDArray[np.floating], counted: NDArray[np.bool_], torso: float
) -> float:
    """How well somebody fits, 0 to 1: as COCO's OKS, with one spread of 0.3 torsos."""
    away = np.linalg.norm(body.joints_2d - true, axis=1)[counted]
    return float(np.nan_to_num(np.exp(-(away**2) / (2 * (SPREAD * torso) ** 2))).mean())


def _seen_outside(body: Body, view: View) -> int:
    seen = body.seen
    with np.errstate(invalid="ignore"):
        size = np.array(view.pixels.shape[1::-1])
        out = (body.joints_2d < -1) | (body.joints_2d > size)
    return int((seen & out.any(axis=1)).sum())


def evaluate(
    predictions: Predictions,
    photos: Iterable[Labelled],
    on_photo: Callable[[], None] = lambda: None,
) -> Mapping[str, Tally]:
    """Look at all views of the photos whose person is upright; see also :func:`left_out`.

    Raises:
        InputError: if nobody is, or the predictions have none of the views.
        SmapError: if a photo can't be used.
    """
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for photo in photos:
        if upright(photo.joints_2d):
            views = views_of(Path(photo.name).stem, photo.image(), photo.joints_2d)
            for name, view in views.items():
                frame = predictions.of(view)
                if frame is not None:
                    tallies[name].add(view, frame.bodies, _torso(view))
        on_photo()
    if not tallies:
        raise InputError(
            f"{predictions.description} has no view of these photos, or nobody in them is "
            "labelled from head to ankles and upright"
        )
    return dict(tallies)


def left_out(photos: Iterable[Labelled]) -> int:
    """How many photos no views are made of, as nobody in them is known to be upright."""
    return sum(not upright(photo.joints_2d) for photo in photos)


def _torso(view: View) -> float:
    neck, pelvis = (view.joints_2d[MPI15.index(name)] for name in ("neck", "pelvis"))
    return float(np.linalg.norm(neck - pelvis))
