"""People in frames: MAED's databases and films, the clips that are drawn, and how they are seen."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15, SPIN49
from smap_train.data.clip_crop import ClipView, coloured, erase, matrix_of, seen
from smap_train.data.layouts.clips import ClipData
from smap_train.data.layouts.tracks import Chunks, Frames, clip, open_virtual_frames
from smap_train.engine.sampling import BadRecordError
from smap_train.recipes.maed import labels_of

from .bodies import body, picture, scene, write_shard

COUNT = 6


def opened(path: Path, images: Path, every: int = 1) -> Frames:
    """One of MAED's databases."""
    return ClipData(database=path, images=images, every=every).open()


def database(folder, **changes):
    """Six rows of two videos in MAED's arrays; joint k of row i at (100 + k + i, 50 + 2 k)."""
    k = np.arange(49.0)
    flat = np.stack([np.stack([100 + k + i, 50 + 2 * k, np.ones(49)], 1) for i in range(COUNT)])
    arrays = {
        "img_name": np.array([f"frames/{i:03d}.png" for i in range(COUNT)]),
        "vid_name": np.array(["a", "a", "a", "a", "b", "b"]),
        "bbox": np.tile([120.0, 100.0, 80.0, 80.0], (COUNT, 1)), "joints2D": flat,
        "joints3D": np.ones((COUNT, 49, 4)), "pose": np.full((COUNT, 72), 0.1),
        "shape": np.zeros((COUNT, 10)), **changes,
    }  # fmt: skip
    path = folder / "3dpw_train_db.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    (folder / "frames").mkdir(exist_ok=True)
    for i in range(COUNT):
        cv2.imwrite(str(folder / f"frames/{i:03d}.png"), np.full((200, 240, 3), 20 * i, np.uint8))
    return path


def film(folder, frames=5):
    """Two people over five frames, then a still."""
    scenes = []
    for k in range(frames):
        bodies = np.array([body(-0.5 + 0.05 * k, 3.5), body(0.6, 4.5)])
        labels = {**scene(bodies), "sequence": 7, "frame": k, "stamp": 0.04 * k}
        scenes.append((labels, picture(bodies, k)))
    scenes.append((scene(body()[None]), picture(body()[None])))
    return write_shard(folder, scenes)


def test_a_database_and_its_tracks(tmp_path):
    frames = opened(database(tmp_path), tmp_path)
    person = frames[4]
    assert person.image == tmp_path / "frames/004.png" and person.read()[0, 0, 0] == 80
    assert person.joints_2d[3].tolist() == [107, 56, 1] and person.fit.shape == (1, 82)
    assert [(a, b) for _, a, b in Chunks(frames)] == [(0, 4), (4, 6)]
    some = opened(tmp_path / "3dpw_train_db.npz", tmp_path, 2)
    assert [person.image.stem for person in some] == ["000", "002", "004"]
    photos = opened(
        database(tmp_path, pose=None, shape=None, joints3D=None, vid_name=None), tmp_path
    )
    assert len(photos[0].fit) == 0 and not photos[0].joints_3d.any()
    assert len(Chunks(photos)) == COUNT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": np.full((COUNT, 4), np.nan)}, r"record 0: bbox\[0\] is nan"),
        ({"bbox": np.zeros((COUNT, 4))}, "record 0: bbox is .* a width and height above 0"),
        (
            {"joints3D": np.full((COUNT, 49, 4), 1e30)},
            r"record 0: joints3D\[0\]\[0\] is 1e\+30; expected a number within 1000",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path, changes, message):
    with pytest.raises(BadRecordError, match=message):
        opened(database(tmp_path, **changes), tmp_path)[0]


@pytest.mark.parametrize("changes", [{"img_name": None}, {"bbox": np.ones((2, 4))}])
def test_other_files_are_refused(tmp_path, changes):
    with pytest.raises(InputError, match=r"none of MAED's databases as .npz"):
        opened(database(tmp_path, **changes), tmp_path)
    names = np.random.default_rng(0).integers(0, 9, 4000).astype(str)
    np.savez_compressed(tmp_path / "cut.npz", img_name=names)
    data = bytearray((tmp_path / "cut.npz").read_bytes())
    data[60:160] = bytes(100)
    (tmp_path / "cut.npz").write_bytes(data)
    with pytest.raises(InputError, match="none of MAED's databases"):
        opened(tmp_path / "cut.npz", tmp_path)
    held = np.empty(1, object)
    held[0] = {"a": 1}
    np.savez(tmp_path / "code.npz", img_name=held)
    with pytest.raises(InputError, match="none of MAED's databases"):
        opened(tmp_path / "code.npz", tmp_path)


