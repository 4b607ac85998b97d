"""What a run goes on with, and what it finds in its folder: settings, states, leftovers."""

from __future__ import annotations

import json
import logging
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import nn

from smap_ros.errors import InputError
from smap_ros.stopping import Stopped, stoppable
from smap_train.engine.checkpoint import LAST, steps_done
from smap_train.engine.record import RECORD
from smap_train.engine.trainer import train
from smap_train.engine.validation import BEST, MEASURES, write_measures
from smap_train.models.checkpoint import load_checkpoint
from smap_train.recipes.base import Recipe

from .toy import Toy, toy


def steps_measured(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / MEASURES).read_text().splitlines()]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = (load_checkpoint(path)["state_dict"] for path in (one, other))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, msg=name)


class Watched(Toy):
    """Two groups, the second one's rate a tenth; keeps what the optimiser says at each step."""

    betas = (0.9, 0.999)

    def parameter_groups(self, network):
        return [
            {"params": list(network[0].parameters())},
            {"params": list(network[2].parameters()), "lr": self.config.learning_rate / 10},
        ]

    def optimizer(self, groups):
        self.built, self.seen = super().optimizer(groups), []
        for group in self.built.param_groups:
            group["betas"] = self.betas
        return self.built

    def losses(self, network, batch, step):
        self.seen.append([{**g, "params": None} for g in self.built.param_groups])
        self.steps_averaged = [int(state["step"]) for state in self.built.state.values()]
        return super().losses(network, batch, step)


def test_a_changed_run_goes_on_with_what_its_record_states(tmp_path):
    train(Watched(toy(tmp_path).config), stop_after=5)
    changed = toy(tmp_path, learning_rate=0.5, weight_decay=0.3, steps=40, cooldown=1).config
    recipe = Watched(changed)
    recipe.betas = (0.5, 0.9)
    train(recipe, stop_after=7, change=True)
    assert len(recipe.seen) == 2
    for step, groups in zip((5, 6), recipe.seen, strict=True):
        for group, peak in zip(groups, (0.5, 0.05), strict=True):
            assert group["lr"] == pytest.approx(peak * changed.rate(step))
            assert group["initial_lr"] == peak
            assert (group["weight_decay"], group["betas"]) == (0.3, (0.5, 0.9))
    assert recipe.steps_averaged == [6] * 4  # moments are those of the run
    assert json.loads((tmp_path / RECORD).read_text())["config"]["learning_rate"] == 0.5


class Wider(Toy):
    def network(self):
        return nn.Sequential(nn.Linear(1, 9), nn.Tanh(), nn.Linear(9, 1))


class Held(Toy):
    def parameter_groups(self, network):
        return list(network[2].parameters())


class Plain(Toy):
    def optimizer(self, groups):
        return torch.optim.SGD(groups, self.config.learning_rate)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            Wider,
            r"model\.0\.weight: got \[8, 1\], expected \[9, 1\](.|\n)*can't change the network",
        ),
        (Held, r"groups of 4 tensors, these settings make groups of 2\. --change can't"),
        (Plain, r"--change can't change the optimiser; choose another `out`"),
    ],
)
def test_what_cannot_be_changed_is_refused_before_anything_is_written(tmp_path, kind, words):
    train(toy(tmp_path), stop_after=5)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=words):
        train(kind(toy(tmp_path, learning_rate=0.5).config), change=True)
    assert contents(tmp_path) == before


def test_a_state_of_something_else_is_told_in_words(tmp_path):
    train(toy(tmp_path), stop_after=5)
    torch.save({"global_step": 5, "state_dict": {}}, tmp_path / LAST)
    with pytest.raises(InputError, match=r"last\.ckpt is no state of a run .*another `out`"):
        train(toy(tmp_path))


@pytest.mark.parametrize("step", [0, -1])
def test_a_run_cannot_stop_before_its_first_step(tmp_path, step):
    with pytest.raises(InputError, match=rf"stop after is {step}; expected 1 or later"):
        train(toy(tmp_path / "run"), stop_after=step)
    assert not (tmp_path / "run").exists()


