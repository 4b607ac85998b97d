"""How much of a joint is the second look's: measured on people that neither look has learned from.

Both looks at the same people are put beside the truth, and the logistic shares of a manifest's
``second_look`` are fitted: first those in the picture, then, of the poses that these give, those in
space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.second_look import SecondLookSpec, ShareWeights
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.second_look.fusing import MAX_APART, share_of, together
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.estimators.smap.twice import BothLooks
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.skeletons import MPI15

Double = NDArray[np.float64]

FEWEST = 50  # people; of fewer a fit says nothing
_VISIBLE = 2
_FAR = 0.2, 0.6  # of the crop's side, metres: joints farther off than that are lost, however far
_RIDGE = 1e-4  # on the weights over their usual sizes
_SIZES = np.array([3.0, 3.0, 3.0, 20.0])
_SURE = 50.0  # a logit that leaves nothing to the second look


class Pair(NamedTuple):
    """A picture of people who are there, and whose second look counts.

    Attributes:
        looks: at all people of the picture.
        camera: that took it.
        rows: int [K], of these people.
        pixels: float [K, 15, 2], where their joints are.
        points: float [K, 15, 3], metres.
        visible: bool [K, 15].
    """

    looks: BothLooks
    camera: Camera
    rows: NDArray[np.intp]
    pixels: Double
    points: Double
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class Joints:
    """Joints as two looks have them, about the truth; M of them, in D dimensions.

    Attributes:
        first, second: float64 [M, D], how far off, in units of what is far.
        scores: float64 [M, 3], of each look, and how far apart the looks are.
    """

    first: Double
    second: Double
    scores: Double

    def error(self, weights: Double) -> float:
        """Mean distance from the truth by shares of these weights, far ones alike."""
        share = share_of(_weights(weights), *self.scores.T)[:, None]
        off = np.linalg.norm(self.first + share * (self.second - self.first), axis=1)
        return float(np.minimum(off, 1.0).mean())


def measured_shares(
    bundle: Bundle, scenes: Sequence[Scene], engine: str = "auto"
) -> tuple[SecondLookSpec, dict[str, float]]:
    """A bundle's second look with shares as these scenes tell them.

    Args:
        bundle: of kind ``smap``, with a second look.
        scenes: that neither network has learned from.
        engine: inference runtime.

    Returns:
        The changed ``second_look``, and mean distances from the truth of the first look, the
        second, and both: ``*_px`` of joints that can be seen, pixels of a crop of 256, those over
        51 as 51; ``*_mm`` of all joints about the pelvis, those over 600 as 600. In space the first
        look is the pose that both make in the picture, refined.

    Raises:
        InputError: if the bundle has no second look, or it counts for too few people.
    """
    spec = manifest_of(bundle, SmapManifest).second_look
    if spec is None:
        raise InputError(f"bundle {bundle.name!r} has no second look whose shares to measure")
    estimator = SmapEstimator.create(bundle, engine)
    told: dict[str, float] = {}
    try:
        some = (_pair(estimator, scene, spec) for scene in tqdm(scenes, unit="img"))
        pairs = [pair for pair in some if pair is not None]
        count = sum(len(pair.rows) for pair in pairs)
        if count < FEWEST:
            raise InputError(
                f"the second look counts for {count} people who are there, in {len(scenes)} "
                f"pictures; expected {FEWEST} at least. Give more pictures, or look at what it "
                f"says: people count from a presence of {spec.min_presence:g} on (min_presence)"
            )
        in_picture, errors = fitted(_in_picture(pairs), spec.in_picture)
        told |= {f"{who}_px": 256 * _FAR[0] * value for who, value in errors.items()}
        spec = spec.model_copy(update={"in_picture": in_picture})
        in_space, errors = fitted(_in_space(estimator, pairs, spec), spec.in_space)
        told |= {f"{who}_mm": 1000 * _FAR[1] * value for who, value in errors.items()}
    finally:
        estimator.close()
    return spec.model_copy(update={"in_space": in_space}), told


def fitted(joints: Joints, start: ShareWeights) -> tuple[ShareWeights, dict[str, float]]:
    """Weights whose shares bring joints nearest to the truth.

    Args:
        joints: by both looks.
        start: weights to begin with.

    Returns:
        The weights, and the mean distances of the first look, the second and both, in units of
        what is far.
    """

    def loss(weights: Double) -> float:
        return joints.error(weights) + _RIDGE * float(np.square(weights / _SIZES).sum())

    starts = [np.array([*vars(start).values()], np.float64), np.zeros(4)]
    best = min(
        (minimize(loss, x, method="Nelder-Mead", options={"maxiter": 800}) for x in starts),
        key=lambda found: float(found.fun),
    )
    alone = {
        who: float(np.minimum(np.linalg.norm(off, axis=1), 1.0).mean())
        for who, off in (("first", joints.first), ("second", joints.second))
    }
    return _weights(best.x.round(2)), {**alone, "both": joints.error(best.x)}


def _weights(values: Double) -> ShareWeights:
    bias, first, second, apart = (float(value) for value in values)
    return ShareWeights(bias=bias, first=first, second=second, apart=apart)


def _pair(estimator: SmapEstimator, scene: Scene, spec: SecondLookSpec) -> Pair | None:
    looks = estimator.both_looks(scene.image(), scene.camera)
    if looks is None:
        return None
    people = zip(looks.joints_3d, looks.lifted.joints_2d, looks.scores, strict=True)
    true = scene.frame.bodies
    taken = _taken(looks, scene.camera, spec)
    matches = match_by_pelvis([Body(*person, score=1.0) for person in people], true)
    matches = [(p, t) for p, t in matches if taken[p]]
    if not matches:
        return None
    bodies = [true[t] for _, t in matches]
    return Pair(
        looks, scene.camera, np.array([p for p, _ in matches]),
        np.array([body.joints_2d for body in bodies], np.float64),
        np.array([body.joints_3d for body in bodies], np.float64),
        scene.visibility[[t for _, t in matches]] == _VISIBLE,
    )  # fmt: skip


def _in_picture(pairs: Sequence[Pair]) -> Joints:
    """Visible joints in the picture, as shares of the crop's side."""
    found = []
    for looks, _, rows, pixels, _, visible in pairs:
        side = looks.seen.sides[rows, None, None] * _FAR[0]
        first = (looks.believed[rows] - pixels) / side
        second = (looks.seen.joints_2d[rows] - pixels) / side
        found.append(_chosen(looks, rows, first, second, visible))
    return _joined(found)


