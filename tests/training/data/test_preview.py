"""`smap-train data preview`: what a network gets, with what its targets say drawn where it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.data import drawing
from smap_train.data.preview import write_preview

from ..recipes.tiny import TINY, tiny
from .bodies import write_scenes

DRAWN = [name for name in TINY if name in drawing.DRAWN]
# Of these the targets are joints in the picture, which are bright spots in ours; and how far below
# and right of the targets these may be, pixels. VirtualPose's official maps are cut to whole cells
# of 4 pixels twice.
JOINTS = {"smap": 4, "mobilehuman": 1, "crowdnet": 1, "maed": 1, "virtualpose_backbone": 8}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", DRAWN)
def test_every_recipe_with_pictures_has_a_sheet(name, tmp_path):
    out = tmp_path / "sheet.png"
    places = write_preview(tiny(name, tmp_path), out, 5)
    assert len(places) == 5 and cv2.imread(str(out)) is not None
    assert not (tmp_path / "run").exists()  # nothing was trained
    if name != "virtualpose_synthetic":
        assert all("record" in place or "sample" in place for place in places)


@pytest.mark.parametrize(("name", "off"), JOINTS.items())
def test_joints_are_drawn_where_the_picture_shows_them(name, off, tmp_path, monkeypatch):
    bright, plain = [], []

    class Watched(drawing.Canvas):
        def __init__(self, rgb):
            super().__init__(rgb)
            self.rgb = rgb

        def dot(self, point, colour, *, ring=False):
            if not ring:
                x, y = np.rint(point[:2]).astype(int)
                around = self.rgb[max(y - 1, 0) : y + off + 1, max(x - 1, 0) : x + off + 1]
                if around.size:
                    bright.append(around.max(axis=(0, 1))[1])
                    plain.append(np.median(self.rgb[..., 1]))
            super().dot(point, colour, ring=ring)

    monkeypatch.setattr(drawing, "Canvas", Watched)
    write_preview(tiny(name, tmp_path), tmp_path / "sheet.png", 8)
    shown = np.array(bright, int) > np.array(plain, int) + 50
    assert len(shown) > 60 and shown.mean() > 0.85


def test_affinity_fields_point_from_joint_to_joint(tmp_path, monkeypatch):
    """An upright person's arrows: the middle ones up to the head and down, legs down."""
    ways: dict[tuple[int, int, int], list[np.ndarray]] = {}

    def arrow(self, start, end, colour):
        ways.setdefault(colour, []).append(end - start)

    monkeypatch.setattr(drawing.Canvas, "arrow", arrow)
    write_preview(tiny("smap", tmp_path), tmp_path / "sheet.png", 8)
    middle = np.array(ways[drawing.side_colour(drawing.MPI15, 0)])
    assert np.abs(middle[:, 1]).mean() > 3 * np.abs(middle[:, 0]).mean()
    for side in ("l_knee", "r_knee"):
        way = np.array(ways[drawing.side_colour(drawing.MPI15, drawing.MPI15.index(side))])
        assert (way[:, 1] > 0).mean() > 0.7


def test_the_command(tmp_path):
    config, out = tmp_path / "run.yaml", tmp_path / "sheet.png"
    config.write_text(f"recipe: mobilehuman\nout: {tmp_path / 'run'}\nsteps: 9\njoints: 15\n")
    words = ["data", "preview", str(config), f"virtual=[{write_scenes(tmp_path / 'v')}]"]
    done = CliRunner().invoke(app, [*words, "--out", str(out), "--count", "3"])
    assert done.exit_code == 0 and done.output == f"{out}: 3 samples\n"
    assert out.is_file()
    far = CliRunner().invoke(app, [*words, "--out", str(out), "--first", "100000"])
    assert isinstance(far.exception, InputError) and "isn't one of them" in str(far.exception)


def test_recipes_without_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="samples of recipe refinenet are no pictures"):
        write_preview(tiny("refinenet", tmp_path), tmp_path / "sheet.png", 5)
