"""Who may open the page: where it is served, and to pages of which origin."""

from __future__ import annotations

import importlib.util
import ipaddress
import socket
from urllib.parse import urlsplit

from smap_ros.errors import InputError

LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """The page's address as a browser on this machine takes it."""
    local = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "localhost"}
    name = local.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def exposure(host: str, port: int) -> str | None:
    """A warning, if others can look at what the camera sees."""
    if is_loopback(host):
        return None
    return (
        f"the viewer listens on {host}:{port}: everybody who reaches this machine there sees the "
        "camera's pictures, without a password. Leave the host out to serve this machine only, "
        "and reach it from elsewhere with `ssh -L`"
    )


def check_address(host: str, port: int) -> None:
    """Make sure that a server can listen there.

    Raises:
        InputError: if the host is none of this machine, or the port is in use.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"host {host!r} can't be resolved: {error}; expected an address of this machine, such "
            f"as {LOOPBACK} (this machine only) or 0.0.0.0 (everybody)"
        ) from error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise InputError(
                    f"the viewer can't listen on {host}:{port}: {error.strerror or error}; is "
                    "another viewer running? State another port, or stop what uses it"
                ) from error


def origin_allowed(origin: str | None, asked: str | None, host: str) -> bool:
    """Whether a page may connect: our own may, another site that is open in the browser not.

    Browsers let any page connect to a websocket of this machine, and say only which page it is.

    Args:
        origin: the header Origin; None from programs that aren't browsers.
        asked: the header Host, where the browser thinks it is connected to.
        host: where the server listens.
    """
    if origin is None:
        return True
    name = urlsplit(origin).hostname
    if is_loopback(host):
        # Not what was asked for: a name of the attacker's that resolves to this machine.
        return name in (*_LOOPBACK_NAMES, host)
    return name is not None and name == urlsplit(f"//{asked or ''}").hostname


def require_viser() -> None:
    """Make sure that the page can be served.

    Raises:
        InputError: if viser isn't installed, saying how to get it.
    """
    if importlib.util.find_spec("viser") is None:
        raise InputError(
            "the viewer needs viser, which isn't installed: `pip install 'smap-ros[view]'`, or "
            "`pip install viser` where colcon built the package"
        )
