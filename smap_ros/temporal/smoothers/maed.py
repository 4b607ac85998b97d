"""The learned smoother: a network that knows how its detector errs, run picture by picture.

Of each picture the network gives what later ones need: keys and values of its attention. They
stay in a ring over the last pictures, so nothing is computed twice, and all people go through it
at once. Where its bundle says so, the direction in which people are seen, and a share of their
depth, come from a Kalman filter instead, as that of ``rts``, which isn't late for people who walk.
It knows people who stand, so all are shown to it as such; see ``quarter_turns``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smoother import SmootherManifest
from smap_ros.engines.base import Engine
from smap_ros.engines.factory import cpu_runtime, create_engine
from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.skeletons import SKELETONS
from smap_ros.temporal.smoothers.base import Float, Seen, rows_before
from smap_ros.temporal.smoothers.quarter_turns import QuarterTurns, turned
from smap_ros.temporal.smoothers.rts import RtsConfig, RtsSmoother

Single = NDArray[np.float32]

_RUNTIME = "onnxruntime"
_OLDEST = 60.0  # seconds beyond which ages make no difference


@dataclass
class _Picture:
    """A picture that is not answered yet.

    Attributes:
        ids: int64 [N], of its people and how they were turned.
        seen: bool [N], who was seen in it.
        joints: float64 [N, J, 3], what is known by now; spread: float64 [N, J], how far it errs.
    """

    ids: NDArray[np.int64]
    seen: NDArray[np.bool_]
    joints: Float
    spread: Float


class MaedSmoother:
    """See ``Smoother``, and the head of this file.

    Args:
        joints: of the joint set.
        delay: pictures to look ahead, one of the bundle's.
        bundle: of kind ``smoother``; name or path.
        engine: runtime of the network.
        threads: of the network.

    Raises:
        BundleError: if there is no such bundle, or it is of another kind or joint set.
        EngineError: if no runtime on the CPU is installed.
        InputError: if it hasn't learned to look so far ahead.
    """

    def __init__(
        self,
        joints: int,
        delay: int = 0,
        bundle: Bundle | str | Path = "maed_smoother",
        engine: str = _RUNTIME,
        threads: int = 1,
    ) -> None:
        bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        manifest = smoother_manifest(bundle)
        if len(SKELETONS[manifest.joint_set]) != joints:
            raise BundleError(
                f"bundle {bundle.name!r} smooths joint set {manifest.joint_set}, these people have "
                f"{joints} joints; choose another smoother"
            )
        if delay not in manifest.delays:
            raise InputError(
                f"bundle {bundle.name!r} looks {', '.join(map(str, manifest.delays))} pictures "
                f"ahead, not {delay}; choose one of these, or smoother rts"
            )
        runtime = cpu_runtime(engine)
        if runtime is None:
            raise EngineError("no runtime for the smoother's network; pip install onnxruntime")
        self.delay = delay
        self._engine = _engine(bundle.folder, bundle.model_hash, runtime, threads)
        self._delays, self._joints = manifest.delays, joints
        skeleton = SKELETONS[manifest.joint_set]
        self._root = skeleton.root
        self._standing = QuarterTurns(skeleton.index("neck"))
        self._shapes = manifest.network_inputs
        self._before = manifest.window - 1
        self._path = _direction_filter(manifest.direction, delay) if manifest.direction else None
        self._depth_share = manifest.depth_share
        self.reset()

    def reset(self) -> None:
        """See :meth:`Smoother.reset`."""
        self._count = 0  # pictures so far; number k is in slot k % before
        self._times = np.full(self._before, -np.inf)
        self._ids = np.zeros(0, np.int64)
        self._unseen = np.zeros(0, np.int64)  # pictures since each person was seen
        self._state = {
            name: np.zeros((0, *self._shapes[name][1:]), np.float32)
            for name in ("memory", "past", "sums")
        }
        self._standing.reset()
        self._waiting: deque[_Picture] = deque()
        self._spreads: deque[Float] = deque()
        if self._path is not None:
            self._path.reset()

    def update(self, seen: Seen) -> Float | None:
        """See :meth:`Smoother.update`."""
        path = None if self._path is None else self._path.update(_only_root(seen))
        turns = self._standing.update(seen)
        # Who is turned anew is somebody new to the network, whose memory is turned otherwise.
        seen = replace(seen, ids=4 * seen.ids + turns, joints=turned(seen.joints, turns))
        self._carry(seen.ids)
        there = np.isfinite(seen.joints).all(axis=2) & (seen.scores > 0)
        self._unseen = np.where(there[:, seen.root], 0, self._unseen + 1)
        answers, spreads = self._run(seen, there)
        answers = turned(answers, -turns)
        self._waiting.append(_Picture(seen.ids, there[:, seen.root], answers[:, 0], spreads[:, 0]))
        for k, delay in enumerate(self._delays):
            if 0 < delay <= self.delay and delay < len(self._waiting):
                self._learn(self._waiting[-1 - delay], answers[:, k], spreads[:, k])
        return self._due(path) if len(self._waiting) > self.delay else None

    def flush(self) -> list[Float]:
        """See :meth:`Smoother.flush`."""
        paths = [None] * len(self._waiting) if self._path is None else self._path.flush()
        return [self._due(path) for path in paths]

    def _due(self, path: Float | None) -> Float:
        """The oldest picture's joints, seen where ``path``, [N, 1, 3], says."""
        picture = self._waiting.popleft()
        joints = picture.joints
        if path is not None:
            joints = _moved(joints, path, self._root, self._depth_share)
        due: Float = np.where(picture.seen[:, None, None], joints, np.nan)
        self._spreads.append(np.where(picture.seen[:, None], picture.spread, np.nan))
        return due

    def take_spread(self) -> Float:
        """See :meth:`Certain.take_spread`."""
        return self._spreads.popleft()

    def _learn(self, picture: _Picture, joints: Float, spread: Float) -> None:
        """What is told now of the people of an earlier picture, of those who are still there."""
        rows = rows_before(picture.ids, self._ids)
        known = rows >= 0
        picture.joints[known], picture.spread[known] = joints[rows[known]], spread[rows[known]]

    def _carry(self, ids: NDArray[np.int64]) -> None:
        """Make the state that of these people, forgetting all others."""
        if np.array_equal(ids, self._ids):
            return
        rows = rows_before(ids, self._ids)
        old = rows >= 0
        for name, before in self._state.items():
            state = np.zeros((len(ids), *before.shape[1:]), np.float32)
            state[old] = before[rows[old]]
            self._state[name] = state
        # Of those who are new nothing earlier is asked.
        self._unseen = np.where(old, self._unseen[rows] if len(self._unseen) else 0, self.delay)
        self._ids = ids

    def _run(self, seen: Seen, there: NDArray[np.bool_]) -> tuple[Float, Float]:
        """What the network tells of the pictures ``delays`` back, and its spread; it remembers.

        Returns:
            [N, D, J, 3] and [N, D, J].

        It isn't asked of people of whom all pictures that wait for an answer show nothing: those
        who are predicted for long cost nothing.
        """
        slot = self._count % self._before
        answers = np.full((len(seen.ids), len(self._delays), self._joints, 3), np.nan)
        spreads = answers[..., 0].copy()
        asked = self._unseen <= self.delay
        self._state["past"][~asked, slot] = 0
        if asked.any():
            rows = slice(None) if asked.all() else np.flatnonzero(asked)
            outputs = self._engine.run(self._inputs(seen, there, rows))
            answers[rows], spreads[rows] = outputs["answer"], outputs["spread"]
            self._state["memory"][rows, slot] = outputs["new_memory"]
            self._state["past"][rows, slot] = outputs["new_past"]
            self._state["sums"][rows] = outputs["new_sums"]
        self._times[slot] = seen.time
        self._count += 1
        return answers, spreads

    def _inputs(
        self, seen: Seen, there: NDArray[np.bool_], rows: slice | NDArray[np.intp]
    ) -> dict[str, Single]:
        age = np.minimum(seen.time - self._times, _OLDEST)
        back = np.zeros((len(self._delays) - 1, self._before), np.float32)
        for row, delay in enumerate(self._delays[1:]):
            if delay <= self._count:
                back[row, (self._count - delay) % self._before] = 1
        return {
            "joints": np.where(there[..., None], seen.joints, 0)[rows].astype(np.float32),
            "scores": np.where(there, seen.scores, 0)[rows].astype(np.float32),
            "age": age.astype(np.float32),
            "back": back,
            **{name: state[rows] for name, state in self._state.items()},
        }


