"""Batch norms that keep their statistics."""

from __future__ import annotations

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
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
