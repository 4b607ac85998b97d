"""MPI-INF-3DHP: ``S<n>/Seq<m>/annot.mat``, and pictures that were cut from its videos.

``annot2`` and ``annot3`` are cells, one a camera, of frames x 56 pixels and frames x 84 camera
millimetres of 28 joints. Pictures of camera 4 are ``S1/Seq1/imageFrames/video_4/frame_000001.jpg``
and so on, the first of them frame 0. The cameras aren't in the file: what maps ``annot3`` to
``annot2`` is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.mupots.matfiles import read_mat
from smap_ros.evaluation.mupots.truth import fitted_line
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.persons import (
    COLUMNS,
    Float64,
    PersonRecord,
    PersonRecords,
    bad_person,
    box_around,
    joint_set,
    open_persons,
)
from smap_train.data.layouts.tracks import (
    bad_frame,
    frame_row,
    labelled,
    no_fit,
)
from smap_train.data.records import MILLIMETRES

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

MPI28 = joint_set(
    "mpi28",
    "spine3 spine4 spine2 spine pelvis neck head head_top l_clavicle l_shoulder l_elbow l_wrist "
    "l_hand r_clavicle r_shoulder r_elbow r_wrist r_hand l_hip l_knee l_ankle l_foot l_toe r_hip "
    "r_knee r_ankle r_foot r_toe",
    "pelvis",
)
SIDE = 2048  # of the pictures, pixels
CAMERAS = 9  # of the 14 those that look at the whole person from around, officially
BOX_MARGIN = 1.1
_VERSION, CLIP_VERSION = 1, 1  # of people one by one, and of those over time
_FILE = "annot.mat"
_MOST = 1e5  # pixels or millimetres by which a camera is told


@dataclass(frozen=True)
class Video:
    """What one camera saw of a sequence.

    Attributes:
        place: of its annotations, for messages.
        images: its frames, below the data set's folder.
        pixels: float64 [T, 28, 2].
        points_mm: float64 [T, 28, 3], before the camera.
        camera: fx, fy, cx, cy.
        problem: why it can't be used; empty if it can.
    """

    place: str
    images: Path
    pixels: Float64
    points_mm: Float64
    camera: Float64
    problem: str = ""

    def image(self, frame: int) -> Path:
        """A frame's picture."""
        return self.images / f"frame_{frame + 1:06d}.jpg"

    def inside(self) -> np.ndarray:
        """The frames in which every joint lies in the picture, bool [T]."""
        return ~((self.pixels < 0) | (self.pixels >= SIDE)).any(axis=(1, 2))


def sequence_files(path: Path, subjects: tuple[int, ...] = ()) -> list[Path]:
    """The annotations of the sequences below a folder.

    Raises:
        InputError: if there are none.
    """
    files = [path] if path.is_file() else sorted(path.glob(f"S*/Seq*/{_FILE}"))
    if subjects:
        files = [file for file in files if file.parent.parent.name in {f"S{n}" for n in subjects}]
    if not files:
        raise InputError(f"{path} has no S1/Seq1/{_FILE}; expected the folder of MPI-INF-3DHP")
    return files


def source_files(data: PeopleData) -> list[Path]:
    """What the labels are read from."""
    return sequence_files(data.annotations, data.subjects)


def videos(file: Path) -> Iterator[Video]:
    """What each of the cameras saw; of a file that can't be read one without frames."""
    nobody = np.zeros((0, len(MPI28), 2)), np.zeros((0, len(MPI28), 3)), np.zeros(4)
    try:
        content = read_mat(file, "annot2", "annot3")
    except InputError as error:
        yield Video(str(file), Path(), *nobody, problem=str(error))
        return
    cells = [np.asarray(content[name]).reshape(-1) for name in ("annot2", "annot3")]
    for number, (flat, deep) in enumerate(zip(*cells, strict=False)):
        if number == CAMERAS:
            return
        place = f"{file}, camera {number}"
        folder = Path(*file.parts[-3:-1]) / "imageFrames" / f"video_{number}"
        try:
            pixels = np.array(flat, np.float64).reshape(-1, len(MPI28), 2)
            points = np.array(deep, np.float64).reshape(-1, len(MPI28), 3)
            yield Video(place, folder, pixels, points, _camera(pixels, points))
        except MALFORMED as error:
            yield Video(place, folder, *nobody, problem=f"is malformed: {reason(error)}")


def _camera(pixels: Float64, points_mm: Float64) -> Float64:
    """What maps the joints in space to those in the pictures: fx, fy, cx, cy.

    Raises:
        ValueError: if they aren't of the same frames.
    """
    if len(pixels) != len(points_mm):
        raise ValueError(f"annot2 has {len(pixels)} frames, annot3 {len(points_mm)}")
    usable = [(np.abs(values) < _MOST).all(axis=-1) for values in (pixels, points_mm)]
    known = usable[0] & usable[1] & (points_mm[..., 2] > 0)
    flat, deep = pixels[known], points_mm[known]
    if len(flat) < 2:
        return np.zeros(4)
    (fx, cx), (fy, cy) = (fitted_line(deep[:, k] / deep[:, 2], flat[:, k]) for k in range(2))
    return np.array([fx, fy, cx, cy])


def open_people(data: PeopleData) -> PersonRecords:
    """The person of every n-th frame in which all of their joints lie in the picture.

    Raises:
        InputError: if there are no annotations.
    """
    files = source_files(data)
    index = open_persons(
        f"mpi-inf-3dhp-{data.every}", _VERSION, files, lambda: _people(files, data.every)
    )
    return PersonRecords(index, data.images, MPI28, unit=MILLIMETRES)


def _people(files: list[Path], every: int) -> Iterator[PersonRecord]:
    for file in files:
        for video in videos(file):
            if video.problem:
                yield bad_person(video.place, video.problem)
            inside = video.inside()
            for frame in range(0, len(inside), every):
                if inside[frame]:
                    yield _person(video, frame)


def _person(video: Video, frame: int) -> PersonRecord:
    joints = np.ones((len(MPI28), COLUMNS))
    joints[:, :2] = video.pixels[frame]
    joints[:, 2:5] = video.points_mm[frame] / MILLIMETRES.of_a_metre
    return PersonRecord(
        video.image(frame), SIDE, SIDE, box_around(video.pixels[frame], BOX_MARGIN), joints, MPI28,
        camera=video.camera, place=f"{video.place}, frame {frame}",
    )  # fmt: skip


def clip_files(path: Path) -> list[Path]:
    """What the labels are read from."""
    return sequence_files(path)


def clip_rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The person of each video; where joints leave the picture another track begins."""
    track = 0
    for video in (video for file in files for video in videos(file)):
        track += 1
        if video.problem:
            yield bad_frame(video.place, track, video.problem)
        last = -1
        for frame in (int(k) for k in np.flatnonzero(video.inside())):
            track += frame != last + 1
            last = frame
            ones = np.ones((len(MPI28), 1))
            pixels = np.column_stack([video.pixels[frame], ones])
            points = video.points_mm[frame] / MILLIMETRES.of_a_metre
            flat, deep = labelled(MPI28.joints, pixels, np.column_stack([points, ones]))
            x, y, width, height = box_around(video.pixels[frame], BOX_MARGIN)
            side = max(width, height)
            box = np.array([x + width / 2, y + height / 2, side, side])
            place = f"{video.place}, frame {frame}"
            yield frame_row(place, track, str(video.image(frame)), box, flat, deep, no_fit())
