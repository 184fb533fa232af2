"""A relay between training and the server: whether it takes what is logged."""

import dataclasses

from trackstack.client.doctor.address import Address
from trackstack.client.doctor.finding import Finding, error, not_judged, ok, warning
from trackstack.client.doctor.reach import NO_ANSWER, Conversation
from trackstack.client.doctor.setup import SetUp
from trackstack.core.client_settings import RELAY_PORT, UPSTREAM

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


def upstream_words(finding: Finding) -> Finding:
    """What was found about the server, in the names that the relay has for its variables."""
    sentence, command = finding.sentence, finding.command
    for name, its in UPSTREAM.items():
        sentence, command = sentence.replace(name, its), command.replace(name, its)
    return dataclasses.replace(finding, sentence=sentence, command=command)
