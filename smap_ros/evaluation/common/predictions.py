"""What is evaluated: the people that a bundle finds, or those of a bodies.json."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.engines.names import Precision
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import Estimator, flush
from smap_ros.estimators.options import ImageUp
from smap_ros.offline.results import BODIES, read_bodies
from smap_ros.skeletons import MPI15, convert

LOG = logging.getLogger(__name__)

_ROUNDING = 1e-5  # of scores: float32 of others sums up to a little more than 1


class ClipFrame(NamedTuple):
    """What a frame is named by where several clips have frames of its number."""

    sequence: str
    number: int


Key = str | int | ClipFrame


class Picture(Protocol):
    """What people are found in."""

    @property
    def key(self) -> Key:
        """Stem of the image file, or number of the frame in a clip.

        Where stems alone aren't unique, the name of the sequence and a slash stand before; where
        numbers aren't, it is a :class:`ClipFrame`.
        """

    @property
    def camera(self) -> Camera:
        """Its camera, at its size."""

    def image(self) -> NDArray[np.uint8]:
        """The picture, uint8 [H, W, 3] bgr."""


@runtime_checkable
class OfSequence(Protocol):
    """A picture that tells which sequence it is of, also where its key needn't."""

    @property
    def sequence_name(self) -> str:
        """Name of the sequence; empty if it is of none."""


class Predictions(Protocol):
    """People by picture, all in mpi15.

    Attributes:
        description: for people to read.
    """

    description: str

    def of(self, picture: Picture) -> BodyFrame | None:
        """The people of a picture, or None if it wasn't looked at."""

    def close(self) -> None:
        """Release what is held; harmless when done twice."""


@runtime_checkable
class FilmPredictions(Protocol):
    """Predictions that are told of films."""

    def film(self, pictures: Iterable[Picture], fps: float) -> None:
        """See :meth:`BundlePredictions.film`."""


@runtime_checkable
class StoredPredictions(Protocol):
    """Predictions that were made before, and may be of more than is asked for."""

    @property
    def not_asked_for(self) -> int:
        """Frames that no picture asked for so far."""


class BundlePredictions:
    """The people that an estimator finds in each picture."""

    def __init__(self, estimator: Estimator) -> None:
        self.description = str(estimator.about)
        self._estimator = estimator
        self._film: Iterator[tuple[Key, BodyFrame]] = iter(())

    def film(self, pictures: Iterable[Picture], fps: float) -> None:
        """Say that the pictures asked for next are these, the frames of a film, in order.

        Models that see people over time then do; one that reports them later, with the images
        after each, is waited for.

        Args:
            pictures: all frames of the film.
            fps: frames per second.
        """
        self._film = self._watched(pictures, fps)

    def of(self, picture: Picture) -> BodyFrame:
        """Look at the picture, alone unless it is the next of a film."""
        key, frame = next(self._film, (None, None))
        if frame is not None and key == picture.key:
            return self._known(frame)
        self._film = iter(())
        flush(self._estimator)
        found = self._estimator.estimate(picture.image(), picture.camera)
        return self._known(next(iter(flush(self._estimator)), found))

    def _known(self, frame: BodyFrame) -> BodyFrame:
        return replace(in_mpi15(frame), detector=self._estimator.about.sha256)

    def _watched(self, pictures: Iterable[Picture], fps: float) -> Iterator[tuple[Key, BodyFrame]]:
        """The people of a film's frames, by their keys, in order."""
        flush(self._estimator)
        waiting: deque[Key] = deque()
        for k, picture in enumerate(pictures):
            waiting.append(picture.key)
            found = self._estimator.estimate(picture.image(), picture.camera, k / fps)
            if not found.pending:
                yield waiting.popleft(), found
        yield from zip(waiting, flush(self._estimator), strict=True)

    def close(self) -> None:
        """Release the network."""
        self._estimator.close()


class FilePredictions:
    """The people of a ``bodies.json``.

    Pictures are found by the stem of their source file, frames of clips by their number.

    Args:
        path: the file.
        detector: sha256 of the network that found them, where it is known.

    Raises:
        InputError: if the file is unreadable or malformed, or a score isn't in [0, 1].
    """

    def __init__(self, path: Path, detector: str = "") -> None:
        self.description = str(path)
        self._by_stem: dict[str, list[BodyFrame]] = defaultdict(list)
        self._by_index: dict[int, list[BodyFrame]] = defaultdict(list)
        self._asked: set[int] = set()  # ids of frames, which stay
        for frame in (replace(read, detector=detector) for read in read_bodies(path)):
            checked = _with_scores_in_range(frame, self.description)
            self._by_stem[Path(frame.source).stem].append(checked)
            self._by_index[frame.index].append(checked)

    def of(self, picture: Picture, key: Key | None = None) -> BodyFrame | None:
        """Look the picture up.

        Args:
            picture: the picture.
            key: another than its own.

        Raises:
            InputError: if several frames could be meant, or it was of another size.
        """
        key = picture.key if key is None else key
        frames = self._by_index.get(key) if isinstance(key, int) else None
        if isinstance(key, str):
            frames = self._by_stem.get(key)
        if not frames:
            return None
        if len(frames) > 1:
            raise InputError(
                f"{self.description} has {len(frames)} frames for picture {key}; expected one. "
                "Evaluate the result of one input at a time"
            )
        _check_size(frames[0].camera, picture, self.description)
        self._asked.add(id(frames[0]))
        return frames[0]

    @property
    def not_asked_for(self) -> int:
        """See :class:`StoredPredictions`."""
        return sum(map(len, self._by_stem.values())) - len(self._asked)

    def close(self) -> None:
        """Nothing is held."""


