"""The process environment of all tests: ROS networks kept apart, threads kept few.

Fixtures with data live in ``tests/conftest.py``; this file only makes sure that a test run
neither hears nor disturbs any other ROS graph, on this machine or on its network.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# The wheels of ROS start Python anew when they are first imported, to set its library path. Done
# here it happens once, before pytest-xdist starts its workers, which couldn't bear it.
with contextlib.suppress(ImportError):
    import rclpy  # noqa: F401

# Above 101 the ports of DDS reach into the range that Linux hands to outgoing connections.
_DOMAINS = range(1, 102)
# DDS derives its ports from 7400 on; these are only used as locks between test runs.
_FIRST_LOCK_PORT = 22100

_GRAPHS = "graphs"
# Processes that have to find each other over UDP may miss any time-out while the machine does
# something else. A fault of ours fails twice; what passed the second time is listed as "R".
_RERUNS = 1

_SLOW = Path(__file__).parent / "tests" / "slow.txt"


class DomainClaims:
    """ROS domain ids that no other test run on this machine uses.

    An id is claimed by holding a local UDP port, which the system frees even when the run is
    killed.
    """

    def __init__(self) -> None:
        self._locks: list[socket.socket] = []
        # Start anywhere, so that runs that ended without cleaning up don't meet the next one.
        self._candidates = iter(sorted(_DOMAINS, key=lambda i: (i - os.getpid()) % len(_DOMAINS)))

    def claim(self) -> int:
        """Claim the next free id; kept until :meth:`release`."""
        for domain in self._candidates:
            lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                lock.bind(("127.0.0.1", _FIRST_LOCK_PORT + domain))
            except OSError:
                lock.close()
                continue
            self._locks.append(lock)
            return domain
        raise RuntimeError("all 101 ROS domain ids are in use; end other test runs and try again")

    def release(self) -> None:
        """Give all ids back."""
        for lock in self._locks:
            lock.close()


_claims = DomainClaims()
os.environ["ROS_DOMAIN_ID"] = str(_claims.claim())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if "ROS_LOG_DIR" not in os.environ:
    _logs = tempfile.TemporaryDirectory(prefix="smap_ros_test_log_")  # goes with this process
    os.environ["ROS_LOG_DIR"] = _logs.name
# Look-ups in `share` need it; a sourced ROS installation has set it already.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what took long when it was last measured; see ``.ci/slow.py``."""
    slow = tuple(line for line in _SLOW.read_text().splitlines() if not line.startswith("#"))
    for item in items:
        function = item.nodeid.partition("[")[0]
        if any(function == one or function.startswith((f"{one}::", one + "/")) for one in slow):
            item.add_marker(pytest.mark.slow)
        group = _together(item)
        item.add_marker(pytest.mark.xdist_group(group))
        if group == _GRAPHS:
            item.add_marker(pytest.mark.flaky(reruns=_RERUNS))


def _together(item: pytest.Item) -> str:
    """Tests that one worker runs one after the other: a file's, which share what they prepare.

    Graphs of several processes take turns as well: their time-outs are for a machine of two cores
    that does little else.
    """
    folder, _, name = str(item.path.relative_to(Path(__file__).parent / "tests")).rpartition("/")
    return _GRAPHS if folder in ("ros", "view") else f"{folder}/{name}"


def pytest_collection_finish() -> None:
    """Keep torch, if any test module has imported it, to one thread: steady times and results."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def pytest_unconfigure() -> None:
    """Free the domain ids when the run ends."""
    _claims.release()


@pytest.fixture(scope="module")
def ros_domain() -> Iterator[int]:
    """A ROS domain id for this test module alone, also set in the environment for its processes."""
    domain = _claims.claim()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain


@pytest.fixture
def child_environment() -> dict[str, str]:
    """Environment for a Python process that a test starts.

    The ROS wheels mark a process whose library path is set up; a Python of another environment
    that inherits the mark can't load its own libraries, so it is taken out.
    """
    environment = dict(os.environ)
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment
