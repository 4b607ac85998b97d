"""Leeds Sports Pose Extended and Clothing Co-Parsing as the archives that training reads."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from tqdm import tqdm

from smap_ros.errors import InputError
from smap_ros.evaluation.pck2d.truth import ANNOTATIONS, PhotoFiles
from smap_ros.images import decode_compressed
from smap_train.files import whole_file

LSPET_JOINTS = (
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow",
    "r_shoulder", "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top",
)  # fmt: skip
LSPET_SIDE, CCP_SIDE = 320, 416  # pixels of the longest side, at most
_MARGIN = 0.5  # about the labelled joints, of their longer extent
_QUALITY = 92

Image = NDArray[np.uint8]


def convert_lspet(source: Path, out: Path) -> int:
    """Photos cropped about the labelled person, and their joints, as one zip archive.

    Args:
        source: the data set as published, a zip file or a folder: ``joints.mat`` and ``im*.jpg``.
        out: archive to write.

    Returns:
        How many photos have a labelled person.

    Raises:
        InputError: if a file is missing or damaged, or the labels are of another shape.
    """
    files = PhotoFiles(source)
    photos = _members(files, ".jpg", "im")
    labels = _lspet_labels(files, source)
    if len(photos) != len(labels):
        raise InputError(f"{source} has {len(photos)} photos im*.jpg and {len(labels)} labels")
    entries = []
    with _archive(out) as archive:
        for path, joints in zip(tqdm(photos, unit="photo"), labels, strict=True):
            known = joints[:, 2] > 0
            if not known.any():
                continue
            image, joints = _about_person(_decoded(files, path), joints, known)
            name = f"images/{Path(path).stem.removeprefix('im')}.jpg"
            archive.writestr(name, _encoded(image, ".jpg"))
            rows = [[round(float(x), 1), round(float(y), 1), int(v > 0)] for x, y, v in joints]
            height, width = image.shape[:2]
            entries.append({"image": name, "width": width, "height": height, "joints": rows})
        content = {"joint_names": LSPET_JOINTS, "images": entries}
        archive.writestr(ANNOTATIONS, json.dumps(content))
    return len(entries)


def convert_ccp(source: Path, out: Path) -> tuple[int, int]:
    """Photos made smaller, and masks of their people, as one zip archive.

    Args:
        source: the data set as published, a zip file or a folder: ``photos/*.jpg`` and
            ``annotations/pixel-level/*.mat``.
        out: archive to write.

    Returns:
        How many photos, and how many masks.

    Raises:
        InputError: if a file is missing or damaged.
    """
    files = PhotoFiles(source)
    photos = [name for name in _members(files, ".jpg") if "photos" in Path(name).parts]
    labelled = {
        Path(name).stem: name
        for name in files.names()
        if name.endswith(".mat") and "pixel-level" in Path(name).parts
    }
    if not photos:
        raise InputError(f"{source} has no photos/*.jpg; expected Clothing Co-Parsing's repository")
    masks = 0
    with _archive(out) as archive:
        for path in tqdm(photos, unit="photo"):
            stem, image = Path(path).stem, _decoded(files, path)
            small = _shrunk(image, CCP_SIDE)
            archive.writestr(f"photos/{stem}.jpg", _encoded(small, ".jpg"))
            if stem in labelled:
                mask = _person_mask(_mat(files, labelled[stem]), image, labelled[stem])
                size = small.shape[1::-1]
                mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
                archive.writestr(f"masks/{stem}.png", _encoded(mask, ".png"))
                masks += 1
    return len(photos), masks


def _lspet_labels(files: PhotoFiles, source: Path) -> NDArray[np.float64]:
    """[N, 14, 3]: x, y in pixels, and whether it is labelled."""
    found = [name for name in files.names() if Path(name).name == "joints.mat"]
    if not found:
        raise InputError(f"{source} has no joints.mat; expected Leeds Sports Pose Extended")
    joints = np.asarray(_mat(files, found[0]).get("joints"))
    if joints.ndim == 3 and joints.shape[:2] == (3, len(LSPET_JOINTS)):
        joints = joints.transpose(1, 0, 2)
    if joints.ndim != 3 or joints.shape[:2] != (len(LSPET_JOINTS), 3):
        raise InputError(
            f"{found[0]} of {source}: 'joints' has shape {joints.shape}, expected (14, 3, N)"
        )
    return joints.transpose(2, 0, 1).astype(np.float64)


def _about_person(
    image: Image, joints: NDArray[np.float64], known: NDArray[np.bool_]
) -> tuple[Image, NDArray[np.float64]]:
    """A photo cut about its labelled joints and made smaller, and the joints in it."""
    low, high = joints[known, :2].min(axis=0), joints[known, :2].max(axis=0)
    margin = _MARGIN * float((high - low).max())
    size = np.array(image.shape[1::-1])
    start = np.clip(np.floor(low - margin), 0, size - 1).astype(int)
    end = np.clip(np.ceil(high + margin) + 1, start + 1, size).astype(int)
    cut = np.ascontiguousarray(image[start[1] : end[1], start[0] : end[0]])
    small = _shrunk(cut, LSPET_SIDE)
    moved = joints.copy()
    # Pixel centres are kept, as everywhere.
    ratio = np.array(small.shape[1::-1]) / (end - start)
    moved[:, :2] = (joints[:, :2] - start + 0.5) * ratio - 0.5
    return small, moved


def _person_mask(content: dict[str, Any], image: Image, name: str) -> Image:
    """255 where anything but the background is labelled, uint8 [H, W]."""
    labels = np.asarray(content.get("groundtruth"))
    if labels.shape != image.shape[:2]:
        raise InputError(
            f"{name}: 'groundtruth' has shape {labels.shape}, its photo {image.shape[:2]}"
        )
    return np.where(labels > 0, 255, 0).astype(np.uint8)


def _shrunk(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(n * scale)) for n in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _members(files: PhotoFiles, suffix: str, prefix: str = "") -> list[str]:
    """Files with such an ending, by their own names, not their folders'."""
    names = [n for n in files.names() if n.lower().endswith(suffix)]
    return sorted((n for n in names if Path(n).name.startswith(prefix)), key=lambda n: Path(n).name)


def _mat(files: PhotoFiles, name: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = loadmat(io.BytesIO(files.read(name)))
    except InputError:
        raise
    except Exception as error:  # damaged files fail in any way
        raise InputError(f"{name} can't be read as a MATLAB file: {error}") from error
    return content


def _decoded(files: PhotoFiles, name: str) -> Image:
    try:
        return decode_compressed(files.read(name))
    except InputError as error:
        raise InputError(f"photo {name}: {error}") from error


def _encoded(image: Image, suffix: str) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if suffix == ".jpg" else []
    return cv2.imencode(suffix, image, options)[1].tobytes()


@contextmanager
def _archive(out: Path) -> Iterator[zipfile.ZipFile]:
    with whole_file(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        yield archive
