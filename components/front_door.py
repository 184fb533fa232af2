"""The one address of the platform: a load balancer with TLS in front of the services.

Why a component: name, certificate, routing and the list of who may connect belong together, and a
client sees them as one thing. Large artifacts leave the tracking processes alone, because exactly
two paths go to a service of their own; an account without a domain can begin with a certificate
made here, which clients are handed; and nobody gets in whose range was not written down.
"""

from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_tls as tls
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import acm, ec2, lb, route53, vpc

from trackstack.core import policies
from trackstack.core.access import HEALTH_PATH, SERVER_INFO_PATH
from trackstack.core.containers import ARTIFACTS, TRACKING
from trackstack.core.server_environment import CONTAINER_PORT
from trackstack.core.timeouts import timeouts_for

ARTIFACT_PATHS = ("/api/2.0/mlflow-artifacts/*", "/ajax-api/2.0/mlflow-artifacts/*")
"""Nothing else: an artifacts-only server answers 503 to every other artifact path."""
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
"""TLS 1.3 preferred, of 1.2 only forward secrecy with GCM: what AWS recommends and its console
chooses (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html)."""
HTTPS_ONLY_SECONDS = 365 * 24 * 3600
"""How long a browser remembers that the domain answers by TLS."""
HTTPS_PORT = 443
SESSION_SECONDS = 12 * 3600
"""A working day: who left the company is signed out by the next morning."""
GENERATED_HOURS = 825 * 24
"""The longest that Apple's clients accept, of any authority."""
RENEWAL_HOURS = 90 * 24
"""An update of the stack within the last 90 days makes a new one."""


TO_HTTPS = {
    "type": "redirect",
    "redirect": {"protocol": "HTTPS", "port": "443", "status_code": "HTTP_301"},
}


class SignInArgs(TypedDict):
    """The identity provider that browsers are sent to."""

    issuer: str
    """Its issuer."""
    client_id: str
    """What it calls the platform."""
    client_secret: Input[str]
    """The secret that belongs to it."""
    authorization_endpoint: str
    """Where it signs people in."""
    token_endpoint: str
    """Where the balancer gets tokens."""
    user_info_endpoint: str
    """Where the balancer asks who somebody is."""
    scope: str
    """What the balancer asks for."""


class FrontDoorArgs(TypedDict):
    """What a caller decides about the address."""

    vpc_id: Input[str]
    """The VPC it stands in."""
    subnet_ids: Input[list[str]]
    """Subnets in two zones or more: public ones unless internal."""
    allowed_cidrs: list[str]
    """IPv4 ranges that may connect; an empty list lets nobody in."""
    tls: str
    """Where the certificate comes from: `domain`, `certificate`, `generated` or `plaintext`."""
    internal: NotRequired[bool]
    """Reachable from inside the VPC only. Default: yes."""
    domain: NotRequired[str]
    """Host name of the platform. Default: the balancer's own name."""
    zone_id: NotRequired[Input[str]]
    """Route 53 zone for the domain's records. Default: somebody else points the domain here."""
    certificate_arn: NotRequired[Input[str]]
    """The ACM certificate, for `certificate`."""
    separate_artifacts: NotRequired[bool]
    """Send artifacts to a service of their own. Default: yes."""
    largest_artifact_minutes: NotRequired[int]
    """Minutes that the largest artifact travels. Default: 10."""
    expendable: NotRequired[bool]
    """Let a destroy take the balancer. Default: AWS refuses to delete it."""
    log_bucket: NotRequired[Input[str]]
    """Bucket for the balancer's logs of requests and connections. Default: it writes none."""
    sign_in: NotRequired[SignInArgs]
    """Sign browsers in; needs TLS by a name. Default: requests are passed on as they come."""


