"""People on the floor and people with something in their hands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_ros.skeletons import MPI15
from smap_train.virtual import people as people_module
from smap_train.virtual.bodies import SEGMENT_INDEX, SEGMENTS
from smap_train.virtual.cameras import view_from
from smap_train.virtual.lying import WAYS
from smap_train.virtual.outfits import HelperWardrobe
from smap_train.virtual.parts import Material
from smap_train.virtual.people import Casting, lowest
from smap_train.virtual.poses import POSTURES
from smap_train.virtual.scene import Stills
from smap_train.virtual.truth import VISIBLE, describe

from .conftest import SMALL
from .test_scenes import LIGHT

J = MPI15.index
ARM = np.array([name.split("_")[-1] in ("upperarm", "forearm", "hand") for name in SEGMENTS])


@pytest.fixture
def draw(pool, monkeypatch):
    """Somebody in a posture, at the origin."""
    casting = Casting(pool, HelperWardrobe(pool.model), None, 0.0)

    def make(posture: str, seed: int, **options):
        monkeypatch.setattr(people_module, "POSTURES", {posture: 1.0})
        return casting.draw(np.zeros(2), np.random.default_rng([4, seed]), **options)

    return make


def skin(pool, person) -> np.ndarray:
    at = pool.model.skin_vertices
    return person.posed.skin(person.body.vertices[at], pool.model.weights[at])


@pytest.mark.parametrize("posture", sorted(POSTURES))
def test_everybody_touches_the_floor_with_what_carries_them(draw, pool, posture):
    strongest = pool.model.weights[pool.model.skin_vertices].argmax(1)
    carries = ~ARM[strongest]  # feet, legs, trunk or head; nobody hangs on their arms
    for seed in range(4):
        person = draw(posture, seed)
        assert person.posture.startswith(posture)
        assert lowest(pool.model, person.body, person.posed) == pytest.approx(0, abs=1e-6)
        heights = skin(pool, person)[:, 2]
        assert heights.min() > -0.005  # the lowest point is taken of every third vertex
        assert heights[carries].min() < 0.08


@pytest.mark.parametrize("way", sorted(WAYS))
def test_the_lying_are_low_and_face_where_they_should(draw, pool, monkeypatch, way):
    monkeypatch.setattr(people_module, "WAYS", {way: 1.0})
    upward = {"back": 1, "front": -1, "side": 0}[way]
    for seed in range(5):
        person = draw("lie", seed)
        assert person.posture == f"lie_{way}"
        joints = person.joints(pool.model)
        for name in ("neck", "pelvis", "head_top", "l_shoulder", "r_hip"):
            assert joints[J(name), 2] < 0.45 * person.body.height / 1.7
        assert abs(joints[J("neck"), 2] - joints[J("pelvis"), 2]) < 0.2
        chest = person.posed.rotations[SEGMENT_INDEX["chest"]]
        facing = chest @ np.array([0.0, -1, 0])
        assert facing[2] == pytest.approx(upward, abs=0.2 if upward else 0.6)
        assert person.roomy


def test_where_there_is_no_room_nobody_lies(draw):
    assert draw("lie", 0, cramped=True).posture == "stand"
    assert draw("carry", 0, cramped=True).held is None


def carriers(draw, count: int = 6):
    people = [draw("carry", seed) for seed in range(count)]
    return [person for person in people if person.held is not None]


def test_boxes_are_between_the_hands_and_outside_the_body(draw, pool):
    found = carriers(draw)
    assert len(found) >= 4
    model = pool.model
    body_only = model.weights[model.skin_vertices][:, ARM].sum(1) < 0.05
    for person in found:
        corners = person.held.part(person.body, person.posed).positions.astype(np.float64)
        middle = corners.mean(0)
        axes = np.linalg.svd(corners - middle)[2]  # of the box
        half = np.abs((corners - middle) @ axes.T).max(0)
        wrists = person.joints(model)[[J("l_wrist"), J("r_wrist")]]
        inside = (wrists - middle) @ axes.T
        # Wrists lie beside it: near its surface, none within.
        beyond = (np.abs(inside) - half).max(1)
        assert (beyond > -0.02).all()
        assert (beyond < 0.2).all()
        points = (skin(pool, person)[body_only] - middle) @ axes.T
        assert (np.abs(points) < half - 0.02).all(1).sum() == 0, "the box is not in the belly"


def test_a_carried_box_hides_its_bearer(draw, stills, pool):
    camera = Camera.from_fov(SMALL["width"], SMALL["height"], np.radians(60))
    person = carriers(draw)[0]
    # In front of the face: the body faces -y before its heading.
    ahead = person.posed.rotations[SEGMENT_INDEX["pelvis"]] @ np.array([0.0, -1, 0])
    ahead = ahead[:2] / np.linalg.norm(ahead[:2])
    view = view_from(
        camera, np.array([*(2.2 * ahead), 1.1]), 0.0, yaw=np.arctan2(ahead[0], -ahead[1])
    )

    def truth(someone):
        renderer = stills.studio.renderer
        frame = renderer.render(someone.parts(1), view, LIGHT, "plain")
        return describe(someone, 0, 1, pool.model, view, frame)

    big = replace(person.held, size=(0.7, 0.2, 0.9), material=Material())
    seen, hidden = truth(replace(person, held=None)), truth(replace(person, held=big))
    assert seen["visibility"][J("pelvis")] == VISIBLE
    assert hidden["visibility"][J("pelvis")] != VISIBLE
    assert hidden["pixels"] < 0.7 * seen["pixels"]
    assert hidden["joints_3d"] == seen["joints_3d"]


def test_lying_people_keep_clear_of_others(stills, pool, monkeypatch):
    monkeypatch.setattr(people_module, "POSTURES", {"lie": 0.5, "stand": 0.5})
    maker = Stills(stills.config, stills.studio)
    lying = 0
    for index in range(12):
        rng = np.random.default_rng([8, index])
        places, view = maker._arrange(rng)
        people = maker._cast(places, view, rng)
        for k, person in enumerate(people):
            if person.roomy:
                lying += 1
                points = person.footprint(pool.model)
                for place in [*places[:k], *places[k + 1 :]]:
                    assert np.linalg.norm(points - place, axis=1).min() > 0.42
    assert lying > 3
