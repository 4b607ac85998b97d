"""Hygiene of the tracked files: they must mean the same on every machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZE_LIMIT_MB = 12
LINES_LIMIT = 400


def git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if result.returncode not in (0, 1):  # git grep says 1 when nothing was found
        pytest.skip(f"needs a git checkout: {result.stderr.strip()}")
    return result.stdout


def test_no_file_names_a_machine_or_a_package_index():
    folders = "|".join(("home", "root", "work", "tmp"))
    # Put together here, so that this file doesn't name them either.
    pattern = rf"(^|[^A-Za-z0-9_.])/({folders})/[a-z]|(extra-)?index" + "-url"
    found = git("grep", "-nIE", pattern)
    assert not found, f"machine paths or package indexes in tracked files:\n{found}"


def test_nothing_unfinished_is_left_behind():
    marks = "|".join(("Not" + "ImplementedError", "TO" + "DO", "FIX" + "ME", "XX" + "X"))
    found = git("grep", "-nIwE", marks, "--", "*.py", "*.msg", "CMakeLists.txt", "Makefile")
    assert not found, f"unfinished marks:\n{found}"


def test_tracked_files_are_small():
    tracked = [ROOT / name for name in git("ls-files").splitlines()]
    large = [
        path for path in tracked if path.is_file() and path.stat().st_size > SIZE_LIMIT_MB * 2**20
    ]
    assert not large, f"tracked files over {SIZE_LIMIT_MB} MiB: {large}"


def test_a_file_has_one_subject():
    long = {
        name: lines
        for name in git("ls-files", "smap_ros/*.py", "training/*.py").splitlines()
        if (ROOT / name).is_file()
        and (lines := len((ROOT / name).read_text().splitlines())) > LINES_LIMIT
    }
    assert not long, f"files over {LINES_LIMIT} lines: {long}"


def test_generated_files_are_not_tracked():
    assert not git("ls-files", "smap_ros/msg", "*.so", "*.egg-info", "build", "install")


def test_the_list_of_slow_tests_names_tests():
    """``tests/slow.txt``: whoever renames or removes a test edits its line there."""
    for line in (ROOT / "tests" / "slow.txt").read_text().splitlines():
        if not line.startswith("#"):
            path, _, rest = line.partition("::")
            assert (ROOT / path).exists(), f"tests/slow.txt names {path}, which there isn't"
            if name := rest.rpartition("::")[2]:
                text = (ROOT / path).read_text()
                assert f"def {name}(" in text, f"tests/slow.txt names {line}, which there isn't"