class FrontDoor(pulumi.ComponentResource):
    """A load balancer that sends each path to its service, by TLS unless asked otherwise."""

    url: Output[str]
    """Where clients log: scheme and host."""
    host: Output[str]
    """The host in the URL, which the server checks requests against."""
    certificate_pem: Output[str]
    """What clients must trust; empty when a public authority signed it, or without TLS."""
    target_group_arns: Output[dict[str, str]]
    """Role to target group, known once a listener routes to it: a service can't join earlier."""
    certificate_arn: Output[str]
    """The certificate that it shows; empty without TLS."""
    security_group_id: Output[str]
    """The balancer's security group, which may go out nowhere until somebody adds a rule."""
    dns_name: Output[str]
    """The balancer's own name, which resolves wherever AWS's names do."""
    balancer_arn: Output[str]
    """The balancer itself, for whoever counts its requests."""

    def __init__(self, name: str, args: FrontDoorArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("trackstack:index:FrontDoor", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        encrypted = args["tls"] != "plaintext"
        timeouts = timeouts_for(args.get("largest_artifact_minutes", 10))

        logs: dict[str, Input[Any]] | None = None
        if "log_bucket" in args:
            logs = {"bucket": args["log_bucket"], "prefix": policies.BALANCER_LOGS, "enabled": True}

        group = ec2.SecurityGroup(
            f"{name}-access",
            description="MLflow balancer",
            vpc_id=args["vpc_id"],
            tags={"Name": f"{name}-access"},
            opts=child,
        )
        self._let_in(name, group, args["allowed_cidrs"], encrypted=encrypted)
        balancer = lb.LoadBalancer(
            f"{name}-balancer",
            load_balancer_type="application",
            internal=args.get("internal", True),
            subnets=args["subnet_ids"],
            security_groups=[group.id],
            idle_timeout=timeouts.idle_seconds,
            enable_http2=True,
            drop_invalid_header_fields=True,
            # Only requests as RFC 7230 has them pass; a test holds MLflow's own client to it.
            desync_mitigation_mode="strictest",
            enable_deletion_protection=not args.get("expendable", False),
            access_logs=logs,
            connection_logs=logs,
            opts=child,
        )
        groups = {
            role: lb.TargetGroup(
                f"{name}-{role}",
                vpc_id=args["vpc_id"],
                target_type="ip",
                port=CONTAINER_PORT,
                protocol="HTTP",
                deregistration_delay=timeouts.deregistration_seconds,
                health_check={
                    "path": "/health",
                    "matcher": "200",
                    "interval": 15,
                    "timeout": 5,
                    "healthy_threshold": 2,
                    "unhealthy_threshold": 3,
                },
                opts=child,
            )
            for role in (
                (TRACKING, ARTIFACTS) if args.get("separate_artifacts", True) else (TRACKING,)
            )
        }
        self.certificate_pem = Output.from_input("")
        certificate_arn = self._certificate(name, args, balancer)
        signs_in = _signs_in(args["sign_in"]) if "sign_in" in args else []
        forward = [*signs_in, _forward(groups[TRACKING])]
        listener = lb.Listener(
            f"{name}-http",
            load_balancer_arn=balancer.arn,
            port=80,
            protocol="HTTP",
            default_actions=forward if certificate_arn is None else [TO_HTTPS],
            opts=child,
        )
        if certificate_arn is not None:
            listener = lb.Listener(
                f"{name}-https",
                load_balancer_arn=balancer.arn,
                port=443,
                protocol="HTTPS",
                ssl_policy=TLS_POLICY,
                certificate_arn=certificate_arn,
                default_actions=forward,
                # A browser heeds it only under a certificate that it trusts.
                routing_http_response_strict_transport_security_header_value=(
                    f"max-age={HTTPS_ONLY_SECONDS}" if args.get("domain") else None
                ),
                opts=child,
            )
        routed = {TRACKING: Output.all(groups[TRACKING].arn, listener.arn).apply(_first)}
        if ARTIFACTS in groups:
            rule = lb.ListenerRule(
                f"{name}-{ARTIFACTS}",
                listener_arn=listener.arn,
                priority=10,
                conditions=[{"path_pattern": {"values": list(ARTIFACT_PATHS)}}],
                actions=[*signs_in, _forward(groups[ARTIFACTS])],
                opts=child,
            )
            routed[ARTIFACTS] = Output.all(groups[ARTIFACTS].arn, rule.arn).apply(_first)
        if signs_in:
            self._let_programs_by(name, listener, groups)
            vpc.SecurityGroupEgressRule(
                f"{name}-to-identity-provider",
                description="Tokens and claims of whom the balancer signs in",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=HTTPS_PORT,
                to_port=HTTPS_PORT,
                cidr_ipv4="0.0.0.0/0",
                opts=child,
            )

        domain = args.get("domain", "")
        if domain and "zone_id" in args:
            route53.Record(
                f"{name}-name",
                zone_id=args["zone_id"],
                name=domain,
                type="A",
                aliases=[
                    {
                        "name": balancer.dns_name,
                        "zone_id": balancer.zone_id,
                        "evaluate_target_health": False,
                    }
                ],
                opts=child,
            )
        self.host = Output.from_input(domain) if domain else balancer.dns_name
        self.url = Output.concat("https://" if encrypted else "http://", self.host)
        self.target_group_arns = Output.all(**routed)
        self.certificate_arn = Output.from_input("" if certificate_arn is None else certificate_arn)
        self.security_group_id = group.id
        self.dns_name = balancer.dns_name
        self.balancer_arn = balancer.arn
        self.register_outputs(
            {
                "url": self.url,
                "host": self.host,
                "certificate_pem": self.certificate_pem,
                "target_group_arns": self.target_group_arns,
                "certificate_arn": self.certificate_arn,
                "security_group_id": self.security_group_id,
                "dns_name": self.dns_name,
                "balancer_arn": self.balancer_arn,
            }
        )

    def _let_in(
        self, name: str, group: ec2.SecurityGroup, cidrs: list[str], *, encrypted: bool
    ) -> None:
        for cidr in cidrs:
            place = cidr.replace("/", "-")
            rule = self._rule(f"{name}-from-{place}", group, 443 if encrypted else 80, cidr)
            if encrypted:
                # After the other, which was the one for port 80 if TLS has just been turned on.
                self._rule(f"{name}-redirect-from-{place}", group, 80, cidr, after=[rule])

    def _rule(
        self,
        name: str,
        group: ec2.SecurityGroup,
        port: int,
        cidr: str,
        after: list[vpc.SecurityGroupIngressRule] | None = None,
    ) -> vpc.SecurityGroupIngressRule:
        return vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            cidr_ipv4=cidr,
            description="Clients" if after is None else "Clients, to be redirected to HTTPS",
            opts=ResourceOptions(parent=self, depends_on=after),
        )

    def _let_programs_by(
        self, name: str, listener: lb.Listener, groups: dict[str, lb.TargetGroup]
    ) -> None:
        """Pass on what no browser sends: the servers judge the credentials themselves.

        Anybody can send such a header. It opens nothing but the way to a server that asks.
        """
        paths: dict[str, Any] = {"path_pattern": {"values": [HEALTH_PATH, SERVER_INFO_PATH]}}
        basic: dict[str, Any] = {
            "http_header": {"http_header_name": "Authorization", "values": ["Basic *"]}
        }
        rules: list[tuple[str, int, list[dict[str, Any]], str]] = [
            ("open", 3, [paths], TRACKING),
            ("programs", 6, [basic], TRACKING),
        ]
        if ARTIFACTS in groups:
            artifacts: dict[str, Any] = {"path_pattern": {"values": list(ARTIFACT_PATHS)}}
            rules.append(("programs-artifacts", 5, [artifacts, basic], ARTIFACTS))
        for role, priority, conditions, target in rules:
            lb.ListenerRule(
                f"{name}-{role}",
                listener_arn=listener.arn,
                priority=priority,
                conditions=conditions,
                actions=[_forward(groups[target])],
                opts=ResourceOptions(parent=self),
            )

    def _certificate(
        self, name: str, args: FrontDoorArgs, balancer: lb.LoadBalancer
    ) -> Input[str] | None:
        """The ARN of a certificate that is ready to serve; None without TLS."""
        if args["tls"] == "certificate":
            return args["certificate_arn"]
        if args["tls"] == "domain":
            return self._issued(name, args["domain"], args["zone_id"])
        if args["tls"] == "generated":
            return self._generated(name, balancer)
        return None

    def _issued(self, name: str, domain: str, zone_id: Input[str]) -> Output[str]:
        child = ResourceOptions(parent=self)
        certificate = acm.Certificate(
            f"{name}-certificate", domain_name=domain, validation_method="DNS", opts=child
        )
        proof = certificate.domain_validation_options[0]
        record = route53.Record(
            f"{name}-proof",
            zone_id=zone_id,
            name=proof.resource_record_name,
            type=proof.resource_record_type,
            records=[proof.resource_record_value],
            ttl=300,
            # Another stack of the same name may have left the same record.
            allow_overwrite=True,
            opts=child,
        )
        validation = acm.CertificateValidation(
            f"{name}-issued",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn],
            opts=child,
        )
        arn: Output[str] = validation.certificate_arn
        return arn

    def _generated(self, name: str, balancer: lb.LoadBalancer) -> Output[str]:
        child = ResourceOptions(parent=self)
        key = tls.PrivateKey(f"{name}-key", algorithm="ECDSA", ecdsa_curve="P256", opts=child)
        certificate = tls.SelfSignedCert(
            f"{name}-certificate",
            private_key_pem=key.private_key_pem,
            # A balancer's name may be longer than the 64 characters of a common name, and ACM
            # wants a full domain name there; clients read the alternative name alone.
            subject={"common_name": "mlflow.trackstack.internal"},
            dns_names=[balancer.dns_name],
            validity_period_hours=GENERATED_HOURS,
            early_renewal_hours=RENEWAL_HOURS,
            allowed_uses=["digital_signature", "server_auth"],
            set_subject_key_id=True,
            opts=child,
        )
        self.certificate_pem = certificate.cert_pem
        imported = acm.Certificate(
            f"{name}-imported",
            private_key=key.private_key_pem,
            certificate_body=certificate.cert_pem,
            opts=child,
        )
        arn: Output[str] = imported.arn
        return arn


def _first(values: list[str]) -> str:
    return values[0]


def _forward(group: lb.TargetGroup) -> dict[str, Any]:
    return {"type": "forward", "target_group_arn": group.arn}


def _signs_in(args: SignInArgs) -> list[dict[str, Any]]:
    return [
        {
            "type": "authenticate-oidc",
            "authenticate_oidc": {
                **args,
                "session_timeout": SESSION_SECONDS,
                "on_unauthenticated_request": "authenticate",
            },
        }
    ]
