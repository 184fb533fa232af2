"""The way to a server: its name, its port, its certificate, and whether MLflow is behind it."""

import functools
import http.client
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from trackstack.client.doctor import trust
from trackstack.client.doctor.address import Address
from trackstack.client.doctor.finding import Finding, error, not_judged, ok, warning
from trackstack.client.doctor.setup import SetUp, set_uri
from trackstack.client.server import Reply, Server
from trackstack.client.tracking import Tracking
from trackstack.core.client_settings import INSECURE

NO_ANSWER = (OSError, http.client.HTTPException)  # URLError and TimeoutError are OSErrors
MEANWHILE = "trackstack run -- python train.py"
"""Keeps what is logged until the server is back."""

_OK, _BAD_GATEWAY = 200, 502


class Conversation:
    """A server, asked as MLflow's client of this set-up would ask it; answers are kept."""

    def __init__(self, setup: SetUp, address: Address) -> None:
        self.setup = setup
        self.address = address
        self.login = address.login or setup.login()

    @functools.cached_property
    def server(self) -> Server:
        """Raises TrustError when a variable is in the way."""
        trusted = trust.context(self.setup.environment) if self.address.secure else None
        return Server(
            self.address.uri, login=self.login, timeout=self.setup.timeout, context=trusted
        )

    @functools.cached_property
    def health(self) -> Reply | Exception:
        """What ``/health`` answers, or why it doesn't."""
        return self._kept("GET", "/health")

    @functools.cached_property
    def search(self) -> Reply | Exception:
        """What a question answers that the database must be asked for."""
        return self._kept(
            "POST",
            "/api/2.0/mlflow/experiments/search",
            json.dumps({"max_results": 1}).encode(),
            "application/json",
        )

    def _kept(self, *request: object) -> Reply | Exception:
        try:
            return self.server.reply(*request)  # type: ignore[arg-type]
        except NO_ANSWER as wrong:
            reason = getattr(wrong, "reason", None)
            return reason if isinstance(reason, Exception) else wrong

    @functools.cached_property
    def experiments(self) -> list[dict[str, Any]]:
        """Every active experiment; ClientError when they can't be listed."""
        return list(Tracking(self.server).experiments())

    @property
    def meanwhile(self) -> tuple[str, str]:
        """What becomes of what is logged until the server is back, and the command for that."""
        if self.setup.behind_relay:
            return " Until it is back, the relay keeps what is logged.", ""
        return f" Until it is back, `{MEANWHILE}` keeps what is logged.", MEANWHILE

    @functools.cached_property
    def proxy(self) -> str:
        """The proxy that requests go through; empty for the direct way."""
        host = self.address.host
        if urllib.request.proxy_bypass(host):
            return ""
        return urllib.request.getproxies().get(urlsplit(self.address.uri).scheme, "")


def connection(talk: Conversation) -> Finding:
    """Name and port, told apart."""
    check, address, seconds = "connection", talk.address, talk.setup.timeout
    host, port, through = address.host, address.port, ""
    if talk.proxy:
        parts = urlsplit(talk.proxy if "//" in talk.proxy else f"//{talk.proxy}")
        host, port = parts.hostname or "", parts.port or 80
        through = f" through the proxy {host}:{port}"
    where = f"{host}:{port}"
    aside = " This machine's proxy stands in between." if through else ""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except socket.gaierror as wrong:
        told = f"The name {host!r} is not known here ({wrong.strerror}): mistyped, or a VPN is off."
    except TimeoutError:
        told = (
            f"{where} swallows connections: nothing came back within {seconds:g} s. A firewall, a"
            " VPN that is off, or an address that may not connect (`allowed_cidrs`)."
        )
    except ConnectionRefusedError:
        told = f"{where} refuses connections: the machine is there, but no server listens."
        if address.is_loopback and not through:
            return error(check, told, _start(talk))
    except (OSError, UnicodeError) as wrong:
        told = f"{where} can't be reached: {getattr(wrong, 'strerror', None) or wrong}."
    else:
        return ok(check, f"{address.host}:{address.port} accepts connections{through}")
    if through:
        return error(check, told + aside, _around(talk))
    keeps, command = talk.meanwhile
    return error(check, told + keeps, command)


