"""The ground truth of rendered clips."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError, reason
from smap_ros.evaluation.common.clips import Clip
from smap_ros.evaluation.common.scenes import Scene, check_order, make_scene
from smap_ros.evaluation.common.shards import read_scenes
from smap_ros.markup import json_value, whole_number
from smap_ros.skeletons import MPI15

CLIP = "clip.mp4"


def read_truth(path: Path) -> list[BodyFrame]:
    """The people of a clip's ``truth.json``, frame by frame; all their joints count as seen.

    Raises:
        InputError: as :func:`read_clip`.
    """
    return [scene.frame for scene in read_clip(path)]


def read_clip(path: Path) -> list[Scene]:
    """The scenes of a clip: ``truth.json``, and its pictures in ``clip.mp4`` beside it.

    The file holds ``camera``, ``joint_set`` and ``frames``; a frame has ``index``, ``stamp`` and
    ``people``, described at :func:`smap_ros.evaluation.common.scenes.make_scene`. The film is
    opened when the first picture is asked for.

    Raises:
        InputError: if the file is unreadable or lacks a field, or its frames aren't in order of
            index and stamp.
    """
    scenes = _read_clip(path)
    check_order(scenes, str(path))
    return scenes


def _read_clip(path: Path) -> list[Scene]:
    try:
        data: Any = json_value(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"can't read the truth {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} isn't JSON: {error}") from error
    film = Clip(path.with_name(CLIP))
    try:
        if data["joint_set"] != MPI15.name:
            raise InputError(f"{path} is of joint set {data['joint_set']!r}, expected mpi15")
        return [
            make_scene(
                frame["people"],
                data["camera"],
                partial(film.image, whole_number(frame["index"])),
                key=whole_number(frame["index"]),
                index=whole_number(frame["index"]),
                source=path.name,
                stamp=float(frame["stamp"]),
                sequence=path.name,
                clip=CLIP,
            )
            for frame in data["frames"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} isn't the truth of a clip ({reason(error)}); expected camera, joint_set and "
            "frames with index, stamp and people"
        ) from error


def open_scenes(path: Path) -> list[Scene]:
    """The scenes of a folder of shards, or of a clip's ``truth.json``.

    Raises:
        InputError: if it is neither, or damaged, or empty.
    """
    if not path.exists():
        raise InputError(
            f"the ground truth {path} doesn't exist; expected a folder of shards from "
            "`smap-train synth`, or the truth.json of a clip"
        )
    scenes = read_scenes(path) if path.is_dir() else read_clip(path)
    if not scenes:
        raise InputError(f"{path} holds no scenes; nothing can be measured")
    return scenes
