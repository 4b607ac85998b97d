"""Two processes, camera and pose node, over DDS at 1280x720: latency, and how much is network.

    python bench/pipeline.py [--seconds 15] [--rate 10] [--bundle NAME] [--engine auto]
    python bench/pipeline.py --soak 10        # minutes: memory, threads and handles per minute

Latency is from the stamp of an image to the arrival of its people in this, third, process.
"ROS and Python" is, frame by frame, the time from the stamp until the people are published
without the network: transport, decoding, resizing, association, lifting, messages. At a rate
below what the machine can do, nothing waits; ``--rate 0`` feeds each image when the one before is
done, which shows the highest rate.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.bags.stages import stage_latency
from smap_ros.estimators.base import network_ms
from smap_ros.graph.launcher import Launcher
from smap_ros.graph.middleware import middleware_environment
from smap_ros.graph.plan import REPLAY, Plan, plan
from smap_ros.nodes.pipeline import BESIDES
from smap_ros.paths import config_directory
from smap_ros.sources import open_source

SIZE = (1280, 720)
CLIP_FRAMES = 60
WARM_UP = 3.0  # seconds after the first people
START_TIMEOUT = 120.0  # seconds
REFERENCE_GROWTH_MB = 20
UNPACED = 1000.0  # hertz; faster than any model


@dataclass
class Observation:
    """What this process hears of the graph."""

    latency_ms: list[float] = field(default_factory=list)
    people: int = 0
    values: dict[str, dict[str, str]] = field(default_factory=dict)


@contextmanager
def observing() -> Iterator[Observation]:
    """Subscribe to people and diagnostics, in a thread."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor

    from smap_ros.msg import BodyArray
    from smap_ros.nodes import qos
    from smap_ros.nodes.conversions import seconds

    seen = Observation()
    rclpy.init()
    node = rclpy.create_node("bench")

    def on_bodies(message: Any) -> None:
        seen.latency_ms.append((time.time() - seconds(message.header.stamp)) * 1e3)
        seen.people += len(message.bodies)

    def on_diagnostics(message: Any) -> None:
        for status in message.status:
            seen.values[status.hardware_id] = {v.key: v.value for v in status.values}

    node.create_subscription(BodyArray, "bodies_raw", on_bodies, qos.RELIABLE)
    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 50)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        executor.shutdown()
        thread.join(5)
        node.destroy_node()
        rclpy.try_shutdown()