def certificate(talk: Conversation) -> Finding:  # noqa: PLR0911 - one for each fault
    """TLS, as MLflow's client judges it."""
    check, address = "certificate", talk.address
    if not address.secure:
        if talk.login is not None and not address.is_loopback:
            sentence = f"Credentials travel to {address.host} in the clear: the URI is http://."
            return warning(check, sentence)
        return not_judged(check, "The URI is http://: nothing is encrypted, nothing to trust.")
    try:
        found = talk.health
    except trust.TrustError as wrong:
        return error(check, f"{wrong}.", f"unset {wrong.variable}")
    if isinstance(found, ssl.SSLCertVerificationError):
        return error(check, *trust.explain(talk.setup, address, found))
    if isinstance(found, ssl.SSLError):
        sentence = f"{address.uri} doesn't answer in TLS ({found.reason or found})."
        plain = address.uri.replace("https://", "http://", 1)
        return error(
            check, sentence, set_uri(plain) if found.reason == "WRONG_VERSION_NUMBER" else ""
        )
    if trust.is_insecure(talk.setup.environment):
        sentence = f"{INSECURE} is set: anybody on the way may read and change what is logged."
        return warning(check, sentence, f"unset {INSECURE}")
    if isinstance(found, Exception):
        return not_judged(check, f"The handshake did not end: {found}.")
    return ok(check, f"trusted, and made out to {address.host}")


def server(talk: Conversation) -> Finding:  # noqa: PLR0911 - one for each fault
    """Whether MLflow is what listens."""
    check, address, found = "server", talk.address, talk.health
    keeps, command = talk.meanwhile
    if isinstance(found, TimeoutError):
        sentence = (
            f"{address.authority} accepts connections, but does not answer within"
            f" {talk.setup.timeout:g} s: the server hangs.{keeps}"
        )
        return error(check, sentence, _start(talk) if talk.setup.stack_at(address.uri) else command)
    if isinstance(found, Exception):
        return _broken_off(talk, found)
    location = found.headers.get("Location", "")
    if location:
        return _redirected(talk, location)
    if found.status == _OK and found.body.strip() == b"OK":
        return ok(check, f"{address.uri} answers /health")
    if not address.secure and trust.speaks_tls(talk.setup, address):
        return _broken_off(talk, ConnectionResetError())
    what = f"{address.uri}/health answers {found.status}"
    if found.status >= _BAD_GATEWAY:
        sentence = f"{what}: a balancer or proxy is there, but no server behind it."
        return error(check, sentence + keeps, _around(talk) or command)
    kind = found.headers.get("Server", "")
    sentence = f"{what} like no MLflow server" + (f" (it calls itself {kind!r})." if kind else ".")
    if "AirTunes" in kind:
        sentence += " macOS's AirPlay receiver has taken port 5000."
    elif not urlsplit(address.uri).path:
        sentence += " One started with `--static-prefix` has that in its URI."
    return error(check, sentence, _around(talk))


def _broken_off(talk: Conversation, wrong: Exception) -> Finding:
    address = talk.address
    if not address.secure and trust.speaks_tls(talk.setup, address):
        better = address.uri.replace("http://", "https://", 1)
        sentence = f"{address.authority} speaks TLS only, and the URI is http://."
        return error("server", sentence, set_uri(better))
    sentence = (
        f"{address.authority} accepts connections, but breaks off before an answer"
        f" ({type(wrong).__name__}: {wrong})."
    )
    return error("server", sentence, _around(talk))


def _redirected(talk: Conversation, location: str) -> Finding:
    address = talk.address
    there, here = urlsplit(location), urlsplit(address.uri)
    if there.hostname in {None, here.hostname} and there.path.endswith("/health"):
        base = location.partition("?")[0].removesuffix("/health")
        sentence = (
            f"{address.uri} sends on to {base}; a client that logs is turned away there, because a"
            " redirected POST becomes a GET."
        )
        return error("server", sentence, set_uri(base) if there.hostname else "")
    sentence = (
        f"{address.uri} sends clients on to {there.hostname or location}, a page for browsers to"
        " sign in at."
    )
    return error("server", sentence, _around(talk))


def _start(talk: Conversation) -> str:
    """The command that starts a server of this machine."""
    stack = talk.setup.stack_at(talk.address.uri)
    if stack:
        return f"trackstack up --stack {stack}"
    if talk.setup.stacks:  # they run elsewhere than the variable says
        return talk.setup.take_variables()
    return f"trackstack up && {talk.setup.take_variables()}"


def _around(talk: Conversation) -> str:
    """The command that leads past a proxy; empty without one."""
    if not talk.proxy:
        return ""
    upper = os.environ.get("NO_PROXY") and not os.environ.get("no_proxy")  # the lower one wins
    name = "NO_PROXY" if upper else "no_proxy"
    return f'export {name}="${name},{talk.address.host}"'
