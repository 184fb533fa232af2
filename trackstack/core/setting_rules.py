"""What settings must say together; each rule names the keys it reads.

A rule is skipped while one of its keys is wrong by itself, so that one mistake is told once.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackstack.core import ci, database, fargate
from trackstack.core.naming import Standard
from trackstack.core.policies import partition_of

if TYPE_CHECKING:
    from trackstack.core.settings import Settings

STACK_NAME_LENGTH = 40
TWO_ZONES = 2
BUDGET_EMAILS = 10
"""Addresses that one notification of AWS Budgets may have (its API reference, CreateBudget)."""


@dataclass(frozen=True)
class Rule:
    """A check over several settings: it yields a sentence for everything that is wrong."""

    keys: tuple[str, ...]
    check: Callable[["Settings"], Iterator[str]]


RULES: list[Rule] = []


def _over(*keys: str) -> Callable[[Callable[["Settings"], Iterator[str]]], Rule]:
    def made(check: Callable[["Settings"], Iterator[str]]) -> Rule:
        rule = Rule(keys, check)
        RULES.append(rule)
        return rule

    return made


def stack_name_sentences(stack: str) -> Iterator[str]:
    """Whether the stack's name can be part of AWS's names and of a path."""
    if not re.fullmatch(r"[a-z](-?[a-z0-9])*", stack) or len(stack) > STACK_NAME_LENGTH:
        yield (
            f"stack: {stack!r} can't be part of AWS's names; call it by at most "
            f"{STACK_NAME_LENGTH} lowercase letters, digits and single hyphens, a letter first."
        )


@_over("vpc_id", "vpc_cidr", "zones", "flow_logs")
def _one_vpc(s: "Settings") -> Iterator[str]:
    if s.vpc_id:
        for key in ("vpc_cidr", "zones", "flow_logs"):
            if getattr(s, key) != type(s).model_fields[key].default:
                yield f"{key}: only for a VPC of the stack's own; leave it out beside vpc_id."


@_over("vpc_id", "public_subnet_ids", "private_subnet_ids", "egress", "internal")
def _subnets_of_an_existing_vpc(s: "Settings") -> Iterator[str]:
    if not s.vpc_id:
        for key in ("public_subnet_ids", "private_subnet_ids"):
            if getattr(s, key):
                yield f"{key}: only for an existing VPC; add its vpc_id or leave {key} out."
        return
    if len(set(s.private_subnet_ids)) < TWO_ZONES:
        yield (
            "private_subnet_ids: the database needs subnets in 2 zones; "
            "write 2 or more private subnets of the VPC."
        )
    wants_public = s.egress == "public" or not s.internal
    if wants_public and len(set(s.public_subnet_ids)) < TWO_ZONES:
        why = "egress: public" if s.egress == "public" else "internal: false"
        yield (
            f"public_subnet_ids: {why} needs subnets in 2 zones; "
            "write 2 or more public subnets of the VPC."
        )
    if s.egress == "nat_per_zone":
        yield (
            "egress: nat_per_zone makes gateways in a VPC of the stack's own; write nat beside "
            "vpc_id, for private subnets that have a way out."
        )


@_over("tls", "internal")
def _tls_before_the_internet(s: "Settings") -> Iterator[str]:
    if s.tls == "plaintext" and not s.internal:
        yield (
            "tls: plaintext would send runs over the internet in the clear; write domain, "
            "certificate or generated, or internal: true."
        )


@_over("internal", "allowed_cidrs")
def _somebody_may_come(s: "Settings") -> Iterator[str]:
    if not s.internal and not s.allowed_cidrs:
        yield (
            "allowed_cidrs: missing, and internal: false lets nobody in without them; write the "
            "ranges that your people and machines come from."
        )


@_over("access", "allowed_cidrs")
def _whole_internet(s: "Settings") -> Iterator[str]:
    if s.access == "none":
        for cidr in s.allowed_cidrs:
            if cidr.endswith("/0"):
                yield (
                    f"allowed_cidrs: {cidr} lets the whole internet read and write runs, as "
                    "access: none asks nobody to sign in; write the ranges that your people and "
                    "machines come from, or access: basic."
                )


@_over("access", "tls", "internal")
def _passwords_in_the_clear(s: "Settings") -> Iterator[str]:
    if s.access == "oidc" and s.tls not in {"domain", "certificate"}:
        yield (
            f"access: an identity provider sends people back to a name, and tls: {s.tls} has none; "
            "write tls: domain or tls: certificate."
        )
    if s.access == "basic" and s.tls == "plaintext":
        yield (
            "access: basic would send passwords in the clear with tls: plaintext; write tls: "
            "generated, domain or certificate."
        )


_OIDC_KEYS = (
    "oidc_issuer",
    "oidc_client_id",
    "oidc_client_secret",
    "oidc_authorization_endpoint",
    "oidc_token_endpoint",
    "oidc_user_info_endpoint",
)
_OIDC_OPTIONS = ("oidc_scope", "oidc_user_claim", "oidc_email_domains")


@_over("access", *_OIDC_KEYS, *_OIDC_OPTIONS)
def _whole_identity_provider(s: "Settings") -> Iterator[str]:
    if s.access == "oidc":
        for key in _OIDC_KEYS:
            if not getattr(s, key):
                do = (
                    f"set it with `pulumi config set --secret {key}`"
                    if key == "oidc_client_secret"
                    else "write what the identity provider's discovery document says"
                    if key != "oidc_client_id"
                    else "write the client's id as the provider shows it"
                )
                yield f"{key}: missing, and access: oidc needs it; {do}."
        if s.oidc_email_domains and s.oidc_user_claim != "email":
            yield (
                f"oidc_email_domains: oidc_user_claim: {s.oidc_user_claim} tells no address; "
                "write oidc_user_claim: email, or leave oidc_email_domains out."
            )
        return
    for key in (*_OIDC_KEYS, *_OIDC_OPTIONS):
        if getattr(s, key) != type(s).model_fields[key].default:
            yield f"{key}: only for access: oidc; leave it out beside access: {s.access}."


@_over("access", "internal", "egress")
def _way_to_the_identity_provider(s: "Settings") -> Iterator[str]:
    if s.access == "oidc" and s.internal and s.egress == "public":
        yield (
            "egress: an internal balancer has no way out to the identity provider with public; "
            "write nat, or internal: false."
        )


@_over("access", "region")
def _keys_of_the_balancers(s: "Settings") -> Iterator[str]:
    if s.access == "oidc" and s.region.startswith("cn-"):
        yield (
            f"access: balancers of {s.region} don't publish what they sign with; write access: "
            "basic."
        )


@_over("access", "default_permission", "admin_password_serial")
def _users_to_decide_about(s: "Settings") -> Iterator[str]:
    if s.access == "none":
        for key in ("default_permission", "admin_password_serial"):
            if getattr(s, key) != type(s).model_fields[key].default:
                yield f"{key}: access: none has no users; leave it out, or write access: basic."


@_over("tls", "domain", "hosted_zone", "certificate_arn", "region")
def _certificate(s: "Settings") -> Iterator[str]:
    if s.tls in {"domain", "certificate"} and not s.domain:
        yield f"domain: missing, and tls: {s.tls} needs it; write the platform's host name."
    if s.tls in {"generated", "plaintext"} and s.domain:
        yield (
            f"domain: tls: {s.tls} answers to the balancer's own name; leave domain out, "
            "or write tls: domain or tls: certificate."
        )
    if s.tls == "domain" and not s.hosted_zone:
        yield (
            "hosted_zone: missing, and tls: domain proves the domain's ownership there; "
            "write the Route 53 zone, such as example.com."
        )
    if s.hosted_zone and not s.domain and s.tls in {"generated", "plaintext"}:
        yield f"hosted_zone: tls: {s.tls} writes no records; leave hosted_zone out."
    if s.tls == "certificate" and not s.certificate_arn:
        yield (
            "certificate_arn: missing, and tls: certificate needs it; "
            "write the ARN of the ACM certificate."
        )
    if s.tls != "certificate" and s.certificate_arn:
        yield f"certificate_arn: not used by tls: {s.tls}; leave it out or write tls: certificate."
    if s.tls == "certificate" and s.certificate_arn and f":{s.region}:" not in s.certificate_arn:
        yield (
            f"certificate_arn: lies in another region than the balancer; "
            f"write a certificate of {s.region}."
        )


@_over("domain", "hosted_zone")
def _domain_in_its_zone(s: "Settings") -> Iterator[str]:
    if s.domain and s.hosted_zone and not f".{s.domain}".endswith(f".{s.hosted_zone}"):
        yield (
            f"domain: {s.domain} is not in the zone {s.hosted_zone}; "
            f"write a name that ends in .{s.hosted_zone}, or another hosted_zone."
        )


@_over(
    "artifact_endpoint",
    "artifact_bucket",
    "artifact_access_key_id",
    "artifact_secret_access_key",
)
def _endpoint_with_its_bucket(s: "Settings") -> Iterator[str]:
    keys = ("artifact_access_key_id", "artifact_secret_access_key")
    if s.artifact_endpoint and not s.artifact_bucket:
        yield (
            "artifact_bucket: missing, and the stack makes none on an artifact_endpoint; "
            "write the name of a bucket there."
        )
    for key in keys:
        if s.artifact_endpoint and not getattr(s, key):
            yield (
                f"{key}: missing, and artifact_endpoint needs it; "
                f"set it with `pulumi config set --secret {key}`."
            )
        if not s.artifact_endpoint and getattr(s, key):
            yield f"{key}: only for an artifact_endpoint; S3 itself is reached by the task's role."


@_over(
    "artifact_bucket",
    "artifact_noncurrent_days",
    "artifact_tiering_days",
    "artifact_replica_region",
)
def _rules_of_an_own_bucket(s: "Settings") -> Iterator[str]:
    whats = {
        "artifact_noncurrent_days": "lifecycle",
        "artifact_tiering_days": "lifecycle",
        "artifact_replica_region": "replication",
    }
    for key, what in whats.items():
        if s.artifact_bucket and getattr(s, key) != type(s).model_fields[key].default:
            yield (
                f"{key}: the {what} of an existing bucket is its owner's; "
                "leave it out beside artifact_bucket."
            )


@_over("artifact_bucket", "artifact_endpoint", "artifact_kms_key_arn", "region")
def _key_of_an_existing_bucket(s: "Settings") -> Iterator[str]:
    if not s.artifact_kms_key_arn:
        return
    if not s.artifact_bucket or s.artifact_endpoint:
        yield (
            "artifact_kms_key_arn: only for an existing artifact_bucket on S3; the stack's own "
            "bucket takes customer_key."
        )
    if f":{s.region}:" not in s.artifact_kms_key_arn:
        yield (
            "artifact_kms_key_arn: lies in another region than the stack; "
            f"write a bucket and its key in {s.region}."
        )


@_over("region", "artifact_replica_region")
def _a_second_region(s: "Settings") -> Iterator[str]:
    if not s.artifact_replica_region:
        return
    if s.artifact_replica_region == s.region:
        yield (
            f"artifact_replica_region: {s.region} is the first region already; "
            "write another one, or leave it out."
        )
    elif partition_of(s.artifact_replica_region) != partition_of(s.region):
        yield (
            f"artifact_replica_region: S3 copies nothing between {s.region} and "
            f"{s.artifact_replica_region}; write a region of the same partition."
        )


@_over(
    "artifacts", "artifacts_tasks", "artifacts_tasks_max", "artifacts_cpu", "artifacts_memory_mib"
)
def _no_artifacts_service(s: "Settings") -> Iterator[str]:
    if s.artifacts == "together":
        for key in (
            "artifacts_tasks",
            "artifacts_tasks_max",
            "artifacts_cpu",
            "artifacts_memory_mib",
        ):
            if getattr(s, key) != type(s).model_fields[key].default:
                yield (
                    f"{key}: artifacts: together has no such service; "
                    "leave it out or write artifacts: separate."
                )


@_over("tracking_tasks", "tracking_tasks_max", "artifacts_tasks", "artifacts_tasks_max")
def _most_tasks(s: "Settings") -> Iterator[str]:
    for role in ("tracking", "artifacts"):
        least, most = getattr(s, f"{role}_tasks"), getattr(s, f"{role}_tasks_max")
        if 0 < most < least:
            yield (
                f"{role}_tasks_max: {most} is less than {role}_tasks, which is the least; "
                f"write {least} or more, or leave it out."
            )


@_over("database_storage_gib", "database_max_storage_gib")
def _room_to_grow(s: "Settings") -> Iterator[str]:
    least = -(-s.database_storage_gib * 11 // 10)
    if 0 < s.database_max_storage_gib < least:
        yield (
            f"database_max_storage_gib: {s.database_max_storage_gib} leaves "
            f"{s.database_storage_gib} GiB no room, as RDS asks for 10 % at least; write {least} "
            "or more, or 0 for a disk that doesn't grow."
        )


@_over("database_restores", "keep_former_database")
def _former_of_a_restore(s: "Settings") -> Iterator[str]:
    if not s.keep_former_database and not s.database_restores:
        yield (
            "keep_former_database: false would leave no database, as none was restored; leave it "
            "out or write database_restores."
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(role: str, cpu: int, memory_mib: int, workers: int) -> Iterator[str]:
    if cpu not in fargate.MEMORY_MIB:
        known = ", ".join(map(str, fargate.MEMORY_MIB))
        yield f"{role}_cpu: Fargate has no task of {cpu}; write one of {known}."
        return
    if not fargate.is_valid(cpu, memory_mib):
        sizes = fargate.MEMORY_MIB[cpu]
        step = "" if cpu == min(fargate.MEMORY_MIB) else f" in steps of {sizes[1] - sizes[0]}"
        some = ", ".join(map(str, sizes)) if not step else f"{sizes[0]} to {sizes[-1]}{step}"
        yield (
            f"{role}_memory_mib: Fargate does not sell {memory_mib} with {role}_cpu {cpu}; "
            f"write {some}."
        )
        return
    workers = workers or fargate.workers_for(cpu)
    needed = fargate.memory_needed_mib(workers)
    if memory_mib < needed:
        right = fargate.smallest_memory_mib(cpu, needed)
        do = f"write {right}" if right else f"write a larger {role}_cpu or fewer workers"
        yield (
            f"{role}_memory_mib: {memory_mib} is too little for {_counted(workers, 'worker')}, "
            f"as MLflow takes {needed} then; {do}."
        )


@_over("tracking_cpu", "tracking_memory_mib", "workers")
def _tracking_size(s: "Settings") -> Iterator[str]:
    yield from _size("tracking", s.tracking_cpu, s.tracking_memory_mib, s.workers)


@_over("artifacts", "artifacts_cpu", "artifacts_memory_mib", "workers")
def _artifacts_size(s: "Settings") -> Iterator[str]:
    if s.artifacts == "separate":
        yield from _size("artifacts", s.artifacts_cpu, s.artifacts_memory_mib, s.workers)


@_over(
    "tracking_tasks",
    "tracking_tasks_max",
    "tracking_cpu",
    "workers",
    "database_instance_class",
    "access",
    "artifacts",
    "artifacts_tasks",
    "artifacts_tasks_max",
    "artifacts_cpu",
)
def _connections(s: "Settings") -> Iterator[str]:
    workers = s.workers or fargate.workers_for(s.tracking_cpu)
    most = max(s.tracking_tasks, s.tracking_tasks_max)
    if s.access == "none":
        wanted = database.wanted_connections(most, workers)
    else:
        wanted = database.wanted_with_users("tracking", most, workers)
        if s.artifacts == "separate":
            each = s.workers or fargate.workers_for(s.artifacts_cpu)
            artifacts = max(s.artifacts_tasks, s.artifacts_tasks_max)
            wanted += database.wanted_with_users("artifacts", artifacts, each)
    held = database.usable_connections(s.database_instance_class)
    if wanted > held:
        larger = database.smallest_class_for(wanted, s.database_instance_class)
        do = f"write {larger}" if larger else "write a larger class"
        tasks = _counted(most, "tracking task")
        fewer = "tracking_tasks_max" if s.tracking_tasks_max else "tracking_tasks"
        yield (
            f"database_instance_class: {s.database_instance_class} holds {held} connections, "
            f"but {tasks} with {_counted(workers, 'worker')} each "
            f"may open {wanted} during a deployment; {do}, or fewer {fewer} or workers."
        )


@_over("alarms", "alarm_emails", "monthly_budget_usd")
def _somebody_is_told(s: "Settings") -> Iterator[str]:
    if s.alarm_emails and not s.alarms and not s.monthly_budget_usd:
        yield (
            "alarm_emails: nothing would write to them; write alarms: true or a "
            "monthly_budget_usd, or leave them out."
        )
    if s.monthly_budget_usd and not s.alarm_emails:
        yield (
            "alarm_emails: missing, and monthly_budget_usd would tell nobody; "
            "write who is told that the month becomes expensive."
        )
    if s.monthly_budget_usd and len(s.alarm_emails) > BUDGET_EMAILS:
        yield (
            f"alarm_emails: AWS Budgets writes to {BUDGET_EMAILS} addresses at most; "
            "write a mailing list's."
        )


@_over("experiments", "experiment_name_pattern")
def _names_of_experiments(s: "Settings") -> Iterator[str]:
    if s.experiment_name_pattern:
        for sentence in Standard(s.experiment_name_pattern).breaking(s.experiments).values():
            yield f"experiments: {sentence}"


@_over("experiments", "access")
def _users_of_experiments(s: "Settings") -> Iterator[str]:
    for name, declared in s.experiments.items():
        if declared.permissions and s.access == "none":
            yield (
                f"experiments: {name!r} has permissions, and access: none has no users; leave them"
                " out, or write access: basic."
            )


@_over("github_repositories", "github_oidc_provider_arn")
def _github(s: "Settings") -> Iterator[str]:
    if s.github_oidc_provider_arn and not s.github_repositories:
        yield (
            "github_oidc_provider_arn: used by github_repositories alone; "
            "write those, or leave it out."
        )
    yield from _provider_of("github_oidc_provider_arn", s.github_oidc_provider_arn, ci.github())


@_over("gitlab_projects", "gitlab_oidc_provider_arn", "gitlab_url")
def _gitlab(s: "Settings") -> Iterator[str]:
    if not s.gitlab_projects:
        for key in ("gitlab_oidc_provider_arn", "gitlab_url"):
            if getattr(s, key) != type(s).model_fields[key].default:
                yield f"{key}: used by gitlab_projects alone; write those, or leave it out."
        return
    yield from _provider_of(
        "gitlab_oidc_provider_arn", s.gitlab_oidc_provider_arn, ci.gitlab(s.gitlab_url)
    )


def _provider_of(key: str, arn: str, issuer: ci.Issuer) -> Iterator[str]:
    if arn and arn.partition(":oidc-provider/")[2] != issuer.host:
        yield f"{key}: vouches for somebody else; write the ARN that ends in /{issuer.host}."
