"""Views of photos: their joints stay on the person, and what is found is counted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.views.making import VIEWS, View, upright, views_of
from smap_ros.evaluation.views.measures import Tally, evaluate, left_out
from smap_ros.evaluation.views.report import report
from smap_ros.evaluation.views.truth import from_blaze, read_labelled
from smap_ros.skeletons import MPI15
from tests.evaluation.conftest import UPRIGHT, jpeg

# Somebody standing in a photo of 240 x 400, facing the camera; on integer pixels.
STANDING = np.array(
    [
        *[(120, 90), (120, 50), (120, 190)],
        *[(150, 90), (160, 140), (165, 185), (135, 190), (138, 260), (140, 340)],
        *[(90, 90), (80, 140), (75, 185), (105, 190), (102, 260), (100, 340)],
    ],
    np.float32,
)
INDEX = MPI15.index


def dotted() -> np.ndarray:
    """A photo with a disc in a colour of its own at each joint."""
    photo = np.full((400, 240, 3), 60, np.uint8)
    for k, (x, y) in enumerate(STANDING.astype(int)):
        cv2.circle(photo, (int(x), int(y)), 5, colour(k), -1)
    return photo


def colour(joint: int) -> tuple[int, int, int]:
    return (255 if joint & 1 else 100, 255 if joint & 2 else 100, 80 + 12 * joint)


@pytest.fixture(scope="module")
def views() -> dict[str, View]:
    return views_of("somebody", dotted(), STANDING)


@pytest.mark.parametrize("name", [name for name in VIEWS if "px" not in name and name != "dark"])
def test_joints_stay_on_the_person(views: dict[str, View], name: str) -> None:
    view = views[name]
    assert view.inside.any()
    for k in np.flatnonzero(view.inside):
        x, y = np.round(view.joints_2d[k]).astype(int)
        if name == "smeared":  # the disc is wider than the streak is long
            continue
        height, width = view.pixels.shape[:2]
        if 2 < x < width - 3 and 2 < y < height - 3:
            assert np.abs(view.pixels[y, x].astype(int) - colour(k)).max() < 40, MPI15.joints[k]


@pytest.mark.parametrize("name", VIEWS)
def test_a_joint_that_the_photo_does_not_show_is_in_no_view_of_it(name: str) -> None:
    """What a view has around the photo, a grey or its edges going on, shows nobody's feet."""
    cut_at_knees = views_of("somebody", dotted()[:300], STANDING)[name]
    ankles = [INDEX("l_ankle"), INDEX("r_ankle")]
    assert not cut_at_knees.inside[ankles].any() and cut_at_knees.inside.any()


def test_each_cut_shows_what_it_is_called(views: dict[str, View]) -> None:
    def shown(name: str) -> set[str]:
        return {MPI15.joints[k] for k in np.flatnonzero(views[name].inside)}

    head = {"head_top", "neck", "l_shoulder", "r_shoulder"}
    legs = {f"{s}_{j}" for s in "lr" for j in ("hip", "knee", "ankle")}
    assert shown("head and shoulders") == head
    assert head < shown("chest") and "pelvis" not in shown("chest")
    assert {"pelvis", "l_hip"} < shown("waist") and "l_knee" not in shown("waist")
    assert legs < shown("legs") and "neck" not in shown("legs")
    assert len(shown("whole")) == len(shown("turned by 45 degrees")) == 15


@pytest.mark.parametrize("tall", [60, 80, 120])
def test_small_people_are_as_tall_as_said(views: dict[str, View], tall: int) -> None:
    view = views[f"{tall} px tall"]
    assert view.pixels.shape == (720, 1280, 3)
    assert np.ptp(view.joints_2d[:, 1]) == pytest.approx(tall)
    ankle = np.round(view.joints_2d[INDEX("l_ankle")]).astype(int)
    assert np.abs(view.pixels[ankle[1], ankle[0]].astype(int) - 60).max() > 20  # a disc


