"""The report of protocol ``mot``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from smap_ros.evaluation.common.identities import INSTALL, OWN
from smap_ros.evaluation.common.measures_report import Details, MeasuresReport
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.report import label, percent, shown
from smap_ros.evaluation.mot.measures import (
    HEIGHTS,
    Film,
    MotOutcome,
    Numbers,
    Person,
    count,
    switches,
)

_CUT, _WHOLE = "cut by the border", "whole in the picture"


def report(outcome: MotOutcome) -> MeasuresReport:
    """Tables, numbers and figure of an outcome."""
    pictures = [picture for film in outcome.films for picture in film.found]
    whole = count(pictures)
    groups = _groups([person for picture in pictures for person in picture.people])
    sequences = {film.name: count(film.found) for film in outcome.films}
    return MeasuresReport(
        title="mot",
        note="People labelled by boxes; found where their joints fit the box by 0.5, which isn't "
        "IoU: not comparable with published numbers",
        summary=_summary(outcome, whole, groups["by framing"][_CUT]),
        details=(
            *((_by_sequence(sequences),) if len(sequences) > 1 else ()),
            *(_by_group(title, rows) for title, rows in groups.items()),
            _over_time(outcome, whole),
        ),
        values={
            **_numbers_json(whole),
            "pictures_skipped": outcome.skipped,
            "sequences_absent": outcome.absent,
            **{
                title.replace(" ", "_"): {name: _people_json(n) for name, n in rows.items()}
                for title, rows in groups.items()
            },
            "by_sequence": {
                film.name: {**_numbers_json(sequences[film.name]), **_where(film)}
                for film in outcome.films
            },
            "over_time": _time_json(outcome),
        },
        panels=_panels(whole, groups, sequences),
    )


def _groups(people: Sequence[Person]) -> dict[str, dict[str, tuple[int, int]]]:
    """People and found of them by group: title -> group -> both."""
    chosen = {
        "by height in the picture": {
            label(low, high, "px"): [p for p in people if low <= p.height_px < high]
            for low, high in itertools.pairwise(HEIGHTS)
        },
        "by framing": {
            _CUT: [p for p in people if p.cut],
            _WHOLE: [p for p in people if not p.cut],
        },
    }
    return {
        title: {
            name: (len(group), sum(person.found is not None for person in group))
            for name, group in groups.items()
        }
        for title, groups in chosen.items()
    }


def _summary(outcome: MotOutcome, whole: Numbers, cut: tuple[int, int]) -> dict[str, str]:
    absent = f"; without {', '.join(outcome.absent)}" if outcome.absent else ""
    return {
        "sequences": f"{len(outcome.films)}{absent}",
        "pictures": f"{whole.pictures}, {outcome.skipped} not in the predictions",
        "pictures of nobody, as labelled": f"{whole.empty_pictures}",
        "people": f"{whole.people}, {whole.found} found, {whole.ghosts} ghosts",
        "recall / precision": (
            f"{shown(whole.recall_percent)} / {shown(whole.precision_percent)} %"
        ),
        "ghosts per picture": shown(whole.ghosts_per_picture, 3),
        "pictures with a ghost": (
            f"{whole.ghost_pictures} ({shown(whole.ghost_pictures_percent)} %)"
        ),
        "people cut by the picture's border": (
            f"{cut[0]}, {cut[1]} found ({shown(percent(cut[1], cut[0]))} %)"
        ),
        "found where labels need not be": f"{whole.excused}",
    }


def _by_sequence(sequences: Mapping[str, Numbers]) -> Details:
    columns = ("people", "recall %", "precision %", "ghosts per picture", "pictures with a ghost %")
    return Details(
        "by sequence",
        ("sequence", *columns),
        {
            name: [
                str(numbers.people),
                shown(numbers.recall_percent),
                shown(numbers.precision_percent),
                shown(numbers.ghosts_per_picture, 3),
                shown(numbers.ghost_pictures_percent),
            ]
            for name, numbers in sequences.items()
        },
    )


def _by_group(title: str, groups: Mapping[str, tuple[int, int]]) -> Details:
    return Details(
        title,
        ("people", "labelled", "found", "recall %"),
        {
            name: [str(people), str(found), shown(percent(found, people))]
            for name, (people, found) in groups.items()
        },
    )


def _over_time(outcome: MotOutcome, whole: Numbers) -> Details:
    """As found in each picture, and as reported with identities."""
    tracked = _tracked(outcome)
    pairs = (whole, tracked)
    changes = _switches(outcome)
    return Details(
        "over time",
        ("measure", "each picture", "with identities"),
        {
            "identities by": ["", _named_by(outcome)],
            "recall %": [shown(n.recall_percent) for n in pairs],
            "precision %": [shown(n.precision_percent) for n in pairs],
            "ghosts per picture": [shown(n.ghosts_per_picture, 3) for n in pairs],
            "pictures with a ghost %": [shown(n.ghost_pictures_percent) for n in pairs],
            "identity switches": ["", "-" if changes is None else str(changes)],
            **_identity_rows(outcome),
        },
    )


def _identity_rows(outcome: MotOutcome) -> Mapping[str, Sequence[str]]:
    who = outcome.identities
    if who is None:
        return {"HOTA, MOTA, IDF1": ["", _why_none(outcome)]}
    return {
        "HOTA (DetA, AssA)": ["", f"{shown(who.hota)} ({shown(who.deta)}, {shown(who.assa)})"],
        "MOTA, IDF1": ["", f"{shown(who.mota)}, {shown(who.idf1)}"],
        "fragments": ["", str(who.fragments)],
    }


def _why_none(outcome: MotOutcome) -> str:
    """Why there are no measures of identities."""
    pictures = [picture for film in outcome.films for picture in film.tracked]
    named = [person.id >= 0 for picture in pictures for person in picture.people]
    if all(named):
        return INSTALL if named else "nobody is labelled"
    return "some labels have no identity" if any(named) else "labels have no identities"


def _tracked(outcome: MotOutcome) -> Numbers:
    return count(picture for film in outcome.films for picture in film.tracked)


def _switches(outcome: MotOutcome) -> int | None:
    """Of all films in which somebody has an identity; None where nobody has."""
    known = [changes for film in outcome.films if (changes := switches(film)) is not None]
    return sum(known) if known else None


def _named_by(outcome: MotOutcome) -> str:
    return ", ".join(sorted({film.smoother or OWN for film in outcome.films}))


def _panels(
    whole: Numbers,
    groups: Mapping[str, Mapping[str, tuple[int, int]]],
    sequences: Mapping[str, Numbers],
) -> tuple[Panel, ...]:
    found = {
        name: percent(seen, people)
        for rows in groups.values()
        for name, (people, seen) in rows.items()
    }
    shares = {
        "recall": whole.recall_percent,
        "precision": whole.precision_percent,
        "pictures with a ghost": whole.ghost_pictures_percent,
    }
    panels = (Panel("All people", "[%]", shares), Panel("People found", "[%]", found))
    if len(sequences) < 2:
        return panels
    ghosts = {name: numbers.ghost_pictures_percent for name, numbers in sequences.items()}
    return (*panels, Panel("Pictures with a ghost", "[%]", ghosts))


def _people_json(group: tuple[int, int]) -> Mapping[str, float]:
    people, found = group
    return {"people": people, "found": found, "recall_percent": percent(found, people)}


def _numbers_json(numbers: Numbers) -> Mapping[str, float]:
    return {
        **vars(numbers),
        "recall_percent": numbers.recall_percent,
        "precision_percent": numbers.precision_percent,
        "ghosts_per_picture": numbers.ghosts_per_picture,
        "ghost_pictures_percent": numbers.ghost_pictures_percent,
    }


def _where(film: Film) -> Mapping[str, Sequence[int]]:
    """Pictures worth a look, by their numbers."""
    pictures = list(zip(film.numbers, film.found, strict=True))
    return {
        "pictures_with_ghosts": [k for k, picture in pictures if picture.ghosts],
        "pictures_with_missed": [
            k for k, picture in pictures if any(p.found is None for p in picture.people)
        ],
    }


def _time_json(outcome: MotOutcome) -> Mapping[str, Any]:
    return {
        "identities_by": _named_by(outcome),
        **_numbers_json(_tracked(outcome)),
        "switches": _switches(outcome),
        "identities": None if outcome.identities is None else vars(outcome.identities),
    }
