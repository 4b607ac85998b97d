"""Bodies and frames of bodies: the one currency between all parts of the system.

Coordinates are metres in the camera's optical frame (x right, y down, z forward) and
pixels of the original image (x, then y). A missing joint has score 0 and NaN coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import InputError, reason
from smap_ros.skeletons import MPI15, Skeleton, get_skeleton

Float = NDArray[np.float32]

_IDS = range(-(2**63), 2**63)  # trackers count in int64

# Score of a joint that was inferred, not seen: present, but below what a picture can support.
INFERRED_SCORE = 0.1

ANKLE_HEIGHT = 0.09  # metres from the sole of a foot to its ankle; virtual people's: 0.07 to 0.12


def were_seen(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Which joints were seen, not inferred from others, by their scores; bool of their shape."""
    return np.asarray(scores > np.float32(INFERRED_SCORE), np.bool_)


@dataclass(frozen=True, eq=False)
class Mesh:
    """The surface of one person.

    Attributes:
        vertices: float32 [V, 3], metres, optical frame.
        faces: int32 [F, 3], indices of each triangle's corners, outside counterclockwise.
    """

    vertices: Float
    faces: NDArray[np.int32]

    def __post_init__(self) -> None:
        for name in ("vertices", "faces"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[1] != 3:
                raise InputError(f"{name} has shape {shape}, expected (N, 3)")


@dataclass(frozen=True, eq=False)
class Body:
    """One person seen in one image.

    Attributes:
        joints_3d: float32 [J, 3], metres, optical frame; NaN where missing.
        joints_2d: float32 [J, 2], pixels of the original image; NaN where missing.
        scores: float32 [J] in [0, 1]; 0 where missing.
        score: confidence of the person in [0, 1].
        id: track id, or None when not tracked.
        skeleton: joint set of the three arrays.
        mesh: surface, from the models that give one; not part of ``bodies.json``.
        depth_std: standard deviation of the root's depth, metres; NaN when it is not known.

    Examples:
        >>> joints = np.full((15, 3), np.nan, np.float32)
        >>> joints[MPI15.root] = 0.1, 0.3, 2.5
        >>> seen = np.isfinite(joints[:, 0]).astype(np.float32)
        >>> body = Body(joints, joints[:, :2] * 100, seen, score=0.9)
        >>> int(body.present.sum()), round(float(body.root[2]), 3)
        (1, 2.5)
    """

    joints_3d: Float
    joints_2d: Float
    scores: Float
    score: float
    id: int | None = None
    skeleton: Skeleton = MPI15
    mesh: Mesh | None = None
    depth_std: float = math.nan

    def __post_init__(self) -> None:
        count = len(self.skeleton)
        for name, shape in (("joints_3d", (count, 3)), ("joints_2d", (count, 2))):
            got = getattr(self, name).shape
            if got != shape:
                raise InputError(
                    f"{name} has shape {got}, expected {shape} for {self.skeleton.name}"
                )
        if self.scores.shape != (count,):
            raise InputError(
                f"scores has shape {self.scores.shape}, expected {(count,)} "
                f"for {self.skeleton.name}"
            )

    @property
    def root(self) -> Float:
        """Position of the root joint, float32 [3], metres; NaN when missing."""
        position: Float = self.joints_3d[self.skeleton.root]
        return position

    @property
    def present(self) -> NDArray[np.bool_]:
        """Joints with a finite 3D position and a score above 0, bool [J]."""
        return (self.scores > 0) & np.isfinite(self.joints_3d).all(axis=1)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Joints that were seen, not inferred from others, bool [J]."""
        return were_seen(self.scores)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Tight box of the joints in the image: x, y, width, height in pixels; NaN if none."""
        points = self.joints_2d[np.isfinite(self.joints_2d).all(axis=1)]
        if len(points) == 0:
            return (math.nan,) * 4
        low, high = points.min(axis=0), points.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])

    def to_json(self) -> dict[str, Any]:
        """Plain data as in ``bodies.json``; missing coordinates become null."""
        rows_2d = np.concatenate([self.joints_2d, self.scores[:, None]], axis=1)
        rows_3d = np.concatenate([self.joints_3d, self.scores[:, None]], axis=1)
        return {
            "id": self.id,
            "score": _number(self.score),
            "joints_2d": [[_number(v) for v in row] for row in rows_2d],
            "joints_3d": [[_number(v) for v in row] for row in rows_3d],
            **({"depth_std": _number(self.depth_std)} if math.isfinite(self.depth_std) else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], skeleton: Skeleton = MPI15) -> Body:
        """Inverse of :meth:`to_json`.

        Raises:
            InputError: if a field is missing or has the wrong shape.
        """
        try:
            rows_2d = np.array(data["joints_2d"], dtype=np.float32)
            rows_3d = np.array(data["joints_3d"], dtype=np.float32)
            return cls(
                joints_3d=rows_3d[:, :3],
                joints_2d=rows_2d[:, :2],
                scores=np.nan_to_num(rows_3d[:, 3]),
                score=_finite(data["score"]),
                id=_identity(data.get("id")),
                skeleton=skeleton,
                depth_std=float(data.get("depth_std", math.nan)),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"not a body: {reason(error)}; expected id, score, joints_2d "
                f"[{len(skeleton)}][u, v, score] and joints_3d [{len(skeleton)}][x, y, z, score]"
            ) from error


