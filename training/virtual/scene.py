"""Scenes: cameras, people and surroundings drawn at random, rendered with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from training.virtual import surroundings
from training.virtual.bodies import BodyModel, BodyPool
from training.virtual.config import CameraSettings, SourceSettings, StillsConfig
from training.virtual.makehuman import MakeHumanWardrobe
from training.virtual.motion import MotionLibrary
from training.virtual.outfits import HelperWardrobe, Wardrobe
from training.virtual.parts import Part, merged
from training.virtual.people import Casting, Person
from training.virtual.renderer import Light, Renderer, View
from training.virtual.sensor import expose, jpeg
from training.virtual.surroundings import Extent
from training.virtual.textures import TextureBank
from training.virtual.truth import describe, floor_plane

Generator = np.random.Generator
# People's centres are at least this far apart, metres: shoulder to shoulder.
_ELBOW_ROOM = 0.42
_PLACE_ATTEMPTS = 30
_SKIES = 16


@dataclass(frozen=True)
class Sample:
    """One picture with its truth.

    Attributes:
        jpeg: the encoded picture; rgb: the same before encoding, uint8 [h, w, 3].
        labels: uint8 [h, w]; 0 surroundings, k + 1 the person at place k of the truth's list.
        truth: see :mod:`training.virtual.truth`.
    """

    jpeg: bytes
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    truth: dict[str, Any]


class Studio:
    """Everything one process needs to make pictures."""

    def __init__(self, settings: SourceSettings) -> None:
        self.textures = TextureBank(settings.backgrounds, seed=settings.texture_seed)
        for k in range(_SKIES):
            look = np.random.default_rng([3 + settings.texture_seed, k])
            self.textures.add(f"sky/{k}", surroundings.sky(look))
        self.pool = BodyPool(settings.bodies, settings.body_seed)
        self.wardrobe: Wardrobe = (
            MakeHumanWardrobe(settings.assets, self.pool.model, self.textures, settings.asset_split)
            if settings.assets
            else HelperWardrobe(self.pool.model)
        )
        self.motions = (
            MotionLibrary(settings.motion, settings.motion_split) if settings.motion else None
        )
        self.renderer = Renderer(
            settings.width, settings.height, self.textures, backend=settings.backend
        )


def view_from(
    camera: Camera, eye: NDArray[np.floating], pitch: float, roll: float = 0.0, yaw: float = 0.0
) -> View:
    """A camera looking along +y, then turned: ``yaw`` to the left, ``pitch`` up (radians)."""
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    right = turn @ np.array([1.0, 0, 0])
    forward = turn @ np.array([0.0, np.cos(pitch), np.sin(pitch)])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.stack([c * right + s * down, c * down - s * right, forward])
    return View(camera, rotation, np.asarray(eye, dtype=np.float64))


def random_view(
    settings: CameraSettings, width: int, height: int, reach: float, rng: Generator
) -> View:
    """A robot's or wall camera that sees people at about ``reach`` metres."""
    fov = np.radians(rng.uniform(*settings.fov_deg))
    camera = Camera.from_fov(width, height, float(fov))
    low, high = settings.height
    band = rng.choice(3, p=[0.4, 0.4, 0.2])  # small robots, heads, walls
    edges = np.clip([0.3, 1.1, 1.9, 3.0], low, high)
    eye = np.array([0.0, 0.0, rng.uniform(edges[band], edges[band + 1])])
    # Aim so that a point of a body appears somewhere in the middle of the picture.
    ray = np.arctan((rng.uniform(0.25, 0.75) - 0.5) * height / camera.fy)
    pitch = np.arctan2(rng.uniform(0.3, 1.5) - eye[2], reach) + ray
    pitch = np.clip(pitch, *np.radians(settings.pitch_deg))
    roll = np.radians(np.clip(rng.normal(0, settings.roll_deg), -10, 10))
    return view_from(camera, eye, float(pitch), float(roll))


