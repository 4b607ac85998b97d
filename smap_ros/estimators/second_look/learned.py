"""One pose of two looks by a network that has learned what each of them is worth.

The closed form of :mod:`~smap_ros.estimators.second_look.fusing` weighs both looks joint by joint.
The network sees the whole person by both, and what the closed form makes of them, and corrects
that: pose, place, and points in the picture.

It works in each person's own frame: the camera's axes, turned by the shortest turn that brings the
optical axis onto the ray through the pelvis, and the pelvis for origin. There a pose looks the same
wherever in the picture the person is, and with whatever lens. Points in the picture are metres in
it: where their rays cross the plane through the pelvis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.bundle import Bundle
from smap_ros.camera import Camera
from smap_ros.engines import Engine
from smap_ros.engines.base import TensorSpec
from smap_ros.engines.factory import cpu_runtime, open_model
from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.estimators.second_look.fusing import Seen, turns
from smap_ros.skeletons import MPI15

Float = NDArray[np.float32]
Double = NDArray[np.float64]

JOINTS, ROOT = len(MPI15), MPI15.root
POSES, POINTS, SCORES, NUMBERS = 4, 3, 5, 5  # of each joint; the last of each person
INPUTS = JOINTS * (3 * POSES + 2 * POINTS + SCORES) + NUMBERS
OUTPUTS = JOINTS * (3 + 2)

REACH = 3.0  # metres; what is farther from the pelvis counts as this far
_FLATTEST = 0.2  # of a ray's length along the person's axis; flatter ones cross no plane usefully
_MOST = 1.0  # metres, of a correction
_FARTHER = 0.5  # most of the correction of the distance's logarithm
_LEAST_SPREAD, _LEAST_PRESENCE = 1e-3, 0.01  # of what a logarithm is taken


@dataclass(frozen=True)
class Frames:
    """The people's own frames.

    Attributes:
        turn: float64 [N, 3, 3], from a person's axes to the camera's.
        distance: float64 [N], of the pelvis from the camera, metres.
    """

    turn: Double
    distance: Double

    @classmethod
    def of(cls, joints_3d: Float, joints_2d: Float, camera: Camera) -> Frames:
        """Of people [N, 15, 3] and their points in the picture [N, 15, 2], NaN where unknown.

        The axis goes through the pelvis' point in the picture, or where that isn't known through
        its place.
        """
        roots = joints_3d[:, ROOT].astype(np.float64)
        rays = camera.back_project(joints_2d[:, ROOT], np.ones(len(roots)))
        seen = np.asarray(np.isfinite(rays).all(axis=-1), np.bool_)
        distance = np.asarray(np.linalg.norm(roots, axis=-1), np.float64)
        return cls(turns(np.where(seen[:, None], rays, roots)), distance)

    def turned(self, vectors: NDArray[np.floating]) -> Double:
        """Vectors [N, K, 3] along the camera's axes, along the people's."""
        return np.asarray(vectors.astype(np.float64) @ self.turn, np.float64)

    def back(self, vectors: Double) -> Double:
        """Vectors [N, K, 3] along the people's axes, along the camera's."""
        return np.asarray(vectors @ np.swapaxes(self.turn, 1, 2), np.float64)

    def on_plane(self, points: NDArray[np.floating], camera: Camera) -> Double:
        """Pixels [N, K, 2] in metres on the planes, float64 [N, K, 2]; NaN where they have none."""
        rays = self.turned(camera.back_project(points, np.ones(points.shape[:-1])))
        length = np.linalg.norm(rays, axis=-1, keepdims=True)
        ahead = np.where(rays[..., 2:] >= _FLATTEST * length, rays[..., 2:], np.nan)
        return np.asarray(rays[..., :2] / ahead * self.distance[:, None, None], np.float64)

    def in_picture(self, plane: Double, camera: Camera) -> Double:
        """The pixels of metres on the planes [N, K, 2]."""
        ahead = np.broadcast_to(self.distance[:, None, None], (*plane.shape[:-1], 1))
        return camera.project(self.back(np.concatenate([plane, ahead], axis=-1)))


@dataclass(frozen=True)
class Views:
    """N people by both looks, as the network is told of them.

    Attributes:
        closed_3d: float32 [N, 15, 3], metres, optical frame, by the closed form of both.
        closed_2d: float32 [N, 15, 2], pixels; NaN where no look knows.
        closed_scores: float32 [N, 15].
        first_3d: float32 [N, 15, 3], by the first look, refined.
        first_2d: float32 [N, 15, 2], where the first look saw joints; NaN where missing.
        first_scores: float32 [N, 15]; 0 where missing.
        believed: float [N, 15, 2], pixels, where the first look saw joints or takes them to be.
        poses: float32 [N, 15, 3], that the pelvises tell.
        spread: float32 [N], error to expect of the logarithm of the distance.
        taken: bool [N], whose second look the closed form believes.
        seen: by the second look.
    """

    closed_3d: Float
    closed_2d: Float
    closed_scores: Float
    first_3d: Float
    first_2d: Float
    first_scores: Float
    believed: NDArray[np.floating]
    poses: Float
    spread: Float
    taken: NDArray[np.bool_]
    seen: Seen

    def __getitem__(self, rows: Any) -> Views:
        chosen = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "seen"}
        return Views(**chosen, seen=self.seen[rows])


def fusing_input(views: Views, camera: Camera) -> tuple[Float, Frames]:
    """What the network is fed, float32 [N, 350], and the frames that this is in.

    Four poses of each joint about the pelvis (closed form, first look, second look, told), three
    points on the plane (first look, second look, closed form), five scores (first look, second
    look, closed form, whether it is in the picture, whether a look sees it); then five numbers of
    the person. Zeros where a look says nothing.
    """
    frames = Frames.of(views.closed_3d, views.closed_2d, camera)
    seen, distance = views.seen, frames.distance
    told = _told_about_root(views, camera)
    poses: list[Any] = [_about_root(views.closed_3d), _about_root(views.first_3d), seen.poses, told]
    last = np.array([camera.width, camera.height]) - 0.5
    with np.errstate(invalid="ignore"):
        inside = ((views.believed >= -0.5) & (views.believed <= last)).all(axis=-1)
    first, first_scores = _known(frames, camera, views.first_2d, views.first_scores)
    second, second_scores = _known(frames, camera, seen.joints_2d, seen.scores)
    closed, sees = closed_on_plane(views, frames, camera)
    scores: list[Any] = [first_scores, second_scores, views.closed_scores, inside, sees]
    numbers: list[Any] = [
        np.log(distance),
        np.log(np.maximum(views.spread, _LEAST_SPREAD)),
        np.log(np.clip(np.nan_to_num(seen.presence), _LEAST_PRESENCE, 1)),
        np.log(np.nan_to_num(seen.sides, nan=1.0) / camera.fx * distance),
        views.taken,
    ]
    turned = [frames.turned(np.nan_to_num(pose)) for pose in poses]
    parts = [
        np.clip(np.stack(turned, axis=2), -REACH, REACH),
        np.clip(np.stack([first, second, closed], axis=2), -REACH, REACH),
        np.stack(scores, axis=-1),
        np.stack(numbers, axis=-1),
    ]
    rows = [part.reshape(len(distance), math.prod(part.shape[1:])) for part in parts]
    return np.concatenate(rows, axis=1).astype(np.float32), frames


def closed_on_plane(
    views: Views, frames: Frames, camera: Camera
) -> tuple[Double, NDArray[np.bool_]]:
    """Joints in the picture by the closed form, in metres on the plane, and which it has seen.

    Those it hasn't are where its pose has them; float64 [N, 15, 2] and bool [N, 15].
    """
    plane = frames.on_plane(views.closed_2d, camera)
    sees = (views.closed_scores > 0) & np.isfinite(plane).all(axis=-1)
    pose = frames.turned(_about_root(views.closed_3d))
    depth = np.maximum(
        frames.distance[:, None] + pose[..., 2], _FLATTEST * frames.distance[:, None]
    )
    projected = pose[..., :2] * (frames.distance[:, None] / depth)[..., None]
    return np.where(sees[..., None], plane, projected), np.asarray(sees, np.bool_)


def fused_output(
    output: Float, views: Views, frames: Frames, camera: Camera
) -> tuple[Float, Float]:
    """The people as the network corrects them.

    Args:
        output: float32 [N, 75], in the people's frames and metres: 15 corrections of the pose, of
            which the root's row moves the person (on the plane, and the distance's logarithm), then
            15 of the points on the plane.
        views, frames, camera: that its input was made of.

    Returns:
        Joints float32 [N, 15, 3], metres, optical frame, and float32 [N, 15, 2], pixels, NaN where
        the closed form has none. People without finite corrections stay as that had them. Those
        whose second look it refused are posed anew, and stay as far away as they were, on the ray
        through their pelvis' point.

    Raises:
        InputError: if the output doesn't have that shape.
    """
    people = len(frames.distance)
    if output.shape != (people, OUTPUTS):
        raise InputError(
            f"the fusing network's output has shape {output.shape}, expected {(people, OUTPUTS)}: "
            f"one row for each of the {people} people"
        )
    finite = np.asarray(np.isfinite(output).all(axis=1), np.bool_)
    corrections = np.clip(output.astype(np.float64), -_MOST, _MOST)
    usable = finite[:, None, None]
    # An answer that the closed form refused may be of somebody else, and draw people onto them.
    believed = views.taken[:, None]
    pose = corrections[:, : 3 * JOINTS].reshape(people, JOINTS, 3)
    moved = np.where(believed, pose[:, ROOT], 0.0)
    farther = np.exp(np.clip(moved[:, 2], -_FARTHER, _FARTHER))
    way = np.concatenate([moved[:, :2], frames.distance[:, None]], axis=1)
    way *= (frames.distance * farther / np.linalg.norm(way, axis=1))[:, None]
    pose[:, ROOT] = 0
    joints = frames.back(frames.turned(_about_root(views.closed_3d)) + pose + way[:, None])
    ahead = np.asarray(joints[:, ROOT, 2] > 0)  # who would be behind the camera stays
    placed = np.isfinite(views.closed_3d) & np.isfinite(joints)
    joints = np.where(usable & ahead[:, None, None] & placed, joints, views.closed_3d)

    plane, sees = closed_on_plane(views, frames, camera)
    moves = np.where(believed, corrections[:, 3 * JOINTS :], 0.0)
    plane = plane + moves.reshape(people, JOINTS, 2)
    pixels = frames.in_picture(plane, camera)
    flat = ((views.closed_scores > 0) & ~sees)[..., None]  # seen where no plane is
    known = np.isfinite(views.closed_2d) & np.isfinite(pixels) & ~flat
    pixels = np.where(usable & known, pixels, views.closed_2d)
    return joints.astype(np.float32), pixels.astype(np.float32)


def open_fusing(bundle: Bundle, preferred: str) -> Engine:
    """The fusing network on a CPU runtime: a million products a person, any number of rows.

    Raises:
        BundleError: if it doesn't map 350 numbers to 75.
        EngineError: if there is no CPU runtime.
    """
    runtime = cpu_runtime(preferred)
    if runtime is None:
        raise EngineError(
            f"bundle {bundle.name!r} has a network that makes one person of two looks, which needs "
            "a CPU runtime; pip install onnxruntime, or create the estimator with second_look=False"
        )
    engine = open_model(bundle.read("fuse"), runtime, 1)
    expected = (TensorSpec("input", (None, INPUTS), "float32"),
                TensorSpec("output", (None, OUTPUTS), "float32"))  # fmt: skip
    got = (*engine.inputs, *engine.outputs)
    if [(s.shape, s.dtype) for s in got] != [(s.shape, s.dtype) for s in expected]:
        engine.close()
        raise BundleError(
            f"the fusing network of bundle {bundle.name!r} has {', '.join(map(str, got))}; "
            f"expected float32[any, {INPUTS}] to float32[any, {OUTPUTS}]. Export it with a free "
            "first axis"
        )
    return engine


def _about_root(joints_3d: Float) -> Float:
    """Joints relative to the pelvis; where missing, at the pelvis."""
    return np.asarray(np.nan_to_num(joints_3d - joints_3d[:, ROOT, None]), np.float32)


def _told_about_root(views: Views, camera: Camera) -> Double:
    """The told poses along the camera's axes, which are as far beside the pelvis as they look.

    See :class:`~smap_ros.estimators.smap.lifting.Lifted`; NaN where a joint would be behind the
    camera.
    """
    roots = views.closed_3d[:, ROOT].astype(np.float64)
    depth = roots[:, None, 2] + views.poses[..., 2]
    scale = np.array([camera.fx, camera.fy]) / roots[:, None, 2:]
    pixels = camera.project(roots)[:, None] + views.poses[..., :2] * scale
    joints = camera.back_project(pixels, np.where(depth > 0, depth, np.nan))
    return np.asarray(joints - roots[:, None], np.float64)


def _known(
    frames: Frames, camera: Camera, pixels: NDArray[np.floating], scores: NDArray[np.floating]
) -> tuple[Double, Double]:
    """Points on the plane and their scores, both 0 where a look sees nothing or no plane is."""
    plane = frames.on_plane(pixels, camera)
    known = np.asarray((np.nan_to_num(scores) > 0) & np.isfinite(plane).all(axis=-1), np.bool_)
    return np.where(known[..., None], plane, 0.0), np.where(known, scores, 0.0)