def _direction_filter(acceleration: float, delay: int) -> RtsSmoother:
    usual = RtsConfig()
    return RtsSmoother(
        1, delay, replace(usual, acceleration=(acceleration, *usual.acceleration[1:]))
    )


def _only_root(seen: Seen) -> Seen:
    """People of one joint."""
    root = slice(seen.root, seen.root + 1)
    return replace(seen, joints=seen.joints[:, root], scores=seen.scores[:, root], root=0)


def _moved(joints: Float, path: Float, root: int, depth_share: float) -> Float:
    """People [N, J, 3] moved to where their roots are seen, [N, 1, 3], if known.

    Across the view wholly, along it by a share of the logarithm.
    """
    told = joints[:, root : root + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        depth = told[..., 2:] * (path[..., 2:] / told[..., 2:]) ** depth_share
        moved = path / path[..., 2:] * depth - told
    out: Float = joints + np.where(np.isfinite(moved), moved, 0.0)
    return out


@cache
def _engine(folder: Path, model_hash: str, runtime: str, threads: int) -> Engine:
    """The network, loaded once a process: it has no state, and settings change at any time."""
    del model_hash  # of the file that is meant, should it be replaced
    return create_engine(load_bundle(folder), runtime, threads)


def smoother_manifest(bundle: Bundle) -> SmootherManifest:
    """The manifest of a bundle that smooths.

    Raises:
        BundleError: if it doesn't.
    """
    if not isinstance(bundle.manifest, SmootherManifest):
        raise BundleError(
            f"bundle {bundle.name!r} is of kind {bundle.kind!r}; expected a smoother's, like "
            "maed_smoother"
        )
    return bundle.manifest
