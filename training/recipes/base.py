"""What a recipe states; :func:`smap_train.engine.trainer.train` runs any of them."""

from __future__ import annotations

import logging
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.utils.data import Dataset

from smap_ros.errors import InputError
from smap_train.data.shards import shard_files
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import SKIPPED, Mixture, Source
from smap_train.models.checkpoint import (
    is_state_dict,
    load_checkpoint,
    mismatches,
    read_untrusted,
)
from smap_train.models.exported import load_exported, read_exported, settle_batch_norms
from smap_train.models.finished import weights_file

LOG = logging.getLogger(__name__)

_SETTLING = 128  # pictures that give a bundle's batch norms their statistics

Config = TypeVar("Config", bound=RunConfig)


class Recipe(ABC, Generic[Config]):
    """How one network is trained: data, network, losses, optimiser, schedule, measures.

    Attributes:
        config_type: its configuration, every key described.
        summary: a line for `smap-train recipes`.
        model: name of the network in the registry of models.
        options: what the registry builds it with.
        input_size: width and height of the pictures, where the network takes any size.
        bundle_kind: kind of the bundle that it is exported to; empty for parts of one.
        optimiser: class of the optimiser.
    """

    config_type: ClassVar[type[RunConfig]]
    summary: ClassVar[str]
    model: ClassVar[str]
    bundle_kind: ClassVar[str] = ""
    optimiser: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.AdamW

    def __init__(self, config: Config) -> None:
        self.config = config
        self.options: dict[str, Any] = {}
        self.input_size: tuple[int, int] | None = None

    @abstractmethod
    def network(self) -> nn.Module:
        """The network at the start of the run."""

    @abstractmethod
    def dataset(self) -> Dataset[Any]:
        """A sample for each place in the run, ``steps * batch_size`` of them.

        Sample k is a function of the seed and k; a :class:`~smap_train.engine.sampling.Mixture`
        is.
        """

    @abstractmethod
    def losses(self, network: nn.Module, batch: Any, step: int) -> Mapping[str, Tensor]:
        """The terms of the loss of one batch, each the mean over its samples."""

    @abstractmethod
    def loss_weights(self) -> Mapping[str, float]:
        """Factors on the terms."""

    @abstractmethod
    def files(self) -> Iterable[Path]:
        """The data's; their hash goes into the run's record."""

    def mixture(self, sources: Sequence[Source[Any]]) -> Mixture:
        """The samples of the whole run, from sources by their weights.

        Raises:
            InputError: if there are none.
        """
        config = self.config
        return Mixture(
            sources,
            config.steps * config.batch_size,
            config.seed,
            config.on_bad,
            config.out / SKIPPED,
        )

    def collate(self) -> Callable[[list[Any]], Any] | None:
        """Makes a batch of samples; torch's own way if None."""
        return None

    def parameter_groups(self, network: nn.Module) -> Iterable[Any]:
        """What is trained, as an optimiser takes it: all that isn't held."""
        return [p for p in network.parameters() if p.requires_grad]

    def optimizer(self, groups: Iterable[Any]) -> torch.optim.Optimizer:
        """The recipe's, with the run's rate and decay."""
        config = self.config
        return self.optimiser(groups, config.learning_rate, weight_decay=config.weight_decay)

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Measures on held-out records, the one to be lowest first; none where there are none.

        Args:
            network: in eval mode.
            limit: most records.
        """
        return {}

    def unmeasured(self) -> str:
        """What keeps ``evaluate`` from measuring anything, and what to set; empty if nothing."""
        if type(self).evaluate is Recipe.evaluate:
            return f"recipe {self.config.recipe} has no measures; set validate_every=0"
        if not getattr(self.config, "held_out", True):
            return "held_out names nothing; set held_out to records of its own, or validate_every=0"
        return ""

    def also_learned(self) -> list[Path]:
        """Files of ``held_out`` that the run learns from, too: what they measure flatters it."""
        held = _data_files({"held_out": getattr(self.config, "held_out", None)})
        others = _data_files({name: v for name, v in self.config if name != "held_out"})
        return sorted(held & others)

    @classmethod
    def model_of(cls, config: Config) -> str:
        """Name in the registry of models of what a configuration trains."""
        return cls.model

    @classmethod
    def export_options(cls, config: Config) -> dict[str, Any]:
        """What a bundle of the run needs beside the weights.

        Returns:
            Fields of :class:`smap_train.export.common.ExportOptions`.
        """
        return {}

    @classmethod
    def next_step(cls, config: Config, path: Path) -> str:
        """The command that comes after the run; it works as it stands.

        Args:
            config: of the run.
            path: file that it was read from.
        """
        return shlex.join(
            ["smap-train", "export", str(config.out), f"models/{bundle_name(config)}"]
        )

    def starts_trained(self) -> bool:
        """Whether the run's first weights are worth measuring."""
        return getattr(self.config, "initial", None) is not None

    def diverged(self, step: int, values: str) -> InputError:
        """Why a run can't go on whose losses are no numbers any more."""
        return InputError(
            f"the loss is no number at step {step} ({values}). Lower learning_rate or raise "
            f"warmup, and look at the data; the state of the last checkpoint in {self.config.out} "
            "is whole"
        )


