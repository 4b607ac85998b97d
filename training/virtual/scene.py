"""Stills: people, camera and surroundings drawn at random, rendered with their truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual import surroundings
from smap_train.virtual.bodies import BodyModel, BodyPool
from smap_train.virtual.cameras import first_distance, in_picture, random_place, random_view
from smap_train.virtual.config import SourceSettings, StillsConfig
from smap_train.virtual.lookalikes import lookalike, places_for
from smap_train.virtual.makehuman import MakeHumanWardrobe
from smap_train.virtual.motion import MotionLibrary
from smap_train.virtual.outfits import HelperWardrobe, Wardrobe
from smap_train.virtual.parts import Part, merged
from smap_train.virtual.people import Casting, Person
from smap_train.virtual.renderer import Renderer, View
from smap_train.virtual.sensor import Sensor
from smap_train.virtual.staging import Stage, surround
from smap_train.virtual.textures import TextureBank
from smap_train.virtual.truth import describe, floor_plane

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
        truth: see :mod:`smap_train.virtual.truth`.
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
        model = self.studio.pool.model
        reaching = [point for p in people if p.roomy for point in p.footprint(model)]
        spots = np.array([*places, *reaching]).reshape(-1, 2)
        textures = self.studio.textures
        things: list[Part] = []
        if config.lookalikes[1]:  # drawn only where asked for: data sets without stay as they are
            count = int(rng.integers(*config.lookalikes, endpoint=True))
            for place in places_for(count, view, spots, rng):
                things += lookalike(place, textures, rng)
                spots = np.concatenate([spots, [place]])
        stage = surround(config, textures, spots, np.zeros((1, 2)), people, view, rng)
        stage = replace(stage, parts=[*stage.parts, *merged(things)])
        if config.statue_share:
            people, statues = _petrified(people, config.statue_share, textures, rng)
            stage = replace(stage, parts=[*stage.parts, *statues])
        sensor = Sensor.draw(config.sensor, rng)
        more = {"seed": config.seed, "index": index}
        return finish(self.studio, people, stage, view, sensor, rng, more)

    def _arrange(self, rng: Generator) -> tuple[list[NDArray[np.float64]], View]:
        """Where people stand and the camera that sees them."""
        config = self.config
        count = int(rng.integers(config.people[0], config.people[1] + 1))
        if config.empty_share and rng.random() < config.empty_share:
            count = 0
        reach = first_distance(config.camera, rng)
        view = random_view(config.camera, config.width, config.height, reach, rng)
        places: list[NDArray[np.float64]] = []
        for k in range(count):
            for _ in range(_PLACE_ATTEMPTS):
                place = self._place(places, reach if k == 0 else None, view, rng)
                apart = all(np.linalg.norm(place - other) > _ELBOW_ROOM for other in places)
                if apart and in_picture(view, place):
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
        return random_place(settings, view, rng, reach)


def _petrified(
    people: list[Person], share: float, bank: TextureBank, rng: Generator
) -> tuple[list[Person], list[Part]]:
    """Those who stay people, and the others as parts of the surroundings, of one material each."""
    living: list[Person] = []
    parts: list[Part] = []
    for person in people:
        if rng.random() >= share:
            living.append(person)
            continue
        material = surroundings.surface(bank, rng, "wall", "thing", "plain", bright=0.9)
        parts += [replace(part, material=material) for part in person.parts(0)]
    return living, parts


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


def finish(
    studio: Studio,
    people: list[Person],
    stage: Stage,
    view: View,
    sensor: Sensor,
    rng: Generator,
    more: dict[str, Any],
) -> Sample:
    """Render, spoil the picture as a sensor does, and describe everybody in it.

    Args:
        people: their place in the list is their id.
        more: what else the truth says.
    """
    everything = list(stage.parts)
    for k, person in enumerate(people):
        everything += person.parts(k + 1)
    frame = studio.renderer.render(everything, view, stage.light, stage.backdrop)
    found, labels = [], np.zeros_like(frame.labels)
    for k, person in enumerate(people):
        entry = describe(person, k, k + 1, studio.pool.model, view, frame)
        if entry is not None:
            found.append(entry)
            labels[frame.labels == k + 1] = len(found)
    rgb = sensor.expose(frame.rgb, rng)
    truth = {
        "camera": view.camera.to_json(),
        "people": found,
        "floor": floor_plane(view),
        **more,
    }
    return Sample(sensor.jpeg(rgb), rgb, labels, truth)
