"""The report of protocol ``virtual``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smap_ros.evaluation.common.gallery import Case, gallery, take_turns
from smap_ros.evaluation.common.identities import INSTALL, OWN, IdentityNumbers
from smap_ros.evaluation.common.report import label, number_table, shown
from smap_ros.evaluation.virtual.measures import (
    Ghost,
    Numbers,
    Outcome,
    Person,
    by_group,
    by_joint,
    numbers_json,
    summarise,
)
from smap_ros.evaluation.virtual.reliability import calibration_error, reliability
from smap_ros.evaluation.virtual.tracks import over_time

_GROUP_COLUMNS = (
    "people", "recall %", "precision %", "MPJPE mm", "PA-MPJPE mm", "root depth %", "PCK 250 mm %",
)  # fmt: skip
_SCORE_COLUMNS = ("told", "mean score %", "there %")


@dataclass(frozen=True)
class VirtualReport:
    """Tables, numbers and pictures of an outcome."""

    outcome: Outcome

    def tables(self) -> list[Table]:
        """Summary, by group, by joint."""
        outcome = self.outcome
        whole = summarise(outcome.people, len(outcome.ghosts))
        tables = [
            number_table("virtual", ("measure", "value"), _summary_rows(outcome, whole)),
        ]
        if outcome.tracked is not None:
            rows = _time_rows(outcome, outcome.tracked)
            second = "with identities" if OWN in outcome.tracked.smoother else "tracked and smooth"
            tables.append(number_table("over time", ("measure", "each picture", second), rows))
        for title, groups in by_group(outcome).items():
            cells = {name: _cells(numbers) for name, numbers in groups.items() if numbers.people}
            tables.append(number_table(f"by {title}", (title, *_GROUP_COLUMNS), cells))
        joints = {
            name: (shown(n.mpjpe_mm), shown(n.pck250_percent), shown(n.found_percent))
            for name, n in by_joint(outcome.people).items()
        }
        columns = ("joint", "MPJPE mm", "PCK 250 mm %", "found %")
        tables.append(number_table("by joint", columns, joints))
        curve = reliability(outcome.told)
        if curve:
            scores = {
                label(100 * one.low, 100 * one.high, "%"): (
                    str(one.count), shown(100 * one.score), shown(100 * one.there),
                )
                for one in curve
            }  # fmt: skip
            scores["apart, mean"] = ("", "", shown(100 * calibration_error(curve)))
            tables.append(number_table("by score", ("score", *_SCORE_COLUMNS), scores))
        return tables

    def numbers(self) -> Mapping[str, Any]:
        """Summary, groups, joints, and every person."""
        outcome = self.outcome
        whole = summarise(outcome.people, len(outcome.ghosts))
        return {
            "images": outcome.scenes,
            "images_skipped": outcome.skipped,
            "frames_not_in_truth": outcome.not_asked_for,
            "people_excused": outcome.excused,
            "excused_found": outcome.excused_found,
            "summary": numbers_json(whole),
            "over_time": None if outcome.tracked is None else _time_json(outcome.tracked, outcome),
            "by_group": {
                title: {name: numbers_json(numbers) for name, numbers in groups.items()}
                for title, groups in by_group(outcome).items()
            },
            "by_joint": {name: vars(n) for name, n in by_joint(outcome.people).items()},
            "by_score": [vars(one) for one in reliability(outcome.told)],
            "people": [_person_json(person) for person in outcome.people],
        }

    def plots(self) -> NDArray[np.uint8]:
        """See :func:`smap_ros.evaluation.common.plots.virtual_figure`."""
        from smap_ros.evaluation.common.plots import virtual_figure  # matplotlib takes a second

        return virtual_figure(self.outcome, "People in metres against the truth")

    def gallery(self) -> NDArray[np.uint8] | None:
        """Worst poses, worst distances, missed people and ghosts, in turns."""
        cases = worst(self.outcome)
        if not cases:
            return None
        title = f"{len(cases)} worst: poses, distances, missed people, ghosts"
        return gallery(cases, title)


def worst(outcome: Outcome) -> list[Case]:
    """The cases of the gallery: of each kind the worst, each person once."""
    found = [p for p in outcome.people if math.isfinite(p.mpjpe)]
    poses = sorted(found, key=lambda p: -p.mpjpe)
    depths = sorted(found, key=lambda p: -abs(p.depth_share))
    # People in plain sight first.
    missed = sorted((p for p in outcome.people if p.found is None), key=lambda p: p.hidden)
    ghosts = sorted(outcome.ghosts, key=lambda ghost: -ghost.found.score)
    return take_turns(
        (
            [_case(p, f"pose {1000 * p.mpjpe:.0f} mm") for p in poses],
            [_case(p, f"depth {p.depth_share:+.0%} of {p.true.root[2]:.1f} m") for p in depths],
            [_case(p, f"missed at {p.distance:.1f} m, {p.hidden:.0%} hidden") for p in missed],
            [
                _ghost_case(ghost, f"matches nobody, score {ghost.found.score:.2f}")
                for ghost in ghosts
            ],
        )
    )


def _case(person: Person, what: str) -> Case:
    scene = person.scene
    return Case(f"{scene.key}  {what}", scene.frame.index, scene.image, person.true, person.found)


def _ghost_case(ghost: Ghost, what: str) -> Case:
    scene = ghost.scene
    return Case(
        caption=f"{scene.key}  {what}",
        index=scene.frame.index,
        read=scene.image,
        true=None,
        found=ghost.found,
        others=scene.frame.bodies,
    )


def _summary_rows(outcome: Outcome, whole: Numbers) -> dict[str, tuple[str]]:
    images = f"{outcome.scenes}"
    if outcome.skipped:
        images += f", {outcome.skipped} not in the predictions"
    if outcome.not_asked_for:
        images += f"; {outcome.not_asked_for} more predicted, not in the truth"
    excused = f"{outcome.excused} too small or hidden, {outcome.excused_found} found all the same"
    return {
        "images": (images,),
        "people": (f"{whole.people}, {whole.found} found, {whole.ghosts} ghosts",),
        "excused": (excused,),
        "recall / precision": (
            f"{shown(whole.recall_percent)} / {shown(whole.precision_percent)} %",
        ),
        "MPJPE / PA-MPJPE": (f"{shown(whole.mpjpe_mm)} / {shown(whole.pa_mpjpe_mm)} mm",),
        "root depth error, median": (f"{shown(whole.root_depth_percent)} %",),
        "absolute PCK at 250 mm": (f"{shown(whole.pck250_percent)} %",),
        "joints of the found": (f"{shown(whole.joints_percent)} %",),
    }


def _time_rows(raw: Outcome, tracked: Outcome) -> dict[str, Sequence[str]]:
    films = [person for person in raw.people if person.scene.sequence is not None]
    times = over_time(films), over_time(tracked.people)
    numbers = summarise(films), summarise(tracked.people, len(tracked.ghosts))
    return {
        "smoother": ("", tracked.smoother),
        "sequences, people": (f"{times[0].sequences}, {times[0].people}",) * 2,
        "recall": _pair(n.recall_percent for n in numbers),
        "MPJPE mm": _pair(n.mpjpe_mm for n in numbers),
        "PA-MPJPE mm": _pair(n.pa_mpjpe_mm for n in numbers),
        "root depth %": _pair(n.root_depth_percent for n in numbers),
        "PCK 250 mm %": _pair(n.pck250_percent for n in numbers),
        "jitter mm/frame²": _pair(t.motion.acceleration for t in times),
        "jitter about the pelvis mm/frame²": _pair(t.motion.relative_acceleration for t in times),
        "jerk, % of the truth's": _pair(100 * t.motion.jerk for t in times),
        "bones' spread %": _pair(t.motion.bones_percent for t in times),
        "lag of walking people, frames": tuple(shown(t.motion.lag, 2) for t in times),
        "identity switches": ("", shown(times[1].switches, 0)),
        **_identity_rows(tracked.identities),
    }


def _identity_rows(who: IdentityNumbers | None) -> dict[str, Sequence[str]]:
    if who is None:
        return {"HOTA, MOTA, IDF1": ("", INSTALL)}
    return {
        "HOTA (DetA, AssA)": ("", f"{shown(who.hota)} ({shown(who.deta)}, {shown(who.assa)})"),
        "MOTA, IDF1": ("", f"{shown(who.mota)}, {shown(who.idf1)}"),
        "fragments": ("", str(who.fragments)),
    }


def _pair(values: Iterable[float]) -> tuple[str, str]:
    first, second = values
    return shown(first), shown(second)


def _time_json(tracked: Outcome, raw: Outcome) -> Mapping[str, Any]:
    films = [person for person in raw.people if person.scene.sequence is not None]
    return {
        "smoother": tracked.smoother,
        "raw": asdict(over_time(films)),
        "tracked": asdict(over_time(tracked.people)),
        "identities": None if tracked.identities is None else vars(tracked.identities),
        "tracked_summary": numbers_json(summarise(tracked.people, len(tracked.ghosts))),
    }


def _cells(numbers: Numbers) -> Sequence[str]:
    return (
        str(numbers.people),
        shown(numbers.recall_percent),
        shown(numbers.precision_percent),
        shown(numbers.mpjpe_mm),
        shown(numbers.pa_mpjpe_mm),
        shown(numbers.root_depth_percent),
        shown(numbers.pck250_percent),
    )


def _person_json(person: Person) -> Mapping[str, Any]:
    return {
        "picture": person.scene.key,
        "person": person.true.id,
        "found": person.found is not None,
        "distance_m": person.distance,
        "hidden_percent": 100 * person.hidden,
        "mpjpe_mm": 1000 * person.mpjpe,
        "pa_mpjpe_mm": 1000 * person.pa_mpjpe,
        "root_depth_percent": 100 * person.depth_share,
        "pck250_percent": 100 * float(person.hits.mean()),
    }
