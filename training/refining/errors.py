"""`smap-train refine`: a RefineNet for one bundle, from its own errors and many simulated poses.

SMAP trains RefineNet (section 3.4) on its network's predictions on the training set. Here the
errors of a bundle are measured on virtual scenes it wasn't trained on, and poses from motion
capture and joint limits, seen by random cameras, are disturbed by errors drawn from them: the
network sees far more poses than were rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch.nn import functional as F
from tqdm import tqdm, trange

from smap_ros.bodies import Body
from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.estimators.smap.lifting import CM_PER_M, Lifted
from smap_ros.estimators.smap.refining import refine_input
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.geometry.letterbox import Letterbox
from smap_ros.skeletons import MPI15
from smap_ros.stopping import held
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.virtual.bodies import BodyPool
from smap_train.virtual.motion import MotionLibrary
from smap_train.virtual.poses import POSTURES, random_pose
from smap_train.virtual.posing import mirrored, mpi15_joints, posed

Float = NDArray[np.float32]
ROOT = MPI15.root

NETWORK_SIZE = (448, 256)
_BATCH = 1024
_MOCAP_SHARE = 0.6
_HELD_OUT = 0.1  # of the measured people, to see whether refining helps
_MEASURED_SHARE = 0.35  # of each batch
_REACH = 2.0  # metres
OPTIONS = {
    "residual": True,
    "scores": True,
    "moves_root": True,
    "hidden": [512, 512, 512, 256],
}  # of the network; it takes poses as well when the bundle tells them


@dataclass(frozen=True)
class Pairs:
    """People as a bundle saw them and as they are. M people, metres, network pixels.

    Attributes:
        found: float32 [M, 15, 3], optical frame; NaN where missing.
        true: float32 [M, 15, 3].
        pixels: float32 [M, 15, 2], where the joints were found; NaN where missing.
        true_pixels: float32 [M, 15, 2].
        scores: float32 [M, 15], 0 where missing.
        focal: float32 [M], network pixels.
        poses: float32 [M, 15, 3], as in :class:`~smap_ros.estimators.smap.lifting.Lifted`; None
            from a bundle that tells none.
    """

    found: Float
    true: Float
    pixels: Float
    true_pixels: Float
    scores: Float
    focal: Float
    poses: Float | None = None

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, rows: NDArray[np.integer]) -> Pairs:
        columns = vars(self).items()
        return Pairs(**{name: None if c is None else c[rows] for name, c in columns})

    @classmethod
    def join(cls, parts: Sequence[Pairs]) -> Pairs:
        """All people of several sets that have the same columns."""
        columns = [[vars(part)[field.name] for part in parts] for field in fields(cls)]
        return cls(*(None if c[0] is None else np.concatenate(c) for c in columns))

    def inputs(self) -> Float:
        """RefineNet's input, float32 [M, 90], or with poses [M, 135]."""
        lifted = Lifted(
            joints_3d=self.found,
            joints_2d=self.pixels,
            scores=self.scores,
            joints_network=np.nan_to_num(self.pixels),
            index=np.arange(len(self)),
            poses=self.poses,
        )
        return refine_input(lifted, scores=True, poses=self.poses is not None)

    def targets(self) -> Float:
        """Root-relative truth, and how far off the root was found; float32 [M, 45], centimetres."""
        relative = self.true - self.true[:, ROOT, None]
        relative[:, ROOT] = self.true[:, ROOT] - self.found[:, ROOT]
        return (relative * CM_PER_M).reshape(len(self), 45).astype(np.float32)

    def true_poses(self) -> Float:
        """What the pelvises should tell, float32 [M, 15, 3]."""
        return told(self.true, self.true_pixels, self.focal)


def told(joints: Float, pixels: Float, focal: Float) -> Float:
    """Joints [M, 15, 3] and where they are seen as a pelvis tells them, float32 [M, 15, 3].

    Joints beside the camera, which are seen anywhere, are kept within reach of the pelvis.
    """
    ratio = joints[:, ROOT, 2] / focal
    plane = np.clip((pixels - pixels[:, ROOT, None]) * ratio[:, None, None], -_REACH, _REACH)
    depth = joints[..., 2:] - joints[:, ROOT, None, 2:]
    return np.concatenate([plane, depth], axis=-1).astype(np.float32)


