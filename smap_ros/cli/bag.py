"""`smap-ros bag`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from smap_ros import __version__
from smap_ros.bags.recording import images_of
from smap_ros.bags.salvage import ReadableBag
from smap_ros.bags.transforms import CameraMotion, read_transforms
from smap_ros.bundles.bundle import load_bundle
from smap_ros.calibration import CameraChoice
from smap_ros.cli import tables
from smap_ros.cli.model_options import model_words, option_words
from smap_ros.errors import InputError
from smap_ros.estimators.factory import create_chosen
from smap_ros.estimators.options import ModelChoice
from smap_ros.evaluation.bags import replay as bag_replay
from smap_ros.evaluation.bags.measures import BagRun
from smap_ros.evaluation.bags.report import BagReport, write_pages
from smap_ros.evaluation.bags.truth import recorded_truth
from smap_ros.evaluation.common.report import Origin, claim_folder, write_report
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.graph.floor import check_floor
from smap_ros.offline.estimate import require_camera
from smap_ros.sources.bag import BagSource
from smap_ros.stopping import Stopped, held
from smap_ros.temporal import SmootherConfig
from smap_ros.temporal.smoothers import AUTO


@dataclass(frozen=True)
class BagOptions:
    """The words of the command.

    Attributes:
        bag: folder or file.
        report: folder for the results.
        recorded: take the people that are in the bag.
        model: what finds them anew.
        camera, fov_degrees: instead of the bag's CameraInfo.
        image_topic: of the images.
        topic: of the people with ``recorded``; else the same as ``image_topic``.
        rectified: whether the images were rectified: ``auto``, ``yes`` or ``no``.
        truth: the truth of the clip that the bag shows.
        truth_topic: of the bag, that has it instead; without an image topic, the images are those
            that it is of.
        every, max_frames: take every N-th image, and stop after so many.
        smoothing: what the people are smoothed with before they are compared once more.
        fixed_frame: of TF, that stands still; empty: odom, map or world, where the bag has it.
        world_frame: of TF, with z up and 0 on the floor, for models that take it; empty: none.
    """

    bag: Path
    report: Path
    model: ModelChoice
    recorded: bool = False
    camera: Path | None = None
    fov_degrees: float | None = None
    image_topic: str | None = None
    topic: str | None = None
    rectified: str = "auto"
    truth: Path | None = None
    truth_topic: str | None = None
    every: int = 1
    max_frames: int | None = None
    smoothing: SmootherConfig = field(default_factory=SmootherConfig)
    fixed_frame: str = ""
    world_frame: str = ""

    def __post_init__(self) -> None:
        """Refuse what is for people found anew where those recorded are asked for.

        Raises:
            InputError: naming it.
        """
        anew = {
            "--every": self.every != 1,
            "--max-frames": self.max_frames is not None,
            "--camera": self.camera is not None,
            "--fov": self.fov_degrees is not None,
            "--world-frame": bool(self.world_frame),
            **dict.fromkeys(option_words(self.model), True),
        }
        given = [word for word, stated in anew.items() if stated]
        if self.recorded and given:
            raise InputError(
                "--recorded takes all people of the bag as they are; leave out what is for people "
                f"found anew: {', '.join(given)}"
            )

    @property
    def command(self) -> str:
        """The command line that does this."""
        return shlex.join(["smap-ros", *self.words])

    @property
    def words(self) -> list[str]:
        """Its words, without the program's name."""
        words = ["bag", str(self.bag), "--report", str(self.report)]
        if self.recorded:
            words.append("--recorded")
        else:
            words += [*model_words(self.model), "--every", str(self.every)]
        optional = {
            "--camera": self.camera,
            "--fov": self.fov_degrees,
            "--image-topic": self.image_topic,
            "--topic": self.topic,
            "--rectified": None if self.rectified == "auto" else self.rectified,
            "--truth": self.truth,
            "--truth-topic": self.truth_topic,
            "--max-frames": self.max_frames,
            "--fixed-frame": self.fixed_frame or None,
            "--world-frame": self.world_frame or None,
            "--smoothing": None if self.smoothing.smoother == AUTO else self.smoothing.smoother,
            "--smoothing-delay": self.smoothing.delay or None,
        }
        for word, value in optional.items():
            words += [] if value is None else [word, str(value)]
        return words


