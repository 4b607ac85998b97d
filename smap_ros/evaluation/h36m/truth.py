"""The labels of Human3.6M in the files that MobileHumanPose (and 3DMPPE before it) reads.

A folder of ``annotations/`` and ``images/``. For each subject ``Human36M_subject9_data.json``
(``images`` with id, file_name, width, height, subject, action_idx, subaction_idx, cam_idx,
frame_idx; ``annotations`` with image_id), ``..._camera.json`` (camera -> R, t, f, c) and
``..._joint_3d.json`` (action -> subaction -> frame -> [17, 3], millimetres in the world).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError, reason
from smap_ros.evaluation.common.jsonfiles import read_json
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.evaluation.common.views import View
from smap_ros.evaluation.h36m.measures import ACTIONS, EVERY, Protocol, with_thorax
from smap_ros.markup import whole_number
from smap_ros.skeletons import H36M17

Float = NDArray[np.float64]

_MILLIMETRES = 0.001
_FARTHEST_MM = 1e9  # squares of much more are infinite
_FIRST_ACTION = 2  # of the data set's numbers
_MALFORMED = (
    KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError, CameraError,
)  # fmt: skip


@dataclass(frozen=True)
class H36mImage:
    """One image and its person.

    Attributes:
        view: the picture and its camera.
        image_id: of the label files.
        action: index into :data:`smap_ros.evaluation.h36m.measures.ACTIONS`.
        joints_3d: float64 [18, 3], h36m18, metres, optical frame.
    """

    view: View
    image_id: int
    action: int
    joints_3d: Float


def read_h36m(path: Path, protocol: Protocol) -> list[H36mImage]:
    """The test images of a protocol.

    Raises:
        InputError: if a file is missing or malformed, or there are none.
    """
    folder = path / "annotations" if (path / "annotations").is_dir() else path
    images = [image for subject in protocol.subjects for image in _read_subject(folder, subject)]
    if not images:
        raise InputError(f"{path} has no test images: no frame number is a multiple of {EVERY}")
    return images


class OfficialResults:
    """Results as MobileHumanPose saves them: ``bbox_root_pose_human36m_output.json``.

    A list of ``image_id`` and ``joint_cam`` [17, 3], millimetres.

    Attributes:
        description: for people to read.

    Raises:
        InputError: if the file is malformed.
    """

    def __init__(self, path: Path) -> None:
        self.description = str(path)
        try:
            entries = read_json(path)
            numbers = _numbers(entries, "image_id")
            poses = [np.array(e["joint_cam"], np.float64).reshape(-1, 3) for e in entries]
            self._joints = dict(zip(numbers, poses, strict=True))
            sizes = {len(joints) for joints in self._joints.values()}
            if sizes != {len(H36M17)}:
                raise ValueError(f"joint_cam of {sorted(sizes)} joints")
        except _MALFORMED as error:
            raise InputError(
                f"{path} is malformed ({reason(error)}); expected a list of image_id and joint_cam "
                "[17][x, y, z], or a bodies.json"
            ) from error

    def close(self) -> None:
        """Nothing is held."""

    @staticmethod
    def found(path: Path) -> bool:
        """Whether a file holds such results, and not a bodies.json."""
        return path.suffix == ".json" and path.is_file() and isinstance(read_json(path), list)

    def of(self, image: H36mImage) -> Float | None:
        """The person of an image, float64 [18, 3], metres, or None if it is not in the file."""
        joints = self._joints.get(image.image_id)
        return None if joints is None else with_thorax(joints * _MILLIMETRES)


def _numbers(entries: Sequence[Any], field: str) -> list[int]:
    """Numbers of images, each there once: of two labels or results, one would be lost."""
    numbers = [whole_number(entry[field]) for entry in entries]
    if (twice := repeated(numbers)) is not None:
        raise ValueError(f"two entries have {field} {twice}")
    return numbers


def _read_subject(folder: Path, subject: int) -> Iterator[H36mImage]:
    data, cameras, joints = (
        read_json(folder / f"Human36M_subject{subject}_{name}.json")
        for name in ("data", "camera", "joint_3d")
    )
    try:
        images = dict(zip(_numbers(data["images"], "id"), data["images"], strict=True))
        for number in _numbers(data["annotations"], "image_id"):
            image = images[number]
            if whole_number(image["frame_idx"]) % EVERY == 0:
                yield _image(image, cameras, joints, folder.parent / "images")
    except _MALFORMED as error:
        raise InputError(
            f"the labels of subject {subject} in {folder} are malformed ({reason(error)}); "
            "expected "
            "MobileHumanPose's Human36M_subjectN_data.json, _camera.json and _joint_3d.json"
        ) from error


def _image(image: Any, cameras: Any, joints: Any, pictures: Path) -> H36mImage:
    numbers = cameras[str(image["cam_idx"])]
    rotation = np.array(numbers["R"], np.float64).reshape(3, 3)
    world = joints[str(image["action_idx"])][str(image["subaction_idx"])][str(image["frame_idx"])]
    with np.errstate(invalid="ignore", over="ignore"):  # refused below
        placed = np.array(world, np.float64).reshape(17, 3) @ rotation.T
        placed += np.array(numbers["t"], np.float64).reshape(3)
    if not (np.abs(placed) < _FARTHEST_MM).all():  # NaN isn't, either
        raise ValueError(f"the joints of image {image['id']} aren't numbers below 1e9 mm")
    file = pictures / str(image["file_name"])
    # The official script takes it from the name of the file.
    action = int(file.stem.split("act_")[1][:2]) - _FIRST_ACTION
    if not 0 <= action < len(ACTIONS):
        raise ValueError(f"action {action + _FIRST_ACTION} in {file.name}")
    size = whole_number(image["width"]), whole_number(image["height"])
    camera = Camera(*size, *numbers["f"], *numbers["c"])
    return H36mImage(
        View(file.stem, camera, file),
        whole_number(image["id"]),
        action,
        with_thorax(placed) * _MILLIMETRES,
    )
