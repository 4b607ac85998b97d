"""What is written: numbers, plots, and the gallery of the worst."""

import io
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rich.console import Console

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.gallery import FOUND, TRUE, Case, gallery, take_turns
from smap_ros.evaluation.common.report import Origin, claim_folder, label, plain, write_report
from smap_ros.evaluation.pck2d import report as pck2d_report
from smap_ros.evaluation.pck2d.measures import evaluate as evaluate_photos
from smap_ros.evaluation.pck2d.report import Pck2dReport
from smap_ros.evaluation.pck2d.truth import read_lspet
from smap_ros.evaluation.virtual import report as virtual_report
from smap_ros.evaluation.virtual.measures import compare_scene
from smap_ros.evaluation.virtual.report import VirtualReport
from smap_ros.viz.colors import BACKGROUND, bgr
from tests.evaluation.conftest import CAMERA, UPRIGHT, label_of, person_at, scene_of

ORIGIN = Origin("virtual", "smap-ros evaluate", "here", "there", "1")


@pytest.fixture
def outcome():
    """Somebody found too far and too low, somebody missed, and a ghost."""
    seen, unseen = person_at(-1.5, 4), person_at(1.5, 4)
    found = replace(seen, joints_3d=seen.joints_3d * np.float32(1.1))
    scene = scene_of(label_of(seen), label_of(unseen, id=1), key="000007", index=7)
    return compare_scene(scene, [found, person_at(0, 6)])


def case(name: str, **changes) -> Case:
    person = person_at(0, 4)
    fields = {"caption": name, "index": 0, "read": lambda: None, "true": person, "found": person}
    return Case(**{**fields, **changes})


@pytest.mark.parametrize(
    ("kinds", "count", "taken"),
    [
        (["abc", "xyz"], 4, "abxy"),
        (["a", "xyz"], 4, "axyz"),
        (["abc", "xyz"], 3, "abx"),
        (["", "xy"], 5, "xy"),
        ([], 5, ""),
    ],
)
def test_kinds_of_cases_take_turns(kinds, count, taken):
    chosen = take_turns([[case(name) for name in kind] for kind in kinds], count)
    assert "".join(c.caption for c in chosen) == taken


def test_nobody_is_shown_twice():
    people = [person_at(x, 4) for x in range(3)]
    poses = [case(f"pose {k}", true=people[k]) for k in (0, 1, 2)]
    shared = [replace(c, caption=c.caption.replace("pose", "depth")) for c in poses]
    chosen = [c.caption for c in take_turns([poses, shared], 4)]
    assert chosen == ["pose 0", "pose 2", "depth 1"]


