"""What a smoother that has learned is told of itself: usual bones, its bias, how far it errs.

Its losses ask for all at once, and what is best for all is a little off for each: depths come out
too near, as being wrong costs less there, and lengths settle only after some pictures. What the
films that it learned from tell of that is put right here, without touching a weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from smap_train.models.smoother.decoder import DELAYS
from smap_train.models.smoother.network import LearnedSmoother
from smap_train.models.smoother.tracks import BONES, JOINTS, ROOT
from smap_train.smoother.data import Example

# A person's bones begin as anybody's, as if these had been seen in so many pictures: bones are
# steadier by a quarter then, for half a millimetre of error (on films kept from learning).
PRIOR_PICTURES = 3.0
WITHIN = 0.68  # share of a joint's errors that are within its spread


@torch.inference_mode()
def calibrate(network: LearnedSmoother, tracks: Sequence[Example]) -> None:
    """Set the decoder's ``prior``, ``depth_bias`` and ``variance_bias``.

    Args:
        network: that has learned; what was set before is forgotten.
        tracks: that it learned from.
    """
    network.eval()
    decoder = network.decoder
    for buffer in (decoder.prior, decoder.depth_bias, decoder.variance_bias):
        buffer.zero_()
    decoder.prior.copy_(_usual_lengths(network, tracks))
    for k, delay in enumerate(DELAYS):
        depths, ratios = [], []
        for track in tracks:
            depth, ratio = _errors(network, track, k, delay)
            depths.append(depth)
            ratios.append(ratio)
        depth, ratio = torch.cat(depths), torch.cat(ratios)
        if len(depth):
            decoder.depth_bias[k] = depth.median()
            decoder.variance_bias[k] = ratio.quantile(WITHIN, dim=0).clamp(min=1e-6).log()


def _usual_lengths(network: LearnedSmoother, tracks: Sequence[Example]) -> Tensor:
    """Weights and weighted log lengths of bones, [15, 2]; nothing of the whole person's size."""
    sums, pictures = torch.zeros(JOINTS, 2), 0
    for track in tracks:
        terms = network.length_terms(*_batch(track))[0]  # [T, 15, 2]
        sums += terms.sum(0)
        pictures += len(track)
    prior = sums * (PRIOR_PICTURES / max(pictures, 1))
    prior[len(BONES) :] = 0
    return prior


def _errors(
    network: LearnedSmoother, track: Example, which: int, delay: int
) -> tuple[Tensor, Tensor]:
    """Log of told over true depth [T]; squared errors over told variances [T, 15]; where known."""
    answer = network(*_batch(track), [which])[0]
    want = torch.from_numpy(track.true)[: len(track) - delay]
    seen = torch.from_numpy(track.scores)[: len(want), ROOT] > 0
    there = torch.isfinite(want).all(-1).all(-1) & seen
    want, about = want[there], answer.about[0, delay:][there]
    depth = (answer.root[0, delay:][there][:, 2] / want[:, ROOT, 2].clamp(min=0.3)).log()
    off = (about - (want - want[:, ROOT : ROOT + 1])).square().sum(-1)
    return depth, off / answer.variance[0, delay:][there].exp()


def _batch(track: Example) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(track.found)[None],
        torch.from_numpy(track.scores)[None],
        torch.from_numpy(track.times)[None],
    )