def test_dark_is_dark_and_turned_is_turned(views: dict[str, View]) -> None:
    assert views["dark"].pixels.mean() < 0.2 * views["whole"].pixels.mean()
    torso = views["turned by 90 degrees"].joints_2d
    along = torso[INDEX("pelvis")] - torso[INDEX("neck")]
    assert abs(along[1]) < 1e-6 and abs(along[0]) == pytest.approx(100)
    upside = views["turned by 180 degrees"].joints_2d
    assert upside[INDEX("neck"), 1] > upside[INDEX("pelvis"), 1]


@pytest.mark.parametrize("name", ["head and shoulders", "chest", "waist", "legs"])
def test_a_view_that_is_empty_is_left_out(name: str) -> None:
    below = views_of("somebody", dotted(), STANDING + (0, 600))
    assert upright(STANDING + (0, 600)) and name not in below
    assert {"whole", "dark", "60 px tall"} < set(below)
    assert all(view.pixels.size and view.camera for view in below.values())


def test_photos_of_few_columns_and_huge_labels_do_no_harm() -> None:
    assert "waist" in views_of("somebody", dotted()[:, :5], STANDING)
    assert "60 px tall" not in views_of("somebody", dotted(), STANDING * 1e3)


def test_a_photo_labelled_below_its_picture_does_not_end_the_rest(tmp_path: Path) -> None:
    good, bad = read_labelled(archive(tmp_path))
    photos = [type(bad)(bad.name, bad.joints_2d + np.float32([0, 600]), bad.files), good]
    tallies = evaluate(Perfect(), photos)
    assert set(tallies) == set(VIEWS) and tallies["legs"].people == 1


@pytest.mark.parametrize("missing", ["neck", "head_top", "l_ankle", "r_ankle", "pelvis"])
def test_only_people_who_stand_and_are_labelled_are_used(missing: str) -> None:
    assert upright(STANDING)
    assert not upright(STANDING[:, ::-1]) and not upright(STANDING * (1, -1))
    unknown = STANDING.copy()
    unknown[INDEX(missing)] = np.nan
    assert not upright(unknown)


def found(view: View, shift: float = 0.0, missing: tuple[int, ...] = ()) -> Body:
    pixels = (view.joints_2d + (shift, 0)).astype(np.float32)
    scores = np.full(15, 0.8, np.float32)
    scores[list(missing)] = 0
    pixels[list(missing)] = np.nan
    joints = np.concatenate([pixels / 100, np.full((15, 1), 3.0, np.float32)], axis=1)
    return Body(joints, pixels, scores, 0.8)


def test_a_person_counts_as_found_when_their_joints_are_near(views: dict[str, View]) -> None:
    view, tally = views["whole"], Tally()
    for bodies in ([found(view)], [found(view, 70.0)], [], [found(view, 8.0), found(view, 150.0)]):
        tally.add(view, bodies, torso=100.0)
    assert (tally.people, tally.found, tally.others) == (4, 2, 2)
    assert tally.recall_percent == 50
    assert tally.right == 2 * 14 and tally.joints == 4 * 14
    assert tally.measured_outside == 0


def test_joints_out_of_the_picture_that_are_said_to_be_seen_are_counted(views) -> None:
    view, tally = views["chest"], Tally()
    outside = tuple(np.flatnonzero(~view.inside).tolist())
    tally.add(view, [found(view, missing=outside)], torso=100.0)
    assert tally.measured_outside == 0 and tally.found == 1
    tally.add(view, [found(view)], torso=100.0)
    assert tally.measured_outside == len(outside)


def test_of_somebody_who_is_not_the_person_no_joints_are_counted_as_seen_outside(views) -> None:
    view, tally = views["whole"], Tally()
    tally.add(view, [found(view, 230.0)], torso=100.0)  # a bystander half out of the picture
    assert (tally.found, tally.others, tally.measured_outside) == (0, 1, 0)


