"""VirtualPose (Su et al., ECCV 2022): people found in a space above a level floor.

Three networks: a backbone turns the image into heatmaps and boxes; a second one projects them
into the searched space and finds people's roots there; a third one finds the joints in a cube
around each root. The projections need to know how the camera is mounted: how high, and how far
it looks down.

The official preparation of the image is kept: resized isotropically about its middle without
a shift by half a pixel, on black. Bundles whose backbone is one of kind ``smap`` have that kind's.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import INFERRED_SCORE, Body, BodyFrame
from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.virtualpose import VirtualPoseManifest
from smap_ros.camera import Camera
from smap_ros.engines import Engine, create_engine
from smap_ros.engines.further import open_further
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.estimators.base import (
    FEW_JOINTS,
    NON_FINITE,
    Float,
    Image,
    ModelInfo,
    OutputCheck,
    StageTimer,
    check_view,
)
from smap_ros.estimators.checks import check_network, manifest_of
from smap_ros.estimators.options import VirtualPoseConfig
from smap_ros.estimators.preprocess import Normaliser
from smap_ros.estimators.smap.lifting import NO_ROOT
from smap_ros.estimators.virtualpose_asked import LENS_COEFFICIENTS, Asked, camera_inputs
from smap_ros.estimators.virtualpose_networks import networks
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.skeletons import MPI15, Skeleton

log = logging.getLogger(__name__)

JOINTS = len(MPI15)
ASSUMED_HEIGHT = 1.0  # metres, of a camera whose height isn't stated
TWICE = "found_twice"  # reason under which copies of people are counted
MIN_DEPTH = 0.05  # metres; nearer joints are not before the camera

# What the second and third network take of the camera, without the batch axis.
CAMERA_INPUTS = {
    "rotation": (3, 3),
    "position": (3,),
    "intrinsics": (4,),
    "distortion": (LENS_COEFFICIENTS,),
    "image_size": (2,),
}


class VirtualPoseEstimator:
    """Runs bundles of kind ``virtualpose``.

    Args:
        bundle: the bundle.
        backbone, root, pose: its networks, loaded; closed with the estimator.
        config: settings.

    Raises:
        BundleError: if the bundle is of another kind, or the networks don't fit together.
    """

    skeleton: Skeleton = MPI15

    def __init__(
        self,
        bundle: Bundle,
        backbone: Engine,
        root: Engine,
        pose: Engine,
        config: VirtualPoseConfig | None = None,
    ) -> None:
        self._manifest = manifest = manifest_of(bundle, VirtualPoseManifest)
        self.config = config or VirtualPoseConfig()
        self._engines = (backbone, root, pose)
        maps = manifest.outputs["maps"]
        camera = {name: (1, *shape) for name, shape in CAMERA_INPUTS.items()}
        people = manifest.max_people
        found = {"roots": (1, people, 3), "scores": (1, people)}
        check_network(bundle, "root", root, {"maps": maps.shape, **camera}, found)
        poses = {"maps": maps.shape, "roots": (2, 3), **camera}
        check_network(bundle, "pose", pose, poses, {"joints": (2, manifest.joints, 3)})
        names = manifest.input.name, manifest.outputs["maps"].name
        self._networks = networks(backbone, root, pose, *names)
        self._normaliser = Normaliser(manifest.input)
        self._check_outputs = OutputCheck()
        self._assumed = False  # whether a height had to be assumed

    @classmethod
    def create(
        cls,
        bundle: Bundle,
        engine: str = "auto",
        threads: int = 0,
        precision: Precision = "f32",
        *,
        gpu: GpuOptions | None = None,
        **options: Any,
    ) -> VirtualPoseEstimator:
        """Load the bundle's networks; see :func:`smap_ros.estimators.create_estimator`.

        ``engine`` is that of the backbone. The others run on it as well; where TensorRT refuses
        one of them it runs on the CPU, and the reason is among the engine's notes.
        """
        config = VirtualPoseConfig(**options)
        manifest = manifest_of(bundle, VirtualPoseManifest)
        opened = [create_engine(bundle, engine, threads, precision, gpu=gpu)]
        try:
            asked = Asked(bundle, manifest)
            for role in ("root", "pose"):  # if one fails, those before are closed
                network = open_further(
                    bundle,
                    role,
                    opened[0],
                    threads,
                    precision,
                    gpu=gpu,
                    rows=manifest.max_people,
                    inputs=partial(asked.of, role),
                    shown=asked.shown(role),
                )
                opened.append(network)
            return cls(bundle, opened[0], opened[1], opened[2], config)
        except Exception:
            for network in opened:
                network.close()
            raise

    @property
    def about(self) -> ModelInfo:
        """Bundle, engine and device of the backbone."""
        return ModelInfo.of(self._manifest, self._engines[0])

    @property
    def description(self) -> str:
        """The same in words."""
        return str(self.about)

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """See :meth:`smap_ros.estimators.base.Estimator.estimate`.

        Where the floor is says the camera's mounting, or else the settings.

        Raises:
            CameraError: as there, or if the lens isn't of the model ``plumb_bob``.
        """
        image = check_view(image, camera)
        spec, timer = self._manifest.input, StageTimer()
        view = {**self._placed(camera), **camera_inputs(camera)}
        fit = network_fit(camera, spec.width, spec.height)
        if self._manifest.centred:
            size = (camera.width, camera.height, spec.width, spec.height)
            fitted = Letterbox(*size, spec.resize).apply(image)
        else:
            fitted = _fitted(image, fit, (spec.width, spec.height))
        blob = self._normaliser(fitted)
        timer.lap("preprocess")
        found = self._networks.candidates(blob, view, timer)
        if found.bad:
            self._check_outputs.report(self.about, found.bad)
            dropped = {NON_FINITE: found.bad}
            return BodyFrame((), camera, stamp, dropped=dropped, timings_ms=timer.ms)
        shown = lens_shows(_optical(found.roots, view), camera)
        roots, scores = self._believed(found.roots, np.where(shown, found.scores, 0))
        timer.lap("roots")
        if len(roots) == 0:
            return BodyFrame((), camera, stamp, timings_ms=timer.ms)
        joints = self._networks.joints(roots, view)[:, :JOINTS]
        timer.lap("joints")
        cells = _cells(camera.project(joints), fit, self._manifest)
        seen = self._networks.heat(heat_places(cells, self._manifest.outputs["maps"].shape[2:]))
        bodies, dropped = self._bodies(joints, seen, scores, camera)
        timer.lap("bodies")
        return BodyFrame(bodies, camera, stamp, dropped=dropped, timings_ms=timer.ms)

    def close(self) -> None:
        """Release the networks; harmless when done twice."""
        for engine in self._engines:
            engine.close()

    def _placed(self, camera: Camera) -> dict[str, Float]:
        """A camera's pose in the searched world: ``rotation`` [1, 3, 3], ``position`` [1, 3], m."""
        config, space = self.config, self._manifest.space
        mounting = camera.mounting or config.mounting
        if mounting is None:
            if not self._assumed:
                self._assumed = True
                log.warning(
                    "camera_height isn't stated: assuming a camera %g m above the floor",
                    ASSUMED_HEIGHT,
                )
            mounting = config.mounted(ASSUMED_HEIGHT)
        # The middle of the space is ahead of the camera; the world's origin isn't if it is off it.
        ahead = space.size_m[0] / 2 if config.ahead is None else config.ahead
        rotation, position = mounting.pose(space.center_m[0] + ahead)
        return {
            "rotation": rotation[None].astype(np.float32),
            "position": position[None].astype(np.float32),
        }

    def _believed(self, roots: Float, scores: Float) -> tuple[Float, Float]:
        """Candidates that are people: world [N, 3], metres, and their scores [N]."""
        limit = self.config.min_score
        limit = self._manifest.root_threshold if limit is None else limit
        people = (scores > limit) & np.isfinite(roots).all(axis=-1)
        return np.ascontiguousarray(roots[people]), np.clip(scores[people], 0, 1)

    def _bodies(
        self, joints: Float, seen: Float, scores: Float, camera: Camera
    ) -> tuple[tuple[Body, ...], dict[str, int]]:
        """People nearest first, and how many were dropped by reason.

        Args:
            joints: [N, 15, 3], metres, optical frame.
            seen: [N, 15], heat where the joints are seen.
            scores: [N], of the people.
            camera: of the image.
        """
        placed = np.isfinite(joints).all(axis=-1) & (joints[..., 2] > MIN_DEPTH)
        joints = np.where(placed[..., None], joints, np.float32(np.nan))
        certain = np.where(placed, np.clip(seen, INFERRED_SCORE, 1), 0).astype(np.float32)
        pixels = camera.project(joints).astype(np.float32)
        rooted = placed[:, MPI15.root] & lens_shows(joints[:, MPI15.root], camera)
        enough = (placed & (seen > INFERRED_SCORE)).sum(axis=1) >= self.config.min_joints
        dropped = {NO_ROOT: int((~rooted).sum()), FEW_JOINTS: int((rooted & ~enough).sum())}
        kept = np.flatnonzero(rooted & enough)
        once = first_of_each(joints[kept], scores[kept], self._manifest.merge_distance)
        dropped[TWICE] = len(kept) - len(once)
        kept = kept[once]
        kept = kept[np.argsort(joints[kept, MPI15.root, 2], kind="stable")]
        bodies = tuple(Body(joints[k], pixels[k], certain[k], float(scores[k])) for k in kept)
        return bodies, {reason: count for reason, count in dropped.items() if count}


