"""Recipe ``fusing``: a network that makes one person of a bundle's two looks.

It learns from the people that the bundle finds (`smap-train looks`, best in scenes that neither of
its networks has seen): of virtual ones everything, of photos' where their joints are in the picture
and, where pseudo labels agree with those, their poses. Virtual people alone would teach it to trust
the first look, which has seen such people; real ones in unusual poses are where it is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_ros.estimators.second_look.learned import JOINTS, NUMBERS, POINTS, POSES, ROOT
from smap_train.engine.config import RunConfig, Widths
from smap_train.engine.sampling import Mixture, Source
from smap_train.models.fusing import (
    Fusing,
    mirrored_input,
    mirrored_output,
    turned_input,
)
from smap_train.recipes.base import Recipe
from smap_train.refining.both import LookedAt, read_looked_at
from smap_train.refining.origin import require_one_bundle

_MM = 1000.0
_NEAR_M = 0.1  # joints in the picture nearer to the truth than that are right
_OTHERS = np.arange(JOINTS) != ROOT
_NEAREST = 0.2  # metres; joints nearer than that are projected as if they were that far


class FusingConfig(RunConfig):
    """Everything that determines a run."""

    FREE: ClassVar[frozenset[str]] = RunConfig.FREE | {"bundle"}

    recipe: Literal["fusing"] = Field("fusing", description="this recipe")
    bundle: str | None = Field(None, description="whose looks these are, and who gets the network")
    people: list[Path] = Field([], description="files of `smap-train looks`")
    group: int = Field(64, gt=1, description="people of a sample")
    photo_share: float = Field(
        0.35, ge=0, le=1, description="of the samples, those of people of photos, if there are any"
    )
    held_share: float = Field(
        0.05, gt=0, lt=1, description="of the people, those that measure the run: each file's last"
    )
    hidden: Widths = Field([512, 512], description="widths of the network's layers")
    dropout: float = Field(0.05, ge=0, lt=1, description="share of what is left out in training")
    turn: float = Field(0.3, ge=0, description="most of the turn about people's axes, radians")
    pose: float = Field(1.0, ge=0, description="weight of poses")
    points: float = Field(0.7, ge=0, description="weight of points in the picture")
    projected: float = Field(0.5, ge=0, description="weight of where poses are in the picture")
    place: float = Field(0.3, ge=0, description="weight of pelvises on the plane")
    distance: float = Field(0.3, ge=0, description="weight of the distance's logarithm")
    beyond: float = Field(
        0.3, gt=0, description="metres; larger errors in the picture and of photos count no more"
    )
    batch_size: int = Field(4, gt=0, description="samples a step, over all devices together")
    learning_rate: float = Field(1e-3, gt=0, description="at the peak")
    weight_decay: float = Field(0.05, ge=0, description="factor on the weights")
    warmup: int = Field(200, ge=0, description="steps that warm up")
    cooldown: float = Field(0.9, ge=0, le=1, description="share of the steps that cool down")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="of the averaged weights; 0: none")


class FusingRecipe(Recipe[FusingConfig]):
    """fusing with its losses."""

    config_type: ClassVar[type[RunConfig]] = FusingConfig
    summary = "makes one person of a bundle's two looks"
    model = "fusing"

    @classmethod
    def export_options(cls, config: FusingConfig) -> dict[str, Any]:
        """The bundle that gets the network."""
        return {"like": config.bundle}

    @classmethod
    def next_step(cls, config: FusingConfig, path: Path) -> str:
        """The export; without a bundle in the configuration it is the user's to name."""
        return super().next_step(config, path) + ("" if config.bundle else " --like BUNDLE")

    def __init__(self, config: FusingConfig) -> None:
        super().__init__(config)
        if not config.people:
            raise InputError("no training data: set people to what `smap-train looks` wrote")
        self.options = {"hidden": list(config.hidden), "dropout": config.dropout}
        files = [read_looked_at(path) for path in config.people]
        found_by = {path: f.found_by for path, f in zip(config.people, files, strict=True)}
        require_one_bundle(found_by, config.bundle)
        self.held_out, self.learnt = [], []
        for real in (False, True):
            kind = [people[people.photo == real] for people in files]
            last = [_last(people, config.held_share) for people in kind]
            pairs = list(zip(kind, last, strict=True))
            self.held_out.append(LookedAt.join([people[rows] for people, rows in pairs]))
            self.learnt.append(LookedAt.join([people[~rows] for people, rows in pairs]))
        if not any(len(people) for people in self.learnt):
            found = sum(len(people) for people in files)
            raise InputError(f"{found} people are too few: none is left to learn from")

    def network(self) -> Fusing:
        """Fresh weights, for the inputs that there are."""
        network = Fusing(**self.options)
        network.measure(torch.from_numpy(LookedAt.join(self.learnt).given))
        return network.train()

    def dataset(self) -> Mixture:
        """Groups of people, virtual ones or those of photos."""
        config = self.config
        share = config.photo_share
        if not all(len(people) for people in self.learnt):  # of one kind there are none
            share = float(len(self.learnt[1]) > 0)
        named = zip(("virtual", "photos"), self.learnt, (1 - share, share), strict=True)
        sources = [
            Source(name, Groups(people, config.group, config.seed), self.sample, weight)
            for name, people, weight in named
            if len(people) and weight
        ]
        return self.mixture(sources)

    def sample(self, people: LookedAt, rng: np.random.Generator) -> dict[str, Tensor]:
        """People turned a little about their axes, half of them in a mirror."""
        return disturbed(people, rng, self.config.turn)

    def collate(self) -> Callable[[list[dict[str, Tensor]]], dict[str, Tensor]]:
        """All groups of a batch as one."""
        return _together

    def losses(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Mean distances; large ones in the picture, and of photos, are no reason to go there."""
        assert isinstance(network, Fusing)
        beyond = self.config.beyond
        told = put_back(batch["given"], network.once(batch["given"]))
        apart, known = _apart(told["poses"][:, _OTHERS], batch["poses"][:, _OTHERS])
        apart = torch.where(batch["photo"][:, None], _bounded(apart, beyond), apart)
        off, labelled = _apart(told["points"], batch["points"])
        lost, _ = _apart(projected(batch["given"], told), batch["points"])
        aside, placed = _apart(told["places"][:, None, :2], batch["places"][:, None, :2])
        farther = (told["places"][:, 2] - batch["places"][:, 2])[:, None]
        return {
            "pose": _mean(apart, known),
            "points": _mean(_bounded(off, beyond), labelled),
            "projected": _mean(_bounded(lost, beyond), labelled),
            "place": _mean(_bounded(aside, beyond), placed),
            "distance": _mean(farther.nan_to_num().abs(), farther.isfinite()),
        }

    def loss_weights(self) -> Mapping[str, float]:
        """As configured."""
        config = self.config
        names = ("pose", "points", "projected", "place", "distance")
        return {name: getattr(config, name) for name in names}

    def evaluate(self, network: nn.Module, limit: int) -> Mapping[str, float]:
        """Of people who weren't learnt from, before (``given``) and after: see :func:`measures`."""
        device = next(network.parameters()).device
        told: dict[str, float] = {}
        for name, people in zip(("virtual", "photos"), self.held_out, strict=True):
            some = people[np.arange(min(limit, len(people)))]
            if not len(some):
                continue
            given = torch.from_numpy(some.given).to(device)
            with torch.no_grad():
                output = network(given)["output"]
            for kind, corrections in (("", output), ("given_", torch.zeros_like(output))):
                back = {k: v.cpu().numpy() for k, v in put_back(given, corrections).items()}
                told |= {f"{kind}{name}_{k}": v for k, v in measures(some, back).items()}
        return told

    def files(self) -> list[Path]:
        """The people."""
        return list(self.config.people)


def _last(people: LookedAt, share: float) -> NDArray[np.bool_]:
    """Which are the last ones: of pictures that nothing is learnt of, but for one at the border."""
    count = math.ceil(share * len(people))
    return np.arange(len(people)) >= len(people) - count


class Groups:
    """People in groups of equal size, in a random order; the last is filled up from the first."""

    def __init__(self, people: LookedAt, size: int, seed: int) -> None:
        self.people, self.size = people, size
        self.order = np.random.default_rng(seed).permutation(len(people))

    def __len__(self) -> int:
        return math.ceil(len(self.people) / self.size)

    def __getitem__(self, number: Any) -> LookedAt:
        if not 0 <= number < len(self):
            raise IndexError(f"group {number} of {len(self)}")
        rows = np.arange(number * self.size, (number + 1) * self.size) % len(self.people)
        return self.people[self.order[rows]]


def disturbed(people: LookedAt, rng: np.random.Generator, turn: float) -> dict[str, Tensor]:
    """People [N] as a network learns from them.

    Args:
        people: any.
        rng: decides on turns and mirrors.
        turn: most of the turn about their axes, radians.
    """
    given, poses, places, points = (
        torch.from_numpy(column)
        for column in (people.given, people.poses, people.places, people.points)
    )
    angle = torch.from_numpy(rng.uniform(-turn, turn, len(people)).astype(np.float32))
    cos, sin = angle.cos(), angle.sin()
    about = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], dim=1)
    given = turned_input(given, about)
    poses = torch.cat([poses[..., :2] @ about, poses[..., 2:]], dim=-1)
    points = points @ about
    places = torch.cat([(places[:, None, :2] @ about)[:, 0], places[:, 2:]], dim=-1)

    rows = torch.from_numpy(rng.random(len(people)) < 0.5)[:, None]
    known = torch.cat([poses.flatten(1), points.flatten(1)], dim=1)
    known = torch.where(rows, mirrored_output(known), known)
    return {
        "given": torch.where(rows, mirrored_input(given), given),
        "poses": known[:, : 3 * JOINTS].unflatten(1, (JOINTS, 3)),
        "points": known[:, 3 * JOINTS :].unflatten(1, (JOINTS, 2)),
        "places": torch.where(rows, places * torch.tensor([-1.0, 1.0, 1.0]), places),
        "photo": torch.from_numpy(people.photo),
    }


