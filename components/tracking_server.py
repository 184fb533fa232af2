"""The MLflow server: a ``tracking`` and an ``artifacts`` service of one image on ECS Fargate.

Why a component: what a task may reach, what it may do and what it is told have to agree. Here the
rules between balancer, tasks and database, the roles that allow exactly that, and the container's
environment come from the same facts. A large upload can't slow down logging, because it has a
service of its own; the server holds no database password; and no server starts before the
migration beside it has ended well.
"""

from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import cloudwatch, ecs, iam

from components._schedule import every_night
from components._services import Cluster
from components._task_roles import Roles
from components._ways import HTTPS_PORT, Ways, open_ways
from trackstack.core import fargate, policies, scaling
from trackstack.core.containers import (
    ARTIFACTS,
    COLLECT,
    MIGRATE,
    SERVE,
    TRACKING,
    AccessFacts,
    DatabaseFacts,
    OidcFacts,
    ServerFacts,
    collection_definitions,
    container_definitions,
    volumes,
)
from trackstack.core.server_metrics import stack_value
from trackstack.core.timeouts import timeouts_for

COLLECTION_SIZE = (256, 1024)
"""CPU and memory of the nightly task: one process of MLflow's, which mostly waits for S3."""


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
    balancer_arn: Input[str]
    """The balancer, whose requests decide on the number of tracking tasks."""


class ArtifactsAtArgs(TypedDict):
    """Where artifacts lie."""

    destination: Input[str]
    """Root of all artifacts: `s3://<bucket>/<prefix>`."""
    prefix: str
    """The prefix in it, which the tasks' permissions end at."""
    bucket_arn: NotRequired[Input[str]]
    """The bucket to be granted. Default: one that AWS doesn't hold."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that the bucket is encrypted with. Default, or empty: S3's own, no grant."""
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
    """The database's security group; rules from the tasks that need it are added to it."""


class OidcArgs(TypedDict):
    """Whose word for who somebody is the servers take."""

    signer: Input[str]
    """ARN of the balancer that signs people in."""
    issuer: str
    """The identity provider."""
    client_id: str
    """What it calls the platform."""
    user_claim: str
    """The claim that names the user: `email` or `sub`."""
    email_domains: NotRequired[list[str]]
    """Domains whose people may enter. Default, or empty: all whom the provider signs in."""


class AccessArgs(TypedDict):
    """How requests prove who they are."""

    default_permission: str
    """What users may do with what is not theirs: `read`, `edit`, `manage` or `none`."""
    admin_secret_arn: Input[str]
    """Secret with the admin's `password`, which only the migration reads."""
    client_secret_arn: Input[str]
    """Secret with the clients' `password`, which only the migration reads."""
    session_secret_arn: Input[str]
    """Secret that all servers share."""
    oidc: NotRequired[OidcArgs]
    """Whom the balancer signs in. Default: nobody, users have passwords."""


class ServiceSizeArgs(TypedDict):
    """How much of a service there is."""

    tasks: int
    """Number of tasks; the least, where there may be more."""
    tasks_max: NotRequired[int]
    """The most that load may make of them. Default, or 0: the number is fixed."""
    cpu: int
    """CPU of each, in 1/1024 vCPU."""
    memory_mib: int
    """Memory of each."""
    workers: NotRequired[int]
    """Worker processes of each. Default, or 0: one for each whole vCPU, and at least one."""


