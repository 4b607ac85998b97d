"""Joint sets: consistent tables, conversion by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from smap_ros.errors import InputError
from smap_ros.skeletons import (
    COCO17,
    H36M17,
    MPI15,
    MPI17,
    SKELETONS,
    SMPL24,
    convert,
    get_skeleton,
)

every = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))


@every
def test_tables_are_consistent(skeleton):
    joints = skeleton.joints
    assert len(set(joints)) == len(joints) == len(skeleton)
    assert len(set(map(frozenset, skeleton.limbs))) == len(skeleton.limbs)
    assert all(0 <= a < len(joints) and 0 <= b < len(joints) and a != b for a, b in skeleton.limbs)
    assert all(name.replace("l_", "r_", 1) in joints for name in joints if name.startswith("l_"))
    assert sum(n.startswith("l_") for n in joints) == sum(n.startswith("r_") for n in joints)


@every
def test_mirroring_twice_is_nothing_and_keeps_limbs(skeleton):
    flip = skeleton.flip
    np.testing.assert_array_equal(flip[flip], np.arange(len(skeleton)))
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(flip[list(limb)].tolist()) for limb in limbs} == limbs
    sides = {"left": "right", "right": "left", "middle": "middle"}
    for joint, mirrored in enumerate(flip.tolist()):
        assert skeleton.side(mirrored) == sides[skeleton.side(joint)]


@pytest.mark.parametrize("skeleton", [MPI15, MPI17, H36M17, SMPL24], ids=lambda s: s.name)
def test_limbs_form_one_tree(skeleton):
    assert len(skeleton.limbs) == len(skeleton) - 1
    reached = {skeleton.root}
    for _ in skeleton.limbs:
        reached |= {j for limb in skeleton.limbs if reached & set(limb) for j in limb}
    assert reached == set(range(len(skeleton)))


def test_the_working_set_is_smap_s():
    assert MPI15.root == 2
    assert MPI15.limbs == (
        (0, 1), (0, 2), (0, 9), (9, 10), (10, 11), (0, 3), (3, 4), (4, 5),
        (2, 12), (12, 13), (13, 14), (2, 6), (6, 7), (7, 8),
    )  # fmt: skip


def test_joints_are_found_by_name():
    assert MPI15.index("r_wrist") == 11 and get_skeleton("mpi15") is MPI15
    with pytest.raises(InputError, match="no joint 'nose'; it has neck"):
        MPI15.index("nose")
    with pytest.raises(InputError, match="unknown joint set 'coco'; known: mpi15"):
        get_skeleton("coco")


@every
@given(data=st.data())
def test_conversion_to_itself_changes_nothing(skeleton, data):
    points = data.draw(arrays(np.float32, (2, len(skeleton), 3), elements=st.floats(width=32)))
    np.testing.assert_array_equal(convert(points, skeleton, skeleton), points)


@pytest.mark.parametrize("source", SKELETONS.values(), ids=list(SKELETONS))
@pytest.mark.parametrize("target", SKELETONS.values(), ids=list(SKELETONS))
def test_conversion_keeps_shared_joints_and_dtype(source, target):
    points = np.random.default_rng(0).normal(size=(4, 5, len(source), 2)).astype(np.float32)
    out = convert(points, source, target)
    assert out.shape == (4, 5, len(target), 2) and out.dtype == np.float32
    for k, name in enumerate(target.joints):
        if name in source.joints:
            np.testing.assert_array_equal(out[..., k, :], points[..., source.index(name), :])


def test_neck_and_pelvis_of_coco_are_midpoints_and_the_rest_is_missing():
    points = np.arange(17 * 3, dtype=float).reshape(17, 3)
    out = convert(points, COCO17, MPI15)
    np.testing.assert_array_equal(out[0], points[[5, 6]].mean(axis=0))
    np.testing.assert_array_equal(out[2], points[[11, 12]].mean(axis=0))
    assert np.isnan(out[MPI15.index("head_top")]).all()
    assert np.isfinite(np.delete(out, 1, axis=0)).all()


@pytest.mark.parametrize("shape", [(15,), (14, 3), (15, 15), ()])
def test_points_of_another_set_are_refused(shape):
    if shape == (15, 15):  # fits: any number of values per joint
        assert convert(np.zeros(shape), MPI15, MPI17).shape == (17, 15)
        return
    with pytest.raises(InputError, match="don't fit joint set 'mpi15'"):
        convert(np.zeros(shape), MPI15, MPI17)
