"""People with their surface: a network guided by 2D poses that another model finds.

3DCrowdNet (Choi et al., CVPR 2022), with its own ResNet or HAP's vision transformer (Yuan et
al., NeurIPS 2023). The first stage, any other bundle, gives each person's 2D pose, which says
where the crop is and whom to look at in it; the network gives that person's SMPL body before
the crop's camera, which :mod:`smap_ros.estimators.persons.surface` brings before ours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.mesh import GUIDE_INPUT, MASK_INPUT, MeshManifest
from smap_ros.camera import Camera
from smap_ros.engines import Engine
from smap_ros.estimators.base import (
    FEW_JOINTS,
    NON_FINITE,
    Estimator,
    Float,
    Image,
    StageTimer,
    check_view,
)
from smap_ros.estimators.options import MeshConfig
from smap_ros.estimators.persons.crops import MIN_SIDE_PX, Crop
from smap_ros.estimators.persons.second_stage import (
    NO_BOX,
    SecondStage,
    nearest_first,
    timings_of_both,
)
from smap_ros.estimators.persons.surface import CropCamera, Surface, read_faces
from smap_ros.skeletons import convert


@dataclass(frozen=True)
class Candidate:
    """A person who can be looked at.

    Attributes:
        person: as the first stage found it.
        crop: where to look.
        guide: float32 [J, 2], the 2D pose in cells over the crop, in the network's joint set; 0
            where not known.
        mask: float32 [J, 1], 1 where known.
    """

    person: Body
    crop: Crop
    guide: Float
    mask: Float


class MeshEstimator(SecondStage[MeshManifest, MeshConfig]):
    """Runs bundles of kind ``mesh``.

    People are the first stage's, with its scores: the network says nothing of its certainty.
    A joint that the first stage did not see has ``INFERRED_SCORE``.

    Args:
        bundle: the bundle; its manifest gives crop, camera and joint set.
        engine: its network, loaded.
        first_stage: finds the people.
        config: settings.

    Raises:
        BundleError: if the bundle is of another kind, or its faces don't fit its vertices.
    """

    _manifest_type = MeshManifest
    _config_type = MeshConfig

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        first_stage: Estimator,
        config: MeshConfig | None = None,
    ) -> None:
        super().__init__(bundle, engine, first_stage, config)
        manifest = self._manifest
        faces = read_faces(bundle, manifest.outputs["vertices"].shape[1])
        camera = CropCamera(manifest.focal_px, manifest.input.width)
        self._surface = Surface(self._joints, faces, camera)

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """See :meth:`smap_ros.estimators.base.Estimator.estimate`; bodies have their mesh."""
        image = check_view(image, camera)
        found = self._first_stage.estimate(image, camera, stamp)
        timer = StageTimer()
        candidates, dropped = self._candidates(found, camera)
        blob = self._blob(image, [candidate.crop for candidate in candidates])
        guides = np.array([candidate.guide for candidate in candidates], np.float32)
        masks = np.array([candidate.mask for candidate in candidates], np.float32)
        timer.lap("crop")
        given = self._run(blob, {GUIDE_INPUT: guides, MASK_INPUT: masks})
        joints, vertices = given["joints"], given["vertices"]
        timer.lap("network")
        bad = self._check(self.about, joints, vertices)
        bodies: tuple[Body, ...] = ()
        if bad:
            dropped[NON_FINITE] += bad
        else:
            bodies = self._bodies(candidates, joints, vertices, camera, dropped)
        timer.lap("decode")
        timings = timings_of_both(found, timer)
        return BodyFrame(bodies, camera, stamp, dropped=dict(dropped), timings_ms=timings)

    def _candidates(self, found: BodyFrame, camera: Camera) -> tuple[list[Candidate], Counter[str]]:
        """People that can be looked at, and how many were dropped so far by reason."""
        candidates = []
        dropped = Counter(found.dropped)
        for person in found:
            known = person.joints_2d.copy()
            known[~(person.scores > self._manifest.min_joint_score)] = np.nan
            crop = self._crop(known, camera)
            if np.count_nonzero(np.isfinite(known).all(axis=1)) < self.config.min_guides:
                dropped[FEW_JOINTS] += 1
            elif crop is None:
                dropped[NO_BOX] += 1
            else:
                pose = convert(known, person.skeleton, self._joints)
                candidates.append(Candidate(person, crop, *self._guide(pose, crop)))
        return candidates, dropped

    def _crop(self, points: Float, camera: Camera) -> Crop | None:
        manifest = self._manifest
        margins = manifest.box_enlargement, manifest.box_margin
        return official_crop(points, (camera.width, camera.height), margins, manifest.input.width)

    def _guide(self, pose: NDArray[np.floating], crop: Crop) -> tuple[Float, Float]:
        """Cells over the crop and mask of a 2D pose in the network's joint set.

        Officially joints outside of the crop, and those with NaN, count as not known.
        """
        cells = crop.to_crop(pose) * (self._manifest.cells / crop.size)
        with np.errstate(invalid="ignore"):
            inside = (cells >= 0) & (cells < self._manifest.cells)
        mask = np.all(inside, axis=1, keepdims=True).astype(np.float32)
        return np.where(mask > 0, cells, 0).astype(np.float32), mask

    def _bodies(
        self,
        candidates: list[Candidate],
        joints: Float,
        vertices: Float,
        camera: Camera,
        dropped: Counter[str],
    ) -> tuple[Body, ...]:
        """People with the network's joints and mesh, nearest first; counts the unplaceable."""
        bodies = (
            self._surface.body(candidate.person, candidate.crop, points, surface, camera)
            for candidate, points, surface in zip(candidates, joints, vertices, strict=True)
        )
        return nearest_first(bodies, dropped)


def official_crop(
    points: NDArray[np.floating],
    image_size: tuple[int, int],
    margins: tuple[float, float],
    size: int,
) -> Crop | None:
    """The square about a person's joints as 3DCrowdNet's code cuts it.

    The joints' box is enlarged about its middle; a box that begins outside of the image is
    moved into it, one that ends outside is cut, and a pixel goes off its width and height; the
    square about its middle is enlarged again.

    Args:
        points: float [N, 2], pixels of the image; NaN where not known.
        image_size: width and height of the image in pixels.
        margins: factors of the first and of the second enlargement.
        size: of the crop in pixels.

    Returns:
        The crop, or None when the points span no box inside the image.
    """
    known = points[np.isfinite(points).all(axis=-1)].astype(np.float64)
    if len(known) == 0:
        return None
    low, high = known.min(axis=0), known.max(axis=0)
    extent = (high - low) * margins[0]
    start = np.maximum((low + high - extent) / 2, 0)
    end = np.minimum(start + np.maximum(extent - 1, 0), np.array(image_size) - 1.0)
    side = float((end - start).max())
    if side < MIN_SIDE_PX or (end < start).any():
        return None
    side *= margins[1]
    x, y = ((start + end - side) / 2).tolist()
    return Crop(x, y, side, size)
