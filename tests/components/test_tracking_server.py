import json
from typing import Any

from components.tracking_server import TrackingServer
from tests.components.recorder import Declared, declare

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/trackstack@sha256:" + "0" * 64
BUCKET = "arn:aws:s3:::runs"
MASTER = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1"
GROUP = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup"
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
            "target_group_arns": {
                "tracking": f"{GROUP}/tracking/1",
                "artifacts": f"{GROUP}/artifacts/2",
            },
            "security_group_id": "sg-door",
            "balancer_arn": "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/door/0a1b",
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
    args = {key: value for key, value in {**base, **more}.items() if value is not None}
    return declare(lambda: TrackingServer("mlflow", args))


def together(**more: Any) -> Declared:
    """One service that carries artifacts too."""
    return server(artifacts=None, **more)


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
        assert target["targetGroupArn"].startswith(f"{GROUP}/{role}/")
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
    artifacts = declared.one(":TaskDefinition", "mlflow-artifacts")
    assert artifacts.inputs["ephemeralStorage"] == {"sizeInGib": 60}
    task = declared.one(":TaskDefinition", "mlflow-tracking")
    assert (task.inputs["cpu"], task.inputs["memory"]) == ("1024", "2048")
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


def test_only_tasks_that_carry_artifacts_pay_for_a_large_disk() -> None:
    separate = server(largest_artifact_gib=20)
    assert "ephemeralStorage" not in separate.one(":TaskDefinition", "mlflow-tracking").inputs
    (task,) = together(largest_artifact_gib=20).all(":TaskDefinition")
    assert task.inputs["ephemeralStorage"] == {"sizeInGib": 60}


def test_tasks_are_on_demand_unless_spot_is_asked_for() -> None:
    declared = server()
    assert {s.inputs["launchType"] for s in declared.all(":Service")} == {"FARGATE"}
    assert declared.all(":ClusterCapacityProviders") == []


def test_spot_takes_a_running_service_along_instead_of_replacing_it() -> None:
    declared = server(spot=True)
    capacity = declared.one(":ClusterCapacityProviders")
    assert "FARGATE_SPOT" in capacity.inputs["capacityProviders"]
    for service in declared.all(":Service"):
        assert "launchType" not in service.inputs
        (strategy,) = service.inputs["capacityProviderStrategies"]
        assert strategy["capacityProvider"] == "FARGATE_SPOT"
        # "force_new_deployment should be true when capacity_provider_strategy is being updated"
        assert service.inputs["forceNewDeployment"] is True
        assert capacity.urn in service.dependencies


def test_a_server_is_asked_to_stop_no_later_than_spot_takes_it_away() -> None:
    for container in server(spot=True).containers("mlflow-tracking").values():
        assert container.get("stopTimeout", 30) <= 120


def test_the_number_of_tasks_is_fixed_unless_there_may_be_more() -> None:
    declared = server()
    assert declared.all("appautoscaling/target:Target") == []
    assert not any("desiredCount" in s.options.ignore_changes for s in declared.all(":Service"))


def test_load_decides_between_the_least_and_the_most_and_a_deployment_does_not_undo_it() -> None:
    artifacts = {"tasks": 1, "tasks_max": 3, "cpu": 512, "memory_mib": 1024}
    declared = server(tracking={**SIZE, "tasks_max": 5}, artifacts=artifacts)
    targets = {t.name: t.inputs for t in declared.all("appautoscaling/target:Target")}
    assert {n: (t["minCapacity"], t["maxCapacity"]) for n, t in targets.items()} == {
        "mlflow-tracking-tasks": (2, 5),
        "mlflow-artifacts-tasks": (1, 3),
    }
    cluster = declared.outputs("TrackingServer")["cluster_name"]
    services = declared.outputs("TrackingServer")["service_names"]
    for role, service in services.items():
        assert targets[f"mlflow-{role}-tasks"]["resourceId"] == f"service/{cluster}/{service}"
    for service in declared.all(":Service"):
        assert "desiredCount" in service.options.ignore_changes


def test_tracking_scales_by_requests_and_cpu_and_artifacts_by_cpu() -> None:
    artifacts = {"tasks": 1, "tasks_max": 3, "cpu": 512, "memory_mib": 1024}
    declared = server(tracking={**SIZE, "tasks_max": 5}, artifacts=artifacts)
    aims = {
        p.name: p.inputs["targetTrackingScalingPolicyConfiguration"]
        for p in declared.all("appautoscaling/policy:Policy")
    }
    assert set(aims) == {
        "mlflow-tracking-by-cpu",
        "mlflow-tracking-by-requests",
        "mlflow-artifacts-by-cpu",
    }
    requests = aims["mlflow-tracking-by-requests"]
    metric = requests["predefinedMetricSpecification"]
    assert metric["resourceLabel"] == "app/door/0a1b/targetgroup/tracking/1"
    assert metric["predefinedMetricType"] == "ALBRequestCountPerTarget"
    assert requests["targetValue"] == 6225


def test_nobody_opens_a_shell_unless_asked() -> None:
    declared = server()
    assert not any(s.inputs.get("enableExecuteCommand") for s in declared.all(":Service"))
    assert "ssmmessages" not in json.dumps([p.inputs for p in declared.all(":RolePolicy")])


