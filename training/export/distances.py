"""`smap-train distances`: measure how wrong a bundle's distances are, and have it say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smap import FarPeople, SizePrior, SmapManifest
from smap_ros.errors import InputError
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.estimators.smap.placement import placed_farther, shown_metre
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.skeletons import MPI15
from smap_train.export.common import change_bundle, provenance_of

Double = NDArray[np.float64]

FEWEST = 200  # of people who are far away or appear small; of fewer a fit says nothing
WITHIN = 68  # percent of people whose depth is within their depth_std
_FIRST = (0.05, 0.2)  # of the search


def measured(bundle: Bundle, scenes: Sequence[Scene], engine: str = "auto") -> Double:
    """People whom a bundle finds, where it would place them without any word of its bias.

    Returns:
        float64 [N, 4]: the depth it tells and the true one, metres, the pixels in which the
        network sees a metre that is a metre away, and the error that the network expects of the
        depth's logarithm (1 of networks that don't tell it).
    """
    manifest = manifest_of(bundle, SmapManifest)
    # Evidence that comes after it would blur what is measured.
    unmoved: dict[str, Any] = {"far_people": FarPeople(), "size_prior": SizePrior()}
    unit = unmoved["depth_error"] = manifest.depth_error or 1.0
    estimator = SmapEstimator.create(
        replace(bundle, manifest=manifest.model_copy(update=unmoved)), engine
    )
    rows = []
    try:
        for scene in tqdm(scenes, unit="img"):
            told = estimator.estimate(scene.image(), scene.camera).bodies
            shown = shown_metre(manifest, scene.camera)
            for found, true in match_by_pelvis(told, scene.frame.bodies):
                depth, depth_std = told[found].joints_3d[MPI15.root, 2], told[found].depth_std
                truth = scene.frame.bodies[true].joints_3d[MPI15.root, 2]
                rows.append([depth, truth, shown, depth_std / depth / unit])
    finally:
        estimator.close()
    return np.array(rows, np.float64).reshape(-1, 4)


def fitted(people: Double, beyond: float, below: float) -> FarPeople:
    """The powers with which the logarithms of depths are wrong by least, on average.

    Args:
        people: float64 [N, 4], of :func:`measured`.
        beyond: depth in metres up to which nothing is done.
        below: network pixels per metre from which on nothing is done.

    Raises:
        InputError: if there are too few people who are far away or appear small.
    """
    told, true, shown, _ = people.T
    concerned = (told > beyond) | (shown < told * below)
    if concerned.sum() < FEWEST:
        raise InputError(
            f"{concerned.sum()} of {len(people)} people found are beyond {beyond:g} m or smaller "
            f"than {below:g} network pixels per metre; at least {FEWEST} are needed: add pictures "
            "of people far away"
        )

    def of(powers: Double) -> FarPeople:
        first, second = (round(float(power), 4) for power in np.clip(powers, 0, 1))
        return FarPeople(beyond=beyond, power=first, below=below, small_power=second)

    def loss(powers: Double) -> float:
        return float(np.abs(np.log(_depths(people, of(powers)) / true)).mean())

    return of(minimize(loss, _FIRST, method="Nelder-Mead", options={"xatol": 1e-3}).x)


def doubt(people: Double, far: FarPeople) -> float:
    """``depth_error`` with which 68 of 100 people are within their ``depth_std``.

    Args:
        people: float64 [N, 4], of :func:`measured`.
        far: the bias that will be taken away.
    """
    errors = np.abs(np.log(_depths(people, far) / people[:, 1])) / people[:, 3]
    return round(float(np.percentile(errors, WITHIN)), 3)


def _depths(people: Double, far: FarPeople) -> Double:
    """Where people are told to be once the bias is taken away, float64 [N], metres."""
    roots = np.zeros((len(people), 1, 3), np.float32)
    roots[:, 0, 2] = people[:, 0]
    return placed_farther(roots, people[:, 2], 0, far)[:, 0, 2].astype(np.float64)


def changes(manifest: SmapManifest, people: Double, beyond: float, below: float) -> dict[str, Any]:
    """What a manifest says anew of its distances. People's scores stay what they are."""
    far = fitted(people, beyond, below)
    error = doubt(people, far)
    said: dict[str, Any] = {"far_people": far.model_dump(), "depth_error": error}
    score = manifest.person_score
    if score is not None and manifest.depth_error:
        # They count the doubt, whose unit is another one now.
        bias = score.bias - score.depth_doubt * np.log(error / manifest.depth_error)
        said["person_score"] = score.model_dump() | {"bias": round(float(bias), 4)}
    return said


def run(
    bundle: Annotated[Path, typer.Argument(help="Bundle of kind smap that gets the numbers.")],
    virtual: Annotated[
        list[Path],
        typer.Option(help="Folder of shards that the network never saw, near and far; repeat."),
    ],
    beyond: Annotated[
        float, typer.Option(min=1, max=100, help="Metres up to which nothing is done.")
    ] = FarPeople().beyond,
    below: Annotated[
        float,
        typer.Option(min=1, max=1000, help="Network pixels per metre above which nothing is done."),
    ] = FarPeople().below,
    engine: Annotated[str, typer.Option(help="Inference runtime.")] = "auto",
) -> None:
    """Measure how wrong distances are, so that far people aren't told too near, and doubt is right.

    Example: smap-train distances models/mine --virtual data/unseen_far --virtual data/unseen
    """
    loaded = load_bundle(bundle)
    manifest = manifest_of(loaded, SmapManifest)  # or it is refused
    scenes = [scene for folder in virtual for scene in open_scenes(folder)]
    people = measured(loaded, scenes, engine)
    said = changes(manifest, people, beyond, below)
    # Distances change by it, so numbers measured before are another bundle's.
    change_bundle(loaded, {**said, "provenance": provenance_of(loaded)})
    typer.echo(f"{loaded.folder}: {len(people)} people in {len(scenes)} pictures: {said}")
