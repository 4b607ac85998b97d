"""BVH motion files, as far as motion capture uses them: a root that moves, joints that turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from smap_ros.errors import InputError

Float = NDArray[np.float64]
END = "_end"  # what ends of chains are called: the joint's name and this


@dataclass(frozen=True)
class Recording:
    """A skeleton and how it moves, in the lengths of its file; y up.

    Attributes:
        joints: names, parents before children.
        parents: of each joint, -1 for the root.
        offsets: [J, 3], from the parent, where nothing is turned.
        root: [F, 3], position of the root.
        turns: [F, J, 3], rotation vector of each joint relative to its parent (column vectors).
        fps: frames a second.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Float
    root: Float
    turns: Float
    fps: float


@dataclass
class _Joint:
    name: str
    parent: int
    offset: list[float]
    channels: list[str]


def read_bvh(path: Path) -> Recording:
    """Read a BVH file.

    Raises:
        InputError: if it can't be read, or is none, saying where.
    """
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    try:
        head, found, motion = text.partition("MOTION")
        if not found:
            raise ValueError("it has no MOTION")
        joints = _hierarchy(iter(head.split()))
        frames, fps = _frames(motion, sum(len(joint.channels) for joint in joints))
        return _recording(joints, frames, fps)
    except (ValueError, StopIteration, IndexError) as error:
        reason = str(error) or "it ends too early"
        raise InputError(f"{path} is no BVH file that can be read: {reason}") from error


def _hierarchy(words: Iterator[str]) -> list[_Joint]:
    """Joints in the order of the file, which is that of the channels."""
    _expect(words, "HIERARCHY")
    joints: list[_Joint] = []
    chain: list[int] = []
    for word in words:
        if word == "}":
            chain.pop()
            continue
        if word == "OFFSET":
            joints[chain[-1]].offset = [float(next(words)) for _ in range(3)]
            continue
        if word == "CHANNELS":
            joints[chain[-1]].channels = [next(words) for _ in range(int(next(words)))]
            continue
        if word not in ("ROOT", "JOINT", "End"):
            raise ValueError(f"{word!r} stands where a joint is expected")
        name = next(words)
        parent = chain[-1] if chain else -1
        if word == "End":
            name = f"{joints[parent].name}{END}"
        _expect(words, "{")
        joints.append(_Joint(name, parent, [0.0] * 3, []))
        chain.append(len(joints) - 1)
    if chain or not joints:
        raise ValueError("braces aren't closed")
    return joints


def _frames(text: str, channels: int) -> tuple[Float, float]:
    """Numbers of each frame [F, channels], and frames a second."""
    words = iter(text.split())
    _expect(words, "Frames:")
    count = int(next(words))
    _expect(words, "Frame")
    _expect(words, "Time:")
    seconds = float(next(words))
    numbers = np.array(list(words), dtype=np.float64)
    if seconds <= 0 or numbers.size != count * channels or not np.isfinite(numbers).all():
        raise ValueError(
            f"got {numbers.size} numbers for {count} frames of {channels} at {seconds} s"
        )
    return numbers.reshape(count, channels), 1 / seconds


def _recording(joints: list[_Joint], frames: Float, fps: float) -> Recording:
    turns = np.zeros((len(frames), len(joints), 3))
    root = np.tile(np.array(joints[0].offset), (len(frames), 1))
    start = 0
    for k, joint in enumerate(joints):
        own = frames[:, start : start + len(joint.channels)]
        start += len(joint.channels)
        turned = [i for i, channel in enumerate(joint.channels) if channel.endswith("rotation")]
        moved = [i for i, channel in enumerate(joint.channels) if channel.endswith("position")]
        if len(turned) + len(moved) < len(joint.channels):
            raise ValueError(f"channels {joint.channels} of {joint.name}")
        if turned:  # the first is the outermost
            order = "".join(joint.channels[i][0].upper() for i in turned)
            turns[:, k] = Rotation.from_euler(order, own[:, turned], degrees=True).as_rotvec()
        if k == 0:
            for i in moved:
                root[:, "XYZ".index(joint.channels[i][0].upper())] += own[:, i]
    return Recording(
        joints=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=np.array([joint.offset for joint in joints]),
        root=root,
        turns=turns,
        fps=fps,
    )


def _expect(words: Iterator[str], word: str) -> None:
    got = next(words)
    if got != word:
        raise ValueError(f"got {got!r} where {word!r} is expected")
