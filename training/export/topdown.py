"""Bundles of kind ``topdown``: a network that looks at a crop of one person."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

import smap_ros
from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_train.export.common import IMAGENET_RGB, ExportOptions, load_network, random_crops
from smap_train.export.networks import one_input
from smap_train.export.precision import Part, write_parts
from smap_train.models.mobilehuman import DEPTH_HALF_RANGE_M, INPUT_SIZE, MobileHuman
from smap_train.settings import bundle_settings

_EXAMPLES = 3  # more than one, as the number of crops is free


class TopdownSettings(BaseModel):
    """What a manifest says beside what the network itself tells.

    Attributes:
        first_stage: name of the bundle that finds the people.
        flip_test: look at mirrored crops too, as the official evaluation does.
        pixel_range: 255 for the official weights, see ``smap_ros.bundles.manifest.CropInput``; 1
            for weights that were trained on pixels of 0 to 1. By default as the checkpoint says.
        box_margin: side of the crop over the longer side of a person's box.
    """

    model_config = ConfigDict(extra="forbid")

    first_stage: str = "smap_lite"
    flip_test: bool = False
    pixel_range: Literal[1, 255] | None = None
    box_margin: float = 1.25


def export_topdown_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Export a MobileHumanPose network, soft-argmax included, for any number of crops.

    Args:
        checkpoint: of model ``mobilehuman``.
        bundle: folder to write.
        options: ``settings`` are fields of ``TopdownSettings``.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the checkpoint holds another network, a setting is wrong, ONNX and torch
            disagree, or ``half`` moves the outputs by more than ``half_tolerance``.
    """
    chosen = bundle_settings(TopdownSettings, options.settings, "topdown")
    network = load_network(checkpoint, MobileHuman)
    pixel_range = chosen.pixel_range or network.pixel_range
    manifest = _manifest(bundle.name, network, chosen, pixel_range)
    manifest |= options.facts
    export = one_input(
        network, example_crops(pixel_range, network.input_size), ("coord",), free_batch=True
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        error = write_parts(
            [Part("mobilehuman", export, path)], options.half, options.half_tolerance
        )
        return write_bundle(bundle, manifest, path), error


def example_crops(pixel_range: int, size: int = INPUT_SIZE) -> Tensor:
    """Random crops, normalised, float32 [3, 3, size, size]."""
    return random_crops(_EXAMPLES, size, pixel_range)


def _manifest(
    name: str, network: MobileHuman, chosen: TopdownSettings, pixel_range: int
) -> dict[str, Any]:
    """All that the network and the settings determine."""
    return {
        "name": name,
        "kind": "topdown",
        "version": smap_ros.__version__,
        "input": {
            "name": "image",
            "width": network.input_size,
            "height": network.input_size,
            "color": "rgb",
            **IMAGENET_RGB,
            "pixel_range": pixel_range,
        },
        "outputs": {"coords": {"name": "coord", "shape": (1, len(network.skeleton), 3)}},
        "joint_set": network.skeleton.name,
        "first_stage": chosen.first_stage,
        "cells": network.size,
        "depth_half_range_m": DEPTH_HALF_RANGE_M,
        "box_margin": chosen.box_margin,
        "flip_test": chosen.flip_test,
    }
