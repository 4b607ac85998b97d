"""`smap-train export`: a checkpoint becomes a bundle that engines load, checked against torch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import torch
import typer
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import smap_ros
from smap_ros.bundle import Bundle, write_bundle
from smap_ros.errors import InputError
from training.models import create, entry
from training.models.checkpoint import load_checkpoint

OPSET = 18  # read by OpenVINO, ONNX Runtime and TensorRT 10 alike
MAX_RELATIVE_ERROR = 1e-3

_MIN_HALF = 256  # smaller constants stay fp32: they weigh nothing and may be shapes or gains
_IMAGENET_BGR = {"mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)}

# What a manifest says of each exportable network beside its shapes. SMAP's units are those of
# the official code: heatmaps times 255, affinities times 127, centimetres.
_SMAP_KIND: dict[str, dict[str, Any]] = {
    "smap": {
        "input": {"color": "bgr", **_IMAGENET_BGR},
        "scales": {
            "heatmap_scale": 255.0,
            "paf_scale": 127.0,
            "bone_depth_unit_m": 0.01,
            "root_depth_unit_m": 0.01,
        },
        "centred_pixels": False,
    },
    "smap_lite": {
        "input": {"color": "rgb", "mean": (127 / 255,) * 3, "std": (128 / 255,) * 3},
        "scales": {
            "heatmap_scale": 1.0,
            "paf_scale": 1.0,
            "bone_depth_unit_m": 1.0,
            "root_depth_unit_m": 1.0,
        },
        "centred_pixels": True,
    },
}
_OUTPUTS = {"maps": "heatmap_2d", "bone_depth": "det_d", "root_depth": "root_d"}


class _Ordered(nn.Module):
    """The network with its outputs as a tuple, which the exporter names."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(image)
        return tuple(outputs[name] for name in self.names)


def to_onnx(network: nn.Module, example: Tensor, outputs: tuple[str, ...], path: Path) -> None:
    """Write a network in eval mode as ONNX with static shapes and embedded weights."""
    program = torch.onnx.export(
        _Ordered(network.eval(), outputs).eval(),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=list(outputs),
        external_data=False,
        verbose=False,
    )
    program.save(str(path), external_data=False)


def fuse_batch_norm(network: nn.Module) -> None:
    """Fold each batch norm that follows a convolution in an ``nn.Sequential`` into it."""
    for sequence in network.modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        for index in range(1, len(sequence)):
            conv, norm = sequence[index - 1], sequence[index]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index - 1] = fuse_conv_bn_eval(conv, norm)
                sequence[index] = nn.Identity()


def _rounded(weights: Tensor) -> Tensor:
    """To what ``store_half`` keeps of them."""
    halved = weights.is_floating_point() and weights.numel() >= _MIN_HALF
    return weights.half().float() if halved else weights


