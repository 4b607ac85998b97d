"""Who may look: addresses, ports, and the pages of other sites."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from smap_ros.errors import InputError
from smap_ros.view.access import (
    address,
    check_address,
    exposure,
    is_loopback,
    origin_allowed,
    require_viser,
)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.8.8", True),
        ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("robot.local", False),
    ],
)  # fmt: skip
def test_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected
    warning = exposure(host, 8080)
    assert (warning is None) is expected
    assert expected or f"{host}:8080" in warning


def test_a_port_in_use_is_refused_with_what_to_do():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1:{port}.*in use.*State another port"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    check_address("127.0.0.1", 0)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "a" * 300])
def test_a_host_that_is_not_ours_is_refused(host):
    with pytest.raises(InputError, match=host[:10]):
        check_address(host, 0)


@pytest.mark.parametrize(
    ("origin", "asked", "host", "expected"),
    [
        (None, None, "127.0.0.1", True),  # no browser
        ("http://localhost:8080", "localhost:8080", "127.0.0.1", True),
        ("http://127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1", True),  # through ssh -L
        ("http://[::1]:8080", "[::1]:8080", "::1", True),
        ("https://evil.example", "localhost:8080", "127.0.0.1", False),
        ("http://evil.example:8080", "evil.example:8080", "127.0.0.1", False),  # rebound name
        ("null", "localhost:8080", "127.0.0.1", False),  # a file, a frame in a sandbox
        ("http://robot.local:8080", "robot.local:8080", "0.0.0.0", True),
        ("http://10.0.0.7:8080", "10.0.0.7:8080", "0.0.0.0", True),
        ("https://evil.example", "robot.local:8080", "0.0.0.0", False),
        ("null", None, "0.0.0.0", False),
        ("http://127.0.0.2:8080", "127.0.0.2:8080", "127.0.0.2", True),
        ("http://localhost:8080", "localhost:8080", "127.0.0.2", True),  # through ssh -L
        ("http://127.0.0.3:8080", "127.0.0.2:8080", "127.0.0.2", False),
    ],
)
def test_pages_of_other_sites_are_turned_away(origin, asked, host, expected):
    assert origin_allowed(origin, asked, host) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://localhost:8080"),
        ("0.0.0.0", "http://localhost:8080"),
        ("::", "http://localhost:8080"),
        ("::1", "http://[::1]:8080"),
        ("10.0.0.7", "http://10.0.0.7:8080"),
    ],
)
def test_the_address_is_one_that_a_browser_takes(host, expected):
    assert address(host, 8080) == expected


def test_without_viser_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'smap-ros\[view\]'"):
        require_viser()
