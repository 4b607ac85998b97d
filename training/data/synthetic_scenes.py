"""Scenes that VirtualPose's stage 2 learns from: real poses, put anywhere before real cameras.

Su et al., ECCV 2022, section 3.3: neither pictures nor their labels are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_train.data.layouts.world import WorldScene, WorldScenes
from smap_train.engine.sampling import BadRecordError
from smap_train.models.virtualpose.cameras import Cameras
from smap_train.models.virtualpose.config import ROOT, VirtualPoseConfig
from smap_train.targets.agr import Abstraction, abstraction

Float64 = NDArray[np.float64]
Rng = np.random.Generator

PEOPLE = 4  # of a scene
_REACH_MM, _APART_MM = 2000.0, 600.0
_TRIES = 100  # to find a place apart from the others
_ABOVE_MM = 50.0  # the floor is raised by, officially
_MOST_BAD = 100


@dataclass(frozen=True)
class SyntheticScene:
    """A scene as REN and PEN see it, and what they should answer."""

    seen: Abstraction
    camera: Cameras


class SyntheticScenes:
    """Scenes with the cameras of recorded ones and anybody's poses.

    Args:
        recorded: scenes of one or several sources.
        config: of the networks.
    """

    def __init__(self, recorded: Sequence[WorldScenes], config: VirtualPoseConfig) -> None:
        self.recorded, self.config = recorded, config
        self.sizes = np.cumsum([len(scenes) for scenes in recorded])

    def draw(self, scene: WorldScene, rng: Rng) -> SyntheticScene:
        """A scene before the camera of a recorded one, its origin where people stood there."""
        origin = np.append(scene.joints_mm[:, ROOT, :2].mean(axis=0), -_ABOVE_MM)
        camera = scene.camera._replace(
            position_mm=scene.camera.position_mm - scene.camera.position_mm.new_tensor(origin)
        )
        poses = np.array([self._pose(rng) for _ in range(PEOPLE)])
        joints = placed(poses, rng) + (0.0, 0.0, _ABOVE_MM)
        return SyntheticScene(abstraction(joints, camera, self.config, noise=rng), camera)

    def _pose(self, rng: Rng) -> Float64:
        """Anybody's joints, float64 [J, 3]."""
        for _ in range(_MOST_BAD):
            k = int(rng.integers(self.sizes[-1]))
            which = int(np.searchsorted(self.sizes, k, side="right"))
            try:
                scene = self.recorded[which][k - int(self.sizes[which - 1] if which else 0)]
            except BadRecordError:
                continue  # it is named when its own turn comes
            joints: Float64 = scene.joints_mm[rng.integers(len(scene.joints_mm))]
            return joints[: self.config.joints]
        raise BadRecordError(f"{_MOST_BAD} scenes in a row can't be used")


def placed(poses_mm: Float64, rng: Rng) -> Float64:
    """People turned about the vertical and put down apart from each other; heights stay.

    Args:
        poses_mm: float64 [P, J, 3], world.

    Returns:
        float64 [P, J, 3]; the last try counts where there is no place left.
    """
    out = np.empty_like(poses_mm)
    places: list[Float64] = []
    for k, pose in enumerate(poses_mm):
        angle = rng.uniform(0, 2 * np.pi)
        c, s = np.cos(angle), np.sin(angle)
        about = pose - pose[ROOT] * (1, 1, 0)
        turned = about @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        for _ in range(_TRIES):
            place = rng.uniform(-_REACH_MM, _REACH_MM, 2)
            if all(np.linalg.norm(place - other) >= _APART_MM for other in places):
                break
        places.append(place)
        out[k] = turned + np.append(place, 0.0)
    return out