def store_half(path: Path) -> None:
    """Store large weights as fp16 behind a Cast: half the file, arithmetic stays fp32.

    Runtimes fold the casts away when they load the model.
    """
    model = onnx.load(path)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < _MIN_HALF:
            kept.append(tensor)
            continue
        name = f"{tensor.name}__fp16"
        kept.append(numpy_helper.from_array(array.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def compare(network: nn.Module, path: Path, example: Tensor, names: tuple[str, ...]) -> float:
    """Largest difference between ONNX Runtime and torch, relative to each output's range."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    got = session.run(list(names), {"image": example.numpy()})
    with torch.no_grad():
        expected = network(example)
    worst = 0.0
    for name, array in zip(names, got, strict=True):
        reference = expected[name].numpy()
        scale = max(float(np.abs(reference).max()), 1e-6)
        worst = max(worst, float(np.abs(array - reference).max()) / scale)
    return worst


def export_smap_kind(
    checkpoint: Path,
    bundle: Path,
    *,
    half: bool,
    provenance: dict[str, Any],
    licence: str,
    description: str,
    refine: Path | None = None,
) -> tuple[Bundle, float]:
    """Export a network with SMAP's outputs.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the network has no such outputs or ONNX and torch disagree.
    """
    content = load_checkpoint(checkpoint)
    name = content["model"]
    if name not in _SMAP_KIND:
        raise InputError(
            f"{checkpoint} holds {name!r}; bundles can be made of {', '.join(_SMAP_KIND)}"
        )
    options = {key: value for key, value in content["options"].items() if key != "imagenet"}
    network = create(name, **options).eval()
    network.load_state_dict(content["state_dict"])
    if half:  # round first, so that torch and ONNX hold the same numbers
        fuse_batch_norm(network)
        network.load_state_dict({k: _rounded(v) for k, v in network.state_dict().items()})
    example = torch.randn(entry(name).input_shape, generator=torch.Generator().manual_seed(0))
    names = tuple(_OUTPUTS.values())
    with torch.no_grad():
        shapes = {key: tuple(value.shape) for key, value in network(example).items()}
    facts = _SMAP_KIND[name]
    height, width = example.shape[2:]
    manifest = {
        "name": bundle.name,
        "kind": "smap",
        "version": smap_ros.__version__,
        "description": description,
        "input": {"name": "image", "width": width, "height": height, **facts["input"]},
        "outputs": {
            key: {"name": output, "shape": shapes[output]} for key, output in _OUTPUTS.items()
        },
        "joint_set": "mpi15",
        "precision": "fp16" if half else "fp32",
        "licence": licence,
        "provenance": provenance,
        "scales": facts["scales"],
        "stride": height // shapes["heatmap_2d"][2],
        "centred_pixels": facts["centred_pixels"],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(network, example, names, path)
        if half:
            store_half(path)
        error = compare(network, path, example, names)
        if not error <= MAX_RELATIVE_ERROR:
            raise InputError(
                f"ONNX Runtime and torch differ by {error:.2e} of the outputs' range; expected at "
                f"most {MAX_RELATIVE_ERROR:.0e}. Nothing was written; please report this"
            )
        refine_path = Path(folder) / "refine.onnx" if refine is not None else None
        if refine is not None and refine_path is not None:
            error = max(error, _export_refine(refine, refine_path))
        return write_bundle(bundle, manifest, path, refine_path), error


def _export_refine(checkpoint: Path, path: Path) -> float:
    """Write a RefineNet for any number of people; its largest relative difference from torch."""
    content = load_checkpoint(checkpoint)
    if content["model"] != "refinenet":
        raise InputError(
            f"{checkpoint} holds {content['model']!r}; a refining network is refinenet"
        )
    network = create("refinenet", **content["options"]).eval()
    network.load_state_dict(content["state_dict"])
    example = torch.randn(entry("refinenet").input_shape) * 50  # pixels and centimetres
    program = torch.onnx.export(
        _Ordered(network, ("out",)).eval(),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["out"],
        dynamic_shapes=({0: torch.export.Dim("people")},),
        verbose=False,
    )
    program.save(str(path), external_data=False)
    return compare(network, path, example, ("out",))


def _provenance(run: Path | None, command: str, data: str) -> dict[str, Any]:
    """Origin of the weights: from the record that ``smap-train fit`` wrote, or as stated."""
    if run is None:
        return {"data": data, "command": command, "commit": "unknown"}
    try:
        record = json.loads(run.read_text())
        return {
            "data": data,
            "command": command,
            "commit": record["commit"],
            "seed": record["config"]["seed"],
            "data_hash": record["data_hash"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{run} is not the record of a training run ({error!r}); expected run.json as written "
            "by smap-train fit"
        ) from error


def run(
    checkpoint: Annotated[Path, typer.Argument(help="From smap-train fit or convert.")],
    bundle: Annotated[Path, typer.Argument(help="Folder to write; its name names the bundle.")],
    half: Annotated[bool, typer.Option(help="Store weights as fp16 (half the size).")] = False,
    refine: Annotated[Path | None, typer.Option(help="RefineNet from smap-train refine.")] = None,
    record: Annotated[Path | None, typer.Option(help="run.json of the training run.")] = None,
    data: Annotated[str, typer.Option(help="What it was trained on, with licences.")] = "unknown",
    command: Annotated[str, typer.Option(help="Command that made the weights.")] = "unknown",
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    description: Annotated[str, typer.Option(help="One line about the model.")] = "",
) -> None:
    """Export a checkpoint to a bundle; ONNX is compared with torch before anything is written."""
    made, error = export_smap_kind(
        checkpoint,
        bundle,
        half=half,
        provenance=_provenance(record, command, data),
        licence=licence,
        description=description,
        refine=refine,
    )
    size = (made.folder / made.manifest.files.model.path).stat().st_size / 1e6
    typer.echo(f"{made.folder}: {size:.1f} MB, ONNX against torch {error:.1e} relative")
