"""The shipped model on the shipped clip: what everybody sees first."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.calibration.files import read_calibration
from smap_ros.estimators import create_estimator
from smap_ros.paths import config_directory
from smap_ros.sources import open_source
from smap_ros.temporal import smooth_frames

DEMO = config_directory() / "demo"
PEOPLE = {0, 1, 2}


def jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], 1)


@pytest.mark.parametrize(
    "seen", [lambda image: image, lambda image: np.roll(image, 6, axis=1), jpeg],
    ids=["as it is", "moved by 6 px", "as JPEG"],
)  # fmt: skip
def test_three_people_cross_and_stay_three(seen):
    """Nobody is reported twice, also where two walk before the third. Takes some seconds each."""
    camera = read_calibration(DEMO / "camera.yaml").camera()
    estimator = create_estimator("smap_lite", engine="onnxruntime", threads=1)
    frames: list[BodyFrame] = [
        replace(
            estimator.estimate(seen(frame.image), camera, frame.stamp),
            index=frame.index,
            detector=estimator.about.sha256,
        )
        for frame in open_source(str(DEMO / "clip.mp4"))
    ]
    estimator.close()
    reported = [people for _, people in smooth_frames(frames)]
    assert {person.body.id for people in reported for person in people} == PEOPLE
    assert max(len(people) for people in reported) == len(PEOPLE)
    assert sum(person.predicted for people in reported for person in people) < 20