def measure(bundle: str, scenes: list[Scene], engine: str = "auto") -> Pairs:
    """Run a bundle without refinement on scenes and pair its people with the true ones.

    Raises:
        InputError: if it is not of kind smap, or finds nobody.
    """
    loaded = load_bundle(bundle)
    if loaded.manifest.kind != "smap":
        raise InputError(f"{bundle} is not of kind smap; others have no refining network")
    # Not create_estimator: what it gives shows only what all kinds have.
    estimator = SmapEstimator.create(loaded, engine, refine=False)
    try:
        found = [_pairs(estimator, scene) for scene in tqdm(scenes, desc="measuring", unit="img")]
    finally:
        estimator.close()
    found = [pairs for pairs in found if pairs is not None]
    if not found:
        raise InputError(f"{bundle} finds nobody in the {len(scenes)} scenes; train it first")
    return Pairs.join(found)


def _pairs(estimator: SmapEstimator, scene: Scene) -> Pairs | None:
    """The people of one scene; None if nobody is found."""
    camera, true = scene.camera, scene.frame.bodies
    lifted = estimator.lifted(scene.image(), camera)
    scores = np.clip(lifted.scores, 0, 1)
    people = zip(lifted.joints_3d, lifted.joints_2d, scores, strict=True)
    matches = match_by_pelvis([Body(*person, score=1.0) for person in people], true)
    if not matches:
        return None
    chosen = lifted[[p for p, _ in matches]]
    bodies = [true[t] for _, t in matches]
    fit = Letterbox(camera.width, camera.height, *NETWORK_SIZE)
    true_pixels = np.array([fit.to_network(body.joints_2d) for body in bodies], np.float32)
    return Pairs(
        found=chosen.joints_3d,
        true=np.array([body.joints_3d for body in bodies], np.float32),
        pixels=fit.to_network(chosen.joints_2d).astype(np.float32),
        true_pixels=true_pixels,
        scores=np.clip(chosen.scores, 0, 1),
        focal=np.full(len(chosen), camera.fx * fit.scale, np.float32),
        poses=chosen.poses,
    )


class ErrorModel:
    """Errors of a bundle's people, to be laid over other poses.

    Depth relative to the root is a line through the true one per joint (networks play safe and
    shrink it) plus a residual; image points are off by a share of the person's size; the root's
    depth by a factor; poses by lines and residuals as well. All errors of a person are drawn
    together, so they stay correlated.
    """

    def __init__(self, pairs: Pairs):
        depth = pairs.found[..., 2] - pairs.found[:, ROOT, None, 2]
        true_depth = pairs.true[..., 2] - pairs.true[:, ROOT, None, 2]
        self.scores = pairs.scores
        self.slope = np.array([_slope(t, d) for t, d in zip(true_depth.T, depth.T, strict=True)])
        self.residual = np.nan_to_num(depth - self.slope * true_depth)
        size = _extent(pairs.true_pixels)[:, None, None]
        self.shift = np.nan_to_num((pairs.pixels - pairs.true_pixels) / size)
        self.factor = pairs.found[:, ROOT, 2] / pairs.true[:, ROOT, 2]
        self.pose_slope = self.pose_residual = None
        if pairs.poses is not None:
            true_poses = pairs.true_poses()
            self.pose_slope = np.array(
                [
                    [_slope(true_poses[:, j, axis], pairs.poses[:, j, axis]) for axis in range(3)]
                    for j in range(len(MPI15))
                ]
            )
            self.pose_residual = np.nan_to_num(pairs.poses - self.pose_slope * true_poses)

    def apply(
        self, rng: np.random.Generator, true: Float, true_pixels: Float, focal: Float
    ) -> Pairs:
        """What the bundle might have made of people [M, 15, 3] seen with focal lengths [M]."""
        rows = rng.integers(len(self.factor), size=len(true))
        relative = self.slope * (true[..., 2] - true[:, ROOT, None, 2]) + self.residual[rows]
        depth = true[:, ROOT, 2, None] * self.factor[rows, None] + relative
        pixels = true_pixels + self.shift[rows] * _extent(true_pixels)[:, None, None]
        centre = (np.array(NETWORK_SIZE) - 1) / 2
        plane = (pixels - centre) / focal[:, None, None] * depth[..., None]
        found = np.concatenate([plane, depth[..., None]], axis=-1)
        inside = ((pixels >= 0) & (pixels < NETWORK_SIZE)).all(axis=-1)
        scores = self.scores[rows]
        missing = (scores == 0) | ~inside
        missing[:, ROOT] = False
        found[missing], pixels[missing], scores[missing] = np.nan, np.nan, 0
        columns = [found, true, pixels, true_pixels, scores, focal]
        if self.pose_residual is not None:
            poses = self.pose_slope * told(true, true_pixels, focal) + self.pose_residual[rows]
            columns.append(poses)
        return Pairs(*(column.astype(np.float32) for column in columns))