@dataclass(frozen=True)
class BodyFrame:
    """All people of one image.

    Attributes:
        bodies: the people, nearest first unless a tracker reordered them.
        camera: the camera of the image.
        stamp: time of the image in seconds (ROS time, or time in the file).
        frame_id: name of the camera's optical frame.
        source: where the image came from (file, topic).
        index: number of the image in its source.
        dropped: people that were seen but can't be placed, by reason.
        timings_ms: milliseconds by stage, in order.
        notes: numbers for diagnostics that only some models have, by name.
        pending: nothing can be said of any image yet; see ``estimators.base.Delayed``.
        detector: sha256 of the network that saw the image, by which a learned smoother knows it;
            empty where nobody knows; not part of ``bodies.json``.
    """

    bodies: tuple[Body, ...]
    camera: Camera
    stamp: float = 0.0
    frame_id: str = ""
    source: str = ""
    index: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, float] = field(default_factory=dict)
    pending: bool = False
    detector: str = ""

    def __len__(self) -> int:
        return len(self.bodies)

    def __iter__(self) -> Iterator[Body]:
        return iter(self.bodies)

    def with_bodies(self, bodies: tuple[Body, ...]) -> BodyFrame:
        """The same frame with other people."""
        return replace(self, bodies=bodies)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``frames`` in ``bodies.json``."""
        return {
            "source": self.source,
            "index": self.index,
            "stamp": self.stamp,
            "camera": self.camera.to_json(),
            "bodies": [body.to_json() for body in self.bodies],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], skeleton: str = MPI15.name) -> BodyFrame:
        """Inverse of :meth:`to_json`.

        Raises:
            InputError: if a field is missing or malformed.
        """
        try:
            bodies = tuple(Body.from_json(b, get_skeleton(skeleton)) for b in data["bodies"])
            named = [body.id for body in bodies if body.id is not None]
            if len(set(named)) < len(named):
                raise ValueError(f"two people have one id among {named}")
            return cls(
                bodies=bodies,
                camera=Camera.from_json(data["camera"]),
                stamp=float(data["stamp"]),
                source=str(data["source"]),
                index=int(data["index"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"not a frame of bodies: {reason(error)}; expected source, index, stamp, camera, "
                "bodies"
            ) from error


def _number(value: float) -> float | None:
    """JSON has no NaN: a missing number is null."""
    return round(float(value), 5) if math.isfinite(value) else None


def _finite(value: Any) -> float:
    if not math.isfinite(float(value)):
        raise ValueError(f"score is {value}")
    return float(value)


def _identity(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():  # as tables write them
        value = int(value)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"id is {value!r}, not a whole number or null")
    if value not in _IDS:
        raise ValueError(f"id is {value}, not in [-2^63, 2^63 - 1]")
    return value
