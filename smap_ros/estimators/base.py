"""The protocol of everything that turns an image into people."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.bundles.manifest import Manifest
from smap_ros.camera import Camera
from smap_ros.engines.base import Engine
from smap_ros.errors import CameraError, InputError
from smap_ros.images import check_image
from smap_ros.skeletons import Skeleton

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Float = NDArray[np.float32]

NON_FINITE = "non_finite_output"  # reason under which a frame's bad outputs are counted
FEW_JOINTS = "few_joints"
LOG_PERIOD = 10.0  # seconds between repeated warnings

# Longest side of an image; larger ones are broken headers, or would exhaust a robot's memory.
MAX_SIDE = 16384


@dataclass(frozen=True)
class ModelInfo:
    """What a model is and runs on.

    Attributes:
        name, version: of the bundle.
        engine: name of the runtime.
        device: what that runs on, for people to read.
        first_stage: the model that finds the people for it, if one does.
        notes: what would have been faster, and why it can't be had.
        sha256: of the network that sees the image.
    """

    name: str
    version: str
    engine: str
    device: str
    first_stage: ModelInfo | None = None
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def runtime(self) -> str:
        """The engine and its device."""
        return f"{self.engine} ({self.device})"

    @property
    def model(self) -> str:
        """The bundle and the one before it, without what they run on."""
        first = "" if self.first_stage is None else f" after {self.first_stage.model}"
        return f"{self.name} {self.version}{first}"

    def __str__(self) -> str:
        return f"{self.model} on {self.runtime}"

    @classmethod
    def of(cls, bundle: Manifest, engine: Engine, first: ModelInfo | None = None) -> ModelInfo:
        """Of a bundle's manifest and its loaded network."""
        of_engine = engine.name, engine.device
        sha256 = bundle.files.model.sha256
        return cls(bundle.name, bundle.version, *of_engine, first, engine.notes, sha256)


class Estimator(Protocol):
    """A network with all that turns its outputs into people.

    Not thread-safe: one caller at a time.
    """

    @property
    def skeleton(self) -> Skeleton:
        """Joint set of the people."""

    @property
    def about(self) -> ModelInfo:
        """Bundle, engine and device."""

    @property
    def description(self) -> str:
        """The same in words, for people to read."""

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """Everybody in an image.

        Args:
            image: uint8 [H, W, 3], bgr.
            camera: intrinsics at the size of the image.
            stamp: time of the image in seconds; handed through.

        Returns:
            People in metres in the camera's optical frame, nearest first, with
            ``timings_ms`` by stage and ``dropped`` by reason. Bad network outputs give an
            empty frame and a reason, never an exception.

        Raises:
            InputError: if the array is not such an image.
            CameraError: if the camera is for another size.
            EngineError: if the runtime fails.
        """

    def close(self) -> None:
        """Release the network; harmless when done twice."""


@runtime_checkable
class Delayed(Protocol):
    """An estimator that may report people later: those of an earlier image.

    The frame that ``estimate`` returns has the stamp and camera of the image that its people are
    of. Frames come in the order of the images, each once; as long as none is due, they are
    ``pending``.
    """

    def flush(self) -> list[BodyFrame]:
        """The frames of the images that are not reported yet, at the end of a video.

        What was seen so far is forgotten: the next image begins another video.
        """


@runtime_checkable
class Restarting(Delayed, Protocol):
    """A delayed estimator to which some times of an image mean that another video begins.

    An image of such a time makes ``estimate`` forget what it owes.
    """

    def flush_before(self, stamp: float) -> list[BodyFrame]:
        """What ``flush`` gives if an image of that time begins another video, else nothing."""


def check_view(image: Any, camera: Camera) -> Image:
    """An image and its camera, refused when they can't be used.

    Returns:
        The image, C-contiguous (copied only if it isn't).

    Raises:
        InputError: if it is not uint8 [H, W, 3], is empty, or is too large.
        CameraError: if the camera is for another size.
    """
    check_image(image)
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"image is {width}x{height} px; expected sides of at most {MAX_SIDE} px. Check the "
            "driver, or resize the image and its camera"
        )
    if (camera.width, camera.height) != (width, height):
        raise CameraError(
            f"the camera is calibrated for {camera.width}x{camera.height} px but the image is "
            f"{width}x{height} px; use the CameraInfo of this image, or Camera.resized()"
        )
    contiguous: Image = np.ascontiguousarray(image)
    return contiguous


class StageTimer:
    """Milliseconds between calls, by stage.

    Attributes:
        ms: stage -> milliseconds, in order.
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.perf_counter()
        self.ms[stage] = (now - self._last) * 1e3
        self._last = now


class OutputCheck:
    """Counts NaN and infinite outputs of a network, and warns of them now and then."""

    def __init__(self) -> None:
        self._warned = -np.inf

    def __call__(self, model: ModelInfo, *arrays: Float) -> int:
        """How many numbers are not finite.

        Args:
            model: whose they are, for the log.
            arrays: float32, the outputs.
        """
        bad = sum(int(array.size - np.count_nonzero(np.isfinite(array))) for array in arrays)
        self.report(model, bad)
        return bad

    def report(self, model: ModelInfo, bad: int) -> None:
        """Warn of so many bad outputs, unless that was done shortly before."""
        now = time.monotonic()
        if bad and now - self._warned >= LOG_PERIOD:
            self._warned = now
            log.warning(
                "%s: %d network outputs are NaN or infinite; the frame counts as empty. "
                "Try another engine, or export the bundle again",
                model,
                bad,
            )


# Stages that run a network, of every kind of model; of a first stage they begin with FIRST.
NETWORK_STAGES = frozenset({"network", "tokens", "roots", "joints", "refine", "second look"})
FIRST = "first_"


def network_ms(timings_ms: Mapping[str, float]) -> float:
    """Milliseconds that a frame spent in networks, those of all stages together."""
    return sum(ms for name, ms in timings_ms.items() if name.removeprefix(FIRST) in NETWORK_STAGES)


def flush(estimator: Estimator) -> list[BodyFrame]:
    """What an estimator that reports late still owes, in order; nothing of the others."""
    return estimator.flush() if isinstance(estimator, Delayed) else []


def flush_before(estimator: Estimator, stamp: float) -> list[BodyFrame]:
    """What an estimator owes of a video that ends as an image of that time, seconds, comes."""
    return estimator.flush_before(stamp) if isinstance(estimator, Restarting) else []
