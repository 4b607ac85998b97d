"""The network that looks at each person again, within a budget of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.second_look import SecondLookSpec
from smap_ros.camera import Camera
from smap_ros.engines import Engine
from smap_ros.engines.base import zeros
from smap_ros.engines.further import open_further
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.estimators.base import Image
from smap_ros.estimators.checks import check_network
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.second_look.fusing import Seen, towards
from smap_ros.estimators.second_look.region import Region, region_around
from smap_ros.estimators.second_look.turns import Turns, most_needed_first
from smap_ros.skeletons import MPI15

_FORGETS = 0.95  # of the expected time stays when nobody could be looked at: a slow image passes
_NEWEST = 0.3  # of the last measured time in the expected one
_REACH = 3.0  # metres from a pelvis to a joint that nobody has


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
        bundle: whose second network it is.
        spec: what the network sees and tells.
        engine: the network, loaded.
        budget_ms: milliseconds an image; 0 is no limit.
        clock: seconds.

    Raises:
        BundleError: if the network doesn't take and give what the bundle says.
    """

    def __init__(
        self,
        bundle: Bundle,
        spec: SecondLookSpec,
        engine: Engine,
        budget_ms: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        shapes = {output.name: output.shape for output in spec.outputs.values()}
        check_network(bundle, "second", engine, {spec.input.name: spec.input.shape}, shapes)
        self.spec, self.budget_ms = spec, budget_ms
        self._engine, self._clock = engine, clock
        self._normaliser = Normaliser(spec.input)
        self._turns = Turns()
        engine.run(zeros(engine.inputs))  # the first run of a network is slow
        started = clock()
        engine.run(zeros(engine.inputs))
        self._expected = clock() - started  # seconds a person

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        spec: SecondLookSpec,
        first: Engine,
        threads: int,
        precision: Precision,
        gpu: GpuOptions | None,
        budget_ms: float,
    ) -> SecondLook:
        """Load a bundle's second network, where the first one runs if it can."""
        engine = open_further(bundle, "second", first, threads, precision, gpu=gpu)
        try:
            return cls(bundle, spec, engine, budget_ms)
        except Exception:
            engine.close()
            raise

    def close(self) -> None:
        """Release the network; harmless when done twice."""
        self._engine.close()

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
        for k in most_needed_first(depths, certain, waited).tolist():
            begun = self._clock()
            if begun - started + self._expected > limit:
                if not looked.any():
                    self._expected *= _FORGETS
                break
            region = region_around(joints_2d[k], self.spec.margin, self.spec.input.width)
            if region is None:
                continue
            self._look(image, camera, region, seen, k)
            looked[k] = True
            self._expected += _NEWEST * (self._clock() - begun - self._expected)
        self._turns.note(roots, waited, looked)
        return seen, looked, (self._clock() - started) * 1e3

    def _look(self, image: Image, camera: Camera, region: Region, seen: Seen, row: int) -> None:
        """Fill in what is seen of one person; nothing if the answer isn't finite, or nobody's."""
        blob = self._normaliser(region.apply(image))
        answer = self._engine.run({self.spec.input.name: blob})
        joints, pose, presence = (
            answer[self.spec.outputs[name].name][0].astype(np.float64)
            for name in ("joints", "pose", "presence")
        )
        if not all(np.isfinite(array).all() for array in (joints, pose, presence)):
            return
        if np.linalg.norm(pose - pose[MPI15.root], axis=1).max() > _REACH:
            return
        pose[:, :2] = pose[:, :2] @ region.turn.T
        seen.joints_2d[row] = region.to_image(joints[:, :2])
        seen.scores[row] = np.clip(joints[:, 2], 0, 1)
        seen.poses[row] = (pose - pose[MPI15.root]) @ towards(
            camera, np.array([region.x, region.y])
        ).T
        seen.presence[row], seen.sides[row] = presence[0], region.side
