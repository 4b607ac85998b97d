"""How well joints fit a box, with numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.evaluation.mot.likeness import likeness
from smap_ros.skeletons import MPI15
from tests.evaluation.mot.conftest import HEIGHT, WIDTH, boxed

SIZE = np.array([WIDTH, HEIGHT], np.float64)
LABEL = (100, 50, 80, 200)
LEGS = [MPI15.index(f"{side}_{joint}") for side in "lr" for joint in ("knee", "ankle")]


def fit(label, *bodies):
    return likeness(np.array([label], np.float64), bodies, SIZE)[0].tolist()


def only(body, *joints):
    """The person with these joints alone."""
    there = np.isin(np.arange(15), [MPI15.index(name) for name in joints])
    return replace(
        body,
        joints_2d=np.where(there[:, None], body.joints_2d, np.float32(np.nan)),
        joints_3d=np.where(there[:, None], body.joints_3d, np.float32(np.nan)),
        scores=np.where(there, body.scores, np.float32(0)),
    )


@pytest.mark.parametrize(
    ("label", "box", "expected"),
    [
        (LABEL, LABEL, 1),
        (LABEL, (100, 90, 80, 160), 0.8),  # as long as 0.8 of the label
        (LABEL, (92, 40, 96, 220), 200 / 220),  # within the grown label, but longer
        (LABEL, (60, 50, 80, 200), 0.6),  # 48 of 80 px within 92 to 188
        (LABEL, (60, 170, 80, 200), 0.6 * (270 - 170) / (300 - 170) * (130 / 200)),
        (LABEL, (300, 50, 80, 200), 0),
        ((-40, 50, 80, 200), (-40, 50, 80, 200), 1),
        ((-40, 50, 80, 200), (0, 50, 40, 200), 1),
        ((300, 200, 200, 400), (300, 200, 100, 100), 1),
        (LABEL, (-300, 50, 80, 200), 0),
        ((-100, 50, 80, 200), (-100, 50, 80, 200), 0),  # nothing of either is in the picture
        ((-100, 50, 80, 200), LABEL, 0),
    ],
)
def test_share_inside_times_ratio_of_sides_cut_to_the_picture(label, box, expected):
    assert fit(label, boxed(box)) == pytest.approx([expected], abs=1e-4)


def test_people_and_labels_are_all_compared():
    labels = np.array([LABEL, (300, 50, 80, 200)], np.float64)
    got = likeness(labels, [boxed(LABEL), boxed((300, 50, 80, 200)), boxed((0, 0, 9, 9))], SIZE)
    np.testing.assert_allclose(got, [[1, 0, 0], [0, 1, 0]], atol=1e-4)
    assert likeness(np.zeros((0, 4)), [boxed(LABEL)], SIZE).shape == (0, 1)
    assert likeness(labels, [], SIZE).shape == (2, 0)


def test_labels_may_be_of_what_is_visible_or_of_all():
    upper = boxed(LABEL, unseen=LEGS)
    assert fit(LABEL, upper) == pytest.approx([1], abs=1e-4)
    assert fit((100, 50, 80, 100), upper) == pytest.approx([1], abs=1e-4)


def test_joints_in_a_line_fit_by_their_length():
    spine = only(boxed(LABEL), "neck", "pelvis")  # 0.5 of 1.6 m
    assert fit(LABEL, spine) == pytest.approx([0.5 / 1.6], abs=1e-4)
    assert fit((300, 50, 80, 200), spine) == [0]
    assert fit(LABEL, only(boxed(LABEL), "neck")) == [0]


def test_who_was_only_inferred_fits_nobody():
    assert fit(LABEL, boxed(LABEL, unseen=range(15))) == [0]
    assert fit(LABEL, only(boxed(LABEL))) == [0]
