"""The page in a real browser, and the connections that it refuses."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("viser", reason="viser isn't installed: pip install 'smap-ros[view]'")

import viser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from smap_ros.bodies import Mesh
from smap_ros.errors import InputError
from smap_ros.view.floor import stated_floor
from smap_ros.view.page import CHOICES, Page
from smap_ros.view.player import Player
from smap_ros.view.reel import Reel, frame_times
from smap_ros.view.scene import View
from smap_ros.view.server import MAX_ORIGINS
from smap_ros.view.spool import Spool
from smap_ros.viz.colors import person_color
from tests.browser import PATIENCE, Browser, Tab, Visitor, colored, visitor
from tests.view.conftest import MOUNTING

FLOOR = stated_floor(MOUNTING)


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page(port=0)
    yield page
    page.close()


@contextmanager
def opened(browser: Browser, page: Page) -> Iterator[Tab]:
    """The page in a tab, once its browser has reported to the server."""
    before = len(page.clients)
    tab = browser.tab(f"http://127.0.0.1:{page.port}")
    try:
        tab.wait(lambda: len(page.clients) > before, "the browser at the server")
        yield tab
    finally:
        tab.close()


def wait_until_seen(tab: Tab, color: tuple[int, int, int], *, seen: bool = True) -> np.ndarray:
    """The first screenshot with (or without) a person of that colour."""
    image = np.zeros((1, 1, 3), np.uint8)

    def look() -> bool:
        nonlocal image
        image = tab.screenshot()
        count = colored(image, color)
        return count > 60 if seen else count < 10

    tab.wait(look, f"a person of colour {color} {'seen' if seen else 'gone'}")
    return image


@pytest.mark.slow  # WebGL in software
def test_people_are_to_be_seen_and_nothing_comes_from_elsewhere(browser, page, frames):
    page.show(View(frames[0].bodies, FLOOR, frames[0].camera))
    page.show_status("<b>all is well</b>")
    with opened(browser, page) as tab:
        tab.wait_for_text("all is well")
        for k in range(2):
            wait_until_seen(tab, person_color(k))
        here = (f"http://127.0.0.1:{page.port}", f"ws://127.0.0.1:{page.port}", "data:", "blob:")
        assert tab.requests and all(url.startswith(here) for url in tab.requests)
        page.show(View(frames[0].bodies[1:], FLOOR, frames[0].camera))
        wait_until_seen(tab, person_color(0), seen=False)


@pytest.mark.slow
def test_the_picture_and_surfaces_are_to_be_seen(browser, page, frames):
    green, violet = (40, 200, 40), person_color(4)
    camera = frames[0].camera
    corners = np.array([[-1, -1, 4], [1, -1, 4], [0, 1, 4]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 1]], np.int32)
    page.show(View((), FLOOR, camera))
    page.show_picture(np.full((360, 640, 3), green, np.uint8))
    page.show_surfaces({4: Mesh(corners, faces)})
    with opened(browser, page) as tab:
        wait_until_seen(tab, green)
        wait_until_seen(tab, violet)
        page.show_surfaces({})
        page.show_picture(None)
        wait_until_seen(tab, violet, seen=False)
        wait_until_seen(tab, green, seen=False)


@pytest.mark.slow
def test_two_browsers_see_the_same_and_one_may_leave_and_return(browser, page, frames):
    assert not page.watched
    page.show(View(frames[0].bodies, FLOOR, frames[0].camera))
    with opened(browser, page) as first:
        with opened(browser, page) as second:
            assert page.watched and len(page.clients) == 2
            wait_until_seen(second, person_color(0))
        wait_until_seen(first, person_color(0))
        first.wait(lambda: len(page.clients) == 1, "the second browser's leave")
    end = time.monotonic() + PATIENCE
    while page.watched and time.monotonic() < end:
        time.sleep(0.05)
    assert not page.watched
    # Who returns sees what is now, without that it is sent again.
    with opened(browser, page) as again:
        wait_until_seen(again, person_color(0))


@pytest.mark.slow
def test_a_browser_returns_by_itself_when_the_server_does(browser, page, frames):
    with opened(browser, page) as tab:
        page.show_status("before")
        tab.wait_for_text("before")
        port = page.port
        page.close()
        second = Page(port=port)
        try:
            second.show(View(frames[0].bodies, FLOOR, frames[0].camera))
            second.show_status("after")
            tab.wait_for_text("after")
            wait_until_seen(tab, person_color(0))
        finally:
            second.close()


@pytest.mark.slow
def test_a_recording_plays_with_a_timeline(browser, page, frames):
    spool = Spool((k, np.full((90, 160, 3), 128, np.uint8)) for k in range(20))
    reel = Reel("walk", frames, frame_times(frames), spool)
    player = Player(page, reel)
    thread = threading.Thread(target=player.run)
    thread.start()
    try:
        time.sleep(0.5)
        assert player.shown == -1, "it plays for nobody"
        with opened(browser, page) as tab:
            tab.wait_for_text("of 20")
            seen = player.shown
            tab.wait(lambda: player.shown not in (seen, -1), "the next frames")
            click(tab, "pause")
            tab.wait(lambda: player.paused, "the pause")
            player.seek(7)
            tab.wait_for_text("8 of 20")
            time.sleep(0.5)
            assert player.shown == 7
            click(tab, "play")
            tab.wait(lambda: player.shown != 7, "the play")
    finally:
        player.stop()
        thread.join(20)
        spool.close()
    assert not thread.is_alive()


def click(tab: Tab, words: str) -> None:
    """Click the button with these words."""
    script = f"[...document.querySelectorAll('button')].find(b => b.innerText == '{words}').click()"
    tab.evaluate(script)


# --- without a browser ---------------------------------------------------------------------------


def hello(page: Page, **headers: str) -> bytes | str:
    """The first that a websocket client is sent."""
    with connect(
        f"ws://127.0.0.1:{page.port}",
        subprotocols=[f"viser-v{viser.__version__}"],  # type: ignore[list-item]
        additional_headers=headers,
        max_size=None,
        proxy=None,
    ) as client:
        return client.recv(timeout=60)


def test_only_our_own_page_is_told_anything(page, frames):
    page.show(View(frames[0].bodies, FLOOR, frames[0].camera))
    assert len(hello(page)) > 1000
    assert len(hello(page, Origin=f"http://localhost:{page.port}")) > 1000
    for origin in ("https://evil.example", f"http://evil.example:{page.port}", "null"):
        with pytest.raises(ConnectionClosed) as refused:
            hello(page, Origin=origin)
        assert refused.value.rcvd is not None and refused.value.rcvd.code == 1008


def test_a_page_that_is_turned_away_is_told_of_once(page, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(ConnectionClosed):
                hello(page, Origin="https://evil.example")
    assert caplog.text.count("https://evil.example") == 1


def test_of_origins_without_end_no_more_than_some_are_told_of(page, caplog):
    with caplog.at_level(logging.WARNING):
        for k in range(3 * MAX_ORIGINS):
            page._server._tell(f"https://{k}.example")
    assert caplog.text.count(".example") == MAX_ORIGINS == len(page._server._told)
    assert caplog.text.count("still other origins") == 1


def test_the_box_of_the_picture_hides_and_shows_it_though_nothing_moves(page, frames):
    def shown(expected: bool) -> bool:
        """Whether frustum and picture come to be so."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            picture = page._picture is not None and page._picture.visible
            if picture == page._frustum.visible == expected:
                return True
            time.sleep(0.01)
        return False

    page.show(View(frames[0].bodies, FLOOR, frames[0].camera))
    page.show_picture(np.full((90, 160, 3), 9, np.uint8))
    for ticked in (False, True, False):
        page._boxes["picture"].value = ticked
        assert shown(ticked)
    # One that came while nobody wanted it.
    page.show_picture(np.full((90, 160, 3), 200, np.uint8))
    assert shown(False)
    page._boxes["picture"].value = True
    assert shown(True) and page._picture.image.mean() > 190


