"""The identity provider of this machine: what ``authenticate-oidc`` is here.

A balancer on AWS sends a browser to the identity provider, takes the code that it comes back with,
and from then on signs who it is into each request. Here one page asks for an address and for the
password that ``trackstack open`` prints; whoever knows it may be anybody. What reaches the servers
is what AWS would send: the same header, a token of the same shape, padding included, signed by a
key that is served in the same way. Nothing here runs on AWS.
"""

import base64
import hashlib
import hmac
import html
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PORT = "TRACKSTACK_SIGN_IN_PORT"
PLATFORM = "TRACKSTACK_SIGN_IN_PLATFORM"
"""JSON: the declared ``signer``, ``iss`` and ``client``, and how long somebody stays signed in."""
KEY = "TRACKSTACK_SIGN_IN_KEY"
KEY_ID = "TRACKSTACK_SIGN_IN_KEY_ID"
PASSWORD = "TRACKSTACK_SIGN_IN_PASSWORD"  # noqa: S105 - a variable's name

CHECK_PATH = "/oauth2/check"
PAGE_PATH = "/oauth2/sign-in"
ANSWER_PATH = "/oauth2/idpresponse"
"""The balancer's own path, which nothing behind it ever sees."""
KEYS_PATH = "/keys"
DATA_HEADER = "X-Amzn-Oidc-Data"
IDENTITY_HEADER = "X-Amzn-Oidc-Identity"
_COOKIE = "AWSELBAuthSessionCookie-0"
_SIGNED_SECONDS = 120
_BODY_LENGTH_MAX = 16 * 1024
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sign in</title>
<style>body{{font:16px/1.5 system-ui;margin:12vh auto;max-width:24rem;padding:0 1rem}}
label,input,button{{display:block;width:100%;box-sizing:border-box}}
input,button{{font:inherit;padding:.5rem;margin:.25rem 0 1rem}} .wrong{{color:#b00020}}</style>
<h1>Sign in</h1>
<p>This page stands for the identity provider {issuer}. <code>trackstack open</code> prints the
password.</p>{wrong}
<form method="post" action="{action}"><input type="hidden" name="to" value="{to}">
<label>E-mail address<input name="email" type="email" required autofocus></label>
<label>Password<input name="password" type="password" required></label>
<button>Sign in</button></form></html>"""


def make_key() -> str:
    """A signing key like the balancers', as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _part(value: bytes) -> str:
    # With padding, as balancers write it and the standard forbids.
    return base64.urlsafe_b64encode(value).decode()


@dataclass(frozen=True)
class Signer:
    """Signs claims as the balancer does."""

    key_pem: str
    key_id: str

    @property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.key_pem.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("balancers sign by elliptic curves")
        return key

    @property
    def public_pem(self) -> bytes:
        """What is served under the key's id."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, header: Mapping[str, object], claims: Mapping[str, object]) -> str:
        """``x-amzn-oidc-data`` for these claims."""
        full = {"typ": "JWT", "alg": "ES256", "kid": self.key_id, **header}
        text = ".".join(_part(json.dumps(part).encode()) for part in (full, claims))
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_part(r.to_bytes(32) + s.to_bytes(32))}"


class Sessions:
    """Who is signed in, in a cookie that only this process can write."""

    def __init__(self, key: str, seconds: int) -> None:
        self._key = hashlib.sha256(b"session" + key.encode()).digest()
        self._seconds = seconds

    def cookie(self, email: str) -> str:
        """The cookie of somebody who has just signed in."""
        text = _part(json.dumps([email, time.time() + self._seconds]).encode())
        return f"{text}.{self._mark(text)}"

    def email(self, cookie: str) -> str | None:
        """Whose cookie it is; None for one that is not ours, or too old."""
        text, _, mark = cookie.partition(".")
        if not hmac.compare_digest(mark.encode(), self._mark(text).encode()):
            return None
        email, end = json.loads(base64.urlsafe_b64decode(text))
        return str(email) if end > time.time() else None

    def _mark(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _safe(target: str) -> str:
    """A path of this platform, whatever somebody put into the address."""
    parts = urlsplit(target)
    fine = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc
    return target if fine and target.isprintable() else "/"


class _Handler(BaseHTTPRequestHandler):
    signer: Signer
    sessions: Sessions
    platform: Mapping[str, object]
    password: str

    def do_GET(self) -> None:
        """Check a session, show the page, or serve the public key."""
        parts = urlsplit(self.path)
        if parts.path == CHECK_PATH:
            self._check()
        elif parts.path == PAGE_PATH:
            self._page(parse_qs(parts.query).get("to", ["/"])[0])
        elif parts.path == f"{KEYS_PATH}/{self.signer.key_id}":
            self._answer(200, self.signer.public_pem, {"Content-Type": "text/plain"})
        else:
            self._answer(404, b"There is nothing here.\n")

    def do_POST(self) -> None:
        """Take the page's answer."""
        length = int(self.headers.get("Content-Length") or 0)
        if urlsplit(self.path).path != ANSWER_PATH or length > _BODY_LENGTH_MAX:
            self._answer(404, b"There is nothing here.\n")
            return
        form = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
        given = {key: form.get(key, [""])[0] for key in ("email", "password", "to")}
        target = _safe(given["to"])
        if not secrets.compare_digest(given["password"].encode(), self.password.encode()):
            self._page(target, wrong=True)
            return
        cookie = f"{_COOKIE}={self.sessions.cookie(given['email'])}; Path=/; HttpOnly; Secure"
        self._answer(302, b"", {"Location": target, "Set-Cookie": cookie})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: every request comes by here."""

    def _check(self) -> None:
        cookie = SimpleCookie(self.headers.get("Cookie") or "").get(_COOKIE)
        email = self.sessions.email(cookie.value) if cookie else None
        if email is None:
            target = quote(_safe(self.headers.get("X-Forwarded-Uri") or "/"), safe="")
            self._answer(302, b"", {"Location": f"{PAGE_PATH}?to={target}"})
            return
        sub = hashlib.sha256(email.lower().encode()).hexdigest()[:20]
        header = {
            **{key: self.platform[key] for key in ("signer", "iss", "client")},
            "exp": int(time.time()) + _SIGNED_SECONDS,
        }
        claims = {"sub": sub, "email": email, "email_verified": "true"}
        token = self.signer.token(header, claims)
        self._answer(200, b"", {DATA_HEADER: token, IDENTITY_HEADER: sub})

    def _page(self, target: str, *, wrong: bool = False) -> None:
        text = _PAGE.format(
            issuer=html.escape(str(self.platform["iss"])),
            action=ANSWER_PATH,
            to=html.escape(_safe(target), quote=True),
            wrong='<p class="wrong">The password is wrong.</p>' if wrong else "",
        )
        kind = {"Content-Type": "text/html; charset=utf-8"}
        self._answer(401 if wrong else 200, text.encode(), kind)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> int:
    """Serve on loopback until stopped."""
    platform = json.loads(os.environ[PLATFORM])
    _Handler.platform = platform
    _Handler.signer = Signer(os.environ[KEY], os.environ[KEY_ID])
    _Handler.sessions = Sessions(os.environ[KEY], int(platform["session_seconds"]))
    _Handler.password = os.environ[PASSWORD]
    ThreadingHTTPServer(("127.0.0.1", int(os.environ[PORT])), _Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
