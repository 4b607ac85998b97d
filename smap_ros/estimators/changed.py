"""Images shown to an estimator otherwise than they came, and its people brought back."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import EngineError
from smap_ros.estimators.base import (
    Delayed,
    Estimator,
    Image,
    ModelInfo,
    check_view,
    flush_before,
)
from smap_ros.skeletons import Skeleton

# Images whose people come later; no model reports them later than so many images.
MAX_WAITING = 128


class Change(ABC):
    """What is done to some images, and undone to the people seen in them."""

    @abstractmethod
    def wanted(self, camera: Camera) -> bool:
        """Whether images of this camera are changed."""

    @abstractmethod
    def image(self, image: Image, camera: Camera) -> tuple[Image, Camera]:
        """The changed image, and the camera that it would be of."""

    @abstractmethod
    def back(self, body: Body, camera: Camera, seen: Camera) -> Body:
        """A person of the changed image, whose camera is ``seen``, in the image as it came."""


def changed(estimator: Estimator, change: Change) -> Estimator:
    """An estimator that sees images through a change."""
    kind = _LaterChanged if isinstance(estimator, Delayed) else _Changed
    return kind(estimator, change)


class _Changed:
    """Changes images for which it is wanted; hands all others on as they are."""

    def __init__(self, estimator: Estimator, change: Change) -> None:
        self._estimator, self._change = estimator, change
        self._busy = threading.Lock()
        self._cameras: OrderedDict[float, Camera] = OrderedDict()  # of changed images, by stamp

    def __getattr__(self, name: str) -> Any:
        """What only one kind of estimator has."""
        return getattr(self._estimator, name)

    @property
    def skeleton(self) -> Skeleton:
        return self._estimator.skeleton

    @property
    def about(self) -> ModelInfo:
        return self._estimator.about

    @property
    def description(self) -> str:
        return self._estimator.description

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        if not self._busy.acquire(blocking=False):
            raise EngineError(
                "another thread is estimating with this estimator; expected one caller at a time: "
                "make an estimator for each thread, or let the threads take turns"
            )
        try:
            return self._estimated(image, camera, stamp)
        finally:
            self._busy.release()

    def _estimated(self, image: Image, camera: Camera, stamp: float) -> BodyFrame:
        self._cameras.pop(stamp, None)
        if not self._change.wanted(camera):
            return self._back(self._estimator.estimate(image, camera, stamp))
        other, seen = self._change.image(check_view(image, camera), camera)
        self._cameras[stamp] = camera
        while len(self._cameras) > MAX_WAITING:
            self._cameras.popitem(last=False)
        try:
            return self._back(self._estimator.estimate(other, seen, stamp))
        except BaseException:
            self._failed(stamp)
            raise

    def close(self) -> None:
        self._estimator.close()

    def _failed(self, stamp: float) -> None:
        """An image that failed has no people, and must not lend its camera to a later one."""
        self._cameras.pop(stamp, None)

    def _back(self, frame: BodyFrame) -> BodyFrame:
        """What was found, in the image as it came."""
        camera = self._cameras.pop(frame.stamp, None) if not frame.pending else None
        if camera is None:
            return frame
        bodies = tuple(self._change.back(body, camera, frame.camera) for body in frame.bodies)
        return replace(frame, bodies=bodies, camera=camera)


class _LaterChanged(_Changed):
    """The same for estimators that report people later."""

    def flush(self) -> list[BodyFrame]:
        assert isinstance(self._estimator, Delayed)
        with self._busy:
            frames = [self._back(frame) for frame in self._estimator.flush()]
            self._cameras.clear()  # of images that were dropped
        return frames

    def flush_before(self, stamp: float) -> list[BodyFrame]:
        with self._busy:
            return [self._back(frame) for frame in flush_before(self._estimator, stamp)]

    def _failed(self, stamp: float) -> None:
        """It may wait already, and its people be told later."""
