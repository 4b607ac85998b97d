"""Motion capture: CMU sequences as poses of the segments.

The file holds, at 60 Hz, ``root_m`` (metres, y up) and ``rotvec`` per joint with ``parents``
and ``offsets_m``, in row-vector convention: R_global[j] = R_local[j] @ R_global[parent].
CMU Graphics Lab Motion Capture Database (mocap.cs.cmu.edu), free for all uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError, reason
from smap_train.virtual.bodies import SEGMENT_INDEX, SEGMENTS
from smap_train.virtual.geometry import aligning, between, rotation_from_vector

# Sequences never used for training, so that tests and the demo clip show unseen motion.
HELD_OUT_MOTIONS: frozenset[str] = frozenset(
    {
        "basketball_2",
        "basketball_signal_3",
        "directing_traffic_4",
        "jumping_4",
        "running_5",
        "soccer_2",
        "walking_1",
        "walking_22",
        "walking_25",
        "walking_33",
        "walking_48",
    }
)

# y up, facing z  ->  z up, facing -y; x is the left side in both.
_TO_WORLD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
# Segment -> mocap joint whose rotation turns it.
_DRIVER: dict[str, str] = {
    "pelvis": "root",
    "spine_low": "lowerback_dummy",
    "spine_mid": "lowerback",
    "chest": "upperback",
    "neck": "lowerneck",
    "head": "upperneck",
    **{
        f"{s}_{segment}": joint.format(s=s)
        for s in "lr"
        for segment, joint in (
            ("clavicle", "{s}clav_dummy"),
            ("upperarm", "{s}_shoulder"),
            ("forearm", "{s}_elbow"),
            ("hand", "{s}_wrist"),
            ("thigh", "{s}_hip"),
            ("shin", "{s}_knee"),
            ("foot", "{s}_ankle"),
        )
    },
}
_LIMB_END = {"upperarm": "elbow", "forearm": "wrist", "thigh": "knee", "shin": "ankle"}
_DIRECTIONS = tuple(f"{s}_{joint}" for s in "lr" for joint in _LIMB_END.values())
_LONGEST_LEG = 2.0  # metres; longer ones are in centimetres or inches
# Nobody turns so fast, radians/second (CMU's 72 motions where they are whole: 9.2): angles told
# near where they are ambiguous throw people to the floor, or into the air, for some frames.
_FASTEST = math.radians(1200)
_STEP_S = 1 / 60  # over which turns are measured: between nearer frames noise is fast
_AROUND_S = 0.15  # before and after such a turn people already lean
# Who is thrown slowly lies where nothing bears them: by how far the pelvis is upright, its height
# and how far down the legs reach, as shares of the legs' length. Before and after they lean.
_LIES, _HIGH, _REACH, _LEANS = 0.5, 0.8, 0.6, 0.87
# Not turned at all in the pose that the skeleton was fitted in, with which CMU's files begin.
_STRAIGHT = ("root", "l_elbow", "r_elbow", "l_knee", "r_knee")


@dataclass(frozen=True)
class Motion:
    """One sequence.

    Attributes:
        name: its name in the file; fps: frames a second.
        poses: global rotations from neutral, float32 [F, S, 3, 3].
        path: pelvis position, float64 [F, 3], z up, metres, for a leg of ``leg_length``.
        leg_length: hip to ankle of the actor, metres.
    """

    name: str
    fps: float
    poses: NDArray[np.float32]
    path: NDArray[np.float64]
    leg_length: float

    def __len__(self) -> int:
        return len(self.poses)

    def at(self, frame: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pose [S, 3, 3] and pelvis position [3] at any frame number; the ends are held."""
        frame = min(max(frame, 0.0), len(self) - 1.0)
        k, share = int(frame), frame - int(frame)
        after = min(k + 1, len(self) - 1)
        pose = between(self.poses[k], self.poses[after], share)
        return pose, (1 - share) * self.path[k] + share * self.path[after]


