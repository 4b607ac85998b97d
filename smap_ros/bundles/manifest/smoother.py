"""Manifest of networks that smooth the people of one detector over time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from smap_ros.bundles.manifest.common import Manifest, Name
from smap_ros.skeletons import SKELETONS

Count = Annotated[int, Field(gt=0, le=1 << 20)]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SmootherManifest(Manifest):
    """A network that takes the newest picture of tracks beside what it remembers of those before.

    Inputs and outputs, for N tracks, D ``delays`` and W = ``window``:
    ``joints`` [N, J, 3] metres and ``scores`` [N, J], 0 where missing; ``age`` [W - 1], seconds
    since the remembered pictures, which may be in any order; ``back`` [D - 1, W - 1], a 1 in each
    row for the picture that is so many pictures back as ``delays`` says; ``memory`` [N, W - 1, M],
    ``past`` [N, W - 1, P] and ``sums`` [N, S, 2], zeros where there is nothing to remember.
    Out come ``answer`` [N, D, J, 3], joints of the pictures ``delays`` back, ``spread`` [N, D, J],
    metres, within which their places about the root are right in 68 of 100 pictures, and what is to
    be remembered of this picture: ``new_memory`` [N, M], ``new_past`` [N, P], ``new_sums``
    [N, S, 2].

    Attributes:
        detector: name of the bundle whose people it learned from.
        detector_sha256: of that bundle's network; another errs otherwise.
        also_sha256: of networks whose people it didn't learn from, but was measured to smooth
            better than every filter at ``wins``.
        delays: pictures that it may look ahead, ascending from 0.
        wins: those at which it was measured to be better than every filter.
        window: pictures that it looks at.
        direction: 0: the network tells the root's viewing direction as well. Otherwise a Kalman
            filter does, as of smoother ``rts``, and this is the density of the random acceleration
            that it expects (of x/z and y/z, per second to the power 1.5): a network that was asked
            not to tremble is late for people who walk.
        depth_share: how much of the logarithm of the root's depth is that filter's, 0 to 1; the
            rest is the network's. What either gets wrong the other does not.
    """

    kind: Literal["smoother"]
    detector: Name
    detector_sha256: Sha256
    also_sha256: tuple[Sha256, ...] = ()
    delays: tuple[Annotated[int, Field(ge=0, le=8)], ...]
    wins: tuple[int, ...]
    window: Annotated[int, Field(ge=6, le=128)]
    direction: Annotated[float, Field(ge=0, le=100)] = 0.0
    depth_share: Annotated[float, Field(ge=0, le=1)] = 0.0

    def knows(self, detector: str) -> bool:
        """Whether it was made for, or measured on, the people of a network, by its SHA-256."""
        return detector in (self.detector_sha256, *self.also_sha256)

    @property
    def network_inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs for one track."""
        joints, before = len(SKELETONS[self.joint_set]), self.window - 1
        return {
            "joints": (1, joints, 3),
            "scores": (1, joints),
            "age": (before,),
            "back": (len(self.delays) - 1, before),
            "memory": (1, before, self.outputs["new_memory"].shape[1]),
            "past": (1, before, self.outputs["new_past"].shape[1]),
            "sums": self.outputs["new_sums"].shape,
        }

    @model_validator(mode="after")
    def _consistent(self) -> SmootherManifest:
        joints, delays = len(SKELETONS[self.joint_set]), len(self.delays)
        if self.delays != tuple(sorted(set(self.delays))) or self.delays[:1] != (0,):
            raise ValueError(f"delays are {list(self.delays)}; expected 0 and then ascending ones")
        if delays < 2 or self.delays[-1] >= self.window:
            raise ValueError(
                f"delays are {list(self.delays)}; expected two or more below window {self.window}"
            )
        if self.depth_share and not self.direction:
            raise ValueError(
                "depth_share is a share of the filter that direction is told by; set it"
            )
        if not set(self.wins) <= set(self.delays):
            raise ValueError(f"wins are {list(self.wins)}, not among delays {list(self.delays)}")
        ranks = {"new_memory": 2, "new_past": 2, "new_sums": 3}
        exact = {"answer": (1, delays, joints, 3), "spread": (1, delays, joints)}
        if set(self.outputs) != {*ranks, *exact}:
            raise ValueError(
                f"outputs are {sorted(self.outputs)}; kind smoother has {sorted({*ranks, *exact})}"
            )
        for name, output in self.outputs.items():
            if name in exact and output.shape != exact[name]:
                raise ValueError(
                    f"outputs.{name}.shape is {list(output.shape)}; expected {list(exact[name])}"
                )
            if name in ranks and (len(output.shape) != ranks[name] or output.shape[0] != 1):
                raise ValueError(
                    f"outputs.{name}.shape is {list(output.shape)}; expected {ranks[name]} axes, "
                    "the first 1: one track"
                )
        return self
