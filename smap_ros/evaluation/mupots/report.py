"""Protocol ``mupots``: measuring predictions on MuPoTS-3D, and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smap_ros.evaluation.common.measures_report import Details, MeasuresReport, named
from smap_ros.evaluation.common.panels import Panel
from smap_ros.evaluation.common.predictions import FilmPredictions, Predictions
from smap_ros.evaluation.common.report import shown
from smap_ros.evaluation.common.views import Coverage
from smap_ros.evaluation.mupots import measures as mupots
from smap_ros.evaluation.mupots.measures import (
    MODES,
    SMAP_RULES,
    Annotated,
    Detected,
    Rules,
    SequenceErrors,
    mean_of_sequences,
    measure_sequence,
)
from smap_ros.evaluation.mupots.truth import (
    MupotsImage,
    MupotsSequence,
    OfficialResults,
    detections,
)

FRAME_RATE = 30.0  # images a second of the data set

_TOTAL = "total"


@dataclass(frozen=True)
class MupotsOutcome:
    """Errors of every sequence in each of :data:`smap_ros.evaluation.mupots.measures.MODES`.

    Attributes:
        names: of the sequences that were predicted.
        rules: joints and bones they are measured with.
        modes: by name of the mode, one entry a sequence.
        images: that were predicted.
        skipped: images that the predictions lack; nobody was found there, as the script says.
        absent: sequences of which no image was predicted; they don't count.
    """

    names: tuple[str, ...]
    rules: Rules
    modes: Mapping[str, tuple[SequenceErrors, ...]]
    images: int
    skipped: int
    absent: tuple[str, ...]


def evaluate(
    predictions: Predictions | OfficialResults,
    sequences: Sequence[MupotsSequence],
    on_image: Callable[[], None] = lambda: None,
) -> MupotsOutcome:
    """Compare predictions with the data set.

    Args:
        predictions: our people, or the official files.
        sequences: who is there.
        on_image: called after each image, for progress.

    Raises:
        InputError: if no image was predicted.
        SmapError: if a picture or the predictions can't be used.
    """
    coverage = Coverage()
    rules = predictions.rules if isinstance(predictions, OfficialResults) else SMAP_RULES
    pairs: dict[str, list[tuple[Annotated, Detected]]] = {}
    absent, skipped = [], 0
    for sequence in sequences:
        seen_before, missing_before = coverage.seen, coverage.missing
        pairs[sequence.name] = []
        if isinstance(predictions, FilmPredictions):
            predictions.film([image.view for image in sequence.images], FRAME_RATE)
        for image in sequence.images:
            found = _detected(predictions, sequence.name, image, coverage)
            pairs[sequence.name].append((image.people(rules), found))
            on_image()
        if coverage.seen == seen_before:
            absent.append(sequence.name)
            del pairs[sequence.name]
        else:
            skipped += coverage.missing - missing_before
    coverage.finish(predictions.description)
    return MupotsOutcome(
        names=tuple(pairs),
        rules=rules,
        modes={
            name: tuple(measure_sequence(images, rules, mode) for images in pairs.values())
            for name, mode in MODES.items()
        },
        images=coverage.seen,
        skipped=skipped,
        absent=tuple(absent),
    )


def _detected(
    predictions: Predictions | OfficialResults,
    sequence: str,
    image: MupotsImage,
    coverage: Coverage,
) -> Detected:
    view = image.view
    if isinstance(predictions, OfficialResults):
        found = predictions.of(sequence, view.path.stem)
        coverage.count(found is not None)
        if found is not None:
            return found
        count = len(predictions.rules.joints)
        return Detected(np.zeros((0, count, 3)), np.zeros((0, count, 2)))
    frame = predictions.of(view)
    coverage.note(frame, view)
    return detections(frame, view.camera)


def report(outcome: MupotsOutcome) -> MeasuresReport:
    """Tables, numbers and figure of an outcome."""
    modes = {name: _mode_numbers(outcome, name) for name in outcome.modes}
    relative, absolute = modes["relative"], modes["absolute"]
    people = sum(s.annotated for s in outcome.modes["relative"])
    found = people - sum(s.undetected for s in outcome.modes["relative"])
    summary = {
        "sequences": f"{len(outcome.names)}" + _absent(outcome),
        "images": f"{outcome.images}, {outcome.skipped} not in the predictions",
        "people": f"{people}, {found} found",
        "joints": f"{len(outcome.rules.joints)}",
    }
    for name, numbers in modes.items():
        summary[f"3DPCK / AUC, {name}"] = (
            f"{shown(numbers['pck'][_TOTAL])} / {shown(numbers['auc'][_TOTAL])} %"
        )
    ordinal = 100 * absolute["ordinal"], 100 * modes["absolute, matched"]["ordinal"]
    summary["depth order right, all / matched"] = f"{shown(ordinal[0])} / {shown(ordinal[1])} %"
    sequences = {
        name: [shown(modes[mode]["by_sequence"][name]["pck"][_TOTAL]) for mode in modes]
        for name in outcome.names
    }
    groups = {
        group: [shown(relative["pck"][group]), shown(absolute["pck"][group])]
        for group in relative["pck"]
    }
    return MeasuresReport(
        title="mupots",
        note="MuPoTS-3D; means over the sequences. 3DPCK: joints within 150 mm, bones resized",
        summary=summary,
        details=(
            Details("3DPCK % by joint", ("joints", "relative", "absolute"), groups),
            Details("3DPCK % by sequence", ("sequence", *modes), sequences),
        ),
        values={
            "images": outcome.images,
            "images_skipped": outcome.skipped,
            "sequences_absent": outcome.absent,
            "joints": outcome.rules.joints,
            "people": people,
            "people_found": found,
            "modes": modes,
        },
        panels=(
            Panel("3DPCK relative", "within 150 mm [%]", relative["pck"]),
            Panel("3DPCK absolute", "within 150 mm [%]", absolute["pck"]),
            Panel(
                "3DPCK by threshold",
                "right [%]",
                {name: numbers["curve_percent"] for name, numbers in modes.items()},
                mupots.AUC_MM,
                "threshold [mm]",
            ),
        ),
    )


def _absent(outcome: MupotsOutcome) -> str:
    if not outcome.absent:
        return ""
    return f"; without {', '.join(outcome.absent)}, which the predictions lack: not comparable"


def _mode_numbers(outcome: MupotsOutcome, mode: str) -> dict[str, Any]:
    """One mode: means over the sequences, each sequence, and the joints."""
    measured = outcome.modes[mode]
    pck = [mupots.pck(s.errors) for s in measured]
    auc = [mupots.auc(s.errors) for s in measured]
    curves = [mupots.pck_curve(s.errors) for s in measured]
    by_sequence = {
        name: {
            "pck": pck[k],
            "auc": auc[k],
            "mpjpe_mm": mupots.mpjpe(s.errors),
            "annotated": s.annotated,
            "undetected": s.undetected,
            "ordinal": s.ordinal,
            "visible": vars(mupots.masked(s.errors, ~s.occluded)),
            "occluded": vars(mupots.masked(s.errors, s.occluded)),
        }
        for k, (name, s) in enumerate(zip(outcome.names, measured, strict=True))
    }
    return {
        "pck": {group: mean_of_sequences([row[group] for row in pck]) for group in pck[0]},
        "auc": {group: mean_of_sequences([row[group] for row in auc]) for group in auc[0]},
        "ordinal": mean_of_sequences([s.ordinal for s in measured]),
        "pck_by_joint": named(mupots.pck_by_joint(measured), outcome.rules.joints),
        "curve_percent": [
            mean_of_sequences([curve[k] for curve in curves]) for k in range(len(mupots.AUC_MM))
        ],
        "by_sequence": by_sequence,
    }
