"""The networks by name.

``create("smap")`` builds a network whose ``state_dict`` has exactly the official keys and
shapes. Modules are imported when their network is asked for, so listing names is cheap and
one network's dependencies never stand in the way of another. ``python -m smap_train.models``
prints the table of all of them, checked against the golden files.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from torch import nn

from smap_ros.errors import InputError, SmapError


@dataclass(frozen=True)
class Entry:
    """Where a network lives and what it takes.

    Attributes:
        target: ``module:class``, imported on demand.
        input_shape: shape of one example input, float32.
        body: module of the user's own body model inside, which official files may lack.
    """

    target: str
    input_shape: tuple[int, ...]
    body: str = ""


REGISTRY: dict[str, Entry] = {
    "smap": Entry("smap_train.models.smap:Smap", (1, 3, 512, 832)),
    "refinenet": Entry("smap_train.models.refinenet:RefineNet", (4, 75)),
    "maed": Entry("smap_train.models.maed:Maed", (1, 16, 3, 224, 224), "decoder.smpl"),
    "mobilehuman": Entry("smap_train.models.mobilehuman:MobileHuman", (1, 3, 256, 256)),
    "crowdnet": Entry("smap_train.models.crowdnet:CrowdNet", (1, 3, 256, 256), "human_model_layer"),
    "hap_crowdnet": Entry(
        "smap_train.models.crowdnet:HapCrowdNet", (1, 3, 256, 256), "human_model_layer"
    ),
    "hap_pretraining": Entry("smap_train.models.hap:HapPretraining", (1, 3, 256, 128)),
    "virtualpose_backbone": Entry(
        "smap_train.models.virtualpose.backbone:PoseDetResNet", (1, 3, 512, 960)
    ),
    "virtualpose": Entry("smap_train.models.virtualpose.model:VirtualPose", (1, 21, 128, 240)),
    "virtualpose_lite": Entry(
        "smap_train.models.virtualpose.lite:VirtualPoseLite", (1, 15, 64, 112)
    ),
    "smap_lite": Entry("smap_train.models.smap_lite:SmapLite", (1, 3, 256, 448)),
    "landmarks": Entry("smap_train.models.landmarks:Landmarks", (1, 3, 256, 256)),
    "fusing": Entry("smap_train.models.fusing:Fusing", (4, 350)),
    "smoother": Entry("smap_train.models.smoother.network:LearnedSmoother", (1, 40, 15, 3)),
}


def entry(name: str) -> Entry:
    """The registered network of that name.

    Raises:
        InputError: if there is none, naming those that exist.
    """
    if name not in REGISTRY:
        raise InputError(f"unknown model {name!r}; known models: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def create(name: str, **options: Any) -> nn.Module:
    """Build a network with fresh weights, in training mode.

    Args:
        name: a key of ``REGISTRY``.
        options: keyword arguments of the network's class.

    Returns:
        The module. In eval mode its ``forward`` returns a dict of named tensors.

    Raises:
        InputError: if the name is unknown, or the network doesn't take these options.
    """
    module, _, attribute = entry(name).target.partition(":")
    network = getattr(importlib.import_module(module), attribute)
    try:
        built = network(**options)
    except SmapError:
        raise
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        raise InputError(
            f"model {name!r} can't be built with options {options}: {error}"
        ) from error
    if not isinstance(built, nn.Module):
        raise TypeError(f"{entry(name).target} gave {type(built).__name__}, expected nn.Module")
    return built
