"""Sequences as MOT15, MOT17 and CVAT write them, and what is wrong with others."""

import pickle
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import ClipFrame
from smap_ros.evaluation.mot.labels import read_labels
from smap_ros.evaluation.mot.truth import read_mot
from smap_ros.viz.video import VideoWriter
from tests.evaluation.mot.conftest import HEIGHT, WIDTH, info, lines, picture
from tests.test_sources import write_video

OURS = Path(__file__).parents[3] / "bench" / "one_by_one"
BOX = (10, 20, 40, 100)


def ids(picture):
    return picture.ids.tolist()


def test_the_labels_of_our_own_film_are_of_six_people_who_come_and_go():
    labels = read_labels(OURS / "gt" / "gt.txt", 1394)
    times = {
        who: [frame for frame, people in labels.items() for p in people if p.id == who]
        for who in range(1, 7)
    }
    assert sum(map(len, times.values())) == sum(map(len, labels.values()))
    for frames in times.values():
        assert frames == list(range(frames[0], frames[-1] + 1)) and len(frames) > 100
        counted = [people[0].counted for people in (labels[frame] for frame in frames)]
        assert not counted[0] and not counted[-1] and sum(counted) > 0.9 * len(counted)
    boxes = np.array([p.box for people in labels.values() for p in people])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= (768, 432)).all()


