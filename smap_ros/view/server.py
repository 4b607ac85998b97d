"""The server behind the page: viser's, on the address that was asked for and no other."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import rich
import viser
from viser import _messages as messages
from viser.infra import ClientId, WebsockClientConnection

from smap_ros.errors import InputError
from smap_ros.view.access import check_address, origin_allowed

log = logging.getLogger(__name__)
# A browser opens connections that it doesn't use, each of which would log a traceback.
logging.getLogger("websockets.server").setLevel(logging.CRITICAL)

_POLICY_VIOLATION = 1008  # why a websocket is closed (RFC 6455)
MAX_ORIGINS = 20  # that are told of; a page that is turned away tries again and again
# What no control of our page says: viser would store files as the value of any control.
_UNUSED = (
    messages.FileTransferStartUpload,
    messages.FileTransferPart,
    messages.GuiFormSubmitMessage,
    messages.GuiFormDirtyMessage,
)


class Server(viser.ViserServer):
    """Viser's server, without its public share link, and closed to other sites' pages.

    Of what a client sends of a control, only a value that the control can have is taken: viser sets
    whatever attribute a message names.

    Args:
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        InputError: if it can't listen there. Viser itself would go on to the next port.
    """

    def __init__(self, host: str, port: int) -> None:
        check_address(host, port)
        self._host = host
        self._told: set[str] = set()  # origins whose pages were turned away
        with _quiet():
            super().__init__(host=host, port=port, verbose=False)
        if port not in (0, self.get_port()):
            self.stop()
            raise InputError(f"port {port} of {host} was taken by another program just now")
        self._websock_server.on_client_connect(self._turn_away)
        for kind in (messages.GuiUpdateMessage, *_UNUSED):
            self._websock_server.unregister_handler(kind)
        self._websock_server.register_handler(messages.GuiUpdateMessage, self._take_value)

    def request_share_url(self, verbose: bool = True) -> None:
        """A browser asks for a public link: pictures of a robot's camera are given to nobody."""
        log.warning("a browser asked for a public link to this page; there is none")

    def stop(self) -> None:
        """Close all connections and the port."""
        with _quiet():
            super().stop()

    async def _take_value(self, client: ClientId, message: messages.GuiUpdateMessage) -> None:
        """A browser changed a control."""
        control = self.gui._gui_input_handle_from_uuid.get(str(message.uuid))
        match message.updates:
            case {"value": value, **others} if not others and _can_have(control, value):
                await self.gui._handle_gui_updates(client, message)

    async def _turn_away(self, connection: WebsockClientConnection) -> None:
        """Close a connection that another site's page made, before it is sent anything."""
        websocket = self._websock_server._live_connections[connection.client_id]
        headers = websocket.request.headers if websocket.request is not None else {}
        origin = headers.get("Origin")
        if not origin_allowed(origin, headers.get("Host"), self._host):
            self._tell(str(origin))
            await websocket.close(_POLICY_VIOLATION, "not from this page")

    def _tell(self, origin: str) -> None:
        """Warn of a page that was turned away, once per origin."""
        if origin in self._told or len(self._told) >= MAX_ORIGINS:
            return
        self._told.add(origin)
        log.warning("a page of %s tried to look at the viewer and was turned away", origin)
        if len(self._told) == MAX_ORIGINS:
            log.warning("pages of still other origins that are turned away are not told of")


def _can_have(control: object, value: Any) -> bool:
    """Whether a value is one that somebody can choose."""
    if isinstance(control, viser.GuiCheckboxHandle):
        return isinstance(value, bool)
    if isinstance(control, viser.GuiSliderHandle):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and control.min <= value <= control.max
    if isinstance(control, (viser.GuiDropdownHandle, viser.GuiButtonGroupHandle)):
        return isinstance(value, str) and value in control.options
    return False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the boxes that viser prints on standard output."""
    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before
