"""`smap-ros demo`: the whole graph as processes on the shipped clip, and what came of it."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from smap_ros.bags.recording import Recording, read_recording
from smap_ros.bags.stages import OF_STAGES, stage_latency
from smap_ros.bundles.bundle import load_bundle
from smap_ros.calibration import CameraChoice
from smap_ros.cli import tables
from smap_ros.errors import InputError, SmapError
from smap_ros.estimators.options import ModelChoice
from smap_ros.evaluation.common.metrics import Accuracy, compare
from smap_ros.evaluation.common.motion import identity_switches
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.graph.launcher import Launcher
from smap_ros.graph.node_types import POSE3D_NODE, RECORDER_NODE
from smap_ros.graph.plan import REPLAY, Plan, ProcessPlan, plan
from smap_ros.offline import demo_folder
from smap_ros.offline.demo_folder import BAG, LOGS
from smap_ros.offline.results import Latency, ResultWriter, Summary, read_bodies
from smap_ros.paths import config_directory
from smap_ros.pictures import printable
from smap_ros.settings import Value
from smap_ros.sources import open_source
from smap_ros.stopping import Stopped

_TIMEOUT = 600.0  # seconds
# Every image of the clip is to be in the bag, on a busy machine too.
RELIABILITY = "reliable"


@dataclass(frozen=True)
class DemoOptions:
    """The words of the command.

    Attributes:
        out: folder for the results; an earlier demo's bag and logs in it are replaced, once
            everything else that was stated is known to be right.
        model: what the pose node runs.
        clip: video to play; None plays the shipped clip, whose truth is known.
        camera: calibration of that video.
        fov_degrees: its horizontal field of view, instead.
        real_time: play at the clip's own pace, so that a slow machine drops frames.
    """

    out: Path
    model: ModelChoice
    clip: Path | None = None
    camera: Path | None = None
    fov_degrees: float | None = None
    real_time: bool = False


def run(options: DemoOptions) -> None:
    """Run the graph to the clip's end and show the results.

    Raises:
        InputError: if ROS or the clip is missing, or the output folder can't be written to, or
            holds a bag or logs of somebody else. Nothing was removed then.
        CameraError: if the calibration or the field of view is impossible; likewise.
        SmapError: if a node failed, naming its log.
        Stopped: by a signal, after the nodes were stopped and what they recorded was shown.
    """
    _require_ros()
    planned = demo_plan(options)
    rate = _rate(options)
    demo_folder.refuse_clip(options.out, _clip(options))
    stop: Stopped | None = None
    # Its folder from the start: a second demo would remove the bag that this one records.
    with ResultWriter(options.out, [_clip(options)]) as writer:
        executables = [process.executable for process in planned.processes]
        demo_folder.clear(options.out, executables, RECORDER_NODE.name)
        try:
            _play(options, planned)
        except Stopped as asked:
            stop = asked
            stop.during = f"what was recorded until then is in {printable(str(options.out))}"
        try:
            _results(options, writer, rate)
        except SmapError as error:
            if stop is None:
                raise
            stop.during = ""
            raise stop from error  # too early for any result
    if stop is not None:
        raise stop


def _rate(options: DemoOptions) -> float | None:
    """The rate that a clip is shown at again, which waits for the nodes while it plays.

    Raises:
        InputError: if it can't be read.
    """
    source = open_source(_clip(options).absolute())
    source.close()
    return None if options.real_time else source.rate


def _results(options: DemoOptions, writer: ResultWriter, rate: float | None) -> None:
    """What the bag holds, as files and tables."""
    recording = read_recording(options.out / BAG)
    name = printable(_clip(options).name)
    writer.begin(name, moving=True, rate=rate)
    for image, frame in recording.frames("bodies", source=name, rate=rate):
        writer.add(image, frame)
    writer.close()
    summary = writer.summary()
    # Without frames a bodies.json that lies there is an earlier run's.
    judged = options.clip is None and summary.frames > 0
    measured = _accuracy(options.out, recording) if judged else None
    _show(options.out, recording, summary, measured)


def demo_plan(options: DemoOptions) -> Plan:
    """The graph of the demo: that of ``replay.launch.py``, and the recorder.

    Raises:
        CameraError: if the calibration or the field of view is impossible.
        InputError: if a file is missing or both calibration and field of view are given.
    """
    demo = config_directory() / "demo"
    clip = _clip(options)
    if not clip.is_file():
        raise InputError(f"the clip {clip} doesn't exist")
    values: dict[str, Value | None] = {
        **dict(options.model.model),
        **options.model.options,
        "source": str(clip.absolute()),
        "pacing": "real_time" if options.real_time else "as_consumed",
        "subscribers": 2,  # the pose node, once its model is loaded, and the recorder
        "on_failure": "exit",
        "image_reliability": RELIABILITY,
    }
    if options.fov_degrees is not None and options.camera is not None:
        raise InputError("both a calibration and a field of view were given; give one")
    CameraChoice.of(options.camera, options.fov_degrees)  # refused here, as the bundle below
    if options.fov_degrees is not None:
        values["fov_deg"] = options.fov_degrees
    elif options.camera is not None or options.clip is None:
        values["calibration"] = str((options.camera or demo / "camera.yaml").absolute())
    else:
        raise InputError("a clip of your own needs --camera CALIBRATION.yaml or --fov DEGREES")
    load_bundle(options.model.model.bundle)  # refused here, rather than in a node's log
    planned = plan(REPLAY, values)
    recorder = ProcessPlan(
        executable=RECORDER_NODE.name,
        module=RECORDER_NODE.module,
        nodes=(RECORDER_NODE.name,),
        namespace="",
        parameters={
            RECORDER_NODE.name: {
                "output": str((options.out / BAG).absolute()),
                "image_reliability": RELIABILITY,
                "image_depth": 100,  # a slow disk must not cost images
            }
        },
        remappings=(),
        parameter_file=planned.processes[0].parameter_file,
        log_level="info",
    )
    return replace(planned, processes=(recorder, *planned.processes))


def _clip(options: DemoOptions) -> Path:
    return options.clip or config_directory() / "demo" / "clip.mp4"


def _require_ros() -> None:
    missing = [name for name in ("rclpy", "smap_ros.msg") if not _importable(name)]
    if missing:
        raise InputError(
            f"the demo runs real ROS 2 nodes, and {' and '.join(missing)} can't be imported; run "
            "`make demo` in a checkout, or build the package with colcon and source its setup. "
            "`smap-ros estimate` works without ROS"
        )


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _play(options: DemoOptions, planned: Plan) -> None:
    """Start everything, wait for the clip's end, stop everything."""
    environment = dict(os.environ)
    # The demo must neither hear nor disturb another robot, or a demo beside it.
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    logs = options.out / LOGS
    sys.stderr.write(
        f"starting {', '.join(process.executable for process in planned.processes)} "
        f"(ROS_DOMAIN_ID={environment['ROS_DOMAIN_ID']})\n"
    )
    with Launcher(planned, environment, logs) as launcher, tables.waiting() as bar:
        bar.add_task("the graph is running on the clip", total=None)
        status = launcher.wait(_TIMEOUT)
        failure = launcher.failure()
    if status is None:
        raise SmapError(f"the graph did not end within {_TIMEOUT:g} s; the logs are in {logs}")
    if status:
        raise SmapError(
            f"{failure or f'a node ended with status {status}'}; the logs are in {logs}"
        )


