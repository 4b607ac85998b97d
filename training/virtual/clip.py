"""Clips: one film of moving people with its truth, frame by frame.

``truth.json``: ``{"camera", "fps", "joint_set": "mpi15", "frames": [{"index", "stamp", "people",
"floor"}]}`` with people as in :mod:`smap_train.virtual.truth`; ids are kept over the film.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.paths import make_folder
from smap_ros.stopping import Asked, held
from smap_train.virtual import surroundings
from smap_train.virtual.bag import RobotBag
from smap_train.virtual.cameras import view_from
from smap_train.virtual.config import ClipConfig, ClipPerson
from smap_train.virtual.movers import Mover, grounded, player, walker
from smap_train.virtual.parts import Material, Part, merged
from smap_train.virtual.people import Person
from smap_train.virtual.preview import drawn, write_sheet
from smap_train.virtual.renderer import Frame, Light, View
from smap_train.virtual.scene import Studio
from smap_train.virtual.sensor import Sensor
from smap_train.virtual.surroundings import Extent
from smap_train.virtual.truth import describe, floor_plane

_SWAY_PERIOD = 6.0


def write_clip(config: ClipConfig, preview: Path | None = None) -> None:
    """Render the film; write ``clip.mp4``, ``camera.yaml``, ``truth.json``, and ``bag`` if asked.

    Args:
        preview: write a contact sheet of twelve frames with skeletons there instead.

    Raises:
        InputError: if a motion, body or frame rate doesn't exist or fit.
        Stopped: by a signal, after the film up to there was written.
    """
    film = Film(config)
    if preview is not None:
        chosen = np.linspace(0, film.frames - 1, 12).astype(int)
        pictures = [film.frame(int(k)) for k in chosen]
        write_sheet([drawn(rgb, truth, 1) for rgb, truth in pictures], preview, 3)
        return
    make_folder(config.out, "the folder of the clip")
    with held() as asked:
        _film(film, config, asked)
        stop = asked.take()
    if stop is not None:
        stop.during = f"{config.out} holds the film up to there"
        raise stop


def _film(film: Film, config: ClipConfig, asked: Asked) -> None:
    """Render and write until the end, or until somebody asks to stop."""
    truths: list[dict[str, Any]] = []

    def pictures_in_order() -> Iterator[NDArray[np.uint8]]:
        for k in tqdm(range(film.frames), unit="frame"):
            if asked and truths:
                return
            rgb, truth = film.frame(k)
            truths.append(truth)
            if bag is not None:
                bag.add(rgb, film.view(k))
            yield rgb

    size = (config.width, config.height)
    with contextlib.ExitStack() as stack:
        bag = None
        if config.bag:
            bag = stack.enter_context(RobotBag(config.out / "bag", film.view(0), config.fps))
        encode(pictures_in_order(), config.out / "clip.mp4", size, config.fps, config.crf)
    write_camera(film.camera, config.out / "camera.yaml")
    document = {
        "camera": film.camera.to_json(),
        "fps": config.fps,
        "joint_set": "mpi15",
        "frames": truths,
    }
    (config.out / "truth.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


class Film:
    """Renders any frame of a clip."""

    def __init__(self, config: ClipConfig) -> None:
        scale = config.supersample
        large = {"width": config.width * scale, "height": config.height * scale}
        self.config = config
        self.studio = Studio(config.model_copy(update=large))
        if self.studio.motions is None:
            raise InputError("a clip needs motions; give the mocap file with --motion")
        rate = self.studio.motions[self.studio.motions.names[0]].fps
        if rate % config.fps:
            raise InputError(f"fps is {config.fps}; expected a divisor of the mocap's {rate:g} Hz")
        self._step = int(rate) // config.fps
        self.frames = int(round(config.seconds * config.fps))
        self.camera = Camera.from_fov(
            config.width, config.height, float(np.radians(config.camera_fov_deg))
        )
        self._cast = [self._prepare(person) for person in config.people]
        self._room, self._light = _stage(config, self.studio)
        self._sensor = Sensor.draw(config.sensor, np.random.default_rng(config.seed))

    def frame(self, index: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Picture uint8 RGB [h, w, 3] and truth of frame ``index``."""
        config, stamp = self.config, index / self.config.fps
        people = [replace(p, posed=move(index * self._step)) for p, move in self._cast]
        parts = list(self._room)
        for k, person in enumerate(people):
            parts += person.parts(k + 1)
        view = self.view(index)
        size = self.studio.renderer.size
        large = self.studio.renderer.render(
            parts, replace(view, camera=self.camera.resized(*size)), self._light, "plain"
        )
        frame = reduced(large, config.supersample)
        found = [
            describe(person, k, k + 1, self.studio.pool.model, view, frame)
            for k, person in enumerate(people)
        ]
        truth = {
            "index": index,
            "stamp": round(stamp, 6),
            "people": [entry for entry in found if entry is not None],
            "floor": floor_plane(view),
        }
        rng = np.random.default_rng([config.seed, index])
        return self._sensor.expose(frame.rgb, rng), truth

    def view(self, index: int) -> View:
        """Where the camera is at a frame."""
        config, stamp = self.config, index / self.config.fps
        across = config.camera_sway * float(np.sin(2 * np.pi * stamp / _SWAY_PERIOD))
        turn = float(np.sin(2 * np.pi * stamp / config.camera_turn_period))
        eye = np.array([across, config.camera_speed * stamp, config.camera_height])
        pitch, yaw = np.radians([config.camera_pitch_deg, config.camera_turn_deg * turn])
        return view_from(self.camera, eye, float(pitch), yaw=float(yaw))

    def _prepare(self, settings: ClipPerson) -> tuple[Person, Mover]:
        """Somebody dressed, and how they move."""
        studio = self.studio
        motions = studio.motions
        if motions is None or settings.motion not in motions.names:
            names = motions.names if motions else []
            raise InputError(f"motion {settings.motion!r} is not in the split; it has {names}")
        if settings.body >= len(studio.pool):
            raise InputError(f"body {settings.body} is not in the pool of {len(studio.pool)}")
        body = studio.pool[settings.body]
        outfit = studio.wardrobe.dress(body, np.random.default_rng([5, settings.look]))
        motion, model = motions[settings.motion], studio.pool.model
        start = round(settings.start * motion.fps)
        if len(settings.waypoints) == 1 and start >= len(motion):
            raise InputError(
                f"start is {settings.start:g} s into motion {settings.motion!r}, of which "
                f"{len(motion) / motion.fps:.1f} s can be played; choose an earlier one"
            )
        if len(settings.waypoints) > 1:
            mover = walker(body, model, motion, start, np.array(settings.waypoints))
        else:
            heading = float(np.radians(settings.heading_deg))
            mover = player(body, model, motion, start, np.array(settings.waypoints[0]), heading)
        mover = grounded(mover, body, model, range(0, self.frames * self._step, self._step))
        return Person(body, outfit, mover(0), settings.motion, 0.0), mover


