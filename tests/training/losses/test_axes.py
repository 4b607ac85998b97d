"""The loss along each axis of a volume."""

import numpy as np
import torch

from smap_train.losses.axes import axis_loss

SIZE = 6


def test_it_is_the_cross_entropy_of_the_marginals():
    """Against the definition, cell by cell."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, SIZE, SIZE, SIZE))
    target = rng.uniform(0, SIZE - 1, (2, 3, 3))
    expected = np.zeros((2, 3))
    for b, j in np.ndindex(2, 3):
        chance = np.exp(logits[b, j]) / np.exp(logits[b, j]).sum()
        for axis, others in enumerate(((0, 1), (0, 2), (1, 2))):
            marginal = chance.sum(axis=others)
            cell = int(target[b, j, axis])
            share = target[b, j, axis] - cell
            expected[b, j] -= (1 - share) * np.log(marginal[cell]) / 3
            expected[b, j] -= share * np.log(marginal[cell + 1]) / 3
    tensors = torch.from_numpy(logits), torch.from_numpy(target)
    got = axis_loss(*tensors, torch.ones(2, 3, 1), torch.ones(2, 1))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_what_is_not_labelled_teaches_nothing():
    logits = torch.randn(2, 3, SIZE, SIZE, SIZE, requires_grad=True)
    visible, has_depth = torch.ones(2, 3, 1), torch.tensor([[1.0], [0.0]])
    visible[0, 1] = 0
    target = torch.rand(2, 3, 3) * (SIZE - 1)
    loss = axis_loss(logits, target, visible, has_depth)
    assert loss[0, 1] == 0
    moved = target.clone()
    moved[1, :, 2] = SIZE - 1  # a depth that nobody labelled
    torch.testing.assert_close(axis_loss(logits, moved, visible, has_depth), loss)


def test_borders_are_cells_too():
    logits = torch.zeros(1, 1, SIZE, SIZE, SIZE)
    logits[..., SIZE - 1] = 30.0  # all mass in the last column
    logits[:, :, 0] += 30.0  # and in the first layer
    everything = torch.ones(1, 1, 1), torch.ones(1, 1)
    for column, loss in ((SIZE - 1.0, 0.0), (SIZE - 0.3, 0.0), (0.0, 10.0)):
        target = torch.tensor([[[column, 2.0, 0.0]]])
        got = axis_loss(logits, target, *everything).item() - np.log(SIZE) / 3
        assert abs(got - loss) < 1e-4


def test_the_furthest_from_what_is_thought_likely_teaches_the_most():
    """However little chance the right place has, the gradient there stays that of a softmax."""
    for height in (1.0, 60.0, 300.0):
        logits = torch.zeros(1, 1, SIZE, SIZE, SIZE, dtype=torch.float64)
        logits[..., SIZE - 1] = height
        logits.requires_grad_()
        axis_loss(logits, torch.zeros(1, 1, 3), torch.ones(1, 1, 1), torch.zeros(1, 1)).backward()
        chance = 1 / (1 + (SIZE - 1) * np.exp(-height))  # of the last column, where it isn't
        assert abs(3 * logits.grad[..., SIZE - 1].sum().item() - chance) < 1e-5
