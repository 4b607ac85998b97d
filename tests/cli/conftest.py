"""Running `smap-ros` as a user does, and clips that show known people."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.cli import main
from smap_ros.viz.video import VideoWriter

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """What a command left: exit status and output."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def smap_ros(tmp_path, monkeypatch, capsys) -> Command:
    """Run ``smap-ros WORDS...`` in an empty folder, within this process: that is faster."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def python(tmp_path) -> Command:
    """Run Python with arguments as a process of its own in an empty folder."""

    def run(*words: object, **environment: str) -> Done:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def bundle(make_bundle, scene) -> Path:
    """A bundle whose network sees the scene's three people in a bright image."""
    return Path(make_bundle(scene).folder)


@pytest.fixture
def picture(tmp_path, scene) -> Path:
    """A bright image of the scene's camera."""
    path = tmp_path / "bright.png"
    cv2.imwrite(str(path), scene.image(250))
    return path


@pytest.fixture
def clip(tmp_path, scene) -> Path:
    """Eight frames, the fourth of them without people."""
    path = tmp_path / "clip.mp4"
    writer = VideoWriter(path, rate=10)
    for k in range(8):
        image = scene.image(128 if k == 3 else 250)
        # Frames that differ, so that none is taken for a repetition, and have bytes to damage.
        image[:16] -= np.random.default_rng(k).integers(0, 99, (16, 1280, 1), np.uint8)
        writer.add(image, k / 10)
    writer.close()
    return path
