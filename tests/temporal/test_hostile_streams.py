"""Streams as no robot should send them: nothing raises, nothing is lost, nothing is invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import load_bundle
from smap_ros.skeletons import SKELETONS
from smap_ros.temporal import BodySmoother, SmootherConfig, TrackerConfig
from tests.temporal.people import person

OWN = load_bundle("maed_smoother").manifest.detector_sha256
WAYS = [
    ("none", 0),
    ("one_euro", 0),
    ("split", 0),
    ("rts", 0),
    ("rts", 3),
    ("maed", 0),
    ("maed", 4),
]


def crowd(rng, k):
    """Nobody, somebody or forty people, some new in every picture; joints missing at random."""
    count = int(rng.choice([0, 1, 3, 40], p=[0.2, 0.3, 0.3, 0.2]))
    bodies = []
    for n in range(count):
        place = (n % 8 - 4 + rng.normal(0, 0.05), 0.1 * (n // 8), 3 + n // 8 + rng.normal(0, 0.1))
        if n % 3 == 0:
            place = (rng.uniform(-4, 4), 0, rng.uniform(1, 9))
        missing = tuple(np.flatnonzero(rng.random(15) < 0.15))
        body = person(place, score=float(rng.uniform(0.05, 1)), missing=missing)
        if rng.random() < 0.05:  # found with a score, and nowhere
            joints = body.joints_3d.copy()
            joints[int(rng.integers(15))] = np.nan
            body = replace(body, joints_3d=joints)
        if rng.random() < 0.03:  # behind the camera
            body = replace(body, joints_3d=body.joints_3d * np.float32([1, 1, -1]))
        bodies.append(body)
    return bodies


def stamps(rng, count):
    """From 5 to 30 Hz, uneven; long gaps, the same stamp twice, steps back short and long."""
    time, out = 1.7e9, []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.85:
            time += rng.uniform(1 / 30, 1 / 5)
        elif kind < 0.88:
            time += rng.uniform(3, 100)
        elif kind < 0.91:
            time += 0.0
        elif kind < 0.97:
            time -= rng.uniform(0, 0.3)
        else:
            time -= rng.uniform(5, 50)
        out.append(time)
    return out


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(2))
def test_whatever_comes_each_image_has_its_own_people_once(way, seed):
    rng = np.random.default_rng(seed)
    name, delay = way
    smoother = BodySmoother(SmootherConfig(smoother=name, delay=delay), OWN)
    sent, answers, newest = {}, [], -1
    for k, time in enumerate(stamps(rng, 80)):
        bodies = crowd(rng, k)
        sent[k] = (time, bodies)
        view = "left" if (k // 25) % 2 else "right"
        late = smoother.late
        answers += smoother.update(bodies, time, k, view=view)
        if smoother.late > late:
            del sent[k]  # too late: dropped, and counted
    answers += smoother.flush()
    assert [answer.note for answer in answers] == list(sent)
    for answer in answers:
        time, bodies = sent[answer.note]
        assert answer.time == time
        ids = [person.body.id for person in answer.people]
        assert ids == sorted(set(ids))
        newest = max(newest, *ids, -1)
        raw = {body.joints_2d.tobytes(): body for body in bodies}
        for someone in answer.people:
            told = someone.body.joints_3d
            if someone.predicted:
                continue
            found = raw[someone.body.joints_2d.tobytes()]
            np.testing.assert_array_equal(np.isfinite(told), np.isfinite(found.joints_3d))
            there = np.isfinite(told)
            assert np.abs(told[there] - found.joints_3d[there]).max(initial=0) < 5
            np.testing.assert_array_equal(someone.body.scores, found.scores)
            assert (someone.spread is None) or name == "maed"
            if someone.spread is not None:
                known = np.isfinite(someone.spread)
                np.testing.assert_array_equal(known, someone.body.present)
                assert (someone.spread[known] > 0).all() and someone.spread[known].max() < 1


@pytest.mark.parametrize("delay", [0, 2])
def test_settings_and_detectors_may_change_at_any_picture(delay):
    rng = np.random.default_rng(5)
    smoother = BodySmoother(SmootherConfig(delay=delay), OWN)
    answers = []
    for k in range(60):
        if k % 7 == 3:
            smoother.detector = OWN if k % 2 else "0" * 64
        if k % 11 == 5:
            config = SmootherConfig(
                smoother=str(rng.choice(["auto", "rts"])), delay=int(rng.choice([0, 2, 4])),
                tracker=TrackerConfig(death_time=float(rng.uniform(0.5, 3)), fill_time=0.4),
            )  # fmt: skip
            smoother.config = config
        answers += smoother.update([person((0.02 * k, 0, 4)), person((1.5, 0, 5))], k / 15, k)
    answers += smoother.flush()
    assert [answer.note for answer in answers] == list(range(60))
    assert {p.body.id for answer in answers for p in answer.people} == {0, 1}


@pytest.mark.parametrize("rate", [5, 10, 30])
def test_the_learned_smoother_holds_at_every_rate_and_lags_nobody(rate):
    rng = np.random.default_rng(rate)
    times = np.cumsum(rng.uniform(0.6, 1.4, 6 * rate) / rate)
    smoother = BodySmoother(SmootherConfig(smoother="maed"), OWN)
    roots = []
    for time in times:
        place = np.array([1.2 * (time - 3), 0.2, 5.0])
        shaken = person(place + rng.normal(0, 0.02, 3))
        ((answer),) = smoother.update([shaken], float(time))
        roots.append(answer.people[0].body.root[:2] / answer.people[0].body.root[2] * 5.0)
    found, true = np.array(roots)[rate:, 0], 1.2 * (times[rate:] - 3)
    late = np.polyfit(true, true - found, 0)[0] / 1.2  # seconds
    assert abs(late) < 0.06, late
    assert np.std(true - found) < 0.04


NO_PLACES = {  # of some joint, or of all
    "infinite": np.float32(np.inf), "huge": np.float32(1e30), "beyond sight": np.float32(1e6),
    "nowhere": np.float32(np.nan), "in the lens": np.float32(0),
}  # fmt: skip


def spoiled(rng, body):
    """A person of whom something is told that can't be."""
    joints, pixels, scores = (np.copy(v) for v in (body.joints_3d, body.joints_2d, body.scores))
    joint = slice(None) if rng.random() < 0.3 else int(rng.integers(15))
    value = NO_PLACES[str(rng.choice(list(NO_PLACES)))]
    what = rng.integers(6)
    if what == 0:
        joints[joint] = value
    elif what == 1:
        pixels[joint] = value
    elif what == 2:
        scores[joint] = 0
    elif what == 3:
        scores[joint] = np.nan
    deviation = float(rng.choice([np.nan, np.inf, 0.0, -1.0, 1e9, 0.3]))
    score = float(rng.choice([np.nan, 0.0, 1.0])) if what == 4 else body.score
    return replace(
        body, joints_3d=joints, joints_2d=pixels, scores=scores, score=score, depth_std=deviation
    )


