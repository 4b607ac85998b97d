"""The files that a run leaves: bodies.json, annotated pictures and videos, sheet and plot."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.errors import SmapError
from smap_ros.offline.bodies_file import BodiesFile, read_bodies
from smap_ros.offline.earlier import Names, picture_name
from smap_ros.offline.folder import OutputFolder
from smap_ros.offline.names import BODIES, PICTURES, PLOT, SHEET
from smap_ros.pictures import write_picture
from smap_ros.stopping import held
from smap_ros.viz.contact_sheet import FrameSampler, contact_sheet
from smap_ros.viz.draw import DrawStyle, draw_frame
from smap_ros.viz.video import VideoWriter

__all__ = ["BODIES", "PLOT", "SHEET", "Latency", "ResultWriter", "Summary", "read_bodies"]

Image = NDArray[np.uint8]

# People below this score don't make a frame worth showing.
_DOUBTFUL = 0.3

# Positions kept per person for the plot; beyond it every second one goes.
_TRAIL_LIMIT = 2000


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one stage over a run."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: list[float]) -> Latency:
        """Median and 95th percentile of a non-empty list."""
        p50, p95 = np.percentile(values, (50, 95))
        return cls(float(p50), float(p95))


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        frames: images processed.
        frames_with_people: those in which somebody was found.
        people: bodies in all, over all images.
        tracks: distinct track ids.
        latency: by stage, in order; ``total`` last.
        files: what was written, relative to the output folder.
    """

    frames: int
    frames_with_people: int
    people: int
    tracks: int
    latency: Mapping[str, Latency]
    files: tuple[str, ...]


@dataclass
class _Best:
    """The frame worth plotting."""

    certainty: float = -math.inf
    frame: BodyFrame | None = None
    image: Image | None = None
    source: int = 0


