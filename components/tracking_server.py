"""The MLflow server: a ``tracking`` and an ``artifacts`` service of one image on ECS Fargate.

Why a component: what a task may reach, what it may do and what it is told have to agree. Here the
rules between balancer, tasks and database, the roles that allow exactly that, and the container's
environment come from the same facts. A large upload can't slow down logging, because it has a
service of its own; the server holds no database password; and no server starts before the
migration beside it has ended well.
"""

import json
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import cloudwatch, ec2, ecs, iam, vpc

from trackstack.core import fargate, policies
from trackstack.core.containers import (
    ARTIFACTS,
    SERVE,
    TRACKING,
    DatabaseFacts,
    ServerFacts,
    container_definitions,
    volumes,
)
from trackstack.core.server_environment import CONTAINER_PORT
from trackstack.core.timeouts import timeouts_for

HTTPS_PORT = 443
GRACE_SECONDS = 600
"""How long a new task may fail the balancer's check: a migration of a large database runs first."""


class PlacementArgs(TypedDict):
    """Where tasks run."""

    region: str
    """Region of the stack."""
    account_id: Input[str]
    """Account of the stack."""
    vpc_id: Input[str]
    """The VPC of the tasks."""
    subnet_ids: Input[list[str]]
    """Subnets from which they get out."""
    assign_public_ip: Input[bool]
    """Whether they need a public address for it."""


class EntranceArgs(TypedDict):
    """How requests arrive."""

    url: Input[str]
    """The platform's URL, which browsers send as origin."""
    host: Input[str]
    """The host that requests must name."""
    target_group_arns: Input[dict[str, str]]
    """Role to target group: `tracking`, and `artifacts` when that is separate."""
    security_group_id: Input[str]
    """The balancer's security group; rules to the tasks are added to it."""


class ArtifactsAtArgs(TypedDict):
    """Where artifacts lie."""

    destination: Input[str]
    """Root of all artifacts: `s3://<bucket>/<prefix>`."""
    prefix: str
    """The prefix in it, which the tasks' permissions end at."""
    bucket_arn: NotRequired[Input[str]]
    """The bucket to be granted. Default: one that AWS doesn't hold."""
    endpoint_url: NotRequired[Input[str]]
    """Address of the S3-compatible server. Default: S3 itself."""
    endpoint_port: NotRequired[int]
    """Its port, which tasks are let out to. Default: 443."""
    credentials_secret_arn: NotRequired[Input[str]]
    """Secret with `access_key_id` and `secret_access_key` for it. Default: the task's role."""


class DatabaseAtArgs(TypedDict):
    """Where runs and models are kept."""

    address: Input[str]
    """Host name."""
    port: Input[int]
    """Port."""
    name: Input[str]
    """Name of the database."""
    resource_id: Input[str]
    """What IAM calls the instance."""
    master_secret_arn: Input[str]
    """Secret of the master user, which only the migration reads."""
    security_group_id: Input[str]
    """The database's security group; a rule from the tracking tasks is added to it."""


class ServiceSizeArgs(TypedDict):
    """How much of a service there is."""

    tasks: int
    """Number of tasks."""
    cpu: int
    """CPU of each, in 1/1024 vCPU."""
    memory_mib: int
    """Memory of each."""
    workers: NotRequired[int]
    """Worker processes of each. Default, or 0: one for each whole vCPU, and at least one."""


class TrackingServerArgs(TypedDict):
    """What a caller decides about the servers."""

    image: str
    """The image, by digest."""
    placement: PlacementArgs
    """Where tasks run."""
    entrance: EntranceArgs
    """How requests arrive."""
    artifacts_at: ArtifactsAtArgs
    """Where artifacts lie."""
    database_at: DatabaseAtArgs
    """Where runs and models are kept."""
    tracking: ServiceSizeArgs
    """Size of the tracking service."""
    artifacts: NotRequired[ServiceSizeArgs]
    """Size of the artifacts service. Default: none, the tracking service carries artifacts too."""
    architecture: NotRequired[str]
    """Processor that the image was built for: `arm64` or `x86_64`. Default: `arm64`."""
    largest_artifact_gib: NotRequired[int]
    """Size of the largest artifact; a task's disk holds two. Default: 5."""
    largest_artifact_minutes: NotRequired[int]
    """Minutes that it travels. Default: 10."""
    allow_schema_upgrade: NotRequired[str]
    """Revision that a database with runs may be migrated to. Default: none."""
    log_retention_days: NotRequired[int]
    """Days that the log is kept. Default: 30."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that bucket and secrets are encrypted with. Default, or empty: AWS's own, no grant."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the roles. Default, or empty: none."""


@dataclass(frozen=True)
class _Ways:
    """The security group of a role's tasks, and the rules that must exist before they start."""

    group_id: Output[str]
    rules: list[pulumi.Resource]


