"""Which pictures are shown behind recorded people, and which files are opened for them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.bodies import BodyFrame
from smap_ros.errors import InputError
from smap_ros.offline.results import ResultWriter
from smap_ros.view import reel as reels
from smap_ros.view.reel import PAUSE, frame_times, open_reel
from tests.bag_messages import body_array, camera_info, raw_image, write_bag
from tests.view.test_reel import number_of, picture, write_json, write_video

SIZE = (64, 48)


def shown(path: Path, images: Path | None = None, topic: str | None = None) -> list[int | None]:
    """The numbers of the pictures behind the frames, None where there is none."""
    with open_reel(path, images, topic) as reel:
        assert reel.spool.finish(20)
        pictures = [reel.spool.picture(k) for k in range(len(reel.frames))]
    return [None if image is None else number_of(image) for image in pictures]


def camera(topic: str, k: int, image: np.ndarray, stamp: float):
    """An image of a camera, with its calibration."""
    k_matrix = (60.0, 0, 31.5, 0, 60.0, 23.5, 0, 0, 1)
    yield f"{topic}/camera_info", camera_info(stamp, topic[1:], size=SIZE, k=k_matrix)
    yield f"{topic}/image_raw", raw_image(stamp, image, topic[1:])


# --- bags of several cameras ---------------------------------------------------------------------


@pytest.fixture
def two(tmp_path) -> Path:
    """A bag of two cameras: a shows pictures 0 to 3, b shows 10 to 13."""

    def messages():
        for k in range(4):
            for topic, first in (("/a", 0), ("/b", 10)):
                yield from camera(topic, k, picture(first + k), 100 + k)

    return write_bag(tmp_path / "two", messages())


def people_of(source: str, frames: list[BodyFrame]) -> list[BodyFrame]:
    return [replace(frame, source=source) for frame in frames[:4]]


@pytest.mark.parametrize(("topic", "first"), [("/a/image_raw", 0), ("/b/image_raw", 10)])
def test_pictures_are_of_the_camera_that_people_were_found_in(tmp_path, two, frames, topic, first):
    file = write_json(tmp_path / "out" / "bodies.json", people_of(f"two:{topic}", frames))
    assert shown(file) == [first + k for k in range(4)]
    assert shown(file, two) == [first + k for k in range(4)]


def test_a_topic_that_is_stated_is_that_of_the_images(tmp_path, two, frames):
    for source in ("two:/a/image_raw", "walk.mp4", "0.png"):
        file = write_json(tmp_path / "out" / "bodies.json", people_of(source, frames))
        assert shown(file, two, "/b/image_raw") == [10, 11, 12, 13]


@pytest.mark.parametrize(
    "source", ["rtsp://robot/stream", "take:2.mp4", "other:/front/image_raw", "/dev/video0"]
)
def test_a_stated_bag_gives_its_images_whatever_people_were_found_in(tmp_path, frames, source):
    bag = write_bag(
        tmp_path / "one", (m for k in range(4) for m in camera("/cam", k, picture(k), 100 + k))
    )
    file = write_json(tmp_path / "out" / "bodies.json", people_of(source, frames))
    assert shown(file, bag) == [0, 1, 2, 3]


def test_a_topic_is_not_stated_for_other_images(tmp_path, frames):
    file = write_json(tmp_path / "out" / "bodies.json", people_of("walk.mp4", frames))
    video = write_video(tmp_path / "walk.mp4", 4)
    for images in (None, video):
        with (
            pytest.raises(InputError, match=f"only for ROS bags; {images or file} isn't one"),
            open_reel(file, images, "/a/image_raw"),
        ):
            pass


@pytest.mark.parametrize(
    ("stamps", "numbers"),
    [([100, 100, 101, 102], [0, 0, 1, 2]), ([100, 101, 102, 103], [0, 1, 2, 3])],
)
def test_people_of_a_bag_stand_before_their_own_pictures(tmp_path, stamps, numbers):
    """Also where the first image was shown again under its stamp, or one can't be decoded."""

    def messages():
        for stamp, number in zip(stamps, numbers, strict=True):
            (info, image) = camera("/a", number, picture(number), stamp)
            if number == 1:
                image[1].encoding = "nobody's"
            yield from (info, image)
            yield "/a/bodies", body_array(stamp, "a", [(0.0, 0.0, 2.0)])

    expected = [None if number == 1 else number for number in sorted(set(numbers))]
    assert shown(write_bag(tmp_path / "bag", messages())) == expected


# --- which files are opened ----------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """What is opened for pictures, while nothing is."""
    found: list[str] = []

    def refuse(spec: str, **_: object):
        found.append(str(spec))
        raise InputError("not opened in this test")

    monkeypatch.setattr(reels, "open_source", refuse)
    return found