def test_a_shell_needs_no_writable_root() -> None:
    declared = server(allow_exec=True)
    for service in declared.all(":Service"):
        assert service.inputs["enableExecuteCommand"] is True
    for role in ("tracking", "artifacts"):
        task = declared.one(":TaskDefinition", f"mlflow-{role}")
        serve = declared.containers(f"mlflow-{role}")["serve"]
        assert serve["readonlyRootFilesystem"] is True
        paths = {mount["containerPath"] for mount in serve["mountPoints"]}
        assert {"/managed-agents", "/var/lib/amazon/ssm", "/var/log/amazon/ssm"} <= paths
        mounted = {
            mount["sourceVolume"]
            for container in declared.containers(f"mlflow-{role}").values()
            for mount in container["mountPoints"]
        }
        assert mounted == {volume["name"] for volume in task.inputs["volumes"]}
        assert {a.partition(":")[0] for a in grants(declared, f"mlflow-{role}-exec")} == {
            "ssmmessages"
        }


def test_a_rollout_that_is_rolled_back_fails_the_update_that_asked_for_it() -> None:
    for service in server().all(":Service"):
        assert service.inputs["waitForSteadyState"] is True
    for service in server(wait_for_steady_state=False).all(":Service"):
        assert service.inputs["waitForSteadyState"] is False


def test_container_insights_cost_nothing_unless_asked() -> None:
    assert "settings" not in server().one(":Cluster").inputs
    cluster = server(container_insights=True).one(":Cluster")
    assert cluster.inputs["settings"] == [{"name": "containerInsights", "value": "enabled"}]


def test_the_log_is_encrypted_with_the_given_key() -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    assert server(kms_key_arn=key).one(":LogGroup").inputs["kmsKeyId"] == key
    assert "kmsKeyId" not in server(kms_key_arn="").one(":LogGroup").inputs


def test_tracking_prints_metrics_of_its_stack_and_artifacts_none() -> None:
    def told(role: str) -> dict[str, str]:
        serve = server().containers(f"mlflow-{role}")["serve"]
        return {entry["name"]: entry["value"] for entry in serve["environment"]}

    assert told("tracking")["TRACKSTACK_METRICS_STACK"] == "mlflow-platform/test"
    assert "TRACKSTACK_METRICS_STACK" not in told("artifacts")


NIGHTLY = {"deleted_runs_days": 30}


def test_deleted_runs_stay_unless_somebody_says_for_how_long() -> None:
    assert server().all(":Schedule") == []
    assert {t.name for t in server().all(":TaskDefinition")} == {
        t.name for t in server(deleted_runs_days=0).all(":TaskDefinition")
    }


def test_every_night_one_small_task_removes_what_was_deleted() -> None:
    declared = server(**NIGHTLY)
    schedule, task = declared.one(":Schedule"), declared.one(":TaskDefinition", "mlflow-collect")
    target = schedule.inputs["target"]
    assert schedule.inputs["scheduleExpression"] == "cron(30 2 * * ? *)"
    assert target["arn"] == declared.one(":Cluster").outputs["arn"]
    assert target["ecsParameters"]["taskDefinitionArn"] == task.outputs["arn"]
    assert "ephemeralStorage" not in task.inputs
    (container,) = declared.containers("mlflow-collect").values()
    assert container["command"] == ["python", "-m", "trackstack.server", "collect"]
    told = {entry["name"]: entry["value"] for entry in container["environment"]}
    assert told["TRACKSTACK_DELETED_RUNS_DAYS"] == "30"
    assert told["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://runs/runs"
    assert told["PGSSLMODE"] == "verify-full"
    assert container["secrets"] == []
    assert container["readonlyRootFilesystem"] is True
    assert {m["sourceVolume"] for m in container["mountPoints"]} == {
        volume["name"] for volume in task.inputs["volumes"]
    }


def test_the_nightly_task_may_do_what_tracking_may_and_reads_no_master_password() -> None:
    declared = server(**NIGHTLY)
    task = declared.one(":TaskDefinition", "mlflow-collect")
    tracking = declared.one(":TaskDefinition", "mlflow-tracking")
    assert task.inputs["taskRoleArn"] == tracking.inputs["taskRoleArn"]
    network = declared.one(":Schedule").inputs["target"]["ecsParameters"]["networkConfiguration"]
    (service,) = [s for s in declared.all(":Service") if s.name == "mlflow-tracking"]
    assert network["securityGroups"] == service.inputs["networkConfiguration"]["securityGroups"]
    assert "secretsmanager:GetSecretValue" not in grants(declared, "mlflow-collect-start")


def test_a_schedule_starts_its_own_task_with_its_own_roles_and_nothing_else() -> None:
    declared = server(**NIGHTLY)
    task = declared.one(":TaskDefinition", "mlflow-collect")
    run, give = declared.policy(declared.one(":RolePolicy", "mlflow-collect-nightly"))
    assert (run["Action"], run["Resource"]) == ("ecs:RunTask", task.outputs["arn"])
    cluster = declared.one(":Cluster").outputs["arn"]
    assert run["Condition"] == {"ArnEquals": {"ecs:cluster": cluster}}
    roles = {task.inputs["taskRoleArn"], task.inputs["executionRoleArn"]}
    assert (give["Action"], set(give["Resource"])) == ("iam:PassRole", roles)
    assert give["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    trust = declared.one("iam/role:Role", "mlflow-collect-nightly").inputs["assumeRolePolicy"]
    (statement,) = json.loads(trust)["Statement"]
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == "123456789012"
