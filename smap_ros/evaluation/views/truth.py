"""Photos of one upright person each, with their joints: what the views are made of.

Labels are an ``annotations.json`` as of LSPET, or an npz of BlazePose's 33 landmarks (``names``,
``landmarks`` [n, 33, 3]: x, y in pixels and visibility) beside the zip file that has the photos.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import DAMAGED_ARRAYS, DAMAGED_ZIP, InputError
from smap_ros.evaluation.pck2d.truth import (
    MIN_JOINTS,
    PhotoFiles,
    check_names,
    decoded,
    read_lspet,
    tell_of_unknown,
)
from smap_ros.skeletons import MPI15

Float = NDArray[np.float32]

# Landmarks that are joints of mpi15.
BLAZE = {
    "l_shoulder": 11,
    "r_shoulder": 12,
    "l_elbow": 13,
    "r_elbow": 14,
    "l_wrist": 15,
    "r_wrist": 16,
    "l_hip": 23,
    "r_hip": 24,
    "l_knee": 25,
    "r_knee": 26,
    "l_ankle": 27,
    "r_ankle": 28,
}
BLAZE_EARS, BLAZE_NOSE = (7, 8), 0
# Head top = ears + 0.60 (ears - neck) - 0.50 (nose - ears): fitted to the labels of LSPET.
HEAD_UP, HEAD_FRONT = 0.60, -0.50
MIN_VISIBILITY = 0.5


@dataclass(frozen=True)
class Labelled:
    """A photo and the joints of its person.

    Attributes:
        name: of the file.
        joints_2d: float32 [15, 2], pixels; NaN where not known.
        files: has it.
        size: width and height that its labels are for, pixels; None where they don't say.
    """

    name: str
    joints_2d: Float
    files: PhotoFiles
    size: tuple[int, int] | None = None

    def image(self) -> NDArray[np.uint8]:
        """The photo, uint8 [H, W, 3] bgr.

        Raises:
            InputError: if it is missing or damaged, or hasn't the size that its labels say.
        """
        return decoded(self.files, self.name, self.size)


def from_blaze(points: Float, visibility: Float) -> Float:
    """Landmarks [33, C], of which the first two are pixels, as mpi15 [15, C]; NaN where unseen."""
    points = np.where((visibility > MIN_VISIBILITY)[:, None], points, np.nan).astype(np.float32)
    out = np.full((len(MPI15), points.shape[1]), np.nan, np.float32)
    for joint, k in BLAZE.items():
        out[MPI15.index(joint)] = points[k]
    for middle, side in (("neck", "shoulder"), ("pelvis", "hip")):
        out[MPI15.index(middle)] = out[[MPI15.index(f"{s}_{side}") for s in "lr"]].mean(axis=0)
    ears, neck = points[list(BLAZE_EARS)].mean(axis=0), out[MPI15.index("neck")]
    front = points[BLAZE_NOSE] - ears
    out[MPI15.index("head_top")] = ears + HEAD_UP * (ears - neck) + HEAD_FRONT * front
    return out


def read_labelled(path: Path) -> list[Labelled]:
    """The photos whose person is labelled well enough.

    Args:
        path: an archive or folder as of LSPET, or an npz of landmarks.

    Raises:
        InputError: if labels or photos can't be read, two photos have one name, or nobody is
            labelled well enough.
    """
    if path.suffix != ".npz":
        return [
            Labelled(photo.name, photo.joints_2d, photo.files, (photo.width, photo.height))
            for photo in read_lspet(path)
        ]
    try:
        with np.load(path) as labels:
            names = [str(name) for name in labels["names"]]
            landmarks = labels["landmarks"].astype(np.float32)
        if landmarks.shape != (len(names), 33, 3):
            raise ValueError(f"landmarks have shape {landmarks.shape} for {len(names)} names")
    except DAMAGED_ARRAYS as error:
        raise InputError(
            f"can't read the labels {path}: {error}; expected names [n] and landmarks [n, 33, 3]"
        ) from error
    check_names([Path(name).stem for name in names], str(path))
    joints = [from_blaze(points[:, :2], points[:, 2]) for points in landmarks]
    known = [
        (name, points)
        for name, points in zip(names, joints, strict=True)
        if np.isfinite(points[:, 0]).sum() >= MIN_JOINTS
    ]
    if not known:
        raise InputError(
            f"{path} labels nobody well enough: of {len(names)} photos, expected some with at "
            f"least {MIN_JOINTS} joints of visibility over {MIN_VISIBILITY:g}"
        )
    tell_of_unknown(len(names) - len(known), len(names), path)
    files, prefix = _photos(path.parent, names)
    return [Labelled(prefix + name, points, files) for name, points in known]


def _photos(folder: Path, names: Sequence[str]) -> tuple[PhotoFiles, str]:
    """The zip file of a folder that has these photos, and what stands before their names there."""
    for archive in sorted(folder.glob("*.zip")):
        try:
            with zipfile.ZipFile(archive) as content:
                members = content.namelist()
        except DAMAGED_ZIP:
            continue
        for member in members:
            if names and member.endswith(names[0]):
                prefix = member.removesuffix(names[0])
                if {prefix + name for name in names} <= set(members):
                    return PhotoFiles(archive), prefix
    raise InputError(f"no zip file in {folder} has the {len(names)} labelled photos; put it there")
