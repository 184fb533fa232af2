"""A network between a client and its server that can fail in every way a network does."""

import contextlib
import socket
import threading
import time
from typing import Self

UP, REFUSED, BLACK_HOLE, UNAVAILABLE = "up", "refused", "black hole", "503"
_ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Gateway:
    """A port of loopback that leads to another one, as its ``mode`` says.

    Args:
        to: the port of the server.
        port: its own; 0 for any.
        mode: how it begins.
        delay: seconds that everything takes on each way.
    """

    def __init__(self, to: int, port: int = 0, mode: str = UP, delay: float = 0) -> None:
        self._to = to
        self._delay = delay
        self._mode = REFUSED
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        with socket.create_server(("127.0.0.1", port)) as probe:
            self.port: int = probe.getsockname()[1]
        self.mode = mode

    @property
    def uri(self) -> str:
        """For HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def mode(self) -> str:
        """One of the four; changing it cuts every connection."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        with self._lock:
            self._mode = mode
            for one in self._open:
                _cut(one)
            self._open.clear()
            if self._listening is not None:
                _cut(self._listening)  # wakes the thread that accepts, which closes it
                self._listening.close()
                self._listening = None
            if mode != REFUSED:
                self._listening = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
                threading.Thread(target=self._accept, args=[self._listening], daemon=True).start()

    def close(self) -> None:
        """Refuse for good."""
        self.mode = REFUSED

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                try:
                    here, _ = listening.accept()
                except OSError:
                    return
                with self._lock:
                    self._open.add(here)
                    mode = self._mode
                threading.Thread(target=self._serve, args=[here, mode], daemon=True).start()

    def _serve(self, here: socket.socket, mode: str) -> None:
        with here, contextlib.suppress(OSError):
            if mode == UNAVAILABLE:
                here.recv(1 << 16)
                here.sendall(_ANSWER)
            elif mode == BLACK_HOLE:
                while here.recv(1 << 16):  # until it is cut
                    pass
            elif mode == UP:
                with socket.create_connection(("127.0.0.1", self._to)) as there:
                    for one in (here, there):
                        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._lock:
                        self._open.add(there)
                    back = threading.Thread(target=self._carry, args=[there, here], daemon=True)
                    back.start()
                    self._carry(here, there)
                    back.join()
        with self._lock:
            self._open.discard(here)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                time.sleep(self._delay)
                target.sendall(chunk)
        _cut(source)
        _cut(target)


def _cut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
