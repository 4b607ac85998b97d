"""Who is who over time: HOTA, DetA, AssA, MOTA and IDF1 by the reference code, ``trackeval``.

trackeval (MIT) is not among the dependencies: it asks for opencv-python, which must not be beside
opencv-python-headless, and these measures never use it. Install it by :data:`INSTALL`; it computes
with scipy.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.errors import InputError
from smap_ros.evaluation.common.metrics import MATCH_SHARE, pelvises_apart
from smap_ros.temporal.assignment import assign

Float = NDArray[np.float64]

OWN = "the predictions' own identities"
INSTALL = "pip install --no-deps trackeval tabulate scipy"
_NAMELESS = -1


@dataclass(frozen=True)
class IdentityNumbers:
    """Measures of identities; percent but for the counts.

    Attributes:
        hota, deta, assa: HOTA (Luiten et al. 2021), its detection and its association part.
        mota, idf1: CLEAR-MOT's accuracy, and F1 of identities.
        switches, fragments: identity switches, and interruptions of a true person's track.
    """

    hota: float
    deta: float
    assa: float
    mota: float
    idf1: float
    switches: int
    fragments: int


class Pairing:
    """Who is whom from picture to picture of a film, as CLEAR MOT has it.

    Somebody is who they were as long as whoever has that identity is near enough to be them, and
    nobody else was found with it since (Bernardin and Stiefelhagen, Evaluating Multiple Object
    Tracking Performance, 2008): two people in line, either of whom might be either, exchange
    nothing.
    """

    def __init__(self) -> None:
        self._owner: dict[int, int] = {}  # of each identity

    def __call__(
        self, cost: Float, found: Sequence[int | None], true: Sequence[int | None]
    ) -> list[tuple[int, int]]:
        """Pair the people of the next picture.

        Args:
            cost: float64 [found, true]; infinite or NaN where a pair is not allowed.
            found, true: their identities; None of those without one.

        Returns:
            Pairs (found, true): those that go on, then as many others as possible at the least
            total cost.
        """
        same = [
            [f is not None and t is not None and self._owner.get(f) == t for t in true]
            for f in found
        ]
        goes_on = np.array(same, np.bool_).reshape(cost.shape)
        kept = assign(np.where(goes_on, cost, np.inf))
        rest = cost.copy()
        for row, column in kept:
            rest[row], rest[:, column] = np.inf, np.inf
        pairs = [*kept, *assign(rest)]
        for row, column in pairs:
            identity, person = found[row], true[column]
            if identity is not None and person is not None:
                self._give(identity, person)
        return pairs

    def bodies(self, found: Sequence[Body], true: Sequence[Body]) -> list[tuple[int, int]]:
        """Pair people by how far their pelvises are apart in the picture.

        A pair is allowed where :func:`~smap_ros.evaluation.common.metrics.match_by_pelvis` has it.
        """
        ours, theirs = ([body.id for body in bodies] for bodies in (found, true))
        return self(pelvises_apart(found, true), ours, theirs)

    def _give(self, identity: int, person: int) -> None:
        for other in [k for k, owner in self._owner.items() if owner == person]:
            del self._owner[other]
        self._owner[identity] = person


class IdentityCollector:
    """Gathers the people of one film for :func:`identity_numbers`.

    A similarity of 0.5 is where MOTA and IDF1 match. People who need not be found (not ``counted``)
    are no truth, and who is reported in their place is no mistake.

    Attributes:
        named: whether all true people have identities; else nobody can say who kept theirs.
    """

    def __init__(self) -> None:
        self.named = True
        self._true: list[list[int]] = []
        self._found: list[list[int]] = []
        self._similarity: list[Float] = []

    def add(self, found: Sequence[Body], true: Sequence[Body], counted: NDArray[np.bool_]) -> None:
        """Take a picture whose people are compared by the distance of their pelvises in it.

        As :func:`~smap_ros.evaluation.common.metrics.match_by_pelvis` does: its limit is a
        similarity of 0.5.

        Args:
            found: who was reported, with identities.
            true: who is there, with identities.
            counted: bool [true], who must be found.
        """
        named = [body for body in found if body.id is not None and body.present.any()]
        ours, theirs = (
            [_NAMELESS if body.id is None else body.id for body in bodies]
            for bodies in (named, true)
        )
        nameless = np.array([body.id is None for body in true], np.bool_)
        self.named = self.named and not (nameless & counted).any()
        self.take(ours, theirs, _similarities(true, named), counted)

    def take(
        self,
        found: Sequence[int],
        true: Sequence[int],
        similarity: Float,
        counted: NDArray[np.bool_],
    ) -> None:
        """Take a picture whose people were compared.

        Args:
            found: identities that were reported.
            true: identities of who is there.
            similarity: float64 [true, found] in [0, 1].
            counted: bool [true], who must be found.
        """
        excused = similarity[~counted].max(axis=0, initial=0.0)
        kept = (excused < 0.5) | (similarity[counted].max(axis=0, initial=0.0) > excused)
        self._true.append([k for k, there in zip(true, counted, strict=True) if there])
        self._found.append([k for k, there in zip(found, kept, strict=True) if there])
        self._similarity.append(similarity[counted][:, kept])

    def data(self) -> dict[str, Any]:
        """The film as trackeval's metrics take it, identities counted from 0."""
        true, found = _numbered(self._true), _numbered(self._found)
        return {
            "num_timesteps": len(self._true),
            "gt_ids": true,
            "tracker_ids": found,
            "similarity_scores": self._similarity,
            "num_gt_ids": len({k for ids in self._true for k in ids}),
            "num_tracker_ids": len({k for ids in self._found for k in ids}),
            "num_gt_dets": sum(map(len, true)),
            "num_tracker_dets": sum(map(len, found)),
        }