def test_the_box_of_the_surfaces_hides_and_shows_them_though_nothing_moves(page):
    corners = np.array([[-1, -1, 4], [1, -1, 4], [0, 1, 4]], np.float32)
    mesh = Mesh(corners, np.array([[0, 1, 2]], np.int32))
    page.show_surfaces({4: mesh})
    for ticked, meshes, shown in [
        (False, {4: mesh, 5: mesh}, []), (True, {}, [4, 5]), (False, {4: mesh}, []),
    ]:  # fmt: skip
        page._boxes["surfaces"].value = ticked
        assert sorted(page._surfaces) == shown
        page.show_surfaces(meshes)  # what came meanwhile
        assert sorted(page._surfaces) == (sorted(meshes) if ticked else [])


@pytest.fixture
def playing(page, frames) -> Iterator[Player]:
    """A recording that plays; it must do so to the end of the test."""
    player = Player(page, Reel("walk", frames, frame_times(frames), Spool(())))
    thread = threading.Thread(target=player.run)
    thread.start()
    try:
        yield player
        assert thread.is_alive()
        with visitor(page.port):
            seen = player.shown
            wait_for(lambda: player.shown != seen, "the next frame")
    finally:
        player.stop()
        thread.join(20)
        player._reel.spool.close()
    assert not thread.is_alive()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def state_of(page: Page) -> dict[str, dict[str, object]]:
    """All that viser keeps of the controls of a page, by their words."""
    controls = page.gui._gui_input_handle_from_uuid.values()
    return {
        c.label: {k: v for k, v in vars(c._impl).items() if k != "update_timestamp"}
        for c in controls
    }


