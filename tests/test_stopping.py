"""Stops that come at a bad moment."""

import os
import signal
import sys

import pytest

from smap_ros.engines.base import import_runtime
from smap_ros.stopping import SIGNALS, Stopped, stoppable


@pytest.fixture(autouse=True)
def pythons_own_handlers() -> None:
    """ROS installs handlers that this process keeps after its tests; a stop would end it."""
    for number in SIGNALS:
        if signal.getsignal(number) is None:
            signal.signal(number, signal.SIG_DFL)


def test_an_error_that_a_stop_was_made_into_is_the_stop() -> None:
    """As Python does it where a signal hits a native module that is being imported."""

    def import_badly() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise ImportError("initialization failed") from error

    with pytest.raises(Stopped) as stop, stoppable():
        import_badly()
    assert stop.value.status == 128 + signal.SIGTERM


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ImportError, match="no such module"), stoppable():
        raise ImportError("no such module")


def test_a_stop_while_a_runtime_is_imported_comes_after_it(tmp_path, monkeypatch) -> None:
    (tmp_path / "slow_runtime.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nready = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Stopped), stoppable():
        import_runtime("slow_runtime")
    assert sys.modules.pop("slow_runtime").ready
