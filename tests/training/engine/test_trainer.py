"""Runs that stop, go on, end badly, and share their work: real processes on real files."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from smap_ros.errors import InputError
from smap_train.engine.checkpoint import LAST, steps_done
from smap_train.engine.trainer import train
from smap_train.models.checkpoint import load_checkpoint

from .toy import Toy, toy

TOY = Path(__file__).with_name("toy.py")
ROOT = Path(__file__).parents[3]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)["state_dict"]


def assert_same(one: Path, other: Path, **tolerance: float) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, rtol=0, atol=tolerance.get("atol", 0), msg=name
        )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def started(out: Path, *settings: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(TOY), str(out), *settings]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_a_run_has_as_many_threads_as_it_shall(tmp_path, monkeypatch, strategy):
    """Where nothing of the environment says how many, launchers of Lightning choose for all."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, threads = torch.get_num_threads(), []

    class Counting(Toy):
        def losses(self, network, batch, step):
            threads.append(torch.get_num_threads())
            return super().losses(network, batch, step)

    try:
        for wanted in (3, 1):
            recipe = toy(tmp_path / str(wanted), steps=2, threads=wanted, strategy=strategy)
            train(Counting(recipe.config))
    finally:
        torch.set_num_threads(before)
    assert threads == [3, 3, 1, 1]


