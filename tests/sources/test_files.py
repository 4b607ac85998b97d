"""Folders of pictures: what is left out of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.sources import open_source


def test_films_among_a_folders_pictures_are_left_out_aloud(tmp_path, caplog):
    image = np.full((48, 64, 3), 90, np.uint8)
    assert cv2.imwrite(str(tmp_path / "1.png"), image)
    assert [frame.source for frame in open_source(tmp_path)] == ["1.png"]
    assert not caplog.messages
    (tmp_path / "2.GIF").write_bytes(b"GIF89a")
    (tmp_path / "._2.gif").write_bytes(b"GIF89a")  # hidden
    assert [frame.source for frame in open_source(tmp_path)] == ["1.png"]
    assert caplog.messages == [f"left out: 2.GIF of {tmp_path}: a film; give it by itself"]


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("jpe", "jpg"), ("jfif", "jpg"), ("JFIF", "jpg"), ("jp2",) * 2, ("j2k", "jp2"), ("pnm",) * 2],
)
def test_pictures_of_rarer_suffixes_are_pictures_alone_and_in_a_folder(tmp_path, suffix, kind):
    encoded = cv2.imencode(f".{kind}", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    path = tmp_path / f"2.{suffix}"
    path.write_bytes(encoded)
    alone = open_source(path)
    assert not alone.moving and next(iter(alone)).image.shape == (48, 64, 3)
    assert cv2.imwrite(str(tmp_path / "1.png"), np.full((48, 64, 3), 90, np.uint8))
    assert [frame.source for frame in open_source(tmp_path)] == ["1.png", path.name]


def test_of_a_folder_of_films_alone_a_few_are_named(tmp_path, caplog):
    for k in range(12):
        (tmp_path / f"{k}.gif").write_bytes(b"GIF89a")
    with pytest.raises(InputError, match="has no images"):
        open_source(tmp_path)
    (message,) = caplog.messages
    assert message.startswith("left out: 0.gif, 1.gif, 2.gif and 9 more of ")
