"""bodies.json, written frame by frame and whole after each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.markup import json_value
from smap_ros.pictures import printable

_HEAD, _TAIL = b'{"frames":[', b"\n]}\n"


class BodiesFile:
    """Appends frames to a ``bodies.json``.

    Under the name ``bodies.json.part`` it is a whole document after each frame, whatever stops
    the run; a frame that doesn't fit on the disk leaves those before it. :meth:`close` gives it
    its name, so that a reader never takes a run under way for a finished one.

    Args:
        path: the file in the end.

    Raises:
        InputError: if it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self._part = path.with_name(path.name + ".part")
        self._end = len(_HEAD)  # where the closing brackets stand
        try:
            # Unbuffered: what was written is in the file, not with us, when the disk is full.
            self._file = self._part.open("wb", buffering=0)
            self._write(_HEAD + _TAIL)
        except OSError as error:
            raise InputError(
                f"can't write to the output folder {printable(str(path.parent))}: {error.strerror}"
            ) from error

    def add(self, frame: BodyFrame) -> None:
        """Append a frame.

        Raises:
            InputError: if the disk is full.
        """
        text = (",\n" if self.frames else "\n") + json.dumps(frame.to_json())
        data = text.encode()
        try:
            self._file.seek(self._end)
            self._write(data + _TAIL)
        except OSError as error:
            self._undo()
            raise InputError(
                f"can't write {printable(str(self.path))}: {error.strerror}; it ends with the "
                f"{self.frames} frames before"
            ) from error
        self._end += len(data)
        self.frames += 1

    def close(self) -> None:
        """Give the file its name; harmless when done twice.

        Raises:
            InputError: if somebody took the file away meanwhile.
        """
        if self._file.closed:
            return
        self._file.close()
        try:
            self._part.replace(self.path)
        except OSError as error:
            raise InputError(
                f"can't name {printable(str(self._part))} {self.path.name}: {error.strerror}; "
                "expected the file that this run wrote. Leave the output folder alone meanwhile"
            ) from error

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def _undo(self) -> None:
        # The brackets stood there before, so there is room for them.
        self._file.seek(self._end)
        self._write(_TAIL)
        self._file.truncate(self._end + len(_TAIL))


def read_bodies(path: Path) -> list[BodyFrame]:
    """The frames of a ``bodies.json``.

    Raises:
        InputError: if the file is unreadable, isn't JSON or lacks a field.
    """
    try:
        data: Any = json_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {path}: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("frames"), list):
        raise InputError(f'{path} isn\'t a bodies.json; expected {{"frames": [...]}}')
    frames = []
    for number, frame in enumerate(data["frames"]):
        try:
            frames.append(BodyFrame.from_json(frame))
        except InputError as error:
            raise InputError(f"{path}, frame {number}: {error}") from error
    return frames