def _in_space(estimator: SmapEstimator, pairs: Sequence[Pair], spec: SecondLookSpec) -> Joints:
    """All joints about the pelvis in metres, the first look's by the shares in the picture."""
    alone = spec.model_copy(update={"in_space": ShareWeights(bias=-_SURE)})
    found = []
    for looks, camera, rows, _, points, _ in pairs:
        poses = estimator.as_one(looks, camera, alone).joints_3d[rows].astype(np.float64)
        root = MPI15.root
        true = points - points[:, root, None]
        first = (poses - poses[:, root, None] - true) / _FAR[1]
        second = (looks.seen.poses[rows] - true) / _FAR[1]
        others = np.broadcast_to(np.arange(len(MPI15)) != root, first.shape[:2])
        found.append(_chosen(looks, rows, first, second, others))
    return _joined(found)


def _taken(looks: BothLooks, camera: Camera, spec: SecondLookSpec) -> NDArray[np.bool_]:
    lifted = looks.lifted
    both = together(lifted.joints_2d, looks.believed, looks.scores, looks.seen, camera, spec)
    return both.taken


def _chosen(
    looks: BothLooks, rows: NDArray[np.intp], first: Double, second: Double,
    wanted: NDArray[np.bool_],
) -> Joints:  # fmt: skip
    known = np.isfinite(first).all(axis=-1) & np.isfinite(second).all(axis=-1) & wanted
    seen = looks.seen
    apart = np.linalg.norm(seen.joints_2d - looks.believed, axis=-1) / seen.sides[:, None]
    scores = np.stack([looks.scores, seen.scores, np.clip(apart, 0, MAX_APART)], axis=-1)[rows]
    return Joints(first[known], second[known], np.nan_to_num(scores[known]).astype(np.float64))


def _joined(parts: Sequence[Joints]) -> Joints:
    return Joints(*(np.concatenate([vars(p)[name] for p in parts]) for name in vars(parts[0])))
