"""`smap-ros view`: people in a browser, live or recorded."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from smap_ros.cli.up import named_values
from smap_ros.errors import InputError, SmapError
from smap_ros.geometry.mounting import Mounting
from smap_ros.graph.launcher import Launcher
from smap_ros.graph.plan import VIEW, plan
from smap_ros.paths import user_path
from smap_ros.settings import Value
from smap_ros.stopping import Stopped, stoppable
from smap_ros.view.access import address, check_address, exposure, require_viser


@dataclass(frozen=True)
class ViewOptions:
    """The words of the command.

    Attributes:
        words: a recording, or ``name:=value`` of the live graph; none for that with its defaults.
        host, port: where the page is served; port 0 takes a free one.
        images: pictures of a bodies.json, if they aren't beside it.
        topic: image topic of a bag, be it the recording or the pictures.
        camera_height: metres above the floor; None guesses it from the people.
        camera_pitch_deg: how far down the camera looks, where the height is stated.
    """

    words: tuple[str, ...]
    host: str
    port: int
    images: Path | None = None
    topic: str | None = None
    camera_height: float | None = None
    camera_pitch_deg: float = 0.0

    @property
    def mounting(self) -> Mounting | None:
        """How the camera is mounted, where stated.

        Raises:
            InputError: if only the pitch is.
        """
        if self.camera_height is not None:
            return Mounting(self.camera_height, math.radians(self.camera_pitch_deg))
        if self.camera_pitch_deg:
            raise InputError("--camera-pitch is stated without --camera-height; give both")
        return None


def run(options: ViewOptions) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: if viser is missing, the port is in use, or the recording can't be read.
        SmapError: if the live node failed.
    """
    require_viser()
    recordings = [word for word in options.words if ":=" not in word]
    if not recordings:
        _live(options)
        return
    if len(options.words) > 1:
        raise InputError(
            f"got {' '.join(options.words)}; expected one recording, or NAME:=VALUE arguments for "
            "people who are published now"
        )
    _play(user_path(recordings[0]), options)


def _play(path: Path, options: ViewOptions) -> None:
    from smap_ros.view.floor import stated_floor
    from smap_ros.view.page import Page
    from smap_ros.view.player import Player
    from smap_ros.view.reel import open_reel

    # Ctrl-C is how a page ends, and no failure.
    with (
        contextlib.suppress(Stopped),
        stoppable(),
        open_reel(path, options.images, options.topic) as reel,
    ):
        page = Page(options.host, options.port)
        try:
            floor = None if options.mounting is None else stated_floor(options.mounting)
            player = Player(page, reel, floor)
            _say(f"{reel.name}: {len(reel.frames)} frames", page.host, page.port)
            player.run()
        finally:
            page.close()


def _live(options: ViewOptions) -> None:
    if options.images is not None:
        raise InputError(f"--images {options.images} is for a bodies.json; none is given")
    if options.topic is not None:
        raise InputError(f"--topic {options.topic} is for a bag; live it is image:=TOPIC")
    values: dict[str, Value] = dict(named_values(options.words))
    values |= {"view_host": options.host, "view_port": options.port}
    if options.mounting is not None:
        pitch = math.degrees(options.mounting.pitch)
        values |= {"camera_height": options.mounting.height, "camera_pitch_deg": pitch}
    planned = plan(VIEW, values)
    check_address(options.host, options.port)  # refused here, rather than in the node's log
    status = Launcher(planned).run()
    if status:
        raise SmapError(f"the viewer ended with status {status}; its log above says why")


def _say(what: str, host: str, port: int) -> None:
    warning = exposure(host, port)
    if warning is not None:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stderr.write(f"{what}; open {address(host, port)} in a browser, Ctrl-C ends\n")
