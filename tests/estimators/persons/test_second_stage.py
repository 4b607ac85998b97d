"""What estimators behind a first stage share: opening both stages, and refusing other kinds."""

from __future__ import annotations

import re

import numpy as np
import pytest

from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.persons import second_stage as first_stage
from smap_ros.estimators.persons.mesh import MeshEstimator
from smap_ros.estimators.persons.topdown import TopdownEstimator
from smap_ros.estimators.persons.video import VideoEstimator
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.estimators.virtualpose import VirtualPoseEstimator
from tests.conftest import BRIGHT
from tests.video_bundle import write_video_bundle

CPU = {"engine": "onnxruntime", "threads": 1}


@pytest.fixture
def opened(monkeypatch):
    """All that is opened from now on, in its order."""
    parts = []

    def recording(function):
        def open_and_note(*arguments, **options):
            parts.append(function(*arguments, **options))
            return parts[-1]

        return open_and_note

    for name in ("create_engine", "create_estimator", "open_further"):
        monkeypatch.setattr(first_stage, name, recording(getattr(first_stage, name)))
    return parts


@pytest.mark.parametrize(
    ("changes", "options", "error", "count"),
    [
        ({"clip": b"no network"}, {}, EngineError, 2),
        ({}, {"delay": 99}, InputError, 3),
    ],
)
def test_what_was_opened_is_closed_when_a_later_step_fails(
    scene, make_bundle, crop_manifest, tmp_path, opened, changes, options, error, count
):
    make_bundle(scene)
    bundle = write_video_bundle(tmp_path, crop_manifest(), **changes)
    with pytest.raises(error):
        create_estimator(bundle, **CPU, **options)
    assert len(opened) == count
    network, finder, *further = opened
    for engine in (network, *further):
        with pytest.raises(EngineError, match="closed"):
            engine.run({spec.name: np.zeros(1, np.float32) for spec in engine.inputs})
    with pytest.raises(EngineError, match="closed"):
        finder.estimate(scene.image(BRIGHT), scene.camera)


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (TopdownEstimator, "topdown"),
        (MeshEstimator, "mesh"),
        (VideoEstimator, "video"),
        (VirtualPoseEstimator, "virtualpose"),
    ],
)
def test_bundles_of_another_kind_are_refused(scene, make_bundle, opened, estimator, kind):
    words = f"bundle 'scene' is of kind 'smap'; expected {kind}"
    with pytest.raises(BundleError, match=f"^{re.escape(words)}$"):
        estimator.create(make_bundle(scene), **CPU)
    assert not opened


def test_smap_refuses_another_kind_too(make_bundle, scene, crop_manifest, tmp_path):
    make_bundle(scene)
    bundle = write_video_bundle(tmp_path, crop_manifest())
    with pytest.raises(
        BundleError, match=f"bundle '{bundle.name}' is of kind 'video'; expected smap$"
    ):
        SmapEstimator.create(bundle, **CPU)
