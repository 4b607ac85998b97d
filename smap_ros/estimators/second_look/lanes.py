"""The landmark network at work: on one crop with all threads, or on two at once that share them.

So small a network gains little from a second thread of ONNX Runtime, whose workers wait for one
another at each layer: one crop took 11.5 ms with one thread and 8.8 with two, two at once 15
(without heatmaps, which cost a tenth).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.second_look import SecondLookSpec
from smap_ros.engines import Engine
from smap_ros.engines.agreement import image_inputs
from smap_ros.engines.base import thread_count
from smap_ros.engines.further import open_further
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.errors import EngineError
from smap_ros.estimators.base import Image
from smap_ros.estimators.checks import check_network
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.second_look.region import Region
from smap_ros.skeletons import MPI15

Double = NDArray[np.float64]

AT_ONCE = 2
_GAINS = "onnxruntime"  # two streams of OpenVINO on two threads take as long as one on both
_REACH = 3.0  # metres from a pelvis to a joint that nobody has


@dataclass(frozen=True)
class Answer:
    """What the network tells of a crop.

    Attributes:
        joints: float64 [15, 3], crop pixels from its corner, and scores.
        pose: float64 [15, 3], metres about the pelvis, along the axes of the crop.
        presence: probability that somebody is there.
    """

    joints: Double
    pose: Double
    presence: float


class Lane:
    """A copy of the network, with buffers of its own; not thread-safe."""

    def __init__(self, spec: SecondLookSpec, engine: Engine) -> None:
        self._spec, self._engine = spec, engine
        self._normaliser = Normaliser(spec.input)

    def __call__(self, image: Image, region: Region) -> Answer | None:
        """What is seen in a region; None if the answer isn't finite, or nobody's."""
        blob = self._normaliser(region.apply(image))
        told = self._engine.run({self._spec.input.name: blob})
        joints, pose, presence = (
            told[self._spec.outputs[name].name][0].astype(np.float64)
            for name in ("joints", "pose", "presence")
        )
        if not all(np.isfinite(array).all() for array in (joints, pose, presence)):
            return None
        if np.linalg.norm(pose - pose[MPI15.root], axis=1).max() > _REACH:
            return None
        return Answer(joints, pose, float(presence[0]))


class Lanes:
    """Copies of the network; not thread-safe.

    Args:
        bundle: whose second network it is.
        spec: what the network sees and tells.
        alone: the network with all threads.
        at_once: copies that share the threads, or none where nothing is gained by that.

    Raises:
        BundleError: if the network doesn't take and give what the bundle says.
    """

    def __init__(
        self, bundle: Bundle, spec: SecondLookSpec, alone: Engine, at_once: Sequence[Engine] = ()
    ) -> None:
        shapes = {output.name: output.shape for output in spec.outputs.values()}
        check_network(bundle, "second", alone, {spec.input.name: spec.input.shape}, shapes)
        self._engines = (alone, *at_once)
        self._alone = Lane(spec, alone)
        self._at_once = [Lane(spec, engine) for engine in at_once]
        helpers = len(at_once) - 1
        self._helpers = ThreadPoolExecutor(helpers, "second look") if helpers > 0 else None

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        spec: SecondLookSpec,
        first: Engine,
        threads: int,
        precision: Precision,
        gpu: GpuOptions | None,
    ) -> Lanes:
        """Load a bundle's second network, where the first one runs if it can."""
        count = thread_count(threads)
        shares = [(count + k) // AT_ONCE for k in range(AT_ONCE)]
        with ExitStack() as opened:  # closed again when a later step fails

            def load(beside: Engine, threads: int) -> Engine:
                asked = partial(image_inputs, spec.input)
                engine = open_further(
                    bundle, "second", beside, threads, precision, gpu=gpu, inputs=asked
                )
                opened.enter_context(closing(engine))
                return engine

            alone = load(first, threads)
            gains = alone.name == _GAINS and min(shares) > 0
            copies = [load(alone, share) for share in shares] if gains else []
            lanes = cls(bundle, spec, alone, copies)
            opened.pop_all()
        return lanes

    @property
    def widths(self) -> tuple[int, ...]:
        """At how many crops it can look at once."""
        return (1, len(self._at_once)) if self._at_once else (1,)

    def __call__(self, image: Image, regions: Sequence[Region]) -> list[Answer | None]:
        """Look at as many regions as one of the :attr:`widths`; see :class:`Lane`."""
        if len(regions) == 1 or self._helpers is None:
            return [self._alone(image, region) for region in regions]
        *others, mine = zip(self._at_once, regions, strict=True)
        try:
            helped = [self._helpers.submit(lane, image, region) for lane, region in others]
        except RuntimeError as error:
            raise EngineError("the engine is closed; create a new one") from error
        try:
            last = mine[0](image, mine[1])
        finally:
            wait(helped)  # each copy has one caller at a time
        return [*(future.result() for future in helped), last]

    def close(self) -> None:
        """Release the networks; harmless when done twice."""
        if self._helpers is not None:
            self._helpers.shutdown()
        for engine in self._engines:
            engine.close()


class Pace:
    """How long looks take: expected seconds for each number of crops at once.

    A number that isn't looked at, because that seems to take too long, isn't measured either; what
    the others take bounds it, so that one slow moment doesn't rule it out for ever.
    """

    _FORGETS = 0.95  # of it stays when nobody could be looked at: a slow image passes
    _NEWEST = 0.3  # of the last measured time in the expected one

    def __init__(self, seconds: Mapping[int, float]) -> None:
        self._expected = dict(seconds)
        for width in seconds:
            self._bound_by(width)

    def fits(self, people: int, left: float) -> int:
        """At how many to look next: the most that there are, and are done in the seconds left."""
        fitting = (n for n, seconds in self._expected.items() if n <= people and seconds <= left)
        return max(fitting, default=0)

    def took(self, width: int, seconds: float) -> None:
        """Note how long a look at that many took."""
        self._expected[width] += self._NEWEST * (seconds - self._expected[width])
        self._bound_by(width)

    def forget(self) -> None:
        """Expect a little less of everything."""
        self._expected = {n: seconds * self._FORGETS for n, seconds in self._expected.items()}

    def _bound_by(self, width: int) -> None:
        """Fewer take no longer than that many, and more no longer than one after the other."""
        known = self._expected[width]
        for n, seconds in self._expected.items():
            self._expected[n] = min(seconds, known * max(n / width, 1))
