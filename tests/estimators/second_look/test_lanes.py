"""Crops looked at one after the other and at once, by the shipped landmark network."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.engines import create_engine, further
from smap_ros.engines.factory import open_model
from smap_ros.errors import EngineError
from smap_ros.estimators.checks import manifest_of
from smap_ros.estimators.second_look.lanes import AT_ONCE, Lanes, Pace
from smap_ros.estimators.second_look.region import Region


@pytest.fixture(scope="module")
def smap_lite():
    """The bundle and what it says of its second look."""
    bundle = load_bundle("smap_lite")
    return bundle, manifest_of(bundle, SmapManifest).second_look


@pytest.fixture(scope="module")
def opened(smap_lite):
    """Open its lanes on ONNX Runtime."""
    with closing(create_engine(smap_lite[0], "onnxruntime", 1)) as first:
        yield lambda threads: Lanes.open(*smap_lite, first, threads, "f32", None)


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
        assert lanes.widths == (1, AT_ONCE)
        alone = [lanes(picture, [region])[0] for region in REGIONS]
        for _ in range(5):
            together = lanes(picture, REGIONS)
            for one, two in zip(alone, together, strict=True):
                np.testing.assert_allclose(one.joints, two.joints, rtol=0, atol=1e-3)
                np.testing.assert_allclose(one.pose, two.pose, rtol=0, atol=1e-5)
                assert one.presence == pytest.approx(two.presence, abs=1e-5)
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
    for regions in (REGIONS[:1], REGIONS):
        with pytest.raises(EngineError, match="closed"):
            lanes(picture, regions)


def test_where_nothing_is_gained_there_is_one(smap_lite) -> None:
    pytest.importorskip("openvino")
    bundle, spec = smap_lite
    with (
        closing(create_engine(bundle, "openvino", 2)) as first,
        closing(Lanes.open(bundle, spec, first, 2, "f32", None)) as lanes,
    ):
        assert lanes.widths == (1,)


def test_behind_tensorrt_the_reason_is_found_once(smap_lite, picture, monkeypatch) -> None:
    asked = []

    def refused(model, runtime, *args, **options):
        asked.append(runtime)
        if runtime == "tensorrt":
            raise EngineError("no device")
        return open_model(model, runtime, *args)

    monkeypatch.setattr(further, "open_model", refused)
    monkeypatch.setattr(further, "cpu_runtime", lambda preferred: "onnxruntime")
    first = SimpleNamespace(name="tensorrt", notes=())
    with closing(Lanes.open(*smap_lite, first, 2, "f32", None)) as lanes:
        assert lanes(picture, REGIONS)[1] is not None
    assert asked == ["tensorrt", *["onnxruntime"] * (1 + AT_ONCE)]
    assert first.notes == ("tensorrt for second: no device",)


def test_what_was_loaded_is_closed_when_a_copy_fails(smap_lite, monkeypatch) -> None:
    loaded = []

    def third_fails(*args, **options):
        if len(loaded) == AT_ONCE:
            raise EngineError("no memory")
        loaded.append(further.open_further(*args, **options))
        return loaded[-1]

    monkeypatch.setattr("smap_ros.estimators.second_look.lanes.open_further", third_fails)
    with (
        closing(create_engine(smap_lite[0], "onnxruntime", 1)) as first,
        pytest.raises(EngineError, match="no memory"),
    ):
        Lanes.open(*smap_lite, first, 2, "f32", None)
    assert [engine.handle for engine in loaded] == [None] * AT_ONCE


@pytest.mark.parametrize(
    ("people", "left", "count"), [(3, 1.0, 2), (2, 0.02, 2), (2, 0.019, 1), (1, 1.0, 1),
                                  (3, 0.009, 0), (0, 1.0, 0)],
)  # fmt: skip
def test_as_many_are_looked_at_as_there_is_time_for(people, left, count) -> None:
    assert Pace({1: 0.01, 2: 0.02}).fits(people, left) == count


def test_the_pace_follows_what_is_measured() -> None:
    pace = Pace({1: 0.01, 2: 0.02})
    for _ in range(30):
        pace.took(1, 0.03)
        pace.took(2, 0.04)
    assert pace.fits(2, 0.039) == 1 and pace.fits(2, 0.041) == 2 and pace.fits(1, 0.029) == 0
    for _ in range(20):
        pace.forget()
    assert pace.fits(2, 0.02) == 2


@pytest.mark.parametrize("slow", [1, 2])
def test_a_slow_moment_does_not_rule_a_number_out(slow) -> None:
    started = Pace({1: 0.009, 2: 0.015} | {slow: 5.0})
    after = Pace({1: 0.009, 2: 0.015})
    after.took(slow, 5.0)
    after.took(3 - slow, 0.009 * (3 - slow))
    for pace in (started, after):
        assert pace.fits(2, 0.02) == 2 and pace.fits(1, 0.02) == 1