def run(options: BagOptions) -> None:
    """Replay, show the tables on stdout, and write the report.

    Raises:
        SmapError: whatever the user has to change; also, after the report was written, where the
            bag holds nothing that could be worked on.
    """
    if not options.bag.exists():
        raise InputError(f"there is no bag {options.bag}; expected a folder, .mcap, .db3 or .bag")
    choice = CameraChoice.of(options.camera, options.fov_degrees, options.rectified)
    if options.truth is not None and options.truth_topic is not None:
        raise InputError("--truth and --truth-topic are two truths; give one of them")
    truth = None if options.truth is None else read_clip(options.truth)
    claim_folder(options.report)
    stop: Stopped | None = None
    bag = ReadableBag(options.bag)
    if options.truth is not None:
        _require_beginning(bag, options)
    problems: list[str] = []
    images = options.image_topic or (None if options.recorded else options.topic)
    if options.truth_topic is not None:
        images = images or images_of(bag.path, options.truth_topic)
        truth = recorded_truth(
            bag.path, options.truth_topic, images, options.rectified, problems.append
        )
    measured = bag_replay.inspect_bag(bag.path, bag.note)
    measured.warnings += problems
    try:
        if options.recorded:
            bag_replay.recorded(
                measured,
                bag.path,
                options.topic,
                images,
                options.rectified,
                truth=options.truth_topic,
            )
        else:
            _replay(measured, bag.path, choice, options, images)
    except Stopped as asked:
        stop = asked
        stop.during = f"the {len(measured.frames)} images so far are in {options.report}"
        measured.warnings.append(f"{stop}: the rest of the bag was not looked at")
    motion = CameraMotion(read_transforms(bag.path), options.fixed_frame) if truth else None
    bag.close()
    # Without a part of a split recording, images don't have the numbers that they had.
    cut = not bag.missing and (bag.damaged or options.max_frames is not None or stop is not None)
    with held():
        if truth is not None:
            bag_replay.judge(
                measured,
                truth,
                cut=cut,
                numbered=options.truth_topic is not None,
                motion=motion,
                smoothing=options.smoothing,
            )
        _show(measured, options)
    if stop is not None:
        raise stop
    if not measured.frames:
        raise InputError(f"no image of {options.bag} could be worked on; see {options.report}")


def _require_beginning(bag: ReadableBag, options: BagOptions) -> None:
    """The frames of a truth in a file are told by the time since the recording began.

    Raises:
        InputError: if the bag lacks that.
    """
    if not bag.begins:
        why = f" ({bag.note})" if bag.note else ""
        raise InputError(
            f"{options.bag} lacks its first part{why}, so which frame of {options.truth} its first "
            "image is can't be told; give the whole bag, or true people that were recorded in it "
            "(--truth-topic). If the truth begins with what is left, give that a metadata.yaml of "
            "its own (`ros2 bag reindex`)"
        )


def _replay(
    measured: BagRun, path: Path, choice: CameraChoice, options: BagOptions, images: str | None
) -> None:
    source = BagSource(path, images, options.rectified, options.world_frame)
    require_camera(choice, source)
    bundle = load_bundle(options.model.model.bundle)
    check_floor(options.world_frame, bundle, options.model.options)
    estimator = create_chosen(options.model, bundle)
    total = options.max_frames or -(-(source.count or 0) // options.every) or None
    try:
        with tables.progress() as bar:
            task = bar.add_task(source.name, total=total)
            bag_replay.replay(
                measured,
                source,
                estimator,
                choice,
                every=options.every,
                max_frames=options.max_frames,
                on_image=lambda: bar.advance(task),
            )
    finally:
        estimator.close()


def _show(measured: BagRun, options: BagOptions) -> None:
    report = BagReport(measured)
    origin = Origin(
        protocol="bag",
        command=options.command,
        predictions=measured.mode,
        truth="" if options.truth is None else str(options.truth),
        version=__version__,
    )
    files = write_report(report, origin, options.report)
    files += write_pages(report, options.command, options.report)
    for warning in measured.warnings:
        sys.stderr.write(f"warning: {' '.join(warning.split())}\n")
    screen = tables.console()
    for table in report.tables():
        screen.print(table)
    screen.print(tables.files(options.report, files))
