"""The files of 3DPW: ``sequenceFiles/<split>/<sequence>.pkl``, and ``imageFiles/<sequence>``.

A pickle holds a dictionary of ``sequence``, ``cam_intrinsics`` [3, 3], ``cam_poses`` [T, 4, 4]
(world to camera), and for each person ``jointPositions`` [T, 72] (SMPL's joints in the world,
metres), ``poses`` [T, 72], ``betas`` [10 or more], ``trans`` [T, 3], ``campose_valid`` [T] and
``poses2d`` [T, 3, 18] (what OpenPose found: pixels and confidence). It is read without running code
that it may hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError, reason
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.views import View
from smap_ros.evaluation.threedpw.measures import H36M_ROWS, JOINTS
from smap_ros.evaluation.threedpw.smpl import BodyModel
from smap_ros.pictures import read_picture
from smap_ros.plain_pickle import read_plain_pickle
from smap_ros.skeletons import SMPL24

Float = NDArray[np.float64]

_MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, CameraError)


@dataclass(frozen=True)
class Actor:
    """A true person of a sequence.

    Attributes:
        joints: float64 [T, 24, 3], SMPL's joints, metres, optical frame.
        valid: bool [T], frames whose camera is known.
        poses: float64 [T, 72], axis and angle, radians, the root's in the world.
        shape: float64 [10].
        translation: float64 [T, 3], metres, in the world.
        detected: float64 [T, 18, 3], what OpenPose found: pixels and confidence, 0 where nothing.
    """

    joints: Float
    valid: NDArray[np.bool_]
    poses: Float
    shape: Float
    translation: Float
    detected: Float


@dataclass(frozen=True)
class Sequence3dpw:
    """A sequence: its pictures and its one or two people.

    Attributes:
        name: such as ``downtown_arguing_00``.
        views: one a frame.
        extrinsics: float64 [T, 4, 4], world to camera.
        actors: the people.
    """

    name: str
    views: tuple[View, ...]
    extrinsics: Float
    actors: tuple[Actor, ...]

    def vertices(self, actor: Actor, frame: int, body: BodyModel) -> Float:
        """The mesh of a person, float64 [6890, 3], metres, optical frame."""
        world = body.vertices(actor.poses[frame], actor.shape) + actor.translation[frame]
        turn, shift = self.extrinsics[frame, :3, :3], self.extrinsics[frame, :3, 3]
        return np.asarray(world @ turn.T + shift, np.float64)


def regressed(vertices: Float, body: BodyModel) -> Float:
    """The 14 joints of a mesh [6890, 3] as all compare them, float64 [14, 3]."""
    return np.asarray((body.h36m_regressor @ vertices)[list(H36M_ROWS)], np.float64)


def labelled(actor: Actor, frame: int) -> Float:
    """The 14 joints as SMPL's own, float64 [14, 3]; the head top, which it lacks, is NaN."""
    joints = np.full((len(JOINTS), 3), np.nan)
    for k, name in enumerate(JOINTS):
        if name in SMPL24.joints:
            joints[k] = actor.joints[frame, SMPL24.index(name)]
    return joints


def read_threedpw(path: Path) -> list[Sequence3dpw]:
    """The sequences of a folder of pickles (or of the ``test`` split of the data set), or of one.

    Raises:
        InputError: if there are none, one is missing, malformed or holds code, or two are of
            one name.
    """
    if path.is_file():
        files = [path]
    else:
        splits = [path / "sequenceFiles" / "test", path / "test", path]
        files = sorted(next((s for s in splits if s.is_dir()), path).glob("*.pkl"))
    if not files:
        raise InputError(
            f"{path} has no sequences of 3DPW; expected the data set with sequenceFiles/test, or a "
            "folder or file of its .pkl"
        )
    sequences = [_read_sequence(file, alone=len(files) == 1) for file in files]
    if (twice := repeated(sequence.name for sequence in sequences)) is not None:
        raise InputError(
            f"{path} has two files of the sequence {twice}, whose people would count twice; leave "
            "one of them"
        )
    return sequences


def _read_sequence(path: Path, *, alone: bool) -> Sequence3dpw:
    data = read_plain_pickle(path)
    try:
        name = str(data["sequence"])
        extrinsics = np.array(data["cam_poses"], np.float64).reshape(-1, 4, 4)
        actors = tuple(_actor(data, k, extrinsics) for k in range(len(data["poses"])))
        pictures = _pictures(path, name)
        camera = _camera(np.array(data["cam_intrinsics"], np.float64), pictures)
    except _MALFORMED as error:
        raise InputError(
            f"{path} is malformed ({reason(error)}); expected a sequence of 3DPW with "
            "cam_intrinsics, cam_poses, jointPositions, poses, betas, trans and campose_valid"
        ) from error
    stems = [f"image_{k:05d}" for k in range(len(extrinsics))]
    views = tuple(
        View(stem if alone else f"{name}/{stem}", camera, pictures / f"{stem}.jpg", name)
        for stem in stems
    )
    return Sequence3dpw(name, views, extrinsics, actors)


def _actor(data: Any, k: int, extrinsics: Float) -> Actor:
    count = len(extrinsics)
    points = np.array(data["poses2d"][k] if "poses2d" in data else np.zeros((count, 3, 18)))
    world = np.array(data["jointPositions"][k], np.float64).reshape(count, 24, 3)
    turn, shift = extrinsics[:, None, :3, :3], extrinsics[:, None, :3, 3]
    return Actor(
        joints=np.einsum("tjab,tjb->tja", np.broadcast_to(turn, (count, 24, 3, 3)), world) + shift,
        valid=np.array(data["campose_valid"][k]).reshape(count) > 0,
        poses=np.array(data["poses"][k], np.float64).reshape(count, 72),
        shape=np.array(data["betas"][k], np.float64).reshape(-1)[:10],
        translation=np.array(data["trans"][k], np.float64).reshape(count, 3),
        detected=np.asarray(points.reshape(count, 3, 18).transpose(0, 2, 1), np.float64),
    )


def _pictures(path: Path, name: str) -> Path:
    """The folder of the sequence's pictures, above the pickle's; it may be missing."""
    folders = [parent / "imageFiles" / name for parent in path.absolute().parents[:3]]
    return next((folder for folder in folders if folder.is_dir()), folders[-1])


def _camera(intrinsics: Float, pictures: Path) -> Camera:
    """The camera; the pictures' size is not in the file, but their middle is."""
    width, height = (round(2 * intrinsics[axis, 2]) for axis in range(2))
    first = pictures / "image_00000.jpg"
    if first.is_file():
        height, width = read_picture(first).shape[:2]
    return Camera.from_matrix(width, height, intrinsics)