class TrackingServerArgs(TypedDict):
    """What a caller decides about the servers."""

    image: Input[str]
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
    access: NotRequired[AccessArgs]
    """How requests prove who they are. Default: whoever reaches the servers may do everything."""
    architecture: NotRequired[str]
    """Processor that the image was built for: `arm64` or `x86_64`. Default: `arm64`."""
    largest_artifact_gib: NotRequired[int]
    """Size of the largest artifact; a task's disk holds two. Default: 5."""
    largest_artifact_minutes: NotRequired[int]
    """Minutes that it travels. Default: 10."""
    allow_schema_upgrade: NotRequired[str]
    """Revision that a database with runs may be migrated to. Default: none."""
    deleted_runs_days: NotRequired[int]
    """Days after which a nightly task removes deleted runs for good. Default, or 0: never."""
    log_retention_days: NotRequired[int]
    """Days that the log is kept. Default: 30."""
    spot: NotRequired[bool]
    """Run on spare capacity, which AWS takes back at two minutes' notice. Default: no."""
    allow_exec: NotRequired[bool]
    """Let whoever IAM allows it open a shell in the servers. Default: no."""
    wait_for_steady_state: NotRequired[bool]
    """Wait for a rollout, and fail when it is rolled back. Default: yes."""
    container_insights: NotRequired[bool]
    """Let CloudWatch measure the tasks, at the price of its metrics. Default: no."""
    kms_key_arn: NotRequired[Input[str]]
    """Key of log and secrets. Default, or empty: AWS's own, no grant."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the roles. Default, or empty: none."""


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
        sizes = {TRACKING: args["tracking"]}
        if "artifacts" in args:
            sizes[ARTIFACTS] = args["artifacts"]
        placement = args["placement"]
        self._roles = Roles(
            self,
            placement["region"],
            placement["account_id"],
            args.get("permissions_boundary", ""),
        )
        self._cluster = self._make_cluster(name, args)
        ways = {role: self._ways(name, role, args) for role in sizes}
        services = {
            role: self._service(name, role, size=size, args=args, ways=ways[role])
            for role, size in sizes.items()
        }
        days = args.get("deleted_runs_days", 0)
        if days:
            self._collect(name, args, days, ways[TRACKING])

        self.cluster_name = self._cluster.cluster.name
        self.service_names = Output.all(**{role: s.name for role, s in services.items()})
        self.log_group_name = self._cluster.log.name
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "service_names": self.service_names,
                "log_group_name": self.log_group_name,
            }
        )

    def _make_cluster(self, name: str, args: TrackingServerArgs) -> Cluster:
        child = ResourceOptions(parent=self)
        spot = args.get("spot", False)
        cluster = ecs.Cluster(
            f"{name}-cluster",
            settings=[{"name": "containerInsights", "value": "enabled"}]
            if args.get("container_insights", False)
            else None,
            opts=child,
        )
        log = cloudwatch.LogGroup(
            f"{name}-log",
            retention_in_days=args.get("log_retention_days", 30),
            kms_key_id=args.get("kms_key_arn") or None,
            opts=child,
        )
        capacity: list[pulumi.Resource] = []
        if spot:
            capacity.append(
                ecs.ClusterCapacityProviders(
                    f"{name}-capacity",
                    cluster_name=cluster.name,
                    capacity_providers=["FARGATE", "FARGATE_SPOT"],
                    opts=child,
                )
            )
        return Cluster(
            self,
            cluster,
            log,
            capacity=capacity,
            spot=spot,
            architecture=args.get("architecture", "arm64"),
            subnet_ids=args["placement"]["subnet_ids"],
            assign_public_ip=args["placement"]["assign_public_ip"],
        )

    def _ways(self, name: str, role: str, args: TrackingServerArgs) -> Ways:
        database = args["database_at"]
        return open_ways(
            self,
            name,
            role,
            vpc_id=args["placement"]["vpc_id"],
            balancer_group_id=args["entrance"]["security_group_id"],
            out_ports={HTTPS_PORT, args["artifacts_at"].get("endpoint_port", HTTPS_PORT)},
            database=(database["security_group_id"], database["port"])
            if role == TRACKING or "access" in args
            else None,
        )

    def _service(
        self, name: str, role: str, *, size: ServiceSizeArgs, args: TrackingServerArgs, ways: Ways
    ) -> ecs.Service:
        task_role, grants = self._task_role(name, role, args)
        if role == TRACKING:
            self._tracking_role = task_role
        execution_role, start = self._execution_role(name, role, args)
        # Beside an artifacts service, tracking carries no more than a download in the browser, and
        # the 20 GiB that are free of charge do for one.
        carries = role == ARTIFACTS or "artifacts" not in args
        allow_exec = args.get("allow_exec", False)
        task = self._cluster.definition(
            f"{name}-{role}",
            role,
            size=(size["cpu"], size["memory_mib"]),
            roles=(task_role.arn, execution_role.arn),
            disk_gib=fargate.ephemeral_gib(args.get("largest_artifact_gib", 5))
            if carries
            else None,
            volumes=volumes(
                *((MIGRATE, SERVE) if role == TRACKING else (SERVE,)), allow_exec=allow_exec
            ),
            containers=self._facts(role, size, args).apply(container_definitions),
        )
        target_group_arn = Output.from_input(args["entrance"]["target_group_arns"]).apply(
            lambda arns: str(arns[role])
        )
        timeouts = timeouts_for(args.get("largest_artifact_minutes", 10))
        most = size.get("tasks_max", 0)
        service = self._cluster.service(
            f"{name}-{role}",
            task=task,
            tasks=size["tasks"],
            scales=bool(most),
            group_id=ways.group_id,
            target_group_arn=target_group_arn,
            allow_exec=allow_exec,
            wait_minutes=timeouts.rollout_minutes if args.get("wait_for_steady_state", True) else 0,
            after=[*grants, start, *ways.rules],
        )
        if most:
            # An upload is one request, however large it is: only CPU tells of it.
            label = Output.all(args["entrance"]["balancer_arn"], target_group_arn).apply(
                lambda arns: scaling.request_count_label(*arns)
            )
            self._cluster.scale(
                f"{name}-{role}",
                service,
                tasks=(size["tasks"], most),
                requests=(scaling.requests_per_minute(size["cpu"]), label)
                if role == TRACKING
                else None,
            )
        return service

    def _collect(self, name: str, args: TrackingServerArgs, days: int, ways: Ways) -> None:
        """The nightly task: tracking's role and ways, for it does what tracking may do."""
        at = args["artifacts_at"]
        starter, start = self._roles.starter(
            f"{name}-{COLLECT}-start",
            "Starts the task that removes MLflow's deleted runs",
            image=args["image"],
            log_arn=self._cluster.log.arn,
            secrets=[at["credentials_secret_arn"]] if "credentials_secret_arn" in at else [],
            kms_key_arn=args.get("kms_key_arn", ""),
        )
        task = self._cluster.definition(
            f"{name}-{COLLECT}",
            COLLECT,
            size=COLLECTION_SIZE,
            roles=(self._tracking_role.arn, starter.arn),
            disk_gib=None,
            volumes=volumes(COLLECT),
            containers=self._facts(TRACKING, args["tracking"], args).apply(
                lambda facts: collection_definitions(facts, days)
            ),
        )
        every_night(
            self,
            f"{name}-{COLLECT}",
            self._roles,
            cluster=self._cluster,
            task=task,
            roles=[self._tracking_role, starter],
            group_id=ways.group_id,
            after=[start, *ways.rules],
        )

    def _facts(
        self, role: str, size: ServiceSizeArgs, args: TrackingServerArgs
    ) -> Output[ServerFacts]:
        at, database, entrance = args["artifacts_at"], args["database_at"], args["entrance"]
        region = args["placement"]["region"]
        workers = size.get("workers", 0) or fargate.workers_for(size["cpu"])
        known: dict[str, Input[Any]] = {
            "url": entrance["url"],
            "host": entrance["host"],
            "image": args["image"],
            "log_group": self._cluster.log.name,
            "destination": at["destination"],
            "endpoint_url": at.get("endpoint_url", ""),
            "credentials_secret_arn": at.get("credentials_secret_arn", ""),
        }
        access = args.get("access")
        if access is not None:
            known |= {
                "admin_secret_arn": access["admin_secret_arn"],
                "client_secret_arn": access["client_secret_arn"],
                "session_secret_arn": access["session_secret_arn"],
                "signer": access["oidc"]["signer"] if "oidc" in access else "",
            }
        if role == TRACKING or access is not None:
            known |= {
                "address": database["address"],
                "port": database["port"],
                "database": database["name"],
                "master_secret_arn": database["master_secret_arn"],
            }

        def gather(v: dict[str, Any]) -> ServerFacts:
            where = _database_facts(v) if "address" in v else None
            return ServerFacts(
                image=v["image"],
                region=region,
                url=v["url"],
                host=v["host"],
                workers=workers,
                timeouts=timeouts_for(args.get("largest_artifact_minutes", 10)),
                log_group=v["log_group"],
                artifacts_destination=v["destination"],
                artifact_endpoint_url=v["endpoint_url"],
                artifact_credentials_secret_arn=v["credentials_secret_arn"],
                database=where if role == TRACKING else None,
                access=_access_facts(access, where, v) if access and where else None,
                allow_schema_upgrade=args.get("allow_schema_upgrade", ""),
                metrics_stack=stack_value(pulumi.get_project(), pulumi.get_stack()),
                allow_exec=args.get("allow_exec", False),
            )

        return Output.all(**known).apply(gather)

    def _task_role(
        self, name: str, role: str, args: TrackingServerArgs
    ) -> tuple[iam.Role, list[pulumi.Resource]]:
        """Who the server is: its own bucket and, where it has one, its own database user."""
        region, at = args["placement"]["region"], args["artifacts_at"]
        partition = self._roles.partition
        key = at.get("kms_key_arn", "")
        task = self._roles.role(f"{name}-{role}-task", f"What MLflow's {role} tasks may do")
        grants: list[pulumi.Resource] = []
        policy: Input[str] | None = None
        if role == TRACKING or "access" in args:
            policy = Output.all(
                at.get("bucket_arn", ""),
                args["placement"]["account_id"],
                args["database_at"]["resource_id"],
                key,
            ).apply(
                lambda v: policies.track_runs(
                    str(v[0]),
                    at["prefix"],
                    policies.database_user_arn(partition, region, str(v[1]), str(v[2])),
                    str(v[3]),
                )
            )
        elif "bucket_arn" in at:
            policy = Output.all(at["bucket_arn"], key).apply(
                lambda v: policies.keep_artifacts(v[0], at["prefix"], v[1])
            )
        if policy is not None:
            grants.append(self._roles.grant(f"{name}-{role}-task", task, policy))
        if args.get("allow_exec", False):
            grants.append(self._roles.grant(f"{name}-{role}-exec", task, policies.answer_a_shell()))
        return task, grants

    def _execution_role(
        self, name: str, role: str, args: TrackingServerArgs
    ) -> tuple[iam.Role, pulumi.Resource]:
        """Who starts a task: its image, its log and its secrets."""
        at = args["artifacts_at"]
        secrets: list[Input[str]] = []
        access = args.get("access")
        if role == TRACKING:
            secrets.append(args["database_at"]["master_secret_arn"])
            if access is not None:
                secrets += [access["admin_secret_arn"], access["client_secret_arn"]]
        if access is not None:
            secrets.append(access["session_secret_arn"])
        if "credentials_secret_arn" in at:
            secrets.append(at["credentials_secret_arn"])
        return self._roles.starter(
            f"{name}-{role}-start",
            f"Starts MLflow's {role} tasks",
            image=args["image"],
            log_arn=self._cluster.log.arn,
            secrets=secrets,
            kms_key_arn=args.get("kms_key_arn", ""),
        )


def _database_facts(v: dict[str, Any]) -> DatabaseFacts:
    return DatabaseFacts(
        address=v["address"],
        port=int(v["port"]),
        name=v["database"],
        user=policies.DATABASE_USER,
        master_secret_arn=v["master_secret_arn"],
    )


def _access_facts(args: AccessArgs, where: DatabaseFacts, v: dict[str, Any]) -> AccessFacts:
    permission = args["default_permission"]
    oidc = args.get("oidc")
    return AccessFacts(
        default_permission="NO_PERMISSIONS" if permission == "none" else permission.upper(),
        admin_secret_arn=v["admin_secret_arn"],
        client_secret_arn=v["client_secret_arn"],
        session_secret_arn=v["session_secret_arn"],
        database=where,
        oidc=OidcFacts(
            signer=v["signer"],
            issuer=oidc["issuer"],
            client_id=oidc["client_id"],
            user_claim=oidc["user_claim"],
            email_domains=tuple(oidc.get("email_domains", [])),
        )
        if oidc
        else None,
    )