def of_other_joints(body, name="h36m17"):
    skeleton = SKELETONS[name]
    parts = ((body.joints_3d, (17, 3)), (body.joints_2d, (17, 2)), (body.scores, (17,)))
    return Body(*(np.resize(*part).copy() for part in parts), body.score, None, skeleton)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate", [5, 60])
@pytest.mark.parametrize("way", [*WAYS, ("auto", 2)])
def test_what_cannot_be_spoils_nothing_that_can(way, rate):
    """Nor do other detectors, other joints, a crowd of 127, and times of any kind."""
    rng = np.random.default_rng(rate)
    name, delay = way
    smoother = BodySmoother(SmootherConfig(smoother=name, delay=delay), OWN)
    sent, answers, time = {}, [], 1.7e9
    for k in range(40):
        time += float(rng.choice([0, -0.3, 1e-9, 1e5, -1e5, 1.0])) if k % 7 == 3 else 0
        time += rng.uniform(0.3, 2) / rate
        count = 127 if k == 20 else int(rng.choice([0, 1, 3]))
        places = rng.uniform([-4, -1, 0.5], [4, 1, 9], (count, 3))
        bodies = [person(place, missing=tuple(rng.integers(0, 15, 2))) for place in places]
        bodies = [spoiled(rng, body) if rng.random() < 0.5 else body for body in bodies]
        if name != "maed" and (k // 8) % 3 == 2:
            bodies = [of_other_joints(body) for body in bodies]
        if k % 9 == 4:
            smoother.detector = str(rng.choice([OWN, "0" * 64]))
        sent[k] = {body.joints_2d.tobytes() + body.scores.tobytes(): body for body in bodies}
        answers += smoother.update(bodies, time, k)
    answers += smoother.flush()
    assert len(answers) == 40 - smoother.late
    seen = 0
    for answer in answers:
        for someone in answer.people:
            body = someone.body
            assert np.abs(body.root).max() < 1e4
            if someone.predicted:
                continue
            found = sent[answer.note][body.joints_2d.tobytes() + body.scores.tobytes()]
            there = np.isfinite(found.joints_3d)
            assert np.isfinite(body.joints_3d[there]).all()
            near = there & (np.abs(found.joints_3d) < 10).all(axis=1, keepdims=True)
            assert np.abs(body.joints_3d[near] - found.joints_3d[near]).max(initial=0) < 20
            seen += 1
    assert seen > 60


def test_people_at_the_far_side_of_a_wide_picture_keep_their_joints_while_they_are_not_seen():
    pixels = np.float32([12_000, 300])  # of a picture of 16384 px
    wide = [replace(body, joints_2d=body.joints_2d + pixels) for body in [person((0, 0, 3))]]
    smoother = BodySmoother()
    told = [smoother.update(wide if k < 5 else [], 0.1 * k)[0].people for k in range(8)]
    assert [[one.predicted for one in people] for people in told] == [[False]] * 5 + [[True]] * 3
    for (one,) in told:
        assert np.abs(one.body.joints_2d - wide[0].joints_2d).max() < 1
