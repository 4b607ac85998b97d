"""What shapes a VirtualPose network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15, Skeleton

JOINTS = (*MPI15.joints, "spine", "head")  # the Panoptic configuration has the first 15
ROOT = MPI15.root
JOINT_SETS = {
    len(MPI15): MPI15,
    len(JOINTS): Skeleton("mpi15+2", JOINTS, MPI15.limbs, ROOT),
}
STRIDE = 4  # pixels of the backbone's input to a cell of its maps
BOX_SIDES = 4  # distances from the root to the left, top, right and bottom of the box

# What the depth network sees: neck, head top, pelvis and one chain of each limb. The same in
# both official configurations.
DEPTH_JOINTS = (0, 1, 2, 3, 6, 7, 9, 12, 13)


def flip_order(joints: int) -> list[int]:
    """For each heatmap channel, its partner in the mirror."""
    return [*MPI15.flip.tolist(), *range(len(MPI15), joints)]


@dataclass(frozen=True)
class VirtualPoseConfig:
    """Sizes and thresholds; the defaults are the official MuCo configuration.

    Attributes:
        joints: 17, or 15 for the joints of mpi15.
        image_size: width and height of the network's input, pixels.
        map_size: width and height of heatmaps and boxes, cells.
        max_people: candidates that are looked at in an image.
        space_size_mm, space_center_mm: the cube of the world that is searched; z is up.
        space_bins: its voxels, x, y, z; multiples of 4.
        person_size_mm, person_bins: edge of a person's cube and its voxels along it.
        detection_threshold: root heatmap below which a 2D detection is dropped.
        root_threshold: root cube above which a candidate is a person.
        matched_threshold_mm: with ground truth, how far a candidate may be from a person.
        peak_bins: a root is the maximum among so many voxels along each axis; odd.
        depth_sigma_mm: how sharply a detection's depth selects voxels.
        beta: sharpness of the soft argmax.
        v2v_width: channels of the 3D networks at full resolution; even.
        depth_stem_width, depth_head_width: channels of the depth network's ResNet-18 stem and
            of its upsampling.
        depth_stem_stride: 1, or 2 for a depth network at half the cost.
        v2v_kernel: edge of the 3D networks' first convolution, voxels; odd.
        cell_shift: what is subtracted from pixels / stride for a cell's index; half for maps
            whose cell k is centred on the pixel at stride * (k + 0.5).
        box_maps: whether the maps end with the distances to a box's sides; if not, the depth
            network estimates them as well.
        widening: radii in map cells by which heatmaps may be widened before voxels read them;
            none reads them as they are. Voxels that are wide in the image read wide ones:
            narrow peaks would fall between them.

    Raises:
        InputError: if a value is out of its range.
    """

    joints: int = len(JOINTS)
    image_size: tuple[int, int] = (960, 512)
    map_size: tuple[int, int] = (240, 128)
    max_people: int = 10
    space_size_mm: tuple[float, float, float] = (8000.0, 8000.0, 2400.0)
    space_center_mm: tuple[float, float, float] = (0.0, 0.0, 1100.0)
    space_bins: tuple[int, int, int] = (80, 80, 24)
    person_size_mm: float = 2000.0
    person_bins: int = 64
    detection_threshold: float = 0.1
    root_threshold: float = 0.3
    matched_threshold_mm: float = 1000.0
    peak_bins: int = 5
    depth_sigma_mm: float = 200.0
    beta: float = 100.0
    v2v_width: int = 32
    depth_stem_width: int = 64
    depth_head_width: int = 256
    depth_stem_stride: int = 1
    v2v_kernel: int = 7
    cell_shift: float = 0.0
    box_maps: bool = True
    widening: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # lists come from yaml and from checkpoints
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        checks = {
            "joints": self.joints in (len(MPI15), len(JOINTS)),
            "map_size": _positive(self.map_size, 2) and not any(n % 8 for n in self.map_size),
            "image_size": _positive(self.image_size, 2),
            "max_people": self.max_people > 0,
            "space_size_mm": _positive(self.space_size_mm, 3),
            "space_center_mm": len(self.space_center_mm) == 3,
            "space_bins": _positive(self.space_bins, 3) and not any(n % 4 for n in self.space_bins),
            "person_size_mm": self.person_size_mm > 0,
            "person_bins": self.person_bins > 0 and self.person_bins % 4 == 0,
            "v2v_width": self.v2v_width > 0 and self.v2v_width % 2 == 0,
            "depth_stem_stride": self.depth_stem_stride in (1, 2),
            "peak_bins": self.peak_bins > 0 and self.peak_bins % 2 == 1,
            "v2v_kernel": self.v2v_kernel > 0 and self.v2v_kernel % 2 == 1,
            "widening": all(a < b for a, b in pairwise((0, *self.widening))),
        }
        wrong = [f"{name} = {getattr(self, name)}" for name, fine in checks.items() if not fine]
        if wrong:
            raise InputError(
                f"VirtualPose can't have {', '.join(wrong)}: expected 15 or 17 joints, positive "
                "sizes, map_size in multiples of 8, bins in multiples of 4, an even v2v_width, "
                "depth_stem_stride 1 or 2, odd peak_bins and v2v_kernel, and growing widening radii"
            )

    @property
    def maps(self) -> int:
        """Channels of the abstract representation: heatmaps, then box distances if it has them."""
        return self.joints + BOX_SIDES * self.box_maps


def _positive(values: tuple[float, ...], count: int) -> bool:
    return len(values) == count and all(value > 0 for value in values)
