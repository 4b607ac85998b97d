"""Images of a camera's driver that arrive in another process, by the settings of both.

    python bench/driver_loss.py                    # the table of docs/troubleshooting.md; 4 minutes
    python bench/driver_loss.py --only "no profile" --sizes 1280x720
    python bench/driver_loss.py --driver raw --size 1280x720 --count 0     # a driver alone

A driver publishes `count` images with their CameraInfo, best effort unless it says otherwise, from
the moment it sees its subscriber. Both are processes of rclpy without anything of our nodes.
"""

from __future__ import annotations

import argparse
import array
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from smap_ros.graph.middleware import middleware_environment

SIZES = ("640x480", "1280x720")
RATE, COUNT = 15.0, 120
# Name of the row: what the driver publishes, what has the profile, reliability.
ROWS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no profile": ("raw", (), "best_effort"),
    "no profile, reliable": ("raw", (), "reliable"),
    "profile on our side alone": ("raw", ("receiver",), "best_effort"),
    "profile on both sides": ("raw", ("driver", "receiver"), "best_effort"),
    "profile on both sides, reliable": ("raw", ("driver", "receiver"), "reliable"),
    "JPEG (image_transport), no profile": ("compressed", (), "best_effort"),
    "JPEG, profile on our side alone": ("compressed", ("receiver",), "best_effort"),
    "one process (composed)": ("raw", ("one process",), "best_effort"),
}
TOPIC = {"raw": "camera/image_raw", "compressed": "camera/image_raw/compressed"}


def main() -> None:
    """Measure, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", choices=TOPIC, help="be a driver")
    parser.add_argument("--receiver", choices=TOPIC, help="be who receives")
    parser.add_argument("--size", default=SIZES[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--only", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--count", type=int, default=COUNT, help="images; 0: until stopped")
    parser.add_argument("--rate", type=float, default=RATE, help="hertz")
    parser.add_argument("--reliability", default="best_effort", choices=("best_effort", "reliable"))
    options = parser.parse_args()
    if options.driver and options.receiver:
        together(options)
    elif options.driver:
        drive(options)
    elif options.receiver:
        say(receive(options))
    else:
        table(options)


def table(options: argparse.Namespace) -> None:
    """Every row for every size, as Markdown."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    say(f"| of {options.count} images at {options.rate:g} Hz | {' | '.join(options.sizes)} |")
    say("|---" * (1 + len(options.sizes)) + "|")
    for name in options.only:
        arrived = [str(measured(name, size, options)) for size in options.sizes]
        say(f"| {name} | {' | '.join(arrived)} |")


def measured(name: str, size: str, options: argparse.Namespace) -> int:
    """Images that arrive in a row of the table."""
    kind, profiled, reliability = ROWS[name]
    common = ["--size", size, "--count", str(options.count), "--rate", str(options.rate)]
    common += ["--reliability", reliability]
    if "one process" in profiled:
        return int(output(spawn(["--driver", kind, "--receiver", kind, *common], False)))
    receiver = spawn(["--receiver", kind, *common], "receiver" in profiled)
    driver = spawn(["--driver", kind, *common], "driver" in profiled)
    driver.wait()
    return int(output(receiver))


def spawn(words: list[str], profile: bool) -> subprocess.Popen[str]:
    """A process of this file with Fast DDS's defaults, or with our profile."""
    bare = {k: v for k, v in os.environ.items() if k not in middleware_environment({})}
    # The wheels of ROS set up each process anew.
    bare.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    environment = {**bare, **(middleware_environment(bare) if profile else {})}
    command = [sys.executable, str(Path(__file__)), *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    """The last word of a process."""
    return process.communicate(timeout=120)[0].split()[-1]


def say(words: object) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


# --- in the processes -----------------------------------------------------------------------------


def drive(options: argparse.Namespace) -> None:
    """What a driver does: images at a steady rate, each with its CameraInfo."""
    import rclpy
    from sensor_msgs.msg import CameraInfo

    if not rclpy.ok():
        rclpy.init()
    node = rclpy.create_node("camera_driver")
    images = messages(options)
    publisher = node.create_publisher(type(images[0]), TOPIC[options.driver], profile(options))
    infos = node.create_publisher(CameraInfo, "camera/camera_info", profile(options))
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(2.0)  # discovery on the other side
    info = calibration(options)
    begun, shown = time.monotonic(), 0
    try:
        while not options.count or shown < options.count:
            image = images[shown % len(images)]
            image.header.stamp = info.header.stamp = node.get_clock().now().to_msg()
            infos.publish(info)
            publisher.publish(image)
            shown += 1
            time.sleep(max(0.0, begun + shown / options.rate - time.monotonic()))
        time.sleep(1.0)
    except KeyboardInterrupt:
        pass


def receive(options: argparse.Namespace) -> int:
    """How many images arrive until two seconds without one."""
    import rclpy
    from sensor_msgs.msg import CompressedImage, Image

    rclpy.init()
    node = rclpy.create_node("receiver")
    arrived: list[float] = []
    begun: list[float] = []
    topic = TOPIC[options.receiver]
    kind = Image if options.receiver == "raw" else CompressedImage
    node.create_subscription(
        kind, topic, lambda _: arrived.append(time.monotonic()), profile(options)
    )
    # What nobody loses tells when the driver is done.
    long = options.count / options.rate + 6.0
    while not begun or time.monotonic() < begun[0] + long:
        rclpy.spin_once(node, timeout_sec=0.1)
        if not begun and node.count_publishers(topic):
            begun.append(time.monotonic())
    return len(arrived)


def together(options: argparse.Namespace) -> None:
    """Driver and receiver as two nodes of one process."""
    count: list[int] = []
    receiver = threading.Thread(target=lambda: count.append(receive(options)))
    receiver.start()
    time.sleep(1.0)
    drive(options)
    receiver.join()
    say(count[0])


def profile(options: argparse.Namespace) -> Any:
    """Quality of service of either side."""
    from rclpy.qos import QoSProfile, QoSReliabilityPolicy

    reliability = QoSReliabilityPolicy[options.reliability.upper()]
    return QoSProfile(depth=5, reliability=reliability)


def messages(options: argparse.Namespace) -> list[Any]:
    """A few pictures of the shipped clip at the size, as messages."""
    import cv2
    from sensor_msgs.msg import CompressedImage, Image

    from smap_ros.images import encode_compressed
    from smap_ros.paths import config_directory
    from smap_ros.sources import open_source

    width, height = (int(word) for word in options.size.split("x"))
    made = []
    for frame in open_source(str(config_directory() / "demo" / "clip.mp4")):
        picture = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_CUBIC)
        if options.driver == "raw":
            image = Image(height=height, width=width, encoding="bgr8", step=3 * width)
            image.data = array.array("B", picture.tobytes())
        else:
            image = CompressedImage(format="jpeg")
            image.data = array.array("B", encode_compressed(picture, quality=90))
        image.header.frame_id = "camera_optical_frame"
        made.append(image)
        if len(made) == 5:
            break
    return made


def calibration(options: argparse.Namespace) -> Any:
    """The CameraInfo of images of the size."""
    from std_msgs.msg import Header

    from smap_ros.camera import Camera
    from smap_ros.nodes.conversions import info_from_camera

    width, height = (int(word) for word in options.size.split("x"))
    camera = Camera.from_fov(width, height, 1.0)
    return info_from_camera(camera, Header(frame_id="camera_optical_frame"), (width, height))


if __name__ == "__main__":
    main()
