import json
from typing import Any

from components.tracking_server import TrackingServer
from tests.components.recorder import Declared, declare

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/trackstack@sha256:" + "0" * 64
BUCKET = "arn:aws:s3:::runs"
MASTER = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1"
SIZE = {"tasks": 2, "cpu": 1024, "memory_mib": 2048}


def server(**more: Any) -> Declared:
    base = {
        "image": IMAGE,
        "placement": {
            "region": "us-east-1",
            "account_id": "123456789012",
            "vpc_id": "vpc-1",
            "subnet_ids": ["subnet-1"],
            "assign_public_ip": True,
        },
        "entrance": {
            "url": "https://mlflow.example.com",
            "host": "mlflow.example.com",
            "target_group_arns": {"tracking": "arn:tg-tracking", "artifacts": "arn:tg-artifacts"},
            "security_group_id": "sg-door",
        },
        "artifacts_at": {
            "destination": "s3://runs/runs",
            "prefix": "runs",
            "bucket_arn": BUCKET,
        },
        "database_at": {
            "address": "db.internal",
            "port": 5432,
            "name": "mlflow",
            "resource_id": "db-ABC",
            "master_secret_arn": MASTER,
            "security_group_id": "sg-database",
        },
        "tracking": SIZE,
        "artifacts": {"tasks": 1, "cpu": 512, "memory_mib": 1024},
    }
    return declare(lambda: TrackingServer("mlflow", {**base, **more}))


FOREIGN = {
    "destination": "s3://runs/runs",
    "prefix": "runs",
    "endpoint_url": "http://minio.internal:9000",
    "endpoint_port": 9000,
    "credentials_secret_arn": "arn:minio",
}


def grants(declared: Declared, name: str) -> set[str]:
    found = set()
    for statement in declared.policy(declared.one(":RolePolicy", name)):
        actions = statement["Action"]
        found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def test_two_services_of_one_image() -> None:
    declared = server()
    services = {s.name: s for s in declared.all(":Service")}
    assert set(services) == {"mlflow-tracking", "mlflow-artifacts"}
    assert services["mlflow-tracking"].inputs["desiredCount"] == 2
    assert services["mlflow-artifacts"].inputs["desiredCount"] == 1
    images = {c["image"] for n in services for c in declared.containers(n).values()}
    assert images == {IMAGE}
    assert set(declared.outputs("TrackingServer")["service_names"]) == {"tracking", "artifacts"}


def test_each_service_joins_its_own_target_group() -> None:
    for service in server().all(":Service"):
        role = service.name.removeprefix("mlflow-")
        (target,) = service.inputs["loadBalancers"]
        assert target["targetGroupArn"] == f"arn:tg-{role}"
        assert (target["containerName"], target["containerPort"]) == ("serve", 5000)


def test_the_migration_runs_before_tracking_and_nowhere_else() -> None:
    declared = server()
    assert list(declared.containers("mlflow-tracking")) == ["migrate", "serve"]
    assert list(declared.containers("mlflow-artifacts")) == ["serve"]


def test_tracking_may_do_what_it_does_and_nothing_more() -> None:
    declared = server()
    s3 = {
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    }
    assert grants(declared, "mlflow-tracking-task") == {"rds-db:connect", *s3}
    assert grants(declared, "mlflow-artifacts-task") == s3


def test_only_what_starts_tracking_reads_the_master_password() -> None:
    declared = server()
    assert "secretsmanager:GetSecretValue" in grants(declared, "mlflow-tracking-start")
    assert "secretsmanager:GetSecretValue" not in grants(declared, "mlflow-artifacts-start")
    for name in ("mlflow-tracking-task", "mlflow-artifacts-task"):
        assert "secretsmanager:GetSecretValue" not in grants(declared, name)


def test_tasks_are_reached_by_the_balancer_and_the_database_by_tracking_alone() -> None:
    declared = server()
    groups = {g.id: g.name for g in declared.all(":SecurityGroup")}
    groups |= {"sg-door": "door", "sg-database": "database"}
    ways = {
        (
            groups[r.inputs["referencedSecurityGroupId"]],
            groups[r.inputs["securityGroupId"]],
            r.inputs["fromPort"],
        )
        for r in declared.all("GroupIngressRule")
    }
    assert ways == {
        ("door", "mlflow-tracking", 5000),
        ("door", "mlflow-artifacts", 5000),
        ("mlflow-tracking", "database", 5432),
    }


