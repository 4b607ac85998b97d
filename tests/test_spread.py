"""Spread over processes or a Ray cluster, work gives what it gives here, whoever is lost."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from smap_ros.errors import InputError
from smap_ros.spread import MOST_TRIES, Workers, spread
from smap_ros.stopping import Stopped

ROOT = Path(__file__).parents[1]
ITEMS = list(range(7))
RAY = pytest.param(
    Workers(2, "local"),
    id="ray",
    marks=[
        pytest.mark.slow,  # a cluster starts in seconds
        pytest.mark.skipif(
            importlib.util.find_spec("ray") is None, reason="pip install 'smap-ros[ray]'"
        ),
    ],
)
EVERYWHERE = pytest.mark.parametrize(
    "workers", [Workers(), pytest.param(Workers(2), id="processes"), RAY]
)
ELSEWHERE = pytest.mark.parametrize("workers", [pytest.param(Workers(2), id="processes"), RAY])


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def squares() -> Callable[[int, Callable[[int], None]], int]:
    def square(item: int, tick: Callable[[int], None]) -> int:
        time.sleep(0.05 * (item % 3))  # later ones are ready first
        tick(1)
        tick(2)
        return item * item

    return square


def broken(error: type[Exception]) -> Callable[[int, Callable[[int], None]], int]:
    def function(item: int, tick: Callable[[int], None]) -> int:
        if item in (3, 5):
            raise error(f"item {item} is bad")
        return item

    return function


def fatal(folder: Path, times: int) -> Callable[[int, Callable[[int], None]], int]:
    """Kills its process at item 3, so many times; each death is a file."""

    def function(item: int, tick: Callable[[int], None]) -> int:
        tick(1)
        deaths = len(list(folder.glob("*")))
        if item == 3 and deaths < times:
            (folder / f"{os.getpid()}_{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    return function


@EVERYWHERE
def test_results_come_in_order_and_all_is_told(workers):
    told: list[int] = []
    assert list(spread(squares, ITEMS, workers, told.append)) == [k * k for k in ITEMS]
    assert sum(told) == 3 * len(ITEMS)


@EVERYWHERE
def test_a_users_mistake_comes_back_as_it_is_after_the_results_before_it(workers):
    results = spread(partial(broken, InputError), ITEMS, workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="item 3 is bad"):
        next(results)


@ELSEWHERE
def test_a_bug_comes_back_with_its_traceback(workers):
    with pytest.raises(RuntimeError, match=r"in function(?s:.*)item 3 is bad"):
        list(spread(partial(broken, KeyError), ITEMS, workers))


@ELSEWHERE
def test_what_a_killed_worker_had_is_begun_again(workers, tmp_path):
    told: list[int] = []
    assert list(spread(partial(fatal, tmp_path, 2), ITEMS, workers, told.append)) == ITEMS
    assert len(list(tmp_path.glob("*"))) == 2
    assert sum(told) == len(ITEMS)


@ELSEWHERE
def test_an_item_that_kills_every_worker_is_given_up(workers, tmp_path):
    with pytest.raises(InputError, match=f"lost {MOST_TRIES} times over item 3"):
        list(spread(partial(fatal, tmp_path, 99), ITEMS, workers))
    assert len(list(tmp_path.glob("*"))) == MOST_TRIES


def test_who_stops_leaves_no_process_behind():
    results = spread(squares, ITEMS, Workers(2))
    next(results)
    with pytest.raises(Stopped):
        results.throw(Stopped(signal.SIGINT))
    import multiprocessing

    assert not multiprocessing.active_children()


def test_nothing_to_do_is_nothing(tmp_path):
    assert list(spread(squares, [], Workers(2))) == []


def test_a_cluster_that_is_not_there_is_told():
    pytest.importorskip("ray", reason="pip install 'smap-ros[ray]'")
    with pytest.raises(InputError, match="no Ray cluster at"):
        list(spread(squares, ITEMS, Workers(0, "127.0.0.1:1")))
