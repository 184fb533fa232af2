from dataclasses import replace
from typing import Any

from trackstack.core import server_environment as names
from trackstack.core.containers import (
    DatabaseFacts,
    ServerFacts,
    container_definitions,
    volumes,
)
from trackstack.core.timeouts import timeouts_for

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-abc"
FACTS = ServerFacts(
    image="registry.example.com/trackstack@sha256:" + "0" * 64,
    region="eu-central-1",
    url="https://mlflow.example.com",
    host="mlflow.example.com",
    workers=2,
    timeouts=timeouts_for(10),
    log_group="mlflow-log",
    artifacts_destination="s3://bucket/runs",
    database=DatabaseFacts("db.internal", 5432, "mlflow", "mlflow", SECRET),
)
ARTIFACTS = replace(FACTS, database=None)


def containers(facts: ServerFacts) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in container_definitions(facts)}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["environment"]}


def secrets(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["valueFrom"] for entry in container["secrets"]}


def test_the_server_waits_for_a_migration_that_ended_well() -> None:
    both = containers(FACTS)
    assert list(both) == ["migrate", "serve"]
    assert not both["migrate"]["essential"]
    assert both["serve"]["dependsOn"] == [{"containerName": "migrate", "condition": "SUCCESS"}]
    assert "startTimeout" not in both["migrate"], "Fargate would stop a migration after 120 s"


def test_only_the_migration_gets_the_master_password() -> None:
    both = containers(FACTS)
    assert secrets(both["serve"]) == {}
    assert secrets(both["migrate"]) == {
        names.MASTER_USER: f"{SECRET}:username::",
        names.MASTER_PASSWORD: f"{SECRET}:password::",
    }


def test_the_server_logs_in_by_iam_and_checks_the_database_s_name() -> None:
    told = environment(containers(FACTS)["serve"])
    assert told[names.DATABASE_AUTH] == "iam"
    assert told[names.DATABASE_SSL_MODE] == "verify-full"
    assert told[names.DATABASE_SSL_ROOT] == names.DATABASE_CA_PATH
    assert told[names.DATABASE_USER] == "mlflow"
    assert told[names.PASSWORD_FILE].startswith(names.RUN_PATH)


def test_the_artifacts_service_knows_no_database() -> None:
    (serve,) = container_definitions(ARTIFACTS)
    told = environment(serve)
    assert told["MLFLOW_ARTIFACTS_ONLY"] == "true"
    assert not any(name.startswith(("PG", "TRACKSTACK_DATABASE")) for name in told)
    assert "dependsOn" not in serve


def test_both_services_serve_the_same_artifacts() -> None:
    tracking, artifacts = (
        environment(containers(FACTS)["serve"]),
        environment(containers(ARTIFACTS)["serve"]),
    )
    for name in ("MLFLOW_SERVE_ARTIFACTS", "MLFLOW_ARTIFACTS_DESTINATION", "AWS_DEFAULT_REGION"):
        assert tracking[name] == artifacts[name]
    assert "MLFLOW_ARTIFACTS_ONLY" not in tracking


def test_the_checks_of_mlflow_stay_on_and_know_the_own_name() -> None:
    told = environment(containers(FACTS)["serve"])
    assert told["MLFLOW_SERVER_ALLOWED_HOSTS"] == (
        "mlflow.example.com,mlflow.example.com:*,localhost:*,127.0.0.1:*"
    )
    assert told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.com"


def test_large_files_go_past_the_server_by_urls_of_the_right_host() -> None:
    told = environment(containers(FACTS)["serve"])
    assert told["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] == "true"
    assert told["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] == "true"
    assert told["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == "virtual"
    assert told["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert "MLFLOW_S3_ENDPOINT_URL" not in told


def test_a_foreign_endpoint_comes_with_its_credentials_from_a_secret() -> None:
    foreign = replace(
        ARTIFACTS,
        artifact_endpoint_url="https://minio.example.com:9000",
        artifact_credentials_secret_arn="arn:minio",
    )
    (serve,) = container_definitions(foreign)
    assert environment(serve)["MLFLOW_S3_ENDPOINT_URL"] == "https://minio.example.com:9000"
    assert environment(serve)["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == "path"
    assert secrets(serve) == {
        "AWS_ACCESS_KEY_ID": "arn:minio:access_key_id::",
        "AWS_SECRET_ACCESS_KEY": "arn:minio:secret_access_key::",
    }


def test_no_schema_is_crossed_unless_its_revision_is_named() -> None:
    assert names.ALLOW_SCHEMA_UPGRADE not in environment(containers(FACTS)["migrate"])
    allowed = containers(replace(FACTS, allow_schema_upgrade="0123456789ab"))
    assert environment(allowed["migrate"])[names.ALLOW_SCHEMA_UPGRADE] == "0123456789ab"
    assert names.ALLOW_SCHEMA_UPGRADE not in environment(allowed["serve"])


def test_containers_are_read_only_and_nobody() -> None:
    for facts in (FACTS, ARTIFACTS):
        for container in container_definitions(facts):
            assert container["readonlyRootFilesystem"]
            assert container["user"] == names.CONTAINER_USER != "0"
            assert container["linuxParameters"] == {"capabilities": {"drop": ["ALL"]}}


def test_every_writable_path_is_a_volume_of_its_container_alone() -> None:
    for facts in (FACTS, ARTIFACTS):
        mounted = [
            mount["sourceVolume"]
            for container in container_definitions(facts)
            for mount in container["mountPoints"]
        ]
        names_of = ("migrate", "serve") if facts.database else ("serve",)
        assert sorted(mounted) == sorted(volumes(*names_of))
        assert len(set(mounted)) == len(mounted)
        for container in container_definitions(facts):
            paths = {mount["containerPath"] for mount in container["mountPoints"]}
            assert paths == {names.WORK_PATH, names.RUN_PATH}
            assert container["workingDirectory"] == names.WORK_PATH


def test_the_server_ends_by_itself_before_it_is_killed() -> None:
    serve = containers(FACTS)["serve"]
    assert int(environment(serve)[names.GRACEFUL_SECONDS]) < serve["stopTimeout"] <= 120


def test_a_stalled_log_does_not_stall_the_server() -> None:
    for container in container_definitions(FACTS):
        assert container["logConfiguration"]["options"]["mode"] == "non-blocking"
