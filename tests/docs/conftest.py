"""What the examples of the pages run on: the shipped clip, its first images only."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from smap_ros.paths import config_directory
from smap_ros.sources import open_source
from smap_ros.viz.video import VideoWriter

IMAGES = 3


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the first images of the shipped clip."""
    source = open_source(str(config_directory() / "demo" / "clip.mp4"))
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = VideoWriter(path, source.rate or 15.0)
    for frame in islice(source, IMAGES):
        writer.add(frame.image, frame.stamp)
    writer.close()
    return path
