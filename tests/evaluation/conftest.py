"""Labels in the shapes that shards, clips and LSPET have."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.evaluation.common.scenes import Scene, make_scene

CAMERA = Camera(400, 300, 300.0, 300.0, 199.5, 149.5)

LSPET_JOINTS = [
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder",
    "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top",
]  # fmt: skip

# An upright person facing the camera, metres about the pelvis.
PERSON = np.array(
    [
        *[(0, -0.5, 0), (0, -0.8, 0), (0, 0, 0)],
        *[(0.2, -0.5, 0), (0.3, -0.2, 0), (0.3, 0, 0), (0.1, 0, 0), (0.1, 0.4, 0), (0.1, 0.8, 0)],
        *[(-0.2, -0.5, 0), (-0.3, -0.2, 0), (-0.3, 0, 0)],
        *[(-0.1, 0, 0), (-0.1, 0.4, 0), (-0.1, 0.8, 0)],
    ],
    np.float32,
)


def person_at(x: float, z: float, y: float = 0.0) -> Body:
    """The upright person with their pelvis there, all joints certain."""
    points = PERSON + np.float32([x, y, z])
    pixels = CAMERA.project(points).astype(np.float32)
    return Body(points, pixels, np.ones(15, np.float32), 0.9)


def label_of(body: Body, **changes: Any) -> dict[str, Any]:
    """The label of a person, fully visible unless told."""
    return {
        "id": 0,
        "joints_3d": body.joints_3d.tolist(),
        "joints_2d": body.joints_2d.tolist(),
        "visibility": [2] * 15,
        "box": list(body.box),
        **changes,
    }


def scene_of(*people: dict[str, Any], key: str | int = "000000", index: int = 0) -> Scene:
    """A scene of labels, grey."""
    return make_scene(
        people,
        CAMERA.to_json(),
        lambda: np.full((300, 400, 3), 90, np.uint8),
        key=key,
        index=index,
        source="test",
    )


def jpeg(width: int = 400, height: int = 300, value: int = 90) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), value, np.uint8))[1].tobytes()


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path) -> Path:
    """Two shards of two pictures each, one person in every picture."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for k in range(2):
        files = {}
        for name in (f"{2 * k:06d}", f"{2 * k + 1:06d}"):
            people = [label_of(person_at(0, 4 + k))]
            labels = {"camera": CAMERA.to_json(), "people": people}
            files[f"{name}.jpg"] = jpeg(value=60 + int(name))
            files[f"{name}.json"] = json.dumps(labels).encode()
            files[f"{name}.mask.png"] = b"not read"
        tar(folder / f"shard-{k:05d}.tar", files)
    (folder / ".shard-00002.tar.17.part").write_bytes(b"unfinished")
    return folder


def lspet_entry(name: str, joints: dict[str, tuple[float, float]]) -> dict[str, Any]:
    rows = [[*joints.get(j, (-1.0, -1.0)), int(j in joints)] for j in LSPET_JOINTS]
    return {"image": name, "width": 120, "height": 200, "joints": rows}


@pytest.fixture
def lspet(tmp_path) -> Callable[..., Path]:
    """Write an archive of labelled photos: ``lspet([{joint: (x, y)}, ...])``."""

    def make(labels: list[dict[str, tuple[float, float]]]) -> Path:
        entries = [lspet_entry(f"images/{k:05d}.jpg", joints) for k, joints in enumerate(labels)]
        path = tmp_path / "lspet.zip"
        with zipfile.ZipFile(path, "w") as archive:
            annotations = {"joint_names": LSPET_JOINTS, "images": entries}
            archive.writestr("annotations.json", json.dumps(annotations))
            for entry in entries:
                archive.writestr(entry["image"], jpeg(120, 200))
        return path

    return make


# 14 joints of someone upright; the torso, shoulders to hips, is 60 px.
UPRIGHT: dict[str, tuple[float, float]] = {
    "neck": (60, 44), "head_top": (60, 20),
    "l_shoulder": (80, 50), "l_elbow": (85, 80), "l_wrist": (88, 105),
    "r_shoulder": (40, 50), "r_elbow": (35, 80), "r_wrist": (32, 105),
    "l_hip": (70, 110), "l_knee": (71, 145), "l_ankle": (72, 180),
    "r_hip": (50, 110), "r_knee": (49, 145), "r_ankle": (48, 180),
}  # fmt: skip
