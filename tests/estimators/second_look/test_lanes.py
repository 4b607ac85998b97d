"""Crops looked at one after the other and at once, by the shipped landmark network."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.engines import create_engine
from smap_ros.errors import EngineError
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.second_look.lanes import AT_ONCE, Lanes, Pace
from smap_ros.estimators.second_look.region import Region


@pytest.fixture(scope="module")
def opened():
    """Open the lanes of smap_lite."""
    bundle = load_bundle("smap_lite")
    spec = manifest_of(bundle, SmapManifest).second_look
    assert spec is not None
    with closing(create_engine(bundle, "onnxruntime", 1)) as first:
        yield lambda threads: Lanes.open(bundle, spec, first, threads, "f32", None)


@pytest.fixture
def picture():
    """Coarse noise, in which crops differ."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (24, 32, 3)), np.ones((20, 20, 1))).astype(np.uint8)


REGIONS = [Region(200.0, 240.0, 300.0, 0.2, 256), Region(420.0, 200.0, 260.0, -0.4, 256)]


def test_one_thread_has_nothing_to_share(opened) -> None:
    with closing(opened(1)) as lanes:
        assert lanes.widths == (1,)


@pytest.mark.parametrize("threads", [2, 3])
def test_crops_at_once_get_the_answers_that_they_get_alone(opened, picture, threads) -> None:
    with closing(opened(threads)) as lanes:
        assert lanes.widths == (AT_ONCE, 1)
        alone = [lanes(picture, [region])[0] for region in REGIONS]
        for _ in range(5):
            together = lanes(picture, REGIONS)
            for one, two in zip(alone, together, strict=True):
                np.testing.assert_allclose(one.joints, two.joints, rtol=1e-3, atol=1e-2)
                np.testing.assert_allclose(one.pose, two.pose, atol=1e-3)
                assert one.presence == pytest.approx(two.presence, abs=1e-3)
        assert np.abs(alone[0].joints - alone[1].joints).max() > 1


@pytest.mark.parametrize("broken", [0, 1])
def test_a_lane_that_fails_says_so_and_leaves_nobody_at_work(opened, picture, broken) -> None:
    with closing(opened(2)) as lanes:
        lanes._at_once[broken]._engine.close()
        with pytest.raises(EngineError, match="closed"):
            lanes(picture, REGIONS)
        assert lanes(picture, REGIONS[:1])[0] is not None


def test_closing_twice_is_harmless(opened, picture) -> None:
    lanes = opened(2)
    lanes.close()
    lanes.close()
    with pytest.raises(EngineError, match="closed"):
        lanes(picture, REGIONS[:1])


@pytest.mark.parametrize(
    ("people", "left", "count"), [(3, 1.0, 2), (2, 0.02, 2), (2, 0.019, 1), (1, 1.0, 1),
                                  (3, 0.009, 0), (0, 1.0, 0)],
)  # fmt: skip
def test_as_many_are_looked_at_as_there_is_time_for(people, left, count) -> None:
    assert Pace({1: 0.01, 2: 0.02}).fits((2, 1), people, left) == count


def test_the_pace_is_measured_anew_for_each_number() -> None:
    pace = Pace({1: 0.01, 2: 0.02})
    for _ in range(30):
        pace.took(2, 0.04)
    assert pace.fits((2, 1), 2, 0.039) == 1 and pace.fits((2, 1), 2, 0.041) == 2
    assert pace.fits((2, 1), 1, 0.0099) == 0
    pace.forget()
    assert pace.fits((2, 1), 1, 0.0099) == 1
