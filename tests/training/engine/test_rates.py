"""What a run says of its speed: samples learnt from beside samples prepared."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest

from smap_train.engine import estimate
from smap_train.engine.trainer import train

from .toy import toy

TRAINER = SimpleNamespace(is_global_zero=True, world_size=2)


def passes(rates: estimate.Rates, clock: list[float], waits: float, computes: float, count: int):
    for _ in range(count):
        clock[0] += waits
        rates.on_train_batch_start(TRAINER, None, None, 0)
        clock[0] += computes
        rates.on_train_batch_end(TRAINER, None, None, None, 0)


@pytest.mark.parametrize(("waits", "advice"), [(0.01, False), (0.5, True)])
def test_the_steps_rate_stands_beside_the_loaders(waits, advice, monkeypatch, caplog):
    clock = [0.0]
    monkeypatch.setattr(estimate, "_now", lambda: clock[0])
    rates = estimate.Rates(16, 4, 30.0)
    with caplog.at_level(logging.INFO):
        passes(rates, clock, 5.0, 9.0, 3)  # the first ones warm up
        passes(rates, clock, waits, 0.2, 30)
    (line,) = caplog.messages  # once
    assert "learns from 80.0 samples/s, 8 processes prepare about 240.0" in line
    assert f"{waits / (waits + 0.2):.0%} of the time it waits" in line
    assert ("set workers higher" in line) == advice


def test_a_run_says_both_at_its_start(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="smap_train"):
        train(toy(tmp_path / "run", steps=20))
    text = "\n".join(caplog.messages)
    assert re.search(r"one process prepares [\d.]+ samples/s", text)
    assert re.search(r"a step learns from [\d.]+ samples/s, one process prepares about", text)


def test_what_was_left_out_is_counted_at_the_end(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="smap_train"):
        train(toy(tmp_path / "run", bad=3, on_bad="skip"))
    assert f"records left out: 1; {tmp_path / 'run/skipped.jsonl'} lists them" in caplog.messages
