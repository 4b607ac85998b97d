"""The network that looks at each person again, within a budget of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.manifest.second_look import SecondLookSpec
from smap_ros.camera import Camera
from smap_ros.estimators.base import Image
from smap_ros.estimators.second_look.fusing import Seen, towards
from smap_ros.estimators.second_look.lanes import Answer, Lanes, Pace
from smap_ros.estimators.second_look.region import Region, region_around
from smap_ros.estimators.second_look.turns import Turns, most_needed_first
from smap_ros.skeletons import MPI15


@dataclass(frozen=True)
class Use:
    """What was made of the time for second looks at an image.

    Attributes:
        people: in the image.
        looked: of them, at whom there was time to look.
        taken: of those, whose second look counts.
        ms: it took.
        budget_ms: it might have taken; 0 is no limit.
    """

    people: int
    looked: int
    taken: int
    ms: float
    budget_ms: float

    def notes(self) -> Mapping[str, float]:
        """As numbers for diagnostics."""
        return {
            "second looks": self.looked,
            "second looks left out": self.people - self.looked,
            "second looks refused": self.looked - self.taken,
            "second looks [ms]": self.ms,
            "second looks, budget [ms]": self.budget_ms,
        }


class SecondLook:
    """Looks at people that were found; not thread-safe.

    Args:
        spec: what the network sees and tells.
        lanes: the network at work.
        budget_ms: milliseconds an image; 0 is no limit.
        clock: seconds.
    """

    def __init__(
        self,
        spec: SecondLookSpec,
        lanes: Lanes,
        budget_ms: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.spec, self.budget_ms = spec, budget_ms
        self._lanes, self._clock = lanes, clock
        self._turns = Turns()
        self._pace = Pace({width: self._measured(width) for width in lanes.widths})

    def close(self) -> None:
        """Release the network; harmless when done twice."""
        self._lanes.close()

    def __call__(
        self,
        image: Image,
        camera: Camera,
        joints_2d: NDArray[np.floating],
        roots: NDArray[np.floating],
        scores: NDArray[np.floating],
    ) -> tuple[Seen, NDArray[np.bool_], float]:
        """Look at people, those who need it most first, as long as there is time.

        Args:
            image, camera: as the first look saw them.
            joints_2d: float [N, 15, 2], pixels, those not seen where they are believed to be; NaN
                where unknown.
            roots: float [N, 3], their pelvises, metres.
            scores: float [N], of the people.

        Returns:
            What was seen, who was looked at (bool [N]), and the milliseconds it took.
        """
        seen, looked = Seen.nothing(len(roots)), np.zeros(len(roots), np.bool_)
        started = self._clock()
        limit = self.budget_ms / 1e3 if self.budget_ms > 0 else math.inf
        waited = self._turns.waited(roots)
        depths, certain = (np.asarray(v, np.float64) for v in (roots[:, 2], scores))
        waiting = self._regions(joints_2d, most_needed_first(depths, certain, waited))
        while waiting:
            begun = self._clock()
            count = self._pace.fits(len(waiting), limit - (begun - started))
            if not count:
                if not looked.any():
                    self._pace.forget()
                break
            some, waiting = waiting[:count], waiting[count:]
            answers = self._lanes(image, [region for _, region in some])
            for (row, region), answer in zip(some, answers, strict=True):
                looked[row] = True
                if answer is not None:
                    _fill_in(seen, row, answer, region, camera)
            self._pace.took(count, self._clock() - begun)
        self._turns.note(roots, waited, looked)
        return seen, looked, (self._clock() - started) * 1e3

    def _regions(
        self, joints_2d: NDArray[np.floating], order: NDArray[np.intp]
    ) -> list[tuple[int, Region]]:
        """Who can be looked at, and where, in that order."""
        margin, size = self.spec.margin, self.spec.input.width
        regions = ((row, region_around(joints_2d[row], margin, size)) for row in order.tolist())
        return [(row, region) for row, region in regions if region is not None]

    def _measured(self, width: int) -> float:
        """Seconds that a look at so many crops takes."""
        size = self.spec.input.width
        region = Region(size / 2, size / 2, size, 0.0, size)
        black = np.zeros((size, size, 3), np.uint8)
        self._lanes(black, [region] * width)  # the first run of a network is slow
        started = self._clock()
        self._lanes(black, [region] * width)
        return self._clock() - started


def _fill_in(seen: Seen, row: int, answer: Answer, region: Region, camera: Camera) -> None:
    """Bring what a crop's answer says to the picture and along the camera's axes."""
    pose = np.column_stack([answer.pose[:, :2] @ region.turn.T, answer.pose[:, 2]])
    seen.joints_2d[row] = region.to_image(answer.joints[:, :2])
    seen.scores[row] = np.clip(answer.joints[:, 2], 0, 1)
    seen.poses[row] = (pose - pose[MPI15.root]) @ towards(camera, np.array([region.x, region.y])).T
    seen.presence[row], seen.sides[row] = answer.presence, region.side
