"""Weights of an exported bundle as the start of a run: its batch norms are folded away.

Published bundles hold convolutions with their batch norms in them. Going back is exact in what
the network computes: a batch norm of mean 0, variance 1 and the convolution's bias changes
nothing. Training on needs more: the statistics that a batch norm would have measured, or its
first step in training mode would turn the network's features upside down.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smap_ros.errors import InputError

_SHOWN = 5  # names in an error
_PREFIX, _HALF, _FOLDED = "network.", "__fp16", ".weight_bias"


def read_exported(path: Path) -> dict[str, Tensor]:
    """Weights of an ONNX file that ``smap-train export`` wrote, float32, by the network's names.

    Raises:
        InputError: if the file is missing, damaged, or wasn't written so.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # onnx and protobuf raise what they like
        raise InputError(f"can't read the exported network {path}: {error}") from error
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {_parameter(name): name for name in tensors if name.startswith(_PREFIX)}
    if not names:
        raise InputError(f"{path} holds no weights under {_PREFIX}*; expected an exported bundle's")
    names.update(_slopes(model.graph, tensors))
    return {
        parameter: torch.from_numpy(numpy_helper.to_array(tensors[name]).astype("float32"))
        for parameter, name in names.items()
    }


def _slopes(graph: onnx.GraphProto, tensors: Container[str]) -> dict[str, str]:
    """What PReLUs multiply with, by the network's names: the exporter gives it names of its own.

    Each follows a convolution's batch norm: ``x.0`` and ``x.1`` are followed by ``x.2``. Where
    several multiply with the same, the file has it once.
    """
    makers = {output: node for node in graph.node for output in node.output}

    def stored(name: str) -> str:
        """What is behind a cast."""
        while name not in tensors and name in makers and makers[name].op_type == "Cast":
            name = makers[name].input[0]
        return name

    slopes: dict[str, str] = {}
    for node in graph.node:
        before = makers.get(node.input[0]) if node.op_type == "PRelu" else None
        if before is None or before.op_type != "Conv":
            continue
        convolution, slope = stored(before.input[1]), stored(node.input[1])
        if convolution.startswith(_PREFIX) and slope in tensors:
            group, _, place = _parameter(convolution).removesuffix(".weight").rpartition(".")
            slopes[f"{group}.{int(place) + 2}.weight"] = slope
    return slopes


def _parameter(name: str) -> str:
    """Name in the network of what the file calls ``name``."""
    bare = name.removeprefix(_PREFIX).removesuffix(_HALF)
    # The exporter names the bias that folding gave a convolution after its weight.
    return bare.removesuffix(_FOLDED) + ".bias" if bare.endswith(_FOLDED) else bare


@torch.no_grad()
def load_exported(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Put folded weights into a network; its eval mode then equals the exported one.

    Args:
        network: built with the same options; it may have heads that the weights lack.
        weights: see :func:`read_exported`.

    Returns:
        Names of the parameters that the weights don't have, which keep what they were.

    Raises:
        InputError: if weights are left over or have another shape.
    """
    state = network.state_dict()
    left = dict(weights)
    missing: list[str] = []
    for name, module in network.named_modules():
        for key, value in module.named_parameters(prefix=name, recurse=False):
            if isinstance(module, _BatchNorm):
                continue
            if key not in left:
                missing.append(key)
            elif isinstance(module, nn.PReLU) and left[key].numel() == value.numel():
                state[key].copy_(left.pop(key).flatten())  # ONNX has it as [C, 1, 1]
            elif left[key].shape != value.shape:
                got, expected = list(left[key].shape), list(value.shape)
                raise InputError(f"weights of {key} have shape {got}; expected {expected}")
            else:
                state[key].copy_(left.pop(key))
    for name, module in network.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        bias = _bias_before(name)
        if bias not in left and bias not in state:
            missing.append(f"{name}.bias")
            continue
        module.reset_running_stats()
        module.weight.fill_(1.0)
        assert module.running_var is not None
        module.running_var.fill_(1.0 - module.eps)
        # A layer with a bias of its own has taken it already.
        module.bias.copy_(left.pop(bias, torch.zeros_like(module.bias)))
    if left:
        names = sorted(left)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InputError(
            f"weights {', '.join(names[:_SHOWN])}{more} have no place in the network; build it "
            "with the options that it was exported with"
        )
    return missing


def _bias_before(name: str) -> str:
    """The bias that folding gave the convolution before a batch norm: ``x.2`` to ``x.1.bias``."""
    group, _, place = name.rpartition(".")
    return f"{group}.{int(place) - 1}.bias"


@torch.no_grad()
def settle_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch norms the statistics of some pictures, without changing what eval mode computes.

    Args:
        network: whose batch norms have identity statistics.
        batches: float32 [B, 3, H, W], as in training.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        count = torch.full((x.shape[1],), x.numel() / x.shape[1], dtype=torch.float64)
        sums[norm] += torch.stack([count, x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])  # type: ignore[index]

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    was_training = network.training
    network.eval()
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        count, total, square = sums[norm]
        assert norm.running_mean is not None and norm.running_var is not None
        mean = total / count
        variance = (square / count - mean.square()).clamp(min=1e-8)
        # Now: y = w (x - m) / sqrt(v + eps) + b, with the old m and v; the same with the new.
        old = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias += (old * (mean - norm.running_mean)).float()
        norm.weight.copy_(old * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    network.train(was_training)
