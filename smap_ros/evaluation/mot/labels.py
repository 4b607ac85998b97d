"""The lines of a ``gt.txt``, and which of them are people who must be found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smap_ros.errors import InputError, reason

LABELS, NAMES = "gt", "labels.txt"

# Classes of MOTChallenge that are people, or may be found and need not be; the others are things.
_OFFICIAL = {
    1: "pedestrian",
    2: "person on vehicle",
    7: "static person",
    8: "distractor",
    12: "reflection",
}
_LAST = 13  # of MOTChallenge's classes
_COUNTED = ("pedestrian", "person")
_EXCUSED = ("person on vehicle", "static person", "distractor", "reflection")
_NO_CLASS = -1  # as CVAT writes it
_LARGEST = 2**53  # whole number that a float holds
_COLUMNS = {7: False, 9: True, 10: False}  # numbers of a line: whether one of them is the class
_EXPECTED = (
    "expected frame, id, left, top, width, height, considered, and then class and visibility "
    "(MOT16 and later, CVAT), or x, y, z (MOT15), with commas between them"
)


@dataclass(frozen=True)
class Label:
    """One box of a picture.

    Attributes:
        id: of the person; negative where the label has none.
        box: left, top, width, height, pixels.
        counted: whether they must be found.
    """

    id: int
    box: tuple[float, float, float, float]
    counted: bool


def read_labels(path: Path, frames: int) -> Mapping[int, Sequence[Label]]:
    """The people of a ``gt.txt``, and what may be taken for them, by frame from 1.

    Frames that have things only are there, without people.

    Args:
        path: the file; ``labels.txt`` may lie beside it.
        frames: pictures that there are.

    Raises:
        InputError: if a file is missing or malformed, or labels are of frames that aren't there.
    """
    names = _class_names(path.with_name(NAMES))
    labels: defaultdict[int, list[Label]] = defaultdict(list)
    there: set[tuple[int, int]] = set()
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            frame, label = _label(line, names)
            if frame > frames:
                raise ValueError(f"frame {frame}, but there are {frames} pictures")
            if label is None:
                labels[frame] += []
                continue
            if label.id >= 0 and (frame, label.id) in there:
                raise ValueError(f"frame {frame} has id {label.id} twice")
        except ValueError as error:
            raise InputError(
                f"{path}, line {number} ({_short(line)}): {reason(error)}; {_EXPECTED}"
            ) from error
        there.add((frame, label.id))
        labels[frame].append(label)
    return labels


def _label(line: str, names: Mapping[int, str] | None) -> tuple[int, Label | None]:
    """Frame and label of a line; None for a label of a thing.

    Args:
        line: the line.
        names: of the classes; None where they are MOTChallenge's.

    Raises:
        ValueError: saying what is wrong.
    """
    words = line.strip().rstrip(",").split(",")
    if len(words) not in _COLUMNS:
        raise ValueError(f"it has {len(words)} numbers")
    values = [float(word) for word in words]
    frame, identity = _whole(values[0], "frame"), _whole(values[1], "id")
    left, top, width, height, considered = values[2:7]
    if frame < 1:
        raise ValueError(f"frame {frame}; the first is 1")
    if not all(abs(value) <= _LARGEST for value in values[2:7]):  # NaN isn't either
        raise ValueError("box and considered aren't all numbers that a picture can have")
    if width <= 0 or height <= 0:
        raise ValueError(f"the box is {width:g} wide and {height:g} high")
    # Beside a labels.txt a tenth number is one more that nobody reads.
    stated = _COLUMNS[len(words)] or (names is not None and len(words) > 7)
    kind = _kind(_whole(values[7], "class"), names) if stated else _COUNTED[0]
    if kind not in (*_COUNTED, *_EXCUSED):
        return frame, None
    counted = considered != 0 and kind in _COUNTED
    return frame, Label(identity, (left, top, width, height), counted)


def _kind(number: int, names: Mapping[int, str] | None) -> str:
    """Name of a class; of MOTChallenge's that are things, empty."""
    if number == _NO_CLASS:
        return _COUNTED[0]
    if names is None:
        if not 1 <= number <= _LAST:
            raise ValueError(
                f"class {number}; MOTChallenge's are 1 to {_LAST}, others need {NAMES}"
            )
        return _OFFICIAL.get(number, "")
    if number not in names:
        raise ValueError(f"class {number}; they are counted from 1 to {len(names)} ({NAMES})")
    return names[number]


def _class_names(path: Path) -> Mapping[int, str] | None:
    """The classes of ``labels.txt`` by number, in lower case; None without one."""
    if not path.is_file():
        return None
    words = [line.strip() for line in "\n".join(_lines(path)).rstrip().split("\n")]
    names = {k: word.lower().replace("_", " ") for k, word in enumerate(words, start=1)}
    if not set(_COUNTED) & set(names.values()):
        raise InputError(
            f"{path} has the classes {_short(', '.join(words)) or '(none)'}; expected person or "
            "pedestrian among them, one a line"
        )
    return names


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"can't read {path} as text: {reason(error)}") from error


def _whole(value: float, name: str) -> int:
    if not value.is_integer() or abs(value) > _LARGEST:
        raise ValueError(f"{name} is {value:g}; it must be a whole number")
    return int(value)


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
