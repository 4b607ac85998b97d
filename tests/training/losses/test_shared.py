"""Means and norms over devices: what two gloo processes make of halves is what one makes of all."""

from __future__ import annotations

import os

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from smap_train.losses.shared import mean, mean_count, norm, over_devices

VALUES = torch.tensor([0.5, -2.0, 3.0, 1.0, 4.0])
HALVES = (VALUES[:1], VALUES[1:])  # uneven


def terms(values: torch.Tensor) -> list[torch.Tensor]:
    weight = (values > 0.7).float()
    return [
        mean(values.square()),
        (values * weight).sum() / mean_count(weight.sum(), values),
        norm(values),
        mean(values[values > 100]),
    ]


def of(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The terms [T] and their gradients [T, N]."""
    made, gradients = [], []
    for k in range(4):
        leaf = values.clone().requires_grad_()
        term = terms(leaf)[k]
        term.backward()
        made.append(term.detach())
        gradients.append(leaf.grad)
    return torch.stack(made), torch.stack(gradients)


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(of(HALVES[rank]), os.path.join(folder, f"{rank}.pt"))
    with torch.no_grad():  # measuring is one process's: nobody is waited for
        torch.testing.assert_close(mean(HALVES[rank]), HALVES[rank].mean())
    dist.destroy_process_group()


@pytest.mark.slow  # two processes import torch
def test_two_processes_have_the_means_of_one(tmp_path):
    multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    (one, first), (two, second) = (torch.load(tmp_path / f"{k}.pt") for k in range(2))
    values, gradients = of(VALUES)
    torch.testing.assert_close((one + two) / 2, values)
    torch.testing.assert_close(torch.cat([first, second], dim=1) / 2, gradients)


def test_alone_they_are_what_they_say():
    values, gradients = of(VALUES)
    expected = [VALUES.square().mean(), VALUES[VALUES > 0.7].mean(), VALUES.norm(), 0.0]
    torch.testing.assert_close(values, torch.tensor(expected))
    torch.testing.assert_close(gradients[0], 2 * VALUES / 5)
    assert over_devices(torch.tensor(3.0)) == 3