@dataclass
class _Tally:
    frames: int = 0
    with_people: int = 0
    people: int = 0
    ids: set[tuple[int, int]] = field(default_factory=set)
    timings: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class ResultWriter:
    """Writes a run's results as they come; a context manager.

    Everything is bounded in memory but for the timings (a few numbers per frame). Leaving the
    context finishes all files, also after an error and when asked to stop, so that what was done
    can be used.

    Args:
        out: folder to write to; made if needed. It is this run's alone until :meth:`close`. An
            earlier run's results in it are removed when the first frame comes, and stay where
            none does; where there are none, an empty ``bodies.json`` is written.
        inputs: files and folders that are about to be read.

    Attributes:
        refused: whether the folder took not even a first frame: no other would fare better.

    Raises:
        InputError: if the folder can't be written to, another run writes to it, or it holds an
            input that would be removed or replaced.
    """

    def __init__(self, out: Path, inputs: Iterable[Path] = ()) -> None:
        self.out = out
        self._tally = _Tally()
        self._best = _Best()
        self._sampler = FrameSampler()
        self._trails: dict[int, dict[int, list[NDArray[np.floating]]]] = {}
        self._source = -1
        self._first: int | None = None  # the source that gave the first frame
        self._name = ""
        self._rate: float | None = None
        self._names = Names()
        self._files: list[str] = []
        self._video: VideoWriter | None = None
        self._moving = False
        self._closed = self._failed = False
        self._bodies: BodiesFile | None = None
        self.refused = False
        self._folder = OutputFolder(out, inputs)

    def __enter__(self) -> ResultWriter:
        """The writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish all files; after an error, as many as can be."""
        self._failed = error is not None
        with contextlib.suppress(SmapError) if error is not None else contextlib.nullcontext():
            self.close()

    def begin(self, name: str, *, moving: bool, rate: float | None) -> None:
        """Start a source: what follows goes to its own video, or to pictures.

        Args:
            name: of the source; names its video where there are several.
            moving: a video is written instead of single pictures.
            rate: frames per second of that video, where known.
        """
        self._end_video()
        self._source += 1
        self._moving, self._name, self._rate = moving, name, rate
        self._trails[self._source] = {}

    def add(self, image: Image, frame: BodyFrame) -> None:
        """Write one image's people.

        Args:
            image: uint8 [H, W, 3], bgr.
            frame: its people.

        Raises:
            InputError: if it can't be written.
        """
        with held():  # a frame is in all files or in none
            bodies = self._bodies or self._start()
            bodies.add(frame)
            self._count(frame)
            self._draw(image, frame)
            self._follow(frame)
        # Many people, but not doubtful ones.
        certainty = sum(body.score - _DOUBTFUL for body in frame)
        if certainty > self._best.certainty:
            self._best = _Best(certainty, frame, image.copy(), self._source)

    def _start(self) -> BodiesFile:
        """Make room for the first frame."""
        self._first = self._source
        self.refused = True
        self._folder.clear()
        self._bodies = BodiesFile(self.out / BODIES)
        self.refused = False
        return self._bodies

    def close(self) -> None:
        """Finish all files; harmless when done twice.

        Raises:
            InputError: if one can't be finished, after the others were.
        """
        if self._closed:
            return
        self._closed = True
        with held():
            failures = [failure for step in self._last_steps() if (failure := _failure(step))]
            self._folder.close()
        if failures:
            raise failures[0]

    def _last_steps(self) -> Iterator[Callable[[], None]]:
        yield self._end_bodies
        yield self._end_video
        yield self._write_sheet
        yield self._write_plot

    def _end_bodies(self) -> None:
        if self._bodies is None and not (self._failed or self._folder.used):
            self._bodies = BodiesFile(self.out / BODIES)  # of nobody, and nothing is lost by it
        if self._bodies is not None:
            self._bodies.close()
            self._files.append(BODIES)

    def _write_sheet(self) -> None:
        cells = self._sampler.cells()
        if cells:
            self._save(SHEET, contact_sheet(cells))

    def _write_plot(self) -> None:
        if self._best.frame is not None:
            from smap_ros.viz.plot3d import plot_poses

            trails = self._trails.get(self._best.source, {})
            self._save(PLOT, plot_poses(self._best.frame, self._best.image, trails))

    def summary(self) -> Summary:
        """What was written; complete after :meth:`close`."""
        tally = self._tally
        stages = sorted(tally.timings.items(), key=lambda item: item[0] == "total")
        return Summary(
            frames=tally.frames,
            frames_with_people=tally.with_people,
            people=tally.people,
            tracks=len(tally.ids),
            latency={stage: Latency.of(values) for stage, values in stages},
            files=tuple(self._files),
        )

    def _count(self, frame: BodyFrame) -> None:
        tally = self._tally
        tally.frames += 1
        tally.with_people += bool(len(frame))
        tally.people += len(frame)
        tally.ids |= {(self._source, body.id) for body in frame if body.id is not None}
        for stage, value in frame.timings_ms.items():
            tally.timings[stage].append(value)
        if frame.timings_ms and "total" not in frame.timings_ms:
            tally.timings["total"].append(sum(frame.timings_ms.values()))

    def _draw(self, image: Image, frame: BodyFrame) -> None:
        if self._moving:
            video = self._video or self._begin_video()
            people = f"{len(frame)} {'person' if len(frame) == 1 else 'people'}"
            caption = f"{frame.index}   {frame.stamp:.2f} s   {people}"
            video.add(draw_frame(image, frame, DrawStyle(caption=caption)), frame.stamp)
            self._sampler.add(image, frame, str(frame.index))
            return
        self._save(self._names.picture(frame.source), draw_frame(image, frame), listed=False)
        if f"{PICTURES}/" not in self._files:
            self._files.append(f"{PICTURES}/")
        self._sampler.add(image, frame, f"{frame.index}  {picture_name(frame.source)}")

    def _follow(self, frame: BodyFrame) -> None:
        trails = self._trails[self._source] if self._moving else {}
        for body in frame:
            if body.id is not None and np.isfinite(body.root).all():
                trail = trails.setdefault(body.id, [])
                trail.append(body.root.copy())
                if len(trail) > _TRAIL_LIMIT:
                    del trail[1::2]

    def _begin_video(self) -> VideoWriter:
        file = self._names.video(self._name, first=self._source == self._first)
        self._video = VideoWriter(self.out / file, self._rate or 30.0)
        return self._video

    def _save(self, name: str, image: Image, *, listed: bool = True) -> None:
        write_picture(self.out / name, image)
        if listed:
            self._files.append(name)

    def _end_video(self) -> None:
        if self._video is not None:
            self._video.close()
            if self._video.path.exists():
                self._files.append(self._video.path.name)
            self._video = None


def _failure(step: Callable[[], None]) -> SmapError | None:
    """Why a step can't be done; the ones after it are done all the same."""
    try:
        step()
    except SmapError as error:
        return error
    return None
