"""Stops that come at a bad moment, each in a process of its own: a signal is for all of it."""

import signal
import subprocess
import sys

import pytest

from smap_ros.stopping import stoppable

# As Python does it where a signal hits a native module that is being imported.
DURING_A_NATIVE_IMPORT = """
import os, signal
from smap_ros.stopping import Stopped, stoppable

def import_badly():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException as error:
        raise ImportError("initialization failed") from error

try:
    with stoppable():
        import_badly()
except Stopped as stop:
    print("stopped", stop.status)
"""
DURING_A_RUNTIMES_IMPORT = """
import sys
from smap_ros.engines.base import import_runtime
from smap_ros.stopping import Stopped, stoppable

try:
    with stoppable():
        import_runtime("slow_runtime")
except Stopped as stop:
    print("stopped", stop.status, sys.modules["slow_runtime"].ready)
"""


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_error_that_a_stop_was_made_into_is_the_stop(child_environment) -> None:
    assert run(DURING_A_NATIVE_IMPORT, **child_environment) == f"stopped {128 + signal.SIGTERM}"


def test_an_error_that_is_its_own_cause_ends_as_itself() -> None:
    error = ValueError("as `raise error from error` makes it")
    with pytest.raises(ValueError, match="as `raise"), stoppable():
        raise error from error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ImportError, match="no such module"), stoppable():
        raise ImportError("no such module")


def test_a_stop_while_a_runtime_is_imported_comes_after_it(tmp_path, child_environment) -> None:
    (tmp_path / "slow_runtime.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nready = True\n"
    )
    before = child_environment.get("PYTHONPATH", "")
    environment = {**child_environment, "PYTHONPATH": f"{tmp_path}:{before}".rstrip(":")}
    assert run(DURING_A_RUNTIMES_IMPORT, **environment) == f"stopped {128 + signal.SIGTERM} True"
