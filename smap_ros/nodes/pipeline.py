"""One image message to one message of people, with every way in which that can go wrong."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from smap_ros.bags.messages import image_from_message
from smap_ros.bodies import Body, BodyFrame
from smap_ros.calibration import RECTIFIED_INFO, CameraChoice, CameraInfos, rectification
from smap_ros.calibration.calibration import Calibration
from smap_ros.calibration.infos import RESTART
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, SmapError, unexpected
from smap_ros.estimators import Estimator
from smap_ros.estimators.base import NON_FINITE, flush_before, network_ms
from smap_ros.geometry.opening import check_field_of_view
from smap_ros.images import BitDepth
from smap_ros.msg import BodyArray
from smap_ros.nodes.conversions import body_array, seconds
from smap_ros.nodes.statistics import FrameStatistics
from smap_ros.nodes.world import WorldFrame

log = logging.getLogger(__name__)

# Stage of /diagnostics: latency of a frame without its networks.
BESIDES = "besides network"

# What does instead of a calibration.
STATE_IT = "state the horizontal field of view in degrees (parameter fov_deg)"

# Images that wait for their people; no model reports them later than so many images.
MAX_WAITING = 65


@dataclass(frozen=True)
class Arrival:
    """An image that has arrived.

    Attributes:
        message: the image.
        transport_ms: from its stamp to its arrival; NaN where the clocks don't fit.
        time: of the arrival, by ``time.monotonic``.
    """

    message: Image | CompressedImage
    transport_ms: float
    time: float


class HeardInfos:
    """The CameraInfo messages of a topic, those that were said before we came among them.

    Messages may come in one thread while another asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = CameraInfos()
        self._last: dict[str, float] = {}  # stamp of what came last, by frame
        self._shown: dict[str, float] = {}  # stamp of the last image, by frame
        # Of each frame the early one that is from before all that, as of a time that was set back.
        self._aside: dict[str, CameraInfo] = {}

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames that have a calibration."""
        return self._known.frames

    def take(self, info: CameraInfo) -> None:
        """One has arrived."""
        with self._lock:
            self._take(info)

    def take_early(self, info: CameraInfo) -> None:
        """One that is kept for those who come late has arrived; what is newer than it wins.

        A driver that is started anew, with another lens, says its calibration this way too. Where
        its stamps began anew as well, as a simulation's, its images tell.
        """
        frame, stamp = info.header.frame_id, seconds(info.header.stamp)
        with self._lock:
            if not stamp or stamp >= self._last.get(frame, 0.0):
                self._take(info)
            elif self._set_back(frame, stamp):
                self._aside[frame] = info

    def calibration(self, frame: str, stamp: float) -> Calibration:
        """The calibration of an image that has arrived; arguments and errors of CameraInfos."""
        with self._lock:
            if stamp and self._set_back(frame, stamp):
                if info := self._aside.pop(frame, None):
                    self._take(info)
                elif frame in self._last:
                    self._last[frame] = 0.0  # the early one may come after it, and is newer
            if frame in self._last:
                self._shown[frame] = stamp
        return self._known.calibration(frame, stamp, live=True)

    def _take(self, info: CameraInfo) -> None:
        frame, stamp = info.header.frame_id, seconds(info.header.stamp)
        if self._set_back(frame, stamp):
            self._forget(frame)
        self._known.take(info)
        self._last[frame] = stamp
        for gone in self._last.keys() - set(self.frames):
            del self._last[gone]
            self._forget(gone)

    def _forget(self, frame: str) -> None:
        self._aside.pop(frame, None)
        self._shown.pop(frame, None)

    def _set_back(self, frame: str, stamp: float) -> bool:
        """Whether who has that stamp began anew since the last message and image of a frame."""
        return stamp < max(self._last.get(frame, 0.0), self._shown.get(frame, 0.0)) - RESTART


class LiveCameras:
    """Which camera an image was taken with, and how it is mounted.

    Attributes:
        rectification: whether the images are rectified.
        world: tells how the camera is mounted, if TF is to say so.
        source: where the camera of the last image was known from, for people.
    """

    def __init__(self) -> None:
        self._fov_deg = 0.0
        self.rectification = rectification("auto")
        self.world: WorldFrame | None = None
        self.source = "none yet"
        self._infos, self._rectified_infos = HeardInfos(), HeardInfos()

    def forget(self) -> None:
        """Forget what was heard; what is stated stays."""
        self.source = "none yet"
        self._infos, self._rectified_infos = HeardInfos(), HeardInfos()

    @property
    def fov_deg(self) -> float:
        """Stated horizontal field of view in degrees; above 0 it takes the place of CameraInfo.

        Raises:
            CameraError: if no camera has it.
        """
        return self._fov_deg

    @fov_deg.setter
    def fov_deg(self, degrees: float) -> None:
        if degrees > 0:
            check_field_of_view(math.radians(degrees))
        self._fov_deg = degrees

    def decide(self, stated: str, image: str, info: str) -> str:
        """Decide whether the images are rectified.

        Args:
            stated: ``yes``, ``no`` or ``auto``.
            image, info: full names of the topics of images and calibration.

        Returns:
            The topic of a calibration of the rectified images alone, which is to be taken too;
            empty where there is none.
        """
        self.rectification = rectification(stated, image, info)
        beside = f"{image.rpartition('/')[0]}/{RECTIFIED_INFO}"
        return beside if self.rectification.rectified and info != beside else ""

    def take_info(self, info: CameraInfo) -> None:
        """A calibration has arrived."""
        self._infos.take(info)

    def take_early_info(self, info: CameraInfo) -> None:
        """A calibration that is kept for those who come late; see :class:`HeardInfos`."""
        self._infos.take_early(info)

    def take_rectified_info(self, info: CameraInfo) -> None:
        """A calibration of the rectified images alone has arrived."""
        self._rectified_infos.take(info)

    def take_early_rectified_info(self, info: CameraInfo) -> None:
        """One of the rectified images alone that is kept for those who come late."""
        self._rectified_infos.take_early(info)

    def camera(self, frame_id: str, width: int, height: int, stamp: float) -> Camera:
        """The camera of an image, with its mounting at the image's stamp if TF is to say so.

        Raises:
            CameraError: if nothing is known of it, what is known is no calibration, or TF doesn't
                say how it is mounted.
        """
        camera = self._intrinsics(frame_id, (width, height), stamp)
        if self.world is None:
            return camera
        return replace(camera, mounting=self.world.mounting(frame_id, stamp))

    def _intrinsics(self, frame_id: str, size: tuple[int, int], stamp: float) -> Camera:
        if self.fov_deg > 0:
            # From the field of view at hand, so that a change takes effect on the next image.
            self.source = f"fov_deg {self.fov_deg:g}"
            return CameraChoice(fov=math.radians(self.fov_deg)).camera(size)
        infos = self._infos
        if self.rectification.rectified and frame_id in self._rectified_infos.frames:
            infos = self._rectified_infos
        try:
            calibration = infos.calibration(frame_id, stamp)
        except CameraError as error:
            raise CameraError(
                f"{error}. Publish the calibration on camera_info with the image's frame_id, or "
                f"{STATE_IT}"
            ) from error
        try:
            camera = calibration.camera(size, self.rectification.rectified)
        except CameraError as error:
            advised = "horizontal field of view" in str(error)
            more = " (parameter fov_deg)" if advised else f", or {STATE_IT}"
            raise CameraError(f"CameraInfo of frame {frame_id!r}: {error}{more}") from error
        self.source = f"CameraInfo, {self.rectification.describe(calibration)}"
        return CameraChoice().camera(size, camera)


@dataclass(frozen=True)
class Problem:
    """What went wrong with an image.

    Attributes:
        kind: problems of one kind are reported now and then only.
        text: what, and what to do.
        time: when, by ``time.monotonic``.
    """

    kind: str
    text: str
    time: float


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Attributes:
        message: the people, with the header of their image; None when there is nothing to say:
            the image can't be used, or its people come later.
        people: the same as bodies.
        stages_ms: milliseconds by stage.
        notes: numbers for diagnostics that only some models have, by name.
        problem: what went wrong, if anything.
    """

    message: BodyArray | None = None
    people: tuple[Body, ...] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, float] = field(default_factory=dict)
    problem: Problem | None = None


