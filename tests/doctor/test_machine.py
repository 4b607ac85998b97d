"""The doctor on this machine, and on machines where things are broken."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from smap_ros.bundles.bundle import list_bundles
from smap_ros.doctor import machine as doctor


def text(sections) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(doctor.render(sections))
    return out.getvalue()


@pytest.fixture(scope="module")
def report():
    return doctor.report()


def test_every_subject_is_reported(report):
    titles = [section.title for section in report]
    assert titles == ["Machine", "ROS 2", "Runtimes on the CPU", "NVIDIA", "Cameras", "Models"]
    assert all(section.checks for section in report)


def test_what_is_here_is_found(report):
    checks = {check.name: check for section in report for check in section.checks}
    assert checks["openvino"].ok and "CPU" in checks["openvino"].detail
    assert checks["onnxruntime"].ok
    assert "talks to the driver" in checks["CUDA package"].detail
    assert str(sys.version_info.minor) in checks["Python"].detail
    for name in list_bundles():
        assert checks[name].ok and "sha256" in checks[name].detail


def test_what_is_missing_comes_with_a_way_to_get_it(report):
    missing = [c for section in report for c in section.checks if not c.ok]
    assert all(check.detail or check.hint for check in missing)
    printed = text(report)
    for check in missing:
        assert check.name in printed


@pytest.mark.parametrize("driver", [True, False])
def test_the_package_for_cuda_talks_to_no_driver_where_there_is_none(monkeypatch, driver):
    monkeypatch.setattr(Path, "is_file", lambda _: driver)
    monkeypatch.setattr(Path, "read_text", lambda _: "NVRM version: 580")
    checks = {check.name: check for check in doctor._nvidia()}
    assert checks["GPU driver"].ok == driver
    told = checks["CUDA package"].detail
    assert told.endswith("talks to the driver" if driver else "once there is one")


def test_ros_that_can_not_be_imported_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_ROS_PROBE", "import os; os.abort()")
    (section,) = (s for s in doctor.report() if s.title == "ROS 2")
    checks = {check.name: check for check in section.checks}
    assert not checks["rclpy"].ok and "ended Python" in checks["rclpy"].detail
    assert not checks["smap_ros messages"].ok


def test_ros_that_hangs_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_ROS_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(doctor, "ROS_TIMEOUT", 0.3)
    (section,) = (s for s in doctor.report() if s.title == "ROS 2")
    assert not section.checks[0].ok and "takes over" in section.checks[0].detail


def test_damaged_models_are_reported(monkeypatch, scene, make_bundle):
    bundle = make_bundle(scene)
    (bundle.folder / "model.onnx").write_bytes(b"damaged")
    monkeypatch.setattr(doctor, "list_bundles", lambda: (str(bundle.folder),))
    (section,) = (s for s in doctor.report() if s.title == "Models")
    assert not section.checks[0].ok and "altered or damaged" in section.checks[0].detail


def test_a_subject_that_fails_does_not_stop_the_others(monkeypatch):
    def broken():
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "_cameras", broken)
    sections = doctor.report()
    assert len(sections) == 6
    (section,) = (s for s in sections if s.title == "Cameras")
    assert not section.checks[0].ok and "no such thing" in section.checks[0].detail


def test_your_own_transport_settings_are_respected(monkeypatch):
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    (section,) = (s for s in doctor.report() if s.title == "ROS 2")
    (check,) = (c for c in section.checks if c.name == "DDS profile")
    assert check.ok and "your own" in check.detail


def test_unreadable_camera_says_what_to_do(monkeypatch, tmp_path):
    device = tmp_path / "video7"
    device.write_text("")
    monkeypatch.setattr(doctor.glob, "glob", lambda _: [str(device)])
    monkeypatch.setattr(os, "access", lambda *_: False)
    (section,) = (s for s in doctor.report() if s.title == "Cameras")
    assert section.checks == (
        doctor.Check(str(device), False, "unknown device", section.checks[0].hint),
    )
    assert "usermod" in section.checks[0].hint and Path(device).name in text([section])
