"""People of whom only the neck is seen, beside those with a pelvis."""

import numpy as np
import pytest

from smap_ros.association import AssociationConfig, associate, associate_both
from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15

PELVIS, NECK = MPI15.root, MPI15.index("neck")


def maps_of(scene, without: dict[int, list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps of a scene without the peaks of some joints of some people, and both depths."""
    labels = scene.maps()
    maps = labels["maps"][0].copy()
    pixels = scene.camera.project(scene.joints) * scene.scale / 4
    pixels[..., 1] += (64 - scene.camera.height * scene.scale / 4) / 2
    for person, joints in without.items():
        for joint in joints:
            x, y = np.round(pixels[person, joint]).astype(int)
            maps[joint, max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6] = 0
    depth = scene.maps()["root_depth"][0, 0] * 100
    return maps, depth, scene.necks()["neck_depth"][0, 0] * 100


def test_whoever_has_a_pelvis_is_as_before(scene) -> None:
    maps, depth, necks = maps_of(scene, {})
    people, rest = associate_both(maps, depth, necks)
    np.testing.assert_array_equal(people, associate(maps, depth))
    assert len(people) == 3 and len(rest) == 0


def test_a_person_without_a_pelvis_is_found_from_the_neck(scene) -> None:
    maps, depth, necks = maps_of(scene, {1: [PELVIS]})
    people, rest = associate_both(maps, depth, necks)
    assert len(people) == 2 and len(rest) == 1
    whole = associate(maps_of(scene, {})[0], depth)[1]
    above = [
        "neck",
        "head_top",
        *(f"{s}_{j}" for s in "lr" for j in ("shoulder", "elbow", "wrist")),
    ]
    rows = [MPI15.index(name) for name in above]
    np.testing.assert_allclose(rest[0, rows, :2], whole[rows, :2], atol=0.05)
    assert rest[0, PELVIS, 3] == 0
    # No joint belongs to two people.
    for joint in range(15):
        owned = np.concatenate([people[:, joint], rest[:, joint]])
        owned = owned[owned[:, 3] > 0, :2]
        assert len(np.unique(owned, axis=0)) == len(owned)


def test_a_weak_pelvis_makes_a_person_before_its_neck_does(scene) -> None:
    maps, depth, necks = maps_of(scene, {})
    whole = associate(maps, depth)
    x, y = (whole[1, PELVIS, :2]).astype(int)
    maps[PELVIS, y - 4 : y + 5, x - 4 : x + 5] *= 0.16 / maps[PELVIS, y, x]
    people, rest = associate_both(maps, depth, necks)
    assert len(people) == 2 and len(rest) == 1
    people, rest = associate_both(maps, depth, necks, config=AssociationConfig(root_share=0.75))
    assert len(people) == 3 and len(rest) == 0
    np.testing.assert_array_equal(people[:2], whole[[0, 2]])
    others = [k for k in range(15) if k != PELVIS]
    np.testing.assert_array_equal(people[2, others], whole[1, others])


def test_thresholds_and_shapes_are_checked(scene) -> None:
    maps, depth, necks = maps_of(scene, {})
    strict = AssociationConfig(peak_threshold=2.0)
    people, rest = associate_both(maps, depth, necks, config=strict)
    assert people.shape == rest.shape == (0, 15, 4)
    with pytest.raises(InputError, match="root_depth has shape"):
        associate_both(maps, depth, necks[:-1])
