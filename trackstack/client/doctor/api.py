"""MLflow's API behind a server that answers: host, user, database, version, clock."""

import datetime as dt
import email.utils
import platform
import time

from trackstack.client.doctor.finding import Finding, error, not_judged, ok, warning
from trackstack.client.doctor.reach import NO_ANSWER, Conversation
from trackstack.client.doctor.setup import installed_mlflow, version
from trackstack.client.server import Login, Reply

_OK, _UNAUTHENTICATED, _FORBIDDEN, _NOT_FOUND, _FAILED = 200, 401, 403, 404, 500
_WRONG_HOST = "Invalid Host header"
_SKEW_SECONDS = 30
_SKEW_THAT_AWS_REFUSES = 15 * 60


def host_header(talk: Conversation) -> Finding:
    """Whether MLflow takes requests for the name in the URI; ``/health`` does for any."""
    check, found = "host header", talk.search
    if isinstance(found, Exception):
        return not_judged(check, f"The API does not answer: {found}.")
    if found.status == _FORBIDDEN and _WRONG_HOST in found.said:
        host = talk.address.authority
        sentence = (
            f"The server refuses requests for the name {host}, which its own list of names lacks."
            " A stack has it from `domain`; another server from this, where it is started:"
        )
        names = f"{talk.address.host},{talk.address.host}:*,localhost,localhost:*,127.0.0.1:*"
        return error(check, sentence, f"export MLFLOW_SERVER_ALLOWED_HOSTS='{names}'")
    return ok(check, f"requests for {talk.address.authority} are taken")


def credentials(talk: Conversation) -> Finding:
    """Whether the server lets this user in."""
    check, found = "credentials", talk.search
    if isinstance(found, Exception) or found.status >= _FAILED:
        return not_judged(check, "The API does not answer.")
    who = _who(talk)
    mend = talk.setup.take_variables(talk.address.uri)
    if found.status in {_UNAUTHENTICATED, _FORBIDDEN} and talk.setup.signs_otherwise:
        sentence = f"{talk.setup.signs_otherwise} signs requests in a way that isn't known here."
        return not_judged(check, sentence)
    if "Location" in found.headers:
        sentence = f"Without credentials the server sends to a page to sign in at; {who}."
        return error(check, sentence, mend)
    if found.status == _UNAUTHENTICATED:
        sentence = (
            f"The server asks for a user and a password, and {who}. `trackstack users add` makes a"
            " user, `trackstack users rotate` a new password."
        )
        return error(check, sentence, mend)
    if found.status == _FORBIDDEN:
        return error(check, f"The server lets nobody in as this user ({who}): {found.said}.", mend)
    return ok(check, who)


def _who(talk: Conversation) -> str:
    if talk.login is None:
        return "none are set"
    if isinstance(talk.login, Login):
        return f"those of {talk.login.username!r} are set"
    return "a token is set"


def database(talk: Conversation) -> Finding:
    """Whether what runs are kept in answers; ``/health`` never asks it."""
    check, found, uri = "database", talk.search, talk.address.uri
    stack = talk.setup.stack_at(uri)
    keeps, mend = ("", f"trackstack up --stack {stack}") if stack else talk.meanwhile
    if isinstance(found, Exception):
        sentence = f"{uri} answers /health, but not a search: {found or type(found).__name__}."
        return error(check, sentence + keeps, mend)
    if "--artifacts-only" in found.said:
        return error(check, f"{uri} serves artifacts only: the URI must be the tracking server's.")
    if found.status >= _FAILED:
        sentence = (
            f"{uri} answers /health, but its database is away ({found.status}: {found.said})."
        )
        return error(check, sentence + keeps, mend)
    if found.status != _OK or not isinstance(found.json, dict):
        sentence = f"What answers at {uri} has no MLflow API ({found.status} for a search)."
        if isinstance(found.json, dict) and found.said:  # a relay without its server, for one
            sentence = f"{uri} refuses a search ({found.status}): {found.said}"
        return error(check, sentence)
    return ok(check, "experiments can be searched")


def versions(talk: Conversation) -> Finding:  # noqa: PLR0911 - one for each fault
    """Whether client and server understand each other."""
    check, client = "versions", installed_mlflow()
    try:
        found = talk.server.reply("GET", "/version")
    except NO_ANSWER as wrong:
        return not_judged(check, f"The server doesn't tell its version: {wrong}.")
    told = found.body.decode("utf-8", "replace").strip()
    if found.status != _OK or not told[:1].isdecimal():
        return not_judged(check, f"The server doesn't tell its version ({found.status}).")
    if not client:
        sentence = f"No MLflow is installed beside trackstack; the server's is {told}."
        return not_judged(check, sentence)
    ours, its = version(client), version(told)
    both = f"MLflow {client} here, {told} at the server"
    mend = f"pip install 'mlflow=={told}'"
    if ours[0] > its[0]:
        sentence = f"{both}: logging models asks for what a server of {its[0]}.x doesn't have."
        return error(check, sentence, mend)
    if ours > its:
        return warning(check, f"{both}: what is newer than the server fails there.", mend)
    if ours[0] < its[0] - 1:
        return warning(check, f"{both}: too far apart to have been tried together.", mend)
    return ok(check, both)


def clock(talk: Conversation) -> Finding:
    """Whether this machine and the server agree what time it is."""
    check, found = "clock", talk.health
    told = found.headers.get("Date", "") if isinstance(found, Reply) else ""
    try:
        there = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return not_judged(check, "The server doesn't tell its time.")
    if there.tzinfo is None:
        there = there.replace(tzinfo=dt.UTC)
    off = time.time() - there.timestamp()
    way = "ahead of" if off > 0 else "behind"
    if abs(off) < _SKEW_SECONDS:
        return ok(check, "agrees with the server's to some seconds")
    sentence = (
        f"This machine's clock is {_span(abs(off))} {way} the server's: runs carry wrong times"
    )
    if abs(off) < _SKEW_THAT_AWS_REFUSES:
        return warning(check, f"{sentence}.", _set_clock())
    return error(check, f"{sentence}, and AWS refuses what is signed with them.", _set_clock())


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"  # noqa: PLR2004


def _set_clock() -> str:
    system = platform.system()
    if system == "Darwin":
        return "sudo sntp -sS time.apple.com"
    return "w32tm /resync" if system == "Windows" else "sudo timedatectl set-ntp true"
