"""People in a scene: body, pose, place, outfit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.bodies import SEGMENT_INDEX, Body, BodyModel, BodyPool
from smap_train.virtual.carrying import Held, held_box
from smap_train.virtual.geometry import about
from smap_train.virtual.lying import WAYS, lying_pose
from smap_train.virtual.motion import MotionLibrary
from smap_train.virtual.outfits import Outfit, Wardrobe, backpack, worn
from smap_train.virtual.parts import Material, Part
from smap_train.virtual.poses import POSTURES, Pose, leans_on_hands, limbs_collide, random_pose
from smap_train.virtual.posing import Posed, mirrored, mpi15_joints, posed

# Postures that reach far beyond the place somebody is at.
ROOMY_POSTURES = ("lie", "carry")
_POSE_ATTEMPTS = 12
_BACKPACK_SHARE = 0.07
_HELD_TEXTURES = (
    *("thing/cardboard", "thing/cardboard", "thing/metal", "thing/books0", "wall/panels"),
    *("fabric/weave", "poster/1", "poster/4", "poster/7"),
)


@dataclass(frozen=True)
class Person:
    """Somebody in the world.

    Attributes:
        body, outfit: who and in what; posed: where and how; posture: what the pose is called.
        heading: turn about z from facing -y, radians.
        held: what both hands hold.
    """

    body: Body
    outfit: Outfit
    posed: Posed
    posture: str
    heading: float
    held: Held | None = None

    def parts(self, label: int) -> list[Part]:
        """Meshes for the renderer; what is held counts as surroundings."""
        held = [] if self.held is None else [self.held.part(self.body, self.posed)]
        return worn(self.outfit, self.posed, label) + held

    def joints(self, model: BodyModel) -> NDArray[np.float64]:
        """mpi15 joints in the world, [15, 3]."""
        return mpi15_joints(self.body, model, self.posed)

    @property
    def roomy(self) -> bool:
        """Whether the posture is one of :data:`ROOMY_POSTURES`."""
        return self.posture.startswith(ROOMY_POSTURES)

    def footprint(self, model: BodyModel) -> NDArray[np.float64]:
        """Points on the floor below joints and what is held, [N, 2]."""
        points = self.joints(model)[:, :2]
        if self.held is None:
            return points
        corners = self.held.part(self.body, self.posed).positions[:, :2]
        return np.concatenate([points, corners.astype(np.float64)])

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

    def dressed(self, rng: np.random.Generator) -> tuple[Body, Outfit]:
        """Somebody, and what they wear, a backpack at times."""
        body = self.pool[int(rng.integers(len(self.pool)))]
        outfit = self.wardrobe.dress(body, rng)
        if rng.random() < _BACKPACK_SHARE:
            outfit = [*outfit, backpack(body, rng)]
        return body, outfit

    def draw(
        self, place: NDArray[np.float64], rng: np.random.Generator, cramped: bool = False
    ) -> Person:
        """Somebody standing, sitting, lying, ... on the floor at ``place`` [2].

        Args:
            cramped: whether there is no room for postures of :data:`ROOMY_POSTURES`.
        """
        body, outfit = self.dressed(rng)
        model = self.pool.model
        heading = float(rng.uniform(-np.pi, np.pi))
        pose, posture = self._pose(body, rng, cramped)
        if posture.startswith(("lie", "sit")):
            outfit = [piece for piece in outfit if not piece.luggage]
        person = posed(body, model, pose, about("z", heading))
        floor = -lowest(model, body, person)
        person = person.moved(np.array([place[0], place[1], floor]))
        held = None
        if posture == "carry":
            held = held_box(body, model, person, held_material(rng), rng)
        return Person(body, outfit, person, posture, heading, held)

    def _pose(self, body: Body, rng: np.random.Generator, cramped: bool) -> tuple[Pose, str]:
        if self.motions is not None and rng.random() < self._mocap_share:
            motion = self.motions[str(rng.choice(self.motions.names))]
            pose = motion.poses[rng.integers(len(motion))].astype(np.float64)
            return (mirrored(pose) if rng.random() < 0.5 else pose), motion.name
        model = self.pool.model
        posture = str(rng.choice(list(POSTURES), p=list(POSTURES.values())))
        if cramped and posture in ROOMY_POSTURES:
            posture = "stand"
        lies = posture == "lie"
        if lies:
            way = str(rng.choice(list(WAYS), p=list(WAYS.values())))
            posture = f"lie_{way}"
        for _ in range(_POSE_ATTEMPTS):
            pose = lying_pose(body, model, rng, way) if lies else random_pose(rng, posture)
            pose = mirrored(pose) if rng.random() < 0.5 else pose
            joints = mpi15_joints(body, model, posed(body, model, pose, np.eye(3)))
            joints = joints * (1.7 / body.height)
            if not limbs_collide(joints) and (lies or not leans_on_hands(joints)):
                break
        return pose, posture


def held_material(rng: np.random.Generator) -> Material:
    """The look of a box or parcel."""
    light = rng.uniform(0.25, 1.25)
    red, green, blue = (float(light * v) for v in rng.uniform(0.7, 1.2, 3))
    texture = str(rng.choice(_HELD_TEXTURES))
    return Material(texture, tint=(red, green, blue), grey=float(rng.choice([0.0, 0.0, 0.9])))
