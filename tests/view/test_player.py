"""What the page is shown of each frame of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("viser", reason="viser isn't installed: pip install 'smap-ros[view]'")

from smap_ros.bodies import BodyFrame
from smap_ros.view.floor import stated_floor
from smap_ros.view.page import Page
from smap_ros.view.player import Player
from smap_ros.view.reel import Reel, frame_times
from smap_ros.view.scene import View
from smap_ros.view.spool import Spool
from tests.view.conftest import MOUNTING


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page(port=0)
    yield page
    page.close()


def play(page: Page, monkeypatch, player: Player, numbers: list[int]) -> tuple[list[View], str]:
    """The views of some frames, and what the panel says of all of them."""
    views: list[View] = []
    said: list[str] = []
    monkeypatch.setattr(page, "show", views.append)
    monkeypatch.setattr(page, "show_status", lambda text, latency: said.append(text))
    for number in numbers:
        player._show(number)
    return views, " ".join(said)


def reel_of(frames: list[BodyFrame], **more) -> Reel:
    return Reel("walk", frames, frame_times(frames), Spool(iter(())), **more)


def two_films(frames: list[BodyFrame]) -> list[BodyFrame]:
    """The same people by two cameras, the second of which hangs a metre higher."""
    higher = []
    for frame in frames:
        bodies = [replace(body, joints_3d=body.joints_3d + np.float32([0, 1, 0])) for body in frame]
        higher.append(replace(frame, source="high.mp4", bodies=tuple(bodies)))
    return [*frames, *higher]


def test_each_film_stands_on_its_own_floor(page, monkeypatch, frames):
    both = two_films(frames)
    player = Player(page, reel_of(both))
    (low, high), _ = play(page, monkeypatch, player, [5, 25])
    for view, film in ((low, both[:20]), (high, both[20:])):
        (alone,), _ = play(page, monkeypatch, Player(page, reel_of(film)), [5])
        assert view.floor == alone.floor
    assert high.floor.mounting.height - low.floor.mounting.height == pytest.approx(1, abs=0.1)


def test_a_stated_floor_is_that_of_all_films(page, monkeypatch, frames):
    stated = stated_floor(MOUNTING)
    player = Player(page, reel_of(two_films(frames)), stated)
    views, said = play(page, monkeypatch, player, [5, 25])
    assert [view.floor for view in views] == [stated, stated]
    assert said.count("1.35 m, stated") == 2


def test_who_was_only_predicted_is_told_to_the_page(page, monkeypatch, frames):
    predicted = [(k == 7, False) for k in range(20)]
    player = Player(page, reel_of(frames, predicted=predicted))
    views, _ = play(page, monkeypatch, player, [6, 7])
    assert [tuple(view.predicted) for view in views] == [(False, False), (True, False)]
    views, _ = play(page, monkeypatch, Player(page, reel_of(frames)), [7])
    assert tuple(views[0].predicted) == ()


def test_a_speed_that_there_is_not_changes_nothing(page, frames):
    player = Player(page, reel_of(frames))
    controls = page.gui._gui_input_handle_from_uuid.values()
    speeds = next(control for control in controls if control.label == "speed")
    for words, speed in (("1/2", 0.5), ("warp", 0.5), ("4", 4.0)):
        speeds.value = words
        assert player._speed == speed


def test_the_time_is_that_in_the_film_also_after_a_gap(page, monkeypatch, frames):
    late = [replace(frame, stamp=frame.stamp + 60 * (frame.index > 9)) for frame in frames]
    _, said = play(page, monkeypatch, Player(page, reel_of(late)), [12])
    assert "61.20 s" in said
    shots = [replace(frame, stamp=0.0, source=f"{frame.index}.png") for frame in frames]
    _, said = play(page, monkeypatch, Player(page, reel_of(shots)), [12])
    assert "12.00 s" in said