def _optical(points: Float, view: dict[str, Float]) -> Float:
    """World points [N, 3] before the camera of a view, metres."""
    return np.asarray((points - view["position"]) @ view["rotation"][0].T, np.float32)


def lens_shows(points: Float, camera: Camera) -> NDArray[np.bool_]:
    """Whether the lens shows what is where points are: optical frame [N, 3] -> [N].

    Networks that were exported before their projection knew of that (``virtualpose_lite``) take
    places beyond where the polynomial turns back for what is in the picture there.
    """
    limit = camera.widest
    if not math.isfinite(limit):
        return np.ones(len(points), np.bool_)
    return np.asarray(np.hypot(points[:, 0], points[:, 1]) <= limit * points[:, 2], np.bool_)


def first_of_each(joints: Float, scores: Float, distance: float) -> NDArray[np.intp]:
    """Indices of people who aren't the same as one with a higher score.

    Args:
        joints: [N, J, 3], metres; NaN where missing.
        scores: [N].
        distance: people whose joints are nearer to each other on average are the same.
    """
    kept: list[int] = []
    for k in np.argsort(-scores, kind="stable"):
        apart = np.linalg.norm(joints[kept] - joints[k], axis=-1)
        if not kept or not (np.nanmean(apart, axis=1) < distance).any():
            kept.append(int(k))
    return np.array(kept, np.intp)


