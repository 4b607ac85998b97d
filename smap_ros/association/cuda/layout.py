"""The memory that kernels.cu and Python share: parameters, working memory, the block of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.association.assign import TORSO
from smap_ros.association.config import (
    DEFAULT,
    EVIDENCE_LIMIT,
    JOINTS,
    LIMBS,
    NECK,
    PELVIS,
    AssociationConfig,
)
from smap_ros.errors import InputError
from smap_ros.geometry.letterbox import Letterbox

Float = NDArray[np.float32]

MAPS = JOINTS + 2 * len(LIMBS)  # heatmaps and part-affinity fields
POSE = 3 * JOINTS
# What a network may tell, in the order of the kernels' channels, and in how many.
OUTPUTS = {
    "maps": MAPS, "bone_depth": len(LIMBS), "root_depth": 1, "pose": POSE,
    "neck_depth": 1, "neck_pose": POSE, "depth_spread": 2,
}  # fmt: skip
PEAKS = 128  # rows of the kernels' tables
SAMPLES = 10  # of a bone's depth

_L = len(LIMBS)
_CHANNELS = sum(OUTPUTS.values())
PARAMS = np.dtype(
    [
        ("bone_slack", "f8"), ("low_percentile", "f8"), ("high_percentile", "f8"),
        ("height", "i4"), ("width", "i4"), ("channels", "i4"), ("first", "i4", len(OUTPUTS) + 1),
        ("mirrored", "i4"), ("max_peaks", "i4"), ("radius", "i4"), ("root", "i4"),
        ("dist_flag", "i4"), ("necks", "i4"), ("min_samples", "i4"), ("max_samples", "i4"),
        ("level", "i4", (2, _L)), ("from", "i4", (2, _L)), ("to", "i4", (2, _L)),
        ("turned", "i4", (2, _L)),
        ("parent", "i4", _L), ("child", "i4", _L),
        ("evidence_limit", "f4"), ("peak_threshold", "f4"),
        ("root_threshold", "f4"), ("peak_offset", "f4"),
        ("paf_threshold", "f4"), ("paf_min_share", "f4"), ("samples_gain", "f4"),
        ("near_length", "f4"), ("near_score", "f4"), ("stride", "f4"),
        ("bone_length_cm", "f4", _L),
        ("divisor", "f4", _CHANNELS), ("mirror_channel", "i4", _CHANNELS),
        ("mirror_sign", "f4", _CHANNELS),
        ("image_height", "i4"), ("image_width", "i4"),
        ("input_height", "i4"), ("input_width", "i4"),
        ("fit_height", "i4"), ("fit_width", "i4"), ("left", "i4"), ("top", "i4"),
        ("shrink", "i4"), ("source", "i4", 3), ("table", "f4", (3, 256)),
    ],
    align=True,
)  # fmt: skip

PERSON = np.dtype(
    [
        ("joints", "f4", (JOINTS, 3)), ("root_depth", "f4"), ("pose", "f4", POSE),
        ("spread", "f4"), ("depth_cm", "f8", JOINTS),
    ],
    align=True,
)  # fmt: skip
# Those found from their roots, then those found from their necks.
RESULT = np.dtype(
    [
        ("people", "i4"), ("bad", "i4"), ("necks", "i4"), ("unused", "i4", 13),
        ("person", PERSON, 2 * PEAKS),
    ],
    align=True,
)  # fmt: skip
# What comes down with each frame: the first people, more than a picture has; the others are asked
# for where they are.
FIRST_BYTES = 1 << 16
FIRST_PEOPLE = (FIRST_BYTES - RESULT.fields["person"][1]) // PERSON.itemsize  # type: ignore[index]
ARENA = np.dtype(
    [
        ("result", RESULT), ("peaks", "f4", (JOINTS, PEAKS, 4)), ("counts", "i4", JOINTS),
        ("unused", "i4"), ("scores", "f4", (_L, PEAKS, PEAKS)),
    ],
    align=True,
)  # fmt: skip


@dataclass(frozen=True)
class MapUnits:
    """What turns the network's outputs into the association's maps; all by channel.

    Attributes:
        divisor: float32 [58 to 151], of each output channel.
        outputs: what the network tells, some of :data:`OUTPUTS` in their order.
        mirror_channel: int [same], where the mirrored image's channel lies; None for one look.
        mirror_sign: float32 [same], -1 where mirroring turns the channel's sign.
    """

    divisor: Float
    outputs: tuple[str, ...]
    mirror_channel: NDArray[np.intp] | None = None
    mirror_sign: Float | None = None


def parameters(
    size: tuple[int, int],
    units: MapUnits,
    config: AssociationConfig = DEFAULT,
    *,
    root: int = PELVIS,
    dist_flag: bool = True,
    necks: bool = False,
    percentiles: tuple[float, float] = (10.0, 90.0),
) -> NDArray[Any]:
    """The kernels' parameters, a record of :data:`PARAMS`, without those of the image.

    Args:
        size: height and width of the maps, cells.
        units: of the network's outputs.
        config: of the association.
        root, dist_flag: see :func:`smap_ros.association.associate`.
        necks: whether people are found from necks, too, see
            :func:`smap_ros.association.associate_both`; the network tells their depths then.
        percentiles: see :class:`smap_ros.estimators.smap.lifting.LiftingConfig`.

    Raises:
        InputError: if the settings are beyond the kernels' tables.
    """
    if config.max_peaks >= PEAKS:
        raise InputError(
            f"max_peaks is {config.max_peaks}; the GPU's tables hold at most {PEAKS - 1}. "
            "Lower it, or set association to cpu"
        )
    record = np.zeros((), PARAMS)
    height, width = size
    channels = len(units.divisor)
    for name in (
        "bone_slack", "max_peaks", "min_samples", "max_samples", "peak_threshold", "root_threshold",
        "peak_offset", "paf_threshold", "paf_min_share", "samples_gain", "stride", "bone_length_cm",
    ):  # fmt: skip
        record[name] = getattr(config, name)
    record["height"], record["width"], record["channels"] = height, width, channels
    record["low_percentile"], record["high_percentile"] = (p / 100 for p in percentiles)
    record["radius"], record["root"] = config.centroid_radius, root
    record["dist_flag"], record["evidence_limit"] = dist_flag, EVIDENCE_LIMIT
    record["near_score"] = np.float32(config.near_score + 1e-6)
    near = np.sqrt(np.float32(width * height)) / np.float32(config.near_divisor)
    record["near_length"] = near
    record["divisor"][:channels] = units.divisor
    widths = [OUTPUTS[name] if name in units.outputs else 0 for name in OUTPUTS]
    record["first"] = np.cumsum([0, *widths])
    record["necks"] = necks
    record["mirrored"] = units.mirror_channel is not None
    if units.mirror_channel is not None and units.mirror_sign is not None:
        record["mirror_channel"][:channels] = units.mirror_channel
        record["mirror_sign"][:channels] = units.mirror_sign
    record["parent"], record["child"] = LIMBS.T
    for k, start in enumerate((root, NECK)):
        for name, column in zip(("level", "from", "to", "turned"), limb_levels(start), strict=True):
            record[name][k] = column
    return record


def limb_levels(root: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """How the limbs are walked from a root: level in the tree, from and to which joint, turned.

    Limbs of one level choose different joints from joints chosen earlier, so they can be walked
    at the same time. The torso is turned when it is walked from pelvis to neck.
    """
    turned = [int(limb == TORSO and root == PELVIS) for limb in range(_L)]
    ends = [(b, a) if turn else (a, b) for (a, b), turn in zip(LIMBS.tolist(), turned, strict=True)]
    depth = {root: 0}
    while len(depth) < JOINTS:
        depth |= {b: depth[a] + 1 for a, b in ends if a in depth}
    return [depth[b] - 1 for _, b in ends], [a for a, _ in ends], [b for _, b in ends], turned


def set_image(
    record: NDArray[Any], letterbox: Letterbox, tables: Float, source: tuple[int, int, int]
) -> None:
    """Fill in the parameters of the letterbox kernel.

    Args:
        record: from :func:`parameters`; changed.
        letterbox: of the images to come.
        tables: float32 [3, 256], the value of each level by input channel.
        source: colour of the image (bgr) for each input channel.

    Raises:
        InputError: if the image has to be averaged down by a factor that doesn't divide its
            sizes: only whole blocks are averaged on the GPU.
    """
    factor = shrink_factor(letterbox)
    if factor is None:
        raise InputError(
            f"an image of {letterbox.image_width}x{letterbox.image_height} px can't be shrunk "
            "on the GPU: the whole factor doesn't divide its sizes"
        )
    record["image_width"], record["image_height"] = letterbox.image_width, letterbox.image_height
    record["input_width"], record["input_height"] = letterbox.width, letterbox.height
    record["fit_width"], record["fit_height"] = letterbox.resized
    record["left"], record["top"] = letterbox.pad
    record["shrink"], record["source"], record["table"] = factor, source, tables


def shrink_factor(letterbox: Letterbox) -> int | None:
    """The whole factor that is averaged away before interpolation; None where it leaves a rest."""
    factor = letterbox.averaged
    whole = letterbox.image_width % factor == 0 and letterbox.image_height % factor == 0
    return factor if whole else None
