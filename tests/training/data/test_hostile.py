"""Files of which any part is anything: what is wrong is told, nothing fails in another way."""

from __future__ import annotations

import json
import pickle
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train.data.check import check
from smap_train.data.layouts.known import DataSet, recognised
from smap_train.data.layouts.persons import PersonRecords, PictureRecords
from smap_train.data.layouts.tracks import open_virtual_frames
from smap_train.data.layouts.virtual import open_virtual_people
from smap_train.data.layouts.world import open_virtual_world

from . import published
from .test_bad_records import MADE, write_tar
from .test_tracks import database

ANYTHING = [
    None, "x", "", [], {}, -1, 1e30, True, [[1]], {"a": 1}, float("nan"), 10**30, "1", [None], 0,
    2**31, "\ud800", "a\0b", "y" * 400,
]  # fmt: skip
ARRAYS = [
    np.zeros(3), np.zeros(0), np.full((5, 5), np.nan), np.array("x"), None, "y",
    np.zeros((2, 10, 72)), np.array([[1e300]]), [], {}, 3,
]  # fmt: skip
TRIES = 25
IN_JSON = ["smap", "pairs", "coco", "muco", "h36m", "panoptic", "3dpw json", "mupots", "posetrack"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def nodes(content: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    inner = content.items() if isinstance(content, dict) else ()
    inner = enumerate(content) if isinstance(content, list) else inner
    for key, value in list(inner)[:25]:
        yield from nodes(value, (*path, key))


def changed(content: Any, rng: random.Random) -> Any:
    """The content with one part missing or replaced, most often an outer one."""
    paths = list(nodes(content))
    outer = [path for path in paths if len(path) <= 3]
    *keys, last = rng.choice(paths if rng.random() < 0.4 else outer[1:])
    inner = content
    for key in keys:
        inner = inner[key]
    if isinstance(inner, dict) and rng.random() < 0.3:
        del inner[last]
    else:
        inner[last] = rng.choice(ANYTHING)
    return content


def look_at(data: DataSet) -> None:
    """Check, open and read; only errors for users are allowed."""
    report = check(data)
    if report.unreadable:
        return
    records = data.open()
    assert all(np.isfinite(value).all() for value in read(records))
    if isinstance(records, PersonRecords):
        list(read(PictureRecords(records)))


def read(records: Any) -> Iterator[np.ndarray]:
    """The arrays of the records that can be used."""
    for number in range(len(records)):
        try:
            record = records[number]
        except InputError:
            continue
        for value in vars(record).values() if hasattr(record, "__dict__") else ():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                yield value


def layout_of(path: Path) -> str:
    """The layout that is recognised; empty if none is."""
    try:
        return recognised(path)
    except InputError:
        return ""


@pytest.mark.parametrize("layout", IN_JSON)
def test_any_json(layout, tmp_path):
    data = MADE[layout][0](tmp_path, lambda numbers: numbers)
    files = sorted(tmp_path.rglob("*.json"))
    for seed in range(TRIES):
        rng = random.Random(seed)
        file = rng.choice(files)
        whole = file.read_text()
        file.write_text(json.dumps(changed(json.loads(whole), rng)))
        look_at(data)
        layout_of(data.path)
        file.write_text(whole)


def test_any_labels_of_shards(tmp_path):
    data = MADE["shards"][0](tmp_path, lambda numbers: numbers)
    with tarfile.open(data.path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    for seed in range(TRIES):
        labels = changed(json.loads(files["000001.json"]), random.Random(seed))
        write_tar(data.path, {**files, "000001.json": json.dumps(labels).encode()})
        look_at(data)
        for opened in (open_virtual_people, open_virtual_frames, open_virtual_world):
            assert len(list(read(opened([data.path])))) > 0


@pytest.mark.parametrize("layout", ["3dpw", "3dpw-clips", "panoptic"])
def test_any_pickle(layout, tmp_path):
    for seed in range(TRIES):
        rng = random.Random(seed)
        path = published.hmor(tmp_path)
        if layout != "panoptic":
            path.write_bytes(pickle.dumps(published.threedpw_sequence(), protocol=2))
        content = pickle.loads(path.read_bytes())
        inner = content[0] if layout == "panoptic" else content
        key = rng.choice(list(inner))
        if rng.random() < 0.2:
            del inner[key]
        else:
            inner[key] = rng.choice(ARRAYS)
        path.write_bytes(pickle.dumps(content, protocol=2))
        look_at(DataSet(layout, path))


def test_any_database(tmp_path):
    names = ("img_name", "vid_name", "bbox", "joints2D", "joints3D", "pose", "shape")
    for seed in range(TRIES):
        rng = random.Random(seed)
        usable = [a for a in ARRAYS if isinstance(a, np.ndarray | int | str)]
        look_at(DataSet("maed", database(tmp_path, **{rng.choice(names): rng.choice(usable)})))


def test_files_that_are_nothing(tmp_path):
    for name, data in (
        ("empty.json", b""), ("zeros.json", bytes(100)), ("list.json", b"[1, 2]"),
        ("deep.json", b'{"root": ' + b"[" * 100_000), ("latin.json", b'{"root": "\xe9"}'),
        ("empty.npz", b""), ("torn.npz", b"PK\x03\x04abc"), ("empty.pkl", b""),
        ("torn.pkl", b"\x80\x02}q\x00"), ("empty.tar", b""), ("zeros.tar", bytes(10_240)),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(data)
        layout = layout_of(path)
        if not layout:
            continue
        report = check(DataSet(layout, path))
        assert report.found == 1 and name in str(report.content()), name
    folder = Path(tmp_path / "folder.json")
    folder.mkdir()
    with pytest.raises(InputError, match=r"folder.json is of no layout"):
        recognised(folder)
