"""`smap-train evaluate`: a bundle on what its training held out: photos in 2D, scenes in 3D."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import Estimator
from smap_ros.evaluation.metrics import Accuracy, compare, match_by_pelvis
from smap_ros.skeletons import MPI15
from training.data.dataset import VirtualScene, read_shards
from training.data.people import PhotoPerson, load_lspet
from training.fit import load_config

PCK_SHARE = 0.2  # of the torso, neck to pelvis
_PHOTO_FOV = math.radians(60)  # 2D joints don't depend on it
# Truth counts when a detector could see it: people this tall with this share of joints visible.
MIN_HEIGHT_PX, MIN_VISIBLE = 60, 0.4


def pck_hits(found: Body | None, true: NDArray[np.float32]) -> NDArray[np.float64]:
    """Which labelled joints were found within a share of the torso.

    Args:
        found: the prediction for the person, or None when missed.
        true: float32 [15, 2] pixels, NaN where unlabelled.

    Returns:
        float64 [15]: 1 hit, 0 miss, NaN unlabelled (and the pelvis, which LSPET doesn't label).
    """
    labelled = np.isfinite(true).all(axis=1)
    labelled[MPI15.root] = False
    torso = np.linalg.norm(true[MPI15.index("neck")] - true[MPI15.root])
    hits = np.where(labelled, 0.0, np.nan)
    if found is not None and np.isfinite(torso):
        distance = np.linalg.norm(found.joints_2d - true, axis=1)
        hits[labelled] = distance[labelled] < PCK_SHARE * torso
    return hits


def photo_pck(estimator: Estimator, people: list[PhotoPerson]) -> NDArray[np.float64]:
    """PCK per joint [15] in percent over single-person photos."""
    rows = []
    for person in tqdm(people, desc="photos", unit="img"):
        image = person.image()
        camera = Camera.from_fov(image.shape[1], image.shape[0], _PHOTO_FOV)
        frame = estimator.estimate(image, camera)
        pelvis = person.joints_2d[MPI15.root]
        # One annotated person a photo: the prediction nearest to them.
        nearest = min(
            frame.bodies,
            key=lambda body: float(np.linalg.norm(body.joints_2d[MPI15.root] - pelvis)),
            default=None,
        )
        rows.append(pck_hits(nearest, person.joints_2d))
    return 100 * np.nanmean(np.array(rows), axis=0)


def scene_truth(scene: VirtualScene, index: int) -> tuple[NDArray[np.uint8], BodyFrame, set[int]]:
    """Image, true people, and which of them are too small or hidden to count as missed."""
    image = cv2.imdecode(np.frombuffer(scene.image, np.uint8), cv2.IMREAD_COLOR)
    camera = Camera.from_json(scene.labels["camera"])
    bodies, excused = [], set()
    for k, person in enumerate(scene.labels["people"]):
        seen = np.array(person["visibility"]) > 0
        body = Body(
            np.array(person["joints_3d"], np.float32),
            np.array(person["joints_2d"], np.float32),
            seen.astype(np.float32),
            1.0,
            k,
        )
        bodies.append(body)
        visible = float((np.array(person["visibility"]) == 2).mean())
        if max(person["box"][2:]) < MIN_HEIGHT_PX or visible < MIN_VISIBLE or not seen[MPI15.root]:
            excused.add(k)
    return image, BodyFrame(tuple(bodies), camera, index=index), excused


def scene_pairs(
    estimator: Estimator, scenes: list[VirtualScene]
) -> Iterator[tuple[BodyFrame, BodyFrame]]:
    """Predictions and truth of each scene, without the excused and what was found of them."""
    for index, scene in enumerate(tqdm(scenes, desc="scenes", unit="img")):
        image, truth, excused = scene_truth(scene, index)
        found = estimator.estimate(image, truth.camera)
        taken = {p for p, t in match_by_pelvis(found.bodies, truth.bodies) if t in excused}
        kept = tuple(b for k, b in enumerate(found.bodies) if k not in taken)
        yield (
            BodyFrame(kept, truth.camera, index=index),
            truth.with_bodies(tuple(b for k, b in enumerate(truth.bodies) if k not in excused)),
        )


def scene_accuracy(estimator: Estimator, scenes: list[VirtualScene]) -> Accuracy:
    """3D accuracy over virtual scenes."""
    found, true = zip(*scene_pairs(estimator, scenes), strict=True)
    return compare(found, true)


def run(
    bundle: Annotated[str, typer.Argument(help="Name or path of the bundle.")],
    config: Annotated[Path, typer.Argument(help="The training configuration; its held-out part.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    virtual: Annotated[Path | None, typer.Option(help="Shards never trained on.")] = None,
    engine: Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the numbers here as JSON.")] = None,
) -> None:
    """Measure a bundle on held-out photos (PCK at 0.2 of the torso) and virtual scenes.

    Example: smap-train evaluate smap_lite training/configs/smap_lite.yaml --virtual data/test
    """
    settings = load_config(config, overrides or [])
    estimator = create_estimator(bundle, engine=engine)
    numbers: dict[str, float] = {}
    try:
        if settings.sports and settings.holdout:
            people = load_lspet(settings.sports.archive, settings.sports.pseudo)
            pck = photo_pck(estimator, people[-settings.holdout :])
            for joint, value in zip(MPI15.joints, pck, strict=True):
                if np.isfinite(value):
                    numbers[f"lspet_pck20_{joint}"] = float(value)
            numbers["lspet_pck20"] = float(np.nanmean(pck))
        if virtual is not None:
            result = scene_accuracy(estimator, read_shards(virtual))
            numbers |= {
                "virtual_people": float(result.people),
                "virtual_recall": result.recall,
                "virtual_precision": result.precision,
                "virtual_mpjpe_mm": result.mpjpe_mm,
                "virtual_pa_mpjpe_mm": result.pa_mpjpe_mm,
                "virtual_root_depth_percent": result.root_depth_percent,
            }
    finally:
        estimator.close()
    if not numbers:
        raise InputError("nothing to measure: give sports photos with a holdout, or --virtual")
    for name, value in numbers.items():
        typer.echo(f"{name:32s} {value:8.2f}")
    if out is not None:
        out.write_text(json.dumps(numbers, indent=2) + "\n")
