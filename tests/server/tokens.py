"""An authority over tokens that PostgreSQL itself asks, as RDS's asks IAM.

RDS takes any of a role's tokens until its own end, so that two overlap; a password of PostgreSQL's
own has no overlap, and would show failures that AWS hasn't. RADIUS is the one way in which a plain
PostgreSQL asks somebody else, and it, too, asks only while a connection is made. Its passwords end
at 128 bytes: the tokens here are short, which IAM's aren't.
"""

import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
import threading
import time
from typing import Self

_ACCEPT, _REJECT = 2, 3
_USER_PASSWORD = 2
_HEADER = struct.Struct("!BBH16s")


def make_token(key: str, now: float) -> str:
    """A token of this moment; ``serve`` makes it in the test, where AWS would sign one."""
    born = f"{now:.6f}"
    return f"{born}.{hmac.new(key.encode(), born.encode(), hashlib.sha256).hexdigest()}"


class Authority(threading.Thread):
    """Accepts a token that it knows the key of, for so many seconds after it was made."""

    def __init__(self, valid_seconds: float) -> None:
        super().__init__(daemon=True)
        self.key = secrets.token_hex(16)
        self.secret = secrets.token_hex(16)
        self.valid_seconds = valid_seconds
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def accepts(self, token: str) -> bool:
        """Whether the token is genuine and not yet at its end."""
        born = token.rpartition(".")[0]
        genuine = born and hmac.compare_digest(token, make_token(self.key, float(born)))
        return bool(genuine) and time.time() < float(born) + self.valid_seconds

    def run(self) -> None:
        """Answer until closed."""
        with contextlib.suppress(OSError):
            while True:
                packet, client = self._socket.recvfrom(4096)
                token = self._password(packet)
                right = self.accepts(token)
                (self.accepted if right else self.refused).append(token)
                self._socket.sendto(self._answer(packet, _ACCEPT if right else _REJECT), client)

    def _password(self, packet: bytes) -> str:
        """The hidden attribute User-Password (RFC 2865, 5.2)."""
        previous, rest = packet[4:20], packet[20:]
        while rest:
            kind, length = rest[0], rest[1]
            value, rest = rest[2:length], rest[length:]
            if kind == _USER_PASSWORD:
                plain = b""
                for start in range(0, len(value), 16):
                    pad = hashlib.md5(self.secret.encode() + previous).digest()
                    previous = value[start : start + 16]
                    plain += bytes(a ^ b for a, b in zip(previous, pad, strict=True))
                return plain.rstrip(b"\0").decode()
        return ""

    def _answer(self, packet: bytes, code: int) -> bytes:
        head = struct.pack("!BBH", code, packet[1], _HEADER.size)
        proof = hashlib.md5(head + packet[4:20] + self.secret.encode()).digest()
        return head + proof
