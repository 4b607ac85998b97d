"""Composed pictures and their target maps: the association must find what was drawn."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from smap_ros.association import associate
from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data import compose
from smap_train.data.augment import Augmentation
from smap_train.data.dataset import MixedDataset, VirtualScene
from smap_train.data.people import PhotoPerson, _agrees, _from_blaze
from smap_train.data.picture import Picture
from smap_train.targets.smap_lite import STRIDE, make_targets

# An upright person in a 120 x 200 photo; left is to the right in the image (facing the camera).
UPRIGHT = np.array(
    [
        *[(60, 50), (60, 20), (60, 110)],
        *[(80, 50), (85, 80), (88, 105), (70, 110), (71, 145), (72, 180)],
        *[(40, 50), (35, 80), (32, 105), (50, 110), (49, 145), (48, 180)],
    ],
    np.float32,
)
DEPTH = np.linspace(-0.3, 0.3, 15).astype(np.float32)
DEPTH -= DEPTH[MPI15.root]


def person(masked: bool = True, joints: NDArray[np.float32] = UPRIGHT) -> PhotoPerson:
    photo = np.full((200, 120, 3), 90, np.uint8)
    mask = np.zeros((200, 120), np.uint8)
    cv2.rectangle(mask, (28, 15), (92, 185), 1, -1)
    photo[mask > 0] = (30, 60, 200)
    encode = lambda image: cv2.imencode(".png", image)[1].tobytes()  # noqa: E731
    return PhotoPerson(encode(photo), encode(mask) if masked else None, joints, DEPTH, 0.01)


def test_association_finds_the_people_in_their_own_target_maps() -> None:
    picture = Picture.empty(np.zeros((256, 448, 3), np.uint8))
    for x in (40.7, 250.3):  # off the cell borders: two equal cells are no peak
        joints = UPRIGHT + (x, 20.6)
        picture.add(joints, np.full(15, 2, np.uint8), DEPTH, 0.01)
    targets = make_targets(picture)
    maps = np.concatenate([targets.keypoints, targets.affinities])
    root = np.full(maps.shape[1:], 1.0, np.float32)
    found = associate(np.ascontiguousarray(maps), root)
    assert len(found) == 2
    order = np.argsort(found[:, MPI15.root, 0])
    for row, joints in zip(found[order], picture.joints_2d, strict=True):
        assert (row[:, 3] > 0).all()
        assert np.abs(row[:, :2] * STRIDE - joints).max() < 1.0  # pixels


def test_depth_maps_hold_the_bones_and_the_roots() -> None:
    picture = Picture.empty(np.zeros((256, 448, 3), np.uint8))
    picture.add(UPRIGHT, np.full(15, 2, np.uint8), DEPTH, 0.0125)
    targets = make_targets(picture)
    for k, (a, b) in enumerate(MPI15.limbs):
        on = targets.bone_weight[k] > 0
        assert on.any()
        np.testing.assert_allclose(targets.bone_depth[k][on], DEPTH[b] - DEPTH[a], atol=1e-6)
    rows = targets.roots[targets.roots[:, 2] > 0]
    np.testing.assert_allclose(rows, [[27, 14, 0.0125]], atol=1.01)
    assert rows[0, 2] == np.float32(0.0125)


def test_poses_are_told_in_metres_also_of_joints_out_of_the_picture() -> None:
    picture = Picture.empty(np.zeros((256, 448, 3), np.uint8))
    shown, ratio = UPRIGHT.copy(), 0.0125
    shown[8] = np.nan
    picture.add(shown, np.full(15, 2, np.uint8), DEPTH, ratio, UPRIGHT)
    picture.add(shown + (200, 20), np.full(15, 2, np.uint8), np.full(15, np.nan, np.float32), ratio)
    poses = make_targets(picture).poses.reshape(-1, 15, 3)
    plane = (UPRIGHT - UPRIGHT[MPI15.root]) * ratio
    np.testing.assert_allclose(poses[0], np.c_[plane, DEPTH], atol=1e-5)
    assert np.isnan(poses[1, 8]).all() and np.isnan(poses[1, :, 2]).all()
    np.testing.assert_allclose(poses[1, :8, :2], plane[:8], atol=1e-5)
    assert np.isnan(poses[2:]).all()


def test_a_joint_that_is_not_labelled_is_not_learned_as_absent() -> None:
    joints = UPRIGHT.copy()
    joints[MPI15.index("l_wrist")] = np.nan
    rng = np.random.default_rng(0)
    picture = compose.mosaic(rng, [person(masked=False, joints=joints)], 448, 256)
    targets = make_targets(picture)
    assert targets.keypoint_weight[MPI15.index("neck")].max() == 1
    wrists = [MPI15.index("l_wrist"), MPI15.index("r_wrist")]
    masked = (targets.keypoint_weight[wrists] == 0).any(axis=0)
    assert masked.mean() > 0.5  # mirrored or not, one wrist is unknown in every column
    assert (targets.affinity_weight[[4, 7]] == 0).any(axis=0)[masked].all()  # the forearms


@pytest.mark.parametrize(("two_rows", "rows"), [(0.0, 1), (1.0, 2)])
def test_a_mosaic_shows_people_in_as_many_rows_as_asked_for(two_rows, rows) -> None:
    halves = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        picture = compose.mosaic(rng, [person(masked=False)], 448, 256, two_rows)
        seen = np.isfinite(picture.joints_2d[..., 0])
        for joints, visible in zip(picture.joints_2d, seen, strict=True):
            half = set((joints[visible, 1] >= 128).tolist())
            halves.append(len(half))
            assert ((joints[visible] >= 0) & (joints[visible] < (448, 256))).all()
    # With two rows nobody reaches from one half into the other.
    assert max(halves) == 3 - rows


def test_mirroring_swaps_sides_and_keeps_the_order_of_depth() -> None:
    subject = person()
    image, joints, depth = compose.mirrored(subject, subject.image())
    assert joints[MPI15.index("l_wrist")][0] == 119 - UPRIGHT[MPI15.index("r_wrist")][0]
    assert depth[MPI15.index("l_wrist")] == DEPTH[MPI15.index("r_wrist")]
    assert (image == subject.image()[:, ::-1]).all()


def test_pasted_people_occlude_those_behind() -> None:
    rng = np.random.default_rng(3)
    occluded = 0
    for _ in range(20):
        picture = Picture.empty(np.zeros((256, 448, 3), np.uint8))
        compose.paste(rng, picture, [person()], 5, (150, 300))
        occluded += int((picture.visibility == compose.OCCLUDED).sum())
        shown = np.isfinite(picture.joints_2d[..., 0])
        assert ((picture.visibility > 0) == shown).all()
    assert occluded > 20


def test_zoom_brings_people_nearer_in_normalised_depth(scene: VirtualScene) -> None:
    neck, pelvis = MPI15.index("neck"), MPI15.root
    for seed in range(5):
        picture = scene.picture(np.random.default_rng(seed), 448, 256)
        torso = np.linalg.norm(picture.joints_2d[0, neck] - picture.joints_2d[0, pelvis])
        # A torso of 0.6 m at depth over focal length z spans 0.6 / z pixels, to a few percent:
        # the neck is not quite at the pelvis' depth.
        assert torso * picture.root_depth[0] == pytest.approx(0.6, rel=0.05)


def test_samples_depend_on_seed_and_index_only(scene: VirtualScene) -> None:
    people, options = [person()], {"size": (224, 128), "length": 8}
    make = lambda seed: MixedDataset(  # noqa: E731
        people, people, [scene], **options, seed=seed, virtual_share=0.5
    )
    first, again, other = make(1), make(1), make(2)
    for index in range(8):
        a, b = first[index], again[index]
        assert all(torch.equal(a[key].nan_to_num(9), b[key].nan_to_num(9)) for key in a)
        assert all(bool(a[key].isfinite().all()) for key in a if "poses" not in key)
    assert any((first[i]["image"] != other[i]["image"]).any() for i in range(8))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ordinary_share", [0.0, 0.5])
def test_of_scenes_alone_all_pictures_are(
    scene: VirtualScene, share: float, ordinary_share: float
) -> None:
    """Whatever share of them is asked for, and where none are ordinary ones."""
    dataset = MixedDataset(
        [], [], [scene], size=(96, 64), length=8, seed=0, virtual_share=share,
        ordinary_share=ordinary_share,
    )  # fmt: skip
    assert all(bool((dataset[k]["roots"][:, 2] > 0).any()) for k in range(8))


def test_no_data_is_an_error() -> None:
    with pytest.raises(InputError, match="no training data"):
        MixedDataset([], [], [], size=(64, 64), length=1, seed=0, virtual_share=0.5)


def test_a_damaged_photo_is_named() -> None:
    with pytest.raises(InputError, match="not an image"):
        PhotoPerson(b"xxxx", None, UPRIGHT, DEPTH, 0.01).image()


def blaze(joints: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Landmarks of someone 100 px per metre, at depth DEPTH."""
    landmarks = np.zeros((33, 3), np.float32)
    world = np.zeros((33, 3), np.float32)
    points = {
        11: 3,
        13: 4,
        15: 5,
        23: 6,
        25: 7,
        27: 8,
        12: 9,
        14: 10,
        16: 11,
        24: 12,
        26: 13,
        28: 14,
    }
    for k, joint in points.items():
        landmarks[k] = (*joints[joint], 1)
        world[k] = (*(joints[joint] - joints[MPI15.root]) / 100, DEPTH[joint])
    for k in (0, 7, 8):
        landmarks[k], world[k] = (60, 35, 1), (0, -0.75, 0)
    return landmarks, world