def test_a_films_people_are_tracks(tmp_path):
    frames = open_virtual_frames([film(tmp_path / "films")])
    assert [(a, b) for _, a, b in Chunks(frames)] == [(0, 5), (5, 10), (10, 11)]
    xs = [frames.record(k).joints_3d[SPIN49.index("pelvis"), 0] for k in range(5)]
    np.testing.assert_allclose(np.diff(xs), 0.05, atol=1e-6)
    known = frames.record(0).joints_2d[:, 2] > 0
    assert {SPIN49.joints[k] for k in np.flatnonzero(known)} == set(MPI15.joints)


def test_clips_are_every_nth_frame_and_turn_back_at_the_end(tmp_path):
    frames = open_virtual_frames([film(tmp_path / "films")])
    piece = (frames, 5, 10)
    stills = [p.place for p in (frames.record(k) for k in range(5, 10))]
    starts = set()
    for seed in range(20):
        drawn = [stills.index(p.place) for p in clip(piece, 6, 2, np.random.default_rng(seed))]
        starts.add(drawn[0])
        assert drawn in ([0, 2, 4, 2, 0, 2], [1, 3, 3, 1, 1, 3])
    assert starts == {0, 1}
    assert len({p.place for p in clip((frames, 10, 11), 6, 2, np.random.default_rng(0))}) == 1


def test_long_tracks_are_cut_into_pieces(tmp_path):
    class Long:
        index = type("I", (), {"column": lambda _, name: np.repeat([0, 1], [300, 128])})()

    pieces = Chunks(Long()).pieces
    assert pieces == [(0, 128), (64, 192), (128, 256), (192, 300), (300, 428)]


@pytest.mark.parametrize("flip", [False, True])
def test_labels_move_with_the_crop(tmp_path, flip):
    """A bright spot where the left knee is seen is where the crop's knee is labelled."""
    frames = open_virtual_frames([film(tmp_path / "films")])
    person = frames.record(0)
    view = ClipView(scale=1.1, shift=(0.1, -0.05), flip=flip)
    knee = SPIN49.index("l_knee")

    class Shown(type(person)):
        def read(self):
            image = np.zeros((120, 160, 3), np.uint8)
            x, y = self.joints_2d[knee, :2]
            cv2.circle(image, (round(8 * x), round(8 * y)), 16, (255, 255, 255), -1, shift=3)
            return image

    crop = seen(Shown(**vars(person)), view, 224, np.random.default_rng(0))
    labels = labels_of(person, view, 224)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    there = SPIN49.index("r_knee") if flip else knee
    middle = np.array([columns.mean(), rows.mean()])
    np.testing.assert_allclose((labels["joints_2d"][there, :2] + 1) * 112, middle, atol=0.7)
    sign = -1 if flip else 1
    assert labels["joints_3d"][there, 0] == sign * person.joints_3d[knee, 0]
    assert labels["has_fit"] == 0


def test_a_still_view_is_the_official_crop(tmp_path):
    person = open_virtual_frames([film(tmp_path / "films")]).record(0)
    matrix = matrix_of(person, ClipView(), 224)
    corner = person.box[:2] - 0.65 * person.box[2:]
    np.testing.assert_allclose(matrix[:, :2] @ corner + matrix[:, 2], 0, atol=1e-9)


def test_chance_keeps_to_the_official_ranges():
    rng = np.random.default_rng(0)
    views = [ClipView.draw(rng, coloured=True, erased=True) for _ in range(3000)]
    moved = [v for v in views if v.scale != 1.3]
    assert 0.17 < len(moved) / 3000 < 0.23
    assert all(0.7 <= v.scale <= 1.3 for v in views)
    assert all(np.abs(v.shift).max() <= (1.3 - v.scale) / 2 + 1e-12 for v in views)
    colours = np.array([v.colour for v in views])
    assert colours[:, :3].min() >= 0.7 and colours[:, :3].max() <= 1.3
    assert np.abs(colours[:, 3]).max() <= 0.3
    assert {v.side for v in views} == {0, 1, 2, 3}
    plain = ClipView.draw(rng, coloured=False, erased=False)
    assert plain.colour == (1, 1, 1, 0) and plain.side == -1


def test_colours_and_erasing():
    image = np.random.default_rng(0).integers(40, 200, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(coloured(image, ClipView()), image)
    bright = coloured(image, ClipView(colour=(1.2, 1, 1, 0)))
    np.testing.assert_allclose(bright, np.clip(image * 1.2, 0, 255), atol=0.6)
    grey = coloured(image, ClipView(colour=(1, 1, 0.0, 0)))
    assert np.ptp(grey.astype(int), axis=-1).max() <= 1
    turned = coloured(
        np.full((1, 1, 3), (200, 50, 50), np.uint8), ClipView(colour=(1, 1, 1, 1 / 3))
    )
    np.testing.assert_allclose(turned[0, 0], (50, 200, 50), atol=1)
    for side, hidden in enumerate(((slice(None), slice(0, 15)), (slice(None), slice(15, 30)),
                                   (slice(0, 10),), (slice(10, 20),))):  # fmt: skip
        black = image.copy()
        erase(black, side, 0.5)
        assert not black[hidden].any() and (black == 0).all(-1).sum() == 300
