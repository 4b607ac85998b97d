"""The shipped mobilehuman_lite on the shipped clip, behind smap_lite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.estimators import create_estimator
from smap_ros.evaluation.common.metrics import match_by_pelvis
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.skeletons import MPI15

CLIP = Path(__file__).parents[2] / "config" / "demo" / "truth.json"
FRAMES = slice(0, None, 15)
PELVIS = MPI15.root


@pytest.fixture(scope="module")
def seen():
    """Of each picture: who is there, and whom smap_lite and mobilehuman_lite see."""
    estimators = [
        create_estimator(name, "onnxruntime", threads=1)
        for name in ("smap_lite", "mobilehuman_lite")
    ]
    scenes = [
        (scene.frame.bodies, *(e.estimate(scene.image(), scene.camera).bodies for e in estimators))
        for scene in read_clip(CLIP)[FRAMES]
    ]
    for estimator in estimators:
        estimator.close()
    return scenes


def about_pelvis(points):
    return points - points[PELVIS]


def test_its_people_are_the_first_stages(seen):
    for _, first, second in seen:
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert one.score == other.score


def test_poses_are_about_right(seen):
    """Far from good, but people and not noise; left is left."""
    errors, exchanged, moved = [], [], []
    for true, first, second in seen:
        for p, t in match_by_pelvis(second, true):
            found, right = about_pelvis(second[p].joints_3d), about_pelvis(true[t].joints_3d)
            errors.append(np.nanmean(np.linalg.norm(found - right, axis=1)))
            exchanged.append(np.nanmean(np.linalg.norm(found[MPI15.flip] - right, axis=1)))
        for one, other in zip(first, second, strict=True):
            moved.append(np.nanmean(np.abs(one.joints_3d - other.joints_3d)))
    assert len(errors) > 10
    assert np.median(errors) < 0.25 and np.median(errors) < np.median(exchanged)
    assert np.median(moved) > 0.01  # they are its own


def test_it_says_what_it_is():
    manifest = load_bundle("mobilehuman_lite").manifest
    assert (manifest.kind, manifest.first_stage, manifest.joint_set) == (
        "topdown", "smap_lite", "mpi15"
    )  # fmt: skip
    assert "research" in manifest.licence  # LSPET's
