"""Data sets in the schema of their publishers, tiny and made up, of people of human size."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

from smap_ros.camera import Camera
from smap_ros.skeletons import MPI15, MPI17, SMPL24, Skeleton, convert
from smap_train.data.layouts.mpi_inf_3dhp import MPI28
from smap_train.data.layouts.penn_action import JOINTS as PENN
from smap_train.data.layouts.threedpw import OPENPOSE18

from .bodies import body

FRAMES = 10
HD = Camera(1920, 1080, 1400.0, 1400.0, 960.0, 540.0)
SQUARE = Camera(2048, 2048, 1500.0, 1500.0, 1024.0, 1024.0)
# From the world to the camera: where z is up (3DPW), and where y points down (Panoptic).
TURN = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
STUDIO_TURN = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
SHIFT_M = np.array([0.1, -0.2, 2.5])


def person(target: Skeleton, x: float = 0.0, z: float = 4.0) -> np.ndarray:
    """A person before a camera in another joint set, metres; what mpi15 lacks is at the pelvis."""
    points = body(x, z)[:, 4:7] / 100
    moved = convert(points, MPI15, target)
    missing = np.isnan(moved[:, 0])
    moved[missing] = points[MPI15.root] + 0.01 * np.arange(len(target))[missing, None]
    return moved


def pixels(points: np.ndarray, camera: Camera = HD) -> np.ndarray:
    """Where a camera sees points."""
    return camera.project(points)


def world(points: np.ndarray, turn: np.ndarray = TURN) -> np.ndarray:
    """Points before the camera in the world, metres."""
    return (points - SHIFT_M) @ turn


def write_picture(path: Path, size: tuple[int, int]) -> None:
    """A grey picture of a size (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 90, np.uint8))


def panoptic(folder: Path, scale: float = 1.0) -> Path:
    """A sequence of three frames and two cameras, pictures of one of them."""
    sequence = folder / "170000_game1"
    labels = sequence / "hdPose3d_stage1_coco19"
    labels.mkdir(parents=True)
    cameras = [
        {"name": name, "type": kind, "resolution": [1920, 1080], "panel": 0, "node": 16,
         "K": HD.matrix.tolist(), "distCoef": [-0.1, 0.05, 0, 0, 0], "R": STUDIO_TURN.tolist(),
         "t": (100 * SHIFT_M)[:, None].tolist()}
        for name, kind in (("00_16", "hd"), ("00_30", "hd"), ("01_01", "vga"))
    ]  # fmt: skip
    (sequence / "calibration_170000_game1.json").write_text(json.dumps({"cameras": cameras}))
    for frame in (100, 101, 102):
        bodies = []
        for number, x in enumerate((-0.6, 0.7)):
            rows = np.full((19, 4), 0.9)
            points = np.vstack([person(MPI15, x, 4.0), np.repeat(person(MPI15, x)[:1], 4, 0)])
            rows[:, :3] = 100 * scale * world(points, STUDIO_TURN)
            rows[5, 3] = -1.0  # a wrist that too few cameras saw
            bodies.append({"id": number, "joints19": rows.ravel().tolist()})
        path = labels / f"body3DScene_{frame:08d}.json"
        path.write_text(json.dumps({"version": 0.7, "univTime": 1.0, "bodies": bodies}))
        write_picture(sequence / "hdImgs/00_16" / f"00_16_{frame:08d}.jpg", (1920, 1080))
    return folder


def hmor(folder: Path, **fields: Any) -> Path:
    """HMOR's list of one picture."""
    points = 100 * np.array([person(MPI15, -0.6), person(MPI15, 0.7)])
    seen = np.ones((2, 15, 3), int)
    seen[0, 5] = 0
    entry = {
        "image_name": "170000_game1/hdImgs/00_16/00_16_00000042.jpg", "intrinsics": HD.matrix,
        "joints_3d_cam": points, "joints_3d_vis": seen, **fields,
    }  # fmt: skip
    path = folder / "clean_train.pkl"
    path.write_bytes(pickle.dumps([entry], protocol=2))
    return path


def threedpw_sequence(name: str = "walk_00", **fields: Any) -> dict[str, Any]:
    """Two people; the camera loses the second in frame 4."""
    count = FRAMES
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, :3, :3], extrinsics[:, :3, 3] = TURN, SHIFT_M
    valid = np.ones((2, count), np.int64)
    valid[1, 4] = 0
    joints, found = [], []
    for x in (-0.6, 0.7):
        own = [person(SMPL24, x + 0.01 * k) for k in range(count)]
        joints.append(np.array([world(points).ravel() for points in own]))
        seen = [pixels(person(OPENPOSE18, x + 0.01 * k)) for k in range(count)]
        found.append(np.array([np.vstack([uv.T, np.full(18, 0.8)]) for uv in seen]))
    poses = np.zeros((2, count, 72))
    poses[:, :, 0] = 0.3
    return {
        "sequence": name, "cam_intrinsics": HD.matrix, "cam_poses": extrinsics,
        "jointPositions": joints, "poses": list(poses), "betas": [np.zeros(10), np.zeros(300)],
        "trans": [np.zeros((count, 3))] * 2, "campose_valid": list(valid), "genders": ["m", "f"],
        "poses2d": found, "img_frame_ids": np.arange(count), **fields,
    }  # fmt: skip


