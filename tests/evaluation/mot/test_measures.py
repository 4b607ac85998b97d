"""Protocol mot, with counts worked out by hand."""

import json
import math

import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.identities import INSTALL, has_trackeval
from smap_ros.evaluation.common.predictions import open_predictions
from smap_ros.evaluation.mot import measures
from smap_ros.evaluation.mot.measures import compare, count, evaluate, switches
from smap_ros.evaluation.mot.report import report
from smap_ros.evaluation.mot.truth import read_mot
from tests.evaluation.mot.conftest import boxed, frame, info, lines

LEFT, MIDDLE, RIGHT = (20, 50, 60, 150), (150, 50, 60, 150), (300, 50, 60, 150)
NOWHERE = (230, 210, 50, 80)


def found(folder, *frames: BodyFrame):
    """A bodies.json there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bodies.json"
    path.write_text(json.dumps({"frames": [one.to_json() for one in frames]}))
    return open_predictions(str(path))


def person(number, identity, box, *, kind=1, considered=1):
    return (number, identity, *box, considered, kind, 1)


def test_found_missed_ghosts_and_excused_are_counted(sequence, tmp_path):
    gt = lines(
        person(1, 1, LEFT),
        person(1, 2, MIDDLE),
        person(1, 3, RIGHT, kind=8, considered=0),
        person(2, 1, LEFT),
        person(2, 4, MIDDLE, kind=3, considered=0),  # a car
    )
    names = [f"{k:06d}.jpg" for k in (1, 2, 3)]
    predictions = found(
        tmp_path / "found",
        # Picture 1: LEFT is found, and once more; MIDDLE is missed; a distractor is found twice.
        frame(
            0, *(boxed(b) for b in (LEFT, LEFT, RIGHT, RIGHT, NOWHERE)), source=names[0]
        ),
        frame(1, boxed(LEFT), boxed(MIDDLE), source=names[1]),
        frame(2, source=names[2]),
    )  # fmt: skip
    sequences = read_mot(sequence(gt, info=info(3)))
    ticks = []
    outcome = evaluate(predictions, sequences, lambda: ticks.append(1))
    (film,) = outcome.films
    numbers = count(film.found)
    assert len(ticks) == 3
    assert vars(numbers) == {
        "pictures": 3, "people": 3, "found": 2, "empty_pictures": 1, "ghosts": 3,
        "ghost_pictures": 2, "excused": 2,
    }  # fmt: skip
    assert numbers.recall_percent == pytest.approx(200 / 3)
    assert numbers.precision_percent == pytest.approx(40)
    assert numbers.ghosts_per_picture == 1
    assert numbers.ghost_pictures_percent == pytest.approx(200 / 3)


def test_as_many_as_can_be_are_found(sequence):
    """Somebody who fits two people leaves the one that another fits as well."""
    near = (160, 50, 60, 150)
    (read,) = read_mot(sequence(lines(person(1, 1, MIDDLE), person(1, 2, near))))
    both, right = boxed((152, 50, 60, 150)), boxed((185, 50, 60, 150))
    compared = compare(read.pictures[0], [both, right])
    assert [p.found for p in compared.people] == [both, right]
    alone = compare(read.pictures[0], [both])
    assert [p.found is both for p in alone.people] == [True, False]
    assert not compared.ghosts and not alone.ghosts


def test_a_person_who_counts_comes_before_a_label_that_does_not(sequence):
    gt = lines(person(1, 1, MIDDLE), person(1, 2, MIDDLE, kind=7, considered=0))
    (read,) = read_mot(sequence(gt))
    first, second = boxed(MIDDLE), boxed(MIDDLE)
    compared = compare(read.pictures[0], [first, second])
    assert compared.people[0].found is first
    assert (len(compared.ghosts), compared.excused, len(compared.kept)) == (0, 1, 1)


def test_a_label_out_of_the_picture_excuses_nobody_and_forbids_no_excuse(sequence):
    gt = lines(person(1, 1, RIGHT, kind=8, considered=0), person(1, 2, (-90, 50, 60, 150)))
    (read,) = read_mot(sequence(gt))
    compared = compare(read.pictures[0], [boxed(RIGHT), boxed(NOWHERE)])
    assert (len(compared.people), compared.excused, len(compared.ghosts)) == (0, 1, 1)


def test_people_of_another_film_are_told(sequence, tmp_path, caplog):
    folder = sequence(lines(person(1, 1, LEFT)), clip="a.mp4")
    for source, told in (("a.mp4", False), ("b.mp4", True), ("000001.jpg", False)):
        caplog.clear()
        evaluate(found(tmp_path / source, frame(0, boxed(LEFT), source=source)), read_mot(folder))
        texts = [record.getMessage() for record in caplog.records]
        assert any("found in b.mp4, and the labels of street are of a.mp4" in t for t in texts) == (
            told
        )


def test_groups_are_by_height_and_by_the_border(sequence, tmp_path):
    boxes = {
        1: (30, 30, 20, 59), 2: (80, 30, 20, 60), 3: (130, 30, 40, 120), 4: (180, 30, 60, 240),
        5: (250, 250, 50, 100),  # 50 px of 100 are in the picture
        6: (358, 40, 40, 100),  # 2 px from the border
        7: (310, 40, 40, 100), 8: (500, 10, 50, 50),  # nowhere in the picture
    }  # fmt: skip
    folder = sequence(lines(*(person(1, k, box) for k, box in boxes.items())), info=info(3))
    inside = [boxed(box) for k, box in boxes.items() if k not in (3, 7)]
    numbers = report(
        evaluate(found(tmp_path, frame(0, *inside, source="000001.jpg")), read_mot(folder))
    ).numbers()
    heights = numbers["by_height_in_the_picture"]
    assert {name: (n["people"], n["found"]) for name, n in heights.items()} == {
        "below 60 px": (2, 2),
        "60-120 px": (3, 2),
        "120-240 px": (1, 0),
        "240 px or more": (1, 1),
    }
    framing = {name: (n["people"], n["found"]) for name, n in numbers["by_framing"].items()}
    assert framing == {"cut by the border": (2, 2), "whole in the picture": (5, 3)}
    assert (numbers["people"], numbers["found"], numbers["ghosts"]) == (7, 5, 1)
    assert (numbers["pictures"], numbers["pictures_skipped"]) == (1, 2)


def test_nobody_is_ever_there(sequence, tmp_path):
    """An empty file says so; ghosts are counted, and there is no recall."""
    folder = sequence("", clip="hall.mp4")
    outcome = evaluate(found(tmp_path, frame(0, boxed(LEFT)), frame(1), frame(2)), read_mot(folder))
    made = report(outcome)
    numbers = made.numbers()
    assert (numbers["people"], numbers["ghosts"], numbers["ghost_pictures"]) == (0, 1, 1)
    assert math.isnan(numbers["recall_percent"]) and numbers["precision_percent"] == 0
    assert made.summary["recall / precision"] == "- / 0.0 %"
    assert numbers["over_time"]["switches"] is None
    assert made.plots().shape[1] == 1920


def test_frames_of_clips_are_found_by_number_also_in_several_sequences(sequence, tmp_path):
    gt = lines(person(1, 1, LEFT), person(2, 1, LEFT))
    data = sequence(gt, name="a", clip="a.mp4").parent
    sequence(gt, name="b", clip="b.mp4")
    sequence(gt, name="c", info=info(3))
    for name, box in (("a", LEFT), ("b", RIGHT)):
        found(tmp_path / "found" / name, *(frame(k, boxed(box), source="x.mp4") for k in range(3)))
    outcome = evaluate(open_predictions(str(tmp_path / "found")), read_mot(data))
    assert outcome.absent == ("c",) and outcome.skipped == 3
    numbers = report(outcome).numbers()
    rows = {k: (v["people"], v["found"], v["ghosts"]) for k, v in numbers["by_sequence"].items()}
    assert rows == {"a": (2, 2, 1), "b": (2, 0, 3)}
    a, b = numbers["by_sequence"]["a"], numbers["by_sequence"]["b"]
    assert (a["pictures_with_ghosts"], a["pictures_with_missed"]) == ([3], [])
    assert (b["pictures_with_ghosts"], b["pictures_with_missed"]) == ([1, 2, 3], [1, 2])
    (table,) = (t for t in report(outcome).details if t.title == "by sequence")
    assert table.rows["a"] == ["2", "100.0", "66.7", "0.333", "33.3"]
    (tmp_path / "found" / "b" / "bodies.json").unlink()
    # The folder of one sequence's predictions does for that sequence alone.
    alone = evaluate(open_predictions(str(tmp_path / "found")), read_mot(data / "a"))
    assert count(alone.films[0].found).found == 2
    with pytest.raises(InputError, match="none of the 3 pictures"):
        evaluate(open_predictions(str(tmp_path / "found")), read_mot(data / "b" / ".." / "c"))


def test_given_identities_are_counted_as_they_are(sequence, tmp_path):
    gt = lines(*(person(k, identity, box) for k in range(1, 5) for identity, box in
                 ((1, LEFT), (2, RIGHT), (-1, MIDDLE))))  # fmt: skip
    folder = sequence(gt, pictures=4, clip="a.mp4")
    names = {0: (5, 6, 7), 1: (5, 6, 8), 2: (None, 6, 7), 3: (9, 5, 8)}
    predictions = found(
        tmp_path,
        *(
            frame(k, *(boxed(b, identity=i) for i, b in zip(ids, (LEFT, RIGHT, MIDDLE), strict=True)
                       if i is not None))
            for k, ids in names.items()
        ),
    )  # fmt: skip
    outcome = evaluate(predictions, read_mot(folder))
    (film,) = outcome.films
    assert film.tracked is film.found and not film.smoother
    assert switches(film) == 2  # 5 to 9, over a picture without them, and 6 to 5
    assert outcome.identities is None  # one label has no identity
    assert report(outcome).numbers()["over_time"]["switches"] == 2


@pytest.mark.skipif(not has_trackeval(), reason="pip install --no-deps trackeval tabulate")
def test_the_reference_code_counts_the_same_ghosts_misses_and_switches(sequence, tmp_path):
    gt = lines(
        *(person(k, 1, LEFT) for k in range(1, 5)),
        *(person(k, 2, RIGHT, kind=8, considered=0) for k in range(1, 5)),
    )
    folder = sequence(gt, pictures=4, info=info(4))
    people = [
        [boxed(LEFT, identity=1), boxed(RIGHT, identity=3)],
        [boxed(LEFT, identity=1), boxed(NOWHERE, identity=4)],
        [],
        [boxed(LEFT, identity=2)],
    ]
    frames = [frame(k, *p, source=f"{k + 1:06d}.jpg") for k, p in enumerate(people)]
    outcome = evaluate(found(tmp_path, *frames), read_mot(folder))
    who = outcome.identities
    # A ghost, a miss and a switch on four labels.
    assert who.mota == pytest.approx(25) and who.switches == switches(outcome.films[0]) == 1
    assert who.idf1 == pytest.approx(100 * 2 * 2 / (4 + 4))


@pytest.mark.parametrize(
    ("identities", "installed", "why"),
    [
        ((1, 2), False, INSTALL),
        ((-1, -1), True, "labels have no identities"),
        ((1, -1), False, "some labels have no identity"),
        ((), True, "nobody is labelled"),
    ],
)
def test_why_identities_are_not_measured_is_said(
    sequence, tmp_path, monkeypatch, identities, installed, why
):
    monkeypatch.setattr(measures, "has_trackeval", lambda: installed)
    boxes = (LEFT, RIGHT)[: len(identities)]
    gt = lines(*(person(1, i, box) for i, box in zip(identities, boxes, strict=True)))
    folder = sequence(gt, clip="a.mp4")
    outcome = evaluate(found(tmp_path, frame(0, boxed(LEFT, identity=5))), read_mot(folder))
    assert outcome.identities is None
    (table,) = (d for d in report(outcome).details if d.title == "over time")
    assert table.rows["HOTA, MOTA, IDF1"] == ["", why]


def test_who_are_before_each_other_exchange_nothing(sequence, tmp_path):
    """Each box is nearer to the other label, in the second picture only."""
    boxes = [(100, 50, 60, 160), (112, 50, 60, 160)]
    moved = [(107, 50, 60, 160), (105, 50, 60, 160)]
    gt = lines(*(person(k, 1 + i, boxes[i]) for k in (1, 2, 3) for i in (0, 1)))
    folder = sequence(gt, pictures=3, info=info(3))
    frames = [
        frame(k, *(boxed(box, identity=5 + i) for i, box in enumerate(there)), source=name)
        for k, (there, name) in enumerate(
            zip((boxes, moved, boxes), ("000001.jpg", "000002.jpg", "000003.jpg"), strict=True)
        )
    ]
    outcome = evaluate(found(tmp_path, *frames), read_mot(folder))
    (film,) = outcome.films
    assert [[p.found.id for p in picture.people] for picture in film.tracked] == [[5, 6]] * 3
    assert switches(film) == 0
    alone = compare(read_mot(folder)[0].pictures[1], frames[1].bodies)
    assert [p.found.id for p in alone.people] == [6, 5]


def test_who_has_no_identity_is_tracked_as_shipped(sequence, tmp_path):
    count_of = 30
    gt = lines(*(person(k + 1, 1, LEFT) for k in range(count_of)))
    folder = sequence(gt, pictures=count_of, info=info(count_of))
    frames = [
        frame(
            k,
            boxed(LEFT),
            *([boxed(NOWHERE, score=0.4)] if k == 12 else []),
            source=f"{k + 1:06d}.jpg",
        )
        for k in range(count_of)
    ]
    outcome = evaluate(found(tmp_path, *frames), read_mot(folder))
    (film,) = outcome.films
    raw, tracked = count(film.found), count(film.tracked)
    assert (raw.found, raw.ghosts) == (30, 1)
    assert tracked.pictures == 30 and tracked.ghosts == 0 and tracked.found >= 25
    assert switches(film) == 0 and film.smoother
    assert np.isfinite(report(outcome).numbers()["over_time"]["recall_percent"])


@pytest.mark.parametrize("clip", ["", "x.mp4"])
def test_of_a_folder_of_results_one_sequence_takes_its_own(sequence, tmp_path, clip):
    read = read_mot(sequence(lines(person(1, 1, LEFT)), name="a", clip=clip))
    for name, box in (("a", LEFT), ("b", RIGHT)):
        frames = (frame(k, boxed(box), source=clip or f"{k + 1:06d}.jpg") for k in range(3))
        found(tmp_path / "found" / name, *frames)
    outcome = evaluate(open_predictions(str(tmp_path / "found")), read)
    assert count(outcome.films[0].found).found == 1
    (tmp_path / "found" / "a" / "bodies.json").unlink()
    with pytest.raises(InputError, match="none of the 3 pictures"):
        evaluate(open_predictions(str(tmp_path / "found")), read)
    file = open_predictions(str(tmp_path / "found" / "b" / "bodies.json"))
    assert count(evaluate(file, read).films[0].found).found == 0