def test_what_an_earlier_run_left_is_not_taken_for_the_new_ones(tmp_path):
    train(toy(tmp_path, validate_every=10, keep_every=10))
    (tmp_path / LAST).unlink()
    before = contents(tmp_path)
    with pytest.raises(
        InputError,
        match=r"best\.pth, measures\.jsonl, refinenet\.pth, steps/000010\.pth, steps/000020\.pth, "
        r"but no last\.ckpt to go on from; .* another `out`, or move or remove",
    ):
        train(toy(tmp_path, slope=3.0))
    assert contents(tmp_path) == before
    for name in (MEASURES, "refinenet.pth", "steps/000010.pth", "steps/000020.pth"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"earlier run left, best\.pth, but"):
        train(toy(tmp_path, slope=3.0))
    (tmp_path / BEST).unlink()
    train(toy(tmp_path, slope=3.0))


class Fails(Toy):
    """Ends as a crash does, at a step or while it is measured there."""

    at, measured_at = 99, 99

    def losses(self, network, batch, step):
        self.step = step + 1
        if step == self.at:
            raise ZeroDivisionError
        return super().losses(network, batch, step)

    def evaluate(self, network, limit):
        if getattr(self, "step", 0) == self.measured_at:
            raise ZeroDivisionError
        return super().evaluate(network, limit)


def test_a_run_that_died_before_its_first_state_begins_again(tmp_path):
    settings = {"validate_every": 10, "measure_pause": 0.01, "bad": 3, "on_bad": "skip"}
    dying = Fails(toy(tmp_path / "run", **settings, steps=40, checkpoint_every=20).config)
    dying.at = 8
    with pytest.raises(ZeroDivisionError):
        train(dying)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {BEST, MEASURES, "skipped.jsonl", RECORD} <= left and LAST not in left
    del settings["measure_pause"]
    train(toy(tmp_path / "run", **settings, seed=4), stop_after=5)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert steps_measured(tmp_path / "run") == [5]
    train(toy(tmp_path / "new", **settings, seed=4), stop_after=5)
    for name in ("skipped.jsonl", MEASURES):  # nothing is there of the start that died
        new = tmp_path / "new" / name
        assert new.exists() == (tmp_path / "run" / name).exists()
        if new.exists():
            assert (tmp_path / "run" / name).read_bytes() == new.read_bytes()


@pytest.mark.parametrize("step", [5, 10, 20])
def test_a_run_that_died_while_it_was_measured_has_the_same_best(tmp_path, step):
    settings = {"validate_every": 5, "checkpoint_every": 8}
    dying = Fails(toy(tmp_path / "died", **settings).config)
    dying.measured_at = step
    with pytest.raises(ZeroDivisionError):
        train(dying)
    assert steps_done(tmp_path / "died" / LAST) == step
    train(toy(tmp_path / "died", **settings))
    train(toy(tmp_path / "whole", **settings))
    assert (tmp_path / "died" / MEASURES).read_bytes() == (
        tmp_path / "whole" / MEASURES
    ).read_bytes()
    for name in (BEST, "refinenet.pth"):
        assert_same_weights(tmp_path / "died" / name, tmp_path / "whole" / name)


def test_a_run_that_was_stopped_where_it_is_measured_is_measured_there(tmp_path):
    settings = {"validate_every": 1, "steps": 5}
    train(toy(tmp_path, **settings, time_limit=timedelta(microseconds=1)))
    assert steps_done(tmp_path / LAST) == 1 and not (tmp_path / MEASURES).exists()
    train(toy(tmp_path, **settings))
    assert steps_measured(tmp_path) == [1, 2, 3, 4, 5]


class Unmeasured(Toy):
    evaluate = Recipe.evaluate


def test_measuring_what_has_no_measures_is_refused_at_the_start(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"validate_every is 5, but recipe toy has no measures"):
        train(Unmeasured(toy(out, validate_every=5).config))
    assert not out.exists()
    train(Unmeasured(toy(out).config), stop_after=1)


def test_states_are_written_without_a_word(tmp_path):
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger("lightning.pytorch")
    logger.addHandler(handler)
    try:
        train(toy(tmp_path), stop_after=5)
    finally:
        logger.removeHandler(handler)
    assert not [text for text in told if "weights_only" in text]


def test_a_list_of_skipped_records_that_was_cut_off_ends_no_run(tmp_path, caplog):
    settings = {"bad": 3, "on_bad": "skip"}
    train(toy(tmp_path, **settings), stop_after=15)
    path = tmp_path / "skipped.jsonl"
    path.write_text(path.read_text() + path.read_text()[:20])
    with caplog.at_level(logging.WARNING):
        train(toy(tmp_path, **settings))
    assert caplog.text.count("is cut off or damaged; it is left out") == 1
    assert "records left out: 1" in caplog.text
    assert json.loads(path.read_text().splitlines()[-1])["record"] == 3  # on a line of its own


