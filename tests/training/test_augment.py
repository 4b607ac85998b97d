"""Pictures as robots see people: near, turned, framed, dark."""

import cv2
import numpy as np
import pytest

from smap_ros.skeletons import MPI15
from smap_train.data import augment, compose
from smap_train.data.augment import Augmentation
from smap_train.data.dataset import VirtualScene
from smap_train.data.picture import Picture
from smap_train.targets.smap_lite import STRIDE, make_targets
from tests.training.test_lite_data import DEPTH, UPRIGHT, person

NECK = MPI15.index("neck")


def test_near_photos_show_parts_of_people_and_know_the_rest() -> None:
    cut = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        people = [person(masked=False)]
        picture = compose.mosaic(rng, people, 448, 256, more=Augmentation(near=1.0))
        seen = np.isfinite(picture.joints_2d[..., 0])
        assert np.isfinite(picture.outside_too).all()  # the photo's labels go on beyond the tile
        assert (picture.visibility[~seen] == compose.UNKNOWN).all()
        cut += int((~seen).any(axis=1).sum())
    assert cut > 30


@pytest.mark.parametrize("joint", ["neck", "pelvis"])
def test_people_whose_pelvis_is_out_are_told_by_the_neck_alone(joint: str) -> None:
    picture = Picture.empty(np.zeros((256, 448, 3), np.uint8))
    shown = UPRIGHT.copy()
    shown[MPI15.index(joint)] = np.nan
    picture.add(shown, np.full(15, 2, np.uint8), DEPTH, 0.0125, UPRIGHT, 0.02)
    targets = make_targets(picture)
    told = {"neck": (targets.necks, targets.neck_poses), "pelvis": (targets.roots, targets.poses)}
    assert not told[joint][0].any() and np.isnan(told[joint][1]).all()
    other = "pelvis" if joint == "neck" else "neck"
    rows, poses = told[other]
    ratio = {"pelvis": 0.0125, "neck": 0.02}[other]
    root = MPI15.index(other)
    assert rows[0, 2] == pytest.approx(ratio)
    np.testing.assert_allclose(rows[0, :2] * STRIDE, UPRIGHT[root, ::-1], atol=STRIDE)
    expected = np.c_[(UPRIGHT - UPRIGHT[root]) * ratio, DEPTH - DEPTH[root]]
    np.testing.assert_allclose(poses[0].reshape(15, 3), expected, atol=1e-5)


def test_bars_hide_joints_and_say_that_nobody_is_there() -> None:
    for seed in range(10):
        picture = Picture.empty(np.full((256, 448, 3), 50, np.uint8))
        joints = UPRIGHT + np.random.default_rng(seed).uniform(0, (320, 60), 2).astype(np.float32)
        picture.add(joints, np.full(15, 2, np.uint8), DEPTH, 0.01, joints)
        picture.trust[:] = 0.5
        augment.framed(np.random.default_rng(seed), picture)
        bars = (picture.image != 50).any(axis=2)
        assert 0 < bars.mean() < 1 and (picture.trust[bars] == 1).all()
        hidden = np.isnan(picture.joints_2d[0, :, 0])
        column, row = joints.astype(int).T
        np.testing.assert_array_equal(hidden, bars[row, column])
        assert np.isfinite(picture.outside_too).all()


def test_a_turned_scene_turns_its_labels(scene: VirtualScene) -> None:
    plain = scene.picture(np.random.default_rng(0), 448, 256)
    length = np.linalg.norm(plain.outside_too[0, NECK] - plain.outside_too[0, MPI15.root])
    angles = []
    for seed in range(12):
        picture = scene.picture(np.random.default_rng(seed), 448, 256, Augmentation(turned=1.0))
        if len(picture.outside_too):
            torso = picture.outside_too[0, NECK] - picture.outside_too[0, MPI15.root]
            angles.append(float(np.arctan2(torso[1], torso[0])))
            # Size and depth over focal length belong together at any angle.
            size = np.linalg.norm(torso) * picture.root_depth[0]
            assert size == pytest.approx(length * plain.root_depth[0], rel=0.05)
    assert np.ptp(angles) > 2


def test_near_views_of_scenes_show_parts(scene: VirtualScene) -> None:
    shares = []
    for seed in range(20):
        picture = scene.picture(np.random.default_rng(seed), 448, 256, Augmentation(near=1.0))
        shares += np.isfinite(picture.joints_2d[..., 0]).mean(axis=1).tolist()
    assert 0 < np.mean(shares) < 0.8


def test_a_reflected_border_is_not_believed(scene: VirtualScene) -> None:
    believed = set()
    for seed in range(40):
        picture = scene.picture(np.random.default_rng(seed), 448, 256, Augmentation(small=1.0))
        believed.add(float(picture.trust.min()))
    assert believed == {0.0, 1.0}


def longest(joints: np.ndarray) -> np.ndarray:
    """Extent of the largest person, pixels along x and y."""
    known = joints[np.isfinite(joints).all(axis=-1).any(axis=-1)]
    return (np.nanmax(known, axis=1) - np.nanmin(known, axis=1)).max(axis=0)


def test_one_person_fills_the_picture_standing_or_lying_along_it() -> None:
    extents = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        people = [person(masked=False)]
        picture = compose.mosaic(rng, people, 448, 256, more=Augmentation(filled=1.0))
        assert len(picture.outside_too) == 1
        extent = longest(picture.outside_too)
        # Fits but for a twentieth, and has at least half of that size.
        assert 0.49 < (extent / (448, 256)).max() < 1.06
        extents.append(extent)
        # The labels are where the photo shows the shirt: red, on grey.
        x, y = picture.joints_2d[0, MPI15.root].astype(int)
        blue, _, red = picture.image[y, x].astype(int)
        assert red > blue + 100
    assert max(e[0] for e in extents) > 380  # longer than the picture is high
    upright = [e for e in extents if e[1] > 2 * e[0]]
    lying = [e for e in extents if e[0] > 2 * e[1]]
    assert len(upright) > 5 and len(lying) > 5


def test_one_person_of_a_scene_fills_the_view(scene: VirtualScene) -> None:
    largest = []
    for seed in range(20):
        picture = scene.picture(np.random.default_rng(seed), 448, 256, Augmentation(filled=1.0))
        if len(picture.outside_too):
            largest.append((longest(picture.outside_too) / (448, 256)).max())
    assert np.median(largest) > 0.5


def test_who_has_one_joint_fills_nothing() -> None:
    joints = np.full((15, 2), np.nan, np.float32)
    joints[3] = 5
    assert augment.filling(np.random.default_rng(0), joints, (448, 256)) is None


def test_dark_and_smeared_pictures() -> None:
    rng = np.random.default_rng(0)
    image = np.full((64, 96, 3), 180, np.uint8)
    assert augment.darkened(rng, image).mean() < 60
    edge = np.zeros((64, 96, 3), np.uint8)
    cv2.circle(edge, (48, 32), 3, (255, 255, 255), -1)
    smeared = augment.smeared(rng, edge)
    assert smeared.std() < 0.95 * edge.std()
    assert smeared.sum() == pytest.approx(float(edge.sum()), rel=0.1)
