"""MAED cut in two for deployment.

In a video, windows overlap. The front end (8.2 GFLOP a frame) looks at each frame alone; so the
first graph runs once a frame, its tokens are kept, and the second graph (281 GFLOP for 16
frames) runs on the tokens of a window.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from smap_train.models.layers.resnetv2 import bake_convolutions
from smap_train.models.maed.network import Maed


class FrameGraph(nn.Module):
    """The part that looks at single frames, its convolutions baked.

    Holds copies; the network stays trainable.
    """

    def __init__(self, network: Maed) -> None:
        super().__init__()
        self.patch_embed = copy.deepcopy(network.encoder.patch_embed)
        bake_convolutions(self.patch_embed)
        self.eval()

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames [B, 3, 224, 224] -> ``tokens`` [B, 196, 768]."""
        return {"tokens": self.patch_embed(frames)}