def test_a_state_of_step_0_hands_nothing_on_to_other_settings(tmp_path):
    """A run that was asked to end within its first step; what it was measured at is no one's."""
    train(toy(tmp_path, accumulate=4, time_limit=timedelta(microseconds=1)))
    assert (tmp_path / LAST).exists() and steps_done(tmp_path / LAST) == 0
    write_measures(tmp_path / MEASURES, [{"step": 0, "loss": -1.0}])
    (tmp_path / BEST).write_bytes(b"another's")
    train(toy(tmp_path, validate_every=10, seed=2))
    assert steps_measured(tmp_path) == [10, 20]
    assert (tmp_path / BEST).read_bytes() != b"another's"


def test_a_state_that_is_put_back_is_measured_anew_from_there(tmp_path, caplog):
    train(toy(tmp_path, validate_every=5), stop_after=10)
    copy = (tmp_path / LAST).read_bytes()
    train(toy(tmp_path, validate_every=5))
    (tmp_path / BEST).rename(tmp_path / "old.pth")
    (tmp_path / BEST).write_bytes((tmp_path / "old.pth").read_bytes())
    (tmp_path / LAST).write_bytes(copy)
    with caplog.at_level(logging.WARNING):
        train(toy(tmp_path, validate_every=5, learning_rate=1e-9), change=True)
    assert steps_measured(tmp_path) == [5, 10, 15, 20]
    assert "what was measured after step 10 is left out" in caplog.text
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / BEST, tmp_path / "old.pth")


def test_a_start_that_was_killed_between_its_measures_and_its_best_weights_begins_again(tmp_path):
    for text in ("", '{"step": 0, "loss": 1.0}\n'):
        tmp_path.joinpath(MEASURES).write_text(text)
        train(toy(tmp_path, validate_every=10), stop_after=5)
        tmp_path.joinpath(LAST).unlink()
        for left in tmp_path.glob("*.pth"):
            left.unlink()
        tmp_path.joinpath(MEASURES).unlink()


class InParts(Toy):
    """Counts the samples of each step; something happens within one of its parts."""

    def __init__(self, config, part=0, happens=lambda: None):
        super().__init__(config)
        self.part, self.happens = part, happens
        self.samples, self.parts = Counter(), 0

    def losses(self, network, batch, step):
        self.samples[step] += len(batch["x"])
        self.parts += 1
        if self.parts == self.part:
            self.happens()
        return super().losses(network, batch, step)


def asked_to_end():
    """As SIGTERM would, which is for all of a process: libraries of other tests may have it."""
    signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)


def fails():
    raise InputError("something else")


@pytest.mark.parametrize("part", [1, 18, 20])
@pytest.mark.parametrize("happens", [asked_to_end, fails])
def test_a_run_that_ends_within_a_step_goes_on_with_a_whole_one(tmp_path, part, happens):
    """The gradients of the parts of a step that were there already are in no state."""
    settings = {"accumulate": 4, "checkpoint_every": 100, "checkpoint_minutes": 1e-9}
    whole = train(toy(tmp_path / "whole", **settings))
    config = toy(tmp_path / "run", **settings).config
    with pytest.raises((Stopped, InputError)), stoppable():
        train(InParts(config, part, happens))
    done = steps_done(config.out / LAST)
    ended = happens is asked_to_end and part > 1  # the first step isn't waited for
    assert done == (part - 1) // 4 + ended
    recipe = InParts(config)
    assert_same_weights(whole, train(recipe))
    assert recipe.samples == dict.fromkeys(range(done, 20), 8)


@pytest.mark.parametrize(("first", "then"), [(1, 4), (4, 1), (2, 8)])
def test_a_run_goes_on_in_other_parts(tmp_path, first, then):
    train(toy(tmp_path, accumulate=first), stop_after=5)
    recipe = InParts(toy(tmp_path, accumulate=then).config)
    train(recipe, change=True)
    assert recipe.samples == dict.fromkeys(range(5, 20), 8)


def test_a_run_that_averages_no_more_goes_on_from_its_weights(tmp_path):
    never = train(toy(tmp_path / "never", ema_decay=0))
    train(toy(tmp_path / "run"), stop_after=7)
    assert_same_weights(never, train(toy(tmp_path / "run", ema_decay=0), change=True))
