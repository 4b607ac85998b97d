"""Bundles of kind ``smoother``: one picture of all tracks at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

import smap_ros
from smap_ros.bundles.bundle import Bundle, load_bundle, write_bundle
from smap_ros.errors import InputError
from smap_ros.evaluation.common.films import film_paths, read_film
from smap_ros.skeletons import MPI15
from smap_train.export.common import ExportOptions, load_network
from smap_train.export.precision import Part, write_parts
from smap_train.models.deployment import Export
from smap_train.models.smoother.decoder import DELAYS
from smap_train.models.smoother.encoders import WINDOW
from smap_train.models.smoother.network import LearnedSmoother
from smap_train.models.smoother.tracks import PAST
from smap_train.settings import bundle_settings
from smap_train.smoother.calibration import calibrate
from smap_train.smoother.data import HELD_EVERY, examples, split

OUTPUTS = ("answer", "spread", "new_memory", "new_past", "new_sums")
_TRACKS = 3  # of the examples; more than one, as their number is free


class SmootherSettings(BaseModel):
    """What a manifest says beside what the network itself tells.

    Attributes:
        films: folder of the recorded films that it learned from; they name their detector.
        detector: the bundle that recorded them.
        wins: delays at which it was measured to be better than every filter.
        direction, depth_share: see
            :class:`~smap_ros.bundles.manifest.smoother.SmootherManifest`.
        held_every: as it learned: one film in so many was kept from it, and is so here.
    """

    model_config = ConfigDict(extra="forbid")

    films: Path
    detector: str = "smap_lite"
    wins: tuple[int, ...] = ()
    direction: float = Field(0.0, ge=0, le=100)
    depth_share: float = Field(0.0, ge=0, le=1)
    held_every: int = Field(HELD_EVERY, ge=2)


class StepGraph(nn.Module):
    """One picture of a learned smoother; see :meth:`LearnedSmoother.step`."""

    def __init__(self, network: LearnedSmoother) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, joints: Tensor, scores: Tensor, age: Tensor, back: Tensor, memory: Tensor,
        past: Tensor, sums: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """As the manifest's kind says."""
        return self.network.step(joints, scores, age, back, memory, past, sums)


def export_smoother_kind(
    checkpoint: Path,
    bundle: Path,
    options: ExportOptions,
) -> tuple[Bundle, float]:
    """Export a learned smoother, for any number of people.

    Args:
        checkpoint: of model ``smoother``.
        bundle: folder to write.
        options: ``settings`` are fields of ``SmootherSettings``.

    Returns:
        The bundle and the largest relative difference between ONNX Runtime and torch.

    Raises:
        InputError: if the checkpoint holds another network, a setting is wrong, the films are
            another detector's, or ONNX and torch disagree.
    """
    chosen = bundle_settings(SmootherSettings, options.settings, "smoother")
    network = load_network(checkpoint, LearnedSmoother)
    detector = read_film(film_paths(chosen.films)[0]).detector
    known = load_bundle(chosen.detector).model_hash
    if detector != known:
        raise InputError(
            f"the films in {chosen.films} were recorded by a detector {detector[:12]}..., bundle "
            f"{chosen.detector} is {known[:12]}... now; name the one that recorded them with "
            "--set detector=NAME, or record and train again"
        )
    paths = film_paths(chosen.films)
    learned = split(paths, chosen.held_every, held=False) or paths
    calibrate(network, examples([read_film(path) for path in learned]))
    manifest = bundle_manifest(bundle.name, network, chosen, detector)
    manifest |= options.facts
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        error = write_parts(
            [Part("smoother", step_export(network), path)], options.half, options.half_tolerance
        )
        return write_bundle(bundle, manifest, path), error


def step_export(network: LearnedSmoother) -> Export:
    """The graph of one picture, with people who walked for some pictures as examples."""
    network = network.eval()
    seeded = torch.Generator().manual_seed(0)
    pose = torch.randn(_TRACKS, len(MPI15), 3, generator=seeded) * 0.3
    place = torch.randn(_TRACKS, 1, 3, generator=seeded) * 0.3 + torch.tensor([0.0, 0.0, 4.0])
    state = empty_state(network, _TRACKS)
    inputs: dict[str, Tensor] = {}
    for picture in range(8):
        noise = torch.randn(pose.shape, generator=seeded) * 0.02
        inputs = {
            "joints": pose + place + 0.02 * picture + noise,
            "scores": torch.rand(_TRACKS, len(MPI15), generator=seeded) * 0.9 + 0.05,
            "age": ((picture - torch.arange(WINDOW - 1)) / 15.0).where(
                torch.arange(WINDOW - 1) < picture, torch.tensor(60.0)
            ),
            "back": torch.stack(
                [(torch.arange(WINDOW - 1) == picture - delay).float() for delay in DELAYS[1:]]
            ),
            **{name: value.clone() for name, value in state.items()},
        }
        with torch.inference_mode():
            _, _, memory, past, sums = network.step(*inputs.values())
        state["memory"][:, picture], state["past"][:, picture] = memory, past
        state["sums"] = sums
    free = ("joints", "scores", *state)
    return Export(StepGraph(network).eval(), inputs, OUTPUTS, dict.fromkeys(free, "tracks"))


def empty_state(network: LearnedSmoother, tracks: int) -> dict[str, Tensor]:
    """What is remembered of new tracks: nothing."""
    return {
        "memory": torch.zeros(tracks, WINDOW - 1, network.memory),
        "past": torch.zeros(tracks, WINDOW - 1, PAST),
        "sums": torch.zeros(tracks, len(MPI15), 2),
    }


def bundle_manifest(
    name: str, network: LearnedSmoother, chosen: SmootherSettings, detector: str
) -> dict[str, Any]:
    """All that the network and the settings determine."""
    delays, joints = len(DELAYS), len(MPI15)
    shapes = {
        "answer": (1, delays, joints, 3),
        "spread": (1, delays, joints),
        "new_memory": (1, network.memory),
        "new_past": (1, PAST),
        "new_sums": (1, joints, 2),
    }
    return {
        "name": name,
        "kind": "smoother",
        "version": smap_ros.__version__,
        "outputs": {key: {"name": key, "shape": shape} for key, shape in shapes.items()},
        "joint_set": MPI15.name,
        "detector": chosen.detector,
        "detector_sha256": detector,
        "delays": DELAYS,
        "wins": chosen.wins,
        "direction": chosen.direction,
        "depth_share": chosen.depth_share,
        "window": WINDOW,
    }
