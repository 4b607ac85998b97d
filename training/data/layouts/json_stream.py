"""Lists in JSON files of any size, entry by entry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson

from smap_ros.errors import InputError

# Python writes these where JSON knows no such numbers. A text with one between commas would be
# changed as well; paths of pictures have none.
_NO_NUMBER = re.compile(rb"(?<=[\[,:\s])(?:NaN|-?Infinity)(?=[\s,\]}])")
_DEEP = b"[" * 500  # no data set has these; the reader would take gigabytes for 100,000
_LONGEST = 16  # bytes of such a match with what surrounds it


def entries(path: Path, key: str) -> Iterator[Any]:
    """The entries of the list under a key of a file's object; none if it has no such key.

    Numbers come as int and float, those that JSON doesn't know (NaN, Infinity) as None.

    Raises:
        InputError: if the file can't be read, or is damaged.
    """
    count = 0
    try:
        with path.open("rb") as file:
            for entry in ijson.items(_WithoutNan(file), f"{key}.item", use_float=True):
                yield entry
                count += 1
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        text = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise InputError(f"{path} is damaged after {count} records of {key}: {text}") from error


def first_entry(path: Path, key: str) -> Any:
    """The first entry of such a list; None if there is none.

    Raises:
        InputError: if the file can't be read, or is damaged before it.
    """
    return next(entries(path, key), None)


class _WithoutNan:
    """A file in which numbers that JSON doesn't know are null, so that the rest can be read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.rest = file, b""

    def read(self, size: int) -> bytes:
        """About ``size`` bytes; empty at the end only."""
        if size == 0:
            return b""  # a question for the type
        while True:
            data = self.file.read(max(size, 4 * _LONGEST))
            text = self.rest + data
            if not data:
                self.rest = b""
                return text
            if _DEEP in text:
                raise ijson.JSONError("it is nested too deeply")
            if b"NaN" in text or b"Infinity" in text:
                text = _NO_NUMBER.sub(b"null", text)
            # What may be cut in the middle waits for its other half.
            text, self.rest = text[:-_LONGEST], text[-_LONGEST:]
            if text:
                return text
