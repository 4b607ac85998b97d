"""Weights between a run's start and its end."""

import zipfile
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_ros.paths import models_directory
from smap_train.averaging import between
from smap_train.cli import app
from smap_train.export.second_look import MEMBER, opened
from smap_train.models import create
from smap_train.models.checkpoint import load_checkpoint, save_checkpoint
from smap_train.models.finished import finished_lite

SHIPPED = models_directory() / "smap_lite"


@pytest.fixture(scope="module")
def end(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose weights are those of the shipped bundle, moved a little."""
    network = finished_lite(SHIPPED)
    torch.manual_seed(0)
    for name, value in network.named_parameters():
        if name.startswith("pose"):
            value.add_(torch.randn_like(value) * 0.1)
    path = tmp_path_factory.mktemp("run") / "smap_lite.pth"
    options = {"backbone": "movenet", "necks": True}
    save_checkpoint(path, "smap_lite", network.state_dict(), "", (448, 256), **options)
    return path


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_are_as_far_between_as_asked_for(end: Path, tmp_path: Path, share: float) -> None:
    out = tmp_path / "between.pth"
    arguments = ["average", str(SHIPPED), str(end), str(out), "--share", str(share)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    first, last = finished_lite(SHIPPED).state_dict(), finished_lite(end).state_dict()
    got, like = load_checkpoint(out), load_checkpoint(end)
    assert {k: got[k] for k in ("model", "options", "input_size")} == {
        k: like[k] for k in ("model", "options", "input_size")
    }
    moved = 0
    for name, value in got["state_dict"].items():
        expected = first[name] + (last[name] - first[name]) * share
        torch.testing.assert_close(value, expected.to(value.dtype))
        moved += int(not torch.equal(first[name], last[name]))
    assert moved >= 2
    finished_lite(out)  # and they are a network's


def test_so_are_those_of_a_second_look(tmp_path: Path) -> None:
    taught, out = create("landmarks"), tmp_path / "between.pth"
    save_checkpoint(tmp_path / "taught.pth", "landmarks", taught.state_dict())
    arguments = ["average", str(SHIPPED), str(tmp_path / "taught.pth"), str(out), "--share", "0.3"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    first, last = opened(SHIPPED).state_dict(), taught.state_dict()
    for name, value in opened(out).state_dict().items():
        torch.testing.assert_close(value, first[name] + (last[name] - first[name]) * 0.3)
        assert not torch.equal(first[name], last[name]), name


@pytest.mark.parametrize(
    ("start", "last", "message"),
    [
        ("lite.pth", "taught.pth", "holds a SmapLite; expected a network of recipe second_look"),
        ("any.whl", "lite.pth", "is MediaPipe's landmark network, and the run's is a SmapLite"),
        ("taught.pth", "taught.pth", None),
        ("taught.pth", "other.pth", "a RefineNet can't be averaged; expected the end of a run"),
        ("taught.pth", "missing.pth", "missing.pth"),
    ],
)
def test_what_does_not_belong_together_is_refused_in_words(end, tmp_path, start, last, message):
    (tmp_path / "lite.pth").write_bytes(end.read_bytes())
    for name, model in ("taught", "landmarks"), ("other", "refinenet"):
        save_checkpoint(tmp_path / f"{name}.pth", model, create(model).state_dict())
    arguments = ["average", str(tmp_path / start), str(tmp_path / last), str(tmp_path / "out.pth")]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code == 0) == (message is None)
    if message is not None:
        assert message in str(result.exception)
        assert not (tmp_path / "out.pth").exists()


def test_other_networks_and_other_statistics_are_refused() -> None:
    weights = {"a.weight": torch.zeros(2, 3), "a.running_mean": torch.zeros(3)}
    with pytest.raises(InputError, match=r"not of one network: a\.weight"):
        between(weights, weights | {"a.weight": torch.zeros(2, 4)}, 0.5)
    with pytest.raises(InputError, match=r"not of one network: b\.weight"):
        between(weights, weights | {"b.weight": torch.zeros(1)}, 0.5)
    with pytest.raises(InputError, match=r"1 batch norm buffers differ, like a\.running_mean"):
        between(weights, weights | {"a.running_mean": torch.ones(3)}, 0.5)


def test_what_is_read_is_not_written_over(end: Path, tmp_path: Path) -> None:
    before = end.read_bytes()
    for out, words in ((end, "what is read"), (tmp_path, "a folder")):
        result = CliRunner().invoke(app, ["average", str(SHIPPED), str(end), str(out)])
        assert isinstance(result.exception, InputError)
        assert words in str(result.exception)
    assert end.read_bytes() == before


def test_a_wheel_that_was_damaged_on_the_way_is_refused(tmp_path: Path) -> None:
    wheel, content = tmp_path / "mediapipe.whl", bytes(range(256)) * 400
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, content)
    data = bytearray(wheel.read_bytes())
    middle = 30 + len(MEMBER)  # where the compressed bytes begin
    data[middle : middle + 40] = b"\xff" * 40
    wheel.write_bytes(data)
    with pytest.raises(InputError, match="expected the wheel, from pip download"):
        opened(wheel)


def test_a_wheel_that_is_encrypted_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, b"a network")
    data = bytearray(wheel.read_bytes())
    data[data.find(b"PK\x01\x02") + 8] = 1
    wheel.write_bytes(data)
    with pytest.raises(InputError, match=r"is encrypted.*expected the wheel, from pip download"):
        opened(wheel)