def clip_720p(source: str, path: Path) -> None:
    """The first frames of a source at 1280x720, cheap to decode."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 8_000_000
        for frame in open_source(source):
            if frame.index >= CLIP_FRAMES:
                break
            image = cv2.resize(frame.image, SIZE)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def graph(options: argparse.Namespace, clip: Path, everything: bool) -> Plan:
    """Camera and pose node, or all nodes."""
    values = {
        "source": str(clip),
        "fov_deg": 60.0,
        "loop": True,
        "bundle": options.bundle,
        "engine": options.engine,
        "threads": options.threads,
        "smoother": everything,
        "markers": everything,
        "log_level": "warn",
    }
    if options.rate > 0:
        # A camera doesn't wait for people, which the pace of files would.
        return plan(REPLAY, {**values, "rate": options.rate, "pacing": "real_time"})
    # At its own pace, the clip would be the slowest part of a fast machine.
    # Looks again as on a robot: within the bundle's time.
    unpaced = {"rate": UNPACED, "pacing": "as_consumed", "images_wait": False}
    return plan(REPLAY, {**values, **unpaced})


def wait_for_people(launcher: Launcher, seen: Observation) -> None:
    """Wait until people arrive; a node that failed ends the benchmark."""
    end = time.monotonic() + START_TIMEOUT
    while not seen.latency_ms:
        if launcher.wait(0.2) is not None or time.monotonic() > end:
            raise SystemExit("the graph didn't come up; see the nodes' messages above")
    time.sleep(WARM_UP)


def stage(values: dict[str, str], name: str) -> str:
    """Median and 95th percentile of a stage."""
    p50, p95 = stage_latency(values).get(name, (math.nan, math.nan))
    return f"{p50:.1f} / {p95:.1f} ms"


def measure(options: argparse.Namespace, launcher: Launcher, seen: Observation) -> None:
    """Latency and rate over some seconds, as a table."""
    wait_for_people(launcher, seen)
    processes = [psutil.Process(pid) for pid in launcher.pids.values()]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    seen.latency_ms.clear()
    started = time.monotonic()
    launcher.wait(options.seconds)
    elapsed = time.monotonic() - started
    busy = [sum(p.cpu_times()[:2]) - b for p, b in zip(processes, before, strict=True)]
    latency = np.array(seen.latency_ms)
    pose = seen.values.get("pose3d_node", {})
    p50, p95 = np.percentile(latency, [50, 95])
    stages = stage_latency(pose)
    network = network_ms({name: middle for name, (middle, _) in stages.items()})
    pace = f"{options.rate:g} Hz" if options.rate else "as consumed"
    rows = [
        ("images", f"{SIZE[0]}x{SIZE[1]} bgr8, {pace}"),
        ("model", pose.get("model", "unknown")),
        ("rate of people", f"{len(latency) / elapsed:.1f} Hz"),
        ("dropped of received", f"{pose.get('frames dropped')} / {pose.get('frames received')}"),
        ("stamp to people here, p50 / p95", f"{p50:.1f} / {p95:.1f} ms"),
        ("networks", f"{network:.1f} ms, {network / p50:.0%} of it"),
        ("ROS and Python until published", stage(pose, BESIDES)),
    ]
    rows += [
        (f"  {name}", stage(pose, name)) for name in stages if name not in ("latency", BESIDES)
    ]
    rows += [
        (f"processor, {name}", f"{seconds / elapsed:.0%} of a core")
        for name, seconds in zip(launcher.pids, busy, strict=True)
    ]
    table = Table("camera and pose node", "", box=box.SIMPLE, show_header=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def soak(options: argparse.Namespace, launcher: Launcher, seen: Observation) -> None:
    """Memory, threads and handles of each node, each minute."""
    wait_for_people(launcher, seen)
    processes = {name: psutil.Process(pid) for name, pid in launcher.pids.items()}
    console = Console()
    console.print("minute  node             RSS MB  threads  handles  people/s")
    history: dict[str, list[tuple[float, int, int]]] = {name: [] for name in processes}
    for minute in range(options.soak + 1):
        count = len(seen.latency_ms)
        if minute and launcher.wait(60) is not None:
            raise SystemExit("a node ended; see its messages above")
        rate = (len(seen.latency_ms) - count) / 60
        seen.latency_ms[:] = seen.latency_ms[-1:]
        for name, process in processes.items():
            now = (process.memory_info().rss / 1e6, process.num_threads(), process.num_fds())
            history[name].append(now)
            console.print(
                f"{minute:6d}  {name:15s}  {now[0]:6.1f}  {now[1]:7d}  {now[2]:7d}  {rate:8.1f}"
            )
    for name, rows in history.items():
        first, last = np.array(rows[min(1, len(rows) - 1)]), np.array(rows[-1])
        growth = last - first
        console.print(
            f"{name}: since the first minute {growth[0]:+.1f} MB (limit {REFERENCE_GROWTH_MB}), "
            f"{growth[1]:+.0f} threads, {growth[2]:+.0f} handles"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="smap_lite")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=10.0, help="images a second; 0: as consumed")
    parser.add_argument("--soak", type=int, default=0, metavar="MINUTES")
    parser.add_argument("--source", default=str(config_directory() / "demo" / "clip.mp4"))
    options = parser.parse_args(argv)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    os.environ.update(middleware_environment(os.environ))
    if options.soak:
        options.rate = 0.0
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        clip_720p(options.source, clip)
        planned = graph(options, clip, everything=bool(options.soak))
        with Launcher(planned) as launcher, observing() as seen:
            (soak if options.soak else measure)(options, launcher, seen)


if __name__ == "__main__":
    main()