def barrier(page: Page, guest: Visitor) -> None:
    """Wait until what was said has been taken: as is the box that this clicks."""
    box = page._boxes["floor"]
    ticked = not box.value
    guest.say("GuiUpdateMessage", uuid=box._impl.uuid, updates={"value": ticked})
    wait_for(lambda: box.value is ticked, "the box")


NO_VALUES: tuple[tuple[str, object], ...] = (
    ("frame", {"uuid": 5}),
    ("frame", {"gui_api": 5}),
    ("frame", {"sync_cb": 5}),
    ("frame", {"removed": True}),
    ("frame", {"value": 3, "props": 5}),
    ("frame", {"value": "3"}),
    ("frame", {"value": float("nan")}),
    ("frame", {"value": 1e300}),
    ("frame", {"value": -1}),
    ("frame", {"value": None}),
    ("frame", {}),
    ("frame", [1]),
    ("speed", {"value": "warp"}),
    ("speed", {"value": ["1"]}),
    ("play", {"value": "x" * 1000}),
    ("look", {"value": 0}),
    ("people", {"value": 0}),
)


def test_of_a_control_a_client_sets_nothing_but_a_value_that_it_can_have(page, playing):
    playing._play.value = "pause"  # or the slider moves
    uuids = {c.label: c._impl.uuid for c in page.gui._gui_input_handle_from_uuid.values()}
    with visitor(page.port) as guest:
        wait_for(lambda: playing.shown >= 0, "the first frame")
        playing.seek(3)
        wait_for(lambda: playing._slider.value == 3, "the pause")
        before = state_of(page)
        for label, updates in NO_VALUES:
            guest.say("GuiUpdateMessage", uuid=uuids[label], updates=updates)
            guest.say("GuiUpdateMessage", uuid=[uuids[label]], updates={"value": 1})
            for _ in range(2):  # the second has the box as it was
                barrier(page, guest)
            assert state_of(page) == before, (label, updates)
    playing._play.value = "play"


def test_a_file_is_no_value_of_a_control(page, playing):
    uuid = playing._slider._impl.uuid
    with visitor(page.port) as guest:
        guest.say(
            "FileTransferStartUpload", source_component_uuid=uuid, transfer_uuid="1",
            filename="a", mime_type="b", part_count=0, size_bytes=0,
        )  # fmt: skip
        barrier(page, guest)
        assert isinstance(playing._slider.value, int)


def test_what_a_browser_may_choose_is_taken(page, playing):
    with visitor(page.port) as guest:
        for words, value in [("speed", "4"), ("play", "pause"), ("frame", 7), ("shadows", True)]:
            controls = page.gui._gui_input_handle_from_uuid.values()
            control = next(c for c in controls if c.label in (words, CHOICES.get(words)))
            guest.say("GuiUpdateMessage", uuid=control._impl.uuid, updates={"value": value})
            wait_for(lambda c=control, v=value: c.value == v, words)
        wait_for(lambda: playing._speed == 4 and playing.shown == 7, "the frame")
        playing._play.value = "play"


@pytest.mark.parametrize(
    "camera",
    [
        {"position": [float("nan")] * 3},
        {"position": [1.0, 2.0]},
        {"look_at": [float("inf")] * 3},
        {"look_at": ["far"]},
    ],
)
def test_a_browser_whose_camera_is_none_ends_no_player(page, playing, camera):
    with visitor(page.port, **camera):
        wait_for(lambda: playing.shown > 1, "frames")


@pytest.mark.parametrize(("wanted", "shown"), [(-500, 0), (19, 19), (10**6, 19)])
def test_a_frame_that_there_is_not_ends_no_player(page, frames, monkeypatch, wanted, shown):
    """A client may send any number as that of its slider."""
    reel = Reel("walk", frames, frame_times(frames), Spool(()))
    player = Player(page, reel)
    monkeypatch.setattr(Page, "watched", True)
    monkeypatch.setattr(page, "show_picture", lambda image: player.stop())  # after the first
    player.seek(wanted)
    player.run()
    assert player.shown == shown
    reel.spool.close()


def test_a_taken_port_is_refused_not_evaded(page):
    with pytest.raises(InputError, match=f"127.0.0.1:{page.port}"):
        Page(port=page.port)


def test_the_port_is_free_again_after_the_end():
    page = Page(port=0)
    page.close()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", page.port))


def test_frames_of_all_sizes_follow_one_another(page, frames):
    """More people than the batches were made for, fewer, none, another camera."""
    crowd = tuple(replace(frames[0].bodies[0], id=k) for k in range(12))
    other = replace(frames[0].camera, fx=300.0)
    for bodies, camera in [
        (frames[0].bodies, frames[0].camera), (crowd, None), ((), other), (crowd[:1], other),
    ]:  # fmt: skip
        page.show(View(bodies, FLOOR, camera, [True] * len(bodies)))
        page.show_picture(np.zeros((1080, 1920, 3), np.uint8))
    page.show_picture(None)
    assert not page.watched
