"""People at known places, as a detector would report them."""

from __future__ import annotations

import numpy as np

from smap_ros.bodies import Body
from smap_ros.camera import Camera

CAMERA = Camera.from_fov(1280, 720, np.deg2rad(70))
STEP = 0.1
SHAPE = np.random.default_rng(3).uniform([-0.3, -0.7, -0.2], [0.3, 0.9, 0.2], (15, 3))
SHAPE[2] = 0  # pelvis


def person(root, score=0.8, missing=(), clarity=0.8):
    joints = (np.asarray(root, float) + SHAPE).astype(np.float32)
    pixels = CAMERA.project(joints).astype(np.float32)
    scores = np.full(15, clarity, np.float32)
    for joint in missing:
        joints[joint], pixels[joint], scores[joint] = np.nan, np.nan, 0
    return Body(joints, pixels, scores, score)


def identities(tracked):
    return [t.body.id for t in tracked]
