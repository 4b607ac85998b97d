"""The choice of the fastest runtime: measured, remembered, overridable."""

from __future__ import annotations

import json
import logging

import pytest

from smap_ros.engines import create_engine, factory
from smap_ros.engines.factory import measure


@pytest.fixture
def bundle(scene, make_bundle, network_onnx, monkeypatch):
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.05)
    return make_bundle(scene, network_onnx)


@pytest.fixture
def choices(own_cache):
    path = own_cache / "smap_ros" / "engine_choice.json"
    path.unlink(missing_ok=True)
    return path


def words(caplog) -> str:
    text = caplog.text
    caplog.clear()
    return text


def test_choice_is_measured_once_and_remembered(bundle, choices, caplog):
    caplog.set_level(logging.INFO, logger="smap_ros")
    first = create_engine(bundle, threads=1)
    text = words(caplog)
    assert "openvino" in text and "onnxruntime" in text and "ms a frame" in text
    assert f"engine {first.name} chosen" in text
    kept = {"engine": first.name, "notes": []}
    assert list(json.loads(choices.read_text()).values()) == [kept]
    second = create_engine(bundle, threads=1)
    text = words(caplog)
    assert second.name == first.name
    assert "measured earlier" in text and "ms a frame" not in text


def test_choice_can_be_overridden_and_measured_again(bundle, choices, caplog):
    caplog.set_level(logging.INFO, logger="smap_ros")
    create_engine(bundle, threads=1).close()
    (key,) = json.loads(choices.read_text())
    for name in ("onnxruntime", "openvino"):
        choices.write_text(json.dumps({key: {"engine": name, "notes": ["why"]}}))
        taken = create_engine(bundle, threads=1)
        assert (taken.name, taken.notes) == (name, ("why",)), "the remembered one is taken"
        assert create_engine(bundle, name, threads=1).name == name, "the named one is taken"
    words(caplog)
    create_engine(bundle, threads=1, remeasure=True)
    assert "ms a frame" in words(caplog)


def test_other_threads_are_another_choice(bundle, choices):
    create_engine(bundle, threads=1)
    create_engine(bundle, threads=2)
    assert len(json.loads(choices.read_text())) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"KEY": "caffe"}', '{"KEY": 3}', '{"KEY": {"engine": 3}}']
)
def test_damaged_memory_means_measuring_again(bundle, choices, caplog, text):
    caplog.set_level(logging.INFO, logger="smap_ros")
    create_engine(bundle, threads=1)
    (key,) = json.loads(choices.read_text())
    choices.write_text(text.replace("KEY", key))
    words(caplog)
    create_engine(bundle, threads=1)
    assert "ms a frame" in words(caplog)


def test_remembered_runtime_that_fails_now_is_replaced(bundle, choices, monkeypatch, caplog):
    create_engine(bundle, threads=1)
    (key,) = json.loads(choices.read_text())
    choices.write_text(json.dumps({key: {"engine": "tensorrt", "notes": []}}))
    monkeypatch.setattr(
        factory,
        "available_engines",
        lambda: {"openvino": "1", "onnxruntime": "1", "tensorrt": "10"},
    )
    monkeypatch.setattr(factory, "_choice_key", lambda *_: key)
    assert create_engine(bundle, threads=1).name in ("openvino", "onnxruntime")
    assert "tensorrt, chosen earlier, fails now" in caplog.text


def test_measuring_reports_plausible_times(bundle):
    timing = measure(create_engine(bundle, "onnxruntime", threads=1), seconds=0.05)
    assert 0 < timing.least_ms <= timing.median_ms <= timing.p95_ms < 1000 and timing.runs >= 3