def _slope(true: Float, found: Float) -> float:
    known = np.isfinite(found) & (np.abs(true) > 1e-6)
    if not known.any():
        return 1.0
    return float((true[known] * found[known]).sum() / (true[known] ** 2).sum())


def _extent(pixels: Float) -> Float:
    """Larger side of each person's box, pixels [M]."""
    size: Float = (np.nanmax(pixels, axis=1) - np.nanmin(pixels, axis=1)).max(axis=-1)
    return np.maximum(size, 8.0)


def sample_poses(motion: Path | None, count: int, seed: int) -> Float:
    """Root-relative joints of random bodies in random poses, float32 [count, 15, 3], z up."""
    rng = np.random.default_rng(seed)
    pool = BodyPool(512, seed=1)
    library = MotionLibrary(motion, "train") if motion else None
    postures = [name for name in POSTURES if name != "lie"]
    weights = np.array([POSTURES[name] for name in postures])
    out = np.empty((count, 15, 3), np.float32)
    for k in trange(count, desc="poses", unit="pose"):
        body = pool[int(rng.integers(64))]
        if library is not None and rng.random() < _MOCAP_SHARE:
            sequence = library[library.names[rng.integers(len(library.names))]]
            pose = sequence.poses[rng.integers(len(sequence))].astype(np.float64)
        else:
            pose = random_pose(rng, str(rng.choice(postures, p=weights / weights.sum())))
        if rng.random() < 0.5:
            pose = mirrored(pose)
        joints = mpi15_joints(body, pool.model, posed(body, pool.model, pose, np.eye(3)))
        out[k] = joints - joints[ROOT]
    return out


def view(rng: np.random.Generator, poses: Float) -> tuple[Float, Float, Float]:
    """Poses [M, 15, 3] before random cameras: joints (optical frame), network pixels, focal."""
    count = len(poses)
    yaw = rng.uniform(-np.pi, np.pi, count)
    pitch = rng.normal(0, np.radians(15), count)
    cos, sin = np.cos(yaw), np.sin(yaw)
    x = cos * poses[..., 0].T - sin * poses[..., 1].T
    y = sin * poses[..., 0].T + cos * poses[..., 1].T
    z = poses[..., 2].T
    # World z up, looking along y: optical x right, y down, z forward; then the camera's pitch.
    down = -z * np.cos(pitch) - y * np.sin(pitch)
    forward = y * np.cos(pitch) - z * np.sin(pitch)
    joints = np.stack([x.T, down.T, forward.T], axis=-1)
    focal = NETWORK_SIZE[0] / 2 / np.tan(rng.uniform(np.radians(45), np.radians(110), count) / 2)
    tall = np.exp(rng.uniform(np.log(40), np.log(300), count))  # pixels of 1.7 m
    depth = np.maximum(1.7 * focal / tall, 0.7)
    at = rng.uniform((40, 60), (NETWORK_SIZE[0] - 40, NETWORK_SIZE[1] - 40), (count, 2))
    centre = (np.array(NETWORK_SIZE) - 1) / 2
    joints[..., :2] += ((at - centre) / focal[:, None] * depth[:, None])[:, None]
    joints[..., 2] = np.maximum(joints[..., 2] + depth[:, None], 0.2)
    pixels = joints[..., :2] / joints[..., 2:] * focal[:, None, None] + centre
    return joints.astype(np.float32), pixels.astype(np.float32), focal.astype(np.float32)