def _data_files(settings: Mapping[str, Any]) -> set[Path]:
    """The files, and the shards of the folders, that settings name."""
    named: list[Any] = list(settings.values())
    paths: list[Path] = []
    while named:
        value = named.pop()
        if isinstance(value, BaseModel):
            value = dict(value)
        if isinstance(value, Path):
            paths.append(value)
        elif isinstance(value, Mapping):
            named += value.values()
        elif isinstance(value, list | tuple):
            named += value
    return {path.resolve() for path in shard_files(paths)}


def bundle_name(config: RunConfig) -> str:
    """What a run's bundle may be called: as its folder, with what names of bundles may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", config.out.resolve().name).lstrip("._-") or "mine"


def beside(path: Path, old: str, new: str) -> Path | None:
    """The configuration of another recipe beside one, of the same variant; None without any."""
    sibling = path.with_name(path.name.replace(old, new))
    return sibling if sibling != path and sibling.is_file() else None


def weights_of_others(path: Path) -> dict[str, Tensor]:
    """The weights in a file of others; ``module.`` and ``backbone.`` before their names are cut.

    Raises:
        InputError: if the file can't be read safely, or holds none.
    """
    content = read_untrusted(path)
    for key in ("state_dict", "network", "model"):
        if isinstance(content, Mapping) and is_state_dict(content.get(key)):
            content = content[key]
            break
    if not is_state_dict(content):
        raise InputError(f"{path} holds no weights: expected a mapping of names to tensors")
    return {
        key.removeprefix("module.").removeprefix("backbone."): value
        for key, value in content.items()
    }


def copy_fitting(network: nn.Module, path: Path) -> int:
    """Copy from a file of others what a network has under the same name and in the same shape.

    It is logged how much that was; with a warning where most of the network begins anew.

    Returns:
        How many tensors were copied.

    Raises:
        InputError: if the file can't be read safely, or nothing in it fits.
    """
    own, given = network.state_dict(), weights_of_others(path)
    fitting = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
    if not fitting:
        raise InputError(f"{path}: none of its {len(given)} weights fits this network")
    network.load_state_dict(fitting, strict=False)
    counts = len(fitting), len(own), path, len(given)
    if 2 * len(fitting) >= len(own):
        LOG.info("%d of %d weights are taken from %s, which has %d", *counts)
    else:
        other = next(key for key in own if key not in fitting)
        LOG.warning(
            "only %d of %d weights are taken from %s, which has %d; the others, such as %s, begin "
            "anew. Expected a file of the same network: is it another's, or of another size?",
            *counts, other,
        )  # fmt: skip
    return len(fitting)


def start_from(network: nn.Module, path: Path | None) -> None:
    """Give a network the weights of a checkpoint; without one it keeps its own.

    Raises:
        InputError: if they don't fit, naming what differs.
    """
    if path is None:
        return
    weights = load_checkpoint(path)["state_dict"]
    if problems := mismatches(weights, network.state_dict()):
        raise InputError(f"{path} doesn't fit this network:\n{problems}")
    network.load_state_dict(weights)


def start_from_exported(network: nn.Module, path: Path, pictures: Dataset[Any]) -> None:
    """Give a network the weights of a bundle, and its batch norms statistics to go on with.

    Args:
        network: built as the bundle's was.
        path: bundle, or its model.onnx.
        pictures: what the network will learn from.

    Raises:
        InputError: if the weights don't fit.
    """
    try:
        missing = load_exported(network, read_exported(weights_file(path)))
    except InputError as error:
        raise InputError(f"can't start from {path}: {error}") from error
    if missing:
        raise InputError(f"{path} lacks weights of this network: {', '.join(missing[:5])}, ...")
    settle(network, pictures)


def settle(network: nn.Module, pictures: Dataset[Any]) -> None:
    """Give the batch norms of a bundle's network, once folded away, statistics of pictures."""
    few = range(min(_SETTLING, len(pictures)))  # type: ignore[arg-type]
    LOG.info("%d pictures give the batch norms of the bundle statistics", len(few))
    settle_batch_norms(network, (pictures[k]["image"][None] for k in few))
