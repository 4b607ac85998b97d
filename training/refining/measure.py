"""`smap-train pairs`: a bundle over labelled pictures, to people found beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.estimators.smap.lifting import CM_PER_M
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.panoptic.measures import register
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import (
    CAMERA_X,
    CAMERA_Z,
    COCO,
    CX,
    FX,
    SEEN,
    BodiesRecord,
    X,
    Y,
)
from smap_train.data.layouts.pairs import write_pairs
from smap_train.data.layouts.smap_json import open_smap_json
from smap_train.engine.sampling import BadRecordError
from smap_train.refining.found import FoundPeople

# Pairs of (found, true) people, from people found, true ones, and the letterbox of the picture.
Match = Callable[[list[Body], Sequence[Body], Letterbox], list[tuple[int, int]]]

EVERYBODY = {"min_joints": 1, "min_score": 0.0, "duplicate_distance": 0.0}  # as SMAP keeps them


def by_share(found: list[Body], true: Sequence[Body], fit: Letterbox) -> list[tuple[int, int]]:
    """By the pelvis, within a share of the person's size."""
    return match_by_pelvis(found, true)


def by_pixels(found: list[Body], true: Sequence[Body], fit: Letterbox) -> list[tuple[int, int]]:
    """By the pelvis, closest first, within 30 pixels of the network: as SMAP does."""
    root = MPI15.root
    a, b = (
        np.array([body.joints_2d[root] for body in bodies], np.float64).reshape(-1, 2) * fit.scale
        for bodies in (found, true)
    )
    return [(int(k), person) for person, k in enumerate(register(a, b)) if k >= 0]


def measure(
    bundle: str,
    scenes: Sequence[Scene],
    engine: str = "auto",
    match: Match = by_share,
    **options: Any,
) -> FoundPeople:
    """Run a bundle on scenes and pair its people, as its refining network gets them, with the true.

    Args:
        bundle: name or folder, of kind smap.
        scenes: pictures with their people.
        engine: inference runtime.
        match: who is who.
        options: of the estimator.

    Raises:
        InputError: if it is not of kind smap, or finds nobody.
    """
    loaded = load_bundle(bundle)
    if loaded.manifest.kind != "smap":
        raise InputError(
            f"{bundle} is of kind {loaded.manifest.kind}; only kind smap has a refining network"
        )
    size = loaded.manifest.input.width, loaded.manifest.input.height
    # Not create_estimator: what it gives shows only what all kinds have.
    estimator = SmapEstimator.create(loaded, engine, **options)
    try:
        some = (_people(estimator, scene, size, match) for scene in tqdm(scenes, unit="img"))
        found = [people for people in some if people is not None]
    finally:
        estimator.close()
    if not found:
        raise InputError(f"{bundle} finds nobody in the {len(scenes)} pictures; train it first")
    return replace(FoundPeople.join(found), found_by=loaded.model_hash)


def _people(
    estimator: SmapEstimator, scene: Scene, size: tuple[int, int], match: Match
) -> FoundPeople | None:
    """The people of one scene; None if nobody is found."""
    camera, true = scene.camera, scene.frame.bodies
    lifted = estimator.looked_at_twice(scene.image(), camera)
    scores = np.clip(lifted.scores, 0, 1)
    people = zip(lifted.joints_3d, lifted.joints_2d, scores, strict=True)
    fit = Letterbox(camera.width, camera.height, *size)
    matches = match([Body(*person, score=1.0) for person in people], true, fit)
    if not matches:
        return None
    chosen = lifted[[p for p, _ in matches]]
    bodies = [true[t] for _, t in matches]
    missing = (chosen.scores <= 0)[..., None]
    return FoundPeople(
        found=chosen.joints_3d,
        true=np.array([body.joints_3d for body in bodies], np.float32),
        pixels=np.where(missing, np.nan, chosen.joints_network).astype(np.float32),
        true_pixels=np.array([fit.to_network(body.joints_2d) for body in bodies], np.float32),
        scores=np.clip(chosen.scores, 0, 1),
        focal=np.full(len(chosen), camera.fx * fit.scale, np.float32),
        size=size,
        poses=chosen.poses,
    )


def scene_of(record: BodiesRecord) -> Scene | None:
    """A picture of SMAP's annotations, with the people whose pelvis is visible; None without any.

    The camera is that of the first person, as in SMAP.
    """
    bodies = record.bodies[record.bodies[:, MPI15.root, SEEN] > 1]
    if record.dataset == COCO or not len(bodies):
        return None
    camera = Camera(record.width, record.height, *record.bodies[0, 0, FX : CX + 2].tolist())
    return Scene(
        key=record.place,
        frame=BodyFrame(tuple(_true_body(body) for body in bodies), camera),
        visibility=bodies[..., SEEN].astype(np.uint8),
        boxes=np.array([_box(body[:, [X, Y]]) for body in bodies]),
        read=record.read,
    )


def _true_body(body: NDArray[np.float64]) -> Body:
    """A labelled person; joints that aren't labelled are kept, as SMAP's truth is."""
    xyz = (body[:, CAMERA_X : CAMERA_Z + 1] / CM_PER_M).astype(np.float32)
    return Body(xyz, body[:, [X, Y]].astype(np.float32), np.ones(len(MPI15), np.float32), score=1.0)


def _box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.concatenate([low, high - low])


def _annotated(files: Iterable[Path], images: Path, held_out: bool) -> Iterator[Scene]:
    for path in files:
        records = open_smap_json(path, images, validation=held_out)
        for number in range(len(records)):
            try:
                scene = scene_of(records[number])
            except BadRecordError as error:
                typer.echo(f"left out: {error}", err=True)
            else:
                if scene is not None:
                    yield scene


def run(
    bundle: Annotated[str, typer.Argument(help="Bundle of kind smap: name or folder.")],
    out: Annotated[
        Path,
        typer.Argument(
            help="NAME.npz for recipe refine_lite, NAME.json (SMAP's own form) for refinenet."
        ),
    ],
    virtual: Annotated[
        list[Path] | None, typer.Option(help="Folder of shards from `smap-train synth`; repeat.")
    ] = None,
    annotations: Annotated[
        list[Path] | None, typer.Option(help="SMAP's unified JSON; repeat.")
    ] = None,
    images: Annotated[Path, typer.Option(help="Folder of the annotations' pictures.")] = Path(),
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Of the annotations, those of isValidation 1.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take so many pictures, evenly among all.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Inference runtime.")] = "auto",
) -> None:
    """Write people as a bundle finds them beside the true ones, to train its refining network on.

    They are as that network gets them: with the joints of both looks, if the bundle has a second.

    Example: smap-train pairs models/plain pairs.npz --virtual data/virtual
    """
    if out.suffix not in (".npz", ".json"):
        raise InputError(f"{out} ends in {out.suffix!r}; expected NAME.npz or NAME.json")
    scenes = [scene for folder in virtual or [] for scene in open_scenes(folder)]
    scenes += _annotated(annotations or [], images, held_out)
    if not scenes:
        raise InputError("no pictures: name --virtual or --annotations with somebody labelled")
    if limit is not None and limit < len(scenes):
        scenes = [scenes[int(k)] for k in np.linspace(0, len(scenes) - 1, limit).round()]
    official = out.suffix == ".json"
    if official:
        people = measure(bundle, scenes, engine, by_pixels, **EVERYBODY)
    else:
        people = measure(bundle, scenes, engine)
    write: Callable[[Path], None] = partial(write_pairs, people=people) if official else people.save
    write(out)
    typer.echo(f"{out}: {len(people)} people of {len(scenes)} pictures")