def _accuracy(out: Path, recording: Recording) -> tuple[Accuracy, int] | None:
    """Error against the clip's truth, and identity switches.

    None when the frames can't be told apart.
    """
    path = config_directory() / "demo" / "truth.json"
    if not path.is_file():
        return None
    scenes = read_clip(path)
    truth = [scene.frame for scene in scenes]
    if len(recording.image_stamps) != len(truth):
        sys.stderr.write(
            f"warning: {len(recording.image_stamps)} of {len(truth)} images reached the recorder, "
            "so they can't be compared with the truth\n"
        )
        return None
    found = read_bodies(out / "bodies.json")
    counted = {scene.frame.index: scene.counted for scene in scenes}
    return compare(found, truth, counted), identity_switches(found, truth, counted)


def _show(
    out: Path, recording: Recording, summary: Summary, measured: tuple[Accuracy, int] | None
) -> None:
    incoming, processed = len(recording.image_stamps), len(recording.processed)
    rate = (processed - 1) / recording.seconds if recording.seconds else 0.0
    pose = recording.node(POSE3D_NODE.name)
    rows = [
        ("model", pose.get("model", "unknown")),
        ("frames in / processed / dropped", f"{incoming} / {processed} / {incoming - processed}"),
        ("rate", f"{rate:.1f} images/s"),
        *tables.people_rows(summary),
    ]
    if measured is not None:
        accuracy, switches = measured
        rows += [
            ("recall / precision", f"{accuracy.recall:.0%} / {accuracy.precision:.0%}"),
            ("joint error (MPJPE, pelvis aligned)", f"{accuracy.mpjpe_mm:.0f} mm"),
            ("joint error (PA-MPJPE)", f"{accuracy.pa_mpjpe_mm:.0f} mm"),
            ("distance error (median)", f"{accuracy.root_depth_percent:.1f} %"),
            ("joints of the found", f"{accuracy.joints_percent:.1f} %"),
            ("identity switches", str(switches)),
        ]
    screen = tables.console()
    screen.print(tables.facts("demo: the ROS 2 graph", rows))
    screen.print(tables.latencies(_latency(recording, pose), OF_STAGES))
    screen.print(tables.files(out, [*summary.files, BAG + "/", LOGS + "/"]))
    # Not wrapped: it is there to be copied.
    shown = f"look at it in 3D, in a browser:  {view_command(out / BAG)}"
    screen.print(shown, soft_wrap=True, markup=False, emoji=False)


def view_command(recording: Path) -> str:
    """The command that plays a recording, as it runs in the shell that we were started from."""
    program = Path(sys.argv[0])
    # `make demo` runs a program that is in no PATH; `python -m smap_ros` has another name.
    here = program.name == "smap-ros" and shutil.which("smap-ros") != str(program.absolute())
    return f"{program if here else 'smap-ros'} view {shlex.quote(str(recording))}"


def _latency(recording: Recording, pose: dict[str, str]) -> dict[str, Latency]:
    """Stages inside the pose node, then the way of an image to each topic."""
    stages = {
        name: Latency(*values) for name, values in stage_latency(pose).items() if name != "latency"
    }
    for topic in ("bodies_raw", "bodies"):
        if recording.latency_ms.get(topic):
            stages[f"image to {topic}"] = Latency.of(recording.latency_ms[topic])
    return stages
