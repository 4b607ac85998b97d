"""The errors a user can cause or must act on.

Each message says what was got, what was expected and what to do. Anything that is
not one of these is a bug in smap_ros.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

try:
    import lzma

    _OF_LZMA: tuple[type[Exception], ...] = (lzma.LZMAError,)
except ImportError:  # Python was built without, and unpacks none
    _OF_LZMA = ()

# What zipfile and those that unpack for it raise of archives that are damaged, encrypted, packed
# in a way that they don't know, or no archives.
DAMAGED_ZIP: tuple[type[Exception], ...] = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile,
    zlib.error, *_OF_LZMA,
)  # fmt: skip
# What numpy raises as well of files that are no archive of arrays, or were damaged.
DAMAGED_ARRAYS: tuple[type[Exception], ...] = (*DAMAGED_ZIP, TypeError, tokenize.TokenError)


class SmapError(Exception):
    """Base of all errors that smap_ros raises on purpose."""


class InputError(SmapError):
    """Data handed in is malformed: shapes, types, encodings, files, arguments."""


class CameraError(SmapError):
    """The camera's calibration is missing or impossible."""


class BundleError(SmapError):
    """A model bundle is missing, incomplete, altered or contradicts itself."""


class EngineError(SmapError):
    """An inference runtime is not available or can't run the model."""


def reason(error: Exception) -> str:
    """What is wrong with data of another form, for people: without Python's names for it."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, TypeError | IndexError | AttributeError):
        return "a part of it is of another form"
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, OverflowError):
        return "a number of it is infinite or too large"
    if strerror := getattr(error, "strerror", None):  # of the system, or of FFmpeg
        return str(strerror)
    if "inhomogeneous" in str(error):  # numpy
        return "its lists are of different lengths"
    return str(error) or "a part of it is of another form"


_SHOWN = 200  # letters


def unexpected(error: Exception) -> str:
    """What to say of an error that nobody foresaw; here its name helps those who mend it."""
    return (
        f"unexpected error ({type(error).__name__}: {error}), which is a bug in smap_ros: please "
        "report it, with the log"
    )


def shortened(text: str) -> str:
    """A text that a user wrote, in quotes; no longer than a line can bear."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
