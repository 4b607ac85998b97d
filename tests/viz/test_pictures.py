"""Contact sheets, plots in metres, and videos."""

from dataclasses import replace

import av
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.bags.measures import BagRun
from smap_ros.evaluation.bags.plots import bag_figure
from smap_ros.evaluation.common.panel_figure import measures_figure
from smap_ros.evaluation.common.panels import Panel
from smap_ros.sources import open_source
from smap_ros.viz.colors import BACKGROUND, bgr
from smap_ros.viz.contact_sheet import Cell, FrameSampler, contact_sheet
from smap_ros.viz.draw import draw_resized
from smap_ros.viz.plot3d import plot_poses
from smap_ros.viz.video import VideoWriter


@pytest.mark.parametrize("length", [1, 39, 40, 41, 79, 80, 81, 500, 1394])
def test_any_number_of_frames_gives_about_forty_evenly_spaced(people, length):
    sampler = FrameSampler(count=40, width=16)
    image = np.zeros((9, 16, 3), np.uint8)
    for k in range(length):
        sampler.add(image, people.with_bodies(()), str(k))
    picks = [int(cell.caption) for cell in sampler.cells()]
    assert min(length, 40) >= len(picks) >= min(length, 35)
    assert picks[0] == 0
    assert picks[-1] >= 0.95 * (length - 1) - 1
    gaps = np.diff(picks)
    assert len(gaps) == 0 or gaps.max() <= 2 * gaps.min()


def test_the_sheet_is_a_grid_in_reading_order():
    cells = [Cell(np.full((18, 32, 3), 40 * k, np.uint8), "") for k in range(1, 6)]
    sheet = contact_sheet(cells, columns=3)
    assert sheet.shape == (6 + 2 * 24, 6 + 3 * 38, 3)
    for k, cell in enumerate(cells):
        y, x = 6 + k // 3 * 24 + 9, 6 + k % 3 * 38 + 16
        np.testing.assert_array_equal(sheet[y, x], cell.image[0, 0])
    np.testing.assert_array_equal(sheet[-10, -10], bgr(BACKGROUND))  # the sixth place is empty


def test_pictures_of_other_shapes_are_fitted():
    cells = [
        Cell(np.full((18, 32, 3), 200, np.uint8), ""),
        Cell(np.full((90, 20, 3), 9, np.uint8), ""),
    ]
    sheet = contact_sheet(cells, columns=2)
    assert (sheet[15, 6 + 38 + 16] == 9).all()


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least one frame"):
        contact_sheet([])


def test_the_plot_shows_people_trails_and_picture(scene, people):
    trails = {0: [people.bodies[0].root + [0, 0, 0.1 * k] for k in range(5)]}
    bare = plot_poses(people.with_bodies(()))
    full = plot_poses(people, scene.image(90), trails)
    assert bare.shape == full.shape == (1080, 1920, 3)
    assert (full != bare).any(axis=2).mean() > 0.05


@pytest.mark.parametrize(
    ("size", "width"),
    [((720, 1280), 747), ((20, 16000), 1050), ((1000, 20), 64), ((16000, 20), 5), ((9000, 1), 1)],
)
def test_the_plot_shows_pictures_of_any_shape(people, monkeypatch, size, width):
    """Their width must not follow from their shape alone: that of a panorama took gigabytes."""
    drawn = []

    def draw(*given):
        drawn.append(draw_resized(*given).shape)
        return draw_resized(*given)

    monkeypatch.setattr("smap_ros.viz.plot3d.draw_resized", draw)
    assert plot_poses(people, np.zeros((*size, 3), np.uint8)).shape == (1080, 1920, 3)
    ((height, *rest),) = drawn
    assert rest == [width, 3] and height <= 10_000


def test_a_name_with_dollars_is_no_formula(people):
    name = r"cost_$1_and_$2 pay_$\alpha{$.jpg"
    assert plot_poses(replace(people, source=name)).any()
    assert measures_figure([Panel("all", "cm", {"all": 1.0})], name, name).any()
    run = BagRun(name, name, 1.0, (), frames=[people])
    assert bag_figure(run, name).any()


@pytest.mark.parametrize("distance", [0.5, 40.0, 5000.0])
def test_the_plot_copes_with_any_distance(people, distance):
    body = people.bodies[0]
    moved = body.joints_3d + np.array([0, 0, distance], np.float32)
    assert plot_poses(people.with_bodies((replace(body, joints_3d=moved, id=None),))).any()


