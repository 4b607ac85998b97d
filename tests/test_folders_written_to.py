"""Folders that are written to."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_ros.paths import make_folder
from smap_train.cli import app


def test_a_folder_is_made_with_those_above_it(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "a" / "b", "the folder")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("folder", "why"), [("file", "File exists"), ("file/below", "Not a directory")]
)
def test_one_that_can_not_be_made_is_told(tmp_path, folder, why):
    (tmp_path / "file").touch()
    told = f"can't write to the output folder {tmp_path / folder}: {why}"
    with pytest.raises(InputError, match=f"^{told}$"):
        make_folder(tmp_path / folder, "the output folder")


def test_commands_that_train_tell_it_before_they_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "stills.yaml").write_text("kind: stills\nsamples: 1\n")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "0.tar").touch()
    out = str(tmp_path / "file")
    for words in (
        ["synth", str(tmp_path / "stills.yaml"), "--out", out],
        ["record", str(tmp_path / "films"), out],
        ["curve", str(tmp_path), out, "--virtual", str(tmp_path)],
    ):
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, InputError), words
        assert f"{out}: File exists" in str(result.exception)
