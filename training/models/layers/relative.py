"""Steps as shares of what is stepped from, for networks whose batch norms were folded away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_SIZES = "sizes"
_SMALLEST = 1e-4  # sizes of weights that may as well be 0


class RelativeAdamW(torch.optim.AdamW):
    """AdamW whose steps are shares of the size of each output channel's first weights.

    Folding a batch norm into a convolution multiplies each channel by a number of its own, and
    published kernels differ by factors of a thousand from channel to channel. At one rate for all,
    small channels are gone after some steps, and large ones never move.

    Args:
        groups: parameters, or groups of them, with their first weights.
        lr: step over the root mean square of a channel's weights.
        weight_decay: as AdamW has it, whatever the size.
    """

    def __init__(self, groups: Iterable[Any], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(groups, lr, weight_decay=weight_decay)
        self._sizes = [[_sizes(p) for p in group["params"]] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; the same numbers wherever it is resumed."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        before = [[p.clone() for p in group["params"]] for group in self.param_groups]
        for group in self.param_groups:
            for p in group["params"]:
                p.zero_()  # what comes out is the step alone, not rounded as large weights are
        super().step()
        for group, olds, sizes in zip(self.param_groups, before, self._sizes, strict=True):
            kept = 1 - group["lr"] * group["weight_decay"]
            for p, old, size in zip(group["params"], olds, sizes, strict=True):
                p.copy_(old * (1.0 if p.grad is None else kept) + p * size)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """AdamW's, and the sizes: the weights that a run goes on from have others."""
        return {**super().state_dict(), _SIZES: [list(sizes) for sizes in self._sizes]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`state_dict`; a state of before it had sizes keeps those there are."""
        stored = dict(state_dict)
        sizes = stored.pop(_SIZES, self._sizes)
        shapes = [[[s.shape for s in group] for group in groups] for groups in (sizes, self._sizes)]
        if shapes[0] != shapes[1]:
            raise ValueError("the state's sizes aren't those of these weights")
        super().load_state_dict(stored)
        self._sizes = [
            [size.to(own, copy=True) for size, own in zip(given, owns, strict=True)]
            for given, owns in zip(sizes, self._sizes, strict=True)
        ]


def _sizes(weights: Tensor) -> Tensor:
    """Of each output channel, in a shape that multiplies the weights."""
    first = weights.detach()
    if first.ndim < 2:
        return first.abs().clamp(min=max(float(first.abs().mean()), _SMALLEST))
    rest = tuple(range(1, first.ndim))
    return first.square().mean(rest, keepdim=True).sqrt().clamp(min=_SMALLEST)
