"""Penn Action: ``labels/<number>.mat`` and ``frames/<number>/<frame from 000001>.jpg``.

A file has ``nframes``, ``x``, ``y`` and ``visibility`` (frames x 13) and ``bbox`` (frames x 4,
corners). Joints in the order of the data set's own documentation; MAED's script takes another one,
which exchanges them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError
from smap_ros.evaluation.mupots.matfiles import read_mat
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.tracks import (
    Float64,
    bad_frame,
    frame_row,
    labelled,
    no_fit,
)

JOINTS = (
    "head", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist", "l_hip",
    "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle",
)  # fmt: skip
CLIP_VERSION = 1


def clip_files(path: Path) -> list[Path]:
    """The labels of all videos, or of one.

    Raises:
        InputError: if there are none.
    """
    folder = path / "labels" if (path / "labels").is_dir() else path
    files = [path] if path.is_file() else sorted(folder.glob("*.mat"))
    if not files:
        raise InputError(f"{path} has no labels/*.mat; expected the folder of Penn Action")
    return files


def clip_rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The person of each video."""
    for track, file in enumerate(files):
        try:
            content = read_mat(file, "x", "y", "visibility")
            columns = [np.asarray(content[n], np.float64) for n in ("x", "y", "visibility")]
            shapes = [column.shape for column in columns]
            if any(shape != (len(columns[0]), len(JOINTS)) for shape in shapes):
                raise ValueError(
                    f"x, y and visibility have the shapes {shapes}, expected frames x {len(JOINTS)}"
                )
            points = np.stack(columns, axis=-1)
            boxes = np.asarray(content["bbox"], np.float64) if "bbox" in content else None
        except (InputError, *MALFORMED) as error:
            yield bad_frame(str(file), track, f"can't be read: {error}")
            continue
        for frame, joints in enumerate(points):
            place = f"{file}, frame {frame}"
            box = boxes[frame] if boxes is not None and frame < len(boxes) else None
            image = str(Path("frames") / file.stem / f"{frame + 1:06d}.jpg")
            flat, deep = labelled(JOINTS, joints)
            yield frame_row(place, track, image, _square(joints, box), flat, deep, no_fit())


def _square(joints: Float64, corners: Float64 | None) -> Float64:
    """Middle and sides of the square about a labelled box, or about the joints in view."""
    if corners is None or corners.shape != (4,):
        seen = joints[joints[:, 2] > 0, :2]
        seen = seen if len(seen) else joints[:, :2]
        corners = np.concatenate([seen.min(axis=0), seen.max(axis=0)])
    low, high = np.split(corners, 2)
    side = float((high - low).max())
    return np.array([*(low + high) / 2, side, side])
