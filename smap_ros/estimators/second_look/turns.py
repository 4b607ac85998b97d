"""Whose turn it is when there isn't time for a second look at everybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Double = NDArray[np.float64]

FULL_WAIT = 10  # images without a second look after which somebody has waited as long as counts
NEAR = 3.0  # metres at which nearness counts half
SAME_PERSON = 0.5  # metres that somebody's pelvis moves at most between two images
NEW = 1.5  # what never having been looked at counts, beside waiting's 1


class Turns:
    """Remembers when people were looked at, by where they are."""

    def __init__(self) -> None:
        self._roots = np.zeros((0, 3))
        self._waited = np.zeros(0)

    def waited(self, roots: NDArray[np.floating]) -> Double:
        """For how many images people went without a second look.

        Args:
            roots: float [N, 3], where they are, metres.

        Returns:
            float64 [N]; infinite for people who were not in the last image.
        """
        out = np.full(len(roots), np.inf)
        if not len(self._roots) or not len(roots):
            return out
        away = np.linalg.norm(roots[:, None] - self._roots[None], axis=-1)
        away = np.nan_to_num(away, nan=np.inf)
        while away.min() <= SAME_PERSON:  # the nearest pair first, each person once
            mine, theirs = np.unravel_index(np.argmin(away), away.shape)
            out[mine] = self._waited[theirs] + 1
            away[mine], away[:, theirs] = np.inf, np.inf
        return out

    def note(self, roots: NDArray[np.floating], waited: Double, looked: NDArray[np.bool_]) -> None:
        """Remember an image's people, [N], and whom of them was looked at."""
        self._roots = np.asarray(roots, np.float64)
        waited = np.where(np.isfinite(waited), waited, FULL_WAIT)
        self._waited = np.where(looked, 0.0, waited)


def most_needed_first(depths: Double, scores: Double, waited: Double) -> NDArray[np.intp]:
    """The order in which people need a second look: near, uncertain, new, long waited for.

    Each counts up to 1, being new 1.5: nobody waits for ever.

    Args:
        depths: float64 [N], metres.
        scores: float64 [N], of the people by the first look.
        waited: float64 [N], see :meth:`Turns.waited`.
    """
    near = NEAR / (NEAR + np.maximum(np.nan_to_num(depths, nan=np.inf), 0))
    patience = np.where(np.isfinite(waited), np.minimum(waited, FULL_WAIT) / FULL_WAIT, NEW)
    need = near + (1 - np.clip(scores, 0, 1)) + patience
    return np.argsort(-need, kind="stable")
