"""The learned smoother: a network that knows how its detector errs, run picture by picture.

Of each picture the network gives what later ones need: keys and values of its attention. They
stay in a ring over the last pictures, so nothing is computed twice, and all people go through it
at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
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

Single = NDArray[np.float32]

_RUNTIME = "onnxruntime"
_OLDEST = 60.0  # seconds beyond which ages make no difference


@dataclass
class _Picture:
    """A picture that is not answered yet.

    Attributes:
        ids: int64 [N], of its people.
        seen: bool [N], who was seen in it.
        joints: float64 [N, J, 3], what is known by now.
    """

    ids: NDArray[np.int64]
    seen: NDArray[np.bool_]
    joints: Float


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
        self._shapes = manifest.network_inputs
        self._before = manifest.window - 1
        self.reset()

    def reset(self) -> None:
        """See :meth:`Smoother.reset`."""
        self._count = 0  # pictures so far; number k is in slot k % before
        self._times = np.full(self._before, -np.inf)
        self._ids = np.zeros(0, np.int64)
        self._state = {
            name: np.zeros((0, *self._shapes[name][1:]), np.float32)
            for name in ("memory", "past", "sums")
        }
        self._waiting: deque[_Picture] = deque()

    def update(self, seen: Seen) -> Float | None:
        """See :meth:`Smoother.update`."""
        self._carry(seen.ids)
        there = np.isfinite(seen.joints).all(axis=2) & (seen.scores > 0)
        answers = self._run(seen, there)
        self._waiting.append(_Picture(seen.ids, there[:, seen.root], answers[:, 0]))
        for k, delay in enumerate(self._delays):
            if 0 < delay <= self.delay and delay < len(self._waiting):
                self._learn(self._waiting[-1 - delay], answers[:, k])
        return self._due() if len(self._waiting) > self.delay else None

    def flush(self) -> list[Float]:
        """See :meth:`Smoother.flush`."""
        return [self._due() for _ in range(len(self._waiting))]

    def _due(self) -> Float:
        picture = self._waiting.popleft()
        joints: Float = np.where(picture.seen[:, None, None], picture.joints, np.nan)
        return joints

    def _learn(self, picture: _Picture, joints: Float) -> None:
        """What is told now of the people of an earlier picture, of those who are still there."""
        rows = rows_before(picture.ids, self._ids)
        known = rows >= 0
        picture.joints[known] = joints[rows[known]]

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
        self._ids = ids

    def _run(self, seen: Seen, there: NDArray[np.bool_]) -> Float:
        """What the network tells of the pictures ``delays`` back, [N, D, J, 3]; it remembers."""
        slot = self._count % self._before
        answers = np.zeros((len(seen.ids), len(self._delays), self._joints, 3))
        if len(seen.ids):
            outputs = self._engine.run(self._inputs(seen, there))
            answers[:] = outputs["answer"]
            self._state["memory"][:, slot] = outputs["new_memory"]
            self._state["past"][:, slot] = outputs["new_past"]
            self._state["sums"] = np.array(outputs["new_sums"])
        self._times[slot] = seen.time
        self._count += 1
        return answers

    def _inputs(self, seen: Seen, there: NDArray[np.bool_]) -> dict[str, Single]:
        age = np.minimum(seen.time - self._times, _OLDEST)
        back = np.zeros((len(self._delays) - 1, self._before), np.float32)
        for row, delay in enumerate(self._delays[1:]):
            if delay <= self._count:
                back[row, (self._count - delay) % self._before] = 1
        return {
            "joints": np.where(there[..., None], seen.joints, 0).astype(np.float32),
            "scores": np.where(there, seen.scores, 0).astype(np.float32),
            "age": age.astype(np.float32),
            "back": back,
            **self._state,
        }


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
