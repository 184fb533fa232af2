"""A relay between training and the server: whether it takes what is logged and what it left."""

import dataclasses
import shlex

from trackstack.client.doctor.address import Address
from trackstack.client.doctor.finding import Finding, error, not_judged, ok, warning
from trackstack.client.doctor.reach import NO_ANSWER, Conversation
from trackstack.client.doctor.setup import SetUp
from trackstack.client.relay import syncing
from trackstack.core.client_settings import RELAY_PORT, TRACKING_URI, UPSTREAM

CHECK = "relay"
_STATUS = "/trackstack/status"
_OK, _UNAUTHENTICATED = 200, 401


def judge(setup: SetUp, address: Address | None) -> Finding:
    """Whether it runs and knows us, and what it still has to ship."""
    if address is None:
        return not_judged(CHECK, "No relay is named.")
    try:
        found = Conversation(setup, address).server.reply("GET", _STATUS)
    except NO_ANSWER as wrong:
        port = "" if address.port == RELAY_PORT else f" --port {address.port}"
        reason = getattr(wrong, "reason", None) or wrong
        sentence = f"The relay at {address.uri} does not answer: {reason}."
        return error(CHECK, sentence, f"trackstack relay{port}")
    told = found.json
    if found.status == _UNAUTHENTICATED:
        mend = dataclasses.replace(setup, behind_relay=True).take_variables()
        return error(CHECK, f"The relay at {address.uri} doesn't know this token.", mend)
    if found.status != _OK or not isinstance(told, dict):
        return error(CHECK, f"{address.uri} is no relay ({found.status}).")
    sentence = f"{address.uri} takes what is logged; {told.get('waiting', 0)} writes wait"
    if told.get("refused"):
        refused = f"{sentence}, and {told['refused']} were refused by the server."
        return warning(CHECK, refused, "trackstack sync")
    return ok(CHECK, sentence)


def journals(setup: SetUp) -> list[Finding]:
    """What relays that have ended did not get to a server."""
    check, found = "journals", []
    behind = setup.upstream()
    uri = (behind or setup).tracking_uri or ""
    name = TRACKING_URI if behind is None else UPSTREAM[TRACKING_URI]
    for left in syncing.kept(setup.environment):
        if left.note:  # a relay that runs tells of its own
            continue
        sync = "trackstack sync"
        if left.server != uri.rstrip("/"):
            sync = f"{name}={shlex.quote(left.server)} {sync}"
        if left.waiting:
            wait = f"{left.waiting} writes wait in {left.folder} for {left.server}."
            found.append(warning(check, wait, sync))
        if left.refused:
            problem = left.refused[0][2]
            refused = f"{left.server} refused {len(left.refused)} writes for good: {problem}"
            found.append(warning(check, refused, f"{sync} --forget"))
    return found or [ok(check, "nothing that was logged waits on this machine")]


def upstream_words(finding: Finding) -> Finding:
    """What was found about the server, in the names that the relay has for its variables."""
    sentence, command = finding.sentence, finding.command
    for name, its in UPSTREAM.items():
        sentence, command = sentence.replace(name, its), command.replace(name, its)
    return dataclasses.replace(finding, sentence=sentence, command=command)