class Pipeline:
    """Runs an estimator on messages, and counts.

    Args:
        estimator: closed with the pipeline.
        cameras: tells the camera of an image.

    Attributes:
        about: the model and what it runs on.
        statistics: what was counted.
    """

    def __init__(self, estimator: Estimator, cameras: LiveCameras) -> None:
        self._estimator = estimator
        self._cameras = cameras
        self.about = estimator.about
        self.statistics = FrameStatistics()
        self._depth = BitDepth()
        # Images whose people the model hasn't reported yet.
        self._waiting: deque[tuple[Header, tuple[int, int]]] = deque(maxlen=MAX_WAITING)

    def process(self, arrival: Arrival) -> list[Outcome]:
        """The people of an image; with some models, of one that was shown a little earlier.

        Before it those of all that still wait, where the image begins another video.
        """
        outcomes: list[Outcome] = []
        try:
            self._process(arrival, outcomes)
        except SmapError as error:
            outcomes.append(self._failed(type(error).__name__, str(error)))
        except Exception as error:  # a bug must cost a frame, not the robot its eyes
            log.exception("unexpected error on an image")
            outcomes.append(self._failed(type(error).__name__, unexpected(error)))
        return outcomes

    def _process(self, arrival: Arrival, outcomes: list[Outcome]) -> None:
        message = arrival.message
        waiting = time.monotonic() - arrival.time
        started = time.perf_counter()
        image = image_from_message(message, self._depth)
        height, width = image.shape[:2]
        stamp = seconds(message.header.stamp)
        camera = self._cameras.camera(message.header.frame_id, width, height, stamp)
        decoded = time.perf_counter()
        outcomes += map(self._outcome, flush_before(self._estimator, stamp))
        self._waiting.append((message.header, (width, height)))
        frame = self._estimator.estimate(image, camera, stamp)
        estimated = time.perf_counter()
        outcome = self._outcome(frame)
        stages = {
            "transport": arrival.transport_ms,
            "waiting": waiting * 1e3,
            "decode": (decoded - started) * 1e3,
            **frame.timings_ms,
            "message": (time.perf_counter() - estimated) * 1e3,
        }
        outcomes.append(replace(outcome, stages_ms=stages))

    def finish(self, outcome: Outcome, latency_ms: float) -> None:
        """Count a frame whose people were published so long after its stamp; NaN: unknown."""
        besides = {BESIDES: latency_ms - network_ms(outcome.stages_ms)}
        stages = {**outcome.stages_ms, **besides}
        self.statistics.done(len(outcome.people), latency_ms, stages, outcome.notes)

    def close(self) -> None:
        """Release the estimator."""
        self._estimator.close()

    def _outcome(self, frame: BodyFrame) -> Outcome:
        message = self._message(frame)
        people = () if message is None else frame.bodies
        return Outcome(message, people, frame.timings_ms, frame.notes, _doubt(frame))

    def _message(self, frame: BodyFrame) -> BodyArray | None:
        """The people with the header of their image; None while there is nothing to say."""
        while self._waiting and not frame.pending:
            header, size = self._waiting.popleft()
            if seconds(header.stamp) == frame.stamp:
                people = ((body, False) for body in frame)
                return body_array(people, header, size, self._estimator.skeleton)
        return None

    def _failed(self, kind: str, text: str) -> Outcome:
        self.statistics.rejected += 1
        return Outcome(problem=Problem(kind, text, time.monotonic()))


def _doubt(frame: BodyFrame) -> Problem | None:
    """What is wrong with a frame that could be worked on."""
    bad = frame.dropped.get(NON_FINITE, 0)
    if not bad:
        return None
    text = (
        f"{bad} network outputs are NaN or infinite, nobody can be found: try another engine, or "
        "export the bundle again"
    )
    return Problem("NonFinite", text, time.monotonic())
