"""SMAP's RefineNet: what it is fed, and what its answer means."""

from __future__ import annotations

import numpy as np

from smap_ros.bundles.bundle import Bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.engines import Engine
from smap_ros.engines.base import TensorSpec
from smap_ros.engines.factory import cpu_runtime, open_model
from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.estimators.smap.lifting import (
    CM_PER_M,
    DEFAULT,
    JOINTS,
    Float,
    Lifted,
    LiftingConfig,
)

REFINE_INPUTS, REFINE_OUTPUTS = 5 * JOINTS, 3 * JOINTS


def refine_input(
    lifted: Lifted, config: LiftingConfig = DEFAULT, scores: bool = False, poses: bool = False
) -> Float:
    """What RefineNet is fed: float32 [N, 75], 15 joints x (x, y, X, Y, Z).

    Network pixels and centimetres; the root's are absolute, the others' relative to it; zeros
    for a missing joint. What SMAP doesn't use comes behind them: with ``scores`` the joints'
    scores, 15 numbers, with ``poses`` the poses, 45 numbers, centimetres.

    Raises:
        InputError: if poses are wanted and the people have none.
    """
    xyz_cm = np.nan_to_num(lifted.joints_3d.astype(np.float64)) * CM_PER_M
    rows = np.concatenate([lifted.joints_network, xyz_cm], axis=-1)  # [N, 15, 5]
    root = rows[:, config.root].copy()
    rows -= root[:, None]
    rows[lifted.scores == 0] = 0
    rows[:, config.root] = root
    given = [rows.reshape(len(rows), REFINE_INPUTS)]
    if scores:
        given.append(np.clip(lifted.scores, 0, 1))
    if poses:
        if lifted.poses is None:
            raise InputError("the people have no poses; the network has no output pose")
        given.append(lifted.poses.reshape(len(rows), REFINE_OUTPUTS) * CM_PER_M)
    return np.concatenate(given, axis=1, dtype=np.float32)


def refine_output(
    output: Float, lifted: Lifted, config: LiftingConfig = DEFAULT, moves_root: bool = False
) -> Float:
    """RefineNet's output as absolute joints, metres, float32 [N, 15, 3].

    As in SMAP the refined position is taken for all joints, also those that were found. A joint
    the network gives no finite position keeps the lifted one (NaN if it has none).

    Args:
        output: float32 [N, 45], root-relative centimetres.
        lifted: the people :func:`refine_input` was made from.
        moves_root: the root's row is how far the root, and everybody with it, is to be moved.
            SMAP's is not used: its root keeps its place.

    Raises:
        InputError: if the output doesn't have that shape.
    """
    if output.shape != (len(lifted), REFINE_OUTPUTS):
        raise InputError(
            f"RefineNet's output has shape {output.shape}, expected "
            f"{(len(lifted), REFINE_OUTPUTS)}: one row for each of the {len(lifted)} people"
        )
    relative = output.reshape(-1, JOINTS, 3).astype(np.float64) / CM_PER_M
    move = relative[:, config.root, None].copy() if moves_root else np.zeros((len(lifted), 1, 3))
    relative[:, config.root] = 0
    root = lifted.joints_3d[:, config.root, None] + move
    # A root that would land behind the camera, or nowhere, stays.
    root = np.where(root[..., 2:] > 0, root, lifted.joints_3d[:, config.root, None])
    refined = (root + relative).astype(np.float32)
    unusable = ~np.isfinite(refined).all(axis=-1)  # [N, 15]
    refined[unusable] = lifted.joints_3d[unusable]
    return refined


def open_refine(bundle: Bundle, preferred: str) -> Engine:
    """The refining network on a CPU runtime: 160,000 weights, microseconds, any number of rows."""
    runtime = cpu_runtime(preferred)
    if runtime is None:
        raise EngineError(
            f"bundle {bundle.name!r} has a refining network, which needs a CPU runtime; pip "
            "install onnxruntime, or create the estimator with refine=False"
        )
    return open_model(bundle.read("refine"), runtime, 1)


def check_refine(manifest: SmapManifest, refine: Engine) -> None:
    """Refuse a network that doesn't map the numbers that the manifest says to 45.

    Raises:
        BundleError: if it doesn't.
    """
    inputs = REFINE_INPUTS + (JOINTS if manifest.refine_scores else 0)
    inputs += 3 * JOINTS if manifest.refine_poses else 0
    expected = (TensorSpec("input", (None, inputs), "float32"),
                TensorSpec("output", (None, REFINE_OUTPUTS), "float32"))  # fmt: skip
    got = (*refine.inputs, *refine.outputs)
    if [(s.shape, s.dtype) for s in got] != [(s.shape, s.dtype) for s in expected]:
        raise BundleError(
            f"the refining network of bundle {manifest.name!r} has {', '.join(map(str, got))}; "
            f"expected float32[any, {inputs}] to float32[any, {REFINE_OUTPUTS}]. Export it "
            "with a free first axis"
        )