def network_fit(camera: Camera, width: int, height: int) -> NDArray[np.float64]:
    """The official warp from image to network pixels, float64 [2, 3]."""
    zoom = min(width / camera.width, height / camera.height)
    return np.array(
        [
            [zoom, 0.0, (width - zoom * camera.width) / 2],
            [0.0, zoom, (height - zoom * camera.height) / 2],
        ]
    )


def heat_places(cells: NDArray[np.floating], size: tuple[int, ...]) -> NDArray[np.intp]:
    """Where each joint's heat is told in the maps.

    Args:
        cells: [N, J, 2], x and y in map cells; NaN where unknown.
        size: height and width of the maps, whose first J channels are the joints' heat.

    Returns:
        int [N, J], of the nearest cell, counted through all channels; -1 outside of the maps.
    """
    height, width = size
    nearest = np.rint(np.nan_to_num(cells, nan=-1.0, posinf=-1.0, neginf=-1.0))
    inside = np.all((nearest >= 0) & (nearest < (width, height)), axis=-1)
    x, y = np.moveaxis(np.where(inside[..., None], nearest, 0).astype(np.intp), -1, 0)
    joint = np.arange(cells.shape[-2])
    return np.where(inside, (joint * height + y) * width + x, -1)


def _cells(
    pixels: NDArray[np.float64], fit: NDArray[np.float64], manifest: VirtualPoseManifest
) -> NDArray[np.float64]:
    cells = (pixels * fit[0, 0] + fit[:, 2]) / manifest.stride
    return np.asarray(cells - 0.5 if manifest.centred else cells, np.float64)


def _fitted(image: Image, fit: NDArray[np.float64], size: tuple[int, int]) -> Image:
    return np.asarray(cv2.warpAffine(image, fit, size, flags=cv2.INTER_LINEAR), np.uint8)
