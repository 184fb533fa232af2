"""Databases: reached from inside only, encrypted on disk and on the way, and restorable."""

import re
from collections.abc import Iterator

from policy.reading import Resource, listed, number, text
from policy.rule import ADVISORY, CRITICAL, HIGH, MANDATORY, MEDIUM, Config, Rules

RULES = Rules()

INSTANCE = "aws:rds/instance:Instance"
CLUSTER = "aws:rds/cluster:Cluster"
_MEMBER = "aws:rds/clusterInstance:ClusterInstance"
_PARAMETERS = (
    "aws:rds/parameterGroup:ParameterGroup",
    "aws:rds/clusterParameterGroup:ClusterParameterGroup",
)
_FORCED_SINCE = 15
"""RDS's default of rds.force_ssl is 1 from this major version of PostgreSQL on."""


def _copy(it: Resource) -> bool:
    """A replica takes encryption, backups and password from its source."""
    return (
        it.get("replicateSourceDb") is not None or it.get("replicationSourceIdentifier") is not None
    )


@RULES.about(INSTANCE, _MEMBER, level=MANDATORY, severity=CRITICAL)
def database_public(it: Resource, _: Config) -> Iterator[str]:
    """No database has a public address."""
    if it.get("publiclyAccessible") is True:
        yield "it has a public address: set publicly_accessible=False and reach it inside the VPC."


@RULES.about(INSTANCE, CLUSTER, level=MANDATORY, severity=HIGH)
def database_unencrypted(it: Resource, _: Config) -> Iterator[str]:
    """Every database is encrypted on disk; afterwards only a copy can be."""
    if it.off("storageEncrypted") and not _copy(it):
        yield "its disk and its snapshots are in the clear: set storage_encrypted=True."


@RULES.about(INSTANCE, *_PARAMETERS, level=MANDATORY, severity=HIGH)
def database_without_tls(it: Resource, _: Config) -> Iterator[str]:
    """Every PostgreSQL refuses a connection without TLS."""
    if it.type == INSTANCE:
        major = re.match(r"\d+", it.text("engineVersion"))
        by_default = it.text("engine") == "postgres" and it.get("parameterGroupName") is None
        if by_default and major and int(major[0]) < _FORCED_SINCE:
            yield (
                f"PostgreSQL {major[0]} answers without TLS by default: give it a"
                " rds.ParameterGroup with rds.force_ssl = 1."
            )
        return
    family = re.fullmatch(r"(?:aurora-)?postgres(?:ql)?(\d+)", it.text("family"))
    if not family:
        return
    said = [
        text(one.get("value"))
        for one in listed(it.get("parameters"))
        if isinstance(one, dict) and one.get("name") == "rds.force_ssl"
    ]
    if "0" in said or (not said and int(family[1]) < _FORCED_SINCE):
        yield "it lets clients connect without TLS: set the parameter rds.force_ssl to 1."


@RULES.about(INSTANCE, CLUSTER, level=MANDATORY, severity=HIGH)
def database_without_backups(it: Resource, _: Config) -> Iterator[str]:
    """Every database can be restored to yesterday."""
    days = it.get("backupRetentionPeriod")
    left_out = days is None and it.type == INSTANCE  # a cluster keeps one day by default
    if (left_out or number(days) == 0) and not _copy(it):
        yield "it keeps no backups: set backup_retention_period to 1 day or more."


@RULES.about(INSTANCE, CLUSTER, level=ADVISORY, severity=MEDIUM)
def database_password_given(it: Resource, _: Config) -> Iterator[str]:
    """RDS itself makes, keeps and rotates the master's password."""
    key = "password" if it.type == INSTANCE else "masterPassword"
    if it.get(key) is not None:
        yield (
            "its master password is kept in Pulumi's state and never rotated: set"
            " manage_master_user_password=True and leave the password out."
        )
