"""Recipes on data sets as their publishers lay them out: configuration, samples, their targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.skeletons import MPI15, SPIN49

from ..data import published
from .tiny import tiny


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def finite(sample: dict) -> bool:
    return all(torch.isfinite(value.float()).all() for value in sample.values())


def test_virtualpose_sees_panoptics_pictures(tmp_path):
    folder = published.panoptic(tmp_path / "panoptic")
    panoptic = {"layout": "panoptic", "annotations": folder, "images": folder, "every": 3}
    recipe = tiny("virtualpose_backbone", tmp_path, virtual=[], data_3d=[panoptic], joints=15)
    sample = recipe.dataset()[0]
    assert finite(sample) and sample["in_view"].sum() == 2
    lacking = {MPI15.joints[k] for k in np.flatnonzero(sample["labelled"].numpy() == 0)}
    assert lacking in ({"head_top", "l_wrist"}, {"head_top", "r_wrist"})  # mirrored by chance
    assert len(recipe.files()) == 2


def test_virtualpose_puts_panoptics_people_anywhere(tmp_path):
    folder = published.panoptic(tmp_path / "panoptic")
    for file in folder.rglob("body3DScene_*.json"):  # all joints certain
        file.write_text(file.read_text().replace("-1.0", "0.8"))
    recipe = tiny("virtualpose_synthetic", tmp_path, virtual=[], panoptic=folder)
    scene = recipe.dataset()[1]
    assert scene.seen.joints_mm.shape == (4, 15, 3) and np.isfinite(scene.seen.maps).all()
    tall = np.ptp(scene.seen.joints_mm[..., 2], axis=1)
    assert (tall > 1400).all() and (tall < 1800).all()
    assert len(recipe.files()) == 2  # every third of three frames, and the calibration


def test_crowdnet_learns_from_3dpws_bodies(tmp_path):
    folder = published.threedpw(tmp_path / "3dpw")
    data = {
        "layout": "3dpw", "annotations": folder / "sequenceFiles/train",
        "images": folder / "imageFiles",
    }  # fmt: skip
    recipe = tiny("crowdnet", tmp_path, virtual=[], data_3d=[data])
    sample = recipe.dataset()[0]
    assert finite(sample) and sample["has_3d"] == 1
    assert sample["joints_img_mask"].sum() > 15


def test_mobilehuman_learns_from_mpi_inf_3dhp(tmp_path):
    folder = published.mpi_inf_3dhp(tmp_path / "mpi")
    data = {"layout": "mpi_inf_3dhp", "annotations": folder, "images": folder, "every": 9}
    recipe = tiny("mobilehuman", tmp_path, virtual=[], data_3d=[data], joints=21)
    records = recipe.dataset().groups[0][0].records
    for record in records:
        published.write_picture(record.image, (2048, 2048))
    sample = recipe.dataset()[0]
    assert finite(sample) and sample["has_depth"] == 1 and sample["visible"].sum() > 15


def test_maed_learns_from_films_as_published(tmp_path):
    walks = published.threedpw(tmp_path / "3dpw")
    track = published.posetrack(tmp_path / "posetrack")
    penn = published.penn_action(tmp_path / "penn")
    for k in range(published.FRAMES):
        published.write_picture(track.parent / f"images/train/000001_bonn/{k:06d}.jpg", (320, 240))
        published.write_picture(penn / f"frames/0001/{k + 1:06d}.jpg", (320, 240))
    sets: dict[str, list[dict[str, str | Path | int]]] = {
        "clips_3d": [
            {"layout": "3dpw", "database": walks / "sequenceFiles", "stride": 8,
             "images": walks / "imageFiles"},
        ],
        "clips_2d": [
            {"layout": "posetrack", "database": track / "train", "images": track.parent},
            {"layout": "penn_action", "database": penn, "images": penn},
        ],
        "pictures": [{"layout": "posetrack", "database": track, "images": track.parent}],
    }  # fmt: skip
    recipe = tiny("maed", tmp_path, virtual=[], virtual_films=[], **sets)
    samples = [recipe.dataset()[k] for k in range(24)]
    assert all(finite(sample) for sample in samples)
    assert {len(sample["clip"]) for sample in samples} == {1, 2}
    deep = [sample["joints_3d"][..., 3].sum() > 0 for sample in samples]
    assert any(deep) and not all(deep)
    hips = [SPIN49.index(name) for name in ("l_hip", "r_hip")]
    assert all(
        (s["joints_3d"][:, hips, 3] == 1).all() for s, d in zip(samples, deep, strict=True) if d
    )
    assert len(recipe.files()) == 4
