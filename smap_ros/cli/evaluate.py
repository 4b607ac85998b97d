"""`smap-ros evaluate`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smap_ros import __version__
from smap_ros.cli import tables
from smap_ros.errors import InputError
from smap_ros.evaluation import pck2d, virtual
from smap_ros.evaluation.lspet import read_lspet
from smap_ros.evaluation.pck2d_report import Pck2dReport
from smap_ros.evaluation.predictions import Predictions, open_predictions
from smap_ros.evaluation.report import Origin, Report, claim_folder, write_report
from smap_ros.evaluation.truth import open_scenes
from smap_ros.evaluation.virtual_report import VirtualReport

Step = Callable[[], None]

# Photos that `smap-train fit` keeps from training by default.
HELD_OUT = 500


@dataclass(frozen=True)
class EvaluateOptions:
    """The words of the command.

    Attributes:
        protocol: ``virtual`` or ``pck2d``.
        predictions: a bodies.json, or name or path of a bundle.
        truth: what it is compared with.
        report: folder for numbers and pictures; None only shows the tables.
        engine, threads: for a bundle.
        last: photos at the end of the set to use, 0 for all; None is the protocol's default.
    """

    protocol: str
    predictions: str
    truth: Path
    report: Path | None = None
    engine: str = "auto"
    threads: int = 0
    last: int | None = None

    @property
    def command(self) -> str:
        """The command line that does this."""
        words = ["smap-ros", "evaluate", "--protocol", self.protocol]
        words += [self.predictions, str(self.truth)]
        if self.report is not None:
            words += ["--report", str(self.report)]
        if not self.predictions.endswith(".json"):
            words += ["--engine", self.engine, "--threads", str(self.threads)]
        if self.last is not None:
            words += ["--last", str(self.last)]
        return shlex.join(words)


def run(options: EvaluateOptions) -> None:
    """Measure with progress on stderr, show tables on stdout, and write the report.

    Raises:
        SmapError: whatever the user has to change.
    """
    count, measure = _protocol(options)
    if options.report is not None:
        claim_folder(options.report)
    predictions = open_predictions(options.predictions, options.engine, options.threads)
    try:
        with tables.progress() as bar:
            task = bar.add_task(options.protocol, total=count)
            report = measure(predictions, lambda: bar.advance(task))
    finally:
        predictions.close()
    screen = tables.console()
    for table in report.tables():
        screen.print(table)
    if options.report is not None:
        origin = Origin(
            protocol=options.protocol,
            command=options.command,
            predictions=predictions.description,
            truth=str(options.truth),
            version=__version__,
        )
        with tables.waiting() as bar:
            bar.add_task("plots and gallery")
            files = write_report(report, origin, options.report)
        screen.print(tables.files(options.report, files))


def _protocol(options: EvaluateOptions) -> tuple[int, Callable[[Predictions, Step], Report]]:
    """Read the truth: how many pictures it has, and what measures predictions against it."""
    if options.protocol == "virtual":
        if options.last is not None:
            raise InputError("--last is for --protocol pck2d; virtual takes all of its scenes")
        scenes = open_scenes(options.truth)
        return len(scenes), lambda predictions, step: VirtualReport(
            virtual.evaluate(predictions, scenes, step)
        )
    photos = pck2d.last(
        read_lspet(options.truth), HELD_OUT if options.last is None else options.last
    )
    return len(photos), lambda predictions, step: Pck2dReport(
        pck2d.evaluate(predictions, photos, step)
    )
