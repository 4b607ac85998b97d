"""The learned smoother: MAED's spatial and temporal attention on skeletons, online.

Tokens are the joints of each picture. In every block joints attend to one another and each joint to
itself in the pictures before, in parallel, mixed by learned weights (MAED's multi-level attention);
temporal attention is causal, turned by the seconds between pictures (rotary encoding), and reaches
back a window of pictures, so that keys and values are kept and nothing is computed twice.

Decoding goes along the kinematic tree: a bone's direction is told by its joint's token and by what
was decoded of the bone before it. Directions are weighted means of the raw ones in the window,
chosen by attention, plus a correction; lengths are one set a track, the mean of the pictures so
far; direction and depth of the pelvis are a path of their own. One network answers for the picture
0, 2 and 4 back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from smap_train.models.smoother.decoder import DELAYS, KEY, Answer, Decoder, mean_lengths
from smap_train.models.smoother.encoders import ENCODERS, WIDTH, WINDOW, Times
from smap_train.models.smoother.tracks import JOINTS, Looks, Past, look, split_past

_KEPT = JOINTS * (2 * KEY + WIDTH)  # numbers that the decoder needs of a picture


class LearnedSmoother(nn.Module):
    """See the head of this file.

    Args:
        kind: ``maed``, or ``mlp``: a perceptron in the place of attention.
        dropout: share of what is left out in training.
    """

    def __init__(self, kind: str = "maed", dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = ENCODERS[kind](dropout)
        self.decoder = Decoder(WIDTH)

    @property
    def memory(self) -> int:
        """Numbers that are kept of a picture, beside what it told raw."""
        return self.encoder.memory + _KEPT

    def forward(
        self, found: Tensor, scores: Tensor, times: Tensor,
        which: Sequence[int] = range(len(DELAYS)),
    ) -> list[Answer]:  # fmt: skip
        """People of whole tracks: all pictures ask.

        Args:
            found: [N, T, 15, 3], metres, optical frame; finite.
            scores: [N, T, 15], 0 where a joint is missing.
            times: [N, T], seconds.
            which: of DELAYS, by index.

        Returns:
            For each of these what is told at each picture t of the picture t - delay, [N, T].
        """
        looks = look(found, scores)
        past, when, order = _within_window(looks, times)
        x = self.encoder(looks.features, when)
        rows = [(order - delay).clamp(min=0) for delay in (DELAYS[k] for k in which)]
        answers: list[Answer] = self.decoder(
            x, self.decoder.remember(x), past, when, [x[:, r] for r in rows],
            [times[:, r] for r in rows], [past.root[:, r] for r in rows],
            mean_lengths(self.decoder.length_terms(x, looks), order), which,
        )  # fmt: skip
        return answers

    def length_terms(self, found: Tensor, scores: Tensor, times: Tensor) -> Tensor:
        """What each picture of whole tracks adds to the sums of lengths, [N, T, 15, 2]."""
        looks = look(found, scores)
        _, when, _ = _within_window(looks, times)
        return self.decoder.length_terms(self.encoder(looks.features, when), looks)

    def step(
        self, found: Tensor, scores: Tensor, age: Tensor, back: Tensor, memory: Tensor,
        past: Tensor, sums: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """The newest picture of N tracks, given what is remembered of W - 1 before, in any order.

        Args:
            found, scores: [N, 15, 3], [N, 15], as in :meth:`forward`.
            age: [W - 1], seconds from each remembered picture to this one.
            back: [len(DELAYS) - 1, W - 1], a 1 in each row for the one that is 2, or 4 back.
            memory, past: [N, W - 1, memory], [N, W - 1, PAST]; zeros where there is nothing to
                remember.
            sums: [N, 15, 2], of the lengths.

        Returns:
            Joints [N, len(DELAYS), 15, 3] of the pictures 0, 2 and 4 back; their standard
            deviations about the pelvis [N, len(DELAYS), 15], metres; what to remember of this
            picture, [N, memory] and [N, PAST]; the new sums.
        """
        looks = look(found[:, None], scores[:, None])
        kept = torch.cat([-age, torch.zeros_like(age[:1])])[None].expand(found.shape[0], -1)
        asking = torch.zeros_like(kept[:, :1])
        mask = torch.cat([past[..., -1], torch.ones_like(asking)], 1)[:, None] > 0
        when = Times(asking, kept, mask)
        x, mine = self.encoder.step(looks.features, memory[..., : self.encoder.memory], when)
        older = memory[..., self.encoder.memory :].unflatten(-1, (JOINTS, 2 * KEY + WIDTH))
        keys = self.decoder.remember(x)
        new = torch.cat([mine, torch.cat([keys, x], -1).flatten(2)], -1)
        sums = self.decoder.more_lengths(sums, self.decoder.length_terms(x, looks)[:, 0])
        window = split_past(torch.cat([past, looks.past], 1))
        # Tokens, times and places of the pictures 2 and 4 back.
        tokens = torch.einsum("dk,nkjc->dnjc", back, older[..., 2 * KEY :])[:, :, None]
        then = torch.einsum("dk,nk->dn", back, kept[:, :-1])[..., None]
        roots = torch.einsum("dk,nkc->dnc", back, window.root[:, :-1])[:, :, None]
        answers = self.decoder(
            x, torch.cat([older[..., : 2 * KEY], keys], 1), window, when,
            [x, *tokens], [asking, *then], [window.root[:, -1:], *roots],
            sums[:, None],
        )  # fmt: skip
        joints = torch.cat([a.about + a.root[..., None, :] for a in answers], 1)
        spread = torch.cat([a.variance for a in answers], 1).mul(0.5).exp()
        return joints, spread, new[:, 0], looks.past[:, 0], sums


def _within_window(looks: Looks, times: Tensor) -> tuple[Past, Times, Tensor]:
    """What pictures leave for later ones, who may look at whom, and their order [T]."""
    past = split_past(looks.past)
    order = torch.arange(times.shape[1], device=times.device)
    back = order[:, None] - order
    near = (back >= 0) & (back < WINDOW)
    return past, Times(times, times, near & ((past.seen > 0)[:, None] | (back == 0))), order
