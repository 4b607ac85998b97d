"""Top-down: another model finds the people, a network looks at a crop of each.

MobileHumanPose (Choi et al., CVPR Workshops 2021) and its like. The first stage, any other
bundle, gives each person's box and the depth of the pelvis; the network gives the joints as
positions (x, y, z) in a cube of cells, x and y over the crop, z in front of and behind the
pelvis; together they are positions in metres.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.topdown import TopdownManifest
from smap_ros.camera import Camera
from smap_ros.engines import Engine
from smap_ros.estimators.base import (
    NON_FINITE,
    Estimator,
    Image,
    StageTimer,
    check_view,
)
from smap_ros.estimators.options import TopdownConfig
from smap_ros.estimators.persons.crops import Crop, crop_around
from smap_ros.estimators.persons.second_stage import (
    NO_BOX,
    SecondStage,
    nearest_first,
    timings_of_both,
    with_joints,
)
from smap_ros.estimators.smap.lifting import NO_ROOT
from smap_ros.skeletons import MPI15, Skeleton, convert

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Cube:
    """The cells in which a network places joints.

    Attributes:
        cells: along each axis.
        depth_half_range: metres from the middle, the root's depth, to the front and the back.
    """

    cells: int
    depth_half_range: float

    def decode(
        self, coords: NDArray[np.floating], crop: Crop, root_depth: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Image points and depths of a person's joints.

        Args:
            coords: float [J, 3], x, y, z in 0-based cells.
            crop: what the network saw.
            root_depth: of the person, metres.

        Returns:
            float64 [J, 2], pixels of the image, and float64 [J], metres.
        """
        share = np.asarray(coords, dtype=np.float64) / self.cells
        depth = root_depth + (2 * share[:, 2] - 1) * self.depth_half_range
        return np.asarray(crop.to_image(share[:, :2] * crop.size), dtype=np.float64), depth

    def merge_mirrored(
        self, coords: Float, mirrored: Float, skeleton: Skeleton, size: int
    ) -> Float:
        """Mean of the coordinates and those of the mirrored crops.

        Column p of a crop is column size - 1 - p of its mirror image. The official flip test
        turns back x cells to ``cells - 1 - x``, which is that to within a cell, and moves
        everybody by up to half a cell to the left; this one is exact.

        Args:
            coords, mirrored: float32 [N, J, 3] in cells.
            skeleton: joint set, whose left and right are exchanged.
            size: of the crops in pixels.

        Returns:
            float32 [N, J, 3] in cells.
        """
        back = mirrored[:, skeleton.flip].copy()
        back[..., 0] = self.cells * (1 - 1 / size) - back[..., 0]
        return np.asarray((coords + back) / 2, dtype=np.float32)


class TopdownEstimator(SecondStage[TopdownManifest, TopdownConfig]):
    """Runs bundles of kind ``topdown``.

    People are the first stage's, with its scores: the network says nothing of its certainty.
    A joint that the first stage did not see has ``INFERRED_SCORE``.

    Args:
        bundle: the bundle; its manifest gives the crop and the cube.
        engine: its network, loaded.
        first_stage: finds the people.
        config: settings.

    Raises:
        BundleError: if the bundle is of another kind.
    """

    _manifest_type = TopdownManifest
    _config_type = TopdownConfig

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        first_stage: Estimator,
        config: TopdownConfig | None = None,
    ) -> None:
        super().__init__(bundle, engine, first_stage, config)
        manifest, flip = self._manifest, self.config.flip_test
        self._flip_test = manifest.flip_test if flip is None else flip
        self._cube = Cube(manifest.cells, manifest.depth_half_range_m)

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """See :meth:`smap_ros.estimators.base.Estimator.estimate`."""
        image = check_view(image, camera)
        found = self._first_stage.estimate(image, camera, stamp)
        timer = StageTimer()
        people, crops, dropped = self._crops(found, camera)
        blob = self._blob(image, crops)
        timer.lap("crop")
        coords = self._coords(blob)
        timer.lap("network")
        bad = self._check(self.about, coords)
        bodies: tuple[Body, ...] = ()
        if bad:
            dropped[NON_FINITE] += bad
        else:
            bodies = self._bodies(people, crops, coords, camera, dropped)
        timer.lap("decode")
        timings = timings_of_both(found, timer)
        return BodyFrame(bodies, camera, stamp, dropped=dict(dropped), timings_ms=timings)

    def _crops(
        self, found: BodyFrame, camera: Camera
    ) -> tuple[list[Body], list[Crop], Counter[str]]:
        """People that can be looked at, where, and how many were dropped so far by reason."""
        people, crops = [], []
        dropped = Counter(found.dropped)
        size = self._manifest.input.width
        for body in found:
            crop = crop_around(
                body.joints_2d, (camera.width, camera.height), self._manifest.box_margin, size
            )
            if not np.isfinite(body.root[2]):
                dropped[NO_ROOT] += 1
            elif crop is None:
                dropped[NO_BOX] += 1
            else:
                people.append(body)
                crops.append(crop)
        return people, crops, dropped

    def _coords(self, blob: Float) -> Float:
        """The network's coordinates for any number of crops, float32 [N, J, 3] in cells."""
        coords = self._run(blob)["coords"]
        if self._flip_test:
            mirrored = self._run(np.ascontiguousarray(blob[..., ::-1]))["coords"]
            coords = self._cube.merge_mirrored(coords, mirrored, self._joints, blob.shape[-1])
        return coords

    def _bodies(
        self,
        people: list[Body],
        crops: list[Crop],
        coords: Float,
        camera: Camera,
        dropped: Counter[str],
    ) -> tuple[Body, ...]:
        """People with the network's joints, nearest first; counts those without a pelvis."""
        bodies = []
        for person, crop, cells in zip(people, crops, coords, strict=True):
            pixels, depth = self._cube.decode(cells, crop, float(person.root[2]))
            bodies.append(_body(person, pixels, depth, self._joints, camera))
        return nearest_first(bodies, dropped)


def _body(
    person: Body,
    pixels: NDArray[np.floating],
    depth: NDArray[np.floating],
    joints: Skeleton,
    camera: Camera,
) -> Body:
    """A person with joints in the working set.

    Joints behind the camera, or where the lens can't be undone, are missing.
    """
    pixels = convert(pixels, joints, MPI15)
    depth = convert(depth[:, None], joints, MPI15)[:, 0]
    points = camera.back_project(pixels, np.where(depth > 0, depth, np.nan))
    placed = np.asarray(np.isfinite(points).all(axis=-1))
    return with_joints(person, points, pixels, placed)
