"""Which kernels run, in which order and shape, on whatever device holds the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smap_ros.association.config import JOINTS, LIMBS

BLOCK = 512  # threads a block, as kernels.cu is compiled
_CELLS_A_BLOCK = 4 * BLOCK


@dataclass(frozen=True)
class Launch:
    """One kernel of the frame.

    Attributes:
        kernel: its name in kernels.cu.
        grid: blocks in x and y.
        arguments: names of the buffers it takes, in order.
    """

    kernel: str
    grid: tuple[int, int]
    arguments: tuple[str, ...]


def image() -> bytes:
    """The kernels, as PTX."""
    return Path(__file__).with_name("kernels.ptx").read_bytes()


def letterbox_launch(pixels: int) -> Launch:
    """Image to network input; ``pixels`` of the network's input."""
    return Launch("letterbox", (-(-pixels // BLOCK), 1), ("params", "image", "input"))


def mirror_launch(pixels: int) -> Launch:
    """Network input to that of the image mirrored left to right."""
    return Launch("mirror", (-(-pixels // BLOCK), 1), ("params", "input", "turned"))


def association_launches(cells: int, channels: int, people: int = 128) -> Iterator[Launch]:
    """Network outputs to the block of people.

    Args:
        cells: of one map.
        channels: of all maps.
        people: at most so many are lifted at once; more take turns.
    """
    maps = ("params", "maps", "arena")
    yield Launch("clear", (1, 1), ("params", "arena"))
    yield Launch(
        "scale_maps",
        (-(-cells // _CELLS_A_BLOCK), channels),
        ("params", "straight", "mirrored", "maps", "arena"),
    )
    yield Launch("find_peaks", (JOINTS, 1), maps)
    yield Launch("limb_scores", (16, len(LIMBS)), maps)
    yield Launch("assign", (1, 1), maps)
    yield Launch("lift_samples", (people, 1), maps)
