"""Recipe ``smoother``: people over time, from films of a detector's people beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_ros.evaluation.common.films import film_paths, read_film
from smap_train.engine.config import RunConfig
from smap_train.engine.sampling import Mixture, Source
from smap_train.losses.smoother import SmootherWeights, smoother_losses
from smap_train.models import create
from smap_train.models.smoother.decoder import DELAYS, Answer
from smap_train.models.smoother.tracks import ROOT
from smap_train.recipes.base import Recipe, start_from
from smap_train.smoother.data import HELD_EVERY, Example, examples, split

_SEEDS = 1_000_003  # steps apart are the seeds of two runs


class SmootherRunConfig(RunConfig):
    """Everything that determines a run."""

    FREE: ClassVar[frozenset[str]] = RunConfig.FREE | {"detector"}

    recipe: Literal["smoother"] = Field("smoother", description="this recipe")
    kind: Literal["maed", "mlp"] = Field(
        "maed", description="network: maed attends, mlp is a perceptron over the window"
    )
    films: Path | None = Field(None, description="folder of `smap-train record`")
    detector: str = Field(
        "smap_lite", description="bundle that recorded them, for the export alone"
    )
    held_every: int = Field(
        HELD_EVERY, ge=2, description="one film in so many, by a hash of its name, measures the run"
    )
    length: int = Field(32, gt=8, description="pictures of an example")
    dropout: float = Field(0.1, ge=0, lt=1, description="share left out within the network")
    initial: Path | None = Field(
        None,
        description="weights to start from: smoother.pth, maybe of another detector's people",
    )
    loss: SmootherWeights = SmootherWeights()
    batch_size: int = Field(16, gt=0, description="tracks a step, over all devices together")
    learning_rate: float = Field(3e-3, gt=0, description="at the peak")
    weight_decay: float = Field(0.02, ge=0, description="factor on the weights")
    strategy: str = Field(
        "ddp_find_unused_parameters_true",
        description="of Lightning, for several devices: a step learns one delay",
    )
    clip: float = Field(1.0, ge=0, description="largest norm of a step's gradient; 0: any")


class SmootherRecipe(Recipe[SmootherRunConfig]):
    """smoother with its loss."""

    config_type: ClassVar[type[RunConfig]] = SmootherRunConfig
    summary = "people over time, from films of a detector's people"
    model = "smoother"
    bundle_kind = "smoother"

    @classmethod
    def export_options(cls, config: SmootherRunConfig) -> dict[str, Any]:
        """The films, by which spreads are made true, and who recorded them."""
        settings = {
            "films": str(config.films), "held_every": config.held_every, "detector": config.detector
        }  # fmt: skip
        return {"settings": settings}

    def __init__(self, config: SmootherRunConfig) -> None:
        super().__init__(config)
        self.options = {"kind": config.kind}
        self._held: list[Example] | None = None

    def network(self) -> nn.Module:
        """Fresh weights, or those to start from."""
        network = create(self.model, dropout=self.config.dropout, **self.options)
        start_from(network, self.config.initial)
        return network

    def dataset(self) -> Mixture:
        """Tracks of the films, each as often as the others."""
        config = self.config
        films = [read_film(path) for path in self._films(held=False)]
        detectors = sorted({film.detector for film in films})
        if len(detectors) > 1:
            raise InputError(
                f"{config.films} has films of {len(detectors)} detectors "
                f"({', '.join(name[:12] for name in detectors)}); a smoother learns how one errs: "
                "record each into a folder of its own"
            )
        # A long track is several records: all pictures are learned from alike.
        tracks = [track for track in examples(films) for _ in range(max(round(len(track) / 25), 1))]
        return Mixture(
            [Source(str(config.films), tracks, self.sample)],
            config.steps * config.batch_size,
            config.seed,
        )

    def sample(self, track: Example, rng: np.random.Generator) -> dict[str, Tensor]:
        """``found`` [T, 15, 3], ``scores`` [T, 15], ``true`` [T, 15, 3], ``times`` [T]."""
        return {
            k: torch.from_numpy(v) for k, v in vars(track.crop(self.config.length, rng)).items()
        }

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Of one delay, each in turn; see :func:`smap_train.losses.smoother.smoother_losses`."""
        which = [step % len(DELAYS)]
        with torch.random.fork_rng():  # what dropout draws follows from the step, resumed or not
            torch.manual_seed(_SEEDS * self.config.seed + step)
            answers = network(batch["found"], batch["scores"], batch["times"], which)
        delays = [DELAYS[k] for k in which]
        return smoother_losses(answers, delays, batch["true"], batch["scores"])

    def loss_weights(self) -> Mapping[str, float]:
        """As configured."""
        return vars(self.config.loss)

    def unmeasured(self) -> str:
        """No film's name may be among those held out."""
        if self._films(held=True):
            return ""
        every = self.config.held_every
        return f"held_every={every} holds out no film; lower it, or set validate_every=0"

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Of held-out films, by delay: MPJPE, its acceleration error (mm), depth (%)."""
        if self._held is None:
            self._held = examples([read_film(path) for path in self._films(held=True)])
        device = next(network.parameters()).device
        errors: dict[str, list[Tensor]] = {}
        for track in self._held[:limit]:
            found, scores, true, times = (
                torch.from_numpy(value)[None].to(device) for value in vars(track).values()
            )
            raw = Answer(found - found[..., ROOT : ROOT + 1, :], found[..., ROOT, :], scores)
            answers = zip((0, *DELAYS), (raw, *network(found, scores, times)), strict=True)
            names = ("raw", *(f"delay{delay}" for delay in DELAYS))
            for name, (delay, answer) in zip(names, answers, strict=True):
                for measure, values in _errors(answer, true, scores, delay, answer is raw).items():
                    errors.setdefault(f"{name}_{measure}", []).append(values)
        found_all = {name: torch.cat(all_) for name, all_ in errors.items()}
        measures = {
            name: (all_.median() if name.endswith("percent") else all_.mean()).item()
            for name, all_ in found_all.items()
        }
        best = "delay2_mpjpe_mm"  # the first decides which weights are the best
        return {best: measures[best], **measures} if measures else {}

    def files(self) -> list[Path]:
        """The films."""
        return [] if self.config.films is None else film_paths(self.config.films)

    def _films(self, held: bool) -> list[Path]:
        config = self.config
        if config.films is None:
            raise InputError("no training data: set films to a folder of `smap-train record`")
        return split(film_paths(config.films), config.held_every, held=held)


def _errors(
    answer: Answer, true: Tensor, scores: Tensor, delay: int, as_found: bool
) -> dict[str, Tensor]:
    """Of each picture where somebody who is there was found.

    Joints that a detector left out count unless they are ``as_found``: then they are stored as 0,
    which would be an error of metres.
    """
    want = true[0, : true.shape[1] - delay]
    there = torch.isfinite(want).all(-1).all(-1) & (scores[0, : len(want), ROOT] > 0)
    error = answer.about[0, delay:] - (want - want[:, ROOT : ROOT + 1])
    twice = error[2:] - 2 * error[1:-1] + error[:-2]
    counted = scores[0, : len(want)] > 0 if as_found else torch.ones_like(want[..., 0]) > 0
    depth = (answer.root[0, delay:, 2] / want[:, ROOT, 2] - 1).abs()
    return {
        "mpjpe_mm": _of_joints(error, counted, there),
        "acceleration_mm": _of_joints(twice, _thrice(counted), _thrice(there)),
        "depth_percent": 100 * depth[there],
    }


def _of_joints(errors: Tensor, counted: Tensor, pictures: Tensor) -> Tensor:
    """Means over joints, mm, of those pictures that have one beside the pelvis, whose error is 0.

    Args:
        errors: [T, 15, 3], metres.
        counted: bool [T, 15], joints that count.
        pictures: bool [T].
    """
    some = counted.sum(-1) > counted[:, ROOT].int()
    lengths = torch.where(counted, errors.norm(dim=-1), 0.0)
    return 1000 * (lengths.sum(-1) / counted.sum(-1))[pictures & some]


def _thrice(there: Tensor) -> Tensor:
    """Where it is so in three pictures in a row, by the last: [T, ...] -> [T - 2, ...]."""
    return there[2:] & there[1:-1] & there[:-2]
