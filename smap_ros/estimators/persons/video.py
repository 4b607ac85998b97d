"""People over time: another model finds them, a network looks at windows of their crops.

MAED (Wan et al., ICCV 2021) and its like. The first stage, any other bundle, finds the people,
the tracker says who is who, and the network's first part turns each crop into tokens, once. Its
second part looks at the tokens of a person's last images and gives joints, surface and a
weak-perspective camera (s, tx, ty) for each of them.

A person is better understood with the images after as well as before. So the people reported
may be those of an image some images back (``delay``): the frame's stamp is that image's, and
frames come in order. Until the first one is due, frames are ``pending``.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from dataclasses import dataclass, replace

import numpy as np

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.video import VideoManifest
from smap_ros.camera import Camera
from smap_ros.engines import Engine
from smap_ros.errors import InputError
from smap_ros.estimators.base import (
    NON_FINITE,
    Estimator,
    Float,
    Image,
    StageTimer,
    check_view,
)
from smap_ros.estimators.checks import check_network
from smap_ros.estimators.options import VideoConfig
from smap_ros.estimators.persons.crops import Crop, crop_around
from smap_ros.estimators.persons.second_stage import (
    NO_BOX,
    SecondStage,
    nearest_first,
    timings_of_both,
)
from smap_ros.estimators.persons.surface import CropCamera, Surface, read_faces
from smap_ros.estimators.persons.windows import PersonWindow, Sighting, Windows
from smap_ros.estimators.smap.lifting import NO_ROOT
from smap_ros.temporal import DETECTIONS_ONLY, Tracker

log = logging.getLogger(__name__)

MIN_SCALE = 1e-3  # a person who is a thousandth of the crop is none


@dataclass(frozen=True)
class _View:
    """An image whose people are not reported yet."""

    number: int
    camera: Camera
    stamp: float
    dropped: Counter[str]


class VideoEstimator(SecondStage[VideoManifest, VideoConfig]):
    """Runs bundles of kind ``video``.

    People are the first stage's, with its scores, and the tracker's identities: the network
    says nothing of its certainty. A joint that the first stage did not see has
    ``INFERRED_SCORE``. An image in which the first stage missed a person is left out of the
    person's window. A stamp that isn't later than the last starts anew: everybody is forgotten.

    Args:
        bundle: the bundle; its manifest gives crop and window.
        engine: the first part of its network, crop to tokens, loaded.
        clip: the second part, loaded. Input ``tokens`` [1, T, P, C]; outputs ``camera``
            [1, T, 3], (s, tx, ty), and ``joints`` [1, T, J, 3] and ``vertices`` [1, T, V, 3],
            metres, axes as the optical frame's.
        first_stage: finds the people.
        config: settings.

    Raises:
        BundleError: if the bundle is of another kind, or its files don't fit together.
        InputError: if the delay is longer than the window.
    """

    _manifest_type = VideoManifest
    _config_type = VideoConfig
    _further_networks = ("clip",)

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        clip: Engine,
        first_stage: Estimator,
        config: VideoConfig | None = None,
    ) -> None:
        super().__init__(bundle, engine, first_stage, config)
        manifest, length = self._manifest, self._manifest.window
        if self.config.delay >= length:
            raise InputError(
                f"delay is {self.config.delay}; bundle {bundle.name!r} looks at {length} images, "
                f"expected 0 to {length - 1}"
            )
        self._clip = clip
        tokens = manifest.outputs["tokens"].shape[1:]
        given = {
            "camera": (1, length, 3),
            "joints": (1, length, len(self._joints), 3),
            "vertices": (1, length, manifest.vertices, 3),
        }
        check_network(bundle, "clip", clip, {"tokens": (1, length, *tokens)}, given)
        self._outputs = tuple(given)
        faces = read_faces(bundle, manifest.vertices)
        camera = CropCamera(manifest.focal_px, manifest.input.width)
        self._surface = Surface(self._joints, faces, camera)
        self._tracker = Tracker(DETECTIONS_ONLY)
        self._windows = Windows(length, DETECTIONS_ONLY.death_time)
        self._waiting: deque[_View] = deque()
        self._count = 0
        self._time = -math.inf

    @property
    def people_remembered(self) -> int:
        """Number of people whose windows are kept."""
        return len(self._windows)

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """See :meth:`smap_ros.estimators.base.Estimator.estimate`.

        The people are those of the image ``delay`` images before, with its stamp and camera; as
        long as there is none, the frame is ``pending``.
        """
        image = check_view(image, camera)
        if stamp < self._time and self._tracker.update((), stamp) is None:  # a straggler
            return BodyFrame((), camera, stamp, pending=True)
        self._go_on(stamp)
        found = self._first_stage.estimate(image, camera, stamp)
        timer = StageTimer()
        people, crops, dropped = self._people(found, camera, stamp)
        blob = self._blob(image, crops)
        timer.lap("crop")
        self._see(people, crops, self._run(blob)["tokens"], dropped, stamp)
        timer.lap("tokens")
        self._waiting.append(_View(self._count, camera, stamp, dropped))
        self._count += 1
        if len(self._waiting) > self.config.delay:
            frame = self._report(self._waiting.popleft(), self.config.stride)
        else:
            frame = BodyFrame((), camera, stamp, pending=True)
        timer.lap("network")
        return replace(frame, timings_ms=timings_of_both(found, timer))

    def flush(self) -> list[BodyFrame]:
        """See :meth:`smap_ros.estimators.base.Delayed.flush`."""
        frames = [self._report(view, stride=1) for view in self._waiting]
        self._forget()
        return frames

    def flush_before(self, stamp: float) -> list[BodyFrame]:
        """See :meth:`smap_ros.estimators.base.Restarting.flush_before`."""
        back = stamp < self._time
        anew = back and (self._tracker.starts_anew(stamp) or self._tracker.goes_back(stamp))
        if not anew and stamp != self._time:
            return []
        self._warn_of_same(stamp)
        return self.flush()

    def close(self) -> None:
        """Release both stages; harmless when done twice."""
        super().close()
        self._clip.close()

    def _go_on(self, stamp: float) -> None:
        """The next image's time; one that isn't later begins another video."""
        self._warn_of_same(stamp)
        if stamp <= self._time:
            self._forget()
        self._time = stamp

    def _warn_of_same(self, stamp: float) -> None:
        if stamp == self._time:
            log.warning(
                "two images have the stamp %.6f: taking each for a video of its own. Stamp every "
                "image with its time",
                stamp,
            )

    def _forget(self) -> None:
        self._tracker.reset()
        self._windows.clear()
        self._waiting.clear()
        self._time = -math.inf

    def _people(
        self, found: BodyFrame, camera: Camera, stamp: float
    ) -> tuple[list[Body], list[Crop], Counter[str]]:
        """People with identities, where to look at them, and how many were dropped by reason."""
        people, crops = [], []
        dropped = Counter(found.dropped)
        tracked = self._tracker.update(found.bodies, stamp) or []
        dropped[NO_ROOT] += len(found) - len(tracked)
        size = self._manifest.input.width
        for person in tracked:
            points, margin = person.body.joints_2d, self._manifest.box_margin
            crop = crop_around(points, (camera.width, camera.height), margin, size)
            if crop is None:
                dropped[NO_BOX] += 1
            else:
                people.append(person.body)
                crops.append(crop)
        return people, crops, dropped

    def _see(
        self,
        people: list[Body],
        crops: list[Crop],
        tokens: Float,
        dropped: Counter[str],
        stamp: float,
    ) -> None:
        """Add what is seen to the windows; bad numbers would spoil those for many images."""
        bad = self._check(self.about, tokens)
        if bad:
            dropped[NON_FINITE] += bad
            return
        for person, crop, own in zip(people, crops, tokens, strict=True):
            assert person.id is not None  # the tracker's people have one
            # A copy: a view would keep the tokens of all people as long as one is remembered.
            sighting = Sighting(self._count, stamp, person, crop, own.copy())
            self._windows.add(person.id, sighting)

    def _report(self, view: _View, stride: int) -> BodyFrame:
        """The people of an image, nearest first."""
        bodies = []
        dropped = view.dropped
        for window, sighting in self._windows.seen_in(view.number):
            if window.due(sighting, stride):
                dropped[NON_FINITE] += self._look(window)
            if sighting.answer:  # none if of bad numbers, which are counted
                bodies.append(self._body(sighting, view.camera))
        self._windows.forget(view.number, self._time)
        people = nearest_first(bodies, dropped)
        counted = {reason: count for reason, count in dropped.items() if count}
        return BodyFrame(people, view.camera, view.stamp, dropped=counted)

    def _look(self, window: PersonWindow) -> int:
        """Run the second part of the network on a window; the number of bad outputs."""
        given = self._clip.run({"tokens": window.tokens()})
        answers = {name: given[name] for name in self._outputs}
        bad = self._check(self.about, *answers.values())
        if not bad:
            window.learn(answers, self.config.overlap)
        return bad

    def _body(self, sighting: Sighting, camera: Camera) -> Body | None:
        """A person in metres, or None when the network sees nobody."""
        answer, crop = sighting.answer, sighting.crop
        scale, *shift = answer["camera"].astype(np.float64)
        if not scale > MIN_SCALE:
            return None
        # The crop's camera looks from so far away that a metre is as long as the scale says.
        away = np.array([*shift, 2 * self._surface.camera.focal / (crop.size * scale)])
        joints, vertices = answer["joints"] + away, answer["vertices"] + away
        return self._surface.body(sighting.person, crop, joints, vertices, camera)
