"""`smap-train` where the extra ``train`` isn't installed, and where the disk is full."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({missing}))
from smap_train.cli import main
sys.argv = ["smap-train", *{words}]
main()
"""
_FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from smap_ros.errors import InputError
from smap_train.models.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    save_checkpoint(Path({path!r}), "refinenet", {{"a": torch.zeros(50_000)}})
except InputError as error:
    print("told:", error)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=120)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("torch", ["recipes"]),
        ("torch", ["fit", "--help"]),
        ("torch", ["convert", "smap", "a.pth", "b.pth"]),
        ("torch", ["second-look", "--help"]),
        ("tqdm", ["person-score", "--help"]),
    ],
)
def test_a_command_says_which_package_it_needs(missing, words):
    done = run(_WITHOUT.format(missing=[missing], words=words))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: this needs the package {missing!r}"), done.stderr
    assert "pip install 'smap-ros[train]'" in done.stderr and done.stderr.count("\n") == 1


def test_all_commands_are_listed_without_torch():
    done = run(_WITHOUT.format(missing=["torch", "tqdm"], words=["--help"]))
    assert done.returncode == 0
    for name in ("fit", "second-look", "person-score", "litert", "distances"):
        assert name in done.stdout


# Where the disk ends decides which of its writes fails.
@pytest.mark.parametrize("limit", [1, 1_000, 100_000, 199_000, 200_500])
def test_a_checkpoint_that_the_disk_has_no_room_for_is_told(tmp_path, limit):
    path = tmp_path / "weights.pth"
    done = run(_FULL.format(limit=limit, path=str(path)))
    assert done.returncode == 0 and done.stdout.startswith("told:"), done.stderr
    assert not list(tmp_path.iterdir())
