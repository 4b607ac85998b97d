"""Recipe ``refine_lite``: a RefineNet for one bundle, from its own errors and simulated poses.

SMAP trains RefineNet (section 3.4) on its network's predictions on the training set. Here the
errors that a bundle makes (`smap-train pairs`, best on scenes that it wasn't trained on) are laid
over poses from motion capture and joint limits, seen by random cameras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.estimators.smap.lifting import CM_PER_M
from smap_ros.skeletons import MPI15
from smap_train.engine.config import RunConfig, Widths
from smap_train.engine.sampling import Mixture, Source
from smap_train.models.checkpoint import load_checkpoint, mismatches
from smap_train.models.exported import load_exported, read_exported
from smap_train.models.refinenet import RefineNet
from smap_train.recipes.base import Recipe
from smap_train.refining.errors import ErrorModel, half_mirrored, view
from smap_train.refining.found import FoundPeople, read_found
from smap_train.refining.origin import require_one_bundle
from smap_train.virtual.pose_pool import sample_poses

ROOT = MPI15.root
_OTHERS = np.arange(len(MPI15)) != ROOT
_MM_PER_CM = 10.0
_BEYOND = 5.0  # cm; larger errors count linearly


class RefineLiteConfig(RunConfig):
    """Everything that determines a run."""

    FREE: ClassVar[frozenset[str]] = RunConfig.FREE | {"bundle"}

    recipe: Literal["refine_lite"] = Field("refine_lite", description="this recipe")
    bundle: str | None = Field(None, description="whose people these are, and who gets the network")
    pairs: Path | None = Field(
        None, description="people as the bundle finds them: NAME.npz of `smap-train pairs`"
    )
    initial: Path | None = Field(
        None, description="weights to go on from: NAME.pth, or refine.onnx of a bundle"
    )
    motion: Path | None = Field(None, description="motion capture (.npz)")
    poses: int = Field(100_000, gt=0, description="poses to sample")
    group: int = Field(64, gt=1, description="people of a sample")
    measured_share: float = Field(
        0.35, gt=0, lt=1, description="of the people of a sample, those that the bundle found"
    )
    held_share: float = Field(
        0.1, gt=0, lt=1, description="of the people found, those that measure the run"
    )
    hidden: Widths = Field([512, 512, 512, 256], description="widths of the network's layers")
    batch_size: int = Field(16, gt=0, description="samples a step, over all devices together")
    learning_rate: float = Field(2e-3, gt=0, description="at the peak")
    weight_decay: float = Field(1e-4, ge=0, description="factor on the weights")
    warmup: int = Field(1800, ge=0, description="steps that warm up")
    cooldown: float = Field(0.7, ge=0, le=1, description="share of the steps that cool down")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="of the averaged weights; 0: none")
    clip: float = Field(0.0, ge=0, description="largest norm of a step's gradient; 0: any")


class RefineLiteRecipe(Recipe[RefineLiteConfig]):
    """refinenet that sees scores and told poses, and moves the root."""

    config_type: ClassVar[type[RunConfig]] = RefineLiteConfig
    summary = "a RefineNet for one bundle, from its errors over simulated poses"
    model = "refinenet"

    @classmethod
    def export_options(cls, config: RefineLiteConfig) -> dict[str, Any]:
        """The bundle that gets the network."""
        return {"like": config.bundle}

    @classmethod
    def next_step(cls, config: RefineLiteConfig, path: Path) -> str:
        """The export; without a bundle in the configuration it is the user's to name."""
        return super().next_step(config, path) + ("" if config.bundle else " --like BUNDLE")

    def __init__(self, config: RefineLiteConfig) -> None:
        super().__init__(config)
        if config.pairs is None:
            raise InputError("no training data: set pairs to what `smap-train pairs` wrote")
        self.people = people = read_found(config.pairs)
        require_one_bundle({config.pairs: people.found_by}, config.bundle)
        if len(people) < 2:
            raise InputError(f"{config.pairs} holds one person; expected at least two")
        self.options = {
            "residual": True, "scores": True, "moves_root": True, "hidden": list(config.hidden),
            "poses": people.poses is not None,
        }  # fmt: skip
        order = np.random.default_rng(config.seed).permutation(len(people))
        cut = max(1, int(config.held_share * len(people)))
        self.held_out, self.measured = people[order[:cut]], people[order[cut:]]

    def network(self) -> RefineNet:
        """Fresh weights, or those to go on from; batch norms then stay as they are."""
        network = RefineNet(**self.options)
        if self.config.initial is not None:
            load_initial(network, self.config.initial)
            network.frozen_norms = True
        return network.train()

    def dataset(self) -> Mixture:
        """Groups of people, most of them simulated."""
        config = self.config
        poses = sample_poses(config.motion, config.poses, config.seed)
        return self.mixture([Source("poses", Groups(poses, self._simulated), self.sample)])

    @property
    def _simulated(self) -> int:
        """People of a sample that nobody found."""
        own = round(self.config.measured_share * self.config.group)
        return self.config.group - min(max(own, 1), self.config.group - 1)

    @cached_property
    def _errors(self) -> tuple[ErrorModel, NDArray[np.float32], NDArray[np.float32]]:
        """Those of the measured people, and what these are as inputs and targets."""
        return ErrorModel(self.measured), self.measured.inputs(), self.measured.targets()

    def sample(self, poses: NDArray[np.float32], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Simulated people in these poses [N, 15, 3] and measured ones, half of them mirrored.

        Returns:
            Inputs float32 [group, 90 or 135] and targets float32 [group, 45].
        """
        errors, inputs, targets = self._errors
        size = self.people.size
        simulated = errors.apply(rng, *view(rng, poses, size))
        rows = rng.integers(len(inputs), size=self.config.group - len(poses))
        x = np.concatenate([simulated.inputs(), inputs[rows]])
        y = np.concatenate([simulated.targets(), targets[rows]])
        x, y = half_mirrored(rng, x, y, size[0])
        return torch.from_numpy(x), torch.from_numpy(y)

    def collate(self) -> Callable[[list[tuple[Tensor, Tensor]]], tuple[Tensor, Tensor]]:
        """All groups of a batch as one."""
        return _together

    def losses(
        self, network: nn.Module, batch: tuple[Tensor, Tensor], step: int
    ) -> dict[str, Tensor]:
        """Errors of all 45 numbers, squared up to five centimetres."""
        inputs, targets = batch
        return {"smooth": F.smooth_l1_loss(network(inputs)["out"], targets, beta=_BEYOND)}

    def loss_weights(self) -> Mapping[str, float]:
        """There is one."""
        return {"smooth": 1.0}

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Of people who weren't learnt from: see :func:`comparison`."""
        people = self.held_out[np.arange(min(limit, len(self.held_out)))]
        device = next(network.parameters()).device
        out = network(torch.from_numpy(people.inputs()).to(device))["out"].cpu().numpy()
        return comparison(people, out.reshape(-1, len(MPI15), 3))

    def files(self) -> list[Path]:
        """The people found, and the motion capture."""
        config = self.config
        return [path for path in (config.pairs, config.motion, config.initial) if path is not None]


def load_initial(network: RefineNet, path: Path) -> None:
    """Put the weights of a checkpoint or of a bundle's refine.onnx into a network.

    Raises:
        InputError: if they are of a network of other widths or inputs, or can't be read.
    """
    if path.suffix == ".onnx":
        try:
            missing = ", ".join(load_exported(network, read_exported(path)))
        except InputError as error:
            missing = str(error)
    else:
        weights = load_checkpoint(path)["state_dict"]
        missing = mismatches(weights, network.state_dict())
        if not missing:
            network.load_state_dict(weights)
    if missing:
        raise InputError(
            f"{path} doesn't fit this RefineNet of {network.inputs} inputs: {missing}\nset "
            "`hidden` to what it has, and train on pairs of a bundle of its kind"
        )


class Groups(Sequence[NDArray[np.float32]]):
    """Poses [N, 15, 3] in groups of equal size, the last filled up from the first."""

    def __init__(self, poses: NDArray[np.float32], size: int) -> None:
        self.poses, self.size = poses, size

    def __len__(self) -> int:
        return math.ceil(len(self.poses) / self.size)

    def __getitem__(self, number: Any) -> NDArray[np.float32]:
        if not 0 <= number < len(self):
            raise IndexError(f"group {number} of {len(self)}")
        rows = np.arange(number * self.size, (number + 1) * self.size)
        return self.poses[rows % len(self.poses)]


def _together(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*samples, strict=True)
    return torch.cat(inputs), torch.cat(targets)


def comparison(people: FoundPeople, refined: NDArray[np.float32]) -> dict[str, float]:
    """How far people are off as found and as refined.

    Args:
        people: M people.
        refined: float32 [M, 15, 3], centimetres, as RefineNet answers.

    Returns:
        Mean distance about the pelvis, millimetres, of the joints that were found
        (``refined_mm``, ``lifted_mm``) and of those that weren't (``not_found_mm``), and the
        median error of the pelvis' distance, percent.
    """
    truth = people.targets().reshape(-1, len(MPI15), 3)
    lifted = (people.found - people.found[:, ROOT, None]) * CM_PER_M
    before = _MM_PER_CM * np.linalg.norm(lifted - truth, axis=-1)[:, _OTHERS]
    after = _MM_PER_CM * np.linalg.norm(refined - truth, axis=-1)[:, _OTHERS]
    found = np.isfinite(before)
    depth = people.true[:, ROOT, 2]
    off = people.found[:, ROOT, 2] - depth
    moved = off + refined[:, ROOT, 2] / CM_PER_M
    measures = {
        "refined_mm": after[found].mean() if found.any() else np.nan,
        "lifted_mm": before[found].mean() if found.any() else np.nan,
        "refined_distance_percent": 100 * np.median(np.abs(moved) / depth),
        "lifted_distance_percent": 100 * np.median(np.abs(off) / depth),
    }
    if not found.all():
        measures["not_found_mm"] = after[~found].mean()
    return {name: float(value) for name, value in measures.items()}
