"""`smap-train person-score`: measure how certain a bundle's people are, and have it say so.

A logistic regression on what is known of each person (``estimators.smap.certainty``) makes
scores probabilities: of the people told with 0.8, eight in ten are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from tqdm import tqdm

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smap import PersonScore, SmapManifest
from smap_ros.errors import InputError
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.smap.certainty import EVIDENCE
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_train.export.common import change_bundle, provenance_of

Double = NDArray[np.float64]

FEWEST, FEWEST_GHOSTS = 50, 10  # who are there, and who aren't; of fewer a fit says nothing
_PRESENCE = EVIDENCE.index("presence")
_SAME = 1e-6  # deviation that rounding makes
_RIDGE = 1.0  # on the weights of evidence of deviation 1


def measured(
    bundle: Bundle, scenes: Sequence[Scene], engine: str = "auto"
) -> tuple[Double, NDArray[np.bool_]]:
    """Everybody whom a bundle finds, however uncertain.

    Returns:
        Their evidence, float64 [N, 6], and whether they are there, bool [N].
    """
    estimator = SmapEstimator.create(bundle, engine)
    found, there = [], []
    try:
        for scene in tqdm(scenes, unit="img"):
            told = estimator.told(scene.image(), scene.camera)
            matched = {k for k, _ in match_by_pelvis(told.bodies, scene.frame.bodies)}
            found.append(told.evidence())
            there += [k in matched for k in range(len(told.bodies))]
    finally:
        estimator.close()
    return np.concatenate([np.zeros((0, len(EVIDENCE))), *found]), np.array(there, np.bool_)


def fitted(found: Double, there: NDArray[np.bool_], presence: float = 0.0) -> PersonScore:
    """Weights that tell best who is there.

    Args:
        found: float64 [N, 6], evidence.
        there: bool [N].
        presence: the weight of the second look's presence, which is given, for virtual people
            aren't for a landmark network what real ones are. Besides it the others stay what they
            are without, and the bias makes scores right on average.

    Raises:
        InputError: if there are too few people, or too few who aren't there, to say.
    """
    people, nobody = int(there.sum()), int((~there).sum())
    if people < FEWEST or nobody < FEWEST_GHOSTS:
        raise InputError(
            f"{people} people found and {nobody} found where nobody is; at least {FEWEST} and "
            f"{FEWEST_GHOSTS} are needed: add pictures, also some of rooms without people"
        )
    mean, deviation = found.mean(axis=0), found.std(axis=0)
    known = deviation > _SAME  # evidence that is the same for all says nothing
    known[_PRESENCE] = False
    mean, deviation = np.where(known, mean, 0), np.where(known, deviation, 1)
    scaled = np.where(known, (found - mean) / deviation, 0)
    scaled[:, 0] = 1
    sign = np.where(there, 1.0, -1.0)

    def loss(weights: Double) -> tuple[float, Double]:
        margin = sign * (scaled @ weights)
        slope = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
        rest = np.concatenate([[0.0], weights[1:]])
        value = np.logaddexp(0, -margin).sum() + _RIDGE * (rest**2).sum()
        return float(value), slope @ scaled + 2 * _RIDGE * rest

    found_weights = minimize(loss, np.zeros(len(EVIDENCE)), jac=True).x
    given = scaled @ found_weights + presence * found[:, _PRESENCE]
    found_weights[0] += minimize_scalar(lambda b: np.logaddexp(0, -sign * (given + b)).sum()).x
    weights = np.where(known, found_weights / deviation, 0)
    weights[0] = found_weights[0] - (weights[1:] * mean[1:]).sum()
    weights[_PRESENCE] = presence
    values = (round(float(weight), 4) for weight in weights)
    return PersonScore(**dict(zip(EVIDENCE, values, strict=True)))


def run(
    bundle: Annotated[Path, typer.Argument(help="Bundle of kind smap that gets the weights.")],
    virtual: Annotated[
        list[Path],
        typer.Option(
            help="Folder of shards that the network never saw, also of empty rooms; repeat."
        ),
    ],
    presence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="Weight of the second look's presence, of bundles that have one; by default what "
            "the bundle says. It can't be measured here: a landmark network isn't as sure of "
            "virtual people as of real ones.",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="Inference runtime.")] = "auto",
) -> None:
    """Measure how certain the people of a bundle are, so that their scores are probabilities.

    Example: smap-train person-score models/mine --virtual data/unseen --virtual data/empty
    """
    loaded = load_bundle(bundle)
    manifest = manifest_of(loaded, SmapManifest)  # or it is refused
    if presence is None:
        presence = 0.0 if manifest.person_score is None else manifest.person_score.presence
    if presence and manifest.second_look is None:
        raise InputError(
            f"presence is {presence}, but bundle {loaded.name!r} has no second look that tells it; "
            "leave it out, or add one with smap-train second-look"
        )
    scenes = [scene for folder in virtual for scene in open_scenes(folder)]
    found, there = measured(loaded, scenes, engine)
    weights = fitted(found, there, presence)
    # Who is told at all follows from scores, so numbers measured before are another bundle's.
    changes = {"person_score": weights.model_dump(), "provenance": provenance_of(loaded)}
    change_bundle(loaded, changes)
    typer.echo(
        f"{loaded.folder}: {len(there)} people of {len(scenes)} pictures, {there.sum()} of them "
        f"there: {weights}"
    )
