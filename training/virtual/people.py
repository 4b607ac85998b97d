"""People in a scene: body, pose, place, outfit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.virtual.bodies import SEGMENT_INDEX, Body, BodyModel, BodyPool
from training.virtual.geometry import about
from training.virtual.motion import MotionLibrary
from training.virtual.outfits import Outfit, Wardrobe, worn
from training.virtual.parts import Part
from training.virtual.poses import limbs_collide, random_pose
from training.virtual.posing import Posed, mirrored, mpi15_joints, posed

_POSE_ATTEMPTS = 12


@dataclass(frozen=True)
class Person:
    """Somebody in the world.

    Attributes:
        body, outfit: who and in what; posed: where and how; posture: what the pose is called.
        heading: turn about z from facing -y, radians.
    """

    body: Body
    outfit: Outfit
    posed: Posed
    posture: str
    heading: float

    def parts(self, label: int) -> list[Part]:
        """Meshes for the renderer."""
        return worn(self.outfit, self.posed, label)

    def joints(self, model: BodyModel) -> NDArray[np.float64]:
        """mpi15 joints in the world, [15, 3]."""
        return mpi15_joints(self.body, model, self.posed)

    def seat(self) -> tuple[NDArray[np.float64], float]:
        """Where a seat under the person stands [3], and its height in metres."""
        hips = self.posed.joints[[SEGMENT_INDEX["l_thigh"], SEGMENT_INDEX["r_thigh"]]].mean(0)
        back = about("z", self.heading) @ np.array([0.0, 0.06, 0.0])
        height = max(hips[2] - 0.058 * self.body.height, 0.1)
        return np.array([hips[0] + back[0], hips[1] + back[1], 0.0]), float(height)


def lowest(model: BodyModel, body: Body, person: Posed) -> float:
    """Height of the lowest point of the skin, metres."""
    # Every third vertex: within a millimetre of the true minimum.
    at = model.skin_vertices[::3]
    return float(person.skin(body.vertices[at], model.weights[at])[:, 2].min())


class Casting:
    """Draws people from the pool of bodies, the wardrobe and the sources of poses."""

    def __init__(
        self, pool: BodyPool, wardrobe: Wardrobe, motions: MotionLibrary | None, mocap_share: float
    ) -> None:
        self.pool, self.wardrobe, self.motions = pool, wardrobe, motions
        self._mocap_share = mocap_share if motions else 0.0

    def draw(self, place: NDArray[np.float64], rng: np.random.Generator) -> Person:
        """Somebody standing (or sitting, ...) on the floor at ``place`` [2]."""
        body = self.pool[int(rng.integers(len(self.pool)))]
        model = self.pool.model
        heading = float(rng.uniform(-np.pi, np.pi))
        pose, posture = self._pose(body, rng)
        person = posed(body, model, pose, about("z", heading))
        floor = -lowest(model, body, person)
        outfit = self.wardrobe.dress(body, rng)
        person = person.moved(np.array([place[0], place[1], floor]))
        return Person(body, outfit, person, posture, heading)

    def _pose(self, body: Body, rng: np.random.Generator) -> tuple[NDArray[np.float64], str]:
        if self.motions is not None and rng.random() < self._mocap_share:
            motion = self.motions[str(rng.choice(self.motions.names))]
            pose = motion.poses[rng.integers(len(motion))].astype(np.float64)
            return (mirrored(pose) if rng.random() < 0.5 else pose), motion.name
        model = self.pool.model
        for _ in range(_POSE_ATTEMPTS):
            pose, posture = random_pose(rng)
            pose = mirrored(pose) if rng.random() < 0.5 else pose
            joints = mpi15_joints(body, model, posed(body, model, pose, np.eye(3)))
            if not limbs_collide(joints * (1.7 / body.height)):
                break
        return pose, posture
