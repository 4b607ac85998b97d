"""Networks ready to be run, with inputs of their official size: for tables and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from smap_train.models import create, entry
from smap_train.models.golden import golden_arguments, golden_folder, load_golden


def example(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network in eval mode and what its ``forward`` takes.

    Weights and inputs are those of its golden files; random ones where it has none.

    Raises:
        InputError: if there is no network of that name.
    """
    if golden_folder(name).is_dir():
        model, golden = load_golden(name)
        return model, golden_arguments(name, golden)
    torch.manual_seed(0)
    model = create(name).eval()
    return model, _arguments(name, model)


def named_outputs(outputs: Any) -> Mapping[str, Tensor]:
    """The outputs of a network by name, whether they come as a dict or as a named tuple."""
    named: Mapping[str, Tensor] = outputs if isinstance(outputs, Mapping) else outputs._asdict()
    return named


def _arguments(name: str, model: nn.Module) -> tuple[Any, ...]:
    """Random inputs for a network that has no golden files."""
    image = torch.randn(entry(name).input_shape)
    if name == "hap_pretraining":  # which patches are hidden first
        return image, torch.rand(len(image), model.get_parameter("pos_embed").shape[1] - 1)
    if name.startswith("virtualpose"):
        return _maps_and_camera(model)
    return (image,)


def _maps_and_camera(model: Any) -> tuple[Any, ...]:
    """Maps with some people and the camera that sees them."""
    from smap_train.models.virtualpose.cameras import Cameras
    from smap_train.models.virtualpose.graphs import MM, root_export

    maps, *values = root_export(model).inputs.values()
    camera = Cameras(*values)
    return maps, camera._replace(position_mm=camera.position_mm * MM)
