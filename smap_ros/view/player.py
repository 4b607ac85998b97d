"""Plays a recording in the page, with a timeline."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

import viser

from smap_ros.bodies import BodyFrame
from smap_ros.view.floor import Floor, guess_floor, stated_floor
from smap_ros.view.page import Page
from smap_ros.view.reel import Reel, Take
from smap_ros.view.scene import View, trails
from smap_ros.view.vitals import latency, panel

TRAIL = 3.0  # seconds
POLL = 0.25  # seconds between two looks whether somebody is there
SPEEDS = {"1/4": 0.25, "1/2": 0.5, "1": 1.0, "2": 2.0, "4": 4.0}
# Bodies that tell where the floor is; more take time and tell no more.
_FLOOR_FRAMES = 500


class Player:
    """Shows the frames of a recording in their time, over and over, while a browser is there.

    Args:
        page: where.
        reel: what.
        floor: where people stand, if stated; None takes it from the camera where that knows, or
            guesses it, of each film from all its frames.
    """

    _slider: viser.GuiSliderHandle[int]

    def __init__(self, page: Page, reel: Reel, floor: Floor | None = None) -> None:
        self._page, self._reel = page, reel
        self._stated = floor
        self._floors = {} if floor is not None else _floors(reel)
        self._changed = threading.Condition()
        self._wanted: int | None = 0  # a frame to show now, playing or not
        self._stopping = False
        self._moving = False  # whether it is we who move the slider
        self._picture_shown = False
        self.shown = -1  # number of the frame that is shown
        self._make_controls(page.gui)

    def run(self) -> None:
        """Play until stopped."""
        while not self._stopping:
            if not self._page.watched:
                self._pause(POLL)
            elif self._wanted is not None:
                number, self._wanted = self._wanted, None
                self._show(number)
            elif not self.paused:
                self._advance()
            else:
                # A picture that wasn't read yet when its frame was shown.
                if not self._picture_shown:
                    self._show_picture(self.shown)
                self._pause(POLL)

    def stop(self) -> None:
        """Make :meth:`run` return; from any thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def seek(self, number: int) -> None:
        """Show a frame, of those that there are the nearest; from any thread."""
        with self._changed:
            self._wanted = min(max(number, 0), len(self._reel.frames) - 1)
            self._changed.notify_all()

    @property
    def paused(self) -> bool:
        """Whether somebody has stopped the time."""
        return self._play.value == "pause"

    def _advance(self) -> None:
        """Wait for the next frame's turn and show it; the first after the last."""
        times, started = self._reel.times, time.monotonic()
        last = len(times) - 1
        here = max(self.shown, 0)
        wait = (times[here + 1] - times[here] if here < last else 1.0) / self._speed
        if self._pause(max(0.0, float(wait) - self._took)) or self.paused:
            return
        # On a machine that is too slow, frames are left out: time goes on as recorded.
        passed = (time.monotonic() - started + self._took) * self._speed
        number = here + 1
        while number < last and times[number + 1] - times[here] <= passed:
            number += 1
        self._show(number if here < last else 0)

    def _show(self, number: int) -> None:
        started = time.monotonic()
        reel = self._reel
        frame = reel.frames[number]
        ways = trails(reel.before(number, TRAIL))
        floor, predicted = self._floor(number), reel.predicted_at(number)
        self._page.show(View(frame.bodies, floor, frame.camera, predicted, ways))
        self._show_picture(number)
        self.shown = number
        self._moving = True
        self._slider.value = number  # type: ignore[misc]  # mypy misses the setter
        self._moving = False
        vitals = reel.vitals_at(number)
        self._page.show_status(panel(vitals, self._facts(frame, number)), latency(vitals))
        self._took = time.monotonic() - started

    def _show_picture(self, number: int) -> None:
        image = self._reel.spool.picture(number)
        self._picture_shown = image is not None
        self._page.show_picture(image)

    def _floor(self, number: int) -> Floor:
        """Where the people of a frame stand."""
        return self._stated or self._floors[self._reel.takes[number]]

    def _facts(self, frame: BodyFrame, number: int) -> dict[str, str]:
        floor = self._floor(number)
        return {
            "recording": self._reel.name,
            "frame": f"{number + 1} of {len(self._reel.frames)}",
            "time": f"{self._reel.time_at(number):.2f} s",
            "people": str(len(frame)),
            "camera height": f"{floor.mounting.height:.2f} m, {floor.known.value}",
        }

    def _make_controls(self, gui: viser.GuiApi) -> None:
        self._took = 0.0
        self._speed = 1.0
        last = len(self._reel.frames) - 1
        self._slider = gui.add_slider(
            "frame", min=0, max=max(last, 1), step=1, initial_value=0, disabled=last == 0
        )
        self._play = gui.add_button_group("play", ("play", "pause"))
        speeds = gui.add_dropdown("speed", tuple(SPEEDS), initial_value="1")

        @self._slider.on_update
        def _(event: viser.GuiEvent[viser.GuiSliderHandle[int]]) -> None:
            if not self._moving and event.client is not None:
                self.seek(int(self._slider.value))

        @self._play.on_click
        def _(event: viser.GuiEvent[viser.GuiButtonGroupHandle]) -> None:
            with self._changed:
                self._changed.notify_all()

        @speeds.on_update
        def _(event: viser.GuiEvent[viser.GuiDropdownHandle[str]]) -> None:
            self._speed = SPEEDS.get(speeds.value, self._speed)

    def _pause(self, seconds: float) -> bool:
        """Wait; True when something else is wanted meanwhile."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._stopping or self._wanted is not None, seconds
            )


def _floors(reel: Reel) -> dict[Take, Floor]:
    """The floor of each film, as each has a camera of its own."""
    taken: defaultdict[Take, list[BodyFrame]] = defaultdict(list)
    for take, frame in zip(reel.takes, reel.frames, strict=True):
        taken[take].append(frame)
    return {take: _floor(frames) for take, frames in taken.items()}


def _floor(frames: Sequence[BodyFrame]) -> Floor:
    mounting = frames[0].camera.mounting
    if mounting is not None:
        return stated_floor(mounting)
    step = -(-len(frames) // _FLOOR_FRAMES)
    return guess_floor(body for frame in frames[::step] for body in frame)
