"""Images in, people out, smoothed where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.calibration import CameraChoice
from smap_ros.errors import CameraError, InputError
from smap_ros.estimators.base import ModelInfo
from smap_ros.offline.estimate import estimate_frames
from smap_ros.sources import Frame
from smap_ros.temporal import DETECTIONS_ONLY, SmootherConfig, smooth_frames
from tests.temporal.people import CAMERA, person

STEP, COUNT = 0.1, 12
PICTURE = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)


class Trembling:
    """An estimator whose people tremble; it takes no notice of the image."""

    def __init__(self, sha256: str) -> None:
        self.about = ModelInfo("trembling", "1", "none", "none", sha256=sha256)

    def estimate(self, image, camera, stamp=0.0) -> BodyFrame:
        noise = np.random.default_rng(round(stamp * 100)).normal(0, 0.03, (2, 3))
        bodies = tuple(person(np.array([k, 0, 4]) + noise[k]) for k in range(2))
        return BodyFrame(bodies, camera, stamp)


class Film:
    """Blank images at some times, in seconds."""

    name, live, moving, calibrated = "film", False, True, True

    def __init__(self, stamps) -> None:
        self._stamps, self.count = stamps, len(stamps)

    def __iter__(self):
        return (Frame(PICTURE, CAMERA, t, k, "film") for k, t in enumerate(self._stamps))

    def close(self) -> None:
        """Nothing is held."""


def frames(stamps, config=None, sha256=""):
    more = {} if config is None else {"smoothing": config}
    found = estimate_frames(Film(stamps), Trembling(sha256), CameraChoice(), **more)
    return [frame for _, frame in found]


@pytest.mark.parametrize(("smoother", "delay"), [("auto", 0), ("auto", 2), ("rts", 3)])
def test_people_are_smoothed_as_recorded_frames_of_the_same_network_are(smoother, delay):
    sha256 = load_bundle("maed_smoother").manifest.detector_sha256
    stamps = [k * STEP for k in range(COUNT)]
    config = SmootherConfig(smoother=smoother, delay=delay)
    raw = frames(stamps, sha256=sha256)
    assert {frame.detector for frame in raw} == {sha256}
    want = smooth_frames(raw, config.changed(tracker=DETECTIONS_ONLY))
    got = frames(stamps, config, sha256)
    assert [frame.index for frame in got] == list(range(COUNT))
    for frame, (_, people) in zip(got, want, strict=True):
        for body, told in zip(frame, people, strict=True):
            np.testing.assert_array_equal(body.joints_3d, told.body.joints_3d)
    assert not np.array_equal(got[-1].bodies[0].joints_3d, raw[-1].bodies[0].joints_3d)


class Folder(Film):
    """Pictures, of which some have no camera and one is too large."""

    name, moving = "folder", False

    def __init__(self, usable: str) -> None:
        super().__init__([0.0] * len(usable))
        self._usable = usable

    def __iter__(self):
        for k, letter in enumerate(self._usable):
            image = np.zeros((2, 20_000, 3), np.uint8) if letter == "l" else PICTURE
            camera = CAMERA.resized(20_000, 2) if letter == "l" else CAMERA
            yield Frame(image, None if letter == "n" else camera, 0.0, k, f"{k}.png")


class Strict(Trembling):
    """An estimator that refuses wide images."""

    def estimate(self, image, camera, stamp=0.0) -> BodyFrame:
        if image.shape[1] > 10_000:
            raise InputError("image is too wide")
        return super().estimate(image, camera, stamp)


def found_in(usable: str, **more) -> list[int]:
    frames = estimate_frames(Folder(usable), Strict(""), CameraChoice(), **more)
    return [frame.index for _, frame in frames]


def test_a_picture_of_a_folder_that_can_not_be_used_costs_no_other(caplog):
    assert found_in("unulu") == [0, 2, 4]
    assert [m[:27] for m in caplog.messages] == [
        "skipped: image 1 of 1.png: ", "skipped: image 3 of 3.png: ",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("usable", "kind", "told"),
    [
        ("nl", CameraError, "none of the 2 pictures of folder can be used; the first: image 0 of"),
        ("ln", InputError, "the first: image 0 of 0.png: image is too wide"),
        ("n", CameraError, "image 0 of 0.png: it comes without a calibration"),
        ("l", InputError, "^image is too wide"),
    ],
)
def test_a_folder_without_a_picture_that_can_be_used_is_refused(usable, kind, told):
    with pytest.raises(kind, match=told):
        found_in(usable)


def test_a_number_of_images_has_no_limit():
    for most in (2, 10**23):
        assert len(found_in("uuu", max_frames=most)) == min(most, 3)


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize(
    "stamps",
    [
        [0.0, 0.1, 0.2, 0.15, 0.3, 0.4],
        [0.0, 0.1, 0.2, 0.15, 0.12, 0.3, 0.4, 0.35],
        [20.0, 20.1, 20.1, 20.2, 1.0, 1.1, 1.05, 1.2],
        [0.0, 0.1, 0.05],
    ],
)
def test_images_keep_the_order_of_the_source_though_some_wait_for_later_ones(stamps, delay):
    got = frames(stamps, SmootherConfig(smoother="rts" if delay else "one_euro", delay=delay))
    assert [frame.index for frame in got] == list(range(len(stamps)))
    assert [frame.stamp for frame in got] == stamps
    assert {len(frame) for frame in got} == {2}


class Numbering(Trembling):
    """An estimator that gives people numbers of its own."""

    def estimate(self, image, camera, stamp=0.0) -> BodyFrame:
        frame = super().estimate(image, camera, stamp)
        return frame.with_bodies(tuple(replace(b, id=k + 7) for k, b in enumerate(frame)))


def test_an_image_from_before_has_no_ids_of_the_estimators_own():
    film = Film([0.0, 0.1, 0.05, 0.2])
    got = [frame for _, frame in estimate_frames(film, Numbering(""), CameraChoice())]
    ids = [[body.id for body in frame] for frame in got]
    assert ids == [[0, 1], [0, 1], [None, None], [0, 1]]


def test_an_image_from_before_keeps_its_people_without_ids():
    stamps = [0.0, 0.1, 0.2, 0.15, 0.3]
    got = frames(stamps)
    assert [[body.id for body in frame] for frame in got] == [[0, 1]] * 3 + [[None] * 2] + [[0, 1]]
    again = frames(stamps, SmootherConfig(smoother="rts", delay=1))
    assert sorted(frame.index for frame in again) == list(range(5))
    assert [frame.stamp for frame in got] == stamps
