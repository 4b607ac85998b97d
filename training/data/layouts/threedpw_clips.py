"""3DPW's people over time, as MAED learns from them.

2D joints are what OpenPose found of the limbs. Joints in space are SMPL's own of the same names;
MAED's authors have those of the surface for the hips, a few centimetres beside. The body's root is
turned into the camera.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from smap_ros.errors import InputError
from smap_ros.evaluation.threedpw.truth import Actor, Sequence3dpw, read_threedpw
from smap_ros.skeletons import SMPL24
from smap_train.data.layouts.threedpw import OPENPOSE18, image_name, sequence_files
from smap_train.data.layouts.tracks import (
    Float64,
    bad_frame,
    frame_row,
    labelled,
)

LIMBS = tuple(
    f"{side}_{name}"
    for side in "lr"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
)
_CERTAIN, _FEWEST = 0.3, 7  # confidence of joints that count, and how many a frame has
_SMOOTH = 8.0  # frames
_MARGIN = 1.1
CLIP_VERSION = 1


def clip_files(path: Path) -> list[Path]:
    """What the labels are read from."""
    return sequence_files(path)


def clip_rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The people of all sequences; one whom the camera loses begins another track."""
    track = 0
    for file in files:
        try:
            (sequence,) = read_threedpw(file)
        except InputError as error:
            track += 1
            yield bad_frame(str(file), track, str(error))
            continue
        for number, actor in enumerate(sequence.actors):
            track += 1
            last, frames = -1, usable(actor)
            for frame, box in zip(frames, smooth_boxes(actor, frames), strict=True):
                track += frame != last + 1
                last = frame
                place = f"{file}, frame {frame}, person {number}"
                yield _row(place, track, sequence, actor, frame, box)


def usable(actor: Actor) -> list[int]:
    """The frames whose camera is known and in which OpenPose found enough of a person."""
    certain = _certain(actor.detected).sum(axis=1)
    return [int(k) for k in np.flatnonzero(actor.valid & (certain >= _FEWEST))]


def _certain(detected: Float64) -> np.ndarray:
    return ~(detected[..., 2] <= _CERTAIN)  # NaN stays, and is named


def _row(
    place: str, track: int, sequence: Sequence3dpw, actor: Actor, frame: int, box: Float64
) -> dict[str, Any]:
    found = actor.detected[frame].copy()
    found[:, 2] = np.where(np.isfinite(found).all(axis=1), _certain(found), np.nan)
    rows = [OPENPOSE18.index(name) for name in LIMBS]
    own = [SMPL24.index(name) for name in LIMBS]
    points = np.column_stack([actor.joints[frame, own], np.ones(len(own))])
    flat, deep = labelled(LIMBS, found[rows], points)
    flat[flat[:, 2] == 0] = 0
    pose = actor.poses[frame].copy()
    turn, _ = cv2.Rodrigues(pose[:3])
    pose[:3] = cv2.Rodrigues(sequence.extrinsics[frame, :3, :3] @ turn)[0].ravel()
    fit = np.concatenate([pose, actor.shape])[None]
    return frame_row(place, track, str(image_name(sequence, frame)), box, flat, deep, fit)


def smooth_boxes(actor: Actor, frames: list[int]) -> Float64:
    """Middles and sides of a person's square boxes in frames, smoothed over these, [N, 4].

    The side is the diagonal of the joints' extent, and a tenth more.
    """
    boxes = []
    for k in frames:
        points = actor.detected[k][_certain(actor.detected[k]), :2]
        low, high = points.min(axis=0), points.max(axis=0)
        boxes.append([*(low + high) / 2, 1 / max(float(np.linalg.norm(high - low)), 1.0)])
    smooth = gaussian_filter1d(np.array(boxes).reshape(-1, 3), _SMOOTH, axis=0, mode="nearest")
    sides = _MARGIN / smooth[:, 2:]
    return np.concatenate([smooth[:, :2], sides, sides], axis=1)
