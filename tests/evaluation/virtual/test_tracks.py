"""Identities and trembling over sequences, with numbers worked out by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.evaluation.common.identities import has_trackeval
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.common.shards import read_scenes
from smap_ros.evaluation.virtual.measures import compare_scene, evaluate
from smap_ros.evaluation.virtual.report import VirtualReport
from smap_ros.evaluation.virtual.tracks import over_time
from tests.evaluation.conftest import CAMERA, jpeg, label_of, person_at, scene_of, tar


def film(*places: list[tuple[float, float]], sequence: str = "0", first: int = 0) -> list[Scene]:
    """A scene for each moment, with the people at those (x, z)."""
    scenes = []
    for k, there in enumerate(places):
        people = [label_of(person_at(x, z), id=who) for who, (x, z) in enumerate(there)]
        scene = scene_of(*people, key=f"{first + k:06d}", index=first + k)
        frame = replace(scene.frame, stamp=k / 10)
        scenes.append(replace(scene, sequence=sequence, frame=frame))
    return scenes


def people_of(scenes, found):
    """Who was found, with identities, [[(id, x, z), ...] for each scene]."""
    people = []
    for scene, there in zip(scenes, found, strict=True):
        bodies = [replace(person_at(x, z), id=name) for name, x, z in there]
        people += compare_scene(scene, bodies).people
    return people


def test_a_change_of_identity_is_a_switch_also_after_a_gap():
    scenes = film(*[[(-1.0, 4.0), (1.0, 4.0)]] * 4)
    swapped = people_of(
        scenes,
        [
            [(7, -1, 4), (8, 1, 4)],
            [(8, -1, 4), (7, 1, 4)],  # two switches
            [(8, -1, 4)],
            [(8, -1, 4), (9, 1, 4)],  # one more, after not being found
        ],
    )
    numbers = over_time(swapped)
    assert (numbers.sequences, numbers.people, numbers.switches) == (1, 2, 3)
    steady = people_of(scenes, [[(3, -1, 4), (5, 1, 4)]] * 4)
    assert over_time(steady).switches == 0


def test_identities_of_different_sequences_do_not_count_as_switches():
    scenes = film([(0, 4)], [(0, 4)]) + film([(0, 4)], [(0, 4)], sequence="1", first=2)
    numbers = over_time(people_of(scenes, [[(1, 0, 4)], [(1, 0, 4)], [(2, 0, 4)], [(2, 0, 4)]]))
    assert (numbers.sequences, numbers.people, numbers.switches) == (2, 2, 0)


def test_jitter_is_the_error_of_the_acceleration():
    # Truly at constant speed; found 50 mm too far in every second picture.
    scenes = film(*[[(0.1 * k, 5.0)] for k in range(5)])
    found = [[(1, 0.1 * k, 5.0 + 0.05 * (k % 2))] for k in range(5)]
    numbers = over_time(people_of(scenes, found))
    assert numbers.motion.acceleration == pytest.approx(100, rel=1e-4)  # 0.05 - 2 * 0 + 0.05
    assert numbers.motion.relative_acceleration == pytest.approx(0, abs=1e-2)


def test_a_constant_error_and_a_true_acceleration_are_no_jitter():
    scenes = film(*[[(0.02 * k**2, 5.0)] for k in range(4)])
    numbers = over_time(people_of(scenes, [[(1, 0.02 * k**2 + 0.1, 5.0)] for k in range(4)]))
    assert numbers.motion.acceleration == pytest.approx(0, abs=1e-2)


def test_pictures_that_do_not_follow_one_another_give_no_acceleration():
    scenes = film(*[[(0.1 * k, 5.0)] for k in range(5)])
    found = [[(1, 0.1 * k, 5.0)] if k != 2 else [] for k in range(5)]
    assert math.isnan(over_time(people_of(scenes, found)).motion.acceleration)


class Trembling:
    """Everybody, up to 60 mm too near or too far."""

    description = "trembling"

    def __init__(self, detector=""):
        self.detector = detector
        self._rng = np.random.default_rng(0)

    def of(self, picture):
        shifts = self._rng.uniform(-0.06, 0.06, len(picture.frame.bodies))
        moved = [
            replace(body, id=None, joints_3d=body.joints_3d + np.float32([0, 0, shift]))
            for body, shift in zip(picture.frame.bodies, shifts, strict=True)
        ]
        return BodyFrame(tuple(moved), CAMERA, detector=self.detector)

    def close(self):
        """Nothing is held."""


def test_sequences_are_also_measured_after_tracker_and_filter(tmp_path):
    scenes = film(*[[(-1.0, 4.0), (1.0, 5.0)]] * 30)
    outcome = evaluate(Trembling(), scenes)
    raw, tracked = over_time(outcome.people), over_time(outcome.tracked.people)
    assert raw.switches is None  # nobody has an identity before the tracker
    assert tracked.switches == 0
    assert 0 < tracked.motion.acceleration < 0.7 * raw.motion.acceleration
    report = VirtualReport(outcome)
    [table] = [table for table in report.tables() if table.title == "over time"]
    assert table.row_count == (16 if has_trackeval() else 14)
    numbers = report.numbers()["over_time"]
    assert (numbers["identities"] is not None) == has_trackeval()
    assert numbers["tracked"]["motion"]["acceleration"] == tracked.motion.acceleration
    assert numbers["raw"]["people"] == numbers["tracked"]["people"] == 2
    assert numbers["tracked_summary"]["recall_percent"] == pytest.approx(100)


class Named(Trembling):
    """Everybody, with the identities that a function gives them: picture, person -> identity."""

    def __init__(self, identity):
        super().__init__()
        self._identity = identity

    def of(self, picture):
        frame, k = super().of(picture), picture.frame.index
        named = [
            replace(body, id=self._identity(k, true.id))
            for body, true in zip(frame.bodies, picture.frame.bodies, strict=True)
        ]
        return replace(frame, bodies=tuple(named))


@pytest.mark.parametrize(
    ("identity", "switches"),
    [
        (lambda k, who: 5 + who, 0),
        (lambda k, who: 10 * k + who, 18),
        (lambda k, who: 5 + who if k > 7 else None, 0),  # a tracker that took its time
    ],
)
def test_identities_and_joints_of_the_predictions_are_judged_as_they_are(identity, switches):
    outcome = evaluate(Named(identity), film(*[[(-1.0, 4.0), (1.0, 5.0)]] * 10))
    raw, own = over_time(outcome.people), over_time(outcome.tracked.people)
    assert outcome.tracked.smoother == "the predictions' own identities"
    assert own.switches == switches
    assert own.motion.acceleration == raw.motion.acceleration
    report = VirtualReport(outcome)
    assert report.numbers()["over_time"]["smoother"] == outcome.tracked.smoother
    [table] = [table for table in report.tables() if table.title == "over time"]
    assert [column.header for column in table.columns][1:] == ["each picture", "with identities"]
    assert next(iter(table.columns[2].cells)) == outcome.tracked.smoother


def test_each_film_is_judged_by_its_own_identities_or_tracked():
    scenes = film([(0, 4)], [(0, 4)]) + film([(0, 4)], [(0, 4)], sequence="1", first=2)
    outcome = evaluate(Named(lambda k, who: 7 if k < 2 else None), scenes)
    assert outcome.tracked.smoother == "split, the predictions' own identities"
    assert outcome.tracked.scenes == 4


def test_a_model_that_is_shown_each_picture_by_itself_knows_no_identities():
    """A video model tracks within what it is shown: each picture would have new people."""

    class Shown(Named):
        def film(self, pictures):
            return map(self.of, pictures)

    scenes = film(*[[(-1.0, 4.0), (1.0, 5.0)]] * 10)
    outcome = evaluate(Shown(lambda k, who: 10 * k + who), scenes)
    assert outcome.tracked.smoother == "split"
    assert over_time(outcome.tracked.people).switches == 0


def test_what_nobody_gives_is_a_dash(tmp_path):
    class Nobody(Trembling):
        def of(self, picture):
            return BodyFrame((), CAMERA)

    report = VirtualReport(evaluate(Nobody(), film([(0, 4)], [(0, 4)])))
    assert report.numbers()["over_time"]["tracked"]["switches"] is None
    [table] = [table for table in report.tables() if table.title == "over time"]
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    row = dict(zip(cells[0], zip(*cells[1:], strict=True), strict=True))
    assert row["lag of walking people, frames"] == ("-", "-")
    assert row["identity switches"] == ("", "-")
    assert not {"nan", "None"} & {
        word for column in cells for cell in column for word in cell.split()
    }


def test_the_learned_smoother_is_taken_for_the_people_of_its_detector():
    own = load_bundle("maed_smoother").manifest.detector_sha256
    scenes = film(*[[(-1.0, 4.0), (1.0, 5.0)]] * 6)
    names = [evaluate(Trembling(who), scenes).tracked.smoother for who in (own, "", "0" * 64)]
    assert names == ["maed", "split", "split"]
    numbers = VirtualReport(evaluate(Trembling(own), scenes)).numbers()["over_time"]
    assert numbers["smoother"] == "maed"


def test_stills_have_no_measures_over_time():
    outcome = evaluate(Trembling(), [scene_of(label_of(person_at(0, 4)))])
    assert outcome.tracked is None
    report = VirtualReport(outcome)
    assert "over time" not in [table.title for table in report.tables()]
    assert report.numbers()["over_time"] is None


def test_shards_of_sequences_tell_film_and_time(tmp_path):
    for film_number in range(2):
        files = {}
        for k in range(2):
            labels = {
                "camera": CAMERA.to_json(),
                "people": [label_of(person_at(0, 4))],
                "sequence": film_number,
                "stamp": k / 15,
            }
            name = f"{2 * film_number + k:06d}"
            files[f"{name}.jpg"], files[f"{name}.json"] = jpeg(), json.dumps(labels).encode()
        tar(tmp_path / f"shard-{film_number:05d}.tar", files)
    scenes = read_scenes(tmp_path)
    assert [scene.sequence for scene in scenes] == ["0", "0", "1", "1"]
    assert [scene.frame.stamp for scene in scenes] == pytest.approx([0, 1 / 15, 0, 1 / 15])
