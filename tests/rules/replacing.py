"""Which inputs make a resource anew: the provider's ForceNew, as a table.

`tests/live/test_replacing.py` holds the data types against the real provider, where there is an
engine. What happens to a stack is what differs between two recordings, read with this table.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from infra.platform import Platform
from infra.settings import read_settings
from trackstack.embedded import wire
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.monitor import record
from trackstack.embedded.record import UNKNOWN, Recording, Registered

BASE = {
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/trackstack@sha256:" + "0" * 64,
    "tls": "plaintext",
}

BUCKET = "aws:s3/bucket:Bucket"
DATABASE = "aws:rds/instance:Instance"
KEY = "aws:kms/key:Key"
LOG = "aws:cloudwatch/logGroup:LogGroup"
IMAGES = "aws:ecr/repository:Repository"
SECRET = "aws:secretsmanager/secret:Secret"
PARAMETER = "aws:ssm/parameter:Parameter"

REPLACING: Mapping[str, frozenset[str]] = {
    # What holds something that can't be made again.
    BUCKET: frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
    DATABASE: frozenset(
        {
            "availabilityZone",
            "dbName",
            "engine",
            "kmsKeyId",
            "restoreToPointInTime",
            "snapshotIdentifier",
            "storageEncrypted",
            "username",
        }
    ),
    KEY: frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion"}),
    LOG: frozenset({"logGroupClass", "name", "namePrefix"}),
    IMAGES: frozenset({"encryptionConfigurations", "name"}),
    SECRET: frozenset({"name", "namePrefix"}),
    PARAMETER: frozenset({"dataType", "name"}),
    # What people notice: another address, an interruption.
    "aws:lb/loadBalancer:LoadBalancer": frozenset(
        {"internal", "loadBalancerType", "name", "namePrefix"}
    ),
    "aws:ec2/vpc:Vpc": frozenset({"cidrBlock"}),
    "aws:ec2/subnet:Subnet": frozenset({"availabilityZone", "cidrBlock", "vpcId"}),
    "aws:ecs/cluster:Cluster": frozenset({"name"}),
    "aws:ecs/service:Service": frozenset({"cluster", "launchType", "name", "schedulingStrategy"}),
}

DATA = (BUCKET, DATABASE, KEY, LOG, IMAGES, SECRET, PARAMETER)

IN_PLACE: Mapping[str, frozenset[str]] = {
    BUCKET: frozenset({"forceDestroy", "tags"}),
    DATABASE: frozenset(
        {
            "allocatedStorage",
            "allowMajorVersionUpgrade",
            "applyImmediately",
            "autoMinorVersionUpgrade",
            "backupRetentionPeriod",
            "caCertIdentifier",
            "copyTagsToSnapshot",
            "databaseInsightsMode",
            "dbSubnetGroupName",
            "deleteAutomatedBackups",
            "deletionProtection",
            "enabledCloudwatchLogsExports",
            "engineVersion",
            "finalSnapshotIdentifier",
            "iamDatabaseAuthenticationEnabled",
            "identifier",
            "instanceClass",
            "manageMasterUserPassword",
            "masterUserSecretKmsKeyId",
            "maxAllocatedStorage",
            "monitoringInterval",
            "monitoringRoleArn",
            "multiAz",
            "parameterGroupName",
            "performanceInsightsEnabled",
            "performanceInsightsKmsKeyId",
            "performanceInsightsRetentionPeriod",
            "port",
            "publiclyAccessible",
            "skipFinalSnapshot",
            "storageType",
            "tags",
            "vpcSecurityGroupIds",
        }
    ),
    KEY: frozenset({"deletionWindowInDays", "description", "enableKeyRotation", "policy", "tags"}),
    LOG: frozenset({"kmsKeyId", "retentionInDays", "skipDestroy", "tags"}),
    IMAGES: frozenset({"forceDelete", "imageScanningConfiguration", "imageTagMutability", "tags"}),
    SECRET: frozenset({"description", "kmsKeyId", "policy", "recoveryWindowInDays", "tags"}),
    PARAMETER: frozenset({"description", "keyId", "tags", "tier", "type", "value"}),
}
"""Of the data types, the inputs that change where the thing stands."""


def declared(settings: Mapping[str, Any]) -> Recording:
    """The platform as stack ``prod`` with these settings over the base."""
    return _declared(json.dumps({**BASE, **settings}))


@cache
def _declared(settings: str) -> Recording:
    raw = json.loads(settings)
    config = {
        f"mlflow-platform:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in raw.items()
    }
    secret = [key for key in config if key.endswith(("_key_id", "_access_key", "_client_secret"))]
    return record(
        lambda: Platform(read_settings()).export(),
        StackAnswers(PreviewHost()),
        stack="prod",
        config=config,
        secret_keys=secret,
    )


def replacements(before: Recording, after: Recording) -> dict[str, set[str]]:
    """``type::name`` of what an update makes anew or takes away → the inputs that differ.

    Nothing differs in what is taken away. Aliases are honoured, ignored changes ignored.
    """
    now: dict[str, Registered] = {}
    for one in after.resources:
        now |= dict.fromkeys((*one.options.aliases, one.urn), one)
    told: dict[str, set[str]] = {}
    for old in before.resources:
        if old.type not in REPLACING:
            continue
        name = f"{old.type}::{old.name}"
        if old.urn not in now:
            told[name] = set()
        elif differing := _differing(old.inputs, now[old.urn]):
            told[name] = differing
    return told


def _differing(old: Mapping[str, object], new: Registered) -> set[str]:
    before, after = wire.reveal(old), wire.reveal(new.inputs)
    return {
        key
        for key in REPLACING[new.type] - set(new.options.ignore_changes)
        if before.get(key) != after.get(key) and UNKNOWN not in (before.get(key), after.get(key))
    }


def unclassified(recording: Recording) -> set[str]:
    """Inputs of data of which the tables don't say whether they replace it."""
    return {
        f"{one.type} {key}"
        for one in recording.of_type(*DATA)
        for key in set(one.inputs) - REPLACING[one.type] - IN_PLACE[one.type]
    }
