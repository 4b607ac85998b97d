"""`smap-train smoother`: train the learned smoother on recorded films; stopped runs go on."""

from __future__ import annotations

import json
import logging
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.evaluation.common.films import film_paths, read_film
from smap_train.smoother.data import Example, examples
from smap_train.smoother.network import DELAYS, ROOT, LearnedSmoother, encode

LOG = logging.getLogger(__name__)

KINDS = ("maed", "mlp")
_LENGTH = 40  # pictures of an example
_BATCH = 24
_SAVE_EVERY, _MEASURE_EVERY = 20, 100  # steps
_HELD_EVERY = 10  # films, by their names: the same ones however many are recorded
_WEIGHTS = {"pose": 1.0, "root": 0.15, "speed": 1.0, "acceleration": 1.5, "variance": 0.02}


@dataclass
class Run:
    """A run on disk: the newest weights, and what was measured on the way."""

    folder: Path
    model: LearnedSmoother
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @property
    def checkpoint(self) -> Path:
        """Where the state is."""
        return self.folder / "last.pt"

    def load(self) -> None:
        """Go on where an earlier run stopped, if one did."""
        if not self.checkpoint.is_file():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def note(self, numbers: dict[str, float]) -> None:
        """Add a line to the log."""
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({"step": self.step, "cpu_s": self.seconds, **numbers}) + "\n")

    def save(self) -> None:
        """Write the state, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.checkpoint)


def run(
    recorded: Annotated[Path, typer.Argument(help="Folder of `smap-train record`.")],
    out: Annotated[Path, typer.Argument(help="Folder of the run.")],
    *,
    kind: Annotated[str, typer.Option(help="Network: maed or mlp.")] = "maed",
    minutes: Annotated[float, typer.Option(help="Processor time of the whole run.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = 0,
) -> None:
    """Train on all films but every tenth, by which it is judged on the way.

    A run that was stopped goes on; films recorded since then are taken in.

    Example: smap-train smoother recorded run --kind maed --minutes 60
    """
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    films = film_paths(recorded)
    held_out = [path for path in films if zlib.crc32(path.stem.encode()) % _HELD_EVERY == 0]
    train = examples([read_film(path) for path in films if path not in held_out])
    held = examples([read_film(path) for path in held_out])
    model = LearnedSmoother(kind)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    state = Run(out, model, optimiser)
    state.load()
    typer.echo(f"{len(films)} films, {len(train)} and {len(held)} tracks, step {state.step}")
    _train(state, train, held, minutes * 60, seed)


def _train(state: Run, train: list[Example], held: list[Example], budget: float, seed: int) -> None:
    rng = np.random.default_rng([seed, state.step])
    weights = np.array([len(example) for example in train], np.float64)
    while state.seconds < budget:
        started = time.process_time()
        state.model.train()
        done = state.seconds / budget
        rate = 1e-3 * min(1.0, (state.step + 1) / 100) * (0.05 + 0.95 * (1 - done))
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        chosen = rng.choice(len(train), _BATCH, p=weights / weights.sum())
        found, scores, true, times = _batch([train[k].crop(_LENGTH, rng) for k in chosen])
        loss = total_loss(state.model, found, scores, true, times)
        state.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
        state.optimiser.step()
        state.step += 1
        state.seconds += time.process_time() - started
        finished = state.seconds >= budget
        if state.step % _SAVE_EVERY == 0 or finished:
            state.save()
        if state.step % _MEASURE_EVERY == 0 or finished:
            state.note({"loss": float(loss.detach()), **measured(state.model, held)})


def _batch(crops: list[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    names = ("found", "scores", "true", "times")
    found, scores, true, times = (
        torch.from_numpy(np.stack([getattr(crop, name) for crop in crops])) for name in names
    )
    return found, scores, true, times


def total_loss(
    model: LearnedSmoother, found: Tensor, scores: Tensor, true: Tensor, times: Tensor
) -> Tensor:
    """The loss of all delays together."""
    track = encode(found, scores, times)
    losses = []
    for delay, (about, root, variance) in zip(DELAYS, model(track), strict=True):
        want = true[:, : true.shape[1] - delay]
        about, root, variance = about[:, delay:], root[:, delay:], variance[:, delay:]
        there = torch.isfinite(want).all(-1).all(-1) & track.seen[:, : want.shape[1]]
        want = torch.nan_to_num(want, nan=1.0)
        pose = want - want[..., ROOT : ROOT + 1, :]
        off = (about - pose).norm(dim=-1)  # [N, T, 15]
        depth = want[..., ROOT, 2].clamp(min=0.3)
        rays = (root - want[..., ROOT, :]) / depth[..., None]
        root_off = rays[..., :2].norm(dim=-1) * 3 + rays[..., 2].abs()
        terms = {
            "pose": _mean(off.mean(-1), there),
            "root": _mean(root_off, there),
            "speed": _difference(about - pose, there, 1),
            "acceleration": _difference(about - pose, there, 2) + _difference(rays, there, 2),
            "variance": _mean((off.detach() / variance.exp() + variance).mean(-1), there),
        }
        losses.append(sum(_WEIGHTS[name] * term for name, term in terms.items()))
    return torch.stack(losses).mean()


def _difference(error: Tensor, there: Tensor, order: int) -> Tensor:
    for _ in range(order):
        error = error[:, 1:] - error[:, :-1]
        there = there[:, 1:] & there[:, :-1]
    size = error.norm(dim=-1)
    return _mean(size.mean(-1) if size.dim() == 3 else size, there)


def _mean(values: Tensor, there: Tensor) -> Tensor:
    return (values * there).sum() / there.sum().clamp(min=1)


@torch.no_grad()
def measured(model: LearnedSmoother, held: list[Example]) -> dict[str, float]:
    """MPJPE by delay on tracks that were kept back, millimetres, beside the raw one's."""
    model.eval()
    errors: dict[str, list[np.ndarray]] = {}
    for example in held:
        found, scores, true, times = _batch([example])
        track = encode(found, scores, times)
        raw = found - found[..., ROOT : ROOT + 1, :]
        pose = true - true[..., ROOT : ROOT + 1, :]
        errors.setdefault("raw", []).append((raw - pose).norm(dim=-1).numpy()[0])
        for delay, (about, _, _) in zip(DELAYS, model(track), strict=True):
            off = (about[:, delay:] - pose[:, : pose.shape[1] - delay]).norm(dim=-1)
            off = F.pad(off, (0, 0, 0, delay), value=float("nan"))
            errors.setdefault(f"delay{delay}", []).append(off.numpy()[0])
    return {name: 1000 * float(np.nanmean(np.concatenate(all_))) for name, all_ in errors.items()}