class MotionLibrary:
    """Sequences of one file, converted when first asked for."""

    def __init__(self, path: Path, split: str = "train") -> None:
        """Open ``path``.

        Args:
            split: ``train`` (without :data:`HELD_OUT_MOTIONS`), ``held_out`` or ``all``.

        Raises:
            InputError: if the file is missing or damaged, lacks a key, has arrays of other shapes
                or without numbers, or leaves no sequence.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                self._arrays = {key: data[key] for key in data.files}
            self._joints = [str(name) for name in self._arrays["joint_names"]]
            self._parents = self._arrays["parents"].astype(np.int64)
            self._offsets = self._arrays["offsets_m"].astype(np.float64)
            self._fps = float(self._arrays["fps"])
            self._check_skeleton()
            every = sorted({key.split("/")[1] for key in self._arrays if key.startswith("seq/")})
            for name in every:
                self._check_sequence(name)
        except Exception as error:  # numpy and zipfile raise what they like of damaged files
            raise InputError(
                f"can't read motions from {path}: {reason(error)}; expected an .npz with "
                "joint_names, parents, offsets_m, fps, seq/NAME/root_m and seq/NAME/rotvec"
            ) from error
        keep = {
            "train": lambda name: name not in HELD_OUT_MOTIONS,
            "held_out": lambda name: name in HELD_OUT_MOTIONS,
            "all": lambda name: True,
        }[split]
        self.names = [name for name in every if keep(name)]
        if not self.names:
            raise InputError(f"{path} has no sequence of the split {split!r}; it has {every}")
        self._made: dict[str, Motion] = {}

    def __getitem__(self, name: str) -> Motion:
        if name not in self._made:
            self._made[name] = self._convert(name)
        return self._made[name]

    def _check_skeleton(self) -> None:
        """Raise an error of Python's of a skeleton that is none of CMU's in metres."""
        count = len(self._joints)
        missing = {*_DRIVER.values(), *_DIRECTIONS} - set(self._joints)
        if missing:
            raise ValueError(f"joint_names lacks {', '.join(sorted(missing))}")
        if self._offsets.shape != (count, 3) or not np.isfinite(self._offsets).all():
            shape = self._offsets.shape
            raise ValueError(f"offsets_m has the shape {shape} or NaN; expected {(count, 3)}")
        if self._parents.shape != (count,) or not (self._parents < np.arange(count)).all():
            raise ValueError(f"parents is {self._parents.tolist()}; expected them before children")
        if not 0 < self._leg() < _LONGEST_LEG:
            raise ValueError(f"offsets_m has legs of {self._leg():g} m; expected metres")
        if not 0 < self._fps < np.inf:
            raise ValueError(f"fps is {self._fps}; expected frames a second")

    def _check_sequence(self, name: str) -> None:
        """Raise an error of Python's of a sequence that can't be played."""
        turns, path = self._arrays[f"seq/{name}/rotvec"], self._arrays[f"seq/{name}/root_m"]
        frames = (len(turns), len(self._joints), 3)
        if not len(turns) or turns.shape != frames or path.shape != (len(turns), 3):
            raise ValueError(
                f"seq/{name} has rotvec of the shape {turns.shape} and root_m {path.shape}; "
                f"expected [F, {len(self._joints)}, 3] and [F, 3]"
            )
        for key, values in (("rotvec", turns), ("root_m", path)):
            broken = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if broken.any():
                raise ValueError(f"seq/{name}/{key} has no numbers in frame {broken.argmax()}")

    def _leg(self) -> float:
        """Hip to ankle, metres."""
        return float(sum(np.linalg.norm(self._offset(f"l_{j}")) for j in ("knee", "ankle")))

    def _convert(self, name: str) -> Motion:
        local = rotation_from_vector(self._arrays[f"seq/{name}/rotvec"])  # [F, J, 3, 3]
        world = np.empty_like(local)
        for k, parent in enumerate(self._parents):
            world[:, k] = local[:, k] if parent < 0 else local[:, k] @ world[:, parent]
        columns = np.swapaxes(world, -1, -2)  # column vectors from here on
        poses = np.empty((len(local), len(SEGMENTS), 3, 3), dtype=np.float32)
        for segment, joint in _DRIVER.items():
            turn = _TO_WORLD @ columns[:, self._joints.index(joint)] @ _TO_WORLD.T
            poses[:, SEGMENT_INDEX[segment]] = turn @ self._from_neutral(segment)
        path = self._arrays[f"seq/{name}/root_m"].astype(np.float64) @ _TO_WORLD.T
        if self._begins_fitted(name):
            poses[0], path[0] = poses[1], path[1]
        whole = _longest(~_thrown(poses, path, self._leg(), self._fps))
        return Motion(name, self._fps, poses[whole], path[whole], self._leg())

    def _begins_fitted(self, name: str) -> bool:
        """Whether the first frame is no motion but the pose that the skeleton was fitted in."""
        first = self._arrays[f"seq/{name}/rotvec"][:2, [self._joints.index(j) for j in _STRAIGHT]]
        return len(first) == 2 and bool(not first[0].any() and first[1].any())

    def _offset(self, joint: str) -> NDArray[np.float64]:
        return self._offsets[self._joints.index(joint)]

    def _from_neutral(self, segment: str) -> NDArray[np.float64]:
        """Neutral (limbs straight down) to the zero pose of the capture skeleton (a T)."""
        side, _, part = segment.partition("_")
        part = "forearm" if part == "hand" else part
        if side not in ("l", "r") or part not in _LIMB_END:
            return np.eye(3)
        # A chain, as in `straightening`: the lower segment follows the upper one first.
        upper = {"forearm": "upperarm", "shin": "thigh"}.get(part)
        before = self._from_neutral(f"{side}_{upper}") if upper else np.eye(3)
        direction = _TO_WORLD @ self._offset(f"{side}_{_LIMB_END[part]}")
        return aligning(before @ np.array([0.0, 0, -1]), direction) @ before


def _thrown(
    poses: NDArray[np.float32], path: NDArray[np.float64], leg: float, fps: float
) -> NDArray[np.bool_]:
    """Where angles throw somebody about, and shortly before and after, bool [F].

    Args:
        poses: [F, S, 3, 3].
        path: [F, 3], of the pelvis, metres.
        leg: its length, metres.
        fps: frames a second.
    """
    up = poses[:, :, 2, 2]  # of each segment, 1 where it is upright
    trunk = up[:, SEGMENT_INDEX["pelvis"]]
    legs = [up[:, [SEGMENT_INDEX[f"{s}_{part}"] for part in ("thigh", "shin")]] for s in "lr"]
    reach = np.max([leg_.mean(axis=1) for leg_ in legs], axis=0)
    wrong = (trunk < _LIES) & (path[:, 2] > _HIGH * leg) & (reach < _REACH)
    step = max(1, round(_STEP_S * fps))
    speeds = _speeds(poses[::step, SEGMENT_INDEX["pelvis"]], fps / step)
    for k in step * np.flatnonzero(speeds > _FASTEST):
        wrong[k : k + step + 1] = True
    thrown = _runs_with(wrong | (trunk < _LEANS), wrong)
    around = round(_AROUND_S * fps)
    wider = np.convolve(thrown, np.ones(2 * around + 1))[around : around + len(thrown)]
    return np.asarray(wider > 0.5)


def _runs_with(runs: NDArray[np.bool_], marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those runs of True in which something is marked, bool [F]."""
    number = np.cumsum(np.diff(runs, prepend=False) & runs) * runs  # of its run; 0: of none
    return np.asarray(np.isin(number, number[marked & runs]) & runs)


def _longest(good: NDArray[np.bool_]) -> slice:
    """The longest run of frames that are good.

    All of them, if there is none: then it isn't a frame here and there that is wrong.
    """
    ends = np.flatnonzero(~np.append(good, False))
    starts = np.concatenate([[0], ends[:-1] + 1])
    best = int((ends - starts).argmax())
    return slice(int(starts[best]), int(ends[best])) if good.any() else slice(None)


def _speeds(turns: NDArray[np.float32], fps: float) -> NDArray[np.float64]:
    """How fast something [F, 3, 3] turns from each frame to the next, radians/second, [F - 1]."""
    cosine = (np.einsum("fij,fij->f", turns[:-1], turns[1:], dtype=np.float64) - 1) / 2
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)) * fps, np.float64)