@pytest.mark.parametrize(
    "name",
    ["/dev/video0", "/dev/null", "0", "rtsp://robot/walk.mp4", "{there}/walk.mp4", "..", "/", ".",
     "../there/walk.mp4", "{there}/1.png", "../there/1.png", "{there}", "{there}:/a", "pipe",
     "link", "1.jpg", "http://robot/shot.png"],
)  # fmt: skip
def test_nothing_is_opened_but_what_lies_with_the_results(
    tmp_path, frames, opened, monkeypatch, name
):
    there = tmp_path / "there"
    write_video(there / "walk.mp4", 4)
    cv2.imwrite(str(there / "1.png"), picture(1))
    out = tmp_path / "results" / "out"
    file = write_json(out / "bodies.json", people_of(name.format(there=there), frames))
    cv2.imwrite(str(out / "shot.png"), picture(1))
    os.mkfifo(out / "pipe")
    for device in ("link", "video0", "1.jpg"):
        (out / device).symlink_to("/dev/null")
    monkeypatch.chdir(out)
    # A camera's node, whether this machine has one or not.
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda p: str(p) == "/dev/video0" or exists(p))
    assert shown(file) == [None] * 4
    assert not opened


def test_of_a_path_the_file_of_that_name_beside_the_results_is_taken(tmp_path, frames):
    write_video(tmp_path / "walk.mp4", 4)
    file = write_json(tmp_path / "out" / "bodies.json", people_of("/elsewhere/walk.mp4", frames))
    assert shown(file) == [0, 1, 2, 3]


def test_two_films_of_one_name_in_a_row_have_their_own_pictures(tmp_path, frames):
    write_video(tmp_path / "walk.mp4", 4)
    twice = [replace(frame, index=k, stamp=k / 10) for k, frame in enumerate(frames[:4])] * 2
    people = [replace(frame, source="walk.mp4") for frame in twice]
    assert shown(write_json(tmp_path / "bodies.json", people)) == [0, 1, 2, 3] * 2


def test_a_file_beside_the_results_is_no_camera_whatever_its_name(
    tmp_path, frames, opened, monkeypatch
):
    file = write_json(tmp_path / "bodies.json", people_of("0", frames))
    (tmp_path / "0").mkdir()
    monkeypatch.chdir(tmp_path)
    shown(file)
    shown(file, Path("0"))
    assert set(opened) == {str(tmp_path / "0")}


def test_images_are_no_device(tmp_path, frames):
    file = write_json(tmp_path / "bodies.json", people_of("walk.mp4", frames))
    with (
        pytest.raises(InputError, match="/dev/null is a device; expected a video, folder or bag"),
        open_reel(file, Path("/dev/null")),
    ):
        pass


# --- films of pictures ---------------------------------------------------------------------------


def film(frames: list[BodyFrame], count: int = 4) -> list[BodyFrame]:
    """As `smap-ros estimate FOLDER --fps 10` writes it."""
    return [replace(frames[k], source=f"{k:03d}.png", index=k, stamp=k / 10) for k in range(count)]


def test_a_film_of_pictures_has_its_times_and_trails(tmp_path, frames):
    twice = film(frames) + film(frames)
    expected = [0, 0.1, 0.2, 0.3]
    np.testing.assert_allclose(
        frame_times(twice), expected + [time + 0.3 + PAUSE for time in expected]
    )
    with open_reel(write_json(tmp_path / "bodies.json", twice)) as reel:
        assert [frame.source for frame in reel.before(3, 0.15)] == ["002.png", "003.png"]
        # Of the second film, though a trail of that length reaches into the first.
        assert len(reel.before(5, 9)) == 2


def test_pictures_that_are_no_film_stay_apart(tmp_path, frames):
    shots = [replace(frame, stamp=0.0) for frame in film(frames)]
    np.testing.assert_allclose(frame_times(shots), [k * PAUSE for k in range(4)])
    with open_reel(write_json(tmp_path / "bodies.json", shots)) as reel:
        assert len(reel.before(3, 9)) == 1


def test_a_film_of_pictures_is_played_with_what_its_run_left(tmp_path, frames):
    with ResultWriter(tmp_path / "out") as writer:
        writer.begin("folder", moving=True, rate=10)
        for frame in film(frames):
            writer.add(picture(0, (640, 360)), frame)
    with open_reel(tmp_path / "out") as reel:
        assert reel.spool.finish(20) and len(reel.spool) == 4
    folder = tmp_path / "folder"
    folder.mkdir()
    for k in range(4):
        cv2.imwrite(str(folder / f"{k:03d}.png"), picture(k))
    assert shown(tmp_path / "out", folder) == [0, 1, 2, 3]
    assert shown(tmp_path / "out", write_video(tmp_path / "made_of_it.mp4", 4)) == [0, 1, 2, 3]