def reduced(frame: Frame, scale: int) -> Frame:
    """A frame drawn ``scale`` times too large, at its size: colours averaged, labels sampled."""
    if scale == 1:
        return frame
    h, w = frame.labels.shape
    rgb = cv2.resize(frame.rgb, (w // scale, h // scale), interpolation=cv2.INTER_AREA)
    middle = scale // 2
    pick = (slice(middle, None, scale), slice(middle, None, scale))
    return Frame(rgb.astype(np.uint8), frame.labels[pick], frame.depth[pick])


def _stage(config: ClipConfig, studio: Studio) -> tuple[list[Part], Light]:
    """A furnished, evenly lit room."""
    x0, x1, y1, height = config.room
    rng = np.random.default_rng([config.room_seed, 17])
    bank = studio.textures
    parts = surroundings.room(Extent((x0, x1), (-2.0, y1), height), bank, rng)
    shelf = Material("thing/books1", tint=(0.8, 0.75, 0.7), grey=0.5)
    parts.append(surroundings.box((x0 + 0.2, y1 - 1.6, 0.95), (0.35, 1.2, 1.9), shelf, 0.0, None))
    cloth = Material("fabric/folds", tint=(0.35, 0.42, 0.5))
    base = np.array([0.5 * (x0 + x1) + 0.9, y1 - 0.45, 0.0])
    parts += surroundings.sofa(base, cloth, 0.0, 1.7)
    wall = Material("thing/books1", tint=(0.7, 0.68, 0.62), grey=0.8)
    for x, y, width in config.pillars:
        size = (width, width, height)
        parts.append(surroundings.box((x, y, height / 2), size, wall, 0.0, None))
    parts += surroundings.plant(np.array([x1 - 0.5, y1 - 0.6, 0.0]), 0.42)
    light = Light(
        direction=np.array([-0.36, -0.48, 0.8]),
        colour=(0.85, 0.82, 0.76),
        sky=(0.58, 0.6, 0.64),
        ground=(0.36, 0.34, 0.31),
        side=(0.26, 0.27, 0.3),
        side_direction=np.array([0.8, -0.6, 0.0]),
        softness=2.2,
        exposure=0.8,
        centre=np.array([0.0, 0.55 * y1, 0.8]),
        radius=5.0,
    )
    return merged(parts), light


def encode(
    pictures: Iterator[NDArray[np.uint8]], path: Path, size: tuple[int, int], fps: int, crf: int
) -> None:
    """Write RGB pictures of ``size`` (width, height) as H.264, or MPEG-4 without that encoder."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    options = {"crf": str(crf), "preset": "slow"} if codec == "libx264" else {"qscale:v": "5"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = size
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_camera(camera: Camera, path: Path) -> None:
    """Write a calibration as ROS's ``camera_calibration`` does."""
    k = camera.matrix
    document = {
        "image_width": camera.width,
        "image_height": camera.height,
        "camera_name": "virtual",
        "camera_matrix": _matrix(k),
        "distortion_model": "plumb_bob",
        "distortion_coefficients": _matrix(np.zeros((1, 5))),
        "rectification_matrix": _matrix(np.eye(3)),
        "projection_matrix": _matrix(np.concatenate([k, np.zeros((3, 1))], axis=1)),
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False, default_flow_style=None))


def _matrix(values: NDArray[np.floating]) -> dict[str, Any]:
    rows, cols = values.shape
    return {"rows": rows, "cols": cols, "data": [round(float(v), 6) for v in values.reshape(-1)]}
