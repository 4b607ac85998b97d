"""What a file is that stands where a torch checkpoint is expected.

Downloads go wrong in few ways: a web page or a pointer is saved in place of the file, an archive
isn't unpacked, or a network comes in another framework's form. Each is told from its first bytes.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from smap_ros.errors import DAMAGED_ZIP

_HEAD = 600  # bytes; a web page's title lies within
_TAR_MAGIC = slice(257, 262)
_LEAST_TEXT = 12
_AFTER_IR_VERSION = (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42")  # fields of an ONNX file
_MAX_SAFETENSORS_HEADER = 100_000_000  # as the format has it

# How a file begins -> what it is, and what to do.
_UNPACK = "unpack it first"
_SIGNATURES = (
    (b"\x1f\x8b", f"a gzip archive: {_UNPACK}"),
    (b"BZh", f"a bzip2 archive: {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"an xz archive: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    (b"Rar!", f"a rar archive: {_UNPACK}"),
    (b"\x89HDF", "an HDF5 file, as Keras writes; its weights belong to another implementation"),
    (b"\x93NUMPY", "a numpy array"),
    (b"%PDF", "a PDF document"),
)


def foreign_kind(path: Path) -> str:
    """What a file is, and what to do about it; empty if it may be a torch checkpoint.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for begin, what in _SIGNATURES:
        if head.startswith(begin):
            return what
    if head[_TAR_MAGIC] == b"ustar":
        return f"a tar archive: {_UNPACK}"
    if head.startswith(b"PK"):
        return _zip_kind(path)
    return _text_kind(head, path) or _network_kind(head, path)


def is_safetensors(path: Path) -> bool:
    """Whether a file is of the safetensors format: the length of a JSON header, and the header.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    return head[8:] == b"{" and 2 <= length <= min(_MAX_SAFETENSORS_HEADER, path.stat().st_size - 8)


def _text_kind(head: bytes, path: Path) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"version https://git-lfs"):
        size = re.search(rb"size (\d+)", text)
        whole = f" of {int(size[1]):,} bytes" if size else ""
        return (
            f"a Git LFS pointer to a file{whole}, not the checkpoint: fetch the file itself with "
            "`git lfs pull`, or by its page's download button"
        )
    if text.startswith(b"<"):
        title = re.search(rb"<title>([^<]{1,60})", text, re.IGNORECASE)
        named = f" ({title[1].decode('utf-8', 'replace').strip()!r})" if title else ""
        return (
            f"a web page{named}, saved in place of the checkpoint: many hosts show one before a "
            "large download. Fetch the file in a browser"
        )
    if len(text) >= _LEAST_TEXT and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in text):
        return f"a text, which begins with {text.splitlines()[0][:40].decode()!r}"
    if path.stat().st_size <= _HEAD and text[:1] == b"{":
        return "a text in JSON"
    return ""


def _network_kind(head: bytes, path: Path) -> str:
    version_first = head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in _AFTER_IR_VERSION
    if path.suffix == ".onnx" or version_first:
        return (
            "an ONNX network, whose weights no longer have their official names: take the torch "
            "checkpoint it was made of"
        )
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite network: take the torch checkpoint it was made of"
    return ""


def _zip_kind(path: Path) -> str:
    """Of an archive that torch's own, TorchScript's or somebody's may be."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED_ZIP:
        return ""  # cut off: torch says more
    if any(name.endswith("/constants.pkl") or name == "constants.pkl" for name in names):
        return (
            "a TorchScript program, which is code: where you trust it, save its weights alone with "
            "torch.save(torch.jit.load(FILE).state_dict(), OUT)"
        )
    if any(name.split("/")[-1] == "data.pkl" for name in names):
        return ""  # torch's own
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of numpy arrays"
    inside = _checkpoints_among(names)
    held = f" that holds {', '.join(inside[:3])}" if inside else ""
    return f"a zip archive{held}: {_UNPACK}"


def _checkpoints_among(names: Sequence[str]) -> list[str]:
    endings = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".pkl", ".safetensors")
    return [name for name in names if name.endswith(endings)]