def test_mot17_has_people_things_and_those_who_need_not_be_found(sequence):
    kinds = {1: 1, 2: 0, 3: 0, 4: 0, 7: 0, 8: 0, 9: 0, 11: 0, 12: 0, 13: 0}  # class: considered
    rows = [(2, kind, *BOX, considered, kind, 0.5) for kind, considered in kinds.items()]
    rows.append((3, 1, *BOX, 0, 1, 1))  # a pedestrian who isn't considered
    (read,) = read_mot(sequence(lines(*rows), info=info(3)))
    assert (read.name, read.rate) == ("street", 10)
    assert [p.view.key for p in read.pictures] == ["000001", "000002", "000003"]
    first, second, third = read.pictures
    assert len(first.boxes) == 0 and first.boxes.shape == (0, 4)
    assert ids(second) == [1, 2, 7, 8, 12]
    assert second.counted.tolist() == [True, False, False, False, False]
    assert second.boxes[0].tolist() == list(BOX)
    assert third.counted.tolist() == [False]
    assert abs(int(second.view.image().mean()) - 80) < 3
    assert (second.view.camera.width, second.view.camera.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("more", [(-1, -1, -1), (3.5, 7.25, 0), ()])
@pytest.mark.parametrize("considered", [1, -1])  # anything but 0
def test_mot15_has_no_classes(sequence, considered, more):
    rows = [(1, 4, *BOX, considered, *more), (1, 5, *BOX, 0, *more)]
    (read,) = read_mot(sequence(lines(*rows), info=info(3)))
    assert ids(read.pictures[0]) == [4, 5]
    assert read.pictures[0].counted.tolist() == [True, False]


def test_cvat_names_its_classes_and_may_stand_beside_the_video(sequence):
    rows = [
        (1, 1, *BOX, 1, 2, 1),
        (1, 2, *BOX, 1, 1, 1),  # a cat
        (1, 3, *BOX, 1, 1, 1, -1),  # another, with a number that nobody reads
        (3, 1, *BOX, 0, 2, 0.4),
        (3, -1, *BOX, 1, 3, 1),
        (3, -1, *BOX, 1, 4, 1),
        (3, 7, *BOX, 1, -1, 1),  # of no class
    ]
    labels = "cat\nPerson\nperson_on_vehicle\npedestrian\n"
    (read,) = read_mot(sequence(lines(*rows), labels=labels, clip="kitchen.mp4"))
    assert read.rate == 10 and len(read.pictures) == 3
    assert [p.view.key for p in read.pictures] == [0, 1, 2]
    assert ids(read.pictures[0]) == [1]
    assert ids(read.pictures[2]) == [1, -1, -1, 7]
    assert read.pictures[2].counted.tolist() == [False, False, True, True]
    travelled = pickle.loads(pickle.dumps([p.view for p in read.pictures]))  # to workers
    assert abs(int(travelled[1].image().mean()) - 80) < 4
    # In any order.
    for k in (2, 0, 1):
        assert abs(int(read.pictures[k].view.image().mean()) - 40 * (k + 1)) < 4


def test_pictures_without_numbers_are_counted_in_their_order(sequence):
    (read,) = read_mot(sequence(lines((2, 1, *BOX, 1, 1, 1)), stem="shot {}"))
    assert [p.view.key for p in read.pictures] == ["shot 1", "shot 2", "shot 3"]
    assert [len(p.ids) for p in read.pictures] == [0, 1, 0]
    assert read.rate == 30


def test_several_sequences_name_their_pictures(sequence):
    sequence("", name="b", clip="b.mp4")
    data = sequence("\n", name="a", info=info(3)).parent
    first, second = read_mot(data)
    assert (first.name, second.name) == ("a", "b")
    assert first.pictures[2].view.key == "a/000003"
    assert second.pictures[2].view.key == ClipFrame("b", 2)
    assert not any(len(p.ids) for s in (first, second) for p in s.pictures)


GOOD = (1, 1, *BOX, 1, 1, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,10,20,40,100", r"gt.txt, line 2 \(1,1,10,20,40,100\): it has 6 numbers; expected"),
        ("1,2,10,20,40,100,1,1", "it has 8 numbers"),
        ("1,2,10,20,x,100,1,1,1", "line 2 .*could not convert string to float: 'x'"),
        ("1,2,10,20,,100,1,1,1", "line 2 "),
        ("0,2,10,20,40,100,1,1,1", "frame 0; the first is 1"),
        ("4,2,10,20,40,100,1,1,1", "frame 4, but there are 3 pictures"),
        ("4,2,10,20,40,100,1,3,1", "frame 4, but there are 3 pictures"),
        ("1.5,2,10,20,40,100,1,1,1", "frame is 1.5; it must be a whole number"),
        ("1,1e30,10,20,40,100,1,1,1", "id is 1e.30"),
        ("1,2,10,20,0,100,1,1,1", "the box is 0 wide and 100 high"),
        ("1,2,10,20,40,-5,1,1,1", "the box is 40 wide and -5 high"),
        ("1,2,nan,20,40,100,1,1,1", "aren't all numbers that a picture can have"),
        ("1,2,10,20,1e308,100,1,1,1", "aren't all numbers that a picture can have"),
        ("1,2,10,20,40,100,1,0,1", "class 0; MOTChallenge's are 1 to 13, others need labels.txt"),
        ("1,2,10,20,40,100,1,14,1", "class 14; MOTChallenge's are 1 to 13, others need labels.txt"),
        ("1,2,10,20,40,100,1,nan,1", "class is nan; it must be a whole number"),
        ("1 2 10 20 40 100 1 1 1", "it has 1 numbers; .* with commas between them"),
        ("1,1,10,20,40,100,1,1,1", "frame 1 has id 1 twice"),
        ("frame id left top", "it has 1 numbers"),
    ],
)
def test_a_malformed_line_is_named(sequence, line, message):
    with pytest.raises(InputError, match=message):
        read_mot(sequence(lines(GOOD) + line + "\n", info=info(3)))