def put_back(given: Tensor, corrections: Tensor) -> dict[str, Tensor]:
    """The people as the network has them: ``poses``, ``points`` and ``places`` of LookedAt.

    Args:
        given: [B, 350], its input.
        corrections: [B, 75], its output.
    """
    poses = given[:, : JOINTS * POSES * 3].unflatten(1, (JOINTS, POSES, 3))[:, :, 0]
    points = given[:, JOINTS * POSES * 3 :][:, : JOINTS * POINTS * 2]
    points = points.unflatten(1, (JOINTS, POINTS, 2))[:, :, -1]
    changes = corrections[:, : 3 * JOINTS].unflatten(1, (JOINTS, 3))
    others = torch.ones(JOINTS, 1)
    others[ROOT] = 0
    moved = corrections[:, 3 * JOINTS :].unflatten(1, (JOINTS, 2))
    return {
        "poses": poses + changes * others.to(changes),
        "points": points + moved,
        "places": changes[:, ROOT],
    }


def projected(given: Tensor, told: Mapping[str, Tensor]) -> Tensor:
    """Where the people's poses are in the picture, on the planes, [B, 15, 2].

    Args:
        given: [B, 350], the network's input.
        told: as :func:`put_back` has it.
    """
    distance = given[:, -NUMBERS, None].exp()
    farther = told["places"][:, 2:].exp()
    way = torch.cat([told["places"][:, :2], distance], dim=1)
    root = way * (distance * farther / way.norm(dim=1, keepdim=True))
    joints = told["poses"] + root[:, None]
    return joints[..., :2] * (distance / joints[..., 2].clamp(min=_NEAREST))[..., None]