class Stills:
    """Makes sample ``index`` of a data set; what it makes depends on seed and index only."""

    def __init__(self, config: StillsConfig, studio: Studio | None = None) -> None:
        self.config = config
        self.studio = studio or Studio(config)
        s = self.studio
        self._casting = Casting(s.pool, s.wardrobe, s.motions, config.mocap_share)

    def sample(self, index: int) -> Sample:
        """Picture and truth number ``index``."""
        config = self.config
        rng = np.random.default_rng([config.seed, index])
        places, view = self._arrange(rng)
        people = self._cast(places, view, rng)
        parts, light, backdrop = self._surround(places, people, view, rng)
        return finish(self.studio, config, index, people, parts, view, light, backdrop, rng)

    def _arrange(self, rng: Generator) -> tuple[list[NDArray[np.float64]], View]:
        """Where people stand and the camera that sees them."""
        config = self.config
        count = int(rng.integers(config.people[0], config.people[1] + 1))
        reach = _distance(config.camera, rng)
        view = random_view(config.camera, config.width, config.height, reach, rng)
        places: list[NDArray[np.float64]] = []
        for k in range(count):
            for _ in range(_PLACE_ATTEMPTS):
                place = self._place(places, reach if k == 0 else None, view, rng)
                apart = all(np.linalg.norm(place - other) > _ELBOW_ROOM for other in places)
                if apart and _in_picture(view, place):
                    places.append(place)
                    break
        return places, view

    def _cast(self, places: list[NDArray], view: View, rng: Generator) -> list[Person]:
        """Somebody for each place; who lies or carries something needs room for it."""
        model = self.studio.pool.model
        people: list[Person] = []
        for k, place in enumerate(places):
            person = self._casting.draw(place, rng)
            if person.roomy:
                others = [*places[:k], *places[k + 1 :]]
                for other in people:
                    others += list(other.footprint(model)) if other.roomy else []
                if not _has_room(person, others, view, model, self.config.camera.distance[0]):
                    person = self._casting.draw(place, rng, cramped=True)
            people.append(person)
        return people

    def _place(
        self, places: list[NDArray], reach: float | None, view: View, rng: Generator
    ) -> NDArray[np.float64]:
        settings = self.config.camera
        if places and reach is None and rng.random() < 0.35:  # with somebody
            angle, gap = rng.uniform(0, 2 * np.pi), rng.uniform(_ELBOW_ROOM, 1.1)
            near = places[rng.integers(len(places))] + gap * np.array(
                [np.cos(angle), np.sin(angle)]
            )
            if np.linalg.norm(near) >= settings.distance[0]:
                return near
        distance = reach or _distance(settings, rng)
        column = rng.uniform(-0.03, 1.03) * view.camera.width
        bearing = np.arctan((column - view.camera.cx) / view.camera.fx)
        return distance * np.array([np.sin(bearing), np.cos(bearing)])

    def _surround(
        self, places: list[NDArray], people: list[Person], view: View, rng: Generator
    ) -> tuple[list[Part], Light, str]:
        config, bank = self.config, self.studio.textures
        model = self.studio.pool.model
        reaching = [point for p in people if p.roomy for point in p.footprint(model)]
        spots = np.array([*places, *reaching, [0.0, 0.0]])
        extent = _extent(spots, view, rng)
        photos = bank.names("photo")
        backdrop = "plain"
        parts: list[Part] = []
        outdoor = rng.random() < config.outdoor_share
        if photos and rng.random() < config.photo_share:
            backdrop = str(rng.choice(photos))
        elif outdoor:
            backdrop = str(rng.choice(bank.names("sky")))
            parts += surroundings.street(extent, bank, rng)
        else:
            parts += surroundings.room(extent, bank, rng)
        for person in people:
            if person.posture == "sit":
                base, seat = person.seat()
                parts += surroundings.chair(base, seat, person.heading, bank, rng)
        parts += _clutter(spots, extent, view, bank, rng)
        centre = np.array([*spots.mean(0), 0.8])
        radius = float(np.clip(np.linalg.norm(spots - spots.mean(0), axis=1).max() + 1.5, 3, 8))
        return merged(parts), surroundings.light(rng, outdoor, centre, radius), backdrop


