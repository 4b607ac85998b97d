"""Photos of one labelled person each, as `smap-train data convert lspet` (ccp, pseudo) writes them.

Archives hold their photos as they are, uncompressed, so that one is read without the others. Labels
are ``annotations.json`` in the archive (LSPET), or pseudo labels (.npz) beside it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.pck2d.truth import ANNOTATIONS, MIN_JOINTS, PhotoFiles, mpi15_joints
from smap_ros.evaluation.views.truth import from_blaze
from smap_ros.images import check_complete
from smap_ros.markup import json_value
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.coco_form import MALFORMED
from smap_train.data.layouts.persons import (
    CAMERA_X,
    CAMERA_Z,
    COLUMNS,
    SEEN,
    Float64,
    PersonRecord,
    PersonRecords,
    bad_person,
    box_around,
    open_persons,
)
from smap_train.data.records import METRES, Measured

if TYPE_CHECKING:
    from smap_train.data.layouts.people import PeopleData

_VERSION = 1
_LSPET_JOINTS = 14
_MOST_M = 10.0  # of a landmark from the hips
_EXPECTED = "names [n], landmarks [n, 33, 3] and world_m [n, 33, 3]"
_HEADER = 30  # bytes of a member's own header in a zip archive, before its name


@dataclass(frozen=True)
class Photos:
    """Photos of an archive or a folder, with where their bytes are."""

    path: Path
    files: PhotoFiles
    members: dict[str, zipfile.ZipInfo]

    @classmethod
    def of(cls, path: Path) -> Photos:
        """Open it.

        Raises:
            InputError: if it is neither a zip archive nor a folder.
        """
        files = PhotoFiles(path)
        if path.is_dir():
            return cls(path, files, {})
        with zipfile.ZipFile(path) as archive:
            return cls(path, files, {info.filename: info for info in archive.infolist()})

    def found(self, name: str) -> dict[str, Any]:
        """Where a photo is and how large: fields of a record.

        Raises:
            InputError: if it is missing or damaged.
            ValueError: if the archive has it compressed.
        """
        data = self.files.read(name)
        _, height, width = check_complete(data)
        size = {"width": width, "height": height}
        if not self.members:
            return {"image": Path(name), **size}
        member = self.members[name]
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError("the archive has it compressed; make it anew without (zip -0)")
        with self.path.open("rb") as file:
            file.seek(member.header_offset)
            header = file.read(_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = member.header_offset + _HEADER + lengths
        return {"image": self.path.resolve(), "offset": start, "size": member.file_size, **size}


class PseudoRecords(PersonRecords):
    """People whose positions about the hips are guessed: lengths can be judged, depths can't."""

    def measured(self, low: int, high: int) -> Measured:
        """See :class:`IndexedRecords`."""
        known = super().measured(low, high)
        joints, owners = self.index.rows("joints", low, high)
        count = len(self.skeleton)
        joints = joints.reshape(-1, count, COLUMNS)
        points = np.where(joints[..., SEEN:] > 0, joints[..., CAMERA_X : CAMERA_Z + 1], np.nan)
        return Measured.of(
            owners[::count], self.skeleton, points, pixels=known.pixels, box=known.box,
            unit=METRES,
        )  # fmt: skip


def source_files(data: PeopleData) -> list[Path]:
    """The file of the labels, and the archive of pseudo labels' photos."""
    path = data.annotations
    if path.suffix == ".npz":
        return [path, _archive_of(data)]
    return [path / ANNOTATIONS if path.is_dir() else path]


def open_people(data: PeopleData) -> PersonRecords:
    """The people with enough labels to be of use.

    Raises:
        InputError: if labels or archive can't be read.
    """
    path = data.annotations
    if path.suffix == ".npz":
        archive = _archive_of(data)
        index = open_persons("pseudo", _VERSION, source_files(data), lambda: _pseudo(path, archive))
        folder, kind = archive, PseudoRecords
    else:
        index = open_persons("lspet", _VERSION, source_files(data), lambda: _lspet(path))
        folder, kind = path, PersonRecords
    keep = np.arange(0, len(index), data.every)
    return kind(index, folder if folder.is_dir() else Path(), MPI15, keep, METRES)


