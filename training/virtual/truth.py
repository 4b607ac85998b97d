"""Exact ground truth of a rendered scene.

Schema of a sample's JSON (metres; camera optical frame x right, y down, z forward; pixels with
integer coordinates at pixel centres)::

    {"camera": {"fx", "fy", "cx", "cy", "width", "height"},
     "people": [{"id": int,                  # unique in the scene; kept over a sequence
                 "joints_3d": [[x, y, z]] * 15,   # mpi15 order
                 "joints_2d": [[u, v]] * 15,      # may lie outside the image
                 "visibility": [v] * 15,          # 0 outside the image, 1 occluded, 2 visible
                 "box": [x, y, w, h],             # of the body, clipped to the image
                 "pixels": int,                   # of the person that can be seen
                 "height": float, "posture": str}],
     "floor": {"normal": [x, y, z], "distance": d},   # points p on the floor: normal . p = -d
     "seed": int, "index": int}

mpi15: neck, head_top, pelvis, l_shoulder, l_elbow, l_wrist, l_hip, l_knee, l_ankle, r_shoulder,
r_elbow, r_wrist, r_hip, r_knee, r_ankle; left and right are the person's own. People of whom
nothing can be in the picture are left out; people hidden by others are kept, with visibility 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.virtual.bodies import Body, BodyModel
from smap_train.virtual.people import Person
from smap_train.virtual.posing import at_rest, mpi15_joints
from smap_train.virtual.renderer import Frame, View

OUTSIDE, OCCLUDED, VISIBLE = 0, 1, 2
# Flesh and cloth between a limb's joint and the surface in front of it, metres on a body of
# 1.7 m; joints of the trunk are measured on each body.
_LIMB_DEPTH = {"head_top": 0.13, "shoulder": 0.13, "elbow": 0.1, "wrist": 0.08, "knee": 0.11}
_LIMB_DEPTH["ankle"] = _LIMB_DEPTH["knee"]
_CLOTH = 0.04


def flesh_depth(body: Body, model: BodyModel) -> NDArray[np.float64]:
    """How far in front of each joint the body's own surface may be, metres [15].

    Neck and pelvis are midpoints deep inside the trunk, seen from the side through half its
    breadth; hips through the belly or the seat.
    """
    rest = mpi15_joints(body, model, at_rest(body))
    skin = body.vertices[model.skin_vertices[::3]]
    out = np.empty(len(MPI15))
    for k, name in enumerate(MPI15.joints):
        part = name.removeprefix("l_").removeprefix("r_")
        if part in _LIMB_DEPTH:
            out[k] = _LIMB_DEPTH[part] * body.height / 1.7
            continue
        level = np.abs(skin[:, 2] - rest[k, 2]) < 0.04
        # At rest the body faces -y with its arms away from the hips.
        slab = skin[level & (np.abs(skin[:, 0] - rest[k, 0]) < 0.06)] - rest[k]
        out[k] = np.abs(slab[:, 1]).max() + _CLOTH
        if part in ("neck", "pelvis"):
            pair = "l_shoulder" if part == "neck" else "l_hip"
            half = np.linalg.norm(rest[MPI15.index(pair)] - rest[k])
            out[k] = max(out[k], half + 0.09 + _CLOTH)
    return out


def joint_visibility(
    joints: NDArray[np.floating],
    pixels: NDArray[np.floating],
    frame: Frame,
    label: int,
    flesh: NDArray[np.floating],
) -> NDArray[np.int64]:
    """Visibility of one person's joints by comparison with the depth picture.

    A joint lies inside the body, so the surface in front of it may be nearer by the thickness
    of that body part if it belongs to the same person; any other surface must be behind it.

    Args:
        joints: in the optical frame [15, 3]; pixels: their projections [15, 2].
        label: the person's label in ``frame.labels``; flesh: see :func:`flesh_depth`.
    """
    h, w = frame.labels.shape
    column, row = np.rint(pixels).astype(np.int64).T
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h) & (joints[:, 2] > 0)
    column, row = np.clip(column, 0, w - 1), np.clip(row, 0, h - 1)
    own = frame.labels[row, column] == label
    margin = np.where(own, flesh, 0.0)
    seen = frame.depth[row, column] >= joints[:, 2] - margin
    return np.where(inside, np.where(seen, VISIBLE, OCCLUDED), OUTSIDE)


def describe(
    person: Person, identity: int, label: int, model: BodyModel, view: View, frame: Frame
) -> dict[str, Any] | None:
    """Truth of one person, or None if nothing of them can be in the picture."""
    joints = view.to_camera(person.joints(model))
    pixels = view.project(joints)
    flesh = flesh_depth(person.body, model)
    visibility = joint_visibility(joints, pixels, frame, label, flesh)
    count = int((frame.labels == label).sum())
    if count == 0 and not visibility.any():
        return None
    return {
        "id": identity,
        "joints_3d": np.round(joints, 5).tolist(),
        "joints_2d": np.round(pixels, 3).tolist(),
        "visibility": visibility.tolist(),
        "box": _box(person, model, view),
        "pixels": count,
        "height": round(person.body.height, 4),
        "posture": person.posture,
    }


def _box(person: Person, model: BodyModel, view: View) -> list[float]:
    """Bounding box [x, y, w, h] of the body, clipped to the image; zeros if it is outside."""
    at = model.skin_vertices[::3]
    points = view.to_camera(person.posed.skin(person.body.vertices[at], model.weights[at]))
    points = points[points[:, 2] > 0.05]
    if not len(points):
        return [0.0, 0.0, 0.0, 0.0]
    size = np.array([view.camera.width, view.camera.height])
    pixels = view.project(points)
    low, high = np.clip(pixels.min(0), 0, size - 1), np.clip(pixels.max(0), 0, size - 1)
    return np.round(np.concatenate([low, high - low]), 2).tolist()


def floor_plane(view: View) -> dict[str, Any]:
    """The floor z = 0 in the optical frame: normal . p = -distance."""
    return {
        "normal": np.round(view.rotation @ np.array([0.0, 0, 1]), 6).tolist(),
        "distance": round(float(view.eye[2]), 5),
    }
