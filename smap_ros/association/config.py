"""Constants of the part association, with their sources, and checks of its inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15

JOINTS = len(MPI15)
LIMBS: NDArray[np.intp] = np.array(MPI15.limbs, dtype=np.intp)  # [14, 2] joint indices
NECK, PELVIS = MPI15.index("neck"), MPI15.index("pelvis")
ROOTS = (NECK, PELVIS)
CHANNELS = JOINTS + 2 * len(LIMBS)  # 15 heatmaps, then x and y of 14 part-affinity fields

# A map value beyond this is no evidence, like NaN and infinity: real maps are of order 1, and
# up to here no sum over a window or a limb overflows float32.
EVIDENCE_LIMIT = 1e6
_UNSET = 1e-5  # below it SMAP takes a joint for unset

# Mean bone lengths by limb in centimetres: SMAP, a statistic over its training sets.
BONE_LENGTH_CM: tuple[float, ...] = (
    26.42178982,
    48.36980909,
    14.88291009,
    31.28002332,
    23.915707,
    14.97674918,
    31.28002549,
    23.91570732,
    12.4644364,
    48.26604433,
    39.03553194,
    12.4644364,
    48.19076948,
    39.03553252,
)


@dataclass(frozen=True)
class AssociationConfig:
    """Settings of the part association; the defaults are those SMAP was published with.

    Attributes:
        peak_threshold: a heatmap cell must exceed this to be a joint, on maps where a
            Gaussian's top is 1 (SMAP's NMS threshold).
        root_share: of that threshold, which a cell must exceed to be a root. People whose root
            isn't above the whole of it take the joints that those with a clear one leave (and may
            leave none to a neck without a pelvis); 1 is SMAP's way.
        max_peaks: joints of one kind that are kept, in raster order (SMAP's buffer), weak roots
            as well.
        centroid_radius: half width, in cells, of the window a peak is refined in.
        peak_offset: added to both refined coordinates, in cells: the middle of a cell.
        paf_threshold: a sample supports a limb when the field along it exceeds this.
        paf_min_share: share of supporting samples a limb must exceed.
        min_samples: fewest samples along a limb.
        max_samples: most samples along a limb.
        samples_gain: a limb has sqrt(samples_gain * longest extent in cells) samples.
        near_divisor: joints closer than sqrt(width * height) / near_divisor cells may be
            connected without support of the field.
        near_score: score of such a pair.
        bone_length_cm: mean length of each limb in centimetres, in the limbs' order.
        bone_slack: a limb may be this much longer than the mean before it is penalised.
        stride: network pixels per map cell; root depths are per network pixel.
    """

    peak_threshold: float = 0.2
    root_share: float = 1.0
    max_peaks: int = 127
    centroid_radius: int = 3
    peak_offset: float = 0.5
    paf_threshold: float = 0.05
    paf_min_share: float = 0.95
    min_samples: int = 5
    max_samples: int = 25
    samples_gain: float = 5.0
    near_divisor: float = 150.0
    near_score: float = 0.1
    bone_length_cm: tuple[float, ...] = BONE_LENGTH_CM
    bone_slack: float = 1.2
    stride: float = 4.0

    @property
    def root_threshold(self) -> float:
        """What a root's cell must exceed."""
        return max(self.root_share * self.peak_threshold, _UNSET)

    def __post_init__(self) -> None:
        limits = {
            "peak_threshold": (_UNSET, EVIDENCE_LIMIT),
            "root_share": (1e-3, 1),
            "max_peaks": (1, 4096),
            "centroid_radius": (0, 16),
            "peak_offset": (0, 1),
            "paf_threshold": (0, EVIDENCE_LIMIT),
            "paf_min_share": (0, 1),
            "min_samples": (1, self.max_samples),
            "max_samples": (self.min_samples, 256),
            "samples_gain": (1e-3, 1e3),
            "near_divisor": (1e-3, 1e6),
            "near_score": (0, 1e3),
            "bone_slack": (1e-3, 1e3),
            "stride": (1e-3, 1e3),
        }
        for field in fields(self):
            if field.name == "bone_length_cm":
                continue
            value, (low, high) = getattr(self, field.name), limits[field.name]
            whole = type(field.default) is int
            if type(value) not in ((int,) if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise InputError(f"{field.name} is {value!r}, expected {kind}")
            if not low <= value <= high:
                raise InputError(f"{field.name} is {value!r}, expected {low:g} to {high:g}")
        lengths = np.asarray(self.bone_length_cm)
        numbers = lengths.shape == (len(LIMBS),) and lengths.dtype.kind in "iuf"
        if not numbers or not ((lengths > 0) & (lengths < np.inf)).all():
            raise InputError(
                f"bone_length_cm is {self.bone_length_cm!r}, expected {len(LIMBS)} positive "
                "lengths in centimetres, one a limb"
            )


DEFAULT = AssociationConfig()


def check_maps(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maps as one C-contiguous block (copied only if they aren't).

    Args:
        maps: float32 [43, h, w].

    Raises:
        InputError: if they are not a float32 array of that shape, or h or w is 0.
    """
    if not isinstance(maps, np.ndarray) or maps.dtype != np.float32:
        got = maps.dtype if isinstance(maps, np.ndarray) else type(maps).__name__
        raise InputError(f"maps are {got}, expected a float32 array [{CHANNELS}, h, w]")
    if maps.ndim != 3 or maps.shape[0] != CHANNELS or 0 in maps.shape:
        raise InputError(
            f"maps have shape {maps.shape}, expected [{CHANNELS}, h, w]: {JOINTS} heatmaps, then "
            f"x and y of {len(LIMBS)} part-affinity fields; pass one image, not a batch"
        )
    return np.ascontiguousarray(maps)


def check_root(root: int) -> None:
    """Refuse a joint that no person can be associated from.

    Raises:
        InputError: if it is another than the two.
    """
    if root not in ROOTS:
        raise InputError(f"root is {root!r}, expected {PELVIS} (pelvis) or {NECK} (neck)")


def check_root_depth(root_depth: NDArray[np.float32], size: tuple[int, int]) -> None:
    """Refuse a root depth map that doesn't fit the maps.

    Args:
        root_depth: float32 [h, w].
        size: h and w of the maps.

    Raises:
        InputError: if it is not a float32 array of that shape.
    """
    if not isinstance(root_depth, np.ndarray) or root_depth.dtype != np.float32:
        got = root_depth.dtype if isinstance(root_depth, np.ndarray) else type(root_depth).__name__
        raise InputError(f"root_depth is {got}, expected a float32 array [h, w]")
    if root_depth.shape != size:
        raise InputError(
            f"root_depth has shape {root_depth.shape}, expected {size} as the maps have; "
            "pass the root depth channel of the same image without the channel axis"
        )
