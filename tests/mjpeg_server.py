"""A network camera: MJPEG over HTTP, that can stall, fall silent, vanish and come back."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from smap_ros.images import encode_compressed

PERIOD = 0.05  # seconds
LONGEST = 20.0  # that nothing is sent, so that no reader waits for ever


class NetworkCamera:
    """Serves ``/stream``, images that get brighter, ``/film.mp4`` and ``/live``, if there are any.

    Attributes:
        stalled: no more images come; of a film its first half.
        silent: who asks for anything is not answered.
        live: a stream that goes on after its last byte without sending any.
    """

    def __init__(
        self, size: tuple[int, int] = (64, 48), film: bytes = b"", live: bytes = b""
    ) -> None:
        self.size, self.film, self.live = size, film, live
        self.stalled, self.silent = threading.Event(), threading.Event()
        self._vanished = threading.Event()
        self._sockets: list[socket.socket] = []
        self._port = 0
        self.appear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def appear(self) -> None:
        """Listen, on the same port as before."""
        self._vanished.clear()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._sockets.append(self.connection)
                with contextlib.suppress(OSError):
                    camera._answer(self)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def vanish(self) -> None:
        """Cut all connections, and take none."""
        self._vanished.set()
        self._server.shutdown()
        self._server.server_close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.silent.is_set():
            self._vanished.wait(LONGEST)
            return
        if request.path.partition("?")[0] == "/film.mp4":
            self._send_film(request)
            return
        request.send_response(200)
        if request.path == "/live":
            request.end_headers()
            request.wfile.write(self.live)
            self._vanished.wait(LONGEST)
            return
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
        request.end_headers()
        count = 0
        while not self._vanished.wait(PERIOD):
            if self.stalled.is_set():
                continue
            width, height = self.size
            jpeg = encode_compressed(np.full((height, width, 3), 50 + count % 200, np.uint8))
            head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            request.wfile.write(head.encode() + jpeg + b"\r\n")
            count += 1

    def _send_film(self, request: BaseHTTPRequestHandler) -> None:
        """From the byte that is asked for: where a film's index is, is for the reader to find."""
        size = len(self.film)
        first = int(request.headers.get("Range", "bytes=0-")[len("bytes=") :].partition("-")[0])
        request.send_response(206)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        request.send_header("Content-Length", str(size - first))
        request.end_headers()
        if self.stalled.is_set() and first < size // 2:  # else its index is asked for
            request.wfile.write(self.film[first : size // 2])
            self._vanished.wait(LONGEST)
            return
        request.wfile.write(self.film[first:])
