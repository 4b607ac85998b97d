"""The bench: a row for each runtime, whole even when one fails."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from smap_ros.cli.bench import run
from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.estimators.options import ModelChoice
from smap_ros.offline import bench


def text(table) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def test_every_runtime_is_measured_on_the_whole_way(scene, make_bundle):
    rows = bench.run(make_bundle(scene), threads=1, seconds=0.05, image=scene.image(250))
    assert {row.engine for row in rows} >= {"onnxruntime", "openvino"}
    for row in rows:
        assert [stage for stage, _ in row.stages_ms] == [
            "preprocess", "network", "association", "lifting",
        ]  # fmt: skip
        assert row.people == 3 and row.frames >= 1 and not row.failure
        assert 0 < row.median_ms <= row.p95_ms and row.rate == pytest.approx(1e3 / row.median_ms)
    assert [row.median_ms for row in rows] == sorted(row.median_ms for row in rows)
    printed = text(bench.render(rows, "scene"))
    assert "network ms" in printed and "onnxruntime" in printed and "scene" in printed


def test_a_runtime_that_fails_has_its_reason_in_the_table(scene, make_bundle, monkeypatch):
    versions = {"tensorrt": "10", "onnxruntime": "1"}
    monkeypatch.setattr(bench, "available_engines", lambda: versions)
    rows = bench.run(make_bundle(scene), threads=1, size=(64, 48), seconds=0.01)
    assert [row.engine for row in rows] == ["onnxruntime", "tensorrt"]
    assert "TensorRT" in rows[1].failure
    for shown in (rows, rows[1:]):  # whole, however narrow the table is
        assert f"tensorrt: {rows[1].failure}" in " ".join(text(bench.render(shown)).split())
    assert rows[1].rate == 0


def test_one_engine_that_was_asked_for_must_work(scene, make_bundle):
    with pytest.raises(EngineError, match="unknown"):
        bench.run(make_bundle(scene), "caffe", seconds=0.01)
    (row,) = bench.run(make_bundle(scene), "openvino", threads=1, size=(64, 48), seconds=0.01)
    assert row.engine == "openvino" and "openvino" in row.device


@pytest.mark.parametrize(
    "arguments",
    [
        {"seconds": 0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"size": (0, 10)},
        {"size": (10**6, 10**6)},
    ],
)
def test_impossible_measurements_are_refused(arguments):
    with pytest.raises(InputError, match=r"positive|at most 100 megapixels"):
        bench.run("smap_lite", **arguments)


def test_people_are_in_the_picture_that_is_measured_on_by_default():
    (row,) = bench.run(engine="onnxruntime", threads=1, size=(640, 360), seconds=0.01)
    assert row.people == 3 and "second look" in dict(row.stages_ms)
    lines = text(bench.render([row])).splitlines()
    assert ["people", "3"] in [line.split() for line in lines]


def test_a_folder_without_a_readable_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"no image could be read from .*; expected a picture"):
        run(ModelChoice.of({}), "all", (64, 48), 0.01, tmp_path, None)


def test_missing_bundle_is_refused():
    with pytest.raises(BundleError, match="no bundle"):
        bench.run("no_such_model")


def test_a_stage_that_the_fastest_runtime_had_not_is_shown():
    few = bench.Row("a", "a", stages_ms=(("network", 1.0),), median_ms=1.2, p95_ms=1.3)
    many = bench.Row(
        "b", "b", stages_ms=(("network", 1.0), ("second look", 10.0)), median_ms=11.2, p95_ms=11.3
    )
    lines = [line.split() for line in text(bench.render([few, many])).splitlines()]
    second, total = ["second", "look", "ms", "10.0"], ["total", "ms", "1.2", "11.2"]
    assert lines.index(second) < lines.index(total)


def test_nothing_measured_is_an_empty_table():
    assert "engine" in text(bench.render([]))
