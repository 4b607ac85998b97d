"""`smap-train` as a process that is signalled with its whole group, as terminals and queues do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smap_train.engine.checkpoint import LAST, steps_done
from tests.training.recipes.test_smap_lite_run import configuration, shards  # noqa: F401  fixture

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow  # imports torch and Lightning in a process of its own
def test_a_group_signal_ends_fit_with_its_state_written(tmp_path, shards):  # noqa: F811
    settings = ("steps=100000", "checkpoint_every=1", "keep_every=0", "workers=1")
    process = subprocess.Popen(
        [sys.executable, "-m", "smap_train", "fit", configuration(tmp_path, shards), *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    last = tmp_path / "run" / LAST
    try:
        end = time.monotonic() + 240
        while not last.exists() and process.poll() is None:
            assert time.monotonic() < end, "no checkpoint came"
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        _, complaint = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + signal.SIGTERM, complaint
    assert "Traceback" not in complaint
    assert complaint.splitlines()[-1] == (
        f"error: stopped by SIGTERM; the run stands at step {steps_done(last)}; the same command "
        "goes on"
    )
    assert (tmp_path / "run" / "smap_lite.pth").is_file()