def _distance(settings: CameraSettings, rng: Generator) -> float:
    low, high = settings.distance
    if rng.random() < 0.6:
        low, high = max(low, min(1.6, high)), max(low, min(high, 6.5))
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _in_picture(view: View, place: NDArray) -> bool:
    """Whether a fair part of somebody standing there is between the upper and lower border."""
    ends = np.array([[place[0], place[1], z] for z in (0.1, 1.6)])
    points = view.to_camera(ends)
    if points[:, 2].min() < 0.3:
        return False
    low, high = np.sort(view.project(points)[:, 1])
    shown = min(high, view.camera.height) - max(low, 0)
    return bool(shown > 0.45 * min(high - low, view.camera.height))


def _has_room(
    person: Person, others: list[NDArray], view: View, model: BodyModel, nearest: float
) -> bool:
    """Whether a person clashes with nobody and is mostly in the picture."""
    points = person.footprint(model)
    if np.linalg.norm(points, axis=1).min() < 0.8 * nearest:
        return False
    gaps = np.linalg.norm(points[:, None] - np.array(others).reshape(1, -1, 2), axis=2)
    if gaps.size and gaps.min() < _ELBOW_ROOM:
        return False
    joints = view.to_camera(person.joints(model))
    pixels = view.project(joints)
    size = (view.camera.width, view.camera.height)
    inside = (joints[:, 2] > 0) & (pixels >= 0).all(1) & (pixels < size).all(1)
    return bool(inside.mean() >= 0.5)


def _extent(spots: NDArray, view: View, rng: Generator) -> Extent:
    """Room around everybody and the camera."""
    low, high = spots.min(0), spots.max(0)
    margin = np.exp(rng.uniform(np.log(0.7), np.log(5.0), 4))
    return Extent(
        (float(low[0] - margin[0]), float(high[0] + margin[1])),
        (float(low[1] - 0.3 - 0.4 * margin[2]), float(high[1] + margin[3])),
        float(max(rng.uniform(2.4, 3.8), view.eye[2] + 0.25)),
    )


def _clutter(
    spots: NDArray, extent: Extent, view: View, bank: TextureBank, rng: Generator
) -> list[Part]:
    """Furniture; some of it low or thin and in front of people."""
    parts: list[Part] = []
    for _ in range(int(rng.integers(0, 12))):
        in_front = rng.random() < 0.3 and len(spots) > 1
        if in_front:
            target = spots[rng.integers(len(spots) - 1)]
            at = target * rng.uniform(0.35, 0.8) + rng.normal(0, 0.35, 2)
        else:
            at = np.array([rng.uniform(*extent.x), rng.uniform(*extent.y)])
        gaps = np.linalg.norm(spots - at, axis=1)
        if (gaps[:-1].size and gaps[:-1].min() < 0.75) or gaps[-1] < 0.9:
            continue
        parts += surroundings.furniture(at, bank, rng, low=in_front)
    return parts


def finish(
    studio: Studio,
    settings: SourceSettings,
    index: int,
    people: list[Person],
    parts: list[Part],
    view: View,
    light: Light,
    backdrop: str,
    rng: Generator,
) -> Sample:
    """Render, spoil the picture as a sensor does, and describe everybody in it."""
    everything = list(parts)
    for k, person in enumerate(people):
        everything += person.parts(k + 1)
    frame = studio.renderer.render(everything, view, light, backdrop)
    found, labels = [], np.zeros_like(frame.labels)
    for k, person in enumerate(people):
        entry = describe(person, k, k + 1, studio.pool.model, view, frame)
        if entry is not None:
            found.append(entry)
            labels[frame.labels == k + 1] = len(found)
    rgb = expose(frame.rgb, settings.sensor, rng)
    low, high = settings.sensor.jpeg_quality
    truth = {
        "camera": view.camera.to_json(),
        "people": found,
        "floor": floor_plane(view),
        "seed": settings.seed,
        "index": index,
    }
    return Sample(jpeg(rgb, int(rng.integers(low, high + 1))), rgb, labels, truth)
