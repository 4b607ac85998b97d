"""Motions of the CMU database as one file: what ``--motion`` of ``smap-train synth`` takes.

Three forms of the database are read:

- ``.txt``, 117 numbers a line: the selection for motion prediction by Li et al. ("Convolutional
  Sequence to Sequence Model for Human Dynamics", CVPR 2018), by which our motions are named;
- ``.bvh`` of B. Hahne's conversion (cgspeed), and ``.amc`` with its ``.asf``, the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_train.data.convert.acclaim import Skeleton, read_amc, read_asf
from smap_train.data.convert.bvh import END, Recording, read_bvh
from smap_train.files import whole_file

Float = NDArray[np.float64]

FPS = 60.0
_UNIT_M = 0.0254 / 0.45  # the database's unit of length: an inch over 0.45
_FPS_SLACK = 0.05  # relative: frame times are rounded in files
_TXT_FPS = 120.0

# Joint -> its parent, names in .bvh and in .asf. Joints with no length are the start of a branch.
_LEG = (("{s}hip_dummy", "root", "{S}HipJoint", "{s}hipjoint"),
        ("{s}_hip", "{s}hip_dummy", "{Side}UpLeg", "{s}femur"),
        ("{s}_knee", "{s}_hip", "{Side}Leg", "{s}tibia"),
        ("{s}_ankle", "{s}_knee", "{Side}Foot", "{s}foot"),
        ("{s}_toe", "{s}_ankle", "{Side}ToeBase", "{s}toes"),
        ("{s}_toe_end", "{s}_toe", "{Side}ToeBase_end", "{s}toes_end"))  # fmt: skip
_TRUNK = (("lowerback_dummy", "root", "LowerBack", "lowerback"),
          ("lowerback", "lowerback_dummy", "Spine", "upperback"),
          ("upperback", "lowerback", "Spine1", "thorax"),
          ("thorax", "upperback", "Neck", "lowerneck"),
          ("lowerneck", "thorax", "Neck1", "upperneck"),
          ("upperneck", "lowerneck", "Head", "head"),
          ("head_end", "upperneck", "Head_end", "head_end"))  # fmt: skip
_ARM = (("{s}clav_dummy", "upperback", "{Side}Shoulder", "{s}clavicle"),
        ("{s}_shoulder", "{s}clav_dummy", "{Side}Arm", "{s}humerus"),
        ("{s}_elbow", "{s}_shoulder", "{Side}ForeArm", "{s}radius"),
        ("{s}_wrist", "{s}_elbow", "{Side}Hand", "{s}wrist"),
        ("{s}_hand", "{s}_wrist", "{Side}FingerBase", "{s}hand"),
        ("{s}_fingers", "{s}_hand", "{Side}HandIndex1", "{s}fingers"),
        ("{s}_fingers_end", "{s}_fingers", "{Side}HandIndex1_end", "{s}fingers_end"),
        ("{s}_thumb_dummy", "{s}_wrist", "{S}Thumb", "{s}thumb"),
        ("{s}_thumb_end", "{s}_thumb_dummy", "{S}Thumb_end", "{s}thumb_end"))  # fmt: skip


def _sided(rows: Sequence[tuple[str, ...]], side: str) -> list[tuple[str, ...]]:
    words = {"s": side[0].lower(), "S": side[0], "Side": side}
    return [tuple(name.format(**words) for name in row) for row in rows]


_TABLE = [
    ("root", "", "Hips", "root"),
    *_sided(_LEG, "Left"), *_sided(_LEG, "Right"), *_TRUNK,
    *_sided(_ARM, "Left"), *_sided(_ARM, "Right"),
]  # fmt: skip
JOINTS = tuple(row[0] for row in _TABLE)
PARENTS = tuple(JOINTS.index(row[1]) if row[1] else -1 for row in _TABLE)
_BVH_NAMES, _ASF_NAMES = (tuple(row[column] for row in _TABLE) for column in (2, 3))

# Lengths of the skeleton that Li et al. give to all their motions, in the database's units:
# x, y, z from the parent, in the order of JOINTS.
_LI_OFFSETS = """
0 0 0  0 0 0  1.65674 -1.80282 0.62477  2.59720 -7.13576 0  2.49236 -6.84770 0
0.19704 -0.54136 2.14581  0 0 1.11249
0 0 0  -1.61070 -1.80282 0.62476  -2.59502 -7.12977 0  -2.46780 -6.78024 0
-0.23024 -0.63258 2.13368  0 0 1.11569
0 0 0  0.01961 2.05450 -0.14112  0.01021 2.06436 -0.05921  0 0 0
0.00713 1.56711 0.14968  0.03429 1.56041 -0.10006  0.01305 1.62560 -0.05265
0 0 0  3.54205 0.90436 -0.17364  4.86513 0 0  3.35554 0 0  0 0 0  0.66117 0 0  0.53306 0 0
0 0 0  0.54120 0 0.54120
0 0 0  -3.49802 0.75994 -0.32616  -5.02649 0 0  -3.36431 0 0  0 0 0  -0.73041 0 0  -0.58887 0 0
0 0 0  -0.59786 0 0.59786
"""


def convert_cmu(inputs: Iterable[Path], out: Path) -> list[str]:
    """Write motions as one file.

    The file has one skeleton: the mean of the recordings', and each path is scaled by how long the
    actor's legs are beside it.

    Args:
        inputs: files, or folders that are searched for them.
        out: ``.npz`` to write.

    Returns:
        Names of the sequences: those of the files.

    Raises:
        InputError: if there are none, one can't be read or is no motion, or two have one name.
    """
    files = _files(inputs)
    recordings = {name: _usable(_in_metres(path), path) for name, path in files.items()}
    offsets = np.mean([recording.offsets for recording in recordings.values()], axis=0)
    arrays: dict[str, NDArray[np.generic]] = {
        "joint_names": np.array(JOINTS),
        "parents": np.array(PARENTS, np.int16),
        "offsets_m": offsets.astype(np.float32),
        "fps": np.array(FPS),
    }
    for name, recording in recordings.items():
        step = _step(recording.fps, files[name])
        scale = _leg(offsets) / _leg(recording.offsets)
        arrays[f"seq/{name}/root_m"] = (recording.root[::step] * scale).astype(np.float32)
        # Row vectors: a turn is the transpose of that of column vectors.
        arrays[f"seq/{name}/rotvec"] = (-recording.turns[::step]).astype(np.float16)
    with whole_file(out) as file:
        np.savez_compressed(file, **arrays)
    return list(recordings)


def _files(inputs: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for given in inputs:
        inside = given.rglob("*") if given.is_dir() else [given]
        for path in sorted(p for p in inside if p.suffix.lower() in (".bvh", ".amc", ".txt")):
            if path.stem in found:
                raise InputError(f"{found[path.stem]} and {path} have one name; leave one out")
            found[path.stem] = path
    if not found:
        raise InputError(f"no .txt, .bvh or .amc in {', '.join(map(str, inputs))}")
    return found


def _in_metres(path: Path) -> Recording:
    """A recording with our joints and lengths."""
    if path.suffix.lower() == ".txt":
        return _scaled(_read_li(path), _UNIT_M)
    if path.suffix.lower() == ".bvh":
        return _scaled(_ours(read_bvh(path), _BVH_NAMES, path), _UNIT_M)
    skeleton = _skeleton_of(path)
    return _scaled(_ours(read_amc(path, skeleton), _ASF_NAMES, path), skeleton.unit_m)


def _usable(recording: Recording, path: Path) -> Recording:
    """The same, or it is refused: what is no number, or of no length, would be written as NaN."""
    frames, leg = len(recording.root), _leg(recording.offsets)
    numbers = (recording.offsets, recording.root, recording.turns)
    whole = all(np.isfinite(values).all() for values in numbers)
    if not whole or not frames or not leg > 0 or not 0 < recording.fps < np.inf:
        raise InputError(
            f"{path} has {frames} frames, {recording.fps:g} a second, of legs of {leg:g} m"
            f"{'' if whole else ', with NaN among the numbers'}; expected a motion"
        )
    return recording


def _skeleton_of(path: Path) -> Skeleton:
    """Of subject 07 for ``07_01.amc``, or the only one in the folder."""
    named = path.with_name(f"{path.stem.partition('_')[0]}.asf")
    others = sorted(path.parent.glob("*.asf"))
    if not named.is_file() and len(others) != 1:
        raise InputError(f"{path} needs its skeleton beside it: {named} is missing")
    return read_asf(named if named.is_file() else others[0])


def _ours(recording: Recording, names: Sequence[str], path: Path) -> Recording:
    """A recording's joints in our order; ends that it lacks are where their parents are."""
    missing = [n for n in names if n not in recording.joints and not n.endswith(END)]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}; expected the skeleton of the CMU database: "
            f"{', '.join(names)}"
        )
    rows = [recording.joints.index(n) if n in recording.joints else -1 for n in names]
    known = np.array([row >= 0 for row in rows])
    return Recording(
        joints=JOINTS,
        parents=PARENTS,
        offsets=np.where(known[:, None], recording.offsets[rows], 0.0),
        root=recording.root,
        turns=np.where(known[:, None], recording.turns[:, rows], 0.0),
        fps=recording.fps,
    )


