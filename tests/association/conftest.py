"""Golden scenes of the part association, and the plain-Python yardstick of the bench."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "smap_post"
SCENES = json.loads((GOLDENS / "assoc_scenes.json").read_text())


@dataclass(frozen=True)
class Golden:
    """One golden scene with what SMAP's own code makes of it."""

    maps: np.ndarray
    root_depth: np.ndarray
    root: int
    dist_flag: bool
    counts: np.ndarray
    peaks: np.ndarray
    scores: np.ndarray
    people: np.ndarray


def _load(data: np.lib.npyio.NpzFile, scene: dict) -> Golden:
    name = scene["name"]
    maps = data[f"{name}_maps16"].astype(np.float32)
    root_depth = data[f"{name}_rdepth16"].astype(np.float32)
    if scene["noise_seed"] is not None:
        rng = np.random.Generator(np.random.PCG64(scene["noise_seed"]))
        noise = rng.standard_normal(maps.shape, np.float32)
        noise[:15] *= np.float32(scene["sig_hm"])
        noise[15:] *= np.float32(scene["sig_paf"])
        maps += noise
        root_depth += np.float32(scene["sig_rd"]) * rng.standard_normal(
            root_depth.shape, np.float32
        )
    people = data[f"{name}_pred_r{scene['root']}_d{int(scene['dist'])}"]
    return Golden(
        maps,
        root_depth,
        scene["root"],
        scene["dist"],
        data[f"{name}_peak_counts"],
        data[f"{name}_peaks"],
        data[f"{name}_pafscores"],
        people.reshape(-1, 15, 4),
    )


@pytest.fixture(
    params=SCENES, ids=lambda scene: f"{scene['name']}-root{scene['root']}-dist{scene['dist']}"
)
def golden(request: pytest.FixtureRequest) -> Golden:
    with np.load(GOLDENS / "assoc.npz") as data:
        return _load(data, request.param)


@pytest.fixture(scope="session")
def naive() -> ModuleType:
    """bench/naive_association.py, loaded from its file: the bench is no package."""
    path = ROOT / "bench" / "naive_association.py"
    spec = importlib.util.spec_from_file_location("naive_association", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
