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
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from smap_ros.errors import BundleError
from smap_ros.paths import models_directory
from smap_ros.skeletons import SKELETONS

MANIFEST = "bundle.yaml"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=16, le=8192)]
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Strict):
    """A file of the bundle: ``path`` relative to its folder, ``sha256`` of the content."""

    path: Text
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        # Lexical on purpose: `colcon build --symlink-install` makes the files themselves links
        # into the source tree, and the sha256 already pins what a link may lead to.
        parts = PurePosixPath(path.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in path:
            raise ValueError("the path must be relative and stay inside the bundle's folder")
        return path


class Files(_Strict):
    """``model``: the network. ``refine``: optional network that refines the lifted joints."""

    model: FileEntry
    refine: FileEntry | None = None


class InputSpec(_Strict):
    """The network's image input, float32 [1, 3, height, width].

    ``mean`` and ``std``, in the order of ``color``, apply to value / 255. The image is fitted
    by ``camera.Letterbox``; other fits don't exist, so ``letterbox`` is always true.
    """

    name: Text
    width: Pixels
    height: Pixels
    color: Literal["bgr", "rgb"]
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Positive, Positive, Positive]
    letterbox: Literal[True] = True

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the input tensor."""
        return (1, 3, self.height, self.width)


class OutputSpec(_Strict):
    """One output of the network: its name in the ONNX file and its exact shape."""

    name: Text
    shape: tuple[Annotated[int, Field(gt=0)], ...]


class Metric(_Strict):
    """A measured number and the command that measured it."""

    value: Finite
    command: Text


class Provenance(_Strict):
    """Where the weights come from, well enough to make them again.

    Attributes:
        data: what the model was trained on, with sources and licences.
        command: the command that made it.
        commit: version of the code, or ``unknown`` for imported weights.
        seed: seed of the run, if it had one.
        data_hash: hash over the training data, if it was taken.
        metrics: name -> value and the command that measured it.
    """

    data: Text
    command: Text
    commit: Text
    seed: int | None = None
    data_hash: str | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)


class Manifest(_Strict):
    """What every kind of bundle states. See the subclasses for what each kind adds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    kind: str
    version: Text
    description: str = ""
    files: Files
    input: InputSpec
    outputs: dict[str, OutputSpec]
    joint_set: str
    precision: Literal["fp32", "fp16", "int8"]
    licence: Text
    provenance: Provenance

    @field_validator("joint_set")
    @classmethod
    def _known_joint_set(cls, name: str) -> str:
        if name not in SKELETONS:
            raise ValueError(f"expected one of {', '.join(SKELETONS)}")
        return name


class SmapScales(_Strict):
    """From the numbers of the network to working units.

    Attributes:
        heatmap_scale: heatmaps are divided by this (255 for the official SMAP).
        paf_scale: part affinity fields are divided by this (127 for the official SMAP).
        bone_depth_unit_m: metres per unit of the bone depths (0.01 for centimetres).
        root_depth_unit_m: metres per unit of Z where the root depth is Z / f, f being the
            focal length in network pixels (0.01 for the official SMAP: cm per pixel).
    """

    heatmap_scale: Positive
    paf_scale: Positive
    bone_depth_unit_m: Positive
    root_depth_unit_m: Positive


