"""`smap-ros estimate`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_ros.calibration import CameraChoice
from smap_ros.cli import tables
from smap_ros.errors import CameraError, InputError, SmapError
from smap_ros.estimators.base import Estimator
from smap_ros.estimators.factory import create_chosen
from smap_ros.estimators.options import ModelChoice
from smap_ros.offline.estimate import IDS_ONLY, estimate_frames, require_camera
from smap_ros.offline.results import ResultWriter
from smap_ros.paths import user_path
from smap_ros.pictures import printable
from smap_ros.sources import Source, open_source
from smap_ros.sources.base import public_name
from smap_ros.stopping import Stopped
from smap_ros.temporal import SmootherConfig

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EstimateOptions:
    """The words of the command.

    Attributes:
        inputs: images, folders, videos, bags, cameras.
        out: folder for the results.
        model: what finds the people.
        camera: calibration file.
        fov_degrees: horizontal field of view.
        every: take every N-th image.
        max_frames: stop each input after so many images.
        topic: image topic of a bag.
        fps: images per second of folders that are films.
        rectified: whether the images were rectified: ``auto``, ``yes`` or ``no``.
        smoothing: what smooths the people of films.
        camera_timeout: give up on a live camera without an image for so many seconds.
    """

    inputs: tuple[str, ...]
    out: Path
    model: ModelChoice
    camera: Path | None = None
    fov_degrees: float | None = None
    every: int = 1
    max_frames: int | None = None
    topic: str | None = None
    fps: float | None = None
    rectified: str = "auto"
    smoothing: SmootherConfig = IDS_ONLY
    camera_timeout: float | None = None


def run(options: EstimateOptions) -> None:
    """Do it, with progress on stderr and a summary on stdout.

    Raises:
        SmapError: whatever the user has to change.
        Stopped: by a signal, after the results so far were written; a live camera is expected to
            be ended that way.
    """
    choice = CameraChoice.of(options.camera, options.fov_degrees, options.rectified)
    sources = [
        open_source(
            spec,
            topic=options.topic,
            rectified=options.rectified,
            fps=options.fps,
            patience=options.camera_timeout,
        )
        for spec in options.inputs
    ]
    for source in sources:
        require_camera(choice, source)
    _run(sources, choice, options)


def _run(sources: Sequence[Source], choice: CameraChoice, options: EstimateOptions) -> None:
    """All inputs, with progress and summary."""
    estimator = create_chosen(options.model)
    started = time.perf_counter()
    stop: Stopped | None = None
    failure: SmapError | None = None
    files = [user_path(spec) for spec in options.inputs if "://" not in spec]
    writer = ResultWriter(options.out, files)
    try:
        with writer:
            for source in sources:
                _estimate_or_skip(source, estimator, choice, options, writer, len(sources))
    except Stopped as asked:
        stop = asked
    except SmapError as error:
        failure = error
    seconds = time.perf_counter() - started
    summary = writer.summary()
    if failure is not None:
        kept = f"; the {summary.frames} images before are in {printable(str(options.out))}"
        raise type(failure)(f"{failure}{kept if summary.frames else ''}") from failure
    if summary.frames == 0 and stop is None:
        names = ", ".join(printable(public_name(spec)) for spec in options.inputs)
        raise InputError(f"no image could be read from {names}")
    screen = tables.console()
    rows = [
        ("model", str(estimator.about)),
        *(
            ("camera", source.camera_source)
            for source in sources
            if source.camera_source and not choice.stated
        ),
        *tables.people_rows(summary),
        ("rate with drawing", f"{summary.frames / seconds:.1f} images/s"),
    ]
    screen.print(tables.facts("estimate", rows))
    screen.print(tables.latencies(summary.latency))
    screen.print(tables.files(options.out, summary.files))
    estimator.close()
    if stop is not None and not all(source.live for source in sources):
        out = printable(str(options.out))
        stop.during = (
            f"the {summary.frames} images so far are in {out}"
            if summary.frames
            else f"no image was done yet, and nothing in {out} was changed"
        )
        raise stop


def _estimate_or_skip(
    source: Source,
    estimator: Estimator,
    choice: CameraChoice,
    options: EstimateOptions,
    writer: ResultWriter,
    count: int,
) -> None:
    """One input; of several, a picture that can't be used costs none of the others."""
    try:
        _estimate(source, estimator, choice, options, writer)
    except (InputError, CameraError) as error:
        if count == 1 or source.moving or writer.refused:
            raise
        LOG.warning("skipped: %s", error)


def _estimate(
    source: Source,
    estimator: Estimator,
    choice: CameraChoice,
    options: EstimateOptions,
    writer: ResultWriter,
) -> None:
    """One input."""
    total = None if source.count is None else -(-source.count // options.every)
    if options.max_frames is not None:
        total = min(total or options.max_frames, options.max_frames)
    rate = None if source.rate is None else source.rate / options.every
    writer.begin(source.name, moving=source.moving, rate=rate)
    with tables.progress() as bar:
        task = bar.add_task(source.name, total=total)
        frames = estimate_frames(
            source,
            estimator,
            choice,
            every=options.every,
            max_frames=options.max_frames,
            smoothing=options.smoothing,
        )
        for image, bodies in frames:
            writer.add(image, bodies)
            bar.advance(task)
