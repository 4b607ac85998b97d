"""Golden files: weights by rule, and outputs of the official code to compare with.

A golden folder holds ``manifest.json`` (every official state-dict key with its shape, dtype
and fill rule) and ``golden.npz`` (outputs for a stated input). Weights are not stored: each
tensor is drawn from a generator seeded by its key, so a few hundred kilobytes check a network
of any size. A network with variants has several manifests, ``manifest_VARIANT.json``.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.models import create, entry, golden_body

# Next to the packages in a source checkout; not part of an installed package.
GOLDENS = Path(__file__).resolve().parents[2] / "tests" / "goldens"

RTOL, ATOL = 1e-4, 1e-3  # float32 noise between machines, with a margin


@dataclass(frozen=True)
class Case:
    """What shows a network, where its golden folder holds more or less than the usual.

    Attributes:
        folder: the golden folder's name, if not the network's.
        manifest: file name of the manifest.
        prefix: what the names of its arrays begin with.
        constants: gives the entries of the state dict that no rule draws.
        arguments: gives what the network is called with, where that isn't one random tensor.
        outputs: those that are compared, by the names of their arrays; empty for all, whose
            arrays have the same names.
    """

    folder: str = ""
    manifest: str = "manifest.json"
    prefix: str = ""
    constants: Callable[[], dict[str, Tensor]] = dict
    arguments: Callable[[Golden], tuple[Any, ...]] | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)


def _virtualpose_arguments(golden: Golden) -> tuple[Any, ...]:
    """Maps and camera; imported on demand, like the networks."""
    from smap_train.models.virtualpose.golden_scene import golden_scene

    return golden_scene(golden.folder, golden.arrays)


def _crowdnet_arguments(golden: Golden) -> tuple[Any, ...]:
    """Crop, 2D pose, and which of its joints are known."""
    joints, mask = (torch.from_numpy(golden.arrays[name]) for name in ("in_joints", "in_mask"))
    return golden.inputs(), joints, mask


# All but out_joint_proj: the head top's regressor isn't in the state dict; see the tests.
_CROWDNET_OUTPUTS = {
    f"out_{name}": f"out_{name}"
    for name in (
        "joint_img", "joint_score", "smpl_pose", "smpl_shape", "cam_param",
        "mesh_cam", "mesh_cam_render",
    )
}  # fmt: skip

_CASES = {
    "maed": Case("maed", "manifest_parallel.json", "parallel_n1t16_", golden_body.maed_constants),
    "mobilehuman": Case("mobilehumanpose", "manifest_LPSKI_j18.json", "LPSKI_j18_"),
    "crowdnet": Case(
        "3dcrowdnet",
        constants=golden_body.crowdnet_constants,
        arguments=_crowdnet_arguments,
        outputs=_CROWDNET_OUTPUTS,
    ),
    "hap_crowdnet": Case(
        "hap_3dcrowdnet",
        constants=golden_body.crowdnet_constants,
        arguments=_crowdnet_arguments,
        outputs=_CROWDNET_OUTPUTS,
    ),
    "virtualpose_backbone": Case(prefix="flip_"),
    # Joints are summed more precisely than officially: see the network's tests.
    "virtualpose_lite": Case(arguments=_virtualpose_arguments),  # no golden files
    "virtualpose": Case(
        arguments=_virtualpose_arguments,
        outputs={
            "grid_centers": "nogt_grid_centers",
            "dec_bboxes": "nogt_dec_bboxes",
            "dec_depths": "nogt_dec_depths",
            "depth_map": "depth_map",
            "root_cubes": "root_cubes",
        },
    ),
}


@dataclass(frozen=True)
class Difference:
    """How far an output is from its golden values.

    Attributes:
        max_abs: largest absolute difference.
        max_rel: ``max_abs`` over the largest golden magnitude.
        within: every value is within ``ATOL + RTOL * |golden|``.
    """

    max_abs: float
    max_rel: float
    within: bool


class Golden:
    """One golden folder.

    Args:
        folder: where the files are.
        manifest: file name of the manifest.
        prefix: what the names of this variant's arrays begin with; ``difference`` adds it.

    Raises:
        InputError: if the folder lacks one of its two files.
    """

    def __init__(self, folder: Path, manifest: str = "manifest.json", prefix: str = "") -> None:
        for name in (manifest, "golden.npz"):
            if not (folder / name).is_file():
                raise InputError(f"no golden files in {folder}: {name} is missing")
        self.folder, self.prefix = folder, prefix
        self.manifest: dict[str, Any] = json.loads((folder / manifest).read_text())

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays of ``golden.npz``."""
        with np.load(self.folder / "golden.npz") as stored:
            return {name: stored[name] for name in stored.files}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Official state-dict keys, in order, with their shapes."""
        return {name: tuple(shape) for name, shape, _ in self.manifest["entries"]}

    def weights(self, kept: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The state dict by the fill rules of the manifest.

        Args:
            kept: tensors that no rule draws (kinds ``keep`` and ``synthetic``: a body model,
                constants of the architecture), by key.
        """
        kept = kept or {}
        pairs = zip(self.manifest["entries"], self.manifest["kinds"], strict=True)
        return {
            name: kept[name]
            if name in kept
            else torch.from_numpy(self._fill(name, tuple(shape), dtype, kind))
            for (name, shape, dtype), kind in pairs
        }

    def inputs(self, shape: tuple[int, ...] | None = None) -> Tensor:
        """The network input that the outputs belong to.

        Args:
            shape: of the input, where the manifest doesn't state it.
        """
        shape = tuple(self.manifest["input_shape"]) if shape is None else shape
        return torch.from_numpy(_generator(0).standard_normal(shape, dtype=np.float32))

    def difference(self, name: str, got: Tensor) -> Difference:
        """Compare a tensor with the golden array of that name, full or sampled.

        Raises:
            InputError: if there is no such golden array, or the shapes differ.
        """
        name = self.prefix + name
        values = got.detach().cpu().numpy()
        if name in self.arrays:
            expected = self.arrays[name]
            shape = expected.shape
        elif f"{name}__sub" in self.arrays:
            expected = self.arrays[f"{name}__sub"]
            shape = tuple(self.arrays[f"{name}__shape"])
        else:
            raise InputError(f"{self.folder.name} has no golden array {name!r}")
        if values.shape != shape:
            raise InputError(f"{name}: got shape {values.shape}, expected {shape}")
        if name not in self.arrays:
            values = self._sample(name, values)
        gap = np.abs(values.astype(np.float64) - expected)
        return Difference(
            float(gap.max()),
            float(gap.max() / np.abs(expected).max()),
            bool(np.all(gap <= ATOL + RTOL * np.abs(expected))),
        )

    def _sample(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """The positions of a large array that were stored, checked against the file's own."""
        positions = _generator(1).integers(0, values.size, size=self.arrays[f"{name}__sub"].size)
        first = self.arrays[f"{name}__idx8"]
        if not np.array_equal(positions[: first.size], first):
            raise InputError(f"{name}: this numpy draws other positions than the golden file's")
        return values.ravel()[positions]

    def _fill(self, name: str, shape: tuple[int, ...], dtype: str, kind: str) -> NDArray[Any]:
        if kind == "zero":
            return np.zeros(shape, dtype)
        x = _generator(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
        if kind == "one":
            filled = np.float32(1) + np.float32(0.1) * np.tanh(x)
        elif kind == "small":
            filled = np.float32(0.05) * x
        elif kind == "prelu":
            filled = np.float32(0.25) + np.float32(0.05) * x
        elif kind == "weight":
            filled = x * np.float32(self._gain(name) * np.sqrt(2.0 / _fan_in(shape)))
        else:
            raise InputError(f"{self.folder.name}: fill rule {kind!r} of {name} is unknown")
        if name in self.manifest.get("const_overrides", {}):
            filled = np.broadcast_to(self.manifest["const_overrides"][name], shape)
        return np.array(filled, dtype=np.float32)

    def _gain(self, name: str) -> float:
        matching = [
            gain for pattern, gain in self.manifest["overrides"] if re.search(pattern, name)
        ]
        return float(matching[-1] if matching else self.manifest["gain"])


def golden_folder(name: str) -> Path:
    """Where a network's golden files are, if it has any."""
    return GOLDENS / (_CASES.get(name, Case()).folder or name)


def load_golden(name: str) -> tuple[nn.Module, Golden]:
    """A network in eval mode with its golden weights, and the golden folder.

    Built on the meta device, as initial weights would be overwritten anyway.

    Raises:
        InputError: if there are no golden files for that network.
    """
    case = _CASES.get(name, Case())
    golden = Golden(golden_folder(name), case.manifest, case.prefix)
    with torch.device("meta"):
        model = create(name)
    model.load_state_dict(golden.weights(case.constants()), strict=True, assign=True)
    return model.eval(), golden


def golden_outputs(name: str) -> tuple[dict[str, Tensor], list[Difference]]:
    """What a network with golden weights says to the golden input.

    Returns:
        Its outputs, and how far those that have a golden array are from it.
    """
    model, golden = load_golden(name)
    with torch.inference_mode():
        outputs: dict[str, Tensor] = model(*golden_arguments(name, golden))
    arrays = _CASES.get(name, Case()).outputs or {key: key for key in outputs}
    return outputs, [golden.difference(array, outputs[key]) for key, array in arrays.items()]


def golden_arguments(name: str, golden: Golden) -> tuple[Any, ...]:
    """What a network is called with for its golden outputs."""
    arguments = _CASES.get(name, Case()).arguments
    if arguments is not None:
        return arguments(golden)
    shape = None if "input_shape" in golden.manifest else entry(name).input_shape
    return (golden.inputs(shape),)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _fan_in(shape: tuple[int, ...]) -> int:
    return max(1, int(np.prod(shape[1:])))