class SmapManifest(Manifest):
    """A network with SMAP's outputs, all at ``stride`` of the input.

    15 heatmaps and 28 part affinity channels, 14 bone depths, 1 root depth.

    Attributes:
        scales: units of the outputs.
        stride: network pixels per map cell.
        centred_pixels: how the training labels counted pixels; see ``LiftingConfig``.
        association: overrides of fields of ``association.AssociationConfig``, by name.
    """

    kind: Literal["smap"]
    scales: SmapScales
    stride: Annotated[int, Field(ge=1, le=32)]
    centred_pixels: bool = False
    association: dict[str, float | int | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _outputs_fit(self) -> SmapManifest:
        if self.joint_set != "mpi15":
            raise ValueError(f"joint_set is {self.joint_set!r}; kind smap works on mpi15")
        if self.input.width % self.stride or self.input.height % self.stride:
            raise ValueError(
                f"input {self.input.width}x{self.input.height} is not a multiple of stride "
                f"{self.stride}"
            )
        grid = (self.input.height // self.stride, self.input.width // self.stride)
        expected = {"maps": 43, "bone_depth": 14, "root_depth": 1}
        if set(self.outputs) != set(expected):
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; kind smap has {sorted(expected)}"
            )
        for name, channels in expected.items():
            shape = (1, channels, *grid)
            if self.outputs[name].shape != shape:
                raise ValueError(
                    f"outputs.{name}.shape is {list(self.outputs[name].shape)}; "
                    f"expected {list(shape)} for this input and stride"
                )
        return self


# kind -> its manifest; a new kind of model adds a line here and one in estimators/factory.py.
MANIFESTS: dict[str, type[Manifest]] = {"smap": SmapManifest}


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
        """sha256 of the network."""
        return self.manifest.files.model.sha256

    def read(self, which: Literal["model", "refine"] = "model") -> bytes:
        """Content of a file, checked against its sha256.

        Runtimes get these bytes and not the path: what is run is what was checked, and an ONNX
        file can't pull in data from files that the manifest doesn't name.

        Raises:
            BundleError: if the bundle has no such file, or it is unreadable or altered.
        """
        entry: FileEntry | None = getattr(self.manifest.files, which)
        if entry is None:
            raise BundleError(f"bundle {self.name!r} has no {which!r} file")
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
    """
    folder = _find(name_or_path)
    manifest = parse_manifest(_read_yaml(folder / MANIFEST), source=str(folder / MANIFEST))
    for entry in (manifest.files.model, manifest.files.refine):
        if entry is not None:
            path = folder / entry.path
            if not path.is_file():
                raise BundleError(
                    f"{path} is missing although {MANIFEST} names it; copy the whole bundle "
                    "again (with git, check that large files were fetched: git lfs pull)"
                )
            _compare_hash(path, entry, _sha256(path))
    return Bundle(folder, manifest)


def parse_manifest(data: Mapping[str, Any], source: str = MANIFEST) -> Manifest:
    """Validate the content of a manifest.

    Raises:
        BundleError: naming each wrong field, what it holds and what is expected.
    """
    kind = data.get("kind")
    model = MANIFESTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise BundleError(f"{source}: kind is {kind!r}; expected one of {', '.join(MANIFESTS)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BundleError(f"{source} is not valid: {_describe(error)}") from error


def write_bundle(
    folder: Path | str,
    manifest: Mapping[str, Any],
    model: Path | str,
    refine: Path | str | None = None,
) -> Bundle:
    """Make a bundle: copy the files, hash them, write and check the manifest.

    Args:
        folder: created if needed; an earlier bundle in it is replaced.
        manifest: all fields of the manifest but ``files``.
        model: the ONNX file of the network, weights embedded.
        refine: optional ONNX file of the refining network.

    Returns:
        The bundle as loaded back from disk.

    Raises:
        BundleError: if the manifest is invalid (nothing is written then) or a file unreadable.
    """
    folder = Path(folder)
    sources = {"model": Path(model)} | ({"refine": Path(refine)} if refine is not None else {})
    try:
        files = {
            key: {"path": f"{key}.onnx", "sha256": _sha256(path)} for key, path in sources.items()
        }
        checked = parse_manifest({**manifest, "files": files}, source="the manifest given")
        folder.mkdir(parents=True, exist_ok=True)
        for key, path in sources.items():
            target = folder / f"{key}.onnx"
            if not (target.exists() and target.samefile(path)):
                shutil.copyfile(path, target)
        text = yaml.safe_dump(checked.model_dump(mode="json", exclude_none=True), sort_keys=False)
        _write_atomically(folder / MANIFEST, text)
    except OSError as error:
        raise BundleError(f"can't write the bundle {folder}: {error}") from error
    return load_bundle(folder)


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    path = Path(name_or_path).expanduser()
    if path.name == MANIFEST:
        path = path.parent
    is_name = os.sep not in text and "/" not in text and text not in ("", ".", "..")
    shipped = models_directory() / text if is_name else path
    for candidate in (shipped, path):
        if (candidate / MANIFEST).is_file():
            return candidate
    raise BundleError(
        f"no bundle {text!r}: neither a shipped model ({', '.join(list_bundles()) or 'none'}) nor "
        f"a folder with a {MANIFEST}"
    )


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"can't read {path}: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{path} holds {type(data).__name__}; expected a mapping of fields")
    return data


def _describe(error: ValidationError) -> str:
    """Pydantic's findings in our words: field, what was got, what to do."""
    findings = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "bundle"
        if item["type"] == "extra_forbidden":
            findings.append(f"{where}: unknown key; remove it or correct its spelling")
        elif item["type"] == "missing":
            findings.append(f"{where}: missing; add it")
        else:
            got = "" if isinstance(item["input"], dict) else f"got {item['input']!r:.80}; "
            findings.append(f"{where}: {got}{item['msg'].removeprefix('Value error, ')}")
    return "; ".join(findings)


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


def _write_atomically(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).chmod(0o644)
    os.replace(temporary, path)