def test_a_picture_that_cannot_be_read_costs_no_other(tmp_path, frames, caplog):
    file = write_json(tmp_path / "bodies.json", [replace(f, stamp=0.0) for f in film(frames)])
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k:03d}.png"), picture(k))
    (tmp_path / "001.png").write_bytes(b"no picture")
    assert shown(file) == [0, None, 2, 3]
    assert "the picture of frame 1 is not shown" in caplog.text


# --- equal names ---------------------------------------------------------------------------------


def left_by(out: Path, frames: list[BodyFrame], names: list[str], *, moving: bool) -> list[int]:
    """What a run leaves of sources with these names; the brightness of each of them."""
    values = [40, 120, 220, 80][: len(names)]
    with ResultWriter(out) as writer:
        for name, value in zip(names, values, strict=True):
            writer.begin(name, moving=moving, rate=10)
            for k, stamp in enumerate((0.0, 0.1) if moving else (0.0,)):
                frame = replace(frames[0], bodies=(), source=name, index=k, stamp=stamp)
                writer.add(np.full((360, 640, 3), value, np.uint8), frame)
    with open_reel(out) as reel:
        assert reel.spool.finish(20)
        found = [reel.spool.picture(k) for k in range(len(reel.frames))]
    seen = [-1 if image is None else round(float(np.median(image))) for image in found]
    expected = np.repeat(values, 2 if moving else 1)
    return [int(abs(a - b)) for a, b in zip(seen, expected, strict=True)]


@pytest.mark.parametrize(
    ("names", "moving"),
    [
        (["0001.png", "0001.png", "0001.jpg"], False),
        (["1.png", "1_2.png", "1.png"], False),
        (["clip.mp4", "clip.mp4", "clip.mp4"], True),
        (["walk.mp4", "clip.mp4", "clip.mkv", "clip_2.mp4"], True),
    ],
)
def test_sources_of_equal_names_have_the_pictures_that_are_theirs(tmp_path, frames, names, moving):
    assert max(left_by(tmp_path / "out", frames, names, moving=moving)) <= 4


def test_of_a_film_that_is_gone_no_other_one_is_shown(tmp_path, frames):
    left_by(tmp_path / "out", frames, ["clip.mp4", "clip.mp4"], moving=True)
    (tmp_path / "out" / "annotated.mp4").unlink()
    with open_reel(tmp_path / "out") as reel:
        assert reel.spool.finish(20)
        assert [reel.spool.picture(k) is None for k in range(4)] == [True, True, False, False]


# --- other films ---------------------------------------------------------------------------------


def test_an_upright_film_of_that_name_is_not_shown_behind_a_wide_cameras_people(
    tmp_path, frames, caplog
):
    folder = tmp_path / "walk.mp4"
    folder.mkdir()
    for k in range(4):
        cv2.imwrite(str(folder / f"{k:03d}.png"), picture(k, (36, 64)))
    file = write_json(tmp_path / "bodies.json", people_of("walk.mp4", frames))
    assert shown(file) == [None] * 4 and shown(file, folder) == [None] * 4
    assert "they are 36x64, the camera's are 640x360" in caplog.text
    assert caplog.text.count("--images") == 2


@pytest.mark.parametrize("upright", [0, 2])
def test_of_pictures_of_several_shapes_in_a_film_those_that_fit_are_shown(
    tmp_path, frames, caplog, upright
):
    """A run's annotated film has one shape, whatever pictures people were found in."""
    members = people_of("walk.mp4", frames)
    turned = replace(members[upright].camera, width=360, height=640)
    members[upright] = replace(members[upright], camera=turned)
    folder = tmp_path / "walk.mp4"
    folder.mkdir()
    for k in range(4):
        cv2.imwrite(str(folder / f"{k:03d}.png"), picture(k, (64, 36)))
    file = write_json(tmp_path / "bodies.json", members)
    assert shown(file) == [None if k == upright else k for k in range(4)]
    assert caplog.text.count("are not shown") == 1


def test_an_upright_picture_of_that_name_is_not_shown_either(tmp_path, frames, caplog):
    file = write_json(tmp_path / "bodies.json", [replace(f, stamp=0.0) for f in film(frames)])
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k:03d}.png"), picture(k, (36, 64) if k == 1 else (64, 36)))
    assert shown(file) == [0, None, 2, 3]
    assert "001.png are not shown" in caplog.text


def test_instead_of_another_film_what_the_run_left_is_shown(tmp_path, frames):
    out = tmp_path / "out"
    left_by(out, frames, ["clip.mp4"], moving=True)
    (out / "clip.mp4").mkdir()
    for k in range(2):
        cv2.imwrite(str(out / "clip.mp4" / f"{k}.png"), picture(k, (36, 64)))
    with open_reel(out) as reel:
        assert reel.spool.finish(20) and len(reel.spool) == 2
        assert reel.spool.picture(0).shape == (360, 640, 3)
