"""Bodies and frames: shapes refused, missing joints, JSON there and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.skeletons import COCO17, MPI15

CAMERA = Camera(640, 480, 500, 510, 320, 240)
NAN = math.nan


def body(missing: tuple[int, ...] = (), **changes: object) -> Body:
    rng = np.random.default_rng(0)
    joints_3d = rng.normal(size=(15, 3)).astype(np.float32) + np.float32([0, 0, 5])
    joints_2d = rng.uniform(0, 400, (15, 2)).astype(np.float32)
    scores = rng.uniform(0.1, 1, 15).astype(np.float32)
    joints_3d[list(missing)], joints_2d[list(missing)], scores[list(missing)] = NAN, NAN, 0
    parts = {"joints_3d": joints_3d, "joints_2d": joints_2d, "scores": scores, "score": 0.8}
    return Body(**{**parts, **changes})


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        ("joints_3d", (15, 2)),
        ("joints_3d", (17, 3)),
        ("joints_2d", (15, 3)),
        ("joints_2d", (15,)),
        ("scores", (15, 1)),
        ("scores", (14,)),
    ],
)
def test_wrong_shapes_are_refused(field, shape):
    with pytest.raises(InputError, match=f"{field} has shape .* expected"):
        body(**{field: np.zeros(shape, np.float32)})


def test_a_body_may_have_another_joint_set():
    zeros = np.zeros((17, 3), np.float32)
    assert Body(zeros, zeros[:, :2], zeros[:, 0], 0.0, skeleton=COCO17).skeleton is COCO17
    with pytest.raises(InputError, match="coco17"):
        body(skeleton=COCO17)


def test_missing_joints_are_known_as_such():
    person = body(missing=(2, 5))
    assert np.flatnonzero(~person.present).tolist() == [2, 5]
    assert np.isnan(person.root).all()
    np.testing.assert_array_equal(body().root, body().joints_3d[2])


def test_a_joint_needs_both_a_score_and_a_place_to_be_present():
    scores = body().scores.copy()
    scores[3] = 0
    joints = body().joints_3d.copy()
    joints[4, 1] = np.inf
    assert np.flatnonzero(~body(scores=scores, joints_3d=joints).present).tolist() == [3, 4]


def test_box_encloses_the_joints_in_the_image():
    points = np.full((15, 2), NAN, np.float32)
    points[3], points[7], points[9] = (10, 50), (30, 20), (20, 80)
    points[11] = (NAN, 500)
    assert body(joints_2d=points).box == (10, 20, 20, 60)
    assert all(math.isnan(v) for v in body(joints_2d=np.full((15, 2), NAN, np.float32)).box)


coordinates = st.floats(-1e4, 1e4, width=32) | st.just(NAN)


@given(
    joints_3d=arrays(np.float32, (15, 3), elements=coordinates),
    joints_2d=arrays(np.float32, (15, 2), elements=coordinates),
    scores=arrays(np.float32, 15, elements=st.floats(0, 1, width=32)),
    track=st.none() | st.integers(0, 2**31),
    stamp=st.floats(0, 2e9),
)
def test_json_there_and_back(joints_3d, joints_2d, scores, track, stamp):
    person = Body(joints_3d, joints_2d, scores, 0.5, id=track)
    frame = BodyFrame((person, body()), CAMERA, stamp=stamp, source="clip.mp4", index=7)
    text = json.dumps(frame.to_json(), allow_nan=False)
    back = BodyFrame.from_json(json.loads(text))
    assert (back.source, back.index, back.stamp) == ("clip.mp4", 7, stamp)
    assert back.camera == CAMERA and len(back) == 2
    first = next(iter(back))
    assert first.id == track and first.score == 0.5
    for name in ("joints_3d", "joints_2d", "scores"):
        array = getattr(first, name)
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, getattr(person, name), atol=1e-5, rtol=1e-6)


def test_json_has_the_agreed_layout():
    data = BodyFrame((body(missing=(0,)),), CAMERA).to_json()
    assert set(data) == {"source", "index", "stamp", "camera", "bodies"}
    assert set(data["camera"]) == {"fx", "fy", "cx", "cy", "width", "height"}
    (person,) = data["bodies"]
    assert set(person) == {"id", "score", "joints_2d", "joints_3d"}
    assert person["joints_2d"][0] == [None, None, 0.0]
    assert person["joints_3d"][0] == [None, None, None, 0.0]
    assert [len(row) for row in person["joints_3d"]] == [4] * 15


VALID = BodyFrame((body(),), CAMERA).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"bodies": None},
        {"bodies": [{}]},
        {"bodies": [None]},
        {"bodies": [{**VALID["bodies"][0], "joints_3d": []}]},
        {"bodies": [{**VALID["bodies"][0], "joints_3d": [[1, 2]] * 15}]},
        {"bodies": [{**VALID["bodies"][0], "joints_3d": [[1, 2, 3, 1]] * 17}]},
        {"bodies": [{**VALID["bodies"][0], "joints_2d": [["a", 1, 1]] * 15}]},
        {"bodies": [{**VALID["bodies"][0], "joints_2d": [[1, 2, 3], [1]]}]},
        {"bodies": [{**VALID["bodies"][0], "score": None}]},
        {"bodies": [{**VALID["bodies"][0], "score": float("nan")}]},
        *(
            {"bodies": [{**VALID["bodies"][0], "id": k}]}
            for k in ("a", "1", 1.5, math.inf, True, [1])
        ),
        {"bodies": [{**VALID["bodies"][0], "id": 1}] * 2},
        {"bodies": 3},
        {"camera": {"fx": 1}},
        {"camera": None},
        {"camera": []},
        {"stamp": "soon"},
        {"index": None},
        {"index": math.inf},
        {"camera": {**VALID["camera"], "width": math.inf}},
    ],
)
def test_other_json_is_refused(change):
    with pytest.raises(InputError, match=r"not a |has shape"):
        BodyFrame.from_json({**VALID, **change})


@pytest.mark.parametrize("data", [None, [], "frame", {}])
def test_json_of_another_kind_is_refused(data):
    with pytest.raises(InputError, match="not a frame"):
        BodyFrame.from_json(data)


def test_people_of_a_frame_can_be_replaced():
    frame = BodyFrame((body(),), CAMERA, stamp=3.0, dropped={"no_root": 1})
    other = frame.with_bodies(())
    assert len(other) == 0 and (other.stamp, other.dropped) == (3.0, {"no_root": 1})
    assert len(frame) == 1 and MPI15.root == 2


def test_the_deviation_of_depth_goes_through_json_when_it_is_known():
    known, unknown = body(depth_std=0.25), body()
    assert known.to_json()["depth_std"] == 0.25 and "depth_std" not in unknown.to_json()
    assert Body.from_json(json.loads(json.dumps(known.to_json()))).depth_std == 0.25
    assert math.isnan(Body.from_json(unknown.to_json()).depth_std)


@pytest.mark.parametrize(("stated", "read"), [(3, 3), (3.0, 3), (None, None), (-1, -1)])
def test_identities_are_whole_numbers_or_none(stated, read):
    people = [{**VALID["bodies"][0], "id": stated}]
    got = BodyFrame.from_json({**VALID, "bodies": people}).bodies[0].id
    assert got == read and isinstance(got, int | None)


@pytest.mark.parametrize("stated", [2**63, 1e300, -(2**63) - 1])
def test_identities_beyond_64_bits_are_refused(stated):
    people = [{**VALID["bodies"][0], "id": stated}]
    with pytest.raises(InputError, match=r"id is -?\d+, not in \[-2\^63, 2\^63 - 1\]"):
        BodyFrame.from_json({**VALID, "bodies": people})
    people[0]["id"] = 2**63 - 1
    assert BodyFrame.from_json({**VALID, "bodies": people}).bodies[0].id == 2**63 - 1


def test_people_are_found_again_among_others():
    one, other = body(), body()
    frame = BodyFrame((one, other), CAMERA)
    assert other in frame.bodies and frame.bodies.index(other) == 1
    assert one != other and len({one, other}) == 2