class FolderPredictions:
    """The people of several ``bodies.json``, each in the folder of its sequence.

    Args:
        folder: with these folders.
        detector: see :class:`FilePredictions`.

    Raises:
        InputError: if a file is unreadable or malformed.
    """

    def __init__(self, folder: Path, detector: str = "") -> None:
        self.description = f"{folder}/*/{BODIES}"
        self._by_sequence = {
            path.parent.name: FilePredictions(path, detector)
            for path in sorted(folder.glob(f"*/{BODIES}"))
        }

    @staticmethod
    def found(folder: Path) -> bool:
        """Whether a folder holds such files."""
        return next(folder.glob(f"*/{BODIES}"), None) is not None

    def of(self, picture: Picture) -> BodyFrame | None:
        """Look the picture up, in the folder of its sequence where it is of one.

        Raises:
            InputError: if several frames could be meant, or it was of another size.
        """
        sequence, key = _parted(picture)
        if sequence:
            file = self._by_sequence.get(sequence)
            return None if file is None else file.of(picture, key)
        found = [
            frame
            for file in self._by_sequence.values()
            if (frame := file.of(picture, key)) is not None
        ]
        if len(found) > 1:
            raise InputError(
                f"{self.description}: {len(found)} folders have picture {key}; expected one. Keep "
                "the results of one data set alone"
            )
        return found[0] if found else None

    @property
    def not_asked_for(self) -> int:
        """See :class:`StoredPredictions`."""
        return sum(file.not_asked_for for file in self._by_sequence.values())

    def close(self) -> None:
        """Nothing is held."""


def open_predictions(
    spec: str,
    engine: str = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    image_up: ImageUp = "auto",
    found_by: str | None = None,
    **options: Any,
) -> Predictions:
    """A ``bodies.json`` (anything that ends in ``.json``), a folder of them, or else a bundle.

    Args:
        spec: what the user names.
        engine, threads, precision, image_up, options: for a bundle; see
            :func:`smap_ros.estimators.create_estimator`.
        found_by: name or path of the bundle that found the people of files; a bundle says so
            itself.

    Raises:
        SmapError: if it can't be read or run.
    """
    path = Path(spec)
    file, folder = path.suffix == ".json", FolderPredictions.found(path)
    if options and (file or folder):
        raise InputError(
            f"{', '.join(options)} can be set of a bundle, but {spec} holds people who were found "
            "already; leave it away, or find them anew"
        )
    if found_by is not None and not (file or folder):
        raise InputError(f"--found-by is for people who were found already; {spec} finds them anew")
    detector = "" if found_by is None else load_bundle(found_by).model_hash
    if file:
        return FilePredictions(path, detector)
    if folder:
        return FolderPredictions(path, detector)
    try:
        estimator = create_estimator(spec, engine, threads, precision, image_up, **options)
    except BundleError as error:
        if (path / BODIES).is_file():
            raise InputError(
                f"{spec} isn't a bundle, but has people found; give {path / BODIES}"
            ) from error
        raise
    return BundlePredictions(estimator)


def beyond_the_truth(predictions: Predictions) -> int:
    """Count the frames that no picture asked for, and say so; to call when all have been."""
    count = predictions.not_asked_for if isinstance(predictions, StoredPredictions) else 0
    if count:
        LOG.warning(
            "%d frames of %s are of no picture of the truth and don't count: are they of the same "
            "data?", count, predictions.description,
        )  # fmt: skip
    return count


def in_mpi15(frame: BodyFrame) -> BodyFrame:
    """The frame with everybody's joints in mpi15."""
    return frame.with_bodies(tuple(_converted(body) for body in frame))


def _parted(picture: Picture) -> tuple[str, str | int]:
    """The sequence that a picture is of, empty if none, and its key within it."""
    key = picture.key
    if isinstance(key, ClipFrame):
        return key.sequence, key.number
    named = picture.sequence_name if isinstance(picture, OfSequence) else ""
    if isinstance(key, int):
        return named, key
    sequence, _, stem = key.rpartition("/")
    return sequence or named, stem


def _check_size(camera: Camera, picture: Picture, source: str) -> None:
    true = picture.camera
    if (camera.width, camera.height) != (true.width, true.height):
        raise InputError(
            f"{source} has picture {picture.key} at {camera.width}x{camera.height} px, its truth "
            f"at {true.width}x{true.height} px; estimate on the pictures as they are"
        )


def _with_scores_in_range(frame: BodyFrame, source: str) -> BodyFrame:
    """The frame, with scores that are out by others' rounding brought to [0, 1]."""
    bodies = []
    for k, body in enumerate(frame):
        scores = np.append(body.scores, body.score).astype(np.float64)
        wrong = scores[~((scores >= -_ROUNDING) & (scores <= 1 + _ROUNDING))]
        if wrong.size:
            raise InputError(
                f"{source}: person {k} of frame {frame.index} ({frame.source}) has a score of "
                f"{wrong[0]:.9g}; expected those of people and joints in [0, 1]"
            )
        kept = np.clip(scores, 0, 1)
        bodies.append(replace(body, scores=kept[:-1].astype(np.float32), score=float(kept[-1])))
    return replace(frame, bodies=tuple(bodies))


def _converted(body: Body) -> Body:
    if body.skeleton.name == MPI15.name:
        return body
    scores = convert(body.scores[:, None], body.skeleton, MPI15)[:, 0]
    return replace(
        body,
        joints_3d=convert(body.joints_3d, body.skeleton, MPI15),
        joints_2d=convert(body.joints_2d, body.skeleton, MPI15),
        scores=np.nan_to_num(scores),
        skeleton=MPI15,
    )