def painted(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Pixels of a hue, bool [H, W]."""
    hue = cv2.cvtColor(np.uint8([[bgr(color)]]), cv2.COLOR_BGR2HSV)[0, 0, 0]
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int)
    return (abs(hsv[..., 0] - int(hue)) < 6) & (hsv[..., 1] > 80) & (hsv[..., 2] > 80)


@pytest.mark.parametrize("size", [(40, 30), (400, 300), (2000, 1500)])
def test_the_people_are_drawn_where_the_picture_shows_them(size):
    # The true neck lies on a white dot of a picture of any size.
    camera = CAMERA.resized(*size)
    person = person_at(0.3, 3)
    pixels = camera.project(person.joints_3d).astype(np.float32)
    person = replace(person, joints_2d=pixels)
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    u, v = np.rint(pixels[0]).astype(int)
    dot = max(1, size[0] // 80)
    image[v - dot : v + dot + 1, u - dot : u + dot + 1] = 255
    bare = gallery([case("", read=lambda: image, true=person, found=None)], "")
    dots = np.argwhere((bare[50:] == 255).all(axis=2)).mean(axis=0)
    green = painted(bare[50:], TRUE)
    assert green.sum() > 100
    y, x = np.rint(dots).astype(int)
    assert green[y - 12 : y + 13, x - 12 : x + 13].any()
    assert not painted(bare[50:], FOUND).any()


def test_true_and_predicted_people_have_their_colours():
    picture = np.full((300, 400, 3), 90, np.uint8)
    cases = [
        case("both", read=lambda: picture, found=person_at(0.5, 4)),
        case("missed", read=lambda: picture, found=None),
        case("ghost", read=lambda: picture, true=None),
    ]
    sheet = gallery(cases, "three")[44:]
    width = sheet.shape[1] // 3
    cells = [sheet[:, k * width : (k + 1) * width] for k in range(3)]
    shown = [[bool(painted(cell, ink).sum() > 100) for ink in (TRUE, FOUND)] for cell in cells]
    assert shown == [[True, True], [True, False], [False, True]]


def test_beyond_a_small_picture_is_background():
    person = replace(person_at(0, 4), joints_2d=np.full((15, 2), 10, np.float32))
    sheet = gallery([case("", read=lambda: np.full((20, 20, 3), 90, np.uint8), true=person)], "")
    np.testing.assert_array_equal(sheet[60, 12], bgr(BACKGROUND))


def test_pictures_are_read_in_the_order_of_their_set():
    order = []

    def read(index):
        order.append(index)
        return np.full((300, 400, 3), 90, np.uint8)

    gallery([case("", index=k, read=lambda k=k: read(k)) for k in (5, 2, 9)], "")
    assert order == [2, 5, 9]


def test_the_virtual_report_says_what_was_measured(outcome):
    screen = Console(width=160, record=True, file=io.StringIO())
    for table in VirtualReport(outcome).tables():
        screen.print(table)
    text = screen.export_text()
    for words in ("2, 1 found, 1 ghosts", "50.0 / 50.0 %", "10.0 %", "by distance", "r_ankle"):
        assert words in text
    numbers = VirtualReport(outcome).numbers()
    assert numbers["summary"]["recall_percent"] == 50
    assert [person["found"] for person in numbers["people"]] == [True, False]
    assert numbers["people"][0]["root_depth_percent"] == pytest.approx(10, rel=1e-4)


def test_the_worst_are_told_by_kind(outcome):
    captions = [c.caption for c in virtual_report.worst(outcome)]
    assert captions[0].startswith("000007  pose ")
    assert captions[1:] == [
        "000007  missed at 4.3 m, 0% hidden",
        "000007  matches nobody, score 0.90",
    ]


def test_a_report_is_numbers_plots_and_gallery(outcome, tmp_path):
    claim_folder(tmp_path / "out")
    files = write_report(VirtualReport(outcome), ORIGIN, tmp_path / "out")
    assert files == ["report.json", "plots.png", "gallery.png"]
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["command"] == "smap-ros evaluate"
    assert data["by_group"]["distance"]["below 2 m"]["mpjpe_mm"] is None
    assert cv2.imread(str(tmp_path / "out" / "plots.png")).shape == (1200, 1920, 3)
    sheet = cv2.imread(str(tmp_path / "out" / "gallery.png"))
    assert painted(sheet, TRUE).sum() > 500
    assert painted(sheet, FOUND).sum() > 500


def test_without_anything_wrong_an_old_gallery_goes(outcome, tmp_path):
    empty = compare_scene(scene_of(), [])
    write_report(VirtualReport(outcome), ORIGIN, tmp_path)
    assert write_report(VirtualReport(empty), ORIGIN, tmp_path) == ["report.json", "plots.png"]
    assert not (tmp_path / "gallery.png").exists()


@pytest.fixture
def plain_figure(monkeypatch):
    """No figure to wait for."""
    monkeypatch.setattr(VirtualReport, "plots", lambda _: np.zeros((8, 8, 3), np.uint8))


@pytest.mark.usefixtures("plain_figure")
def test_pictures_that_are_not_at_hand_cost_the_gallery_alone(outcome, tmp_path, caplog):
    (tmp_path / "gallery.png").write_bytes(b"an earlier report's")

    def missing():
        raise InputError("can't read images/7.jpg")

    people = [replace(p, scene=replace(p.scene, read=missing)) for p in outcome.people]
    elsewhere = VirtualReport(replace(outcome, people=tuple(people)))
    assert write_report(elsewhere, ORIGIN, tmp_path) == ["report.json", "plots.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "plots.png"}
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("gallery.png, ") and told.endswith("left out: can't read images/7.jpg")


@pytest.mark.usefixtures("plain_figure")
@pytest.mark.parametrize(
    ("part", "error"), [("plots", InputError), ("gallery", KeyError), ("numbers", InputError)]
)
def test_other_errors_are_no_missing_pictures(outcome, tmp_path, monkeypatch, part, error):
    def fails(_):
        raise error("here")

    monkeypatch.setattr(VirtualReport, part, fails)
    with pytest.raises(error, match="here"):
        write_report(VirtualReport(outcome), ORIGIN, tmp_path)


@pytest.mark.usefixtures("plain_figure")
def test_a_gallery_that_cannot_be_written_is_an_error(outcome, tmp_path):
    (tmp_path / "gallery.png.part").mkdir()
    with pytest.raises(InputError, match="can't write"):
        write_report(VirtualReport(outcome), ORIGIN, tmp_path)


def test_the_pck2d_report(lspet, tmp_path):
    photos = read_lspet(lspet([UPRIGHT] * 3))
    person = person_at(0, 4)
    exact = replace(person, joints_2d=photos[0].joints_2d)
    off = replace(person, joints_2d=photos[0].joints_2d + np.float32([30, 0]))

    class Given:
        description = "given"

        def of(self, picture):
            people = {"00000": [exact], "00001": [off], "00002": []}[picture.key]
            return BodyFrame(tuple(people), picture.camera)

        def close(self):
            """Nothing is held."""

    outcome = evaluate_photos(Given(), photos)
    report = Pck2dReport(outcome)
    assert write_report(report, ORIGIN, tmp_path)[-1] == "gallery.png"
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["pck_percent"] == pytest.approx(100 / 3, abs=1e-4)
    assert data["nobody_found"] == 1
    assert [row["right"] for row in data["photos"]] == [14, 0, 0]
    assert data["curves_percent"]["all"][data["thresholds"].index(0.5)] == pytest.approx(
        100 / 3, abs=1e-4
    )
    captions = [c.caption for c in pck2d_report.worst(outcome)]
    assert captions == ["00001  0 of 14 right, median 0.50 torsos", "00002  nobody found"]
    assert cv2.imread(str(tmp_path / "plots.png")).shape == (900, 1920, 3)


def test_plain_data_has_no_nan_and_no_numpy():
    data = {"a": math.nan, "b": np.float32(1.5), "c": [np.int64(3), math.inf], "d": None, 2: True}
    assert plain(data) == {"a": None, "b": 1.5, "c": [3, None], "d": None, "2": True}
    assert json.loads(json.dumps(plain({"x": (1, "y")}))) == {"x": [1, "y"]}


def test_folders_that_cannot_be_made_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write to the report folder"):
        claim_folder(tmp_path / "file")


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [(0, 2, "m", "below 2 m"), (2, 4, "m", "2-4 m"), (8, math.inf, "m", "8 m or more")],
)
def test_groups_are_named_by_their_limits(low, high, unit, text):
    assert label(low, high, unit) == text
