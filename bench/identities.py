"""Identities on random scenes: crossings, gaps, a turning camera, pairs that merge.

    python bench/identities.py [--scenes N]

People stand, walk and hide one another as in life, seen with the errors of a detector: depth 6 %
rms, 2 cm across the view, one in a hundred missed. A scene is bad when anybody's id changes or two
people have the same one. Prints how many are bad of each kind.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.temporal import Tracker, TrackerConfig

Float = NDArray[np.float64]
Path = Callable[[float], Float]  # seconds to the place of a pelvis, metres

RATE, LENGTH = 15, 60  # pictures a second, and in all
CAMERA = Camera.from_fov(640, 480, np.deg2rad(80))
# A standing person about the pelvis, mpi15.
_SIDE = [[0.18, -0.5], [0.25, -0.2], [0.27, 0.05], [0.1, 0], [0.12, 0.42], [0.12, 0.85]]
POSE = np.array(
    [[0, -0.55, 0], [0, -0.8, 0], [0, 0, 0]]
    + [[x, y, 0] for x, y in _SIDE]
    + [[-x, y, 0] for x, y in _SIDE]
)
_HEIGHT, _WIDTH = 0.3, 0.22  # of the pelvis below the camera; half of what a person hides, metres


@dataclass(frozen=True)
class Scene:
    """People on their paths; who is hidden when, and when a pair is seen as one."""

    paths: list[Path]
    hidden: dict[int, tuple[float, float]] = field(default_factory=dict)
    merged: list[tuple[float, float]] = field(default_factory=list)


def _straight(x: float, z: float, speed: float, middle: float = 2.0) -> Path:
    """Across the view, at ``x`` after ``middle`` seconds."""
    return lambda t: np.array([x + speed * (t - middle), _HEIGHT, z])


def crossing(rng: np.random.Generator) -> Scene:
    """Two people walk past one another; the one behind is hidden meanwhile."""
    z, speed = rng.uniform(3, 5), rng.uniform(0.7, 1.6)
    behind = z + rng.uniform(0.3, 1)
    return Scene([_straight(0, z, speed), _straight(0, behind, -speed * rng.uniform(0.8, 1.1))])


def gap(seconds: float) -> Callable[[np.random.Generator], Scene]:
    """One of two people isn't seen for a while."""

    def make(rng: np.random.Generator) -> Scene:
        z = rng.uniform(3, 5)
        first = _straight(rng.uniform(-0.5, 0.5), z, rng.uniform(-1.2, 1.2))
        other = _straight(rng.uniform(-1, 1), z + rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5))
        return Scene([first, other], hidden={0: (1.5, 1.5 + seconds)})

    return make


def turning(degrees: float) -> Callable[[np.random.Generator], Scene]:
    """The camera looks left and right, at most so fast, at three people."""

    def make(rng: np.random.Generator) -> Scene:
        swing, side = math.radians(22.0), rng.choice([-1, 1])
        pace = math.radians(degrees) / swing  # radians of the swing's phase a second
        paths: list[Path] = []
        for k in range(3):
            place = np.array([rng.uniform(-1.5, 1.5) + 1.2 * (k - 1), _HEIGHT, rng.uniform(3, 6)])
            walks = rng.random() < 0.6
            speed = walks * np.array([rng.uniform(-0.7, 0.7), 0, rng.uniform(-0.5, 0.5)])

            def path(t: float, place: Float = place, speed: Float = speed) -> Float:
                yaw = swing * math.sin(pace * t) * side
                c, s = math.cos(yaw), math.sin(yaw)
                turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
                return turn @ (place + speed * (t - 2))

            paths.append(path)
        return Scene(paths)

    return make


def pair(rng: np.random.Generator) -> Scene:
    """Two people side by side are seen as one, twice."""
    z, speed, apart = rng.uniform(3, 5), rng.uniform(-1, 1), rng.uniform(0.4, 0.6)
    paths = [_straight(-apart / 2, z, speed), _straight(apart / 2, z + 0.1, speed)]
    merged = [(1.0, 1.0 + rng.uniform(0.3, 1.2)), (3.0, 3.0 + rng.uniform(0.2, 0.8))]
    return Scene(paths, merged=merged)