def test_pseudo_labels_give_metres_per_pixel_and_relative_depth() -> None:
    joints, depth, scale = _from_blaze(*blaze(UPRIGHT))
    assert scale == pytest.approx(0.01, rel=1e-4)
    sides = [j for j in range(15) if MPI15.side(j) != "middle"]
    np.testing.assert_allclose(joints[sides], UPRIGHT[sides], atol=1e-4)
    hips = DEPTH[[6, 12]].mean()
    np.testing.assert_allclose(depth[sides], DEPTH[sides] - hips, atol=1e-5)


def test_pseudo_labels_of_another_person_or_side_do_not_count() -> None:
    pseudo, _, _ = _from_blaze(*blaze(UPRIGHT))
    assert _agrees(UPRIGHT, pseudo)
    assert not _agrees(UPRIGHT + 60, pseudo)
    assert not _agrees(UPRIGHT[MPI15.flip], pseudo)


def test_ordinary_pictures_are_of_ordinary_scenes_and_nothing_is_done_to_them(
    scene: VirtualScene,
) -> None:
    """All of the other augmentations are asked for; the flag says which pictures have none."""
    everything = Augmentation(near=1, turned=1, framed=1, small=1, dark=1, smeared=1)
    nobody = VirtualScene(scene.image, {**scene.labels, "people": []})
    dataset = MixedDataset(
        [], [], [nobody], size=(96, 64), length=16, seed=0, virtual_share=1.0, more=everything,
        ordinary=[scene], ordinary_share=0.5,
    )  # fmt: skip
    samples = [dataset[k] for k in range(16)]
    flags = [bool(sample["ordinary"]) for sample in samples]
    assert 3 < sum(flags) < 13
    assert [bool((sample["roots"][:, 2] > 0).any()) for sample in samples] == flags
