"""Which layout a path has, and its records, whatever they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from smap_ros.errors import InputError, reason
from smap_ros.evaluation.pck2d.truth import ANNOTATIONS, PhotoFiles
from smap_ros.plain_pickle import read_plain_pickle
from smap_train.data.layouts.clips import CLIPS, ClipData
from smap_train.data.layouts.json_stream import first_entry
from smap_train.data.layouts.people import LAYOUTS as PEOPLE
from smap_train.data.layouts.people import PeopleData
from smap_train.data.records import IndexedRecords
from smap_train.data.shards import shard_files

Records = IndexedRecords[Any]


@dataclass(frozen=True)
class DataSet:
    """A data set to look at.

    Attributes:
        layout: one of :data:`LAYOUTS`.
        path: of the annotations.
        images: folder that the names of pictures are relative to; None if nobody said.
        fits: fitted bodies of the people.
    """

    layout: str
    path: Path
    images: Path | None = None
    fits: Path | None = None

    def open(self) -> Records:
        """Its records, for training or not.

        Raises:
            InputError: if it can't be read, or there is no such layout.
        """
        if self.layout not in LAYOUTS:
            raise InputError(
                f"layout {self.layout!r} is unknown; expected one of {', '.join(sorted(LAYOUTS))}"
            )
        return LAYOUTS[self.layout](self)


def _people(data: DataSet) -> Records:
    everybody = f"{data.layout}:all"
    return PeopleData(
        layout=data.layout,  # type: ignore[arg-type]
        annotations=data.path,
        images=data.images or Path(),
        fits=data.fits,
    ).opened(everybody if everybody in PEOPLE else data.layout)


def _smap(data: DataSet) -> Records:
    from smap_train.data.layouts.smap_json import all_records

    return all_records(data.path, data.images or Path())


def _pairs(data: DataSet) -> Records:
    from smap_train.data.layouts.pairs import all_pairs

    return all_pairs(data.path)


def _shards(data: DataSet) -> Records:
    from smap_train.data.layouts.virtual import open_virtual

    return open_virtual([data.path], boxes=True)


def _clips(data: DataSet) -> Records:
    layout = data.layout.removesuffix("-clips")
    return ClipData(layout=layout, database=data.path, images=data.images or Path()).open()  # type: ignore[arg-type]


def _luperson(data: DataSet) -> Records:
    from smap_train.data.layouts.luperson import open_luperson

    folder = data.path if data.path.is_dir() else data.path.parent
    names = data.path if data.path.is_file() else folder / "cfs_list.pkl"
    return open_luperson(
        names, data.images or folder / "LUPerson-data", data.fits or folder / "LUPerson-pose"
    )


def _clip_layout(name: str) -> str:
    """Data sets whose people are read one by one as well are told apart."""
    return f"{name}-clips" if name in PEOPLE else name


# layout -> how it is opened; those of people.py are here by themselves.
LAYOUTS: dict[str, Callable[[DataSet], Records]] = {
    **{name: _people for name in PEOPLE if ":" not in name},
    **{_clip_layout(name): _clips for name in CLIPS},
    "smap": _smap,
    "pairs": _pairs,
    "shards": _shards,
    "luperson": _luperson,
}


SUMMARIES = {
    "3dpw": "3DPW: sequenceFiles of .pkl, or 3DCrowdNet's 3DPW_latest_<split>.json",
    "3dpw-clips": "the same, people over time",
    "coco": "COCO: person_keypoints_<split>.json",
    "crowdpose": "CrowdPose: crowdpose_train.json",
    "h36m": "Human3.6M: folder of Human36M_subjectN_{data,camera,joint_3d}.json",
    "lspet": "Leeds Sports Pose Extended as `data convert lspet` writes it: .zip, or its folder",
    "luperson": "LUPerson: folder of cfs_list.pkl, LUPerson-data and LUPerson-pose",
    "maed": "MAED's databases, their arrays as .npz",
    "mpi_inf_3dhp": "MPI-INF-3DHP: folder of S1/Seq1/annot.mat, ...",
    "mpi_inf_3dhp-clips": "the same, people over time",
    "mpii": "MPII: train.json in the form of COCO",
    "muco": "MuCo-3DHP: MuCo-3DHP.json",
    "mupots": "MuPoTS-3D: MuPoTS-3D.json",
    "pairs": "RefineNet's pairs: stage3_root2_generate_train_*.json",
    "panoptic": "CMU Panoptic: folder of sequences, or HMOR's .pkl",
    "penn_action": "Penn Action: folder of labels/*.mat and frames",
    "posetrack": "PoseTrack 2018: annotations/<split>/*.json",
    "pseudo": "pseudo labels of CCP's or LSPET's photos: .npz of `data convert pseudo`",
    "shards": "virtual people of smap-train synth: *.tar",
    "smap": "SMAP's unified annotation JSON",
}


def recognised(path: Path) -> str:
    """The layout of a path.

    Raises:
        InputError: if it is missing, or of none that is known.
    """
    if not path.exists():
        raise InputError(f"{path} is missing")
    layout = _of_folder(path) if path.is_dir() else _of_file(path)
    if not layout:
        raise InputError(
            f"{path} is of no layout that is known; say which it is with --layout: "
            f"{', '.join(sorted(LAYOUTS))}"
        )
    return layout


def _of_folder(path: Path) -> str:
    return next((layout for layout, sign in _SIGNS if any(path.glob(sign))), "")


# What folders of a layout have in them.
_SIGNS = (
    ("shards", "*.tar"),
    ("h36m", "Human36M_subject*_data.json"),
    ("luperson", "cfs_list.pkl"),
    ("panoptic", "calibration_*.json"),
    ("panoptic", "*/calibration_*.json"),
    ("mpi_inf_3dhp", "S*/Seq*/annot.mat"),
    ("penn_action", "labels/*.mat"),
    ("3dpw", "sequenceFiles/*/*.pkl"),
    ("lspet", ANNOTATIONS),
)


def _of_file(path: Path) -> str:
    if path.suffix == ".tar":
        return "shards"
    if path.suffix == ".npz":
        return _of_arrays(path)
    if path.suffix == ".zip":
        return "lspet" if ANNOTATIONS in PhotoFiles(path).names() else ""
    if path.suffix == ".pkl":
        return _of_pickle(path)
    if path.suffix != ".json":
        return ""
    for key, layout in (("root", "smap"), ("3d_pairs", "pairs")):
        if first_entry(path, key) is not None:
            return layout
    person = first_entry(path, "annotations")
    return _of_person(person) if isinstance(person, dict) else ""


def _of_arrays(path: Path) -> str:
    """The layout of an .npz, by the names of its arrays."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = set(arrays.files)
    except Exception as error:  # numpy and zipfile raise what they like of damaged files
        raise InputError(f"{path} can't be read ({reason(error)}); copy it again") from error
    if "landmarks" in names:
        return "pseudo"
    return "maed" if "img_name" in names else ""


