"""People on a floor, in the world, and the cameras that saw them: what VirtualPose's scenes take.

World millimetres, z up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.common.shards import Sample, read_shards
from smap_ros.evaluation.panoptic.truth import CERTAIN, read_cameras, world_people
from smap_train.data.index import TEXT, Index, Row, fixed, open_index, ragged
from smap_train.data.layouts.coco_form import MALFORMED, pictures
from smap_train.data.layouts.muco import MPI17_ROWS, joints_of
from smap_train.data.layouts.panoptic import Sequence, sequences
from smap_train.data.layouts.virtual import floor_problem
from smap_train.data.records import MILLIMETRES, IndexedRecords, Measured
from smap_train.data.shards import shard_files
from smap_train.models.virtualpose.cameras import Cameras, make_camera
from smap_train.models.virtualpose.config import JOINT_SETS

Float64 = NDArray[np.float64]

_VERSION = 2
_MOST = 1e5  # millimetres or pixels
_MM = 1000.0
_MM_PER_CM = 10.0
_UP_OF_PANOPTIC = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # its y axis points down
_UP_OF_MUCO = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # its y axis points up
_SCHEMA = {
    "joints": ragged("<f8", 3),  # of all people, one after the other
    "rotation": fixed("<f8", 3, 3),
    "position": fixed("<f8", 3),
    "intrinsics": fixed("<f8", 4),
    "image_size": fixed("<i8", 2),
    "place": TEXT,
    "problem": TEXT,
}


@dataclass(frozen=True)
class WorldScene:
    """People before a camera.

    Attributes:
        joints_mm: float64 [P, J, 3]; the floor is at z = 0, more or less.
        camera: a batch of one.
    """

    joints_mm: Float64
    camera: Cameras


class WorldScenes(IndexedRecords[WorldScene]):
    """The scenes of an index; those without anybody are left out.

    Args:
        index: of the scenes.
        joints: of each person.
    """

    def __init__(self, index: Index, joints: int) -> None:
        super().__init__(index)
        self.joints = joints

    def made(self, row: Row) -> WorldScene:
        """The scene of a row."""
        width, height = (int(value) for value in row["image_size"])
        camera = make_camera(
            row["rotation"], row["position"], tuple(row["intrinsics"].tolist()), (width, height)
        )
        return WorldScene(row["joints"].reshape(-1, self.joints, 3), camera)

    def measured(self, low: int, high: int) -> Measured:
        """See :class:`IndexedRecords`."""
        joints, owners = self.index.rows("joints", low, high)
        return Measured.of(
            owners[:: self.joints], JOINT_SETS[self.joints],
            joints.reshape(-1, self.joints, 3) / MILLIMETRES.of_a_metre, unit=MILLIMETRES,
        )  # fmt: skip


def open_virtual_world(folders: Several[Path], cache: Path | None = None) -> WorldScenes:
    """The people of folders of shards above their floors, 15 joints each.

    Raises:
        InputError: if a folder has no shards, or one of them is damaged.
    """
    files = shard_files(folders)
    rows = lambda: _of_shards(folders)  # noqa: E731
    return _opened("virtual-world", files, rows, 15, cache)


def open_muco_world(path: Path, cache: Path | None = None) -> WorldScenes:
    """The people of MuCo-3DHP.json, 17 joints each.

    Raises:
        InputError: if the file can't be read.
    """
    rows = lambda: _of_muco(path)  # noqa: E731
    return _opened("muco-world", [path], rows, 17, cache)


def open_panoptic_world(path: Path, every: int = 1, cache: Path | None = None) -> WorldScenes:
    """The people of sequences of CMU Panoptic whose joints are all known, 15 each.

    The second joint is the nose, where others have the head top.

    Raises:
        InputError: if there are no sequences, or a calibration can't be read.
    """
    found = sequences(path, every)
    files = [file for one in found for file in (one.calibration, *one.labels.values())]
    rows = lambda: (row for one in found for row in _of_sequence(one))  # noqa: E731
    return _opened(f"panoptic-world-{every}", files, rows, 15, cache)


def _opened(
    layout: str,
    files: Several[Path],
    rows: Callable[[], Iterable[dict[str, Any]]],
    joints: int,
    cache: Path | None,
) -> WorldScenes:
    """Scenes through their index, what is wrong with their numbers told."""
    checked = lambda: (_checked(row) for row in rows())  # noqa: E731
    return WorldScenes(open_index(layout, _VERSION, files, _SCHEMA, checked, cache), joints)


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("joints", "rotation", "position", "intrinsics"):
        try:
            values = np.asarray(row[name], np.float64)
        except MALFORMED as error:
            return _bad_row(row["place"], f"{name} is malformed: {reason(error)}")
        wrong = np.argwhere(~(np.abs(values) <= _MOST))
        if len(wrong) and not row["problem"]:
            value = values[tuple(wrong[0])]
            problem = f"{name} holds {value:g}; expected numbers within {_MOST:g} of 0"
            return _bad_row(row["place"], problem)
    return row


def _of_sequence(sequence: Sequence) -> Iterator[dict[str, Any]]:
    """A row for each frame and camera."""
    cameras = read_cameras(sequence.calibration)
    for labels in sequence.labels.values():
        try:
            people = [joints[:15] for joints in world_people(labels)]
        except InputError as error:
            yield _bad_row(str(labels), str(error))
            continue
        known = [joints[:, :3] for joints in people if (joints[:, 3] > CERTAIN).all()]
        if not known:
            continue
        points = np.concatenate(known) * _MM_PER_CM @ _UP_OF_PANOPTIC
        for name, mounted in cameras.items():
            rotation = mounted.rotation @ _UP_OF_PANOPTIC
            camera = mounted.camera
            yield {
                "joints": points, "rotation": rotation,
                "position": -rotation.T @ mounted.translation * _MM_PER_CM,
                "intrinsics": [camera.fx, camera.fy, camera.cx, camera.cy],
                "image_size": [camera.width, camera.height], "place": f"{labels}, camera {name}",
                "problem": "",
            }  # fmt: skip


def _of_shards(folders: Several[Path]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for sample in read_shards(folder):
            place = f"{sample.shard}, sample {sample.name}"
            try:
                if sample.labels["people"]:
                    yield _virtual_row(sample, place)
            except MALFORMED as error:
                yield _bad_row(place, f"labels are malformed: {reason(error)}")


def _virtual_row(sample: Sample, place: str) -> dict[str, Any]:
    if problem := floor_problem(sample):
        raise ValueError(problem)
    camera, floor = sample.labels["camera"], sample.labels["floor"]
    rotation = above(np.array(floor["normal"], np.float64))
    height = np.array([0.0, 0.0, float(floor["distance"])])
    points = np.array([person["joints_3d"] for person in sample.labels["people"]], np.float64)
    return {
        "joints": ((points @ rotation + height) * _MM).reshape(-1, 3), "rotation": rotation,
        "position": height * _MM, "intrinsics": [camera[k] for k in ("fx", "fy", "cx", "cy")],
        "image_size": [camera["width"], camera["height"]], "place": place, "problem": "",
    }  # fmt: skip


def above(normal: Float64) -> Float64:
    """The rotation [3, 3] from a world whose z is the floor's normal to the camera.

    The world's y axis is the way the camera looks, along the floor.

    Args:
        normal: of the floor, unit vector in camera coordinates.
    """
    ahead = np.array([0.0, 0.0, 1.0]) - normal[2] * normal
    if np.linalg.norm(ahead) < 1e-6:  # it looks straight down or up
        ahead = np.array([0.0, -1.0, 0.0]) + normal[1] * normal
    ahead /= np.linalg.norm(ahead)
    return np.column_stack([np.cross(ahead, normal), ahead, normal])


def _of_muco(path: Path) -> Iterator[dict[str, Any]]:
    for picture in pictures(path, joints_of):
        yield from (_bad_row(*one) for one in picture.bad)
        image = picture.image
        if not picture.people:
            continue
        try:
            rotation = np.array(image["R"], np.float64).reshape(3, 3)
            translation = np.array(image["T"], np.float64).reshape(3)
            to_camera = rotation @ _UP_OF_MUCO
            position = -to_camera.T @ translation
            seen = np.array([joints[MPI17_ROWS, 2:5] for joints in picture.people])
            yield {
                "joints": (seen @ to_camera + position).reshape(-1, 3), "rotation": to_camera,
                "position": position, "intrinsics": [*image["f"], *image["c"]],
                "image_size": [image["width"], image["height"]], "place": picture.place,
                "problem": "",
            }  # fmt: skip
        except MALFORMED as error:
            yield _bad_row(picture.place, f"is malformed: {reason(error)}")


def _bad_row(place: str, problem: str) -> dict[str, Any]:
    return {
        "joints": np.zeros((0, 3)), "rotation": np.eye(3), "position": np.zeros(3),
        "intrinsics": np.zeros(4), "image_size": [0, 0], "place": place, "problem": problem,
    }  # fmt: skip


def check_scenes(scenes: WorldScenes) -> None:
    """Refuse scenes whose numbers aren't millimetres.

    Raises:
        InputError: if nobody's height is that of a person, or there is nobody.
    """
    if len(scenes.index.column("joints")) == 0:
        if problem := next(scenes.problems(), ""):
            raise InputError(f"none of {len(scenes):,} scenes can be used; the first: {problem}")
        raise InputError(
            f"{scenes.index.folder.name}: there is nobody in it whose joints are all known"
        )
    joints = scenes.index.column("joints").reshape(-1, scenes.joints, 3)
    tall = np.median(np.ptp(joints[..., 2], axis=1))
    if not 300 < tall < 3000:
        raise InputError(
            f"{scenes.index.folder.name}: people are {tall:,.0f} high; expected millimetres"
        )
