"""Sequences: short films of people who move, as the pictures of a slow robot or a fixed camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_train.virtual.bodies import SEGMENT_INDEX
from smap_train.virtual.cameras import in_picture, random_distance, random_place, random_view
from smap_train.virtual.carrying import held_box
from smap_train.virtual.config import SequencesConfig
from smap_train.virtual.geometry import about
from smap_train.virtual.motion import Motion, MotionLibrary
from smap_train.virtual.movers import Mover, grounded, player, walker
from smap_train.virtual.people import Casting, Person, held_material
from smap_train.virtual.poses import Pose, holding, set_arm
from smap_train.virtual.renderer import View
from smap_train.virtual.scene import Sample, Studio, finish
from smap_train.virtual.sensor import Sensor
from smap_train.virtual.staging import Stage, surround
from smap_train.virtual.walks import gait_cycle

Generator = np.random.Generator
Points = NDArray[np.float64]

# People stay this far from one another and from the camera, metres.
_APART, _FROM_CAMERA = 0.6, 1.0
_VIEW_ATTEMPTS, _CASTING_ATTEMPTS, _TURN_ATTEMPTS = 10, 25, 12
_STEP = (1.2, 2.0)  # metres from waypoint to waypoint
# A captured sequence is slowed down to at most this share of its speed to last long enough.
_SLOWEST = 0.75
_LEAVING_SHARE = 0.15  # of routes that may lead out of the picture
_CHECKS_A_SECOND = 5


@dataclass(frozen=True)
class Actor:
    """Somebody in a sequence: who they are, and where at each moment (seconds)."""

    person: Person
    at: Callable[[float], Person]


@dataclass(frozen=True)
class Drive:
    """A camera that stands still, or drives an arc at constant speed.

    Attributes:
        view: at the start, heading +y.
        speed: metres a second; turn: radians a second, to the left.
    """

    view: View
    speed: float
    turn: float

    def at(self, stamp: float) -> View:
        """The camera after ``stamp`` seconds."""
        angle = self.turn * stamp
        # The chord of the arc.
        way = self.speed * stamp * np.sinc(angle / 2 / np.pi)
        eye = self.view.eye + way * np.array([-np.sin(angle / 2), np.cos(angle / 2), 0.0])
        return replace(self.view, rotation=self.view.rotation @ about("z", -angle), eye=eye)


@dataclass(frozen=True)
class _Scene:
    number: int
    actors: list[Actor]
    stage: Stage
    drive: Drive
    sensor: Sensor


class Sequences:
    """Makes picture ``index`` of a set of sequences; it depends on seed and index only."""

    def __init__(self, config: SequencesConfig, studio: Studio | None = None) -> None:
        """Open the sources.

        Raises:
            InputError: if there is no mocap file, or no walk in its split.
        """
        self.config = config
        self.studio = studio or Studio(config)
        s = self.studio
        if s.motions is None:
            raise InputError("sequences need motions; give the mocap file with --motion")
        self._casting = Casting(s.pool, s.wardrobe, s.motions, config.mocap_share)
        self._walks = _walks(s.motions)
        if not self._walks and config.walking_share:
            raise InputError(
                f"split {config.motion_split!r} of the mocap file has no straight walk of 2 s; "
                "expected one, or walking_share: 0"
            )
        self._plays = _long_enough(s.motions, config.seconds)
        self._times = np.arange(0, config.seconds, 1 / _CHECKS_A_SECOND)
        self._scene: _Scene | None = None

    def sample(self, index: int) -> Sample:
        """Picture and truth number ``index``."""
        config = self.config
        number, frame = divmod(index, config.shard_size)
        if self._scene is None or self._scene.number != number:
            self._scene = self._make(number)
        scene, stamp = self._scene, frame / config.fps
        rng = np.random.default_rng([config.seed, number, frame])
        people = [actor.at(stamp) for actor in scene.actors]
        more = {
            "seed": config.seed,
            "index": index,
            "sequence": number,
            "frame": frame,
            "stamp": round(stamp, 6),
        }
        view = scene.drive.at(stamp)
        return finish(self.studio, people, scene.stage, view, scene.sensor, rng, more)

    def _make(self, number: int) -> _Scene:
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        for _ in range(_VIEW_ATTEMPTS):
            drive, actors = self._drive_and_actors(rng)
            if len(actors) >= config.people[0]:
                break
        eyes = self._eyes(drive)
        spots = np.array([p for a in actors for t in self._times[::2] for p in self._points(a, t)])
        seated = [actor.person for actor in actors]
        bank = self.studio.textures
        stage = surround(config, bank, spots.reshape(-1, 2), eyes, seated, drive.view, rng)
        return _Scene(number, actors, stage, drive, Sensor.draw(config.sensor, rng))

    def _drive_and_actors(self, rng: Generator) -> tuple[Drive, list[Actor]]:
        config = self.config
        reach = random_distance(config.camera, rng)
        view = random_view(config.camera, config.width, config.height, reach, rng)
        drive = Drive(view, 0.0, 0.0)
        if rng.random() < config.moving_share:
            turn = np.radians(rng.uniform(-config.turn_deg, config.turn_deg))
            drive = Drive(view, float(rng.choice([-1, 1]) * rng.uniform(*config.speed)), turn)
        return drive, self._cast(reach, drive, rng)

    def _eyes(self, drive: Drive) -> Points:
        return np.array([drive.at(t).eye[:2] for t in self._times])

    def _cast(self, reach: float, drive: Drive, rng: Generator) -> list[Actor]:
        """People who keep clear of one another and of the camera."""
        config = self.config
        count = int(rng.integers(config.people[0], config.people[1] + 1))
        eyes = self._eyes(drive)
        actors: list[Actor] = []
        taken: list[list[Points]] = []  # by person and time, points on the floor [N, 2]
        for _ in range(count):
            for _ in range(_CASTING_ATTEMPTS):
                actor = self._actor(None if actors else reach, drive, rng)
                if actor is None:
                    continue
                points = [self._points(actor, t) for t in self._times]
                others = [[eye[None] for eye in eyes], *taken]
                limits = [_FROM_CAMERA] + [_APART] * len(taken)
                if all(_clear(points, o, d) for o, d in zip(others, limits, strict=True)):
                    actors.append(actor)
                    taken.append(points)
                    break
        return actors

    def _points(self, actor: Actor, stamp: float) -> Points:
        person = actor.at(stamp)
        if person.roomy:
            return person.footprint(self.studio.pool.model)
        return person.posed.joints[SEGMENT_INDEX["pelvis"], :2][None]

    def _actor(self, reach: float | None, drive: Drive, rng: Generator) -> Actor | None:
        """Somebody at a random place, or None if it is outside the picture."""
        config = self.config
        place = random_place(config.camera, drive.view, rng, reach)
        if not in_picture(drive.view, place):
            return None
        kind = rng.random()
        if kind < config.still_share:
            person = self._casting.draw(place, rng)
            return Actor(person, lambda _: person)
        if kind < config.still_share + config.walking_share or not self._plays:
            return self._walker(place, drive, rng)
        return self._player(place, rng)

    def _player(self, place: Points, rng: Generator) -> Actor:
        config, model = self.config, self.studio.pool.model
        body, outfit = self._casting.dressed(rng)
        motion = self._plays[int(rng.integers(len(self._plays)))]
        spare = len(motion) - config.seconds * motion.fps
        start, heading = float(rng.uniform(0, max(spare, 0.0))), float(rng.uniform(-np.pi, np.pi))
        speed = 1 + min(spare, 0.0) / (config.seconds * motion.fps)
        mover = player(body, model, motion, start, place, heading, speed)
        person = Person(body, outfit, mover(0), motion.name, heading)
        return self._acting(person, mover, motion)

    def _walker(self, place: Points, drive: Drive, rng: Generator) -> Actor | None:
        config, model = self.config, self.studio.pool.model
        route = self._route(place, drive, rng)
        if route is None or not self._walks:
            return None
        body, outfit = self._casting.dressed(rng)
        motion = self._walks[int(rng.integers(len(self._walks)))]
        start = float(rng.uniform(0, motion.fps))
        if rng.random() >= config.carrying_share:
            mover = walker(body, model, motion, start, route)
            person = Person(body, outfit, mover(0), motion.name, 0.0)
            return self._acting(person, mover, motion)
        mover = walker(body, model, motion, start, route, _carrying(rng))
        held = held_box(body, model, mover(0), held_material(rng), rng)
        person = Person(body, outfit, mover(0), f"carry_{motion.name}", 0.0, held)
        return self._acting(person, mover, motion)

    def _acting(self, person: Person, mover: Mover, motion: Motion) -> Actor:
        moments = self._times * motion.fps
        on_floor = grounded(mover, person.body, self.studio.pool.model, moments)
        return Actor(person, lambda stamp: replace(person, posed=on_floor(stamp * motion.fps)))

    def _route(self, place: Points, drive: Drive, rng: Generator) -> Points | None:
        """Waypoints [N, 2] from ``place`` on, long enough; None if they leave the picture."""
        leaving = rng.random() < _LEAVING_SHARE
        points, heading, length = [place], rng.uniform(-np.pi, np.pi), 0.0
        needed = 2.2 * self.config.seconds  # metres, for the fastest walk
        while length < needed:
            for _ in range(_TURN_ATTEMPTS):
                step, turned = rng.uniform(*_STEP), heading + rng.normal(0, 0.7)
                point = points[-1] + step * np.array([np.cos(turned), np.sin(turned)])
                then = min(length / 1.2, self.config.seconds)
                if leaving or _seen(drive.at(then), point):
                    break
            else:
                return None
            points.append(point)
            heading, length = turned, length + step
        return np.array(points)


def _seen(view: View, point: Points) -> bool:
    """Whether somebody at a point is in the picture, and not at its side border."""
    middle = view.to_camera(np.array([*point, 0.9]))
    column = float(view.project(middle)[0]) / view.camera.width
    return bool(middle[2] > _FROM_CAMERA and 0.05 < column < 0.95 and in_picture(view, point))


def _clear(points: list[Points], others: list[Points], distance: float) -> bool:
    """Whether at each moment all points are at a distance from all others."""
    return all(
        np.linalg.norm(a[:, None] - b[None], axis=2).min() >= distance
        for a, b in zip(points, others, strict=True)
    )


def _carrying(rng: Generator) -> Callable[[Pose], Pose]:
    """Arms around a thing, whatever the rest of the body does."""
    angles, seed = holding(rng), int(rng.integers(2**31))

    def change(pose: Pose) -> Pose:
        pose = pose.copy()
        for side, sign in (("l", 1.0), ("r", -1.0)):
            # The same wrists in all pictures.
            set_arm(pose, side, sign, angles, np.random.default_rng([seed, int(sign > 0)]))
        return pose

    return change


def _walks(motions: MotionLibrary) -> list[Motion]:
    """The motions with a gait that carries people along any route."""
    found = []
    for name in motions.names:
        try:
            gait_cycle(motions[name])
        except InputError:
            continue
        found.append(motions[name])
    return [motion for motion in found if motion.name.startswith(("walk", "run"))]


def _long_enough(motions: MotionLibrary, seconds: float) -> list[Motion]:
    """The motions that last for a sequence, if need be slowed down a little."""
    made = (motions[name] for name in motions.names)
    return [motion for motion in made if len(motion) >= _SLOWEST * seconds * motion.fps]