def test_what_goes_in_somewhere_may_come_out_there() -> None:
    declared = server()
    out = {
        (r.inputs["securityGroupId"], r.inputs["referencedSecurityGroupId"], r.inputs["toPort"])
        for r in declared.all("GroupEgressRule")
        if "referencedSecurityGroupId" in r.inputs
    }
    into = {
        (r.inputs["referencedSecurityGroupId"], r.inputs["securityGroupId"], r.inputs["toPort"])
        for r in declared.all("GroupIngressRule")
    }
    assert out == into


def test_tasks_get_out_by_https_alone() -> None:
    rules = [r for r in server().all("GroupEgressRule") if "cidrIpv4" in r.inputs]
    assert {(r.inputs["fromPort"], r.inputs["toPort"]) for r in rules} == {(443, 443)}


def test_a_foreign_store_adds_its_port_its_secret_and_no_permission() -> None:
    declared = server(artifacts_at=FOREIGN)
    ports = {r.inputs["toPort"] for r in declared.all("GroupEgressRule") if "cidrIpv4" in r.inputs}
    assert ports == {443, 9000}
    assert grants(declared, "mlflow-tracking-task") == {"rds-db:connect"}
    assert [p.name for p in declared.all(":RolePolicy")].count("mlflow-artifacts-task") == 0
    start = json.dumps(declared.policy(declared.one(":RolePolicy", "mlflow-artifacts-start")))
    assert "arn:minio" in start
    assert MASTER not in start


def test_a_service_waits_for_its_permissions_and_ways() -> None:
    declared = server()
    for service in declared.all(":Service"):
        waits = set(service.dependencies)
        role = service.name.removeprefix("mlflow-")
        assert declared.one(":RolePolicy", f"mlflow-{role}-start").urn in waits
        assert declared.one(":RolePolicy", f"mlflow-{role}-task").urn in waits
        assert declared.one("GroupIngressRule", f"mlflow-balancer-to-{role}").urn in waits
        assert declared.one("GroupEgressRule", f"mlflow-{role}-out-443").urn in waits


def test_a_deployment_that_fails_goes_back_to_a_revision_that_is_still_there() -> None:
    declared = server()
    for service in declared.all(":Service"):
        assert service.inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
        assert service.inputs["deploymentMinimumHealthyPercent"] == 100
    for task in declared.all(":TaskDefinition"):
        assert task.inputs["skipDestroy"] is True


def test_a_task_has_the_size_and_the_disk_that_was_asked() -> None:
    declared = server(largest_artifact_gib=20, architecture="x86_64")
    task = declared.one(":TaskDefinition", "mlflow-tracking")
    assert (task.inputs["cpu"], task.inputs["memory"]) == ("1024", "2048")
    assert task.inputs["ephemeralStorage"] == {"sizeInGib": 60}
    assert task.inputs["runtimePlatform"]["cpuArchitecture"] == "X86_64"
    assert task.inputs["networkMode"] == "awsvpc"


def test_without_a_number_there_is_a_worker_for_each_whole_vcpu() -> None:
    def workers(size: dict[str, int]) -> str:
        serve = server(tracking=size).containers("mlflow-tracking")["serve"]
        return next(e["value"] for e in serve["environment"] if e["name"] == "MLFLOW_WORKERS")

    assert workers({"tasks": 1, "cpu": 512, "memory_mib": 1024}) == "1"
    assert workers({"tasks": 1, "cpu": 4096, "memory_mib": 8192}) == "4"
    assert workers({"tasks": 1, "cpu": 4096, "memory_mib": 8192, "workers": 3}) == "3"


def test_what_a_task_costs_can_be_told_by_its_tags() -> None:
    for service in server().all(":Service"):
        assert service.inputs["propagateTags"] == "SERVICE"
        assert service.inputs["enableEcsManagedTags"] is True


def test_the_log_does_not_grow_for_ever() -> None:
    assert server().one(":LogGroup").inputs["retentionInDays"] == 30


def test_a_boundary_holds_every_role() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    roles = server(permissions_boundary=boundary).all("iam/role:Role")
    assert len(roles) == 4
    assert {r.inputs["permissionsBoundary"] for r in roles} == {boundary}
    assert not any("permissionsBoundary" in r.inputs for r in server().all("iam/role:Role"))


def test_no_secret_stands_in_a_task_definition() -> None:
    declared = server(artifacts_at=FOREIGN)
    for task in declared.all(":TaskDefinition"):
        for container in json.loads(task.inputs["containerDefinitions"]):
            told = {e["name"] for e in container["environment"]}
            assert not any("PASSWORD" in n or "SECRET" in n or "KEY_ID" in n for n in told)
            assert all(s["valueFrom"].startswith("arn:") for s in container["secrets"])