def elsewhere(rng: np.random.Generator) -> Scene:
    """Somebody is gone, and a while later somebody else stands in another place."""
    z, side = rng.uniform(3, 5), rng.choice([-1, 1])
    paths = [_straight(1.6 * side, z, 0), _straight(-1.8 * side, z + rng.uniform(-0.4, 0.4), 0)]
    return Scene(paths, hidden={0: (1.0, math.inf), 1: (0.0, 1.0 + rng.uniform(0.5, 2.3))})


KINDS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "crossing": crossing,
    "hidden for 1 s": gap(1.0),
    "hidden for 2 s": gap(2.0),
    "camera at up to 45 deg/s": turning(45),
    "camera at up to 90 deg/s": turning(90),
    "pair seen as one": pair,
    "another person elsewhere": elsewhere,
}
TRACKERS = {
    "as shipped": TrackerConfig(),
    "turns not estimated": TrackerConfig(estimate_turn=False),
    "death_time 1 s": TrackerConfig(death_time=1.0, fill_time=1.0),
}


def detected(root: Float, rng: np.random.Generator) -> Body:
    """A person as a detector would report them."""
    seen = root * (1 + rng.normal(0, 0.06)) + rng.normal(0, 0.02, 3)
    joints = (seen + POSE + rng.normal(0, 0.04, (15, 3))).astype(np.float32)
    pixels = CAMERA.project((root + POSE).astype(np.float32)) + rng.normal(0, 2, (15, 2))
    return Body(joints, pixels.astype(np.float32), np.full(15, 0.8, np.float32), 0.9)


def visible(roots: list[Float]) -> list[bool]:
    """Who is in the picture and behind nobody."""
    out = []
    for me in roots:
        column = CAMERA.fx * me[0] / max(me[2], 1e-6)
        inside = me[2] > 0.5 and abs(column) < 0.49 * CAMERA.width
        behind = any(
            0.5 < other[2] < me[2] - 0.15
            and abs(CAMERA.fx * other[0] / other[2] - column) < _WIDTH * CAMERA.fx / other[2]
            for other in roots
        )
        out.append(bool(inside and not behind))
    return out


def is_bad(scene: Scene, tracker: Tracker, rng: np.random.Generator) -> bool:
    """Whether anybody's id changes, or is somebody else's."""
    ids: dict[int, set[int | None]] = {}
    for time in np.arange(LENGTH) / RATE:
        roots = [path(float(time)) for path in scene.paths]
        if any(start <= time < end for start, end in scene.merged):
            found = {-1: detected(sum(roots) / len(roots), rng)}
        else:
            seen = [True] * len(roots) if scene.merged else visible(roots)
            found = {
                k: detected(root, rng)
                for k, root in enumerate(roots)
                if seen[k]
                and rng.random() > 0.01
                and not (k in scene.hidden and scene.hidden[k][0] <= time < scene.hidden[k][1])
            }
        order = rng.permutation(list(found))
        tracked = tracker.update([found[k] for k in order], float(time)) or []
        names = {id(p.body.joints_3d): p.body.id for p in tracked if not p.predicted}
        for who, body in found.items():
            if who >= 0 and id(body.joints_3d) in names:
                ids.setdefault(who, set()).add(names[id(body.joints_3d)])
    everybody = [name for names in ids.values() for name in names]
    return len(everybody) != len(ids) or len(everybody) != len(set(everybody))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=60, help="of each kind")
    options = parser.parse_args()
    table = Table(title=f"bad scenes of {options.scenes}")
    for column in ("tracker", *KINDS):
        table.add_column(column)
    for name, config in TRACKERS.items():
        bad = [
            sum(
                is_bad(make(np.random.default_rng(k)), Tracker(config), np.random.default_rng(k))
                for k in range(options.scenes)
            )
            for make in KINDS.values()
        ]
        table.add_row(name, *map(str, bad))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
