"""What is wrong with a client's set-up, and the command that mends it.

Every check is a small function that returns a finding. One that can't mean anything, because what
it builds upon was found wrong, isn't run: its finding says so.
"""

import dataclasses
from collections.abc import Callable, Iterator

from trackstack.client.doctor import address, api, artifacts, code, local, reach, relay
from trackstack.client.doctor.finding import Finding, Level, not_judged
from trackstack.client.doctor.setup import SetUp
from trackstack.client.strays import find_strays

__all__ = ["Finding", "Level", "SetUp", "examine"]

_Check = Callable[[reach.Conversation], Finding]
_REACHED = ("connection", "certificate", "server")
_SEARCHED = (*_REACHED, "host header", "credentials", "database")
_SERVER_CHECKS: tuple[tuple[str, _Check, tuple[str, ...]], ...] = (
    ("connection", reach.connection, ()),
    ("certificate", reach.certificate, ("connection",)),
    ("server", reach.server, ("connection", "certificate")),
    ("clock", api.clock, _REACHED),
    ("host header", api.host_header, _REACHED),
    ("credentials", api.credentials, (*_REACHED, "host header")),
    ("database", api.database, (*_REACHED, "host header", "credentials")),
    ("versions", api.versions, (*_REACHED, "credentials")),
    ("artifact store", artifacts.store, (*_REACHED, "host header", "credentials")),
    ("artifact locations", artifacts.experiments, _SEARCHED),
    ("experiment names", artifacts.names, _SEARCHED),
)
"""A check, and those whose error makes it meaningless."""


def examine(setup: SetUp) -> Iterator[Finding]:
    """Every finding, as it is made: the variable, the code, the server, this machine's files."""
    found, server = address.judge(setup)
    yield found
    yield from code.judge(setup)
    behind = setup.upstream()
    if behind is None:
        yield from _ask(setup, server)
    else:
        yield relay.judge(setup, server)
        shipped, server = address.judge(behind)
        for found in (dataclasses.replace(shipped, check="upstream"), *_ask(behind, server)):
            yield relay.upstream_words(found)
    yield from relay.journals(setup)
    search, servers = find_strays(setup.folder), local.local_servers()
    yield from local.strays(setup, search, servers)
    yield from local.file_system(setup, search)
    yield local.shared_file(setup, servers)


def _ask(setup: SetUp, server: address.Address | None) -> Iterator[Finding]:
    if server is None:
        for check, _, _ in _SERVER_CHECKS:
            yield not_judged(check, "No server is named.")
        return
    talk, wrong = reach.Conversation(setup, server), set[str]()
    for check, judge, needs in _SERVER_CHECKS:
        first = next((need for need in needs if need in wrong), None)
        if first is None:
            found = judge(talk)
        else:
            found = not_judged(check, f"First mend what is wrong with: {first}.")
        if found.level == "error":
            wrong.add(check)
        yield found
