"""People in files of the form of COCO: COCO itself, MPII as 3DMPPE has it, CrowdPose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import reason
from smap_ros.skeletons import COCO17, Skeleton
from smap_train.data.layouts.coco import open_coco
from smap_train.data.layouts.coco_form import MALFORMED, file_of
from smap_train.data.layouts.fits import Fits, read_fits
from smap_train.data.layouts.persons import (
    COLUMNS,
    SEEN,
    PersonRecord,
    PersonRecords,
    U,
    V,
    bad_person,
    joint_set,
    open_persons,
    with_neighbours,
)

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

_VERSION = 3


@dataclass(frozen=True)
class Form:
    """A data set's keypoints.

    Attributes:
        skeleton: its joints in their order, then those that are derived from them.
        labelled: how many the file has.
        derived: a joint -> the two whose middle it is; labelled where both are.
        sizes_swapped: whether files exist in which width and height are exchanged.
    """

    skeleton: Skeleton
    labelled: int
    derived: tuple[tuple[str, str, str], ...] = ()
    sizes_swapped: bool = False


FORMS = {
    "coco": Form(
        joint_set("coco18", " ".join((*COCO17.joints, "thorax")), "l_hip"),
        17,
        (("thorax", "l_shoulder", "r_shoulder"),),
    ),
    # "neck" is the upper neck, "thorax" the point between the shoulders.
    "mpii": Form(
        joint_set(
            "mpii16",
            "r_ankle r_knee r_hip l_hip l_knee l_ankle pelvis thorax neck head_top r_wrist r_elbow "
            "r_shoulder l_shoulder l_elbow l_wrist",
            "pelvis",
        ),
        16,
    ),
    "crowdpose": Form(
        joint_set(
            "crowdpose14",
            "l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist l_hip r_hip l_knee r_knee "
            "l_ankle r_ankle head_top neck",
            "l_hip",
        ),
        14,
        sizes_swapped=True,
    ),
}


def open_people(data: PeopleData) -> PersonRecords:
    """The people with a labelled keypoint, no crowds.

    Raises:
        InputError: if the file can't be read. Records that can't be used are named when they are
            asked for.
    """
    path, form = data.annotations, FORMS[data.layout]
    index = open_persons(
        data.layout, _VERSION, data.files(), lambda: _people(path, form, read_fits(data.fits))
    )
    keep = np.arange(0, len(index), data.every)
    return PersonRecords(index, data.images, form.skeleton, keep)


def _people(path: Path, form: Form, fits: Fits) -> Iterator[PersonRecord]:
    found, malformed = open_coco(path)
    yield from (bad_person(*one) for one in malformed)
    swapped = form.sizes_swapped and _swapped(found.imgs, found.anns.values())
    for key in sorted(found.imgs, key=lambda key: (isinstance(key, str), key)):
        image = found.imgs[key]
        people, bad = [], []
        for annotation in found.imgToAnns[key]:
            place = f"{path}, annotation {annotation.get('id')}"
            try:
                if annotation.get("iscrowd", 0) or not annotation["num_keypoints"]:
                    continue
                size = (image["width"], image["height"])
                person = _person(annotation, image, size[::-1] if swapped else size, form, place)
                people.append(fits.of(annotation["id"], person))
            except MALFORMED as error:
                bad.append(bad_person(place, f"is malformed: {reason(error)}", file_of(image)))
        yield from [*bad, *with_neighbours(people)]


def _person(
    annotation: dict[str, Any], image: dict[str, Any], size: tuple[int, int], form: Form, place: str
) -> PersonRecord:
    points = _points(annotation, form.labelled)
    joints = np.zeros((len(form.skeleton), COLUMNS))
    joints[: form.labelled, [U, V]] = points[:, :2]
    joints[: form.labelled, SEEN] = points[:, 2] > 0
    for name, *pair in form.derived:
        two = joints[[form.skeleton.index(joint) for joint in pair]]
        middle = joints[form.skeleton.index(name)]
        middle[[U, V]], middle[SEEN] = two[:, [U, V]].mean(axis=0), two[:, SEEN].prod()
    box = np.array(annotation["bbox"], np.float64)
    if box.shape != (4,):
        raise ValueError(f"bbox is {annotation['bbox']}; expected x, y, width and height")
    return PersonRecord(
        Path(image["file_name"]), *size, box, joints, form.skeleton, has_depth=False, place=place
    )


def _points(annotation: dict[str, Any], count: int) -> NDArray[np.float64]:
    numbers = np.array(annotation["keypoints"], np.float64)
    if numbers.shape != (3 * count,):
        raise ValueError(f"keypoints are {numbers.size} numbers, expected {3 * count}")
    points = numbers.reshape(-1, 3)
    if not np.isfinite(points).all():
        joint, column = np.argwhere(~np.isfinite(points))[0]
        raise ValueError(f"keypoints[{3 * joint + column}] is {points[joint, column]:g}")
    return points


def _swapped(images: dict[Any, dict[str, Any]], annotations: Any) -> bool:
    """Whether more keypoints lie inside of the pictures with width and height exchanged.

    CrowdPose's training file is published that way.
    """
    inside = np.zeros(2, int)
    for annotation in annotations:
        try:
            points = np.array(annotation["keypoints"], np.float64).reshape(-1, 3)
            image = images[annotation["image_id"]]
            size = np.array([image["width"], image["height"]])
        except MALFORMED:
            continue  # named when its record is asked for
        points = points[points[:, 2] > 0, :2]
        inside += [(points < size).all(axis=1).sum(), (points < size[::-1]).all(axis=1).sum()]
    return bool(inside[1] > inside[0])
