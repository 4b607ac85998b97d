"""Batch norms that keep their statistics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class HoldsNorms(nn.Module):
    """A network whose batch norms can stay in eval mode while the rest of it trains.

    A network that was exported has no statistics to go on from (its batch norms are folded into
    its convolutions), and in small batches of unusual pictures they would be others.
    """

    frozen_norms = False

    def train(self, mode: bool = True) -> Self:
        """Training or eval mode; with ``frozen_norms`` batch norms stay in the latter."""
        super().train(mode)
        if self.frozen_norms:
            for module in (m for part in self.held_parts() for m in part.modules()):
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def held_parts(self) -> Iterable[nn.Module]:
        """The parts whose batch norms ``frozen_norms`` is about: all."""
        return (self,)