def test_a_video_plays_back_with_its_stamps_and_an_even_size(tmp_path):
    path = tmp_path / "out.mp4"
    writer = VideoWriter(path, rate=10)
    stamps = [5.0, 5.1, 5.3, 5.4]
    for k, stamp in enumerate(stamps):
        writer.add(np.full((33, 51, 3), 60 * k, np.uint8), stamp)
    writer.close()
    writer.close()
    frames = list(open_source(str(path)))
    assert [frame.image.shape for frame in frames] == [(32, 50, 3)] * 4
    assert [frame.stamp for frame in frames] == pytest.approx([0, 0.1, 0.3, 0.4], abs=1e-3)
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx([0, 60, 120, 180], abs=4)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_stamps_that_stand_still_or_jump_back_still_make_a_video(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4", rate=5)
    for stamp in (3.0, 3.0, 1.0):
        writer.add(np.zeros((16, 16, 3), np.uint8), stamp)
    writer.close()
    frames = list(open_source(str(tmp_path / "out.mp4")))
    assert [frame.stamp for frame in frames] == pytest.approx([0, 0.2, 0.4], abs=1e-3)


@pytest.mark.parametrize(
    ("stamps", "shown"),
    [
        ([0, 1.7e9, 1.7e9 + 0.1, 1.7e9 + 0.3], [0, 0.2, 0.3, 0.5]),  # before the clock was set
        ([1.7e9, 1.7e9 + 0.1, 0, 1.7e9 + 0.4], [0, 0.1, 0.3, 0.4]),
        ([0, 36_000, 36_000.1], [0, 0.2, 0.3]),
        ([0, 35_000, 35_000.1], [0, 35_000, 35_000.1]),
        ([0, 30_000, 60_000, 90_000, 90_000.1], [0, 30_000, 60_000, 90_000, 90_000.1]),
    ],
)
def test_a_gap_that_a_file_cant_say_spoils_none_of_the_others(tmp_path, stamps, shown):
    writer = VideoWriter(tmp_path / "out.mp4", rate=5)
    for stamp in stamps:
        writer.add(np.zeros((16, 16, 3), np.uint8), stamp)
    writer.close()
    frames = list(open_source(str(tmp_path / "out.mp4")))
    assert [frame.stamp for frame in frames] == pytest.approx(shown, abs=1e-3)


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), 1e300, -1e300])
def test_a_stamp_that_is_no_number_or_far_off_is_refused(tmp_path, stamp):
    image, writer = np.zeros((16, 16, 3), np.uint8), VideoWriter(tmp_path / "out.mp4", rate=10)
    writer.add(image, 0.0)
    with pytest.raises(InputError, match=r"can't write the video .*a frame's stamp is"):
        writer.add(image, stamp)
    writer.add(image, 0.1)
    writer.close()
    frames = list(open_source(str(tmp_path / "out.mp4")))
    assert [frame.stamp for frame in frames] == pytest.approx([0, 0.1], abs=1e-3)


def test_the_first_stamp_may_be_refused_as_well(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4")
    with pytest.raises(InputError, match="a frame's stamp is nan s"):
        writer.add(np.zeros((16, 16, 3), np.uint8), float("nan"))
    writer.close()
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("rate", "second"),
    [
        (1e-300, 1000),
        (0.001, 1000),
        (10_000, 1e-4),
        (1e300, 1e-4),
        (np.inf, 1e-4),
        (np.nan, 1 / 30),
    ],
)
def test_any_rate_makes_a_video(tmp_path, rate, second):
    writer = VideoWriter(tmp_path / "out.mp4", rate)
    for _ in range(2):
        writer.add(np.zeros((16, 16, 3), np.uint8), 0.0)
    writer.close()
    frames = list(open_source(str(tmp_path / "out.mp4")))
    assert [frame.stamp for frame in frames] == pytest.approx([0, second], rel=1e-3)


def test_frames_of_another_size_are_fitted(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4")
    writer.add(np.full((32, 64, 3), 200, np.uint8), 0.0)
    writer.add(np.full((64, 32, 3), 200, np.uint8), 0.1)
    writer.close()
    last = list(open_source(str(tmp_path / "out.mp4")))[-1].image
    assert last.shape == (32, 64, 3)
    assert last[16, 32].min() > 150 > 60 > last[16, 4].max()


def test_no_frames_leave_no_file(tmp_path):
    VideoWriter(tmp_path / "out.mp4").close()
    assert not (tmp_path / "out.mp4").exists()


def test_an_impossible_path_is_refused(tmp_path):
    with pytest.raises(InputError, match="can't write the video"):
        VideoWriter(tmp_path / "no" / "folder" / "out.mp4")
