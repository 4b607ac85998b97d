"""Small sequences in the MOTChallenge format, and people who fill boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.evaluation.common.views import guessed_camera
from smap_ros.viz.video import VideoWriter
from tests.evaluation.conftest import PERSON

WIDTH, HEIGHT = 400, 300


def boxed(box, *, identity=None, unseen=(), score=0.9) -> Body:
    """Somebody 4 m away whose joints fill a box of left, top, width, height.

    Those ``unseen`` were only inferred.
    """
    flat = PERSON[:, :2]
    unit = (flat - flat.min(axis=0)) / np.ptp(flat, axis=0)
    pixels = (unit * box[2:] + box[:2]).astype(np.float32)
    scores = np.full(15, 0.9, np.float32)
    scores[list(unseen)] = 0.1
    camera = guessed_camera(WIDTH, HEIGHT)
    places = 4 * (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    joints = np.column_stack([places, np.full(15, 4.0)]).astype(np.float32)
    return Body(joints, pixels, scores, score, identity)


def frame(index, *bodies, source="clip.mp4"):
    camera = guessed_camera(WIDTH, HEIGHT)
    return BodyFrame(tuple(bodies), camera, index / 10, source=source, index=index)


def lines(*rows) -> str:
    return "".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows)


def info(count, **changes) -> str:
    fields = {
        "name": "any", "imDir": "img1", "frameRate": 10, "seqLength": count, "imWidth": WIDTH,
        "imHeight": HEIGHT, "imExt": ".jpg", **changes,
    }  # fmt: skip
    return "[Sequence]\n" + "".join(f"{k}={v}\n" for k, v in fields.items())


def picture(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


@pytest.fixture
def sequence(tmp_path):
    """Write a sequence: ``sequence(gt, pictures=3, clip="", info=..., labels=..., name=...)``."""

    def make(gt, *, pictures=3, clip="", info="", labels="", name="street", stem="{:06d}") -> Path:
        folder = tmp_path / "data" / name
        (folder / "gt").mkdir(parents=True)
        (folder / "gt" / "gt.txt").write_text(gt)
        if labels:
            (folder / "gt" / "labels.txt").write_text(labels)
        if info:
            (folder / "seqinfo.ini").write_text(info)
        if clip:
            writer = VideoWriter(folder / clip, rate=10)
            for k in range(pictures):
                writer.add(picture(40 * (k + 1) % 250), k / 10)
            writer.close()
            return folder
        (folder / "img1").mkdir()
        for k in range(pictures):
            path = folder / "img1" / f"{stem.format(k + 1)}.jpg"
            cv2.imwrite(str(path), picture(40 * (k + 1) % 250))
        return folder

    return make
