"""Model bundles: a folder with ``bundle.yaml`` and the ONNX files it names.

The manifest says everything an estimator needs to run a network it has never seen: the
input, the outputs with their shapes and units, the joint set, where the model comes from and
under which licence, and the sha256 of each file. Unknown keys are refused: a misspelt
threshold must not silently become a default.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from smap_ros.bundles.manifest import MANIFEST, FileEntry, Manifest, parse_manifest
from smap_ros.errors import BundleError, shortened
from smap_ros.markup import yaml_value
from smap_ros.paths import models_directory, user_path


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files were checked.

    Attributes:
        folder: where it is.
        manifest: the validated content of ``bundle.yaml``.
    """

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Name in the manifest."""
        return self.manifest.name

    @property
    def kind(self) -> str:
        """Which estimator runs it."""
        return self.manifest.kind

    @property
    def model_hash(self) -> str:
        """sha256 of the network that sees the image."""
        return self.manifest.files.model.sha256

    def read(self, role: str = "model") -> bytes:
        """Content of a file by its role in the manifest's ``files``, checked against its sha256.

        Runtimes get these bytes and not the path: what is run is what was checked, and an ONNX
        file can't pull in data from files that the manifest doesn't name.

        Raises:
            BundleError: if the bundle has no such file, or it is unreadable or altered.
        """
        entry = self.manifest.files.entries.get(role)
        if entry is None:
            raise BundleError(f"bundle {self.name!r} has no {role!r} file")
        try:
            content = (self.folder / entry.path).read_bytes()
        except OSError as error:
            raise BundleError(f"can't read {self.folder / entry.path}: {error}") from error
        _compare_hash(self.folder / entry.path, entry, hashlib.sha256(content).hexdigest())
        return content


def list_bundles(directory: Path | None = None) -> tuple[str, ...]:
    """Names of the bundles in a directory (default: the shipped models); sorted, unchecked."""
    directory = models_directory() if directory is None else directory
    if not directory.is_dir():
        return ()
    return tuple(sorted(folder.parent.name for folder in directory.glob(f"*/{MANIFEST}")))


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Find a bundle, validate its manifest and check the sha256 of every file.

    Args:
        name_or_path: name of a shipped model, or path of a bundle's folder or manifest.

    Raises:
        BundleError: if there is no such bundle, or it is incomplete, altered or inconsistent.

    Examples:
        >>> bundle = load_bundle("smap_lite")
        >>> bundle.kind, (bundle.manifest.input.width, bundle.manifest.input.height)
        ('smap', (448, 256))
    """
    folder = _find(name_or_path)
    manifest = parse_manifest(_read_yaml(folder / MANIFEST), source=str(folder / MANIFEST))
    for entry in manifest.files.entries.values():
        path = folder / entry.path
        try:
            if not path.is_file():
                raise BundleError(
                    f"{path} is missing although {MANIFEST} names it; copy the whole bundle "
                    "again (with git, check that large files were fetched: git lfs pull)"
                )
            _compare_hash(path, entry, _sha256(path))
        except OSError as error:
            reason = error.strerror or error
            raise BundleError(f"can't read {shortened(str(path))}: {reason}") from error
    return Bundle(folder, manifest)


def write_bundle(
    folder: Path | str,
    manifest: Mapping[str, Any],
    model: Path | str,
    refine: Path | str | None = None,
    **others: Path | str,
) -> Bundle:
    """Make a bundle: copy the files, hash them, write and check the manifest.

    Args:
        folder: created if needed; an earlier bundle in it is replaced, and its files go.
        manifest: all fields of the manifest but ``files``.
        model: the ONNX file of the network, weights embedded.
        refine: optional ONNX file of the refining network.
        others: further networks (ONNX) and arrays (``.npy``), by their role in the kind's
            ``files``.

    Returns:
        The bundle as loaded back from disk.

    Raises:
        BundleError: if the manifest is invalid (nothing is written then) or a file unreadable.
    """
    folder = Path(folder)
    given = {"model": model, "refine": refine, **others}
    sources = {role: Path(path) for role, path in given.items() if path is not None}
    try:
        files = {
            role: {"path": _file_name(role, path), "sha256": _sha256(path)}
            for role, path in sources.items()
        }
        checked = parse_manifest({**manifest, "files": files}, source="the manifest given")
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(checked.model_dump(mode="json", exclude_none=True), sort_keys=False)
        earlier = _files_named(folder)
        names = [entry["path"] for entry in files.values()]
        # All written before any is put in place: a full disk costs an earlier bundle nothing,
        # and its files may be among those to copy.
        with tempfile.TemporaryDirectory(dir=folder, prefix=MANIFEST) as fresh:
            for role, path in sources.items():
                shutil.copyfile(path, Path(fresh) / files[role]["path"])
            (Path(fresh) / MANIFEST).write_text(text, encoding="utf-8")
            for name in (*names, MANIFEST):
                os.replace(Path(fresh) / name, folder / name)
        for name in earlier.difference(names):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(f"can't write the bundle {folder}: {error}") from error
    return load_bundle(folder)


def _files_named(folder: Path) -> set[str]:
    """The files of the bundle in a folder; none where there is no bundle, or a damaged one."""
    path = folder / MANIFEST
    try:
        manifest = parse_manifest(_read_yaml(path), source=str(path))
        return {entry.path for entry in manifest.files.entries.values()}
    except BundleError:
        return set()


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    path = user_path(name_or_path)
    if path.name == MANIFEST:
        path = path.parent
    is_name = os.sep not in text and "/" not in text and text not in ("", ".", "..")
    shipped = models_directory() / text if is_name else path
    for candidate in (shipped, path):
        if (candidate / MANIFEST).is_file():
            return candidate
    raise BundleError(
        f"no bundle {shortened(text)}: neither a shipped model "
        f"({', '.join(list_bundles()) or 'none'}) nor a folder with a {MANIFEST}"
    )


def _file_name(role: str, source: Path) -> str:
    return f"{role.replace('_fp16', '.fp16')}{'.npy' if source.suffix == '.npy' else '.onnx'}"


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = yaml_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"can't read {path}: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{path} holds {type(data).__name__}; expected a mapping of fields")
    return data


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _compare_hash(path: Path, entry: FileEntry, got: str) -> None:
    if got != entry.sha256:
        raise BundleError(
            f"{path} was altered or damaged: sha256 is {got[:16]}..., {MANIFEST} expects "
            f"{entry.sha256[:16]}...; copy the bundle again, or export it anew"
        )
