"""The three stacks in a real Pulumi engine: what mocks let pass, an engine refuses.

AWS is a moto server, one for each stack. Who has no ``pulumi`` CLI, or no ``pulumi-resource-aws``
that speaks to moto, sees these skipped; the same program runs in the embedded host's tests.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.credentials import PASSWORD_LENGTH
from tests.live.engine import Change, Engine, engine_of, missing
from tests.rules.replacing import BUCKET, DATABASE, KEY, LOG, SECRET
from trackstack.core.client_settings import failing_fast
from trackstack.core.outputs import OUTPUT_NAMES

_MISSING = missing()

pytestmark = [
    pytest.mark.live,
    pytest.mark.engine,
    pytest.mark.xdist_group("engine"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(_MISSING), reason=f"no real engine here: {_MISSING}"),
]

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
SERVICE = "aws:ecs/service:Service"
TASK = "aws:ecs/taskDefinition:TaskDefinition"

URI = {"dev": "http://mlflow-door-", "staging": "https://mlflow-door-", "prod": "https://mlflow.ex"}
ROLES = {
    "dev": {"tracking"},
    "staging": {"tracking", "artifacts"},
    "prod": {"tracking", "artifacts"},
}

# moto 5 keeps none of the three: its create_service and describe_services don't know the words, so
# the provider reads them as unset and sets them once more. After that one update nothing differs.
MOTO_FORGETS = frozenset(
    {"availabilityZoneRebalancing", "enableEcsManagedTags", "healthCheckGracePeriodSeconds"}
)

# moto 5 takes the word for EventBridge and doesn't give it back: every `up` says it again.
MOTO_IS_TOLD_AGAIN = {
    Change(
        "update",
        "aws:s3/bucketNotification:BucketNotification",
        "mlflow-artifacts-events",
        frozenset({"eventbridge"}),
    )
}

# A revision of a task definition is never changed: a new one is made and the service moves to it.
NEW_REVISION = {
    Change(op, TASK, "mlflow-server-tracking", properties)
    for op, properties in (
        ("create-replacement", frozenset({"cpu"})),
        ("replace", frozenset({"cpu"})),
        ("delete-replaced", frozenset()),
    )
}
UPDATES = {
    "dev": (
        "log_retention_days",
        14,
        {
            Change("update", LOG, f"mlflow-{of}-log", frozenset({"retentionInDays"}))
            for of in ("server", "backend-postgresql", "backend-upgrade")
        },
    ),
    "staging": (
        "tracking_cpu",
        256,
        {
            *NEW_REVISION,
            Change("update", SERVICE, "mlflow-server-tracking", frozenset({"taskDefinition"})),
        },
    ),
    "prod": (
        "database_backup_days",
        14,
        {
            Change(
                "update", DATABASE, "mlflow-backend-postgres", frozenset({"backupRetentionPeriod"})
            )
        },
    ),
}


@dataclass
class Deployed:
    """A stack that is up, and what the engine said on the way."""

    engine: Engine
    previewed: list[Change]
    created: list[Change]
    again_previewed: list[Change]
    again: list[Change]


@pytest.fixture(scope="module", params=["dev", "staging", "prod"])
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """One stack after another, brought up once and once more unchanged; all its tests share it."""
    with engine_of(request.param, tmp_path_factory.mktemp(request.param)) as engine:
        previewed, created = engine.preview(), engine.up()
        again_previewed, again = engine.preview(), engine.up()
        yield Deployed(engine, previewed, created, again_previewed, again)


only = {
    name: pytest.mark.parametrize("deployed", [name], indirect=True)
    for name in ("dev", "staging", "prod")
}


def test_a_preview_says_what_the_first_up_does(deployed: Deployed) -> None:
    assert {change.op for change in deployed.previewed} == {"create"}
    assert {change.op for change in deployed.created} == {"create"}
    assert {(c.type, c.name) for c in deployed.previewed} == {
        (c.type, c.name) for c in deployed.created
    }


def test_the_outputs_are_the_contract_and_name_what_exists(deployed: Deployed) -> None:
    engine, outputs = deployed.engine, deployed.engine.outputs()
    assert set(outputs) == set(OUTPUT_NAMES)
    assert outputs["tracking_uri"].startswith(URI[engine.stack])
    assert outputs["client_environment"] == {"MLFLOW_TRACKING_URI": outputs["tracking_uri"]}
    assert outputs["artifact_destination"] == f"s3://{outputs['artifact_bucket']}/runs"
    assert set(outputs["services"]) == ROLES[engine.stack]
    assert bool(outputs["tracking_certificate"]) == (engine.stack == "staging")

    assert outputs["artifact_bucket"] in buckets(engine)
    (database,) = engine.aws("rds").describe_db_instances()["DBInstances"]
    at = database["Endpoint"]
    assert outputs["backend_endpoint"] == f"{at['Address']}:{at['Port']}"
    assert outputs["backend_secret_arn"] == database["MasterUserSecret"]["SecretArn"]
    services = engine.aws("ecs").describe_services(
        cluster=outputs["cluster"], services=list(outputs["services"].values())
    )
    assert len(services["services"]) == len(ROLES[engine.stack])
    logs = [log["logGroupName"] for log in engine.aws("logs").describe_log_groups()["logGroups"]]
    assert outputs["log_group"] in logs
    instance = f"/aws/rds/instance/{database['DBInstanceIdentifier']}"
    assert {f"{instance}/postgresql", f"{instance}/upgrade"} <= {*logs}


def test_an_unchanged_up_changes_nothing_but_what_moto_forgot(deployed: Deployed) -> None:
    forgotten = {
        Change("update", SERVICE, f"mlflow-server-{role}", MOTO_FORGETS)
        for role in ROLES[deployed.engine.stack]
    }
    assert set(deployed.again_previewed) == forgotten | MOTO_IS_TOLD_AGAIN
    assert set(deployed.again) == forgotten | MOTO_IS_TOLD_AGAIN
    assert set(deployed.engine.preview()) == MOTO_IS_TOLD_AGAIN


def test_a_changed_setting_changes_what_it_is_about_and_replaces_no_data(
    deployed: Deployed,
) -> None:
    engine = deployed.engine
    key, value, expected = UPDATES[engine.stack]
    engine.set(key, value)
    changes = engine.up()
    assert set(changes) == expected | MOTO_IS_TOLD_AGAIN
    assert not [c for c in changes if c.type in {BUCKET, DATABASE} and c.op != "update"]


def test_no_private_key_is_told_in_the_clear(deployed: Deployed) -> None:
    engine = deployed.engine
    assert "PRIVATE KEY" not in engine.state()
    for step in engine.steps:
        assert "PRIVATE KEY" not in step.stdout + step.stderr, step.argv
    for file in (engine.project.parent / "backend").rglob("*"):
        assert file.is_dir() or b"PRIVATE KEY" not in file.read_bytes(), file
    if engine.stack == "staging":  # there is one to be told
        told = engine.pulumi("stack", "export", "--show-secrets", record=False)
        assert "BEGIN EC PRIVATE KEY" in told.stdout


def test_trackstack_env_tells_clients_of_a_deployed_stack_where_to_log(deployed: Deployed) -> None:
    engine, outputs = deployed.engine, deployed.engine.outputs()
    for source in ("pulumi", f"ssm:/mlflow-platform/{engine.stack}/client"):
        done = engine.trackstack(
            *("env", "--from", source, "--stack", engine.stack, "--unchecked", "--format", "json")
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told.pop("MLFLOW_TRACKING_URI") == outputs["tracking_uri"]
        if certificate := outputs["tracking_certificate"]:
            path = told.pop("MLFLOW_TRACKING_SERVER_CERT_PATH")
            assert Path(path).read_text() == certificate
        if engine.stack == "prod":  # of the environments' stack files, the one with users
            assert told.pop("MLFLOW_TRACKING_USERNAME") == "client"
            assert len(told.pop("MLFLOW_TRACKING_PASSWORD")) == PASSWORD_LENGTH
        assert told == failing_fast()


@only["dev"]
@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("pulumi", "Pulumi knows no stack 'nightly': `pulumi stack ls` lists them."),
        ("ssm:/mlflow-platform/nightly/client", "The parameter /mlflow-platform/nightly/client"),
    ],
    ids=["pulumi", "ssm"],
)
def test_trackstack_env_of_an_unknown_stack_is_one_sentence(
    deployed: Deployed, source: str, sentence: str
) -> None:
    done = deployed.engine.trackstack("env", "--from", source, "--stack", "nightly")
    assert done.returncode == 5
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"trackstack: {sentence}")


@only["dev"]
def test_every_wrong_setting_is_a_sentence_of_the_engine_without_a_traceback(
    deployed: Deployed,
) -> None:
    engine = deployed.engine
    file = engine.project / "stacks" / "Pulumi.dev.yaml"
    right = file.read_text()
    engine.set("workers", 100)
    engine.set("log_retention_day", 7)
    told = engine.pulumi("preview", check=False)
    file.write_text(right)
    assert told.returncode != 0
    assert "workers: 100 is out of bounds; write a number from 0 to 64." in told.text
    assert (
        "log_retention_day: there is no such setting; did you mean log_retention_days?" in told.text
    )
    assert "Traceback" not in told.text


# One test for all stacks, and the last: here they go. (Two tests with parameters of their own would
# be put before the others as soon as some are deselected.)
def test_a_destroy_takes_only_what_is_expendable(deployed: Deployed) -> None:
    engine = deployed.engine
    if engine.stack != "dev":
        assert_destroy_is_refused(engine)
    if engine.stack == "prod":
        assert_expendable_lets_go(engine)
    if engine.stack != "staging":  # its moto is thrown away
        engine.pulumi("destroy", "--yes")
        assert_nothing_is_left(engine)


def assert_destroy_is_refused(engine: Engine) -> None:
    before, kept = engine.resources(), buckets(engine)
    refused = engine.pulumi("destroy", "--yes", check=False)
    assert refused.returncode != 0
    assert "cannot be deleted\nbecause it is protected" in unindented(refused.text)
    assert f"{DATABASE}::mlflow-backend-postgres" in refused.text
    assert engine.resources() == before
    assert buckets(engine) == kept
    (database,) = engine.aws("rds").describe_db_instances()["DBInstances"]
    assert database["DeletionProtection"]


def assert_expendable_lets_go(engine: Engine) -> None:
    """The first of the two documented steps."""
    engine.pulumi("config", "set", "expendable", "true")
    assert set(engine.up()) == MOTO_IS_TOLD_AGAIN | {
        Change("update", BUCKET, "mlflow-artifacts-bucket", frozenset({"forceDestroy"})),
        Change("update", BUCKET, "mlflow-logs-bucket", frozenset({"forceDestroy"})),
        Change("update", KEY, "mlflow-encryption-key", frozenset({"deletionWindowInDays"})),
        Change("update", BALANCER, "mlflow-door-balancer", frozenset({"enableDeletionProtection"})),
        *(
            Change(
                "update", SECRET, f"mlflow-credentials-{of}", frozenset({"recoveryWindowInDays"})
            )
            for of in ("admin", "client", "session")
        ),
        Change(
            "update",
            DATABASE,
            "mlflow-backend-postgres",
            frozenset({"deleteAutomatedBackups", "deletionProtection", "skipFinalSnapshot"}),
        ),
    }


def buckets(engine: Engine) -> set[str]:
    return {bucket["Name"] for bucket in engine.aws("s3").list_buckets()["Buckets"]}


def unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def assert_nothing_is_left(engine: Engine) -> None:
    assert not engine.resources()
    assert buckets(engine) == set()
    assert engine.aws("rds").describe_db_instances()["DBInstances"] == []
    ecs = engine.aws("ecs")  # moto lists a deleted cluster as INACTIVE; AWS lists it no more
    clusters = ecs.describe_clusters(clusters=ecs.list_clusters()["clusterArns"])["clusters"]
    assert [cluster for cluster in clusters if cluster["status"] != "INACTIVE"] == []
    assert engine.aws("elbv2").describe_load_balancers()["LoadBalancers"] == []
