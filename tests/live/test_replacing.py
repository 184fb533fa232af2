"""The table of inputs that replace data, held against the real provider's own plan.

A program of one resource of each data type is up in a real engine; then each input of the tables in
`tests/rules/replacing.py` is changed, and the engine's preview says whether it would replace.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.live.engine import Engine, engine_of, missing
from tests.rules.replacing import (
    BUCKET,
    DATA,
    DATABASE,
    IMAGES,
    IN_PLACE,
    KEY,
    LOG,
    PARAMETER,
    REPLACING,
    SECRET,
)

_MISSING = missing()

pytestmark = [
    pytest.mark.live,
    pytest.mark.engine,
    pytest.mark.xdist_group("replacing"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(_MISSING), reason=f"no real engine here: {_MISSING}"),
]

PROGRAM = """
import json
import pathlib
import pulumi
import pulumi_aws

opts = pulumi.ResourceOptions(provider=pulumi_aws.Provider("aws", region="us-east-1"))
told = json.loads(pathlib.Path("probes.json").read_text())
for kind, inputs in told.items():
    pulumi.CustomResource(kind, kind.rpartition(":")[2].lower(), inputs, opts)
"""
ANY_KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
ANY_ROLE = "arn:aws:iam::123456789012:role/monitoring"
TAGS = {"team": "other"}

BEFORE: Mapping[str, Mapping[str, Any]] = {
    BUCKET: {"bucket": "probe-of-replacing", "forceDestroy": False},
    DATABASE: {
        "allocatedStorage": 20,
        "dbName": "mlflow",
        "engine": "postgres",
        "engineVersion": "16",
        "instanceClass": "db.t4g.micro",
        "manageMasterUserPassword": True,
        "skipFinalSnapshot": True,
        "storageEncrypted": True,
        "storageType": "gp3",
        "username": "trackstack",
    },
    KEY: {"description": "before", "deletionWindowInDays": 7, "multiRegion": False},
    LOG: {"name": "probe", "retentionInDays": 7},
    IMAGES: {"name": "probe", "imageTagMutability": "MUTABLE"},
    SECRET: {"name": "probe", "description": "before"},
    PARAMETER: {"name": "/probe", "type": "String", "value": "before"},
}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})
AFTER: Mapping[str, Mapping[str, Any]] = {
    BUCKET: {
        "bucket": "another-probe",
        "bucketPrefix": "another-",
        "forceDestroy": True,
        "objectLockEnabled": True,
        "tags": TAGS,
    },
    DATABASE: {
        "allocatedStorage": 40,
        "allowMajorVersionUpgrade": True,
        "applyImmediately": True,
        "autoMinorVersionUpgrade": False,
        "availabilityZone": "us-east-1f",
        "backupRetentionPeriod": 9,
        "caCertIdentifier": "rds-ca-ecc384-g1",
        "copyTagsToSnapshot": True,
        "databaseInsightsMode": "advanced",
        "dbName": "other",
        "dbSubnetGroupName": "other",
        "deleteAutomatedBackups": False,
        "deletionProtection": True,
        "enabledCloudwatchLogsExports": ["postgresql"],
        "engine": "mysql",
        "engineVersion": "17",
        "finalSnapshotIdentifier": "last",
        "iamDatabaseAuthenticationEnabled": True,
        "identifier": "another-probe",
        "instanceClass": "db.t4g.small",
        "kmsKeyId": ANY_KEY,
        "masterUserSecretKmsKeyId": ANY_KEY,
        "maxAllocatedStorage": 100,
        "monitoringInterval": 60,
        "monitoringRoleArn": ANY_ROLE,
        "multiAz": True,
        "parameterGroupName": "other",
        "performanceInsightsEnabled": True,
        "performanceInsightsKmsKeyId": ANY_KEY,
        "performanceInsightsRetentionPeriod": 7,
        "port": 5555,
        "publiclyAccessible": True,
        "restoreToPointInTime": {
            "sourceDbInstanceIdentifier": "other",
            "useLatestRestorableTime": True,
        },
        "skipFinalSnapshot": False,
        "snapshotIdentifier": "a-snapshot",
        "storageEncrypted": False,
        "storageType": "gp2",
        "tags": TAGS,
        "username": "other",
        "vpcSecurityGroupIds": ["sg-0a1b2c3d"],
    },
    KEY: {
        "customerMasterKeySpec": "RSA_2048",
        "deletionWindowInDays": 30,
        "description": "after",
        "enableKeyRotation": True,
        "keyUsage": "SIGN_VERIFY",
        "multiRegion": True,
        "policy": POLICY,
        "tags": TAGS,
    },
    LOG: {
        "kmsKeyId": ANY_KEY,
        "logGroupClass": "INFREQUENT_ACCESS",
        "name": "another-probe",
        "namePrefix": "another-",
        "retentionInDays": 30,
        "skipDestroy": True,
        "tags": TAGS,
    },
    IMAGES: {
        "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": ANY_KEY}],
        "forceDelete": True,
        "imageScanningConfiguration": {"scanOnPush": True},
        "imageTagMutability": "IMMUTABLE",
        "name": "another-probe",
        "tags": TAGS,
    },
    SECRET: {
        "description": "after",
        "kmsKeyId": ANY_KEY,
        "name": "another-probe",
        "namePrefix": "another-",
        "policy": POLICY,
        "recoveryWindowInDays": 9,
        "tags": TAGS,
    },
    PARAMETER: {
        "dataType": "aws:ec2:image",
        "description": "after",
        "keyId": ANY_KEY,
        "name": "/another-probe",
        "tags": TAGS,
        "tier": "Advanced",
        "type": "StringList",
        "value": "after",
    },
}
INSTEAD = {"bucketPrefix": "bucket", "namePrefix": "name", "snapshotIdentifier": "dbName"}
"""An input that excludes another takes its place."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_of("dev", tmp_path_factory.mktemp("replacing")) as engine:
        (engine.project / "__main__.py").write_text(PROGRAM)
        write(engine, BEFORE)
        engine.up()
        yield engine