@pytest.mark.parametrize(
    ("labels", "row", "message"),
    [
        ("\n", GOOD, r"labels.txt has the classes \(none\); expected person or pedestrian"),
        ("cat\ndog\n", GOOD, "labels.txt has the classes cat, dog; expected person or pedestrian"),
        ("cat\nperson\n", (*GOOD[:7], 3, 1), r"class 3; they are counted from 1 to 2 \(labels.txt"),
    ],
)
def test_classes_that_labels_txt_lacks_are_refused(sequence, labels, row, message):
    with pytest.raises(InputError, match=message):
        read_mot(sequence(lines(row), labels=labels))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (info(5), "says seqLength 5, but there are 3 pictures"),
        (info(3, imWidth=1920), "says 1920x300 px, but the first picture is 400x300 px"),
        (info(3, frameRate=0), "seqinfo.ini is malformed .frameRate is 0"),
        (info(3, imHeight="high"), "seqinfo.ini is malformed"),
        ("name=street\n", "seqinfo.ini is malformed"),
        ("[Other]\nname=street\n", "'Sequence' is missing"),
        (info(3, imExt=".png"), "has no pictures; expected img1/000001.png"),
        (info(3, imDir="img2"), "has no pictures; expected img2/000001.jpg"),
    ],
)
def test_what_seqinfo_says_must_be_so(sequence, stated, message):
    with pytest.raises(InputError, match=message) as refused:
        read_mot(sequence(lines(GOOD), info=stated))
    assert "\n" not in str(refused.value)


def test_missing_pictures_are_told(sequence, tmp_path):
    folder = sequence(lines(GOOD))
    (folder / "img1" / "000002.jpg").unlink()
    with pytest.raises(InputError, match=r"has 000003.jpg as picture 2; .* 000002.jpg is missing"):
        read_mot(folder)
    for path in (folder / "img1").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="street has no pictures"):
        read_mot(folder)
    with pytest.raises(InputError, match="has no sequences in the MOTChallenge format"):
        read_mot(tmp_path / "nothing")


def test_of_several_videos_none_is_guessed(sequence):
    folder = sequence(lines(GOOD), clip="a.mp4")
    (folder / "b.AVI").write_bytes(b"")
    with pytest.raises(InputError, match=r"has 2 videos \(a.mp4, b.AVI\); expected the one"):
        read_mot(folder)


def test_pictures_of_another_size_are_refused_when_they_are_looked_at(sequence):
    folder = sequence(lines(GOOD))
    cv2.imwrite(str(folder / "img1" / "000003.jpg"), np.zeros((30, 40, 3), np.uint8))
    (read,) = read_mot(folder)
    with pytest.raises(InputError, match="is 40x30 px, but its labels are for 400x300 px"):
        read.pictures[2].view.image()


def names_of(sequence, stems):
    folder = sequence(lines(GOOD), pictures=0)
    for stem in stems:
        cv2.imwrite(str(folder / "img1" / f"{stem}.jpg"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("stems", "first", "second"),
    [
        ([f"shot {k}" for k in range(1, 12)], "shot 2.jpg", "shot 10.jpg"),
        (["a", "B"], "a.jpg", "B.jpg"),
    ],
)
def test_an_order_that_letters_and_numbers_see_otherwise_is_refused(sequence, stems, first, second):
    """CVAT counts by letters, people by numbers; the labels are one's or the other's."""
    with pytest.raises(InputError, match=f"by numbers {first} comes before {second}, by letters"):
        read_mot(names_of(sequence, stems))


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [((0, 1, 2), None), ((5, 10, 15), None), ((1, 2, 4, 5), (2, 4)), ((0, 5, 15), (5, 15))],
)
def test_a_picture_that_seems_to_be_missing_is_told(sequence, numbers, gap, caplog):
    (read,) = read_mot(names_of(sequence, [f"frame_{k:06d}" for k in numbers]))
    assert len(read.pictures) == len(numbers)
    told = [record.getMessage() for record in caplog.records]
    if gap is None:
        assert not told
    else:
        assert "frame_{:06d}.jpg is followed by frame_{:06d}.jpg".format(*gap) in told[0]


