"""The whole estimator on the shipped clip beside its network alone, in one run.

    python bench/estimator.py [--bundle NAME] [--engine auto] [--threads 1 2] [--frames 60]

Every frame goes through both, one after the other: from the picture to people in metres, and the
network alone on an input of its size. What the ratio leaves above 1 is resizing, association,
lifting and refinement.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.camera import Camera
from smap_ros.engines import create_engine
from smap_ros.estimators import create_estimator
from smap_ros.paths import config_directory
from smap_ros.sources import open_source

WARM_UP = 3
Times = NDArray[np.float64]


def clip(frames: int) -> tuple[list[NDArray[np.uint8]], Camera]:
    """Frames of the clip that ships with the package, and their camera."""
    folder = config_directory() / "demo"
    camera = Camera.from_yaml(folder / "camera.yaml")
    with closing(open_source(str(folder / "clip.mp4"))) as source:
        images = [frame.image for frame, _ in zip(source, range(frames), strict=False)]
    return images, camera


def measure(
    bundle: Bundle, engine: str, threads: int, images: list[NDArray[np.uint8]], camera: Camera
) -> tuple[str, Times, Times]:
    """The estimator's description; milliseconds of the estimator and of the network, by frame."""
    estimator = create_estimator(bundle, engine, threads)
    network = create_engine(bundle, engine, threads)
    noise = np.random.default_rng(0).standard_normal(bundle.manifest.input.shape)
    inputs = {network.inputs[0].name: noise.astype(np.float32)}
    whole, alone = [], []
    for image in track([*images[:WARM_UP], *images], f"{threads} threads", transient=True):
        start = time.perf_counter()
        estimator.estimate(image, camera)
        middle = time.perf_counter()
        network.run(inputs)
        whole.append((middle - start) * 1e3)
        alone.append((time.perf_counter() - middle) * 1e3)
    described = estimator.description
    estimator.close()
    network.close()
    return described, np.array(whole[WARM_UP:]), np.array(alone[WARM_UP:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="smap_lite", help="name or folder of a bundle")
    parser.add_argument("--engine", default="auto", help="runtime")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--frames", type=int, default=60, help="frames of the clip")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    images, camera = clip(options.frames)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("estimator")
    for name in ("p50 ms", "p95 ms", "images/s", "network p50 ms", "estimator / network"):
        table.add_column(name, justify="right")
    for threads in options.threads:
        name, whole, alone = measure(bundle, options.engine, threads, images, camera)
        median, network = float(np.median(whole)), float(np.median(alone))
        numbers = (median, float(np.percentile(whole, 95)), 1e3 / median, network)
        table.add_row(name, *(f"{value:.1f}" for value in numbers), f"{median / network:.2f} x")
    Console().print(table)


if __name__ == "__main__":
    main()