class TrackingServer(pulumi.ComponentResource):
    """MLflow on Fargate with exactly the permissions and ways that it needs."""

    cluster_name: Output[str]
    """The cluster that runs the services."""
    service_names: Output[dict[str, str]]
    """Role (``tracking``, ``artifacts``) to service."""
    log_group_name: Output[str]
    """Log of all containers; streams begin with the role."""

    def __init__(
        self, name: str, args: TrackingServerArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:TrackingServer", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        sizes = {TRACKING: args["tracking"]}
        if "artifacts" in args:
            sizes[ARTIFACTS] = args["artifacts"]

        cluster = ecs.Cluster(f"{name}-cluster", opts=child)
        log = cloudwatch.LogGroup(
            f"{name}-log", retention_in_days=args.get("log_retention_days", 30), opts=child
        )
        ways = self._ways(name, args, tuple(sizes))
        services = {
            role: self._service(
                name, role, size=size, args=args, cluster=cluster, log=log, ways=ways[role]
            )
            for role, size in sizes.items()
        }

        self.cluster_name = cluster.name
        self.service_names = Output.all(**{role: s.name for role, s in services.items()})
        self.log_group_name = log.name
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "service_names": self.service_names,
                "log_group_name": self.log_group_name,
            }
        )

    def _ways(
        self, name: str, args: TrackingServerArgs, roles: tuple[str, ...]
    ) -> dict[str, _Ways]:
        """Security groups of the tasks, and the rules at both ends of every way."""
        child = ResourceOptions(parent=self)
        entrance, database = args["entrance"], args["database_at"]
        ways: dict[str, _Ways] = {}
        for role in roles:
            group = ec2.SecurityGroup(
                f"{name}-{role}",
                description=f"MLflow {role} tasks",
                vpc_id=args["placement"]["vpc_id"],
                tags={"Name": f"{name}-{role}"},
                opts=child,
            )
            rules: list[pulumi.Resource] = [
                *self._way(
                    f"{name}-balancer-to-{role}",
                    entrance["security_group_id"],
                    group.id,
                    CONTAINER_PORT,
                )
            ]
            if role == TRACKING:
                rules += self._way(
                    f"{name}-{role}-to-database",
                    group.id,
                    database["security_group_id"],
                    database["port"],
                )
            # AWS's APIs, the registry and S3 by TLS; an S3-compatible server by its own port.
            for port in sorted({HTTPS_PORT, args["artifacts_at"].get("endpoint_port", HTTPS_PORT)}):
                rules.append(
                    vpc.SecurityGroupEgressRule(
                        f"{name}-{role}-out-{port}",
                        security_group_id=group.id,
                        ip_protocol="tcp",
                        from_port=port,
                        to_port=port,
                        cidr_ipv4="0.0.0.0/0",
                        opts=child,
                    )
                )
            ways[role] = _Ways(group.id, rules)
        return ways

    def _way(
        self, name: str, source: Input[str], target: Input[str], port: Input[int]
    ) -> list[pulumi.Resource]:
        """A TCP port from one security group to another: out of the one, into the other."""
        child = ResourceOptions(parent=self)
        return [
            vpc.SecurityGroupEgressRule(
                name,
                security_group_id=source,
                referenced_security_group_id=target,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=child,
            ),
            vpc.SecurityGroupIngressRule(
                name,
                security_group_id=target,
                referenced_security_group_id=source,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=child,
            ),
        ]

    def _service(
        self,
        name: str,
        role: str,
        *,
        size: ServiceSizeArgs,
        args: TrackingServerArgs,
        cluster: ecs.Cluster,
        log: cloudwatch.LogGroup,
        ways: _Ways,
    ) -> ecs.Service:
        placement = args["placement"]
        task_role, grants = self._task_role(name, role, args)
        execution_role, start = self._execution_role(name, role, args, log)
        facts = self._facts(role, size, args, log)
        architecture = args.get("architecture", "arm64").upper()
        task = ecs.TaskDefinition(
            f"{name}-{role}",
            # The cluster's name is this stack's alone; a family is shared by the whole account.
            family=Output.concat(cluster.name, "-", role),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(size["cpu"]),
            memory=str(size["memory_mib"]),
            runtime_platform={
                "operating_system_family": "LINUX",
                "cpu_architecture": architecture,
            },
            ephemeral_storage={
                "size_in_gib": fargate.ephemeral_gib(args.get("largest_artifact_gib", 5))
            },
            task_role_arn=task_role.arn,
            execution_role_arn=execution_role.arn,
            volumes=[{"name": volume} for volume in volumes(has_database=role == TRACKING)],
            container_definitions=facts.apply(lambda f: json.dumps(container_definitions(f))),
            # A rollback goes to the previous revision, which must not be deregistered by then.
            skip_destroy=True,
            opts=ResourceOptions(parent=self),
        )
        return ecs.Service(
            f"{name}-{role}",
            cluster=cluster.arn,
            task_definition=task.arn,
            launch_type="FARGATE",
            desired_count=size["tasks"],
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            health_check_grace_period_seconds=GRACE_SECONDS,
            network_configuration={
                "subnets": placement["subnet_ids"],
                "security_groups": [ways.group_id],
                "assign_public_ip": placement["assign_public_ip"],
            },
            load_balancers=[
                {
                    "target_group_arn": Output.from_input(
                        args["entrance"]["target_group_arns"]
                    ).apply(lambda arns: arns[role]),
                    "container_name": SERVE,
                    "container_port": CONTAINER_PORT,
                }
            ],
            # Without permissions and ways the first tasks would fail and trip the circuit breaker.
            opts=ResourceOptions(parent=self, depends_on=[*grants, start, *ways.rules]),
        )

    def _facts(
        self, role: str, size: ServiceSizeArgs, args: TrackingServerArgs, log: cloudwatch.LogGroup
    ) -> Output[ServerFacts]:
        at, database, entrance = args["artifacts_at"], args["database_at"], args["entrance"]
        region = args["placement"]["region"]
        workers = size.get("workers", 0) or fargate.workers_for(size["cpu"])
        known: dict[str, Input[Any]] = {
            "url": entrance["url"],
            "host": entrance["host"],
            "log_group": log.name,
            "destination": at["destination"],
            "endpoint_url": at.get("endpoint_url", ""),
            "credentials_secret_arn": at.get("credentials_secret_arn", ""),
        }
        if role == TRACKING:
            known |= {
                "address": database["address"],
                "port": database["port"],
                "database": database["name"],
                "master_secret_arn": database["master_secret_arn"],
            }

        def gather(v: dict[str, Any]) -> ServerFacts:
            return ServerFacts(
                image=args["image"],
                region=region,
                url=v["url"],
                host=v["host"],
                workers=workers,
                timeouts=timeouts_for(args.get("largest_artifact_minutes", 10)),
                log_group=v["log_group"],
                artifacts_destination=v["destination"],
                artifact_endpoint_url=v["endpoint_url"],
                artifact_credentials_secret_arn=v["credentials_secret_arn"],
                database=DatabaseFacts(
                    address=v["address"],
                    port=int(v["port"]),
                    name=v["database"],
                    user=policies.DATABASE_USER,
                    master_secret_arn=v["master_secret_arn"],
                )
                if role == TRACKING
                else None,
                allow_schema_upgrade=args.get("allow_schema_upgrade", ""),
            )

        return Output.all(**known).apply(gather)

    def _role(self, name: str, args: TrackingServerArgs, description: str) -> iam.Role:
        placement = args["placement"]
        region = placement["region"]
        partition = policies.partition_of(region)
        return iam.Role(
            name,
            description=description,
            assume_role_policy=Output.from_input(placement["account_id"]).apply(
                lambda account: policies.assumed_by_tasks(partition, region, account)
            ),
            permissions_boundary=args.get("permissions_boundary") or None,
            opts=ResourceOptions(parent=self),
        )

    def _task_role(
        self, name: str, role: str, args: TrackingServerArgs
    ) -> tuple[iam.Role, list[pulumi.Resource]]:
        """Who the server is: its own bucket and, for tracking, its own database user."""
        region, at = args["placement"]["region"], args["artifacts_at"]
        partition = policies.partition_of(region)
        task = self._role(f"{name}-{role}-task", args, f"What MLflow's {role} tasks may do")
        bucket_arn = at.get("bucket_arn")
        if role == TRACKING:
            policy = Output.all(
                at.get("bucket_arn", ""),
                args["placement"]["account_id"],
                args["database_at"]["resource_id"],
                args.get("kms_key_arn", ""),
            ).apply(
                lambda v: policies.track_runs(
                    str(v[0]),
                    at["prefix"],
                    policies.database_user_arn(partition, region, str(v[1]), str(v[2])),
                    str(v[3]),
                )
            )
        elif bucket_arn is not None:
            policy = Output.all(bucket_arn, args.get("kms_key_arn", "")).apply(
                lambda v: policies.keep_artifacts(v[0], at["prefix"], v[1])
            )
        else:
            return task, []
        grant = iam.RolePolicy(
            f"{name}-{role}-task", role=task.id, policy=policy, opts=ResourceOptions(parent=self)
        )
        return task, [grant]

    def _execution_role(
        self, name: str, role: str, args: TrackingServerArgs, log: cloudwatch.LogGroup
    ) -> tuple[iam.Role, pulumi.Resource]:
        """Who starts a task: its image, its log and its secrets."""
        at = args["artifacts_at"]
        partition = policies.partition_of(args["placement"]["region"])
        starter = self._role(f"{name}-{role}-start", args, f"Starts MLflow's {role} tasks")
        secrets: list[Input[str]] = []
        if role == TRACKING:
            secrets.append(args["database_at"]["master_secret_arn"])
        if "credentials_secret_arn" in at:
            secrets.append(at["credentials_secret_arn"])
        policy = Output.all(log.arn, args.get("kms_key_arn", ""), *secrets).apply(
            lambda v: policies.start_tasks(
                v[0], v[2:], policies.repository_arn(partition, args["image"]), v[1]
            )
        )
        grant = iam.RolePolicy(
            f"{name}-{role}-start",
            role=starter.id,
            policy=policy,
            opts=ResourceOptions(parent=self),
        )
        return starter, grant
