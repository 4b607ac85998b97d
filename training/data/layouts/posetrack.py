"""PoseTrack 2018: ``annotations/<split>/<video>.json``, in the form of COCO with ``track_id``.

The order of the keypoints is that of ``categories[0].keypoints``. Pictures have a ``frame_id``;
confidences say nothing, keypoints at (0, 0) aren't labelled. Where there is no box it is that of
the keypoints.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.errors import InputError, reason
from smap_train.data.layouts.coco_form import MALFORMED, pictures
from smap_train.data.layouts.json_stream import first_entry
from smap_train.data.layouts.persons import box_around
from smap_train.data.layouts.tracks import (
    bad_frame,
    frame_row,
    labelled,
    no_fit,
)

# What the data set calls joints that have other names here; left_ and right_ are l_ and r_.
_NAMES = {"head_bottom": "neck"}
_BOX_SHARE = 0.8  # of the longer side of the labelled box
_FEWEST = 8  # frames of a track
CLIP_VERSION = 1


def clip_files(path: Path) -> list[Path]:
    """The videos of a folder (and those below it), or the one that it is.

    Raises:
        InputError: if there are none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    if not files:
        raise InputError(f"{path} has no JSON files; expected PoseTrack's annotations/train")
    return files


def clip_rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The people who are labelled in eight frames or more."""
    track = 0
    for file in files:
        try:
            names, people, bad = _read(file)
        except (InputError, *MALFORMED) as error:
            track += 1
            yield bad_frame(str(file), track, f"can't be read: {error}")
            continue
        for place, problem in bad:
            track += 1
            yield bad_frame(place, track, problem)
        for frames in people.values():
            if len(frames) < _FEWEST:
                continue
            track += 1
            for _, image, annotation in sorted(frames, key=lambda one: one[0]):
                yield _row(file, track, names, image, annotation)


def _read(
    file: Path,
) -> tuple[list[str], dict[Any, list[tuple[int, str, dict[str, Any]]]], list[tuple[str, str]]]:
    """The keypoints' names, frames by track (number, picture, annotation), and bad annotations."""
    category = first_entry(file, "categories")
    names = [_NAMES.get(name, _short(name)) for name in category["keypoints"]]
    people: dict[Any, list[tuple[int, str, dict[str, Any]]]] = defaultdict(list)
    bad: list[tuple[str, str]] = []
    for picture in pictures(file, lambda entry: {**entry, "track_id": entry["track_id"]}):
        bad += picture.bad
        image = picture.image
        for annotation in picture.people:
            if "keypoints" not in annotation:
                continue  # a region that isn't labelled
            try:
                number, name = int(image["frame_id"]), str(image["file_name"])
                people[annotation["track_id"]].append((number, name, annotation))
            except MALFORMED as error:
                bad.append((picture.place, f"is malformed: {reason(error)}"))
    return names, people, bad


def _short(name: str) -> str:
    return name.replace("left_", "l_").replace("right_", "r_")


def _row(
    file: Path, track: int, names: list[str], image: str, annotation: dict[str, Any]
) -> dict[str, Any]:
    place = f"{file}, annotation {annotation.get('id')}"
    try:
        points = np.array(annotation["keypoints"], np.float64)
        if points.shape != (3 * len(names),):
            raise ValueError(f"keypoints are {points.size} numbers, expected {3 * len(names)}")
        points = points.reshape(-1, 3)
        points[:, 2] = ~(points[:, :2] == 0).all(axis=1)
        labelled_box = annotation.get("bbox") or box_around(points[points[:, 2] > 0, :2])
        x, y, width, height = (float(v) for v in labelled_box)
        side = _BOX_SHARE * max(width, height)
        box = np.array([x + width / 2, y + height / 2, side, side])
        flat, deep = labelled(names, points)
    except MALFORMED as error:
        return bad_frame(place, track, f"is malformed: {reason(error)}")
    return frame_row(place, track, image, box, flat, deep, no_fit())
