"""One frame on the GPU: image in, the block of people out, nothing of the host in between."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.cuda import layout, program
from smap_ros.engines.cuda import Gpu, Graph
from smap_ros.errors import EngineError
from smap_ros.geometry.letterbox import Letterbox

log = logging.getLogger(__name__)


class GpuNetwork(Protocol):
    """A network whose inputs and outputs lie on a GPU."""

    notes: tuple[str, ...]

    @property
    def gpu(self) -> Gpu:
        """The GPU."""

    @property
    def stream(self) -> Any:
        """The stream that it runs in."""

    def address(self, name: str) -> int:
        """Where an input or output lies."""

    def enqueue(self, elsewhere: Mapping[str, int] | None = None) -> None:
        """Have it run, on other memory for some inputs and outputs if stated."""


@dataclass(frozen=True)
class Picture:
    """What the letterbox kernel needs to know of the network's input.

    Attributes:
        name: of the input.
        pixels: of it.
        tables: float32 [3, 256], see :class:`smap_ros.estimators.preprocess.Normaliser`.
        source: as there.
    """

    name: str
    pixels: int
    tables: NDArray[np.float32]
    source: tuple[int, int, int]


class DeviceFrame:
    """Runs letterbox, network, association and lifting as one CUDA graph.

    Its memory is the network's GPU's, and given back with it.

    Args:
        network: the network, loaded.
        picture: of its input.
        outputs: names of what it tells, by those of :data:`layout.OUTPUTS`.
        record: parameters of the kernels, from :func:`layout.parameters`.

    Raises:
        EngineError: if the GPU lacks memory or refuses the kernels.
    """

    def __init__(
        self,
        network: GpuNetwork,
        picture: Picture,
        outputs: Mapping[str, str],
        record: NDArray[Any],
    ) -> None:
        self._network, self._picture, self._record = network, picture, record
        self._gpu = gpu = network.gpu
        self._stream = network.stream
        self._cells = int(record["height"]) * int(record["width"])
        self._channels = int(record["channels"])
        self._letterbox: Letterbox | None = None
        self._graph: Graph | None = None
        self._image = self._whole = np.zeros(0, np.uint8)
        self._room: list[Any] = []  # what an image takes: pinned memory, and the device's
        with gpu.all_or_nothing():
            self._take(outputs)

    def _take(self, outputs: Mapping[str, str]) -> None:
        """The kernels, and memory for all that doesn't depend on the image's size."""
        gpu, network, picture, record = self._gpu, self._network, self._picture, self._record
        names = [step.kernel for step in self._launches()]
        self._functions = gpu.functions(program.image(), [*names, "letterbox", "mirror"])
        self._params = gpu.pinned((1,), layout.PARAMS)
        self._result = gpu.pinned((1,), layout.RESULT)
        self._bytes = self._result.view(np.uint8)
        straight = {n: network.address(n) for n in (picture.name, *outputs.values())}
        self._mirrored = self._other_memory(outputs) if record["mirrored"] else {}
        self._tables = [self._table(of, outputs) for of in (straight, self._mirrored or straight)]
        self._at = {
            "params": gpu.memory(layout.PARAMS.itemsize),
            "arena": gpu.memory(layout.ARENA.itemsize),
            "maps": gpu.memory(4 * self._cells * self._channels),
            "input": straight[picture.name],
            "turned": self._mirrored.get(picture.name, 0),
        }
        for name, table in zip(("straight", "mirrored"), self._tables, strict=True):
            self._at[name] = gpu.memory(table.nbytes)
            gpu.upload(self._at[name], table, self._stream)
        gpu.wait(self._stream)

    def _other_memory(self, outputs: Mapping[str, str]) -> dict[str, int]:
        """For what the network is given and gives of the mirrored image."""
        sizes = {self._picture.name: 3 * self._picture.pixels}
        sizes |= {name: self._cells * layout.OUTPUTS[of] for of, name in outputs.items()}
        return {name: self._gpu.memory(4 * size) for name, size in sizes.items()}

    def _table(
        self, addresses: Mapping[str, int], outputs: Mapping[str, str]
    ) -> NDArray[np.uint64]:
        """Where the outputs lie, 0 for those that aren't told: no channel is theirs."""
        table = self._gpu.pinned((len(layout.OUTPUTS),), np.uint64)
        table[:] = [addresses[outputs[of]] if of in outputs else 0 for of in layout.OUTPUTS]
        return table

    def _launches(self) -> list[program.Launch]:
        return list(program.association_launches(self._cells, self._channels))

    def run(self, image: NDArray[np.uint8], letterbox: Letterbox) -> Any:
        """Everybody in an image.

        Args:
            image: uint8 [H, W, 3], bgr.
            letterbox: how it is fitted into the network's input.

        Returns:
            A record of :data:`layout.RESULT`, valid until the next call.

        Raises:
            EngineError: if the GPU fails.
            InputError: if the image can't be shrunk there, see :func:`layout.shrink_factor`.
        """
        if letterbox != self._letterbox:
            self._prepare(image, letterbox)
        self._image.reshape(image.shape)[...] = image
        (self._graph or self._work)()
        self._gpu.wait(self._stream)
        block = self._result[0]
        if int(block["people"]) + int(block["necks"]) > layout.FIRST_PEOPLE:
            rest = layout.FIRST_BYTES
            self._gpu.download(self._bytes[rest:], self._at["arena"] + rest, self._stream)
            self._gpu.wait(self._stream)
        return block

    def _prepare(self, image: NDArray[np.uint8], letterbox: Letterbox) -> None:
        """Get ready for images of another size: memory, parameters, graph."""
        gpu = self._gpu
        self._letterbox = None
        if self._graph is not None:  # of the size before
            graph, self._graph = self._graph, None
            graph.give_back()
        layout.set_image(self._record, letterbox, self._picture.tables, self._picture.source)
        self._make_room(image.size)
        self._image = self._whole[: image.size]
        self._image.reshape(image.shape)[...] = image
        self._params[0] = self._record
        gpu.upload(self._at["params"], self._params, self._stream)
        self._work()  # what is done on the first run can't be captured
        gpu.wait(self._stream)
        try:
            self._graph = gpu.capture(self._work, self._stream)
        except EngineError as error:
            log.warning("the frame isn't captured as a CUDA graph, and takes longer: %s", error)
            note = f"CUDA graph: {error}"
            if note not in self._network.notes:
                self._network.notes = (*self._network.notes, note)
        self._letterbox = letterbox

    def _make_room(self, size: int) -> None:
        """Memory for images of so many bytes, in place of that for smaller ones."""
        gpu = self._gpu
        if size <= self._whole.size:
            return
        for thing in self._room:
            gpu.give_back(thing)
        self._room = []
        self._image = self._whole = np.zeros(0, np.uint8)  # nobody looks into what was given back
        pinned, seen = gpu.mapped((size,), np.uint8)
        self._room.append(pinned)
        # A GPU that shares the host's memory reads the image where it is.
        if not gpu.facts.integrated:
            seen = gpu.memory(size)
            self._room.append(seen)
        self._at["image"], self._whole = seen, pinned

    def _work(self) -> None:
        """All of a frame, in the stream."""
        gpu, network = self._gpu, self._network
        if not gpu.facts.integrated:
            gpu.upload(self._at["image"], self._image, self._stream)
        self._launch(program.letterbox_launch(self._picture.pixels))
        network.enqueue()
        if self._mirrored:
            self._launch(program.mirror_launch(self._picture.pixels))
            network.enqueue(self._mirrored)
        for step in self._launches():
            self._launch(step)
        gpu.download(self._bytes[: layout.FIRST_BYTES], self._at["arena"], self._stream)

    def _launch(self, step: program.Launch) -> None:
        addresses = [self._at[name] for name in step.arguments]
        function = self._functions[step.kernel]
        self._gpu.launch(function, step.grid, program.BLOCK, addresses, self._stream)