def train(
    pairs: Pairs, poses: Float, steps: int, seed: int, asked: object = False
) -> tuple[torch.nn.Module, str]:
    """Fit a RefineNet.

    Args:
        pairs: people found, and the true ones.
        poses: root-relative joints [N, 15, 3] to lay errors over.
        steps: of the optimiser.
        seed: of all that is drawn.
        asked: true as soon as somebody asks to stop; the network is then as far as it got.

    Returns:
        The network in eval mode, and a line that compares held-out errors before and after.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    order = rng.permutation(len(pairs))
    cut = max(1, int(_HELD_OUT * len(pairs)))
    held_out, measured = pairs[order[:cut]], pairs[order[cut:]]
    errors = ErrorModel(measured)
    network = create("refinenet", **options(pairs)).train()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    inputs, targets = measured.inputs(), measured.targets()
    own = int(_MEASURED_SHARE * _BATCH)
    for _ in trange(steps, desc="refine", unit="step"):
        if asked:
            break
        joints, pixels, focal = view(rng, poses[rng.integers(len(poses), size=_BATCH - own)])
        simulated = errors.apply(rng, joints, pixels, focal)
        rows = rng.integers(len(measured), size=own)
        x = np.concatenate([simulated.inputs(), inputs[rows]])
        y = np.concatenate([simulated.targets(), targets[rows]])
        x, y = (torch.from_numpy(array) for array in half_mirrored(rng, x, y))
        loss = F.smooth_l1_loss(network(x)["out"], y, beta=5.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    return network, _comparison(network, held_out)


def options(pairs: Pairs) -> dict[str, Any]:
    """With what the registry builds the network for these people."""
    return {**OPTIONS, "poses": pairs.poses is not None}


def half_mirrored(rng: np.random.Generator, inputs: Float, targets: Float) -> tuple[Float, Float]:
    """About every second person seen in a mirror; inputs [M, 90 or 135] and targets [M, 45]."""
    rows = rng.random(len(inputs)) < 0.5
    scores = inputs[rows, 75:90][:, MPI15.flip]
    poses = inputs[rows, 90:].reshape(rows.sum(), -1, 3)
    if poses.shape[1]:
        poses = poses[:, MPI15.flip] * np.float32([-1, 1, 1])
    people = inputs[rows, :75].reshape(-1, 15, 5)[:, MPI15.flip]
    people[..., [0, 2]] *= -1
    people[:, ROOT, 0] += NETWORK_SIZE[0] - 1  # the root's column is not relative
    joints = targets[rows].reshape(-1, 15, 3)[:, MPI15.flip]
    joints[..., 0] *= -1
    inputs, targets = inputs.copy(), targets.copy()
    behind = (scores, poses.reshape(rows.sum(), -1))
    inputs[rows] = np.concatenate([people.reshape(-1, 75), *behind], axis=1)
    targets[rows] = joints.reshape(-1, 45)
    return inputs, targets


def _comparison(network: torch.nn.Module, pairs: Pairs) -> str:
    with torch.no_grad():
        refined = network(torch.from_numpy(pairs.inputs()))["out"].numpy().reshape(-1, 15, 3)
    truth = pairs.targets().reshape(-1, 15, 3)
    lifted = (pairs.found - pairs.found[:, ROOT, None]) * CM_PER_M
    mean: Callable[[Float], float] = lambda e: 10 * float(np.nanmean(e))  # noqa: E731  cm to mm
    rest = np.arange(15) != ROOT
    before = np.linalg.norm(lifted - truth, axis=-1)[:, rest]
    after = np.linalg.norm(refined - truth, axis=-1)[:, rest]
    found = np.isfinite(before)
    depth = pairs.true[:, ROOT, 2]
    off = pairs.found[:, ROOT, 2] - depth
    moved = off + refined[:, ROOT, 2] / CM_PER_M
    share: Callable[[Float], float] = lambda e: 100 * float(np.median(np.abs(e) / depth))  # noqa: E731
    return (
        f"{len(pairs)} held-out people, joints found: {mean(before[found]):.1f} mm lifted, "
        f"{mean(after[found]):.1f} mm refined; joints not found: {mean(after[~found]):.1f} mm; "
        f"distance: {share(off):.1f} % lifted, {share(moved):.1f} % refined"
    )


def run(
    bundle: Annotated[str, typer.Argument(help="Bundle whose errors are learned.")],
    out: Annotated[Path, typer.Argument(help="Checkpoint to write.")],
    virtual: Annotated[
        list[Path], typer.Option(help="Shards, best of scenes that the bundle wasn't trained on.")
    ],
    motion: Annotated[Path | None, typer.Option(help="Motion capture (.npz).")] = None,
    poses: Annotated[int, typer.Option(help="Poses to sample.", min=1)] = 100_000,
    steps: Annotated[int, typer.Option(help="Optimiser steps.", min=10)] = 6000,
    seed: int = 0,
) -> None:
    """Train the refining network of a bundle; give the result to `smap-train export --refine`."""
    pairs = measure(bundle, [scene for folder in virtual for scene in open_scenes(folder)])
    sampled = sample_poses(motion, poses, seed)
    with held() as asked:
        network, comparison = train(pairs, sampled, steps, seed, asked)
        stop = asked.take()
        # Under its name only when whole: its rate has not cooled down.
        path = out if stop is None else out.with_name(f"{out.stem}.unfinished{out.suffix}")
        save_checkpoint(path, "refinenet", network.state_dict(), **options(pairs))
    typer.echo(comparison)
    if stop is not None:
        stop.during = f"{path} holds the network as far as it got"
        raise stop
