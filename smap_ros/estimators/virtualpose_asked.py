"""What VirtualPose's second and third network take of a camera, and what their plans are asked."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.virtualpose import VirtualPoseManifest
from smap_ros.camera import Camera
from smap_ros.engines.agreement import Answers, picture_inputs
from smap_ros.engines.factory import cpu_runtime, open_model
from smap_ros.errors import CameraError, EngineError
from smap_ros.estimators.base import Float
from smap_ros.geometry.mounting import Mounting

LENS_COEFFICIENTS = 5  # k1, k2, p1, p2, k3
_PEOPLE = 2  # of a plan's test


class Asked:
    """Inputs that show the plans of the second and third network people: the demo's picture.

    Args:
        bundle: the bundle.
        manifest: its manifest.
    """

    def __init__(self, bundle: Bundle, manifest: VirtualPoseManifest) -> None:
        self._bundle, self._manifest = bundle, manifest
        self._maps: Float | None = None

    def of(self, role: str) -> Answers:
        """Inputs of ``root`` or ``pose``.

        Raises:
            EngineError: if there is no runtime for the CPU.
        """
        if self._maps is None:
            answers = self._run("model", picture_inputs(self._manifest))
            self._maps = answers[self._manifest.outputs["maps"].name]
        root = {"maps": self._maps, **self._view()}
        if role == "root":
            return root
        roots = self._run("root", root)["roots"][0]
        return {**root, "roots": np.ascontiguousarray(roots[:_PEOPLE])}

    def shown(self, role: str) -> Callable[[Answers], Answers]:
        """What of an answer is compared: candidates with nearly equal scores may change places."""
        return _where_people_are if role == "root" else dict

    def _run(self, role: str, inputs: Answers) -> dict[str, Float]:
        runtime = cpu_runtime("onnxruntime")
        if runtime is None:
            raise EngineError("no runtime for the CPU is installed; pip install onnxruntime")
        engine = open_model(self._bundle.read(role), runtime)
        try:
            return {name: array.copy() for name, array in engine.run(inputs).items()}
        finally:
            engine.close()

    def _view(self) -> Answers:
        """A camera above a floor that the searched space is on, looking down a little."""
        space, spec = self._manifest.space, self._manifest.input
        rotation, position = Mounting(1.2, math.radians(10.0), 0.0).pose(
            space.center_m[0] + space.size_m[0] / 2
        )
        placed = {"rotation": rotation, "position": position}
        camera = Camera.from_fov(spec.width, spec.height, math.radians(60))
        return {
            **{name: value[None].astype(np.float32) for name, value in placed.items()},
            **camera_inputs(camera),
        }


def _where_people_are(answer: Answers) -> Answers:
    """Candidates' scores, and their mean position weighted by these, whatever their order."""
    scores, roots = answer["scores"], answer["roots"]
    weights = np.clip(scores, 1e-6, None)[..., None]
    return {"scores": scores, "roots": (roots * weights).sum(axis=1) / weights.sum(axis=1)}


def camera_inputs(camera: Camera) -> dict[str, Float]:
    """What the networks take of the intrinsics.

    Returns:
        ``intrinsics`` [1, 4] (fx, fy, cx, cy), ``distortion`` [1, 5] (k1, k2, p1, p2, k3) and
        ``image_size`` [1, 2], pixels.

    Raises:
        CameraError: if the lens needs more coefficients, or another model.
    """
    lens = camera.distortion
    while len(lens) > LENS_COEFFICIENTS and lens[-1] == 0:
        lens = lens[:-1]
    # The rational model begins with the coefficients of plumb_bob; the fisheye's are others.
    if len(lens) > LENS_COEFFICIENTS or (lens and camera.distortion_model == "equidistant"):
        raise CameraError(
            f"the lens is {camera.distortion_model} with {len(lens)} coefficients; VirtualPose "
            f"takes plumb_bob with up to {LENS_COEFFICIENTS}. Rectify the images (image_proc) "
            "and give the rectified camera's calibration"
        )
    padded = (*lens, *(0.0,) * (LENS_COEFFICIENTS - len(lens)))
    values = {
        "intrinsics": (camera.fx, camera.fy, camera.cx, camera.cy),
        "distortion": padded,
        "image_size": (camera.width, camera.height),
    }
    return {name: np.array([value], np.float32) for name, value in values.items()}