def wait_for_step(out: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not (out / LAST).exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "no checkpoint after two minutes"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Weights of a run that nothing stopped."""
    return train(toy(tmp_path_factory.mktemp("whole")))


def test_a_run_learns_and_resumes_to_the_bit(whole, tmp_path):
    recipe = toy(tmp_path)
    train(recipe, stop_after=7)
    assert steps_done(tmp_path / LAST) == 7
    assert_same(whole, train(recipe))
    network = recipe.network()
    network.load_state_dict(weights(whole))
    assert recipe.evaluate(network, 20)["error"] < 0.6


def test_workers_and_checkpoints_change_nothing(whole, tmp_path):
    process = started(tmp_path, "workers=2", "checkpoint_every=3", "keep_every=10")
    _, told = process.communicate(timeout=300)  # not here: this process has threads of its own
    assert process.returncode == 0, told
    assert_same(whole, tmp_path / "refinenet.pth")
    assert sorted(p.name for p in (tmp_path / "steps").iterdir()) == ["000010.pth", "000020.pth"]


def test_measuring_on_the_way_changes_nothing_and_keeps_the_best(whole, tmp_path):
    assert_same(whole, train(toy(tmp_path, validate_every=5)))
    lines = [json.loads(line) for line in (tmp_path / "measures.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    best = min(lines, key=lambda line: line["error"])
    recipe = toy(tmp_path)
    network = recipe.network()
    network.load_state_dict(weights(tmp_path / "best.pth"))
    assert recipe.evaluate(network, 200)["error"] == pytest.approx(best["error"], rel=1e-5)


def test_parts_of_a_step_add_up(whole, tmp_path):
    assert_same(whole, train(toy(tmp_path, accumulate=4)), atol=2e-6)


def test_other_settings_are_refused_until_they_are_wanted(tmp_path):
    train(toy(tmp_path), stop_after=5)
    record = json.loads((tmp_path / "run.json").read_text())
    with pytest.raises(InputError, match=r"learning_rate: 0.5, was 0.02.*slope: 3.0, was 2.0"):
        train(toy(tmp_path, learning_rate=0.5, slope=3.0))
    assert json.loads((tmp_path / "run.json").read_text()) == record
    train(toy(tmp_path, learning_rate=0.5), stop_after=6, change=True)
    assert json.loads((tmp_path / "run.json").read_text())["config"]["learning_rate"] == 0.5


def test_slow_steps_are_kept_by_the_clock(tmp_path):
    settings = ("steps=100000", "checkpoint_every=100000", "checkpoint_minutes=0.0001")
    process = started(tmp_path, "pause=0.002", *settings)
    wait_for_step(tmp_path, process)
    process.kill()
    process.communicate()
    assert 0 < steps_done(tmp_path / LAST) < 100000


def test_a_damaged_state_is_told_in_one_line(tmp_path):
    train(toy(tmp_path), stop_after=5)
    state = tmp_path / LAST
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state of the run, .*last.ckpt, is damaged"):
        train(toy(tmp_path))


def test_weights_are_named_where_a_damaged_state_leaves_some(tmp_path):
    (tmp_path / LAST).write_bytes(b"no state")
    with pytest.raises(InputError, match=r"to begin anew$"):
        steps_done(tmp_path / LAST)
    kept = [tmp_path / "best.pth", tmp_path / "steps" / "000010.pth"]
    kept[1].parent.mkdir()
    for path in kept:
        path.touch()
    with pytest.raises(InputError, match=rf"Its weights are in {kept[0]}, {kept[1]}$"):
        steps_done(tmp_path / LAST)


def test_bad_records(tmp_path):
    with pytest.raises(InputError, match=r"numbers.txt, record 3: value is nan; on_bad=skip"):
        train(toy(tmp_path / "stop", bad=3))
    train(toy(tmp_path / "skip", bad=3, on_bad="skip"))
    lines = (tmp_path / "skip" / "skipped.jsonl").read_text().splitlines()
    assert {json.loads(line)["record"] for line in lines} == {3}


def test_losses_that_are_no_numbers_end_the_run(tmp_path):
    with pytest.raises(InputError, match=r"the loss is no number at step \d+ \(square"):
        train(toy(tmp_path, slope=1e30))


def test_the_clock_ends_a_run_with_its_state_written(tmp_path):
    train(toy(tmp_path, pause=0.05, time_limit="00:00:01"))
    assert 0 < steps_done(tmp_path / LAST) < 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_which_then_goes_on_exactly(whole, tmp_path, number):
    process = started(tmp_path, "pause=0.02")
    wait_for_step(tmp_path, process)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    done = steps_done(tmp_path / LAST)
    assert f"the run stands at step {done}" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert 0 < done < 20
    assert_same(whole, train(toy(tmp_path), change=True))  # without the pauses


def test_a_signal_while_the_start_is_measured_ends_the_run(tmp_path):
    process = started(tmp_path, "validate_every=1", "measure_pause=1.5")
    end = time.monotonic() + 120
    while not (tmp_path / "measuring").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the run stands at step 1" in told.splitlines()[-1]
    steps = [json.loads(line)["step"] for line in (tmp_path / "measures.jsonl").open()]
    assert steps == [0]


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tmp_path):
    process = started(tmp_path, "pause=0.02")
    wait_for_step(tmp_path, process)
    process.kill()
    process.communicate()
    assert_same(whole, train(toy(tmp_path), change=True))


def test_a_full_disk_leaves_the_last_good_state(whole, tmp_path):
    train(toy(tmp_path), stop_after=5)
    size = (tmp_path / LAST).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # EFBIG, as ENOSPC, from write()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(
            InputError, match=r"can't write the checkpoint .* at step 10.* before is whole"
        ):
            train(toy(tmp_path, checkpoint_every=10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert steps_done(tmp_path / LAST) == 5
    assert_same(whole, train(toy(tmp_path)))


def test_two_processes_give_what_one_gives(whole, tmp_path):
    """Gloo on the CPU; equal but for the order in which gradients are added up: 2e-6."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        str(TOY), str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert_same(whole, tmp_path / "refinenet.pth", atol=2e-6)
    assert json.loads((tmp_path / "run.json").read_text())["devices"] == 2
    events = list(tmp_path.glob("events.out.tfevents.*"))
    assert len(events) == 1, "only the first process writes"


def test_synchronised_batch_norm_needs_gpus(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="set sync_bn=false"):
        train(toy(tmp_path, sync_bn=True))
