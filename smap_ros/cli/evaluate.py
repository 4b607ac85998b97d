"""`smap-ros evaluate`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from smap_ros import __version__
from smap_ros.cli import tables
from smap_ros.cli.model_options import model_words
from smap_ros.errors import InputError
from smap_ros.estimators.options import ModelChoice
from smap_ros.evaluation.common.predictions import Predictions, open_predictions
from smap_ros.evaluation.common.report import Origin, Report, claim_folder, write_report
from smap_ros.evaluation.common.spread_predictions import Reel, open_spread, reels_of
from smap_ros.evaluation.pck2d import measures as pck2d
from smap_ros.evaluation.pck2d.report import Pck2dReport
from smap_ros.evaluation.pck2d.truth import read_lspet
from smap_ros.evaluation.virtual import measures as virtual
from smap_ros.evaluation.virtual.report import VirtualReport
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.spread import Workers
from smap_ros.stopping import Stopped

Step = Callable[[], None]


class Measured(Protocol):
    """What is measured: our predictions, or the files of an official implementation."""

    description: str

    def close(self) -> None:
        """Release what is held."""


@dataclass(frozen=True)
class Measurement:
    """A protocol that is ready to run.

    Attributes:
        count: pictures to look at.
        predictions: what is measured.
        run: measures it; calls its argument after each picture.
    """

    count: int
    predictions: Measured
    run: Callable[[Step], Report]


# Photos that `smap-train fit` keeps from training by default.
HELD_OUT = 500
VIEWS_HELD_OUT = 100  # street photos


@dataclass(frozen=True)
class EvaluateOptions:
    """The words of the command.

    Attributes:
        protocol: its name.
        predictions: a bodies.json, a folder of them by sequence, name or path of a bundle, or
            official results.
        truth: what it is compared with.
        report: folder for numbers and pictures; None only shows the tables.
        model: for a bundle: what it runs on, and its options.
        last: photos at the end of the set to use, 0 for all; None is the protocol's default.
        body_model: folder of the user's SMPL files.
        found_by: the bundle that found the people of files.
        workers: who runs a bundle.
    """

    protocol: str
    predictions: str
    truth: Path
    model: ModelChoice
    report: Path | None = None
    last: int | None = None
    body_model: Path | None = None
    found_by: str | None = None
    workers: Workers = field(default_factory=Workers)

    @property
    def command(self) -> str:
        """The command line that does this."""
        words = ["smap-ros", "evaluate", "--protocol", self.protocol]
        words += [self.predictions, str(self.truth)]
        if self.report is not None:
            words += ["--report", str(self.report)]
        if not self.predictions.endswith(".json"):
            words += model_words(self.model, without=["bundle", "gpu", "workspace_mb"])
        if self.last is not None:
            words += ["--last", str(self.last)]
        if self.found_by is not None:
            words += ["--found-by", self.found_by]
        if self.body_model is not None:
            words += ["--body-model", str(self.body_model)]
        if self.workers.jobs > 1:
            words += ["--jobs", str(self.workers.jobs)]
        if self.workers.ray:
            words += ["--ray", self.workers.ray]
        return shlex.join(words)


def run(options: EvaluateOptions) -> None:
    """Measure with progress on stderr, show tables on stdout, and write the report.

    Raises:
        SmapError: whatever the user has to change.
    """
    if options.report is not None:
        claim_folder(options.report)
    measurement = _protocol(options)
    predictions = measurement.predictions
    try:
        with tables.progress() as bar:
            task = bar.add_task(options.protocol, total=measurement.count)
            report = measurement.run(lambda: bar.advance(task))
    except Stopped as stop:
        # The number of half a protocol would be taken for that of the whole.
        stop.during = "nothing is reported of a protocol that wasn't measured to its end"
        raise
    finally:
        predictions.close()
    # Written before anything is shown: `| head` ends the command where it prints.
    files = [] if options.report is None else _written(report, options, options.report, predictions)
    screen = tables.console()
    for table in report.tables():
        screen.print(table)
    if options.report is not None:
        screen.print(tables.files(options.report, files))


def _written(
    report: Report, options: EvaluateOptions, folder: Path, predictions: Measured
) -> list[str]:
    """Write the report; names of its files."""
    origin = Origin(
        protocol=options.protocol,
        command=options.command,
        predictions=predictions.description,
        truth=str(options.truth),
        version=__version__,
    )
    with tables.waiting() as bar:
        bar.add_task("plots and gallery")
        return write_report(report, origin, folder)


def _protocol(options: EvaluateOptions) -> Measurement:
    """Read the truth and the predictions of the protocol."""
    if options.last is not None and options.protocol not in ("pck2d", "views"):
        raise InputError(
            f"--last is for --protocol pck2d and views; {options.protocol} takes all there is"
        )
    if options.body_model is not None and options.protocol != "3dpw":
        raise InputError("--body-model is for --protocol 3dpw; the others compare no meshes")
    if options.workers.ray:  # workers start elsewhere
        options = replace(options, truth=options.truth.resolve())
    return _PROTOCOLS[options.protocol](options)


def _open(options: EvaluateOptions, reels: Sequence[Reel]) -> Predictions:
    """The predictions; reels are the pictures that will be asked for, for others to look at."""
    model = options.model.model
    choice: dict[str, Any] = {
        "engine": model.engine,
        "threads": model.threads,
        "precision": model.precision,
        "image_up": model.image_up,
        "found_by": options.found_by,
        **options.model.options,
    }
    if options.workers.several:
        return open_spread(options.predictions, reels, options.workers, **choice)
    return open_predictions(options.predictions, **choice)


def _virtual(options: EvaluateOptions) -> Measurement:
    scenes = open_scenes(options.truth)
    found = _open(options, reels_of(scenes))
    return Measurement(
        len(scenes), found, lambda step: VirtualReport(virtual.evaluate(found, scenes, step))
    )


def _pck2d(options: EvaluateOptions) -> Measurement:
    count = HELD_OUT if options.last is None else options.last
    photos = pck2d.last(read_lspet(options.truth), count)
    found = _open(options, reels_of(photos))
    return Measurement(
        len(photos), found, lambda step: Pck2dReport(pck2d.evaluate(found, photos, step))
    )


def _views(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.views import measures as views
    from smap_ros.evaluation.views.report import report as views_report
    from smap_ros.evaluation.views.truth import read_labelled

    count = VIEWS_HELD_OUT if options.last is None else options.last
    if options.workers.several:
        raise InputError("--protocol views is measured by this process; leave --jobs and --ray out")
    photos = read_labelled(options.truth)[-count:]
    found = _open(options, [])
    unused = views.left_out(photos)
    return Measurement(
        len(photos), found, lambda step: views_report(views.evaluate(found, photos, step), unused)
    )


def _mupots(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.mupots import report as mupots_report
    from smap_ros.evaluation.mupots.truth import OfficialResults, read_mupots

    sequences = read_mupots(options.truth)
    folder = Path(options.predictions)
    reels = [Reel([i.view for i in s.images], mupots_report.FRAME_RATE) for s in sequences]
    found = OfficialResults(folder) if OfficialResults.found(folder) else _open(options, reels)
    return Measurement(
        sum(len(sequence.images) for sequence in sequences),
        found,
        lambda step: mupots_report.report(mupots_report.evaluate(found, sequences, step)),
    )


def _panoptic(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.panoptic import report as panoptic_report
    from smap_ros.evaluation.panoptic.truth import read_panoptic

    images = read_panoptic(options.truth)
    found = _open(options, reels_of(image.view for image in images))
    return Measurement(
        len(images),
        found,
        lambda step: panoptic_report.report(panoptic_report.evaluate(found, images, step)),
    )


def _h36m(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.h36m import report as h36m_report
    from smap_ros.evaluation.h36m.measures import PROTOCOLS
    from smap_ros.evaluation.h36m.truth import OfficialResults, read_h36m

    protocol = PROTOCOLS[options.protocol]
    images = read_h36m(options.truth, protocol)
    file, reels = Path(options.predictions), reels_of(image.view for image in images)
    found = OfficialResults(file) if OfficialResults.found(file) else _open(options, reels)
    return Measurement(
        len(images),
        found,
        lambda step: h36m_report.report(h36m_report.evaluate(found, images, protocol, step)),
    )


def _threedpw(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.threedpw import report as threedpw_report
    from smap_ros.evaluation.threedpw.smpl import read_body_model
    from smap_ros.evaluation.threedpw.truth import read_threedpw

    sequences = read_threedpw(options.truth)
    body = None if options.body_model is None else read_body_model(options.body_model)
    found = _open(options, [Reel(s.views, threedpw_report.FRAME_RATE) for s in sequences])
    return Measurement(
        sum(len(sequence.views) for sequence in sequences),
        found,
        lambda step: threedpw_report.report(threedpw_report.evaluate(found, sequences, body, step)),
    )


def _coco(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.coco import report as coco_report
    from smap_ros.evaluation.coco.measures import OfficialResults, require_pycocotools
    from smap_ros.evaluation.coco.truth import read_coco

    require_pycocotools()  # said before hours of looking at photos
    photos = read_coco(options.truth)
    file, reels = Path(options.predictions), reels_of(photo.view for photo in photos)
    found = OfficialResults(file) if OfficialResults.found(file) else _open(options, reels)
    return Measurement(
        len(photos),
        found,
        lambda step: coco_report.report(coco_report.evaluate(found, photos, step)),
    )


def _mot(options: EvaluateOptions) -> Measurement:
    from smap_ros.evaluation.mot import measures as mot
    from smap_ros.evaluation.mot.report import report as mot_report
    from smap_ros.evaluation.mot.truth import read_mot

    sequences = read_mot(options.truth)
    found = _open(options, [Reel([p.view for p in s.pictures], s.rate) for s in sequences])
    return Measurement(
        sum(len(sequence.pictures) for sequence in sequences),
        found,
        lambda step: mot_report(mot.evaluate(found, sequences, step)),
    )


_PROTOCOLS: dict[str, Callable[[EvaluateOptions], Measurement]] = {
    "virtual": _virtual,
    "pck2d": _pck2d,
    "views": _views,
    "mupots": _mupots,
    "panoptic": _panoptic,
    "h36m-p1": _h36m,
    "h36m-p2": _h36m,
    "3dpw": _threedpw,
    "coco": _coco,
    "mot": _mot,
}
