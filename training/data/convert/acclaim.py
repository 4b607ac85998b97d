"""Acclaim's skeletons (.asf) and motions (.amc), as the CMU database has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from smap_ros.errors import InputError, reason
from smap_train.data.convert.bvh import END, Recording

Float = NDArray[np.float64]
ROOT = "root"
_FPS = 120.0  # of all motions in the database; the format doesn't state it
_INCH_M = 0.0254


@dataclass(frozen=True)
class Bone:
    """A bone turns about its start, in axes of its own.

    Attributes:
        parent: name of the bone at whose end it starts, or ``root``.
        vector: from its start to its end, where nothing is turned.
        axes: rotation of its axes.
        freedoms: those of rx, ry, rz that its motion states.
    """

    parent: str
    vector: Float
    axes: Rotation
    freedoms: tuple[str, ...]


@dataclass(frozen=True)
class Skeleton:
    """Bones by name, parents before children, and metres of one unit of length."""

    bones: dict[str, Bone]
    unit_m: float


def read_asf(path: Path) -> Skeleton:
    """Read a skeleton.

    Raises:
        InputError: if it can't be read, or is none.
    """
    sections = _sections(path)
    try:
        units = {line[0]: line[1] for line in sections["units"] if len(line) > 1}
        bones = dict(_bone(block) for block in _blocks(sections["bonedata"]))
        parents = {
            child: line[0] for line in sections["hierarchy"] if len(line) > 1 for child in line[1:]
        }
        ordered = {
            name: Bone(parents[name], *bones[name]) for name in parents if name in bones
        }  # the hierarchy states parents first
        return Skeleton(ordered, _INCH_M / float(units["length"]))
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"{path} is no Acclaim skeleton that can be read: {reason(error)}"
        ) from error


def read_amc(path: Path, skeleton: Skeleton) -> Recording:
    """Read a motion of a skeleton, lengths in the skeleton's units.

    Raises:
        InputError: if it can't be read, or names other bones.
    """
    try:
        frames = _motion(path)
        names = (ROOT, *skeleton.bones)
        places = np.array([frame[ROOT] for frame in frames])
        turns = np.zeros((len(frames), len(names), 3))
        turns[:, 0] = Rotation.from_euler("xyz", places[:, 3:], degrees=True).as_rotvec()
        for k, (name, bone) in enumerate(skeleton.bones.items(), start=1):
            if bone.freedoms:
                turns[:, k] = _turns(bone, np.array([frame[name] for frame in frames]))
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise InputError(
            f"{path} is no Acclaim motion of this skeleton: {reason(error)}; expected each frame's "
            "number, and a line of degrees for each bone that turns"
        ) from error
    offsets, ends = [np.zeros(3)], []
    for bone in skeleton.bones.values():
        before = skeleton.bones.get(bone.parent)
        offsets.append(np.zeros(3) if before is None else before.vector)
    inner = {bone.parent for bone in skeleton.bones.values()}
    ends = [name for name in skeleton.bones if name not in inner]
    parents = [-1, *(names.index(bone.parent) for bone in skeleton.bones.values())]
    return Recording(
        joints=(*names, *(f"{name}{END}" for name in ends)),
        parents=(*parents, *(names.index(name) for name in ends)),
        offsets=np.array([*offsets, *(skeleton.bones[name].vector for name in ends)]),
        root=places[:, :3],
        turns=np.concatenate([turns, np.zeros((len(frames), len(ends), 3))], axis=1),
        fps=_FPS,
    )


def _turns(bone: Bone, degrees: Float) -> Float:
    """Rotation vectors [F, 3] in the axes of the skeleton; x turns first, then y, then z."""
    angles = np.zeros((len(degrees), 3))
    angles[:, [["rx", "ry", "rz"].index(name) for name in bone.freedoms]] = degrees
    own = Rotation.from_euler("xyz", angles, degrees=True)
    turned: Float = (bone.axes * own * bone.axes.inv()).as_rotvec()
    return turned


def _sections(path: Path) -> dict[str, list[list[str]]]:
    """Lines of words by the section they stand in."""
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    sections: dict[str, list[list[str]]] = {}
    inside: list[list[str]] = []
    for line in lines:
        words = line.split("#")[0].split()
        if words and words[0].startswith(":"):
            inside = sections.setdefault(words[0][1:].lower(), [])
        elif words:
            inside.append(words)
    return sections


def _blocks(lines: list[list[str]]) -> list[dict[str, list[str]]]:
    """What stands between ``begin`` and ``end``, by the first word of each line."""
    blocks: list[dict[str, list[str]]] = []
    for words in lines:
        if words[0] == "begin":
            blocks.append({})
        elif words[0] != "end" and blocks:
            blocks[-1][words[0]] = words[1:]
    return blocks


def _bone(block: dict[str, list[str]]) -> tuple[str, tuple[Float, Rotation, tuple[str, ...]]]:
    direction = np.array(block["direction"], dtype=np.float64)
    vector = direction / max(np.linalg.norm(direction), 1e-9) * float(block["length"][0])
    order = block["axis"][3].lower() if len(block["axis"]) > 3 else "xyz"
    axes = Rotation.from_euler(order, np.array(block["axis"][:3], dtype=np.float64), degrees=True)
    freedoms = tuple(name for name in block.get("dof", []) if name in ("rx", "ry", "rz"))
    return block["name"][0], (vector, axes, freedoms)


def _motion(path: Path) -> list[dict[str, list[float]]]:
    """Numbers of each bone in each frame."""
    frames: list[dict[str, list[float]]] = []
    for line in path.read_text(encoding="latin-1").splitlines():
        words = line.split("#")[0].split()
        if not words or words[0].startswith(":"):
            continue
        if len(words) == 1 and words[0].isdigit():
            frames.append({})
        else:
            frames[-1][words[0]] = [float(word) for word in words[1:]]
    if not frames:
        raise ValueError("it has no frames")
    return frames