def measures(people: LookedAt, told: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """How far off people are.

    Returns:
        Mean distance of joints about the pelvis (``mm``), share of those in the picture that are
        10 cm off on the plane or more (``off_percent``), and median error of the distance, in
        percent: of all of them less is better.
    """
    apart = np.linalg.norm(told["poses"] - people.poses, axis=-1)[:, _OTHERS]
    off = np.linalg.norm(told["points"] - people.points, axis=-1)[:, _OTHERS]
    found = {
        "mm": _MM * _mean_of(apart[np.isfinite(apart)]),
        "off_percent": 100 * _mean_of(off[np.isfinite(off)] >= _NEAR_M),
    }
    farther = told["places"][:, 2] - people.places[:, 2]
    if np.isfinite(farther).any():
        found["distance_percent"] = 100 * float(np.nanmedian(np.abs(np.expm1(farther))))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _mean_of(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan


def _apart(told: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [B, K] of [B, K, axes], and which are known."""
    known = true.isfinite().all(dim=-1)
    difference = torch.where(known[..., None], told - true, torch.ones_like(told))
    return difference.norm(dim=-1), known


def _bounded(distance: Tensor, beyond: float) -> Tensor:
    return beyond * torch.tanh(distance / beyond)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Over people, of the means of what is known of each."""
    counted = values * known
    return (counted.sum(dim=1) / known.sum(dim=1).clamp(min=1)).mean()


def _together(groups: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([group[name] for group in groups]) for name in groups[0]}