def _lspet(path: Path) -> Iterator[PersonRecord]:
    photos = Photos.of(path)
    try:
        content: Any = json_value(photos.files.read(ANNOTATIONS))
        names, entries = list(content["joint_names"]), list(content["images"])
    except MALFORMED as error:
        raise InputError(
            f"{ANNOTATIONS} of {path} is malformed ({reason(error)}); expected joint_names and "
            "images with image, width, height and joints [14][x, y, labelled]"
        ) from error
    for number, entry in enumerate(entries):
        place = f"{path}, {ANNOTATIONS}, image {number}"
        try:
            joints = np.array(entry["joints"], np.float64)
            if joints.shape != (_LSPET_JOINTS, 3):
                raise ValueError(f"joints has the shape {joints.shape}; expected (14, 3)")
            known = mpi15_joints(joints.astype(np.float32), names)
            record = _record(photos, str(entry["image"]), known, f"{place} ({entry['image']})")
            stated = (entry["width"], entry["height"])
            if record is not None and (record.width, record.height) != stated:
                raise ValueError(
                    f"width and height are {stated}, the photo's {record.width, record.height}"
                )
            unknown = (joints[:, 2] > 0) & ~np.isfinite(joints[:, :2]).all(axis=1)
            if unknown.any():
                raise ValueError(f"joint {int(np.argmax(unknown))} is labelled, but no number")
        except (*MALFORMED, InputError) as error:
            record = bad_person(place, f"is malformed: {reason(error)}", Path(str(number)))
        if record is not None:
            yield record


def _pseudo(path: Path, archive: Path) -> Iterator[PersonRecord]:
    photos, arrays = Photos.of(archive), pseudo_arrays(path)
    prefix = _prefix(photos, str(arrays["names"][0])) if len(arrays["names"]) else ""
    for number, name in enumerate(arrays["names"]):
        place = f"{path}, row {number} ({name})"
        landmarks, world = arrays["landmarks"][number], arrays["world_m"][number]
        points = from_blaze(np.concatenate([landmarks[:, :2], world], axis=1), landmarks[:, 2])
        try:
            for field, values in (("landmarks", landmarks), ("world_m", world)):
                if np.isinf(values).any():
                    raise ValueError(f"{field} has infinite numbers")
            if np.nanmax(np.abs(world), initial=0) > _MOST_M:
                farthest = np.nanmax(np.abs(world))
                raise ValueError(
                    f"world_m has {farthest:g}; expected metres about the hips, within {_MOST_M:g}"
                )
            record = _record(photos, prefix + str(name), points, place)
        except (*MALFORMED, InputError) as error:
            record = bad_person(place, reason(error), Path(str(number)))
        if record is not None:
            yield record


def pseudo_arrays(path: Path) -> dict[str, Any]:
    """Pseudo labels: ``names`` [n], ``landmarks`` and ``world_m`` float32 [n, 33, 3].

    Raises:
        InputError: if the file can't be read, or has others.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("names", "landmarks", "world_m")}
        count = len(np.atleast_1d(arrays["names"]))
        for name in ("landmarks", "world_m"):
            if arrays[name].shape != (count, 33, 3):
                raise ValueError(f"{name} has the shape {arrays[name].shape} for {count} names")
            arrays[name] = arrays[name].astype(np.float32)
    except Exception as error:  # numpy and zipfile raise what they like of damaged files
        raise InputError(
            f"{path} can't be read ({reason(error)}); expected an npz with {_EXPECTED}. Fetch or "
            "make it again"
        ) from error
    return arrays


def _record(photos: Photos, name: str, known: Any, place: str) -> PersonRecord | None:
    """A person by joints [15, 2 or 5], NaN where unknown; None with too few to be of use."""
    seen = np.isfinite(known).all(axis=1)
    if seen.sum() < MIN_JOINTS:
        return None
    joints: Float64 = np.zeros((len(MPI15), COLUMNS))
    joints[:, : known.shape[1]] = np.where(seen[:, None], known, 0)
    joints[:, SEEN] = seen
    box = box_around(joints[seen, :2])
    return PersonRecord(
        **photos.found(name), box=box, joints=joints, skeleton=MPI15, has_depth=False, place=place
    )


def _archive_of(data: PeopleData) -> Path:
    """Where pseudo labels' photos are: as stated, or the archive beside them that has them."""
    if data.images != Path() and (data.images.is_file() or data.images.is_dir()):
        return data.images
    names = pseudo_arrays(data.annotations)["names"]
    for archive in sorted(data.annotations.parent.glob("*.zip")):
        try:
            photos = Photos.of(archive)
        except (InputError, zipfile.BadZipFile):
            continue
        if len(names) and _prefix(photos, str(names[0])) + str(names[0]) in photos.members:
            return archive
    raise InputError(
        f"no zip archive beside {data.annotations} has its photos; say which with --images"
    )


def _prefix(photos: Photos, name: str) -> str:
    """What stands before the names of the labels in the archive."""
    return next((m.removesuffix(name) for m in photos.members if m.endswith(name)), "")