def _read_li(path: Path) -> Recording:
    """Root and rotation vectors of 38 joints, which already are those of row vectors."""
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as lines of numbers: {error}") from error
    if rows.shape[1] != 3 + 3 * len(JOINTS) or not np.isfinite(rows).all():
        raise InputError(f"{path}: got {rows.shape[1]} numbers a line, expected 3 + 3 * 38")
    offsets = np.array(_LI_OFFSETS.split(), np.float64).reshape(len(JOINTS), 3)
    turns = -rows[:, 3:].reshape(len(rows), len(JOINTS), 3)
    return Recording(JOINTS, PARENTS, offsets, rows[:, :3], turns, _TXT_FPS)


def _scaled(recording: Recording, unit_m: float) -> Recording:
    return Recording(
        recording.joints,
        recording.parents,
        recording.offsets * unit_m,
        recording.root * unit_m,
        recording.turns,
        recording.fps,
    )


def _step(fps: float, path: Path) -> int:
    step = max(1, round(fps / FPS))
    if abs(fps / step - FPS) > _FPS_SLACK * FPS:
        raise InputError(f"{path} has {fps:.1f} frames a second; expected 60, or a multiple")
    return step


def _leg(offsets: Float) -> float:
    """Hip to ankle, as ``virtual.motion`` measures it."""
    lengths = [np.linalg.norm(offsets[JOINTS.index(f"l_{j}")]) for j in ("knee", "ankle")]
    return float(np.sum(lengths))