class Perfect:
    """Finds everybody in every view but those that are turned."""

    description = "perfect"

    def of(self, view: View) -> BodyFrame:
        bodies = () if "turned" in view.key else (found(view),)
        return BodyFrame(bodies, view.camera)

    def close(self) -> None:
        """Nothing is held."""


def archive(folder: Path) -> Path:
    """Landmarks of two photos beside the zip file that has them."""
    photo = cv2.imencode(".png", dotted())[1].tobytes()
    with zipfile.ZipFile(folder / "people.zip", "w") as files:
        for name in ("a.png", "b.png"):
            files.writestr(f"people/{name}", photo)
    (folder / "other.zip").write_bytes(b"no zip file")
    landmarks = np.zeros((2, 33, 3), np.float32)
    for k, name in {11: "l_shoulder", 12: "r_shoulder", 13: "l_elbow", 14: "r_elbow",
                    15: "l_wrist", 16: "r_wrist", 23: "l_hip", 24: "r_hip", 25: "l_knee",
                    26: "r_knee", 27: "l_ankle", 28: "r_ankle"}.items():  # fmt: skip
        landmarks[:, k] = (*STANDING[INDEX(name)], 0.9)
    landmarks[:, [7, 8]] = (120, 65, 0.9)
    landmarks[:, 0] = (120, 65, 0.9)
    np.savez(folder / "labels.npz", names=["a.png", "b.png"], landmarks=landmarks)
    return folder / "labels.npz"


def test_landmarks_and_their_photos_become_a_report(tmp_path: Path) -> None:
    photos = read_labelled(archive(tmp_path))
    assert [photo.name for photo in photos] == ["people/a.png", "people/b.png"]
    np.testing.assert_allclose(photos[0].joints_2d[3:], STANDING[3:])
    np.testing.assert_allclose(photos[0].joints_2d[INDEX("head_top")], (120, 50))
    tallies = evaluate(Perfect(), photos)
    assert set(tallies) == set(VIEWS)
    outcome = report(tallies)
    numbers = outcome.numbers()["views"]
    assert numbers["head and shoulders"]["recall_percent"] == 100
    assert numbers["turned by 90 degrees"]["recall_percent"] == 0
    json.dumps(outcome.numbers())
    assert outcome.summary["photos"] == "2" and len(outcome.tables()) == 2


def test_photos_that_no_views_are_made_of_are_told(tmp_path: Path) -> None:
    standing, other = read_labelled(archive(tmp_path))
    lying = type(other)(other.name, other.joints_2d[:, ::-1].copy(), other.files)
    headless = type(other)(other.name, other.joints_2d.copy(), other.files)
    headless.joints_2d[INDEX("head_top")] = np.nan
    photos = [standing, lying, headless]
    assert (left_out([standing]), left_out(photos)) == (0, 2)
    outcome = report(evaluate(Perfect(), photos), left_out(photos))
    why = "left out, nobody upright and labelled from head to ankles"
    assert (outcome.summary[why], outcome.summary["photos"]) == ("2", "1")
    assert outcome.numbers()["images_not_upright"] == 2


def test_people_of_each_view_and_photos_of_too_few_joints_are_told(tmp_path: Path) -> None:
    good, bad = read_labelled(archive(tmp_path))
    # Two shoulders are in the photo, all else is labelled above it; nothing of it is in its cuts.
    above = type(bad)(bad.name, bad.joints_2d - np.float32([0, 1000]), bad.files)
    above.joints_2d[[INDEX("l_ankle"), INDEX("r_ankle")]] += np.float32([0, 1000])
    outcome = report(evaluate(Perfect(), [good, above]))
    assert outcome.summary["photos"] == "1"
    assert outcome.summary["left out, fewer than 3 labelled joints in the photo"] == "1"
    numbers = outcome.numbers()
    assert (numbers["images"], numbers["images_with_too_few_joints"]) == (1, 1)
    whole = numbers["views"]["whole"]
    assert (whole["people"], whole["people_with_too_few_joints"]) == (1, 1)
    (table,) = outcome.details
    columns = dict(zip(table.columns[1:], table.rows["whole"], strict=True))
    assert (columns["people"], columns["too few joints"]) == ("1", "1")