def threedpw(folder: Path, **fields: Any) -> Path:
    """The data set with one sequence."""
    files = folder / "sequenceFiles/train"
    files.mkdir(parents=True)
    content = threedpw_sequence(**fields)
    (files / "walk_00.pkl").write_bytes(pickle.dumps(content, protocol=2))
    for k in range(FRAMES):
        write_picture(folder / f"imageFiles/walk_00/image_{k:05d}.jpg", (1920, 1080))
    return folder


def threedpw_json(folder: Path, **fields: Any) -> Path:
    """3DCrowdNet's file of one person."""
    found = np.column_stack([pixels(person(OPENPOSE18)), np.full(18, 0.7)])
    found[5] = 0
    image = {"id": 3, "width": 1920, "height": 1080, "sequence": "walk_00",
             "file_name": "image_00002.jpg",
             "cam_param": {"focal": [1400.0, 1400.0], "princpt": [960.0, 540.0]}}  # fmt: skip
    annotation = {
        "id": 8, "image_id": 3, "bbox": [800, 300, 300, 600], "openpose_result": found.tolist(),
        "smpl_param": {"pose": [0.1] * 72, "shape": [0.0] * 10, "trans": [0.0, 0.1, 4.0],
                       "gender": "male"}, **fields,
    }  # fmt: skip
    path = folder / "3DPW_latest_train.json"
    path.write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    return path


def cells(values: list[np.ndarray]) -> np.ndarray:
    """A MATLAB cell array."""
    held = np.empty((len(values), 1), object)
    for k, value in enumerate(values):
        held[k, 0] = value
    return held


def mpi_inf_3dhp(folder: Path, scale: float = 1.0) -> Path:
    """One sequence of two cameras; in frame 4 the person leaves the first's picture."""
    flat, deep = [], []
    for camera in range(2):
        points = np.array([person(MPI28, 0.1 * camera + 0.01 * k) for k in range(FRAMES)])
        seen = np.array([pixels(one, SQUARE) for one in points])
        if camera == 0:
            seen[4, 3, 0] = 2100
        flat.append(seen.reshape(FRAMES, -1))
        deep.append(1000 * scale * points.reshape(FRAMES, -1))
    place = folder / "S1/Seq1"
    place.mkdir(parents=True)
    savemat(place / "annot.mat", {
        "annot2": cells(flat), "annot3": cells(deep), "univ_annot3": cells(deep),
        "cameras": np.arange(2)[None], "frames": np.arange(FRAMES)[:, None],
    })  # fmt: skip
    return folder


def mupots_json(folder: Path, **fields: Any) -> Path:
    """A picture of a valid person and of one who isn't."""
    points = person(MPI17)
    one = {
        "id": 0, "image_id": 5, "is_valid": 1, "bbox": [800, 200, 400, 800],
        "keypoints_img": pixels(points).tolist(), "keypoints_cam": (1000 * points).tolist(),
        "keypoints_vis": [1] * 17, **fields,
    }  # fmt: skip
    image = {"id": 5, "file_name": "TS1/img_000000.jpg", "width": 1920, "height": 1080,
             "intrinsic": [1400.0, 1400.0, 960.0, 540.0]}  # fmt: skip
    path = folder / "MuPoTS-3D.json"
    path.write_text(json.dumps({
        "images": [image], "annotations": [one, {**one, "id": 1, "is_valid": 0}],
    }))  # fmt: skip
    return path


POSETRACK = (
    "nose head_bottom head_top left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle"
)


def posetrack(folder: Path, **fields: Any) -> Path:
    """One person in ten frames, another in three; ears aren't labelled."""
    place = folder / "annotations/train"
    place.mkdir(parents=True)
    names = POSETRACK.split()
    images = [
        {"id": 10000 + k, "frame_id": 10000 + k, "is_labeled": True, "nframes": FRAMES,
         "file_name": f"images/train/000001_bonn/{k:06d}.jpg", "vid_id": "000001",
         "has_no_densepose": True}
        for k in range(FRAMES)
    ]  # fmt: skip
    people = []
    for track, count in ((0, FRAMES), (1, 3)):
        for k in range(count):
            points = np.array([[100 + 5 * j + k, 50 + 8 * j, 1] for j in range(len(names))])
            points[[3, 4]] = 0
            people.append({
                "id": 100 * track + k, "image_id": 10000 + k, "track_id": track,
                "keypoints": points.ravel().tolist(), "bbox": [90.0, 40.0, 100.0, 160.0],
                "bbox_head": [90, 40, 20, 20], "category_id": 1, "scores": [], **fields,
            })  # fmt: skip
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": names}
    (place / "000001_bonn_train.json").write_text(json.dumps(
        {"images": images, "annotations": people, "categories": [category]}
    ))  # fmt: skip
    return folder / "annotations"


def penn_action(folder: Path, **fields: Any) -> Path:
    """One video of five frames; the left wrist is hidden."""
    (folder / "labels").mkdir(parents=True)
    k, t = np.arange(13.0), np.arange(5.0)[:, None]
    seen = np.ones((5, 13))
    seen[:, PENN.index("l_wrist")] = 0
    savemat(folder / "labels/0001.mat", {
        "x": 100 + 4 * k + t, "y": 50 + 7 * k + 0 * t, "visibility": seen, "nframes": 5,
        "bbox": np.tile([95.0, 45.0, 155.0, 140.0], (5, 1)), "train": 1, "action": "squat",
        "pose": "front", "dimensions": np.array([360, 480, 5]), **fields,
    })  # fmt: skip
    return folder
