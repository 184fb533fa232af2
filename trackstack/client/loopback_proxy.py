"""An HTTPS proxy on loopback: one host goes through a forwarded port, everything else out directly.

It sees TLS from outside only: a client says ``CONNECT host:port`` and both ends talk past it.
"""

import contextlib
import socket
import socketserver
import threading
from typing import Self

LOOPBACK = "127.0.0.1"
HEAD_BYTES = 16 * 1024
CONNECT_SECONDS = 30


class LoopbackProxy(socketserver.ThreadingTCPServer):
    """Serves while its ``with`` block lasts.

    Args:
        port: the loopback port that it listens on.
        host: the name that is led through.
        host_port: its port; others of the same host go out directly.
        inner: the loopback port that leads there.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, host: str, host_port: int, inner: int) -> None:
        self._led = (host.lower(), host_port)
        self._inner = inner
        super().__init__((LOOPBACK, port), _Connection)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    def way_to(self, host: str, port: int) -> tuple[str, int]:
        """Where a connection that is asked for goes."""
        return (LOOPBACK, self._inner) if (host.lower(), port) == self._led else (host, port)


class _Connection(socketserver.BaseRequestHandler):
    server: LoopbackProxy
    request: socket.socket

    def handle(self) -> None:
        asked = self._asked()
        if asked is None:
            self._answer("405 Method Not Allowed")
            return
        try:
            other = socket.create_connection(self.server.way_to(*asked), timeout=CONNECT_SECONDS)
        except OSError:
            self._answer("502 Bad Gateway")
            return
        with contextlib.closing(other):
            other.settimeout(None)
            self._answer("200 Connection established")
            back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
            back.start()
            _pump(self.request, other)
            back.join()

    def _asked(self) -> tuple[str, int] | None:
        """Host and port of a CONNECT request; None for anything else."""
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
            piece = self.request.recv(4096)
            if not piece:
                return None
            head += piece
        method, _, rest = head.partition(b" ")
        host, _, port = rest.partition(b" ")[0].decode("latin-1").rpartition(":")
        if method != b"CONNECT" or not host or not port.isdecimal():
            return None
        return host.strip("[]"), int(port)

    def _answer(self, status: str) -> None:
        with contextlib.suppress(OSError):
            self.request.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode("ascii"))


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source ends, and pass that end on."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
