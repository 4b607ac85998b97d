"""What 3DCrowdNet learns of a person seen in a crop: joints in cells and metres, a fitted body."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_ros.skeletons import SMPL24, SMPL30
from smap_train.data.layouts.persons import Float64, Person, PersonRecord
from smap_train.data.person_crop import View, turn_of, viewed
from smap_train.models.crowdnet.body import INPUT_SIZE, ROOT, CrowdBody
from smap_train.models.crowdnet.guidance import HEATMAP_SIZE
from smap_train.models.layers.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from smap_train.targets.volume import cells

HALF_RANGE_M = 1.0
# Fits say little of where feet and hands are turned to.
_UNSURE = [f"{side}_{end}" for side in "lr" for end in ("ankle", "foot", "wrist", "hand")]
POSE_MASK = np.repeat([joint not in _UNSURE for joint in SMPL24.joints], 3).astype(np.float32)


def annotated(seen: Person, view: View) -> dict[str, NDArray[np.floating]]:
    """Targets of the labelled joints; names and shapes as of ``losses.mesh.MeshTargets``.

    Args:
        seen: joints of smpl30, in pixels of the crop, and metres.
        view: how the crop is turned.
    """
    image, mask = _in_crop(seen)
    return {
        "joints_img": image, "joints_img_mask": mask[:, None],
        "joints_cam": _about_root(seen, view), "joints_cam_mask": seen.placed[:, None],
        "has_3d": np.array(seen.placed[ROOT]),
    }  # fmt: skip


def fitted(
    record: PersonRecord, body: CrowdBody | None, matrix: Float64, view: View
) -> dict[str, NDArray[np.floating]]:
    """Targets of the fitted body; zeros that count for nothing where there is none."""
    if body is None or len(record.fit) == 0 or not record.camera[0] > 0:
        count = len(SMPL30)
        return {
            "fit_joints_img": np.zeros((count, 3)), "fit_joints_img_mask": np.zeros((count, 1)),
            "fit_joints_cam": np.zeros((count, 3)), "pose": np.zeros(72), "shape": np.zeros(10),
            "pose_mask": POSE_MASK, "has_fit": np.array(0.0),
        }  # fmt: skip
    pose, shape, place, rotation, translation = np.split(record.fit[0], [72, 82, 85, 94])
    joints = fit_joints(body, pose, shape) + place
    points = joints @ rotation.reshape(3, 3).T + translation
    focal, center = record.camera[:2], record.camera[2:]
    everywhere = np.ones(len(points), bool)
    person = Person(points[:, :2] / points[:, 2:] * focal + center, points, everywhere, everywhere)
    seen = viewed(person, matrix, view, SMPL30.flip)
    image, mask = _in_crop(seen)
    turned = turned_pose(pose, rotation.reshape(3, 3), view)
    return {
        "fit_joints_img": image, "fit_joints_img_mask": mask[:, None],
        "fit_joints_cam": _about_root(seen, view), "pose": turned, "shape": shape,
        "pose_mask": POSE_MASK, "has_fit": np.array(1.0),
    }  # fmt: skip


def fit_joints(body: CrowdBody, pose: Float64, shape: Float64) -> Float64:
    """The 30 joints of a body in the world of its fit, without its translation, metres."""
    with torch.inference_mode():
        rotations = axis_angle_to_matrix(torch.from_numpy(pose).float().view(1, -1, 3))
        vertices = body(torch.from_numpy(shape).float()[None], rotations).vertices
        return body.joints30(vertices)[0].double().numpy()


def turned_pose(pose: Float64, rotation: Float64, view: View) -> Float64:
    """A pose as the crop shows it: seen by the camera, in the mirror, turned with the crop.

    Args:
        pose: axis-angle, float64 [72].
        rotation: from the fit's world to the camera, [3, 3].
        view: how the crop is mirrored and turned.
    """
    angles = pose.reshape(-1, 3).copy()
    angles[0] = _root(rotation, angles[0])
    if view.flip:
        angles = angles[SMPL24.flip] * (1.0, -1.0, -1.0)
    about_axis = np.eye(3)
    about_axis[:2, :2] = turn_of(view)
    angles[0] = _root(about_axis, angles[0])
    return angles.ravel()


def _root(rotation: Float64, angles: Float64) -> Float64:
    """An axis-angle vector behind a rotation."""
    own = axis_angle_to_matrix(torch.from_numpy(angles)[None])
    turned: Tensor = torch.from_numpy(rotation) @ own
    return np.asarray(matrix_to_axis_angle(turned)[0])


def _in_crop(seen: Person) -> tuple[Float64, NDArray[np.bool_]]:
    return cells(seen, ROOT, INPUT_SIZE, HEATMAP_SIZE, HALF_RANGE_M)


def _about_root(seen: Person, view: View) -> Float64:
    """Joints about the root, metres, turned with the crop; zeros where there are none."""
    about: Float64 = np.where(seen.placed[:, None], seen.points - seen.points[ROOT], 0.0)
    about[:, :2] = about[:, :2] @ turn_of(view).T
    return about


def tensors(targets: Mapping[str, NDArray[np.floating]]) -> dict[str, Tensor]:
    """Targets as float32 tensors."""
    return {name: torch.from_numpy(np.asarray(v, np.float32)) for name, v in targets.items()}
