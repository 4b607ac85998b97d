"""`smap-train record`: a detector over rendered films, to detections beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.errors import DAMAGED_ARRAYS, InputError, reason
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import Estimator
from smap_ros.evaluation.common.films import Film, make_film
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.common.shards import read_shards, scenes_of
from smap_ros.paths import make_folder
from smap_ros.skeletons import MPI15

_TORSO = [MPI15.index(name) for name in ("l_shoulder", "r_shoulder", "r_hip", "l_hip")]
_THIGHS = [[MPI15.index(f"{side}_{name}") for name in ("hip", "knee")] for side in ("l", "r")]


def run(
    films: Annotated[Path, typer.Argument(help="Folder of shards of `smap-train synth`.")],
    out: Annotated[Path, typer.Argument(help="Folder of the recorded films.")],
    *,
    bundle: Annotated[str, typer.Option(help="Detector: name or path of a bundle.")] = "smap_lite",
    engine: Annotated[str, typer.Option(help="Inference runtime.")] = "onnxruntime",
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: all cores.")] = 1,
    every: Annotated[int, typer.Option(min=1, help="Look at every N-th picture only.")] = 1,
) -> None:
    """Record what a detector sees in films, beside the truth; a file for each film.

    Films that are recorded already are left out, so a run that was stopped goes on, and a run
    beside `smap-train synth` takes the shards that are finished. They must be of the same
    detector and --every.

    Example: smap-train record films recorded --bundle smap_lite
    """
    shards = sorted(path for path in films.glob("*.tar") if not path.name.startswith("."))
    if not shards:
        raise InputError(f"{films} has no shards; expected the *.tar files of `smap-train synth`")
    make_folder(out, "the folder of the records")
    loaded = load_bundle(bundle)
    todo = [shard for shard in shards if not _target(out, shard).is_file()]
    done = [shard for shard in shards if shard not in todo]
    _require_alike(out, done, loaded, every)
    if not todo:
        typer.echo(f"{out}: {len(done):,} films are recorded already")
        return
    estimator = create_estimator(loaded, engine=engine, threads=threads)
    for shard in tqdm(todo, unit="film"):
        scenes = scenes_of(shard)[::every]
        if scenes[0].sequence is None:
            raise InputError(f"{shard} holds stills; expected films (kind: sequences)")
        record(scenes, estimator, loaded.model_hash).save(_target(out, shard))


def record(scenes: list[Scene], estimator: Estimator, detector: str) -> Film:
    """A film as a detector sees it."""
    found, colours = [], []
    for scene in scenes:
        image = scene.image()
        frame = estimator.estimate(image, scene.camera, scene.frame.stamp)
        colours += [mean_colours(image, body) for body in frame]
        found.append(frame)
    return make_film(
        found,
        [scene.frame for scene in scenes],
        [scene.counted for scene in scenes],
        detector,
        colours=np.stack(colours) if colours else np.zeros((0, 2, 3), np.float32),
        size_px=np.concatenate([scene.size_px for scene in scenes]).astype(np.float32),
    )


def mean_colours(image: NDArray[np.uint8], body: Body) -> NDArray[np.float32]:
    """Mean bgr of torso and thighs, float32 [2, 3]; NaN where their joints are missing.

    A few pixels on lines between the joints are read: no mask is needed, and next to no time.
    """
    pixels = body.joints_2d
    share = np.linspace(0.2, 0.8, 5, dtype=np.float32)[:, None]
    left, right = (
        pixels[a] + share * (pixels[b] - pixels[a])
        for a, b in ((_TORSO[0], _TORSO[3]), (_TORSO[1], _TORSO[2]))
    )  # [5, 2], down both sides
    torso = (left[:, None] + share[None] * (right - left)[:, None]).reshape(-1, 2)
    thighs = np.concatenate([pixels[a] + share * (pixels[b] - pixels[a]) for a, b in _THIGHS])
    return np.stack([_mean_at(image, torso), _mean_at(image, thighs)])


def _mean_at(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    points = points[np.isfinite(points).all(axis=1)].round().astype(int)
    size = np.array(image.shape[1::-1])
    points = points[((points >= 0) & (points < size)).all(axis=1)]
    if not len(points):
        return np.full(3, np.nan, np.float32)
    mean: NDArray[np.float32] = image[points[:, 1], points[:, 0]].mean(axis=0).astype(np.float32)
    return mean


def _require_alike(out: Path, done: Sequence[Path], bundle: Bundle, every: int) -> None:
    """Refuse a folder with films of another detector, or that were looked at otherwise.

    Args:
        out: of the films, all of which one detector must have seen.
        done: shards whose films are there.
        bundle: the detector.
        every: which pictures are looked at.
    """
    lengths: dict[str, int] = {}
    for path in sorted(out.glob("[!.]*.npz")):
        detector, lengths[path.stem] = _recorded(path)
        if detector != bundle.model_hash:
            raise InputError(
                f"{path} was recorded by the detector {detector[:12]}..., bundle {bundle.name} is "
                f"{bundle.model_hash[:12]}...; choose another folder"
            )
    for shard in done:
        pictures = sum(1 for _ in read_shards(shard))
        expected, got = -(-pictures // every), lengths[shard.stem]
        if got != expected:
            raise InputError(
                f"{_target(out, shard)} has {got:,} pictures; expected {expected:,}, by {shard} "
                f"with {pictures:,} and --every {every}. It was recorded with another --every, or "
                "is of another film; choose another folder"
            )


def _recorded(path: Path) -> tuple[str, int]:
    """Detector and number of pictures of a film, without the people in it."""
    try:
        with np.load(path, allow_pickle=False) as film:
            return str(film["detector"]), len(film["stamps"])
    except DAMAGED_ARRAYS as error:
        raise InputError(
            f"{path} is no film of detections ({reason(error)}); remove it, or choose another "
            "folder"
        ) from error


def _target(out: Path, shard: Path) -> Path:
    return out / f"{shard.stem}.npz"