def test_what_macos_leaves_in_archives_is_no_picture_and_no_video(sequence):
    folder = sequence(lines(GOOD), info=info(3))
    (folder / "img1" / "._000001.jpg").write_bytes(b"\0\5")
    (read,) = read_mot(folder)
    assert [p.view.key for p in read.pictures] == ["000001", "000002", "000003"]
    film = sequence(lines(GOOD), clip="a.mp4", name="film")
    (film / "._a.mp4").write_bytes(b"\0\5")
    assert read_mot(film)[0].clip == "a.mp4"


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({}, "isn't there; expected a folder with gt/gt.txt and img1 or a video"),
        (
            {"annotations.xml": "<annotations/>"},
            "CVAT's XML isn't read; export the same .* MOT 1.1",
        ),
        ({"street/det/det.txt": ""}, "what a detector found; test sequences come without labels"),
        ({"readme.txt": ""}, "has no sequences in the MOTChallenge format; expected"),
    ],
)
def test_what_is_there_instead_of_a_sequence_is_told(tmp_path, there, message):
    folder = tmp_path / "data"
    for name, text in there.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_mot(folder)
    if "annotations.xml" in there:
        with pytest.raises(InputError, match=message):
            read_mot(folder / "annotations.xml")


@pytest.mark.parametrize("part", ["gt", "gt/gt.txt"])
def test_a_part_of_a_sequence_is_told(sequence, part):
    with pytest.raises(InputError, match="is a part of one; give the folder that has it"):
        read_mot(sequence(lines(GOOD)) / part)


def test_sequences_whose_labels_are_missing_are_told(sequence, caplog):
    data = sequence(lines((3, 1, *BOX, 1, 1, 1)), name="a").parent
    (sequence("", name="b") / "gt" / "gt.txt").unlink()
    (data / "notes").mkdir()
    assert [one.name for one in read_mot(data)] == ["a"]
    assert "data: b without gt/gt.txt; left out" in caplog.text
    caplog.clear()
    read_mot(data / "a")
    assert not caplog.records


def test_an_archive_must_be_unpacked(sequence, tmp_path):
    archive = tmp_path / "street.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(sequence(lines(GOOD)) / "gt" / "gt.txt", "gt/gt.txt")
    with pytest.raises(InputError, match="it is an archive; unpack it"):
        read_mot(archive)


@pytest.mark.parametrize(("last", "told"), [(40, True), (95, False), (None, False)])
def test_labels_that_end_long_before_the_film_are_told(sequence, caplog, last, told):
    rows = [] if last is None else [(k, 1, *BOX, 1, 1, 1) for k in range(1, last)]
    rows += [] if last is None else [(last, 9, *BOX, 0, 3, 1)]  # a car: somebody labelled this far
    read_mot(sequence(lines(*rows), pictures=100, clip="a.mp4"))
    messages = [record.getMessage() for record in caplog.records]
    assert any("labels end at picture 40 of 100" in text for text in messages) == told


def test_frames_of_a_film_have_its_own_stamps_unless_a_rate_is_stated(sequence):
    folder = sequence("", clip="a.mp4", pictures=5)
    stamps = (0.0, 0.1, 0.5, 0.6, 2.0)
    writer = VideoWriter(folder / "a.mp4", rate=10)
    for k, stamp in enumerate(stamps):
        writer.add(picture(50 * k), stamp)
    writer.close()
    (read,) = read_mot(folder)
    assert read.stamps == pytest.approx(stamps, abs=1e-3)
    assert len(read.pictures) == 5 and read.clip == "a.mp4"
    (folder / "seqinfo.ini").write_text(info(5))
    (stated,) = read_mot(folder)
    assert stated.stamps == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4))


def test_a_film_that_was_cut_off_has_the_pictures_that_can_be_read(sequence, caplog):
    film = sequence("", clip="a.mp4", pictures=2) / "a.mp4"
    film.unlink()
    film = write_video(film.with_suffix(".avi"), frames=100)
    film.write_bytes(film.read_bytes()[: int(film.stat().st_size * 0.97)])
    (read,) = read_mot(film.parent)
    assert 80 < len(read.pictures) < 100 and "damaged" in caplog.text
    assert all(picture.view.image().shape == (48, 64, 3) for picture in read.pictures)
