"""The ground truth of rendered clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.skeletons import get_skeleton


def read_truth(path: Path) -> list[BodyFrame]:
    """The people of a clip's ``truth.json``, frame by frame; all their joints count as seen.

    The file holds ``camera``, ``joint_set`` and ``frames``; a frame has ``index``, ``stamp`` and
    ``people``, each with ``id``, ``joints_3d`` [J][x, y, z] in metres of the optical frame and
    ``joints_2d`` [J][u, v] in pixels.

    Raises:
        InputError: if the file is unreadable or lacks a field.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        camera = Camera.from_json(data["camera"])
        skeleton = get_skeleton(data["joint_set"])

        def person(entry: Any) -> Body:
            return Body(
                joints_3d=np.array(entry["joints_3d"], np.float32),
                joints_2d=np.array(entry["joints_2d"], np.float32),
                scores=np.ones(len(skeleton), np.float32),
                score=1.0,
                id=int(entry["id"]),
                skeleton=skeleton,
            )

        return [
            BodyFrame(
                bodies=tuple(person(entry) for entry in frame["people"]),
                camera=camera,
                stamp=float(frame["stamp"]),
                source=path.name,
                index=int(frame["index"]),
            )
            for frame in data["frames"]
        ]
    except OSError as error:
        raise InputError(f"can't read the truth {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} isn't the truth of a clip ({error!r}); expected camera, joint_set and frames "
            "with index, stamp and people"
        ) from error