def test_the_report_has_all_numbers_of_its_table(tmp_path: Path) -> None:
    outcome = report(evaluate(Perfect(), read_labelled(archive(tmp_path))))
    numbers = outcome.numbers()
    turned = sum("turned" in name for name in VIEWS)
    assert numbers["images"] == 2
    assert numbers["recall_percent"] == pytest.approx(100 * (1 - turned / len(VIEWS)))
    assert numbers["pck_percent"] == pytest.approx(100 * (1 - turned / len(VIEWS)))


def test_a_photo_of_another_size_than_its_labels_is_refused(
    lspet: Callable[..., Path], tmp_path: Path
) -> None:
    (photo,) = read_labelled(lspet([UPRIGHT]))
    assert photo.image().shape == (200, 120, 3)
    folder = tmp_path / "small"
    with zipfile.ZipFile(tmp_path / "lspet.zip") as files:
        files.extractall(folder)
    (folder / "images" / "00000.jpg").write_bytes(jpeg(60, 100))
    message = "images/00000.jpg is 60x100 px, but its labels say 120x200 px; copy"
    with pytest.raises(InputError, match=message):
        evaluate(Perfect(), read_labelled(folder))


def test_photos_with_too_few_labels_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = archive(tmp_path)
    with np.load(labels) as stored:
        names, landmarks = stored["names"], stored["landmarks"]
    landmarks[1, :, 2] = 0.4
    np.savez(labels, names=names, landmarks=landmarks)
    caplog.set_level("INFO", logger="smap_ros")  # whatever a command in this process has set
    assert [photo.name for photo in read_labelled(labels)] == ["people/a.png"]
    assert caplog.messages == [
        f"left out: 1 of 2 photos of {labels}: fewer than 9 joints are labelled"
    ]


def test_unseen_landmarks_are_unknown() -> None:
    points = np.ones((33, 2), np.float32)
    visibility = np.ones(33, np.float32)
    visibility[11] = 0.4
    joints = from_blaze(points, visibility)
    missing = {MPI15.joints[k] for k in np.flatnonzero(np.isnan(joints[:, 0]))}
    assert missing == {"l_shoulder", "neck", "head_top"}


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    labels = archive(tmp_path)
    (tmp_path / "people.zip").unlink()
    with pytest.raises(InputError, match=r"no zip file in .* has the 2 labelled photos"):
        read_labelled(labels)
    labels.write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="can't read the labels"):
        read_labelled(labels)
    with pytest.raises(InputError, match="can't open"):
        read_labelled(tmp_path / "absent.zip")


@pytest.mark.parametrize(
    ("names", "visibility", "message"),
    [
        ([], 0.9, "labels nobody well enough: of 0 photos"),
        (["a.png"], 0.4, "labels nobody well enough: of 1 photos"),
        (["a.png", "a.png"], 0.9, "two photos are called a"),
    ],
)
def test_labels_of_nobody_and_of_one_photo_twice_are_refused(
    tmp_path: Path, names: list[str], visibility: float, message: str
) -> None:
    labels = archive(tmp_path)
    landmarks = np.full((len(names), 33, 3), visibility, np.float32)
    np.savez(labels, names=np.array(names, str), landmarks=landmarks)
    with pytest.raises(InputError, match=message):
        read_labelled(labels)


def test_nobody_upright_is_an_error(tmp_path: Path) -> None:
    photos = read_labelled(archive(tmp_path))
    lying = [type(p)(p.name, p.joints_2d[:, ::-1].copy(), p.files) for p in photos]
    with pytest.raises(InputError, match="nobody in them"):
        evaluate(Perfect(), lying)