def _of_pickle(path: Path) -> str:
    """The layout of a pickle, which is read as a whole."""
    content = read_plain_pickle(path)
    if isinstance(content, dict) and "cam_poses" in content:
        return "3dpw"
    if isinstance(content, list) and content:
        return "luperson" if isinstance(content[0], str) else "panoptic"
    return ""


def _of_person(person: dict[str, Any]) -> str:
    """The layout of a file in the form of COCO, by one of its annotations."""
    if "keypoints_cam" in person:
        return "mupots" if "is_valid" in person else "muco"
    if "openpose_result" in person:
        return "3dpw"
    if "track_id" in person:
        return "posetrack"
    numbers = person.get("keypoints")
    count = len(numbers) if isinstance(numbers, list) else 0
    return {3 * 17: "coco", 3 * 16: "mpii", 3 * 14: "crowdpose"}.get(count, "")


# Keys of configurations that are paths, or lists of them, and their layout.
_PATHS = {
    "virtual": "shards", "virtual_films": "shards", "held_out": "shards", "pairs": "pairs",
    "muco": "muco",
}  # fmt: skip


def configured(config: BaseModel) -> Iterator[DataSet]:
    """The data sets that a recipe's configuration names; shards one by one."""
    for name, value in config:
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, BaseModel):
                yield from _described(one)
            elif isinstance(one, Path) and name in _PATHS:
                layout = "pairs" if hasattr(config, "pairs") else _PATHS[name]
                paths = shard_files([one]) if layout == "shards" else [one]
                yield from (DataSet(layout, path) for path in paths or [one])


def _described(data: BaseModel) -> Iterator[DataSet]:
    """A data set by the fields of its model."""
    named = dict(data)
    if "pseudo" in named:  # photos of smap_lite
        yield DataSet("pseudo", named["pseudo"], named["archive"])
        if _has_labels(named["archive"]):
            yield DataSet("lspet", named["archive"])
    elif "names" in named:
        yield DataSet("luperson", named["names"], named["images"], named["poses"])
    elif "database" in named:
        yield DataSet(_clip_layout(named["layout"]), named["database"], named["images"])
    elif "annotations" in named:
        layout, fits = named.get("layout", "smap"), named.get("fits")
        yield DataSet(layout, named["annotations"], named["images"], fits)


def _has_labels(archive: Path) -> bool:
    """Whether photos have labels beside the pseudo labels; those that are missing may have."""
    return not archive.exists() or ANNOTATIONS in PhotoFiles(archive).names()
