"""MAED's databases: people in frames as its authors prepared them.

Their arrays as .npz: the published joblib pickles run code when they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import DAMAGED_ARRAYS, InputError
from smap_ros.skeletons import SPIN49
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.tracks import FIT, frame_row

Float64 = NDArray[np.float64]

CLIP_VERSION = 2
_JOINTS = len(SPIN49)
# InstaVariety's people have no box: their pictures are crops already.
_CROP, _BOX_MARGIN = 224, 1.3
_WHOLE_FRAME = np.array([_CROP / 2, _CROP / 2, _CROP / _BOX_MARGIN, _CROP / _BOX_MARGIN])


def clip_files(path: Path) -> list[Path]:
    """A database is one file."""
    return [path]


def clip_rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The people of a database.

    Its arrays: img_name, bbox, joints2D, and joints3D, pose, shape, vid_name where there are.
    Without bbox (InstaVariety) pictures are crops of 224 x 224.

    Raises:
        InputError: if it can't be read, or lacks an array.
    """
    (path,) = files
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        count = len(arrays["img_name"])
        names = arrays["img_name"]
        boxes = arrays.get("bbox", np.tile(_WHOLE_FRAME, (count, 1))).reshape(count, 4)
        flat = arrays.get("joints2D", np.zeros((count, _JOINTS, 3))).reshape(count, _JOINTS, 3)
        deep = arrays.get("joints3D", np.zeros((count, _JOINTS, 4))).reshape(count, _JOINTS, 4)
        fits = _fits(arrays, count)
        videos = arrays.get("vid_name", np.arange(count).astype(str)).reshape(count)
    except (*DAMAGED_ARRAYS, *MALFORMED) as error:
        raise InputError(
            f"{path} is none of MAED's databases as .npz ({error}); expected img_name, bbox, "
            "joints2D and more, as docs/training.md says"
        ) from error
    track, last = -1, None
    for k in range(count):
        track, last = (track, last) if videos[k] == last else (track + 1, videos[k])
        yield frame_row(
            f"{path}, record {k}", track, str(names[k]), boxes[k], flat[k], deep[k], fits[k]
        )


def _fits(arrays: Mapping[str, Any], count: int) -> Float64:
    """Pose and shape of each row, float64 [count, 0 or 1, 82]."""
    if "pose" not in arrays:
        return np.zeros((count, 0, FIT))
    pose, shape = arrays["pose"].reshape(count, 72), arrays["shape"].reshape(count, 10)
    return np.concatenate([pose, shape], axis=1)[:, None].astype(np.float64)
