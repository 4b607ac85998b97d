"""VirtualPose's three networks one behind the other, where they run: on any engines, or on a GPU.

On a GPU the backbone's maps stay there: the other two read them where they lie, and the host gets
candidates, joints, and the heat at the joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.cuda import program
from smap_ros.engines import Engine
from smap_ros.engines.base import check_inputs
from smap_ros.errors import EngineError
from smap_ros.estimators.base import Float, StageTimer

_COUNTERS = 64  # blocks that count
_POINTS = 4096  # places that are asked at once


class Candidates(NamedTuple):
    """What the second network finds.

    Attributes:
        bad: how many of the maps' values are NaN or infinite; without any are the others of use.
        roots: float32 [K, 3], world, metres.
        scores: float32 [K].
    """

    bad: int
    roots: Float
    scores: Float


class Networks(Protocol):
    """Backbone, root and pose network."""

    def candidates(self, image: Float, view: Mapping[str, Float], timer: StageTimer) -> Candidates:
        """Who may be in an image, [1, 3, H, W], seen by the camera of ``view``."""

    def joints(self, roots: Float, view: Mapping[str, Float]) -> Float:
        """Joints about roots [N, 3] in the image seen last: float32 [N, J, 3], metres."""

    def heat(self, places: NDArray[np.intp]) -> Float:
        """Heat [N, J] of that image's maps at flat places in them, 0 at negative ones."""


def networks(backbone: Engine, root: Engine, pose: Engine, image: str, maps: str) -> Networks:
    """The three together; on the GPU if all of them are there.

    Where it can't have the maps (it has no memory left) they pass through the host's, and why is
    among the backbone's notes.

    Args:
        backbone, root, pose: loaded.
        image, maps: names of the backbone's input and output.
    """
    engines = backbone, root, pose
    if all(engine.name == "tensorrt" for engine in engines):
        try:
            return OnGpu(*engines, image, maps)
        except EngineError as error:
            backbone.notes = (*backbone.notes, f"maps on the GPU: {error}")
    return OnHost(*engines, image, maps)


class OnHost:
    """See :class:`Networks`: the maps pass through the host's memory."""

    def __init__(self, backbone: Engine, root: Engine, pose: Engine, image: str, maps: str) -> None:
        self._backbone, self._root, self._pose = backbone, root, pose
        self._image, self._name = image, maps
        self._maps: Float = np.zeros((1, 0, 1, 1), np.float32)

    def candidates(self, image: Float, view: Mapping[str, Float], timer: StageTimer) -> Candidates:
        """See the protocol."""
        self._maps = maps = self._backbone.run({self._image: image})[self._name]
        timer.lap("network")
        bad = int(maps.size - np.count_nonzero(np.isfinite(maps)))
        if bad:
            return Candidates(bad, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
        found = self._root.run({"maps": maps, **view})
        return Candidates(0, found["roots"][0], found["scores"][0])

    def joints(self, roots: Float, view: Mapping[str, Float]) -> Float:
        """See the protocol."""
        joints: Float = self._pose.run({"maps": self._maps, "roots": roots, **view})["joints"]
        return joints

    def heat(self, places: NDArray[np.intp]) -> Float:
        """See the protocol."""
        heat = self._maps.reshape(-1)[np.maximum(places, 0)]
        return np.where(places < 0, np.float32(0), heat)


class OnGpu:
    """See :class:`Networks`: the maps stay on the GPU, and all goes on in the backbone's stream."""

    def __init__(self, backbone: Any, root: Any, pose: Any, image: str, maps: str) -> None:
        self._backbone, self._root, self._pose = backbone, root, pose
        self._image = image
        self._gpu = gpu = backbone.gpu
        self._stream = backbone.stream
        self._maps = {"maps": backbone.address(maps)}
        with gpu.all_or_nothing():
            self._take(maps)

    def _take(self, maps: str) -> None:
        gpu, backbone = self._gpu, self._backbone
        self._functions = gpu.functions(program.image(), ["count_bad", "take"])
        shape = next(spec.shape for spec in backbone.outputs if spec.name == maps)
        self._sizes = gpu.pinned((2,), np.int32)
        self._sizes[:] = np.prod([size or 1 for size in shape]), 0
        self._bad = gpu.pinned((_COUNTERS,), np.int32)
        self._places = gpu.pinned((_POINTS,), np.int32)
        self._heat = gpu.pinned((_POINTS,), np.float32)
        self._at = {
            name: gpu.memory(array.nbytes)
            for name, array in (
                ("sizes", self._sizes), ("bad", self._bad),
                ("places", self._places), ("heat", self._heat),
            )
        }  # fmt: skip

    def candidates(self, image: Float, view: Mapping[str, Float], timer: StageTimer) -> Candidates:
        """See the protocol; the time of both networks counts as the first one's."""
        gpu, root = self._gpu, self._root
        with gpu.current("run the networks"):
            check_inputs(self._backbone.inputs, {self._image: image})
            self._backbone.send({self._image: image})
            self._backbone.enqueue()
            gpu.upload(self._at["sizes"], self._sizes, self._stream)
            self._launch("count_bad", _COUNTERS, "sizes", "maps", "bad")
            gpu.download(self._bad, self._at["bad"], self._stream)
            root.send(view, self._stream)
            root.enqueue(self._maps, self._stream)
            found = root.fetch(["roots", "scores"], self._stream)
            gpu.wait(self._stream)
        timer.lap("network")
        return Candidates(int(self._bad.sum()), found["roots"][0], found["scores"][0])

    def joints(self, roots: Float, view: Mapping[str, Float]) -> Float:
        """See the protocol."""
        pose = self._pose
        with self._gpu.current("run the third network"):
            pose.send({"roots": roots, **view}, self._stream)
            pose.enqueue(self._maps, self._stream)
            joints: Float = pose.fetch(["joints"], self._stream)["joints"]
            self._gpu.wait(self._stream)
        return joints

    def heat(self, places: NDArray[np.intp]) -> Float:
        """See the protocol."""
        flat = places.reshape(-1)
        found = [self._taken(flat[k : k + _POINTS]) for k in range(0, len(flat), _POINTS)]
        return np.concatenate([np.zeros(0, np.float32), *found]).reshape(places.shape)

    def _taken(self, places: NDArray[np.intp]) -> Float:
        count, gpu = len(places), self._gpu
        with gpu.current("read the maps"):
            self._places[:count], self._sizes[1] = places, count
            gpu.upload(self._at["sizes"], self._sizes, self._stream)
            gpu.upload(self._at["places"], self._places[:count], self._stream)
            self._launch("take", 1, "sizes", "places", "maps", "heat")
            gpu.download(self._heat[:count], self._at["heat"], self._stream)
            gpu.wait(self._stream)
        heat: Float = self._heat[:count].copy()
        return heat

    def _launch(self, kernel: str, blocks: int, *buffers: str) -> None:
        addresses = [{**self._at, **self._maps}[name] for name in buffers]
        function = self._functions[kernel]
        self._gpu.launch(function, (blocks, 1), program.BLOCK, addresses, self._stream)