def write(engine: Engine, inputs: Mapping[str, Mapping[str, Any]]) -> None:
    (engine.project / "probes.json").write_text(json.dumps(inputs))


def differences(engine: Engine, changed: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Type → how each of its inputs differs by the provider's plan: ``input kind``."""
    inputs = {}
    for kind, before in BEFORE.items():
        given = changed.get(kind, {})
        gone = {INSTEAD[key] for key in given if key in INSTEAD}
        inputs[kind] = {key: v for key, v in {**before, **given}.items() if key not in gone}
    write(engine, inputs)
    told = json.loads(engine.pulumi("preview", "--json", "--diff").stdout)
    return {
        step["newState"]["type"]: {
            f"{path.partition('.')[0].partition('[')[0]} {diff['kind']}"
            for path, diff in (step.get("detailedDiff") or {}).items()
        }
        for step in told["steps"]
        if step["op"] in {"update", "replace"}
    }


def test_every_input_of_the_tables_is_tried() -> None:
    for kind in DATA:
        tried = set(AFTER[kind]) | set(BEFORE[kind])
        assert (REPLACING[kind] | IN_PLACE[kind]) - tried == set(), kind


@pytest.mark.parametrize("index", range(max(len(REPLACING[kind]) for kind in DATA)))
def test_what_replaces_replaces(probe: Engine, index: int) -> None:
    """The index-th input of every data type at once: a preview takes as long for one as for all."""
    asked = {kind: sorted(REPLACING[kind])[index] for kind in DATA if index < len(REPLACING[kind])}
    told = differences(probe, {kind: {key: AFTER[kind][key]} for kind, key in asked.items()})
    wrong = {
        f"{kind} {key}: {sorted(told.get(kind, ()))}"
        for kind, key in asked.items()
        if not any(how.startswith(f"{key} ") and "replace" in how for how in told.get(kind, ()))
    }
    assert wrong == set()


def test_what_changes_in_place_replaces_nothing(probe: Engine) -> None:
    changed = {
        kind: {key: value for key, value in AFTER[kind].items() if key in IN_PLACE[kind]}
        for kind in DATA
    }
    told = differences(probe, changed)
    assert {how for hows in told.values() for how in hows if "replace" in how} == set()
    for kind, inputs in changed.items():
        seen = {how.partition(" ")[0] for how in told[kind]}
        assert set(inputs) - seen == set(), kind