def identity_numbers(films: Sequence[IdentityCollector]) -> IdentityNumbers | None:
    """The measures over films; None where a true person has no identity.

    Raises:
        InputError: if trackeval isn't installed, saying how to get it.
    """
    if not all(film.named for film in films):
        return None
    try:
        metrics = importlib.import_module("trackeval.metrics")
    except ImportError as error:
        raise InputError(
            f"HOTA, MOTA and IDF1 need trackeval and scipy ({error}); {INSTALL}"
        ) from error
    data = {str(k): film.data() for k, film in enumerate(films)}
    results = []
    for name in ("HOTA", "CLEAR", "Identity"):
        metric = getattr(metrics, name)({"PRINT_CONFIG": False})
        results.append(
            metric.combine_sequences({k: metric.eval_sequence(d) for k, d in data.items()})
        )
    hota, clear, identity = results
    return IdentityNumbers(
        hota=_percent(hota["HOTA"]),
        deta=_percent(hota["DetA"]),
        assa=_percent(hota["AssA"]),
        mota=_percent(clear["MOTA"]),
        idf1=_percent(identity["IDF1"]),
        switches=int(clear["IDSW"]),
        fragments=int(clear["Frag"]),
    )


def has_trackeval() -> bool:
    """Whether :func:`identity_numbers` can work here."""
    return all(importlib.util.find_spec(name) is not None for name in ("trackeval", "scipy"))


def _percent(value: Any) -> float:
    mean = float(np.mean(value))
    return 100 * mean if math.isfinite(mean) else math.nan


def _similarities(true: Sequence[Body], found: Sequence[Body]) -> Float:
    """Of each true person with each reported one, float64 [true, found] in [0, 1]."""
    a, b = (
        np.array([body.joints_2d[body.skeleton.root] for body in bodies]).reshape(-1, 2)
        for bodies in (true, found)
    )
    limit = MATCH_SHARE * np.array([np.hypot(*body.box[2:]) for body in true])
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    similar: Float = np.clip(1 - distance / (2 * np.maximum(limit, 1e-6)[:, None]), 0, 1)
    return np.nan_to_num(similar)


def _numbered(frames: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    numbers = {k: n for n, k in enumerate(sorted({k for ids in frames for k in ids}))}
    return [np.array([numbers[k] for k in ids], np.int64) for ids in frames]
